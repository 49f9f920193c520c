//! Members of whom nothing is heard: others offer to add them anew.
//!
//! Who fell out of step asks the members that it knows. If all of these have left it has nobody to ask, and those
//! who came since cannot know that it has fallen out. So members look around once a day. Where nothing was heard
//! of one of them since, two of the others, if they can of those of whom something was heard, write to its mailbox where it may ask. Who is in step,
//! and was only silent, has no use for that. Who was added and never came in, for the welcome was lost or could not be
//! opened, or of whose coming in nothing is left, for the store was restored from before it, asks as well; but not where a
//! copy of the device was restored elsewhere and is in the groups now.

use std::cmp::Reverse;

use cc_core::MemberId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Client, Fate, Fault, GroupId, LogId, Now, Position,
    command::MAX_REQUESTS,
    device::DeviceCertificate,
    frame::{self, Mail},
    mail::MailAddress,
    person::{self, PersonKeys},
    records::{self, ReturnRecord, SeenRecord, Standing},
    seat,
};

/// Milliseconds between two looks around in one group, by the wall clock.
const LOOK: u64 = 24 * 3_600_000;
/// Milliseconds between the looks around in two groups, so that who was away for long does not do all at once.
const PACE: u64 = 10_000;
/// Members that write to the same silent one.
const WRITERS: usize = 2;
/// Offers that one look makes at the most.
const MAX_OFFERS: usize = 16;
/// Offers to this member that are kept of one group.
const MAX_OFFERS_KEPT: usize = 8;
/// Of those, how many are made use of by one request.
const USED_AT_ONCE: usize = 3;
/// Who saw the member being added takes the first request for one of before that, so an offer is used twice before it
/// counts as one that was tried.
const TRIES: u32 = 2;
/// What a device signs its offer under.
const OFFER: &str = "rejoin offer";

/// A member offers to add another one anew.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct RejoinOffer {
    body: OfferBody,
    /// Ed25519 by the device key of who offers it, over a label and the body.
    signature: [u8; 64],
}

/// What is signed of a [`RejoinOffer`].
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct OfferBody {
    group: LogId,
    /// Whom it is for: the mailbox.
    to: LogId,
    /// Where the commit is by which who it is for was last added, where the writer read it, or else 0.
    added_at: Position,
    /// Who offers it: the keys of the person, and the device's certificate.
    keys: PersonKeys,
    certificate: DeviceCertificate,
    /// Where it may be asked.
    address: MailAddress,
}

/// An offer that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfferRecord {
    /// Where: a `MailAddress`, as it travels.
    address: Vec<u8>,
    /// By the wall clock, in milliseconds since 1970.
    came: u64,
    /// Requests that went there since.
    tried: u32,
    /// The device was known before: it is no one that somebody made up.
    known: bool,
}

impl OfferBody {
    /// Whether the device says so that gets its mail where it is to be asked.
    fn is_signed(&self, signature: &[u8; 64]) -> bool {
        let Self { keys, certificate, address, .. } = self;
        let key = &certificate.body.device_key;
        keys.verify()
            && certificate.is_of_person(keys)
            && certificate.is_of_device(key)
            && certificate.body.mailbox == address.mailbox()
            && address.is_of_device(&certificate.member(), key)
            && person::signed(key, OFFER, self, signature)
    }
}

impl Client {
    /// Something was heard of a member, other than a message.
    pub(crate) fn note_sign_of_life(
        &mut self,
        group: &GroupId,
        member: &[u8; 32],
    ) -> Result<(), Fault> {
        let record = self.return_record(group, member)?;
        if record.silent == 0 {
            return Ok(());
        }
        let record = ReturnRecord { silent: 0, ..record };
        self.state.put(&records::returns(group), *member, &record)
    }

