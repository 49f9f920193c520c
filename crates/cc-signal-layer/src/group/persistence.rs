//! The state of a group at rest. The names of the records, and what is in them:
//!
//! | name | record |
//! |---|---|
//! | `a`... | the account |
//! | `g` | 1 (+ 32) 0, or 1 and the id of this member; 1 phase, 4 how many key packages wait; of a member and a former one also 32 mask, 1 how many epochs, for each 8 its number; of a member also 4 how many members, 1 whether there is a staged change |
//! | `b` 32 | the keys of the member with this id |
//! | `e` 8 | of the epoch with this number 32 transcript, 32 authenticator, 32 header key, 4 how many members, 4 the index of this one |
//! | `c` 8 4 | of the member with this index in the epoch with this number 32 id, 32 sender key; but for this member itself also 32 chain key, 4 number, 4 given up, 4 how many skipped keys |
//! | `c` 8 4 4 | a block of those keys: for each 1 place in the block, 32 key |
//! | `o` | one's own chain: 32 key, 4 number |
//! | `s` | 128 one's own private keys, 32 init secret |
//! | `p` 8 | a key package: 32 reference, 224 private keys |
//! | `n` | of the staged change 1 whether it founds the group, 8 epoch, 32 history, 32 joiner secret, 128 own private keys, 4 how many go, for each 32 id, 4 how many have new keys |
//! | `nb` 32 | the new keys of the member with this id |
//!
//! So a message writes the chain it is in and nothing else: the same in any group.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{MemberId, limits::MAX_MEMBERS};

mod sink;

use sink::{Sink, write_map, write_piece};

use super::{
    Group,
    epoch::{Epoch, PAST_EPOCHS},
    header::{EpochMask, HeaderKey},
    key_package::PackageSecrets,
    key_schedule::{JoinerSecret, Roster},
    member_keys::{MemberKeys, MemberSecrets},
    sender::{Sender, SendingChain},
    shared_vec::SharedVec,
    state::{EpochKeys, Epochs, GroupState, MAX_PACKAGES, Member, NextEpoch, Package, Phase, Plan},
};
use crate::{
    Account, Error, Limits,
    codec::{Reader, Writer},
    ledger::Saving,
    state::{Records, Source, State},
};

impl Group {
    /// What differs from what the store has, with what is staged.
    pub(crate) fn save(&mut self, saving: &mut Saving<'_, '_>, head: impl FnOnce(&mut Records)) {
        self.transaction.saved = true;
        match &self.stored {
            Some(stored) if !saving.is_anew() => {
                if self.account_changed {
                    saving.part(ACCOUNT, |to| self.account.write(to));
                }
                self.current().write(Some(stored), saving);
            }
            _ => saving.part(b"", |to| {
                head(to);
                self.write_all(to);
            }),
        }
    }

    pub(crate) fn read(from: &mut Source, limits: Limits) -> Result<Self, Error> {
        let account = from.within(ACCOUNT, |from| Account::read(from, &limits))?;
        let state = GroupState::read(from, &limits)?;
        let own = state.member().zip(state.me).and_then(|(member, me)| member.roster.get(&me));
        if own.is_some_and(|own| own.identity() != account.identity()) {
            return Err(Error::InvalidState);
        }
        let stored = Some(state.clone());
        Ok(Self::with_state(account, limits, state, stored))
    }

    pub(crate) fn write_all(&self, to: &mut Records) {
        to.within(ACCOUNT, |to| self.account.write(to));
        self.current().write(None, to);
    }
}

impl GroupState {
    /// Writes what differs from `stored`, everything where there is nothing stored. Pieces that both
    /// share are not looked into.
    fn write(&self, stored: Option<&Self>, to: &mut impl Sink) {
        if stored.is_none_or(|stored| !self.has_head_of(stored)) {
            to.part(GROUP, |to| to.put(b"", |writer| self.write_head(writer)));
        }
        let packages = stored.map(|stored| &*stored.packages);
        write_map(Some(&*self.packages), packages, to, package_name, |package, to| {
            to.put(b"", |writer| package.write(writer));
        });
        self.write_epochs(stored, to);
        let (member, old) = (self.member(), stored.and_then(Self::member));
        let (secrets, chain) = (member.map(|m| &m.secrets), member.map(|m| &m.chain));
        write_piece(secrets, old.map(|old| &old.secrets), to, SECRETS, |secrets, to| {
            to.put(b"", |writer| secrets.write(writer));
        });
        write_piece(chain, old.map(|old| &old.chain), to, CHAIN, |chain, to| {
            to.put(b"", |writer| chain.write(writer));
        });
        let (roster, old) = (member.map(|m| &*m.roster), old.map(|old| &*old.roster));
        write_map(roster, old, to, member_name, |keys, to| {
            to.put(b"", |writer| writer.put(&keys.to_bytes()));
        });
        let old = stored.and_then(|stored| stored.plan.as_ref());
        write_piece(self.plan.as_ref(), old, to, PLAN, |plan, to| {
            if let Some(member) = member {
                plan.write(&member.roster, to);
            }
        });
    }

