//! Members who are shown another log than the others.

use std::collections::BTreeMap;

use cc_client::{Command, Faults, GroupId, MemoryService, Position};

use super::{
    network::Fork,
    trace,
    world::{What, World},
};

/// A member was shown another log of a group than the others.
pub struct PastFork {
    pub member: usize,
    pub group: GroupId,
    /// What both logs have in common.
    pub common: Position,
    /// How far the member had read the other one in the end.
    pub read: Position,
}

impl World {
    /// Whether a member is, or was, shown another log of a group.
    pub fn is_forked(&self, at: usize, group: &GroupId) -> bool {
        self.members[at].forked.contains(group)
    }

    /// The service shows somebody another log of a group from now on, and something changes in both.
    pub fn fork(&mut self, at: usize) {
        let Some(group) = self.group_of(at) else { return };
        let waits = self.unsettled(at).any(|(_, of)| of == group);
        // Who is to come back does so in the log of the others, and changes nothing in this one.
        let waits = waits || !self.members[at].client.group(&group).unwrap().in_step;
        if waits || self.network.fork.is_some() || self.is_forked(at, &group) {
            return;
        }
        let other = self.members.iter().find(|other| {
            other.at != at && other.is_in(&group) && !self.is_forked(other.at, &group)
        });
        let Some(other) = other.map(|other| other.at) else { return };
        let service = self.network.service.fork();
        service.set_faults(Faults::default(), 1);
        let Some(common) = service.log(&group).last().map(|item| item.position) else { return };
        let member = &mut self.members[at];
        // What is under way is of the one log.
        member.late.clear();
        member.forked.insert(group);
        self.network.fork = Some(Fork { member: at, group, service });
        trace(|| format!("person {at} is shown another {group} behind {}", common.0));
        self.forks.push(PastFork { member: at, group, common, read: common });
        for both in [at, other] {
            self.ask(both, group, What::Other, &Command::Refresh(group));
        }
    }

    /// Everybody sees the one log again, if something has changed in both.
    pub fn end_fork(&mut self) {
        let (Some(fork), Some(past)) = (&self.network.fork, self.forks.last_mut()) else { return };
        let changed = |service: &MemoryService| {
            let log = service.log(&fork.group);
            log.iter().any(|item| item.commit && item.position > past.common)
        };
        let view = self.members[fork.member].client.group(&fork.group).unwrap();
        let (one, other) = (&self.network.service, &fork.service);
        let last = other.log(&fork.group).last().map(|item| item.position);
        // Who was removed by what both logs have in common changes nothing any more, nor does who was added
        // again in the log of the others: its welcome is not confirmed by the log that it sees.
        let told = &self.members[fork.member].told;
        let times = |told: &BTreeMap<GroupId, u32>| told.get(&fork.group).copied().unwrap_or(0);
        let lost = !view.in_step && times(&told.diverged) > times(&told.repaired);
        let over = view.epoch.is_none() || lost;
        if over || changed(one) && changed(other) && Some(view.cursor) == last {
            past.read = view.cursor;
            trace(|| format!("the fork of {} ends", fork.group));
            self.members[fork.member].late.clear();
            self.network.fork = None;
        }
    }
}
