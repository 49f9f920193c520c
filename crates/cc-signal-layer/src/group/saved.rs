//! The state of a group at rest, part by part. The names of the records, and what is in them:
//!
//! | name | record |
//! |---|---|
//! | `a`... | the account |
//! | `g` | 1 (+ 32) 0, or 1 and the id of this member; 1 phase, 8 epoch, 8 the epoch of one's own chain, 4 how many others, 1 + 1 whether there are chains and a staged change |
//! | `ko` | one's own chain |
//! | `kc` 4 32... | the chains of the member with this id, and skipped keys |
//! | `b` 32 | a member's bundle |
//! | `s` 32... | the pair sessions with it |
//! | `m` 32 | 1 how many of its chains are known, for each 8 its epoch; 8 the least epoch of another; 1 (+ 69 + 1) 0, or 1, what it is owed and how often that was sent; 1 (+ 8 + 1) 0, or 1, the chain to acknowledge and how often that was done |
//! | `n` | of the staged change 1 whether it founds the group, 8 epoch, 4 how many come, 4 how many go, for each 32 id, 1 whether there is a new own chain |
//! | `no` | that chain |
//! | `nb` 32, `ns` 32... | bundle and pair sessions of each who comes |
//!
//! So a message writes the chain it is in, and the sessions that hand chains over: the same in any group.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use cc_core::{MemberId, SecretBytes, limits::MAX_MEMBERS};

use super::{Ack, DISTRIBUTION_REPEATS, Group, Owed, Peer, Phase, Plan, Staged, Transition};
use crate::{
    Account, Bundle, Error, Limits, ReceiverChain, SenderChain, SenderKeys, Sessions,
    codec::{Reader, Writer},
    ledger::Saving,
    sender_key::DISTRIBUTION_LEN,
    sender_keys::{self, CHAINS_PER_SENDER},
    state::{Records, Source, State},
};

/// What may differ from what the store has.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    everything: bool,
    parts: BTreeSet<Part>,
}

/// A part of the state: the records whose names begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Account,
    Group,
    Own,
    Plan,
    Bundle(MemberId),
    Sessions(MemberId),
    Debts(MemberId),
    Chains(MemberId),
}

impl Touched {
    pub(super) fn everything() -> Self {
        Self { everything: true, parts: BTreeSet::new() }
    }

    pub(super) fn add(&mut self, part: Part) {
        self.parts.insert(part);
    }

    /// Everything about a member, who came or went.
    pub(super) fn member(&mut self, id: MemberId) {
        self.parts.extend(Part::of_member(id));
    }
}

impl Part {
    fn of_member(id: MemberId) -> [Self; 4] {
        [Self::Bundle(id), Self::Sessions(id), Self::Debts(id), Self::Chains(id)]
    }

    fn prefix(&self) -> Vec<u8> {
        match self {
            Self::Account => ACCOUNT.to_vec(),
            Self::Group => GROUP.to_vec(),
            Self::Own => [KEYS, sender_keys::OWN].concat(),
            Self::Plan => PLAN.to_vec(),
            Self::Bundle(id) => named(BUNDLE, id),
            Self::Sessions(id) => named(SESSIONS, id),
            Self::Debts(id) => named(DEBTS, id),
            Self::Chains(id) => [KEYS, &sender_keys::record_of(id.as_bytes())].concat(),
        }
    }
}

impl Group {
    /// What changed, with what is staged in force.
    pub(crate) fn save(&mut self, saving: &mut Saving<'_, '_>, head: impl FnOnce(&mut Records)) {
        self.put_into_force();
        if saving.is_anew() || self.state.touched.everything {
            saving.part(b"", |to| {
                head(to);
                self.write_all(to);
            });
            return;
        }
        for part in &self.state.touched.parts {
            saving.part(&part.prefix(), |to| self.write(*part, to));
        }
    }

    pub(crate) fn read(from: &mut Source, limits: Limits) -> Result<Self, Error> {
        let account = from.within(ACCOUNT, |from| Account::read(from, &limits))?;
        let state = super::State::read(from, &limits)?;
        Ok(Self { account, limits, state, staged: Staged::default(), before: None })
    }

    pub(crate) fn write_all(&self, to: &mut Records) {
        let members = self.state.peers.keys().flat_map(|id| Part::of_member(*id));
        let others = [Part::Account, Part::Group, Part::Own, Part::Plan];
        for part in others.into_iter().chain(members) {
            to.within(&part.prefix(), |to| self.write(part, to));
        }
    }

