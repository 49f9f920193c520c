//! A person whose machine is killed, and what it was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex},
};

use cc_client::{
    Call, Client, Command, Event, EventId, Failure as Failed, Fate, Fault, GroupId, Input, Ledger,
    LogId, Now, OperationId, Position, Profile, Recipe, Reply, Request, Verdict,
};
use cc_core::{
    MemberId,
    store::{Failure, MemoryStore},
};

use super::{network::Network, trace};

/// What the clocks of those show whose clocks are right, at first.
pub const WALL: u64 = 1_790_000_000_000;

pub struct Member {
    pub at: usize,
    pub name: String,
    pub disk: Arc<Mutex<MemoryStore>>,
    pub client: Client,
    pub now: Now,
    /// Answers that are under way.
    pub late: Vec<Answer>,
    pub told: Told,
    /// Groups of which this member is, or was, shown another log than the others.
    pub forked: BTreeSet<GroupId>,
    /// Events up to this one were taken.
    through: u64,
    pub crashes: u64,
    pub full: u64,
    /// How often what was not in the store yet was lost: by a crash, or a call that failed.
    losses: u64,
}

/// Something for [`Client::handle`].
#[derive(Clone)]
pub struct Answer {
    pub input: Input,
    /// The items in it.
    pub items: Vec<(LogId, Position)>,
}

/// What a member was told, by its ledgers and events.
#[derive(Default)]
pub struct Told {
    /// What was read: by group and message, from whom and where.
    pub read: BTreeMap<(GroupId, OperationId), Vec<(MemberId, Position)>>,
    pub verdicts: BTreeMap<OperationId, Vec<Verdict>>,
    /// Fates of items; not those that were only seen again.
    pub fates: BTreeMap<(LogId, Position), Fate>,
    /// How often something was lost before an own message was seen in the log.
    echoes: BTreeMap<(LogId, Position), u64>,
    pub early: BTreeSet<(LogId, Position)>,
    pub again: BTreeSet<(LogId, Position)>,
    /// Items of inputs whose ledger was lost with the process.
    pub untold: BTreeSet<(LogId, Position)>,
    pub stays: BTreeMap<GroupId, Vec<Stay>>,
    /// Positions that were missed, those behind the first, the last included.
    pub missed: BTreeMap<LogId, Vec<Range<Position>>>,
    pub diverged: BTreeMap<GroupId, u32>,
    pub repaired: BTreeMap<GroupId, u32>,
    pub orphans: u32,
    /// How often it was told that nobody had brought it back for long.
    pub stranded: u32,
    /// Requests to join that were declined.
    pub declined: usize,
    pub items: u64,
}

/// A time of membership, in positions of the log: of what is between them everything is read.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    pub from: Position,
    pub to: Option<Position>,
}

impl Stay {
    pub fn covers(&self, position: Position) -> bool {
        self.from < position && self.to.is_none_or(|to| position < to)
    }
}

impl Member {
    pub fn new(at: usize) -> Self {
        let (name, disk) = (format!("person {at}"), Arc::new(Mutex::new(MemoryStore::new())));
        let client =
            Client::create(Arc::clone(&disk), Profile::new(&name), Recipe::group()).unwrap();
        let now = Now { wall: WALL, mono: 0 };
        let (late, told, forked) = (Vec::new(), Told::default(), BTreeSet::new());
        let (through, crashes, full, losses) = (0, 0, 0, 0);
        Self { at, name, disk, client, now, late, told, forked, through, crashes, full, losses }
    }

    pub fn pass(&mut self, milliseconds: u64) {
        self.now.mono += milliseconds;
        self.now.wall = self.now.wall.saturating_add(milliseconds);
    }

    /// The process is killed and started again, on what its store has in force.
    pub fn restart(&mut self) {
        let mut disk = self.disk.lock().unwrap();
        *disk = disk.reopened();
        drop(disk);
        self.client = Client::open(Arc::clone(&self.disk)).unwrap();
        self.now.mono = 0;
        self.late.clear();
        self.crashes += 1;
        self.losses += 1;
        trace(|| format!("{} is killed", self.name));
        let groups: Vec<GroupId> = self.client.groups().collect();
        for group in groups {
            self.note_stay(&group, None);
        }
    }

    /// One of the next commits of the store fails.
    pub fn break_store(&mut self, commits: u64, failure: Failure) {
        self.disk.lock().unwrap().fail_after(commits, failure);
    }