    fn write_epochs(&self, stored: Option<&Self>, to: &mut impl Sink) {
        let (epochs, old) = (self.epochs(), stored.and_then(Self::epochs));
        for epoch in epochs.into_iter().flat_map(Epochs::iter) {
            let old = old.and_then(|old| old.find(epoch.number));
            match old.filter(|old| old.transcript == epoch.transcript) {
                Some(old) => {
                    for index in epoch.senders.differences(&old.senders) {
                        if let Some(sender) = epoch.senders.get(index) {
                            let name = sender_name(epoch.number, Some(index));
                            to.part(&name, |to| sender.write(to));
                        }
                    }
                }
                None => {
                    let name = epoch_name(epoch.number);
                    to.part(&name, |to| to.put(b"", |writer| epoch.write(writer)));
                    to.part(&sender_name(epoch.number, None), |to| {
                        for (index, sender) in (0u32..).zip(epoch.senders.iter()) {
                            to.within(&index.to_be_bytes(), |to| sender.write(to));
                        }
                    });
                }
            }
        }
        for old in old.into_iter().flat_map(Epochs::iter) {
            if epochs.and_then(|epochs| epochs.find(old.number)).is_none() {
                to.part(&epoch_name(old.number), |_| ());
                to.part(&sender_name(old.number, None), |_| ());
            }
        }
    }

    fn write_head(&self, writer: &mut Writer) {
        writer.flag(self.me.is_some());
        if let Some(me) = &self.me {
            writer.put(me.as_bytes());
        }
        writer.u8(self.phase.number());
        writer.count(self.packages.len());
        if let Some(epochs) = self.epochs() {
            writer.put(epochs.mask.secret().expose());
            writer.u8(u8::try_from(1 + epochs.past.len()).unwrap_or(u8::MAX));
            epochs.iter().for_each(|epoch| writer.u64(epoch.number));
        }
        if let Some(member) = self.member() {
            writer.count(member.roster.len());
            writer.flag(self.plan.is_some());
        }
    }

    /// Whether the first record is certainly the same.
    fn has_head_of(&self, other: &Self) -> bool {
        let present = |state: &Self| state.epochs().map(|epochs| epochs.present.transcript);
        self.me == other.me
            && self.phase.number() == other.phase.number()
            && Arc::ptr_eq(&self.packages, &other.packages)
            && present(self) == present(other)
            && self.plan.is_some() == other.plan.is_some()
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let head = from.take(GROUP, Head::read)?;
        let packages = read_packages(from, head.packages)?;
        let (phase, plan) = match head.phase {
            HeadPhase::Outside => (Phase::Outside, None),
            HeadPhase::Removed(mask, numbers) => {
                (Phase::Removed(read_epochs(from, mask, &numbers, limits)?), None)
            }
            HeadPhase::Member { mask, numbers, members, plan } => {
                let me = head.me.ok_or(Error::InvalidState)?;
                let member = Member {
                    epochs: read_epochs(from, mask, &numbers, limits)?,
                    roster: Arc::new(from.within(MEMBER, |from| read_roster(from, members))?),
                    secrets: Arc::new(from.take(SECRETS, EpochKeys::read)?),
                    chain: Arc::new(from.take(CHAIN, SendingChain::read)?),
                };
                if !member.is_consistent(&me) {
                    return Err(Error::InvalidState);
                }
                let plan = if plan {
                    Some(Arc::new(from.within(PLAN, |from| Plan::read(&member, &me, from))?))
                } else {
                    None
                };
                (Phase::Member(member), plan)
            }
        };
        Ok(Self { me: head.me, phase, packages: Arc::new(packages), plan })
    }
}

/// The first record.
struct Head {
    me: Option<MemberId>,
    packages: u32,
    phase: HeadPhase,
}

