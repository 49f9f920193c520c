//! What must hold when all is quiet.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use cc_client::{GroupId, OperationId, Position, Verdict};

use cc_core::MemberId;

use super::{
    member::Member,
    world::{Asked, What, World},
};

/// What happened, in numbers.
#[derive(Debug, Default)]
pub struct Figures {
    pub commands: usize,
    pub messages: usize,
    pub readings: usize,
    pub items: u64,
    pub crashes: u64,
    pub full_stores: u64,
    pub entered: usize,
    /// Who asked to join and was not let in.
    pub declined: usize,
    /// Who asked to join and took it back; and those of them who were accepted, and were let in without coming.
    pub withdrawn: usize,
    pub let_in_withdrawn: usize,
    pub repaired: u32,
    /// Who was told that nobody had brought it back for long.
    pub stranded: u32,
    /// Members that were removed and cannot read that, and know that they are out of step.
    pub cut_off: usize,
    /// Who is seen in a group and never came in, or fell out of step, and whom nobody there can write to.
    pub locked_out: usize,
    pub missed_readings: usize,
    pub commits: usize,
    pub refused: usize,
    /// Members that were shown another log, and what they sent into it.
    pub forks: usize,
    pub forked: usize,
}

impl World {
    /// All who are in a group see the same of it, and nobody else is seen in it.
    pub fn check_agreement(&self, group: &GroupId) -> Result<(), String> {
        let inside: Vec<_> = self.members.iter().filter(|member| member.is_in(group)).collect();
        let others = inside.iter().filter(|member| !self.is_cut_off(member.at, group));
        let seen: BTreeSet<MemberId> = others
            .flat_map(|member| {
                let view = member.client.group(group).unwrap();
                view.members.iter().map(|person| person.id).collect::<Vec<_>>()
            })
            .collect();
        let inside: Vec<_> = inside
            .into_iter()
            .filter(|member| {
                let listed = seen.contains(&member.client.me().id);
                !self.is_cut_off(member.at, group) || listed && !self.is_lost(member, group)
            })
            .collect();
        let Some(first) = inside.first() else { return Err(format!("{group} is empty")) };
        let expected = first.client.group(group).unwrap();
        for member in &inside {
            let view = member.client.group(group).unwrap();
            let same = view.epoch == expected.epoch && view.authenticator == expected.authenticator;
            if !same || !view.in_step {
                let (name, of) = (&member.name, &first.name);
                let (epoch, other) = (view.epoch, expected.epoch);
                return Err(format!(
                    "{group}: {name} is in {epoch:?} (in step: {}, cursor {:?}, forked: {}), {of} in \
                     {other:?} (in step: {}, cursor {:?}, forked: {})",
                    view.in_step,
                    view.cursor,
                    member.forked.contains(group),
                    expected.in_step,
                    expected.cursor,
                    first.forked.contains(group),
                ));
            }
        }
        for person in expected.members.iter() {
            let member = self.members.iter().find(|member| member.client.me().id == person.id);
            let member = member.ok_or_else(|| format!("{group} has a stranger"))?;
            if !member.is_in(group) && !self.is_locked_out(member, group) {
                return Err(format!("{} is seen in {group}, and is not", member.name));
            }
        }
        if expected.members.len() < inside.len() {
            return Err(format!("{group}: somebody is in it who is not seen"));
        }
        Ok(())
    }

    /// Whether somebody who is seen in a group, and never came in, is out of reach: who invited it has left since, and
    /// nobody who is there was ever told who it is. Whoever sees a member without a name can remove it, and invite it.
    fn is_locked_out(&self, member: &Member, group: &GroupId) -> bool {
        let (id, mut inside) = (member.client.me().id, Vec::new());
        for other in
            self.members.iter().filter(|it| it.is_in(group) && !self.is_cut_off(it.at, group))
        {
            let view = other.client.group(group).unwrap();
            if view.members.iter().any(|person| person.id == id && person.person.is_some()) {
                return false;
            }
            inside.push(other.at);
        }
        let invited = self.asked.iter().filter(|(_, asked)| {
            asked.group == *group && asked.of == Some(member.at) && inside.contains(&asked.member)
        });
        let done = |id: &OperationId, by: usize| {
            let verdicts = self.members[by].told.verdicts.get(id).into_iter().flatten();
            verdicts.into_iter().any(|verdict| matches!(verdict, Verdict::Done(_)))
        };
        !invited.into_iter().any(|(id, asked)| done(id, asked.member))
    }