    /// Does it; again where the store was full. `None` if the store failed and the process died of it.
    pub fn attempt<T>(
        &mut self,
        mut call: impl FnMut(&mut Client, Now) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        loop {
            let result = call(&mut self.client, self.now);
            self.losses += u64::from(result.is_err());
            match result {
                Ok(value) => return Ok(Some(value)),
                Err(Fault::Store(cc_core::store::StoreError::Full)) => self.full += 1,
                Err(Fault::Store(error)) if error.is_in_doubt() => {
                    self.restart();
                    return Ok(None);
                }
                Err(fault) => match fault_of_store(&fault) {
                    Some(true) => self.full += 1,
                    Some(false) => {
                        self.restart();
                        return Ok(None);
                    }
                    None => return Err(fault),
                },
            }
        }
    }

    /// A command, whatever becomes of the process meanwhile; `false` where the client does not take it.
    pub fn submit(&mut self, id: OperationId, command: &Command) -> bool {
        loop {
            match self.attempt(|client, _| client.submit(id, command.clone())) {
                Ok(Some(())) => {
                    trace(|| format!("{} asks for {command:?}", self.name));
                    return true;
                }
                Ok(None) => {}
                Err(
                    Fault::NotAMember(_)
                    | Fault::NoSuchGroup(_)
                    | Fault::NoSuchJoinRequest(_)
                    | Fault::QueueFull
                    | Fault::Untrusted(_),
                ) => return false,
                Err(fault) => panic!("{} could not ask for {command:?}: {fault:?}", self.name),
            }
        }
    }

    /// One request, and its answer; `None` where there is nothing to do.
    pub fn ask(&mut self, network: &mut Network) -> Option<Answer> {
        let request = self.attempt(Client::poll_request).unwrap()??;
        let result = request.perform(&mut network.seen_by(self.at));
        trace(|| format!("{} at {}: {}", self.name, self.now.mono, told_call(&request, &result)));
        let mut items = Vec::new();
        if let (cc_client::Call::Read(read), Ok(cc_client::Reply::Page(page))) =
            (&request.call, &result)
        {
            items.extend(page.items.iter().map(|item| (read.log, item.position)));
        }
        Some(Answer { input: Input::Response { id: request.id, result }, items })
    }

    /// Takes what came.
    pub fn take(&mut self, answer: &Answer) {
        match self.attempt(|client, now| client.handle(now, answer.input.clone())).unwrap() {
            Some(ledger) => self.note(&answer.items, &ledger),
            None => self.told.untold.extend(&answer.items),
        }
    }

    pub fn step(&mut self, network: &mut Network) -> bool {
        let Some(answer) = self.ask(network) else { return false };
        self.take(&answer);
        true
    }

    /// Everything that is to be done now; gives how many requests that were.
    pub fn turn(&mut self, network: &mut Network) -> usize {
        let mut steps = 0;
        while self.step(network) {
            steps += 1;
            assert!(steps < 20_000, "{} never comes to rest", self.name);
        }
        self.take_events();
        steps
    }

    /// Every item that went in has a fate, and each has one only.
    fn note(&mut self, items: &[(LogId, Position)], ledger: &Ledger) {
        let Self { name, told, forked, losses, .. } = self;
        if ledger.fates.is_empty() {
            // Of a read that a former process asked for.
            return;
        }
        told.items += items.len() as u64;
        for (log, position, fate) in &ledger.fates {
            trace(|| format!("  {} of {log}: {fate:?}", position.0));
        }
        assert!(ledger.fates.len() >= items.len(), "{name}: fewer fates than items");
        for (at, (log, position, fate)) in ledger.fates.iter().enumerate() {
            let place = (*log, *position);
            match items.get(at) {
                Some(item) => assert_eq!(*item, place, "{name}: the fate of another item"),
                None => {
                    assert!(fate.is_final(), "{name}: {place:?} is {fate:?} once more");
                    let known = told.early.remove(&place) || told.untold.contains(&place);
                    // Of two logs a position has two items.
                    let known = known || forked.contains(log);
                    assert!(known, "{name}: {place:?} was never early, and is {fate:?} now");
                }
            }
            match fate {
                Fate::Early => {
                    told.early.insert(place);
                }
                Fate::Duplicate => {
                    told.again.insert(place);
                }
                _ => {
                    told.early.remove(&place);
                    let former = told.fates.insert(place, *fate);
                    let former = former.filter(|_| !forked.contains(log));
                    // That it was seen was not in the store yet.
                    let before = told.echoes.insert(place, *losses);
                    let lost = *fate == Fate::OwnEcho && before.is_some_and(|it| it < *losses);
                    let former = former.filter(|former| !lost || former != fate);
                    assert_eq!(former, None, "{name}: {place:?} is {fate:?} as well");
                }
            }
        }
        let changes = |fate: Fate| matches!(fate, Fate::Change | Fate::OwnEcho | Fate::Joined);
        let changed: BTreeMap<LogId, Position> = ledger
            .fates
            .iter()
            .filter(|(_, _, fate)| changes(*fate))
            .map(|(log, position, _)| (*log, *position))
            .collect();
        let mailbox = self.client.mailbox();
        let joined = changed.contains_key(&mailbox);
        let groups: Vec<GroupId> = self.client.groups().collect();
        for group in groups.iter().filter(|group| joined || changed.contains_key(*group)) {
            self.note_stay(group, changed.get(group).copied());
        }
    }

