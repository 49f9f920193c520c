//! Everybody, and what happens to them.

use std::collections::BTreeMap;

use cc_client::{
    Command, Faults, GroupId, Input, Item, LogId, MemoryService, OperationId, Page, Position,
};
use cc_core::{MemberId, random::Seeded, store::Failure};

use super::{
    Dice,
    forks::PastFork,
    joins::JoinRequest,
    member::{Answer, Member, WALL},
    network::Network,
    trace,
};

pub const YEAR: u64 = 365 * 24 * 3_600_000;
/// After which all are to agree: more than twelve days, most of them in steps of an hour.
const MAX_ROUNDS: usize = 400;

pub struct World {
    pub dice: Dice,
    pub network: Network,
    pub members: Vec<Member>,
    pub groups: Vec<GroupId>,
    pub asked: BTreeMap<OperationId, Asked>,
    /// Requests to join by links, in the order in which they were made: each says its number.
    pub joins: Vec<JoinRequest>,
    /// The moment, by a clock that is right.
    pub moment: u64,
    pub steps: u64,
    pub forks: Vec<PastFork>,
    plan: Plan,
    /// Keys and ids are of the seed as well.
    _seeded: Seeded,
}

/// How large, and how bad.
#[derive(Clone, Copy)]
pub struct Plan {
    pub people: usize,
    pub groups: usize,
    pub steps: u64,
    /// Members of one group, at the most.
    pub members: usize,
    /// Logs are cut off, and forked.
    pub cuts: bool,
}