    /// Looks of whom nothing was heard for a day, in a group that is at rest, and writes to some of them.
    pub(crate) fn look_around_if_due(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        let looked = self.state.group(group)?.looked;
        if looked == 0 || looked > now.wall {
            // The first look, or the clock went backwards.
            self.state.group_mut(group)?.looked = now.wall.max(1);
            return Ok(());
        }
        if now.wall - looked < LOOK || self.timers.next_look_around > now.mono {
            return Ok(());
        }
        self.timers.next_look_around = now.mono.saturating_add(PACE);
        self.state.group_mut(group)?.looked = now.wall;
        let own = self.identity.id;
        let (mut all, mut silent) = (vec![(own, 0)], Vec::new());
        let members = seat::member_ids(self.group_seat(group)?);
        self.forget_returns(group, &members, now)?;
        for member in members {
            if member == own {
                continue;
            }
            let seen = self.state.get(&records::seen(group), member.as_bytes())?;
            let said = seen.map_or(0, |seen: SeenRecord| seen.said());
            let known = self.return_record(group, member.as_bytes())?;
            let looks = if said == known.said { known.silent.saturating_add(1) } else { 0 };
            let record = ReturnRecord { said, silent: looks, ..known.clone() };
            if record != known {
                self.state.put(&records::returns(group), *member.as_bytes(), &record)?;
            }
            all.push((member, looks));
            if looks.is_power_of_two() {
                // Ever more rarely: it may have been left in a drawer.
                silent.push((rank(&own, &member, looks), member, looks));
            }
        }
        silent.sort_unstable_by_key(|(rank, ..)| *rank);
        let heard = all.iter().filter(|(_, looks)| *looks == 0).count();
        let mut offers = 0;
        for (mine, member, looks) in silent {
            // Where nobody says anything for days, nobody knows who reads.
            let most = if heard > WRITERS { 0 } else { looks };
            let writers = all.iter().filter(|(other, its)| *other != member && *its <= most);
            // No more than that is asked: the whole of a group for each of it takes long.
            let before = writers.filter(|(other, _)| rank(other, &member, looks) < mine);
            let before = before.take(WRITERS).count();
            // Who never said who it is cannot be written to but by who invited it.
            let unknown = self.state.device(member.as_bytes())?.is_none();
            if (before < WRITERS || unknown)
                && offers < MAX_OFFERS
                && self.offer_rejoin(group, &member, now)?
            {
                offers += 1;
            }
        }
        Ok(())
    }

    /// Writes to a member where it may ask to be added anew; `false` where that cannot be done.
    fn offer_rejoin(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        now: Now,
    ) -> Result<bool, Fault> {
        let own = self.state.device(self.identity.id.as_bytes())?;
        let (Some(own), Some(to)) = (own, self.address_of(group, member, now)?) else {
            return Ok(false);
        };
        if self.state.own.linking || self.state.requests.len() >= MAX_REQUESTS {
            return Ok(false);
        }
        let keys = self.state.own_contact()?.keys()?;
        let (group, added_at) = (*group, self.return_record(group, member.as_bytes())?.added_at);
        let (certificate, address) = (own.certificate()?, self.mail_address()?);
        let body = OfferBody { group, to: to.mailbox(), added_at, keys, certificate, address };
        let signature = person::sign(&self.identity.device_key()?, OFFER, &body)?;
        let offer = Mail::RejoinOffer(RejoinOffer { body, signature });
        Ok(self.send_mail(&to, &offer)?.is_some())
    }