    /// Notes whether this person is in a group; if not any more, since `position`, where that is known.
    pub fn note_stay(&mut self, group: &GroupId, position: Option<Position>) {
        let view = self.client.group(group).unwrap();
        let known = self.told.fates.range((*group, Position::START)..=(*group, Position(u64::MAX)));
        let known = known.last().map_or(Position::START, |((_, position), _)| position.next());
        let stays = self.told.stays.entry(*group).or_default();
        let open = stays.last_mut().filter(|stay| stay.to.is_none());
        match (view.epoch, open) {
            (Some(_), Some(stay)) if stay.from == view.joined_at => return,
            (_, Some(stay)) => stay.to = Some(position.unwrap_or(known)),
            (_, None) => {}
        }
        if view.epoch.is_some() {
            stays.push(Stay { from: view.joined_at, to: None });
        }
    }

    /// Takes the events, each once, in their order, and acknowledges them.
    pub fn take_events(&mut self) {
        while let Some(last) = {
            let events = self.attempt(|client, _| client.events(EventId(0), 50)).unwrap();
            let events = events.unwrap_or_default();
            for (id, event) in &events {
                if id.0 > self.through {
                    assert_eq!(id.0, self.through + 1, "{} lost an event", self.name);
                    self.through = id.0;
                    trace(|| format!("  {} is told {event:?}", self.name));
                    self.told.note(event);
                }
            }
            events.last().map(|(id, _)| *id)
        } {
            while self.attempt(|client, _| client.acknowledge(last, &[])).unwrap().is_none() {}
        }
    }

    pub fn is_in(&self, group: &GroupId) -> bool {
        self.client.group(group).is_ok_and(|view| view.epoch.is_some())
    }
}

impl Told {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Message { group, from, message, position, .. } => {
                let read = self.read.entry((*group, *message)).or_default();
                read.push((from.id, *position));
            }
            Event::Settled { operation, verdict } => {
                self.verdicts.entry(*operation).or_default().push(verdict.clone());
            }
            Event::Missed { log, missed } => {
                self.missed.entry(*log).or_default().push(missed.clone())
            }
            Event::Repaired { group, missed } => {
                self.missed.entry(*group).or_default().push(missed.clone());
                *self.repaired.entry(*group).or_default() += 1;
            }
            Event::Stranded { .. } => self.stranded += 1,
            Event::Diverged { group } => *self.diverged.entry(*group).or_default() += 1,
            Event::Unreadable { fate: Fate::OrphanWelcome, .. } => self.orphans += 1,
            Event::JoinDeclined { .. } => self.declined += 1,
            _ => {}
        }
    }

    pub fn was_missed(&self, group: &GroupId, position: Position) -> bool {
        let missed = self.missed.get(group).into_iter().flatten();
        missed.into_iter().any(|missed| missed.start < position && position <= missed.end)
    }
}

fn told_call(request: &Request, result: &Result<Reply, Failed>) -> String {
    let asked = match &request.call {
        Call::Append(append) => {
            let what = append.commit.as_ref().map(|commit| commit.after.0);
            format!("appends {} to {}, a commit after {what:?}", append.items.len(), append.log)
        }
        Call::Read(read) => format!("reads {} after {}", read.log, read.after.0),
        Call::Publish(publish) => format!("publishes {}", publish.packages.len()),
        Call::Claim(mailbox) => format!("claims one of {mailbox}"),
    };
    let answer = match result {
        Ok(Reply::Page(page)) => {
            let items = page.items.iter().map(|item| item.position.0).collect::<Vec<_>>();
            format!("{items:?} of {}, without {}", page.head.0, page.forgotten.0)
        }
        Ok(Reply::Claimed(package)) => format!("{} bytes", package.as_ref().map_or(0, Vec::len)),
        result => format!("{result:?}"),
    };
    format!("{asked}: {answer}")
}

/// Whether a fault came of a store that was full (`true`) or died (`false`), however deep.
fn fault_of_store(fault: &Fault) -> Option<bool> {
    let mut cause = std::error::Error::source(fault);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<cc_core::store::StoreError>() {
            return match error {
                cc_core::store::StoreError::Full => Some(true),
                error => error.is_in_doubt().then_some(false),
            };
        }
        cause = error.source();
    }
    None
}
