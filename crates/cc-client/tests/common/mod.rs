//! People, and a clock that tests move.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod hoarder;

use std::sync::{Arc, Mutex};

use cc_client::{
    Call, Client, Event, EventId, Fate, GroupId, Input, LogId, MemoryService, Now, Position,
    Profile, Recipe, Request,
};
use cc_core::store::MemoryStore;

/// A store that outlives the client, as a file does.
pub type Disk = Arc<Mutex<MemoryStore>>;

pub struct Person {
    pub name: String,
    pub disk: Disk,
    pub client: Client,
    pub events: Vec<Event>,
    pub fates: Vec<(LogId, Position, Fate)>,
    /// How far this person's clocks are.
    pub now: Now,
}

impl Person {
    pub fn new(name: &str) -> Self {
        Self::with(name, Recipe::group())
    }

    pub fn with(name: &str, recipe: Recipe) -> Self {
        Self::create(Profile::new(name), recipe)
    }

    pub fn of(profile: Profile) -> Self {
        Self::create(profile, Recipe::group())
    }

    fn create(profile: Profile, recipe: Recipe) -> Self {
        let (disk, name) = (Disk::default(), profile.name.clone());
        let client = Client::create(Arc::clone(&disk), profile, recipe).unwrap();
        let now = Now { wall: 1_790_000_000_000, mono: 0 };
        Self { name, disk, client, events: Vec::new(), fates: Vec::new(), now }
    }

    /// A client that was made elsewhere.
    pub fn restored(name: &str, disk: Disk, client: Client, now: Now) -> Self {
        Self { name: name.to_owned(), disk, client, events: Vec::new(), fates: Vec::new(), now }
    }

    /// The process is killed and started again.
    pub fn restart(&mut self) {
        self.client = Client::open(Arc::clone(&self.disk)).unwrap();
        self.now.mono = 0;
    }

    /// One request and its answer; `false` where there is nothing to do.
    pub fn step(&mut self, service: &mut MemoryService) -> bool {
        let Some(request) = self.client.poll_request(self.now).unwrap() else { return false };
        let result = request.perform(service);
        let input = Input::Response { id: request.id, result };
        let ledger = self.client.handle(self.now, input).unwrap();
        self.fates.extend(ledger.fates);
        true
    }

    /// Everything that is to be done now.
    pub fn turn(&mut self, service: &mut MemoryService) {
        for _ in 0..1000 {
            if !self.step(service) {
                self.take_events();
                return;
            }
        }
        panic!("{} never comes to rest", self.name);
    }

    /// Takes the events, and acknowledges them.
    pub fn take_events(&mut self) {
        while let Some((last, _)) = {
            let events = self.client.events(EventId(0), 100).unwrap();
            self.events.extend(events.iter().map(|(_, event)| event.clone()));
            events.last().cloned()
        } {
            self.client.acknowledge(last, &[]).unwrap();
        }
    }

    pub fn pass(&mut self, milliseconds: u64) {
        self.now.mono += milliseconds;
        self.now.wall += milliseconds;
    }

    /// What was read in a group, oldest first: from whom, and what.
    pub fn read(&self, group: &GroupId) -> Vec<(String, String)> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::Message { group: at, from, content, .. } if at == group => {
                Some((from.name(), String::from_utf8(content.clone()).unwrap()))
            }
            _ => None,
        });
        messages.collect()
    }
}

/// Lets everybody do all there is to do, and time pass, until nothing changes any more.
pub fn settle(people: &mut [&mut Person], service: &mut MemoryService) {
    for _ in 0..40 {
        for person in &mut *people {
            person.turn(service);
        }
        for person in &mut *people {
            person.pass(2_500);
        }
    }
}

/// A group of all these people, founded by the first.
pub fn group_of(people: &mut [&mut Person], service: &mut MemoryService) -> GroupId {
    let group = people[0].client.found("Dev Team").unwrap();
    for at in 1..people.len() {
        let now = people[at].now;
        let package = people[at].client.key_packages(now, 1).unwrap().remove(0);
        people[0].client.invite(group, package).unwrap();
    }
    settle(people, service);
    group
}

/// Polls until there is something to append to a group.
pub fn append_of(person: &mut Person, service: &mut MemoryService) -> Request {
    loop {
        let request = person.client.poll_request(person.now).unwrap().unwrap();
        if matches!(request.call, Call::Append(_)) {
            return request;
        }
        let result = request.perform(service);
        let input = Input::Response { id: request.id, result };
        let _ledger = person.client.handle(person.now, input).unwrap();
    }
}