    /// Somebody offers to add this member anew. It is kept until there is use for it. That is no proof that its maker
    /// is a member, which a welcome from there has to give as every other one.
    pub(crate) fn rejoin_offered(&mut self, offer: RejoinOffer, now: Now) -> Result<Fate, Fault> {
        let RejoinOffer { body, signature } = offer;
        let group = body.group;
        let standing = self.state.groups.get(&group).map(|group| group.standing);
        let member = body.certificate.member();
        if body.to != self.state.mailbox
            || [group, body.address.mailbox()].contains(&body.to)
            || member == self.identity.id
        {
            return Ok(Fate::Malformed);
        }
        let outside = matches!(standing, None | Some(Standing::Removed));
        let has_stack = !outside && !matches!(standing, Some(Standing::Restored(_)));
        if !body.is_signed(&signature) {
            return Ok(Fate::Forged);
        }
        if self.is_revoked(&member)? {
            return Ok(Fate::Request);
        }
        let device_key = body.certificate.body.device_key;
        let known_key = match self.state.device(member.as_bytes())? {
            Some(device) => Some(device.certificate()?.body.device_key),
            None if has_stack => seat::device_key(self.group_seat(&group)?, &member),
            None => None,
        };
        if known_key.is_some_and(|known| known != device_key) {
            // Another device, by the name of one that is known.
            return Ok(Fate::Forged);
        }
        if self.is_outdated(&group, &body.address, now)? {
            // It is of before, and may be repeated by who has stolen the key since.
            return Ok(Fate::Request);
        }
        if outside {
            self.offered_to_newcomer(&group, &body.address, body.added_at, now)?;
            return Ok(Fate::Request);
        }
        let address = frame::encode(&body.address)?;
        let known = known_key.is_some();
        let offer = OfferRecord { address, came: now.wall, tried: 0, known };
        if self.keep_offer(&group, device_key, &offer)? {
            self.hasten_rejoin(&group, now)?;
        }
        Ok(Fate::Request)
    }

    /// Keeps an offer, by the key of the device that made it. Past the bound one is given up: anybody can make up devices
    /// that nobody knows, so of those, or else the oldest one. `false` where that is this one.
    fn keep_offer(
        &mut self,
        group: &GroupId,
        device_key: [u8; 32],
        offer: &OfferRecord,
    ) -> Result<bool, Fault> {
        let scope = records::offers(group);
        let mut offers = self.state.list::<OfferRecord>(&scope, MAX_OFFERS_KEPT)?;
        offers.retain(|(key, _)| *key != device_key);
        if offers.len() >= MAX_OFFERS_KEPT
            && let Some((key, worst)) = offers.iter().min_by_key(|(_, it)| (it.known, it.came))
        {
            if worst.known && !offer.known {
                return Ok(false);
            }
            self.state.delete(&scope, key.clone())?;
        }
        self.state.put(&scope, device_key, offer)?;
        Ok(true)
    }

    /// Whether somebody offered help who was not asked for it yet.
    pub(super) fn has_offers_to_use(&self, group: &GroupId) -> Result<bool, Fault> {
        let offers = self.state.list::<OfferRecord>(&records::offers(group), MAX_OFFERS_KEPT)?;
        Ok(offers.iter().any(|(_, offer)| offer.tried < TRIES))
    }

    /// The addresses of some who offered help, those first that were asked least, and of them who is known; takes note that they
    /// are asked, and forgets those who have a later address since.
    pub(super) fn offers_to_use(
        &mut self,
        group: &GroupId,
        now: Now,
    ) -> Result<Vec<MailAddress>, Fault> {
        let scope = records::offers(group);
        let mut offers = self.state.list::<OfferRecord>(&scope, MAX_OFFERS_KEPT)?;
        offers.sort_by_key(|(_, offer)| (offer.tried, !offer.known, Reverse(offer.came)));
        let mut addresses = Vec::new();
        for (key, mut offer) in offers {
            let address = match frame::decode::<MailAddress>(&offer.address) {
                Ok(address) if !self.is_outdated(group, &address, now)? => address,
                _ => {
                    self.state.delete(&scope, key)?;
                    continue;
                }
            };
            if addresses.len() < USED_AT_ONCE {
                offer.tried = offer.tried.saturating_add(1);
                self.state.put(&scope, key, &offer)?;
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// This member is back in a group.
    pub(crate) fn forget_offers(&mut self, group: &GroupId) -> Result<(), Fault> {
        let scope = records::offers(group);
        for (key, _) in self.state.list::<OfferRecord>(&scope, MAX_OFFERS_KEPT)? {
            self.state.delete(&scope, key)?;
        }
        Ok(())
    }
}

/// An order of those who may write to a silent member, another one each time.
fn rank(writer: &MemberId, to: &MemberId, looks: u32) -> [u8; 32] {
    let hash = Sha256::new()
        .chain_update(b"cc-client/1 rejoin offer")
        .chain_update(writer.as_bytes())
        .chain_update(to.as_bytes())
        .chain_update(looks.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
pub(crate) mod tests;
