//! People with several devices, over a service in memory: groups, an invitation, a link to join by, a linked device, an attachment, an
//! export.

use std::sync::{Arc, Mutex};

use cc_aes_layer::AesKey;
use cc_client::{
    Call, Client, Command, Event, EventId, GroupId, Input, MemoryService, Now, OperationId,
    Profile, Recipe, Upload,
};
use cc_memory::{Log, LoggedStore};

type Disk = Arc<Mutex<LoggedStore>>;

pub(crate) fn run(log: &Log, recipe: Recipe) {
    let mut service = MemoryService::new();
    let mut alice = Person::new(log, "alice", recipe.clone());
    let mut bob = Person::new(log, "bob", recipe.clone());
    let mut charlie = Person::new(log, "charlie", recipe.clone());
    let mut tablet = Person::new(log, "tablet", recipe);
    let group = alice.client.found("Dev Team").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(log, &mut [&mut alice, &mut bob], &mut service);

    let link = alice.client.join_link(alice.now, group, 1 << 30).unwrap();
    charlie.client.ask_to_join(charlie.now, &link, "It is me").unwrap();
    drop(link);
    let all = &mut [&mut alice, &mut bob, &mut charlie];
    settle(log, all, &mut service);
    let request = alice.client.join_requests().unwrap().remove(0);
    alice.submit(Command::AcceptJoin(request.id));
    settle(log, &mut [&mut alice, &mut bob, &mut charlie], &mut service);

    let offer = tablet.client.offer_device(tablet.now, 4).unwrap();
    bob.submit(Command::Link(offer));
    let attachment = Upload::new("file", "text/plain").unwrap();
    log.secret("upload", attachment.to_bytes().unwrap().expose());
    let all = &mut [&mut alice, &mut bob, &mut charlie, &mut tablet];
    settle(log, all, &mut service);
    for person in &mut *all {
        person.restart();
    }
    exchange(log, all, &mut service, group);
    alice.submit(Command::Refresh(group));
    bob.submit(Command::ReplaceKeys);
    let all = &mut [&mut alice, &mut bob, &mut charlie, &mut tablet];
    settle(log, all, &mut service);
    let changed = bob.client.me().person.unwrap();
    for person in [&mut alice, &mut charlie] {
        person.submit(Command::AcceptChange(changed));
    }
    let all = &mut [&mut alice, &mut bob, &mut charlie, &mut tablet];
    exchange(log, all, &mut service, group);

    let key = AesKey::generate().unwrap();
    log.secret("export key", key.expose());
    let export = alice.client.export(&key, true).unwrap();
    alice.disk = disk(log, "restored");
    alice.client = Client::restore(Arc::clone(&alice.disk), &export, &key, alice.now).unwrap();
    let all = &mut [&mut alice, &mut bob, &mut charlie, &mut tablet];
    settle(log, all, &mut service);
    exchange(log, all, &mut service, group);
}

/// Everybody says something, and all others read it.
fn exchange(log: &Log, people: &mut [&mut Person], service: &mut MemoryService, group: GroupId) {
    for person in &mut *people {
        person.read = 0;
        person.client.send(group, "text").unwrap();
    }
    settle(log, people, service);
    for person in people {
        assert_eq!(person.read, 3);
    }
}

/// Lets everybody do all there is to do.
fn settle(log: &Log, people: &mut [&mut Person], service: &mut MemoryService) {
    for _ in 0..40 {
        for person in &mut *people {
            person.turn(log, service);
            person.now.mono += 2_500;
            person.now.wall += 2_500;
        }
    }
}

struct Person {
    disk: Disk,
    client: Client,
    now: Now,
    /// Messages that were read.
    read: usize,
}

/// The records with long-lived keys and those of a pending link. What the layers keep has tests of its own.
fn disk(log: &Log, name: &'static str) -> Disk {
    let store = log.store(name, |key, value| match key {
        // The public key of the MLS layer.
        b"identity" => vec![value[value.len() - 33..].to_vec()],
        // All before the private key, of one address.
        b"mail keys" => vec![value[..value.len() - 42].to_vec()],
        // Of a link to join by, the group, the public key, and what the library leaves: the secret beside the private key.
        id if id.len() == 32 => vec![value[..65].to_vec(), value[97..].to_vec()],
        _ => Vec::new(),
    });
    let store = store.only(|scope, key| {
        key.len() == 32 && scope.as_bytes().ends_with(b"join links")
            || [&b"identity"[..], b"link key", b"mail keys", b"person key"].contains(&key)
    });
    Arc::new(Mutex::new(store))
}

impl Person {
    fn new(log: &Log, name: &'static str, recipe: Recipe) -> Self {
        let disk = disk(log, name);
        let client = Client::create(Arc::clone(&disk), Profile::new(name), recipe).unwrap();
        log.public(client.me().id.as_bytes());
        Self { disk, client, now: Now { wall: 1_790_000_000_000, mono: 0 }, read: 0 }
    }

    fn restart(&mut self) {
        self.client = Client::open(Arc::clone(&self.disk)).unwrap();
        self.now.mono = 0;
    }

    fn submit(&mut self, command: Command) {
        self.client.submit(OperationId::random().unwrap(), command).unwrap();
    }

    fn turn(&mut self, log: &Log, service: &mut MemoryService) {
        while let Some(request) = self.client.poll_request(self.now).unwrap() {
            if let Call::Append(append) = &request.call
                && let Some(token) = &append.access
            {
                log.secret("access token", token.expose());
            }
            let result = request.perform(service);
            let _ledger =
                self.client.handle(self.now, Input::Response { id: request.id, result }).unwrap();
        }
        while let Some((last, _)) = {
            let events = self.client.events(EventId(0), 100).unwrap();
            let is_message = |(_, event): &&(_, Event)| matches!(event, Event::Message { .. });
            self.read += events.iter().filter(is_message).count();
            events.last().cloned()
        } {
            self.client.acknowledge(last, &[]).unwrap();
        }
    }
}