enum HeadPhase {
    Outside,
    Member { mask: Arc<EpochMask>, numbers: Vec<u64>, members: u32, plan: bool },
    Removed(Arc<EpochMask>, Vec<u64>),
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let me = if reader.flag()? { Some(MemberId::from_bytes(reader.array()?)) } else { None };
        let (phase, packages) = (reader.u8()?, reader.u32()?);
        if phase == 0 {
            return Ok(Self { me, packages, phase: HeadPhase::Outside });
        }
        let mask = Arc::new(EpochMask::new(reader.secret()?));
        let count = usize::from(reader.u8()?);
        if !(1..=1 + PAST_EPOCHS).contains(&count) {
            return Err(Error::InvalidState);
        }
        let numbers = (0..count).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()?;
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err(Error::InvalidState);
        }
        let phase = match phase {
            1 => {
                let (members, plan) = (reader.u32()?, reader.flag()?);
                HeadPhase::Member { mask, numbers, members, plan }
            }
            2 => HeadPhase::Removed(mask, numbers),
            _ => return Err(Error::InvalidState),
        };
        Ok(Self { me, packages, phase })
    }
}

impl Phase {
    fn number(&self) -> u8 {
        match self {
            Self::Outside => 0,
            Self::Member(_) => 1,
            Self::Removed(_) => 2,
        }
    }
}

impl Epochs {
    /// The oldest first.
    fn iter(&self) -> impl Iterator<Item = &Epoch> {
        self.past.iter().chain([&self.present])
    }
}

impl Member {
    /// What the rest of the code relies on, and damage could break.
    fn is_consistent(&self, me: &MemberId) -> bool {
        let Self { epochs, roster, secrets, .. } = self;
        let senders = &epochs.present.senders;
        let alike = |((id, keys), sender): ((&MemberId, &Arc<MemberKeys>), &Arc<Sender>)| {
            *id == sender.id && *keys.sender() == sender.verifying
        };
        roster.get(me).is_some_and(|own| secrets.member.fit(own))
            && roster.len() == senders.len()
            && roster.iter().zip(senders.iter()).all(alike)
            && has_own_place(&epochs.present, Some(me))
    }
}

/// Whether this member is where the epoch says, and everybody else has a chain.
fn has_own_place(epoch: &Epoch, me: Option<&MemberId>) -> bool {
    let own = usize::try_from(epoch.own).unwrap_or(usize::MAX);
    let known = epoch.senders.get(own).is_some_and(|own| me.is_none_or(|me| *me == own.id));
    known
        && epoch
            .senders
            .iter()
            .enumerate()
            .all(|(index, sender)| sender.chain.is_none() == (index == own))
}

impl Epoch {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.transcript);
        writer.put(&self.authenticator);
        writer.put(self.header.secret().expose());
        writer.count(self.senders.len());
        writer.u32(self.own);
    }

    fn read(number: u64, from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let (transcript, authenticator, header, count, own) =
            from.take(&epoch_name(number), |reader| {
                let digests = (reader.array()?, reader.array()?);
                let header = Arc::new(HeaderKey::new(reader.secret()?));
                Ok((digests.0, digests.1, header, reader.u32()?, reader.u32()?))
            })?;
        if usize::try_from(count).map_or(true, |count| count > MAX_MEMBERS) {
            return Err(Error::InvalidState);
        }
        let senders = (0..count)
            .map(|index| {
                let index = usize::try_from(index).ok();
                from.within(&sender_name(number, index), |from| Sender::read(from, limits))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let senders = SharedVec::new(senders);
        let epoch = Self { number, transcript, authenticator, header, senders, own };
        if has_own_place(&epoch, None) { Ok(epoch) } else { Err(Error::InvalidState) }
    }
}

fn read_epochs(
    from: &mut Source,
    mask: Arc<EpochMask>,
    numbers: &[u64],
    limits: &Limits,
) -> Result<Epochs, Error> {
    let mut past = Vec::with_capacity(numbers.len());
    for number in numbers {
        past.push(Epoch::read(*number, from, limits)?);
    }
    let present = past.pop().ok_or(Error::InvalidState)?;
    Ok(Epochs { mask, present, past })
}

/// The keys of `count` members, all that is left in `from`.
fn read_roster(from: &mut Source, count: u32) -> Result<Roster, Error> {
    let mut roster = Roster::new();
    while let Some(name) = from.next_name() {
        let id = <[u8; 32]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
        let id = MemberId::from_bytes(id);
        let keys = from.take(&name, |reader| MemberKeys::read(reader, &id))?;
        roster.insert(id, Arc::new(keys));
    }
    let fits = u32::try_from(roster.len()) == Ok(count) && roster.len() <= MAX_MEMBERS;
    if fits { Ok(roster) } else { Err(Error::InvalidState) }
}

fn read_packages(from: &mut Source, count: u32) -> Result<BTreeMap<u64, Arc<Package>>, Error> {
    let mut packages = BTreeMap::new();
    from.within(PACKAGE, |from| {
        while let Some(name) = from.next_name() {
            let number = <[u8; 8]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
            let package = from.take(&name, Package::read)?;
            packages.insert(u64::from_be_bytes(number), Arc::new(package));
        }
        Ok(())
    })?;
    let fits = u32::try_from(packages.len()) == Ok(count) && packages.len() <= MAX_PACKAGES;
    if fits { Ok(packages) } else { Err(Error::InvalidState) }
}

impl Package {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.reference);
        self.secrets.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { reference: reader.array()?, secrets: PackageSecrets::read(reader)? })
    }
}