/// A command that a client took.
pub struct Asked {
    pub member: usize,
    pub group: GroupId,
    pub what: What,
    /// Who is to come by it.
    pub of: Option<usize>,
    /// The one of [`World::joins`] that it accepts.
    pub accepts: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Message,
    Leave,
    Other,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let seeded = Seeded::start(seed);
        let network = Network { service: MemoryService::new(), fork: None };
        network.service.set_faults(
            Faults {
                lost_requests: 60,
                lost_replies: 60,
                late_copies: 50,
                shuffled_pages: 120,
                busy: 25,
            },
            seed,
        );
        let mut members: Vec<Member> = (0..plan.people).map(Member::new).collect();
        for (at, member) in members.iter_mut().enumerate() {
            // Some publish so few that the one of last resort is handed out again and again.
            member.client.publish_key_packages([1, 2, 4][at % 3]).unwrap();
        }
        let (groups, asked, joins) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (dice, forks) = (Dice::new(seed), Vec::new());
        let (moment, steps, _seeded) = (0, 0, seeded);
        Self { dice, network, members, groups, asked, joins, moment, steps, forks, plan, _seeded }
    }

    /// A service that does all it should.
    pub fn quiet(people: usize) -> Self {
        let world =
            Self::new(1, Plan { people, groups: 1, steps: 1, members: people, cuts: false });
        world.network.service.set_faults(Faults::default(), 1);
        world
    }

    pub fn run(&mut self) {
        for _ in 0..self.plan.steps {
            self.step();
        }
    }

    /// Something happens to somebody.
    fn step(&mut self) {
        self.steps += 1;
        let at = self.dice.below(self.members.len());
        match self.dice.below(1000) {
            0..110 => self.send(at),
            110..120 => self.change(at, |group, _| Command::Refresh(group)),
            120..175 => self.invite(at),
            175..180 => self.answer(at),
            180..185 => self.remove(at),
            185..188 => self.leave(at),
            188..195 => self.cancel(at),
            195..205 => self.members[at].restart(),
            205..230 => {
                let failures = [Failure::Full, Failure::Lost, Failure::Kept];
                let failure = failures[self.dice.below(3)];
                let commits = self.dice.below(6) as u64;
                self.members[at].break_store(commits, failure);
            }
            230..260 => self.set_clock(at),
            260..330 => {
                let milliseconds = self.dice.below(20_000) as u64;
                self.members[at].pass(milliseconds);
                self.moment += milliseconds / self.members.len() as u64;
            }
            330..400 => self.members[at].take_events(),
            400..440 => self.push(at),
            440..470 => self.late_answer(at),
            470..500 => {
                // Its answer is under way for a while.
                let member = &mut self.members[at];
                if let Some(answer) = member.ask(&mut self.network) {
                    member.late.push(answer);
                }
            }
            500..502 if self.plan.cuts => self.forget(at),
            502..504 if self.plan.cuts => self.fork(at),
            504..510 => self.end_fork(),
            510..514 => self.withdraw(at),
            _ => {
                // Now and then all that is to be done, or who is never caught up sends nothing.
                let steps = if self.dice.below(4) == 0 { 40 } else { 3 };
                for _ in 0..steps {
                    if !self.members[at].step(&mut self.network) {
                        break;
                    }
                }
            }
        }
        self.found_if_due();
    }

    fn found_if_due(&mut self) {
        let due = self.plan.steps / 4 * self.groups.len() as u64 / self.plan.groups as u64;
        if self.groups.len() >= self.plan.groups || self.steps < due {
            return;
        }
        let at = self.dice.below(self.members.len());
        self.found(at);
    }

    pub fn found(&mut self, at: usize) -> GroupId {
        let group = GroupId::from_bytes(self.dice.bytes());
        let title = format!("group {}", self.groups.len());
        self.ask(at, group, What::Other, &Command::Found { group, title });
        self.groups.push(group);
        self.members[at].note_stay(&group, None);
        group
    }

    pub fn ask(&mut self, member: usize, group: GroupId, what: What, command: &Command) {
        let id = OperationId::from_bytes(self.dice.bytes());
        if self.members[member].submit(id, command) {
            self.asked.insert(id, Asked { member, group, what, of: None, accepts: None });
        }
    }

    fn ask_for(&mut self, member: usize, group: GroupId, of: usize, command: &Command) {
        let id = OperationId::from_bytes(self.dice.bytes());
        if self.members[member].submit(id, command) {
            let (what, of) = (What::Other, Some(of));
            self.asked.insert(id, Asked { member, group, what, of, accepts: None });
        }
    }

    /// One of the groups that somebody is in.
    pub fn group_of(&mut self, at: usize) -> Option<GroupId> {
        let member = &self.members[at];
        let mut open: Vec<GroupId> = Vec::new();
        for group in &self.groups {
            let stay = member.told.stays.get(group).and_then(|stays| stays.last());
            if stay.is_some_and(|stay| stay.to.is_none()) {
                open.push(*group);
            }
        }
        if open.is_empty() { None } else { Some(open[self.dice.below(open.len())]) }
    }

    fn send(&mut self, at: usize) {
        let Some(group) = self.group_of(at) else { return };
        let len = self.dice.below(200);
        let content = vec![b'm'; len];
        self.ask(at, group, What::Message, &Command::Send { group, content });
    }

    fn change(&mut self, at: usize, command: impl FnOnce(GroupId, &mut Dice) -> Command) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        let command = command(group, &mut self.dice);
        self.ask(at, group, What::Other, &command);
    }

    fn others(&self, at: usize, group: &GroupId) -> Vec<MemberId> {
        let view = self.members[at].client.group(group).unwrap();
        let own = self.members[at].client.me().id;
        view.members.iter().map(|person| person.id).filter(|id| *id != own).collect()
    }

    fn invite(&mut self, at: usize) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        let known = self.others(at, &group);
        if known.len() + 1 >= self.plan.members {
            return;
        }
        let of = self.dice.below(self.members.len());
        if of == at || known.contains(&self.members[of].client.me().id) {
            return;
        }
        if self.dice.below(4) == 0 {
            return self.ask_to_join(at, of, group);
        }
        let newcomer = &mut self.members[of];
        let command = if self.dice.below(3) == 0 {
            let made = newcomer.attempt(|client, now| client.key_packages(now, 1)).unwrap();
            let Some(packages) = made else { return };
            Command::Add { group, packages }
        } else {
            Command::Invite { group, mailbox: newcomer.client.mailbox(), member: None }
        };
        self.ask_for(at, group, of, &command);
    }

    fn remove(&mut self, at: usize) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        let known = self.others(at, &group);
        if known.len() > 2 {
            let members = vec![known[self.dice.below(known.len())]];
            self.ask(at, group, What::Other, &Command::Remove { group, members });
        }
    }

    fn leave(&mut self, at: usize) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        if self.others(at, &group).len() > 2 {
            self.ask(at, group, What::Leave, &Command::Leave(group));
        }
    }

    fn cancel(&mut self, at: usize) {
        let Some((id, group)) = self.unsettled(at).next_back() else { return };
        self.ask(at, group, What::Other, &Command::Cancel(id));
    }

    /// What somebody asked for and heard nothing of yet.
    pub fn unsettled(&self, at: usize) -> impl DoubleEndedIterator<Item = (OperationId, GroupId)> {
        let told = &self.members[at].told;
        let asked = self.asked.iter().filter(move |(_, asked)| asked.member == at);
        asked
            .filter(|(id, _)| !told.verdicts.contains_key(*id))
            .map(|(id, asked)| (*id, asked.group))
    }

    /// A clock is a year off, or right again.
    fn set_clock(&mut self, at: usize) {
        let right = WALL + self.moment;
        self.members[at].now.wall = match self.dice.below(4) {
            0 => right - YEAR,
            1 => right + YEAR,
            _ => right,
        };
    }

    /// Somebody pushes a piece of a log, in any order, some of it twice.
    fn push(&mut self, at: usize) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        let log = self.network.service.log(&group);
        let cursor = self.members[at].client.group(&group).unwrap().cursor.0;
        let first = cursor.saturating_sub(self.dice.below(3) as u64);
        let news = log.into_iter().filter(|item| item.position.0 > first);
        let mut items: Vec<Item> = news.take(4).collect();
        let head = items.last().map_or(Position(cursor), |item| item.position);
        let again = items.clone();
        items.extend(again);
        self.dice.shuffle(&mut items);
        let places: Vec<(LogId, Position)> =
            items.iter().map(|item| (group, item.position)).collect();
        let page = Page { items, forgotten: Position::START, head };
        let input = Input::Page { log: group, page };
        self.members[at].take(&Answer { input, items: places });
    }

    /// An answer comes late, or once more.
    fn late_answer(&mut self, at: usize) {
        let member = &mut self.members[at];
        if member.late.is_empty() {
            return;
        }
        let which = self.dice.below(member.late.len());
        let answer = match self.dice.below(3) {
            0 => member.late[which].clone(),
            _ => member.late.swap_remove(which),
        };
        member.take(&answer);
    }

    /// The service keeps no longer what only one member has not read.
    fn forget(&mut self, at: usize) {
        let Some(group) = self.group_of(at).filter(|group| !self.is_forked(at, group)) else {
            return;
        };
        if self.unsettled(at).any(|(_, of)| of == group) {
            return;
        }
        let others = self.members.iter().filter(|other| other.at != at && other.is_in(&group));
        let read = others.map(|other| other.client.group(&group).unwrap().cursor).min();
        if let Some(read) = read {
            trace(|| format!("{group} is kept no longer up to {}", read.0));
            self.network.service.forget(&group, read);
        }
    }

    /// The network is good, the clocks are right, and all time that is needed passes; gives how many rounds it
    /// took.
    pub fn settle(&mut self) -> usize {
        self.network.service.set_faults(Faults::default(), 1);
        for member in &mut self.members {
            member.restart();
            member.now.wall = WALL + self.moment;
        }
        for round in 0..MAX_ROUNDS {
            for member in &mut self.members {
                member.turn(&mut self.network);
            }
            if let (10, Some(fork)) = (round, &self.network.fork) {
                let (group, member) = (fork.group, fork.member);
                // What they were asked for may have been called off since.
                self.ask(member, group, What::Other, &Command::Refresh(group));
                let other = self
                    .members
                    .iter()
                    .find(|other| other.is_in(&group) && !self.is_forked(other.at, &group));
                if let Some(other) = other.map(|other| other.at) {
                    self.ask(other, group, What::Other, &Command::Refresh(group));
                }
            }
            self.end_fork();
            if round > 20 && self.network.fork.is_none() && self.is_settled() {
                // What was sent in this round is read in the next ones. By that somebody may be within reach who
                // was not before, and comes in.
                for _ in 0..3 {
                    self.members.iter_mut().for_each(|member| member.pass(2_500));
                    for member in &mut self.members {
                        member.turn(&mut self.network);
                    }
                }
                if self.is_settled() {
                    return round;
                }
            }
            // At first what comes by itself; then what was put off for hours; then what happens once a day.
            let wait = match round {
                0..40 => 2_500,
                40..100 => 60_000,
                _ => 3_600_000,
            };
            self.members.iter_mut().for_each(|member| member.pass(wait));
            self.moment += wait;
        }
        if let (Some(fork), Some(past)) = (&self.network.fork, self.forks.last()) {
            let view = self.members[fork.member].client.group(&fork.group).unwrap();
            let tell = |service: &MemoryService| {
                let log = service.log(&fork.group);
                log.iter().filter(|item| item.position > past.common).count()
            };
            let (one, other) = (tell(&self.network.service), tell(&fork.service));
            panic!(
                "person {} stays in a fork from {:?} with {other} items, not {one}: {view:?}",
                fork.member, past.common
            );
        }
        MAX_ROUNDS
    }

    fn is_settled(&self) -> bool {
        self.groups.iter().all(|group| self.check_agreement(group).is_ok())
            && (0..self.members.len()).all(|at| self.open_commands(at).is_empty())
    }

    /// What was never settled, and should be.
    pub fn open_commands(&self, at: usize) -> Vec<OperationId> {
        let open = self.unsettled(at).filter(|(id, group)| {
            // Nobody is there to let go who is alone.
            let alone = self.asked[id].what == What::Leave && self.others(at, group).is_empty();
            !alone && !self.is_cut_off(at, group)
        });
        open.map(|(id, _)| id).collect()
    }
}