    /// Whether somebody who is seen in a group is out of step, and can ask nobody: all whom it knows have left. Nobody who
    /// is there now can write to it.
    fn is_lost(&self, member: &Member, group: &GroupId) -> bool {
        let known = member.client.group(group).unwrap().members;
        let mut inside = self
            .members
            .iter()
            .filter(|it| it.at != member.at && it.is_in(group) && !self.is_cut_off(it.at, group));
        let helps = inside.any(|it| known.iter().any(|person| person.id == it.client.me().id));
        !helps && self.is_cut_off(member.at, group) && self.is_locked_out(member, group)
    }

    fn count_locked_out(&self, group: &GroupId) -> usize {
        let inside =
            self.members.iter().find(|it| it.is_in(group) && !self.is_cut_off(it.at, group));
        let Some(inside) = inside else { return 0 };
        let seen = inside.client.group(group).unwrap();
        let outside = self
            .members
            .iter()
            .filter(|member| !member.is_in(group) || self.is_lost(member, group));
        outside
            .filter(|it| seen.members.iter().any(|person| person.id == it.client.me().id))
            .count()
    }

    /// Whether a member knows that it is out of step, and can do nothing: the commit that removed it was
    /// forgotten before it was read, or is in a log that the member was not shown.
    pub fn is_cut_off(&self, at: usize, group: &GroupId) -> bool {
        let member = &self.members[at];
        let told = member.told.diverged.contains_key(group);
        told && member.client.group(group).is_ok_and(|view| !view.in_step)
    }

    pub fn check(&self) -> Figures {
        for group in &self.groups {
            self.check_agreement(group).unwrap();
        }
        let mut figures = Figures::default();
        for at in 0..self.members.len() {
            assert_eq!(self.open_commands(at), [], "{at} hears nothing of these");
            self.check_fates(at);
            let told = &self.members[at].told;
            figures.items += told.items;
            figures.crashes += self.members[at].crashes;
            figures.full_stores += self.members[at].full;
            figures.entered += told.stays.values().map(Vec::len).sum::<usize>();
            figures.repaired += told.repaired.values().sum::<u32>();
            figures.declined += told.declined;
            figures.stranded += told.stranded;
            figures.cut_off += self.groups.iter().filter(|it| self.is_cut_off(at, it)).count();
        }
        (figures.commands, figures.forks) = (self.asked.len(), self.forks.len());
        for group in &self.groups {
            figures.locked_out += self.count_locked_out(group);
            let log = self.network.service.log(group);
            figures.commits += log.iter().filter(|item| item.commit).count();
        }
        self.check_withdrawn(&mut figures);
        self.check_messages(&mut figures);
        figures
    }

    /// Who took back a request to join did not come in by it, whether it was accepted or not.
    fn check_withdrawn(&self, figures: &mut Figures) {
        figures.withdrawn = self.joins.iter().filter(|join| join.withdrawn).count();
        for (id, asked) in &self.asked {
            let Some(join) = asked.accepts.and_then(|number| self.joins.get(number)) else {
                continue;
            };
            assert_eq!(join.group, asked.group, "accepted for another group");
            let verdicts = self.members[asked.member].told.verdicts.get(id);
            let Some([Verdict::Done(position)]) = verdicts.map(Vec::as_slice) else { continue };
            if !join.withdrawn || self.was_forked(asked.member, &asked.group, *position) {
                continue;
            }
            figures.let_in_withdrawn += 1;
            let member = &self.members[join.member];
            let stays = member.told.stays.get(&join.group).into_iter().flatten();
            let by_it = stays.into_iter().find(|stay| stay.from == *position);
            assert!(by_it.is_none(), "{} took it back, and came in: {by_it:?}", member.name);
        }
    }

