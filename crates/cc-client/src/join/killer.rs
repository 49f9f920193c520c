//! Asking and answering, killed at every step, with every answer lost, and with stores that fail; and in every order.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use cc_core::{
    SecretBytes,
    store::{Batch, Failure as StoreFailure, MemoryStore, Scope, Store, StoreError},
};
use proptest::prelude::*;

use super::tests::{DAY, submit};
use crate::{
    Client, Command, Event, EventId, GroupId, Input, JoinLink, JoinRequestId, MemoryService, Now,
    OperationId, Profile, Recipe, testing::Stage,
};

/// A store that outlives the client on it.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<MemoryStore>>);

impl Disk {
    /// As a crash leaves it.
    fn crash(&self) {
        let mut store = self.0.lock().unwrap();
        *store = store.reopened();
    }
}

impl Store for Disk {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.0.lock().unwrap().get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.lock().unwrap().scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.0.lock().unwrap().commit(batch)
    }
}

/// A person at a machine that can be killed.
pub(super) struct Machine {
    disk: Disk,
    pub(super) client: Client,
}

impl Machine {
    pub(super) fn new(name: &str) -> Self {
        let disk = Disk::default();
        let client = Client::create(disk.clone(), Profile::new(name), Recipe::group()).unwrap();
        Self { disk, client }
    }