    /// Nothing where there is nothing any more.
    fn write(&self, part: Part, to: &mut Records) {
        let state = &self.state;
        match part {
            Part::Account => self.account.write(to),
            Part::Group => to.put(b"", |writer| state.write_head(writer)),
            Part::Own => {
                if let Some(keys) = &state.keys {
                    keys.own().write(to);
                }
            }
            Part::Plan => {
                if let Some(plan) = &state.plan {
                    plan.write(to);
                }
            }
            Part::Bundle(id) => {
                if let Some(peer) = state.peers.get(&id) {
                    to.put(b"", |writer| writer.put(&peer.bundle.to_bytes()));
                }
            }
            Part::Sessions(id) => {
                if let Some(peer) = state.peers.get(&id) {
                    peer.sessions.write_without_peer(to);
                }
            }
            Part::Debts(id) => {
                if let Some(peer) = state.peers.get(&id) {
                    to.put(b"", |writer| {
                        write_debts(peer, state.owed.get(&id), state.acks.get(&id), writer);
                    });
                }
            }
            Part::Chains(id) => {
                if let Some(keys) = &state.keys {
                    keys.write_sender(id.as_bytes(), to);
                }
            }
        }
    }
}

impl super::State {
    fn write_head(&self, writer: &mut Writer) {
        writer.flag(self.me.is_some());
        if let Some(me) = self.me {
            writer.put(me.as_bytes());
        }
        writer.u8(match self.phase {
            Phase::Outside => 0,
            Phase::Member => 1,
            Phase::Removed => 2,
        });
        writer.u64(self.epoch);
        writer.u64(self.generation);
        writer.count(self.peers.len());
        writer.flag(self.keys.is_some());
        writer.flag(self.plan.is_some());
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let (mut state, others, keys, plan) = from.take(GROUP, |reader| {
            let me = if reader.flag()? { Some(read_id(reader)?) } else { None };
            let phase = match reader.u8()? {
                0 => Phase::Outside,
                1 => Phase::Member,
                2 => Phase::Removed,
                _ => return Err(Error::InvalidState),
            };
            let (epoch, generation) = (reader.u64()?, reader.u64()?);
            let state = Self { me, phase, epoch, generation, ..Self::default() };
            Ok((state, reader.u32()?, reader.flag()?, reader.flag()?))
        })?;
        state.peers = read_peers(from, others, 0, limits)?;
        for (id, peer) in &mut state.peers {
            let (owed, ack) = from.take(&named(DEBTS, id), |reader| read_debts(peer, reader))?;
            state.owed.extend(owed.map(|owed| (*id, owed)));
            state.acks.extend(ack.map(|ack| (*id, ack)));
        }
        if keys {
            state.keys = Some(from.within(KEYS, |from| SenderKeys::read(from, limits))?);
        }
        if plan {
            state.plan = Some(from.within(PLAN, |from| Plan::read(from, limits))?);
        }
        if state.is_consistent() { Ok(state) } else { Err(Error::InvalidState) }
    }

    /// What the rest of the code relies on, and damage could break.
    fn is_consistent(&self) -> bool {
        let Self { me, phase, epoch, peers, keys, generation, owed, plan, .. } = self;
        let is_peer = |id: &MemberId| peers.contains_key(id);
        let placed = me.is_some() && keys.is_some();
        let phase = match phase {
            Phase::Outside => peers.is_empty() && plan.is_none(),
            Phase::Member => placed && !me.as_ref().is_some_and(is_peer),
            Phase::Removed => placed && owed.is_empty() && plan.is_none(),
        };
        let strangers = keys.iter().flat_map(SenderKeys::senders).any(|name| {
            !<[u8; 32]>::try_from(name).is_ok_and(|id| is_peer(&MemberId::from_bytes(id)))
        });
        let chains = |id: &MemberId| keys.as_ref().map_or(0, |keys| keys.count(id.as_bytes()));
        let counted = peers.iter().all(|(id, peer)| peer.generations.len() == chains(id));
        let change = plan.as_ref().is_none_or(|Plan { transition, founds }| {
            let goes = |id: &MemberId| transition.removed.binary_search(id).is_ok();
            epoch.checked_add(1) == Some(transition.epoch)
                && (!founds || peers.is_empty())
                && transition.removed.iter().all(is_peer)
                && !transition
                    .added
                    .iter()
                    .any(|(id, _)| (is_peer(id) && !goes(id)) || Some(id) == me.as_ref())
                && 1 + peers.len() + transition.added.len()
                    <= MAX_MEMBERS + transition.removed.len()
        });
        let named = |chain: &SenderChain| me.is_none_or(|me| chain.sender() == me.as_bytes());
        let planned = plan.iter().filter_map(|plan| plan.transition.chain.as_ref());
        let named = keys.iter().map(SenderKeys::own).chain(planned).all(named);
        phase && named && !strangers && counted && change && generation <= epoch
    }
}