    /// The same for two runs in which the same happened.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for group in &self.groups {
            group.as_bytes().hash(&mut hasher);
            for item in self.network.service.log(group) {
                (item.position.0, item.commit, &item.bytes).hash(&mut hasher);
            }
        }
        for member in &self.members {
            let told = &member.told;
            let (id, seen) = (member.client.me().id, (member.crashes, member.full, told.items));
            format!("{id:?} {seen:?} {:?} {:?}", told.read, told.verdicts).hash(&mut hasher);
            format!("{:?} {:?} {:?}", told.fates, told.stays, told.missed).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Every position of a group that somebody was in has a fate, or it was told that it was missed.
    fn check_fates(&self, at: usize) {
        let member = &self.members[at];
        for (group, stays) in &member.told.stays {
            let cursor = member.client.group(group).unwrap().cursor;
            for stay in stays {
                let end = stay.to.unwrap_or(cursor.next());
                for position in stay.from.0 + 1..end.0 {
                    let position = Position(position);
                    let (place, told) = ((*group, position), &member.told);
                    let known = told.fates.contains_key(&place)
                        || told.again.contains(&place)
                        || told.early.contains(&place)
                        || told.untold.contains(&place)
                        || told.was_missed(group, position);
                    assert!(known, "{} of {group} is nothing to {}", position.0, member.name);
                }
            }
        }
    }

    /// What was sent is read once by all who were members, and what was not is read by nobody.
    fn check_messages(&self, figures: &mut Figures) {
        let ids: BTreeMap<_, _> =
            self.members.iter().map(|member| (member.client.me().id, member.at)).collect();
        for reader in &self.members {
            for ((group, id), readings) in &reader.told.read {
                let asked = self.asked.get(id);
                let asked =
                    asked.unwrap_or_else(|| panic!("{} read what nobody sent", reader.name));
                assert_eq!(readings.len(), 1, "{} read {id:?} at {readings:?}", reader.name);
                let from = ids.get(&readings[0].0);
                assert_eq!((Some(&asked.member), asked.group), (from, *group), "of somebody else");
                figures.readings += 1;
            }
        }
        for (id, asked) in &self.asked {
            let sender = &self.members[asked.member];
            let verdicts = sender.told.verdicts.get(id).cloned().unwrap_or_default();
            if verdicts.is_empty() {
                // It is still open, and may be.
                continue;
            }
            assert_eq!(verdicts.len(), 1, "{}: {id:?} is {verdicts:?}", sender.name);
            if asked.what != What::Message {
                continue;
            }
            figures.messages += 1;
            if sender.forked.contains(&asked.group)
                && self.is_of_fork(asked.member, asked, &verdicts)
            {
                figures.forked += 1;
                continue;
            }
            match &verdicts[0] {
                Verdict::Done(position) => {
                    self.check_read_by_all(id, asked.member, &asked.group, *position, figures);
                }
                verdict => {
                    figures.refused += 1;
                    for reader in &self.members {
                        let read = reader.told.read.contains_key(&(asked.group, *id));
                        assert!(!read, "{} read what was {verdict:?}", reader.name);
                    }
                }
            }
        }
    }

    /// Whether a member saw something else at this position than the others.
    fn was_forked(&self, at: usize, group: &GroupId, position: Position) -> bool {
        self.forks.iter().any(|fork| {
            let told = &self.members[at].told;
            let missed = told.missed.get(group).and_then(|missed| missed.last());
            let back = missed.map_or(fork.read, |missed| missed.end.max(fork.read));
            let removed = !told.repaired.contains_key(group);
            let of = fork.member == at && fork.group == *group;
            of && position > fork.common && (removed || position <= back)
        })
    }

    fn is_of_fork(&self, at: usize, asked: &Asked, verdicts: &[Verdict]) -> bool {
        match verdicts {
            [Verdict::Done(position)] => self.was_forked(at, &asked.group, *position),
            _ => true,
        }
    }

    fn check_read_by_all(
        &self,
        id: &OperationId,
        sender: usize,
        group: &GroupId,
        position: Position,
        figures: &mut Figures,
    ) {
        for reader in self.members.iter().filter(|reader| reader.at != sender) {
            let Some(stays) = reader.told.stays.get(group) else { continue };
            if !stays.iter().any(|stay| stay.covers(position)) {
                continue;
            }
            if reader.told.read.contains_key(&(*group, *id)) {
                continue;
            }
            if self.is_cut_off(reader.at, group)
                || self.was_forked(reader.at, group, position)
                || reader.told.was_missed(group, position)
            {
                figures.missed_readings += 1;
                continue;
            }
            let fate = reader.told.fates.get(&(*group, position));
            let again = reader.told.again.contains(&(*group, position));
            panic!(
                "{} lost {id:?} of person {sender} at {} of {group}, which is {fate:?} (again: {again}), \
                 {stays:?}",
                reader.name, position.0
            );
        }
    }
}
