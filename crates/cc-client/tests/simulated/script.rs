//! The life of a group of three, in which one thing goes wrong.

use cc_client::{Command, Failure as Unanswered, GroupId, Input};
use cc_core::store::Failure;

use super::world::{What, World};

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// This answer does not arrive.
    Reply(usize),
    /// Who is to make this call is killed with the request in its hands.
    KilledBefore(usize),
    /// Who made this call is killed before it has taken the answer.
    KilledBehind(usize),
    /// This commit of this member's store fails.
    Commit(usize, u64, Failure),
}

/// How often something may go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Points {
    pub calls: usize,
    pub commits: [u64; 3],
}

const ALICE: usize = 0;
const BOB: usize = 1;
const CHARLIE: usize = 2;

struct Script {
    world: World,
    trouble: Trouble,
    calls: usize,
}

/// Lets it happen, and checks what must hold at the end.
pub fn play(trouble: Trouble) -> Points {
    let mut script = Script { world: World::quiet(3), trouble, calls: 0 };
    if let Trouble::Commit(member, commits, failure) = trouble {
        script.world.members[member].break_store(commits, failure);
    }
    script.all_acts();
    let Script { mut world, calls, .. } = script;
    let commits = [ALICE, BOB, CHARLIE].map(|at| world.members[at].disk.lock().unwrap().commits());
    let rounds = world.settle();
    assert!(rounds < 300, "{trouble:?}: no rest");
    let figures = world.check();
    assert_eq!((figures.messages, figures.refused), (6, 0), "{trouble:?}");
    assert_eq!(figures.repaired, 0, "{trouble:?} took a member out of step");
    let members = world.members.iter().filter(|member| member.is_in(&world.groups[0])).count();
    assert_eq!(members, 2, "{trouble:?}");
    Points { calls, commits }
}

impl Script {
    fn all_acts(&mut self) {
        let group = self.world.found(ALICE);
        self.rounds(2);
        for newcomer in [BOB, CHARLIE] {
            let mailbox = self.world.members[newcomer].client.mailbox();
            self.ask(ALICE, group, What::Other, &Command::Invite { group, mailbox, member: None });
        }
        // A late answer is waited for; without it nobody is there who could write.
        for _ in 0..20 {
            self.rounds(1);
            if self.world.members.iter().all(|member| member.is_in(&group)) {
                break;
            }
        }
        self.send(ALICE, group);
        self.send(BOB, group);
        self.ask(BOB, group, What::Other, &Command::Refresh(group));
        self.send(CHARLIE, group);
        self.rounds(3);
        self.send(CHARLIE, group);
        self.ask(ALICE, group, What::Other, &Command::Refresh(group));
        self.rounds(8);
        let members = vec![self.world.members[CHARLIE].client.me().id];
        self.ask(ALICE, group, What::Other, &Command::Remove { group, members });
        self.send(BOB, group);
        self.send(ALICE, group);
        self.rounds(4);
    }

    fn ask(&mut self, at: usize, group: GroupId, what: What, command: &Command) {
        self.world.ask(at, group, what, command);
    }

    fn send(&mut self, at: usize, group: GroupId) {
        let content = format!("of person {at}").into_bytes();
        self.ask(at, group, What::Message, &Command::Send { group, content });
    }

    fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for at in [ALICE, BOB, CHARLIE] {
                while self.call(at) {}
                self.world.members[at].take_events();
            }
            self.world.members.iter_mut().for_each(|member| member.pass(2_500));
        }
    }

    fn call(&mut self, at: usize) -> bool {
        let World { members, network, .. } = &mut self.world;
        let member = &mut members[at];
        let now = self.calls;
        if self.trouble == Trouble::KilledBefore(now) {
            self.calls += 1;
            let request = member.attempt(cc_client::Client::poll_request).unwrap();
            member.restart();
            return request.flatten().is_some();
        }
        let Some(mut answer) = member.ask(network) else { return false };
        self.calls += 1;
        match self.trouble {
            Trouble::KilledBehind(call) if call == now => member.restart(),
            Trouble::Reply(call) if call == now => {
                if let Input::Response { result, .. } = &mut answer.input {
                    *result = Err(Unanswered::Unknown);
                }
                answer.items.clear();
                member.take(&answer);
            }
            _ => member.take(&answer),
        }
        true
    }
}
