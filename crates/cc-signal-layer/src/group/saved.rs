//! The state of a group at rest, behind the kind, version and mode of the layer's:
//!
//! | bytes | what |
//! |---|---|
//! | 12 | limits: skip, skipped, sessions |
//! | n | account |
//! | 1 (+ 32) | 0, or 1 and the id of this member |
//! | 1 + 8 + 8 | phase, epoch, number of one's own chain |
//! | 4 | how many others; for each 32 id, and the peer |
//! | 1 (+ n) | 0, or 1 and the Sender Keys |
//! | 4 | how many different chain states are owed; for each 69 distribution |
//! | 4 | to how many members; for each 32 id, 4 which of these states, 1 how often sent |
//! | 4 | how many acknowledgements; for each 32 id, 8 chain, 1 how often sent |
//! | 1 (+ n) | 0, or 1 and the change that is neither confirmed nor discarded |
//!
//! A peer is 4 + n bundle, n sessions, 4 how many known chains, for each 8 number, and 8 floor. A
//! change is 1 whether it founds the group, 8 epoch, 4 how many come, for each 32 id and the peer, 4
//! how many go, for each 32 id, and 1 (+ n) 0, or 1 and the new own chain. Lists are in the order of
//! ids, owed states in that of the first member who is owed them.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{MemberId, SecretBytes, limits::MAX_MEMBERS};

use super::{Ack, DISTRIBUTION_REPEATS, Group, Owed, Peer, Phase, Plan, Staged, Transition};
use crate::{
    Account, Bundle, Error, Limits, ReceiverChain, SenderChain, SenderKeys, Sessions,
    codec::{Reader, Writer},
    sender_key::DISTRIBUTION_LEN,
    sender_keys::CHAINS_PER_SENDER,
    state::State,
};

impl Group {
    pub(crate) fn write(&self, writer: &mut Writer) {
        self.limits.write(writer);
        self.account.write(writer);
        self.state.write(writer);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let limits = Limits::read(reader)?;
        let account = Account::read(reader, &limits)?;
        let state = super::State::read(reader, &limits)?;
        Ok(Self { account, limits, state, staged: Staged::default() })
    }
}