    fn kill(&mut self) {
        self.disk.crash();
        self.client = Client::open(self.disk.clone()).unwrap();
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Blow {
    /// Before a request goes out.
    Before,
    /// After it was done, without its answer.
    Unanswered,
    /// After its answer was taken.
    After,
    /// The commit of the answer is in doubt, and in force or not after the restart.
    Commit(StoreFailure),
}

/// Goes on until nothing is left to do, with one blow at this step; gives how many steps there were.
pub(super) struct Run {
    pub(super) service: MemoryService,
    pub(super) now: Now,
    pub(super) step: usize,
    pub(super) blow: (usize, Blow),
}

impl Run {
    pub(super) fn turn(&mut self, machine: &mut Machine) {
        loop {
            let hit = self.step == self.blow.0;
            let Some(request) = machine.client.poll_request(self.now).unwrap() else { return };
            self.step += 1;
            if hit && matches!(self.blow.1, Blow::Before) {
                return machine.kill();
            }
            let result = request.perform(&mut self.service);
            if hit && matches!(self.blow.1, Blow::Unanswered) {
                return machine.kill();
            }
            if let (true, Blow::Commit(failure)) = (hit, self.blow.1) {
                machine.disk.0.lock().unwrap().fail_after(0, failure);
            }
            let input = Input::Response { id: request.id, result };
            let taken = machine.client.handle(self.now, input);
            if hit {
                assert!(taken.is_ok() || matches!(self.blow.1, Blow::Commit(_)));
                return machine.kill();
            }
            let _ledger = taken.unwrap();
        }
    }
}

/// Carol has asked Alice to be let into her group, and nothing has gone out yet.
fn begin(blow: (usize, Blow)) -> (Run, [Machine; 2], GroupId, JoinRequestId) {
    let [mut alice, mut carol] = ["Alice", "Carol"].map(Machine::new);
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    let run = Run { service: MemoryService::new(), now, step: 0, blow };
    let group = alice.client.found("Dev Team").unwrap();
    let link = alice.client.join_link(now, group, DAY).unwrap();
    let asked = carol.client.ask_to_join(now, &link, "hello").unwrap();
    (run, [alice, carol], group, asked)
}

/// Carol asks, and Alice answers as soon as she sees it, each as a program that was just started would.
fn play(accept: bool, blow: (usize, Blow)) -> usize {
    let (mut run, [mut alice, mut carol], group, asked) = begin(blow);
    let answer = OperationId::random().unwrap();
    // For some rounds after all is said, in which everybody hears of it.
    let mut after = 0..3;
    for _ in 0..24 {
        run.turn(&mut carol);
        run.turn(&mut alice);
        for view in alice.client.join_requests().unwrap() {
            assert_eq!(view.id, asked);
            let command =
                if accept { Command::AcceptJoin(view.id) } else { Command::DeclineJoin(view.id) };
            alice.client.submit(answer, command).unwrap();
        }
        run.now.mono += 6_000;
        run.now.wall += 6_000;
        let is_open = !carol.client.join_asks().unwrap().is_empty()
            || !alice.client.join_requests().unwrap().is_empty();
        if !is_open && after.next().is_none() {
            break;
        }
    }
    let count = |client: &Client, which: fn(&Event) -> bool| {
        let events = client.events(EventId(0), usize::MAX).unwrap();
        events.iter().filter(|(_, event)| which(event)).count()
    };
    assert_eq!(count(&alice.client, |event| matches!(event, Event::JoinRequested { .. })), 1);
    let entered = count(&carol.client, |event| matches!(event, Event::Entered { .. }));
    let declined = count(&carol.client, |event| matches!(event, Event::JoinDeclined { .. }));
    assert_eq!((entered, declined), if accept { (1, 0) } else { (0, 1) }, "{blow:?}");
    assert!(carol.client.join_asks().unwrap().is_empty());
    assert!(alice.client.join_requests().unwrap().is_empty());
    let members = alice.client.group(&group).unwrap();
    assert_eq!(members.members.len(), if accept { 2 } else { 1 }, "{blow:?}");
    if accept {
        let there = carol.client.group(&group).unwrap();
        assert_eq!(there.authenticator, members.authenticator, "{blow:?}");
    }
    run.step
}

fn killed_at_every_step(accept: bool) {
    let steps = play(accept, (usize::MAX, Blow::After));
    // Later ones only look whether there is something new.
    let steps = steps.min(36);
    assert!(steps > 8, "{steps}");
    let failures = [StoreFailure::Lost, StoreFailure::Kept, StoreFailure::Full];
    let commits = failures.map(Blow::Commit);
    for blow in [Blow::Before, Blow::Unanswered, Blow::After].into_iter().chain(commits) {
        for step in 0..steps {
            play(accept, (step, blow));
        }
    }
}

#[test]
fn killed_at_every_step_somebody_comes_in_once() {
    killed_at_every_step(true);
}

#[test]
fn killed_at_every_step_somebody_is_declined_once() {
    killed_at_every_step(false);
}

/// What somebody does.
#[derive(Debug, Clone)]
enum Step {
    Link,
    Ask {
        who: usize,
        link: usize,
    },
    Accept(usize),
    Decline(usize),
    /// One who asks takes one of its requests back.
    Withdraw {
        who: usize,
        ask: usize,
    },
    Revoke(usize),
    /// The machine of the host, or of one who asks, is started anew.
    Restart(usize),
    Deliver,
    /// Some hours.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Link),
        6 => (0usize..3, 0usize..4).prop_map(|(who, link)| Step::Ask { who, link }),
        4 => (0usize..4).prop_map(Step::Accept),
        3 => (0usize..4).prop_map(Step::Decline),
        2 => (0usize..3, 0usize..2).prop_map(|(who, ask)| Step::Withdraw { who, ask }),
        1 => (0usize..4).prop_map(Step::Revoke),
        2 => (0usize..4).prop_map(Step::Restart),
        8 => Just(Step::Deliver),
        1 => (1u64..40).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Alice and three who ask, with what is to be true of them at any time.
struct World {
    run: Run,
    group: GroupId,
    alice: Machine,
    others: Vec<Machine>,
    links: Vec<JoinLink>,
    accepted: Vec<bool>,
    /// Who has taken a request back: whether it comes in depends on what was read first.
    withdrew: Vec<bool>,
}

impl World {
    fn new() -> Self {
        let mut alice = Machine::new("Alice");
        let others = ["Bob", "Carol", "Dave"].map(Machine::new).into();
        let now = Now { wall: 1_790_000_000_000, mono: 0 };
        let blow = (usize::MAX, Blow::After);
        let run = Run { service: MemoryService::new(), now, step: 0, blow };
        let group = alice.client.found("Dev Team").unwrap();
        let (accepted, withdrew) = (vec![false; 3], vec![false; 3]);
        Self { run, group, alice, others, links: Vec::new(), accepted, withdrew }
    }

    fn deliver(&mut self) {
        for _ in 0..3 {
            self.run.turn(&mut self.alice);
            self.others.iter_mut().for_each(|other| self.run.turn(other));
            self.run.now.mono += 6_000;
            self.run.now.wall += 6_000;
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.run.now;
        match step {
            Step::Link => {
                let link = self.alice.client.join_link(now, self.group, DAY).unwrap();
                self.links.push(link);
            }
            Step::Ask { who, link } => {
                // One that has expired is refused, and nothing else.
                if let Some(link) = self.links.get(link) {
                    let asked = self.others[who].client.ask_to_join(now, link, "");
                    assert_eq!(asked.is_ok(), link.expires() > now.wall, "{asked:?}");
                }
            }
            Step::Accept(at) => {
                let views = self.alice.client.join_requests().unwrap();
                if let Some(view) = views.get(at) {
                    submit(&mut self.alice.client, Command::AcceptJoin(view.id));
                    let me = |other: &Machine| other.client.me().id == view.from.id;
                    let who = self.others.iter().position(me).unwrap();
                    self.accepted[who] = true;
                }
            }
            Step::Decline(at) => {
                let views = self.alice.client.join_requests().unwrap();
                if let Some(view) = views.get(at) {
                    submit(&mut self.alice.client, Command::DeclineJoin(view.id));
                }
            }
            Step::Withdraw { who, ask } => {
                let client = &mut self.others[who].client;
                if let Some(ask) = client.join_asks().unwrap().get(ask) {
                    let request = ask.id;
                    submit(client, Command::WithdrawJoin(request));
                    let asks = client.join_asks().unwrap();
                    assert!(asks.iter().all(|ask| ask.id != request));
                    self.withdrew[who] = true;
                }
            }
            Step::Revoke(at) => {
                let known = self.alice.client.join_links().unwrap();
                if let Some(link) = known.get(at) {
                    submit(&mut self.alice.client, Command::RevokeJoinLink(link.link.id()));
                }
            }
            Step::Restart(0) => self.alice.kill(),
            Step::Restart(who) => self.others[who - 1].kill(),
            Step::Deliver => self.deliver(),
            Step::Wait(hours) => self.run.now.wall += hours * 3_600_000,
        }
    }

    fn check(&mut self) {
        let members = self.alice.client.group(&self.group).unwrap().members;
        for (other, accepted) in self.others.iter().zip(&self.accepted) {
            let there = members.iter().any(|member| member.id == other.client.me().id);
            assert!(!there || *accepted, "in the group, and nobody accepted it");
        }
        let open = self.alice.client.open_requests().unwrap();
        for view in self.alice.client.join_links().unwrap() {
            let id = view.link.id();
            let waiting = open.iter().filter(|(_, request)| request.link == id).count();
            assert_eq!(usize::try_from(view.open).unwrap(), waiting);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nobody_is_in_the_group_whom_nobody_accepted(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        (0..4).for_each(|_| world.deliver());
        world.check();
        let members = world.alice.client.group(&world.group).unwrap();
        let those = world.others.iter().zip(&world.accepted).zip(&world.withdrew);
        for ((other, accepted), withdrew) in those {
            let inside = other.client.group(&world.group).ok();
            let inside = inside.filter(|view| view.epoch.is_some());
            let there = members.members.iter().any(|member| member.id == other.client.me().id);
            prop_assert_eq!(inside.is_some(), there, "there is nobody without keys in it");
            prop_assert!(*withdrew || inside.is_some() == *accepted, "who was accepted is in it in the end");
            if let Some(view) = inside {
                prop_assert_eq!(view.authenticator, members.authenticator);
            }
        }
    }
}

/// Carol takes her request back after so many rounds, while Alice accepts it as soon as she sees it.
fn play_withdrawal(rounds: usize, blow: (usize, Blow)) -> usize {
    let (mut run, [mut alice, mut carol], group, asked) = begin(blow);
    let [answer, withdrawal] = [(); 2].map(|()| OperationId::random().unwrap());
    let mut late = false;
    for round in 0..24 {
        if round == rounds {
            let command = Command::WithdrawJoin(asked);
            late = carol.client.submit(withdrawal, command).is_err();
        }
        run.turn(&mut carol);
        run.turn(&mut alice);
        for view in alice.client.join_requests().unwrap() {
            alice.client.submit(answer, Command::AcceptJoin(view.id)).unwrap();
        }
        run.now.mono += 6_000;
        run.now.wall += 6_000;
    }
    // Whoever has it as its group is in it, and nobody else.
    let members = alice.client.group(&group).unwrap().members.len();
    let inside = carol.client.group(&group).is_ok_and(|view| view.epoch.is_some());
    assert_eq!((members, inside), if late { (2, true) } else { (1, false) }, "{rounds} {blow:?}");
    assert!(carol.client.join_asks().unwrap().is_empty());
    assert!(alice.client.join_requests().unwrap().is_empty());
    run.step
}

#[test]
fn killed_at_every_step_who_withdraws_is_outside_or_came_in_before() {
    for rounds in 0..4 {
        let steps = play_withdrawal(rounds, (usize::MAX, Blow::After)).min(28);
        for blow in [Blow::Before, Blow::Unanswered] {
            for step in 0..steps {
                play_withdrawal(rounds, (step, blow));
            }
        }
    }
}

#[test]
fn a_link_that_was_made_is_there_after_a_restart() {
    let mut alice = Machine::new("Alice");
    let stage = Stage::new();
    let group = alice.client.found("Dev Team").unwrap();
    let link = alice.client.join_link(stage.now, group, DAY).unwrap();
    alice.kill();
    let known = alice.client.join_links().unwrap();
    assert_eq!((known.len(), &known[0].link), (1, &link));
}