impl EpochKeys {
    fn write(&self, writer: &mut Writer) {
        self.member.write(writer);
        writer.put(self.init.expose());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { member: Arc::new(MemberSecrets::read(reader)?), init: reader.secret()? })
    }
}

impl Plan {
    /// `roster`: of the present epoch.
    fn write(&self, roster: &Roster, to: &mut Records) {
        let NextEpoch { number, history, joiner, roster: next, secrets } = &self.next;
        let removed: Vec<_> = roster.keys().filter(|id| !next.contains_key(*id)).collect();
        let is_new = |id: &MemberId, keys: &Arc<MemberKeys>| {
            roster.get(id).is_none_or(|old| !Arc::ptr_eq(old, keys))
        };
        let renewed: Vec<_> = next.iter().filter(|(id, keys)| is_new(id, keys)).collect();
        to.put(b"", |writer| {
            writer.flag(self.founds);
            writer.u64(*number);
            writer.put(history);
            writer.put(joiner.secret().expose());
            secrets.write(writer);
            writer.count(removed.len());
            removed.iter().for_each(|id| writer.put(id.as_bytes()));
            writer.count(renewed.len());
        });
        for (id, keys) in renewed {
            to.put(&member_name(id), |writer| writer.put(&keys.to_bytes()));
        }
    }

    fn read(member: &Member, me: &MemberId, from: &mut Source) -> Result<Self, Error> {
        let mut roster = (*member.roster).clone();
        let (founds, next, renewed) = from.take(b"", |reader| {
            let (founds, number, history) = (reader.flag()?, reader.u64()?, reader.array()?);
            let joiner = JoinerSecret::from_secret(reader.secret()?);
            let secrets = Arc::new(MemberSecrets::read(reader)?);
            let mut last = None;
            for _ in 0..reader.count(32, MAX_MEMBERS)? {
                let id = MemberId::from_bytes(reader.array()?);
                if last.is_some_and(|last| last >= id) || roster.remove(&id).is_none() {
                    return Err(Error::InvalidState);
                }
                last = Some(id);
            }
            let next = NextEpoch { number, history, joiner, roster: Arc::default(), secrets };
            Ok((founds, next, reader.u32()?))
        })?;
        roster.extend(from.within(MEMBER, |from| read_roster(from, renewed))?);
        let fits = Some(next.number) == member.epochs.present.number.checked_add(1)
            && roster.len() <= MAX_MEMBERS
            && roster.get(me).is_some_and(|own| next.secrets.fit(own))
            && (!founds || member.roster.len() == 1);
        if !fits {
            return Err(Error::InvalidState);
        }
        Ok(Self { founds, next: NextEpoch { roster: Arc::new(roster), ..next } })
    }
}

fn package_name(number: &u64) -> Vec<u8> {
    [PACKAGE, &number.to_be_bytes()].concat()
}

fn member_name(id: &MemberId) -> Vec<u8> {
    [MEMBER, id.as_bytes()].concat()
}

fn epoch_name(number: u64) -> Vec<u8> {
    [EPOCH, &number.to_be_bytes()].concat()
}

/// Of one sender, or what the names of all senders begin with.
fn sender_name(epoch: u64, index: Option<usize>) -> Vec<u8> {
    let index = index.and_then(|index| u32::try_from(index).ok()).map(u32::to_be_bytes);
    [SENDER, &epoch.to_be_bytes(), index.as_ref().map_or(&[][..], |index| index)].concat()
}

const ACCOUNT: &[u8] = b"a";
const GROUP: &[u8] = b"g";
const MEMBER: &[u8] = b"b";
const EPOCH: &[u8] = b"e";
const SENDER: &[u8] = b"c";
const CHAIN: &[u8] = b"o";
const SECRETS: &[u8] = b"s";
const PACKAGE: &[u8] = b"p";
const PLAN: &[u8] = b"n";