impl super::State {
    fn write(&self, writer: &mut Writer) {
        let Self { me, phase, epoch, peers, keys, generation, owed, acks, plan } = self;
        writer.flag(me.is_some());
        if let Some(me) = me {
            writer.put(me.as_bytes());
        }
        writer.u8(match phase {
            Phase::Outside => 0,
            Phase::Member => 1,
            Phase::Removed => 2,
        });
        writer.u64(*epoch);
        writer.u64(*generation);
        writer.count(peers.len());
        for (id, peer) in peers {
            writer.put(id.as_bytes());
            peer.write(writer);
        }
        writer.flag(keys.is_some());
        if let Some(keys) = keys {
            keys.write(writer);
        }
        write_owed(owed, writer);
        writer.count(acks.len());
        for (id, ack) in acks {
            writer.put(id.as_bytes());
            writer.put(&ack.chain);
            writer.u8(ack.sent);
        }
        writer.flag(plan.is_some());
        if let Some(plan) = plan {
            plan.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error> {
        let me = if reader.flag()? { Some(read_id(reader)?) } else { None };
        let phase = match reader.u8()? {
            0 => Phase::Outside,
            1 => Phase::Member,
            2 => Phase::Removed,
            _ => return Err(Error::InvalidState),
        };
        let (epoch, generation) = (reader.u64()?, reader.u64()?);
        let peers = read_map(reader, PEER_MIN_LEN, |reader| Peer::read(reader, limits))?;
        let keys = if reader.flag()? { Some(SenderKeys::read(reader, limits)?) } else { None };
        let owed = read_owed(reader)?;
        let acks = read_map(reader, 8 + 1, |reader| {
            Ok(Ack { chain: reader.array()?, sent: read_sent(reader)? })
        })?;
        let plan = if reader.flag()? { Some(Plan::read(reader, limits)?) } else { None };
        let state = Self { me, phase, epoch, peers, keys, generation, owed, acks, plan };
        if state.is_consistent() { Ok(state) } else { Err(Error::InvalidState) }
    }

    /// What the rest of the code relies on, and damage could break.
    fn is_consistent(&self) -> bool {
        let Self { me, phase, epoch, peers, keys, generation, owed, acks, plan } = self;
        let is_peer = |id: &MemberId| peers.contains_key(id);
        let placed = me.is_some() && keys.is_some();
        let phase = match phase {
            Phase::Outside => peers.is_empty() && plan.is_none(),
            Phase::Member => placed && !me.as_ref().is_some_and(is_peer),
            Phase::Removed => placed && owed.is_empty() && plan.is_none(),
        };
        let known = keys.iter().flat_map(SenderKeys::senders).all(|name| {
            <[u8; 32]>::try_from(name).is_ok_and(|id| is_peer(&MemberId::from_bytes(id)))
        });
        let change = plan.as_ref().is_none_or(|Plan { transition, founds }| {
            epoch.checked_add(1) == Some(transition.epoch)
                && (!founds || peers.is_empty())
                && transition.removed.iter().all(is_peer)
                && !transition.added.iter().any(|(id, _)| is_peer(id) || Some(id) == me.as_ref())
                && 1 + peers.len() + transition.added.len() <= MAX_MEMBERS
        });
        let countable = *generation < u64::MAX;
        phase && known && change && countable && owed.keys().chain(acks.keys()).all(is_peer)
    }
}

impl Peer {
    fn write(&self, writer: &mut Writer) {
        let Self { bundle, sessions, generations, floor } = self;
        writer.bytes(&bundle.to_bytes());
        // The peer is whoever the bundle is of.
        sessions.write_without_peer(writer);
        writer.count(generations.len());
        for generation in generations {
            writer.u64(*generation);
        }
        writer.u64(*floor);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error> {
        let bundle = Bundle::from_bytes(reader.bytes(Bundle::MAX_LEN)?)?;
        if bundle.is_one_time() || !bundle.is_post_quantum() {
            return Err(Error::InvalidState);
        }
        let sessions = Sessions::read_without_peer(*bundle.identity(), reader, limits)?;
        let mut generations = Vec::new();
        for _ in 0..reader.count(8, CHAINS_PER_SENDER)? {
            let generation = reader.u64()?;
            if generations.contains(&generation) {
                return Err(Error::InvalidState);
            }
            generations.push(generation);
        }
        Ok(Self { bundle, sessions, generations, floor: reader.u64()? })
    }
}

impl Plan {
    fn write(&self, writer: &mut Writer) {
        // One's own change never removes oneself.
        let Transition { epoch, added, removed, removed_self: _, chain } = &self.transition;
        writer.flag(self.founds);
        writer.u64(*epoch);
        writer.count(added.len());
        for (id, peer) in added {
            writer.put(id.as_bytes());
            peer.write(writer);
        }
        writer.count(removed.len());
        for id in removed {
            writer.put(id.as_bytes());
        }
        writer.flag(chain.is_some());
        if let Some(chain) = chain {
            chain.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error> {
        let founds = reader.flag()?;
        let epoch = reader.u64()?;
        let added = read_map(reader, PEER_MIN_LEN, |reader| Peer::read(reader, limits))?;
        let removed = read_map(reader, 0, |_| Ok(()))?.into_keys().collect();
        let chain = if reader.flag()? { Some(SenderChain::read(reader, limits)?) } else { None };
        let added = added.into_iter().collect();
        let transition = Transition { epoch, added, removed, removed_self: false, chain };
        Ok(Self { transition, founds })
    }
}

/// Each state once, however many are owed it.
fn write_owed(owed: &BTreeMap<MemberId, Owed>, writer: &mut Writer) {
    let mut states: Vec<&Arc<SecretBytes>> = Vec::new();
    let mut indices = Vec::with_capacity(owed.len());
    for owed in owed.values() {
        // Newest last, and nearly all are owed the same.
        let known = states.iter().rposition(|state| Arc::ptr_eq(state, &owed.distribution));
        indices.push(known.unwrap_or(states.len()));
        if known.is_none() {
            states.push(&owed.distribution);
        }
    }
    writer.count(states.len());
    for state in states {
        writer.put(state.expose());
    }
    writer.count(owed.len());
    for ((id, owed), index) in owed.iter().zip(indices) {
        writer.put(id.as_bytes());
        writer.count(index);
        writer.u8(owed.sent);
    }
}

fn read_owed(reader: &mut Reader<'_>) -> Result<BTreeMap<MemberId, Owed>, Error> {
    let mut states = Vec::new();
    for _ in 0..reader.count(DISTRIBUTION_LEN, MAX_MEMBERS)? {
        let state = reader.take(DISTRIBUTION_LEN)?;
        ReceiverChain::from_distribution(state, Limits::default())?;
        states.push(Arc::new(SecretBytes::new(Vec::from(state))));
    }
    let mut used = 0;
    let owed = read_map(reader, 4 + 1, |reader| {
        let index = usize::try_from(reader.u32()?).map_err(|_| Error::InvalidState)?;
        if index > used {
            return Err(Error::InvalidState);
        }
        used = used.max(index + 1);
        let distribution = Arc::clone(states.get(index).ok_or(Error::InvalidState)?);
        Ok(Owed { distribution, sent: read_sent(reader)? })
    })?;
    if used == states.len() { Ok(owed) } else { Err(Error::InvalidState) }
}

/// How often something was sent that is to be sent again.
fn read_sent(reader: &mut Reader<'_>) -> Result<u8, Error> {
    let sent = reader.u8()?;
    if sent < DISTRIBUTION_REPEATS { Ok(sent) } else { Err(Error::InvalidState) }
}

/// Entries of at least `size` bytes behind their ids, in the order of ids.
fn read_map<T>(
    reader: &mut Reader<'_>,
    size: usize,
    mut entry: impl FnMut(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<BTreeMap<MemberId, T>, Error> {
    let mut map = BTreeMap::new();
    for _ in 0..reader.count(32 + size, MAX_MEMBERS)? {
        let id = read_id(reader)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(Error::InvalidState);
        }
        map.insert(id, entry(reader)?);
    }
    Ok(map)
}

fn read_id(reader: &mut Reader<'_>) -> Result<MemberId, Error> {
    Ok(MemberId::from_bytes(reader.array()?))
}

/// Everything that is of variable length left out.
const PEER_MIN_LEN: usize = 4 + (8 + 1 + 4) + 4 + 8;