impl Plan {
    fn write(&self, to: &mut Records) {
        // One's own change never removes oneself.
        let Transition { epoch, added, removed, removed_self: _, chain } = &self.transition;
        to.put(b"", |writer| {
            writer.flag(self.founds);
            writer.u64(*epoch);
            writer.count(added.len());
            writer.count(removed.len());
            removed.iter().for_each(|id| writer.put(id.as_bytes()));
            writer.flag(chain.is_some());
        });
        if let Some(chain) = chain {
            to.within(sender_keys::OWN, |to| chain.write(to));
        }
        for (id, peer) in added {
            to.put(&named(BUNDLE, id), |writer| writer.put(&peer.bundle.to_bytes()));
            to.within(&named(SESSIONS, id), |to| peer.sessions.write_without_peer(to));
        }
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let (founds, epoch, come, removed, chain) = from.take(b"", |reader| {
            let (founds, epoch, come) = (reader.flag()?, reader.u64()?, reader.u32()?);
            let mut removed = Vec::new();
            for _ in 0..reader.count(32, MAX_MEMBERS)? {
                let id = read_id(reader)?;
                if removed.last().is_some_and(|last| *last >= id) {
                    return Err(Error::InvalidState);
                }
                removed.push(id);
            }
            Ok((founds, epoch, come, removed, reader.flag()?))
        })?;
        let chain = if chain {
            Some(from.within(sender_keys::OWN, |from| SenderChain::read(from, limits))?)
        } else {
            None
        };
        let added = read_peers(from, come, epoch, limits)?.into_iter().collect();
        let transition = Transition { epoch, added, removed, removed_self: false, chain };
        Ok(Self { transition, founds })
    }
}

/// Bundles and sessions of `count` members; what else is known of them is still to come.
fn read_peers(
    from: &mut Source,
    count: u32,
    floor: u64,
    limits: &Limits,
) -> Result<BTreeMap<MemberId, Peer>, Error> {
    let mut peers = BTreeMap::new();
    from.within(BUNDLE, |from| {
        while let Some(name) = from.next_name() {
            let id = <[u8; 32]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
            let bundle =
                from.take(&name, |reader| Bundle::from_bytes(reader.take(reader.remaining())?))?;
            if bundle.is_one_time() || !bundle.is_post_quantum() || peers.len() >= MAX_MEMBERS {
                return Err(Error::InvalidState);
            }
            peers.insert(MemberId::from_bytes(id), Peer::new(Arc::new(bundle), *limits, floor));
        }
        Ok(())
    })?;
    if u32::try_from(peers.len()) != Ok(count) {
        return Err(Error::InvalidState);
    }
    for (id, peer) in &mut peers {
        let identity = *peer.bundle.identity();
        peer.sessions = from.within(&named(SESSIONS, id), |from| {
            Sessions::read_without_peer(identity, from, limits)
        })?;
    }
    Ok(peers)
}

fn write_debts(peer: &Peer, owed: Option<&Owed>, ack: Option<&Ack>, writer: &mut Writer) {
    writer.u8(u8::try_from(peer.generations.len()).unwrap_or(u8::MAX));
    peer.generations.iter().for_each(|generation| writer.u64(*generation));
    writer.u64(peer.floor);
    writer.flag(owed.is_some());
    if let Some(owed) = owed {
        writer.put(owed.distribution.expose());
        writer.u8(owed.sent);
    }
    writer.flag(ack.is_some());
    if let Some(ack) = ack {
        writer.put(&ack.chain);
        writer.u8(ack.sent);
    }
}

fn read_debts(
    peer: &mut Peer,
    reader: &mut Reader<'_>,
) -> Result<(Option<Owed>, Option<Ack>), Error> {
    let count = usize::from(reader.u8()?);
    for _ in 0..count {
        let generation = reader.u64()?;
        if peer.generations.contains(&generation) || count > CHAINS_PER_SENDER {
            return Err(Error::InvalidState);
        }
        peer.generations.push(generation);
    }
    peer.floor = reader.u64()?;
    let owed = if reader.flag()? {
        let state = reader.take(DISTRIBUTION_LEN)?;
        ReceiverChain::from_distribution(&[], state, Limits::default())?;
        let distribution = SecretBytes::new(Vec::from(state));
        Some(Owed { distribution, sent: read_sent(reader)? })
    } else {
        None
    };
    let ack = if reader.flag()? {
        Some(Ack { chain: reader.array()?, sent: read_sent(reader)? })
    } else {
        None
    };
    Ok((owed, ack))
}

/// How often something was sent that is to be sent again.
fn read_sent(reader: &mut Reader<'_>) -> Result<u8, Error> {
    let sent = reader.u8()?;
    if sent < DISTRIBUTION_REPEATS { Ok(sent) } else { Err(Error::InvalidState) }
}

fn read_id(reader: &mut Reader<'_>) -> Result<MemberId, Error> {
    Ok(MemberId::from_bytes(reader.array()?))
}

fn named(kind: &[u8], id: &MemberId) -> Vec<u8> {
    [kind, id.as_bytes()].concat()
}

const ACCOUNT: &[u8] = b"a";
const BUNDLE: &[u8] = b"b";
const DEBTS: &[u8] = b"m";
const GROUP: &[u8] = b"g";
const KEYS: &[u8] = b"k";
const PLAN: &[u8] = b"n";
const SESSIONS: &[u8] = b"s";
