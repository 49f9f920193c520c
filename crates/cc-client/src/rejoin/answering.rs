//! Members that ask to be added anew, and what becomes of their requests.

use std::collections::BTreeSet;

use cc_core::MemberId;

use super::REJOIN;
use crate::{
    Client, Fate, Fault, GroupId, Now, Position,
    frame::{self, RejoinRequest},
    mail::MailAddress,
    person,
    records::{self, Queued, ReturnRecord, Standing, Work},
    seat,
};

/// Milliseconds after which the key package in a request has expired, and a week more.
const EXPIRED: u64 = 91 * 24 * 3_600_000;

impl Client {
    /// Who is back need not be brought back: a second time would put it out, for its key package is used.
    pub(crate) fn drop_readmissions(
        &mut self,
        group: &GroupId,
        added: &[[u8; 32]],
    ) -> Result<(), Fault> {
        if added.is_empty() {
            return Ok(());
        }
        for (number, queued) in self.state.queue(group)? {
            let Work::Readmit(offers) = queued.work else { continue };
            let mut waits = Vec::new();
            for offer in offers {
                let bundle = seat::read_offer(&offer)?.bundle;
                let id = seat::package_member(self.group_seat(group)?, bundle.as_slice());
                if id.is_ok_and(|id| !added.contains(id.as_bytes())) {
                    waits.push(offer);
                }
            }
            if waits.is_empty() {
                self.dequeue(group, number)?;
            } else {
                let queued = Queued { operation: queued.operation, work: Work::Readmit(waits) };
                self.state.put_queued(group, number, queued)?;
            }
        }
        Ok(())
    }

    /// What this member was asked before it came back itself may be done: it did not read who is back since. Who is not
    /// asks again.
    pub(crate) fn drop_all_readmissions(&mut self, group: &GroupId) -> Result<(), Fault> {
        for (number, queued) in self.state.queue(group)? {
            if matches!(queued.work, Work::Readmit(_)) {
                self.dequeue(group, number)?;
            }
        }
        Ok(())
    }

    /// Somebody asks to be added anew.
    pub(crate) fn rejoin_request(
        &mut self,
        request: RejoinRequest,
        now: Now,
    ) -> Result<Fate, Fault> {
        let RejoinRequest { body, signature } = request;
        let group = body.group;
        let known = self.state.groups.get(&group);
        if body.to != self.state.mailbox || known.is_none() {
            return Ok(Fate::Malformed);
        }
        if known.is_none_or(|group| group.standing != Standing::Member) {
            return Ok(Fate::Request);
        }
        let seat = self.group_seat(&group)?;
        seat.set_time(Some(now.seconds()));
        let Ok(member) = seat::package_member(seat, body.offer.bundle.as_slice()) else {
            return Ok(Fate::Malformed);
        };
        if !seat::is_signed(seat, &body.offer) {
            return Ok(Fate::Forged);
        }
        let Some(key) = seat::device_key(seat, &member) else { return Ok(Fate::Malformed) };
        if !person::signed(&key, REJOIN, &body, &signature) {
            return Ok(Fate::Forged);
        }
        if self.is_revoked(&member)? {
            return Ok(Fate::Request);
        }
        let scope = records::returns(&group);
        let mut record = self.return_record(&group, member.as_bytes())?;
        if body.time <= record.asked {
            return Ok(Fate::Duplicate);
        }
        // Of before the member was added last: it is back. Unless it has asked again since, for the welcome
        // may be lost, or its state.
        let answered = body.joined_at < record.added_at && !record.asked_since;
        (record.asked, record.asked_since) = (body.time, true);
        let under_way = self.state.group(&group)?.in_flight.as_ref();
        let under_way = under_way
            .is_some_and(|sent| record.queued.is_some_and(|number| sent.what.concerns(number)));
        if answered || under_way {
            self.state.put(&scope, *member.as_bytes(), &record)?;
            return Ok(if answered { Fate::Duplicate } else { Fate::Request });
        }
        // The latest request is answered: who asks for ever fills no queue.
        if let Some(waits) = record.queued.take() {
            self.dequeue(&group, waits)?;
        }
        let work = Work::Readmit(vec![frame::encode(&body.offer)?]);
        record.queued = self.take_turn(&group, work, body.turn.into(), now)?;
        self.state.put(&scope, *member.as_bytes(), &record)?;
        Ok(Fate::Request)
    }

    /// Members were added at this position: what they asked before is done.
    pub(crate) fn note_additions(
        &mut self,
        group: &GroupId,
        added: &[[u8; 32]],
        position: Position,
    ) -> Result<(), Fault> {
        let scope = records::returns(group);
        for person in added {
            let known = self.return_record(group, person)?;
            let (added_at, asked_since, queued, silent) = (position, false, None, 0);
            let record = ReturnRecord { added_at, asked_since, queued, silent, ..known };
            self.state.put(&scope, *person, &record)?;
        }
        Ok(())
    }

    /// A member that this one invited gets its welcome at this address.
    pub(crate) fn note_address(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        address: &MailAddress,
    ) -> Result<(), Fault> {
        let mut record = self.return_record(group, member.as_bytes())?;
        record.invited_at = Some(frame::encode(address)?);
        self.state.put(&records::returns(group), *member.as_bytes(), &record)
    }

    /// Forgets what is of no use any more of those who are not members: all but the time of their last request, by which
    /// one of before is known that a service delivers once more when they have come in again; and that when the key package in
    /// it has expired. Not where this member itself has left: whom it invited may still wait for it when it comes back.
    pub(crate) fn forget_returns(
        &mut self,
        group: &GroupId,
        members: &[MemberId],
        now: Now,
    ) -> Result<(), Fault> {
        let scope = records::returns(group);
        let members: BTreeSet<&[u8]> =
            members.iter().map(|member| &member.as_bytes()[..]).collect();
        for (member, record) in self.state.list::<ReturnRecord>(&scope, usize::MAX)? {
            if members.contains(member.as_slice()) {
                continue;
            }
            let over = record.asked.saturating_add(EXPIRED) < now.wall;
            let kept = ReturnRecord { asked: record.asked, ..ReturnRecord::default() };
            if over || kept == ReturnRecord::default() {
                self.state.delete(&scope, member)?;
            } else if kept != record {
                self.state.put(&scope, member, &kept)?;
            }
        }
        Ok(())
    }

    pub(super) fn return_record(
        &self,
        group: &GroupId,
        member: &[u8; 32],
    ) -> Result<ReturnRecord, Fault> {
        Ok(self.state.get(&records::returns(group), member)?.unwrap_or_default())
    }
}
