//! Which initial messages a signed prekey has accepted without a one-time prekey, so that none is
//! accepted twice.
//!
//! The record is bounded for each peer and in all, so that no peer can fill it for the others. What is
//! dropped must not open again: the peer it was of can from then on begin no session with a number as
//! small as that of a dropped one ([`Session::number`](crate::Session::number)). All of it is forgotten
//! when the signed prekey is.

use alloc::{collections::BTreeMap, vec::Vec};

use sha2::{Digest, Sha256};

use crate::{
    Error,
    codec::Reader,
    identity::IdentityKey,
    prekey::{MAX_SEEN, MAX_SEEN_OF_PEER},
    state::{Records, Source},
};

/// The record of one signed prekey.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    peers: BTreeMap<PeerId, Accepted>,
    /// How many initial messages are recorded, of all peers.
    len: usize,
}

/// The start of a hash of an identity.
pub(crate) type PeerId = [u8; 16];

type Ephemeral = [u8; 32];

/// The initial messages of one peer.
#[derive(Debug, Default, Clone)]
struct Accepted {
    /// Sessions with smaller numbers are refused.
    floor: u64,
    /// The number of the session by the ephemeral key of its handshake.
    numbers: BTreeMap<Ephemeral, u64>,
}

/// What [`Seen::insert`] changes, to be undone.
#[derive(Debug)]
pub(crate) struct Undo(Vec<(PeerId, Option<Accepted>)>);

/// The name of a peer in the record.
pub(crate) fn peer_id(peer: &IdentityKey) -> PeerId {
    let digest: [u8; 32] =
        Sha256::new().chain_update(b"cc-signal/1 peer").chain_update(peer.keys()).finalize().into();
    let (first, _) = digest.split_at(16);
    let mut id = [0; 16];
    id.copy_from_slice(first);
    id
}

impl Seen {
    /// Whether an initial message of this peer may be accepted, as far as the keys say. There is room
    /// for [`MAX_SEEN`] peers.
    ///
    /// # Errors
    /// [`Error::Expired`] when it was accepted before, [`Error::LimitExceeded`] when there is no room.
    pub(crate) fn check(&self, peer: &PeerId, ephemeral: &Ephemeral) -> Result<(), Error> {
        match self.peers.get(peer) {
            Some(accepted) if accepted.numbers.contains_key(ephemeral) => Err(Error::Expired),
            None if self.peers.len() >= MAX_SEEN => Err(Error::LimitExceeded),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a session of this peer with this number may be accepted.
    ///
    /// # Errors
    /// [`Error::Expired`].
    pub(crate) fn check_number(&self, peer: &PeerId, number: u64) -> Result<(), Error> {
        match self.peers.get(peer) {
            Some(accepted) if number < accepted.floor => Err(Error::Expired),
            Some(_) | None => Ok(()),
        }
    }

    /// Records an initial message that was checked.
    pub(crate) fn insert(&mut self, peer: PeerId, ephemeral: Ephemeral, number: u64) {
        let accepted = self.peers.entry(peer).or_default();
        self.len -= accepted.numbers.len();
        accepted.numbers.insert(ephemeral, number);
        if accepted.numbers.len() > MAX_SEEN_OF_PEER {
            accepted.drop_oldest();
        }
        self.len += accepted.numbers.len();
        if self.len > MAX_SEEN
            && let Some(peer) = self.largest()
            && let Some(accepted) = self.peers.get_mut(&peer)
        {
            self.len -= accepted.numbers.len();
            accepted.drop_oldest();
            self.len += accepted.numbers.len();
        }
    }

    /// What [`Seen::insert`] for this peer will change.
    pub(crate) fn before_insert(&self, peer: PeerId) -> Undo {
        let largest = if self.len >= MAX_SEEN { self.largest() } else { None };
        let peers = core::iter::once(peer).chain(largest);
        Undo(peers.map(|peer| (peer, self.peers.get(&peer).cloned())).collect())
    }

    pub(crate) fn undo(&mut self, Undo(before): Undo) {
        for (peer, accepted) in before {
            if let Some(now) = self.peers.remove(&peer) {
                self.len -= now.numbers.len();
            }
            if let Some(accepted) = accepted {
                self.len += accepted.numbers.len();
                self.peers.insert(peer, accepted);
            }
        }
    }

    /// How many initial messages are recorded.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many peers are recorded.
    pub(crate) fn peers_len(&self) -> usize {
        self.peers.len()
    }

    /// The peer with the most initial messages.
    fn largest(&self) -> Option<PeerId> {
        let largest = self.peers.iter().max_by_key(|(_, accepted)| accepted.numbers.len());
        largest.map(|(peer, _)| *peer)
    }

    /// A record for each initial message, `e` and `period` and the peer and the ephemeral key: 8 number;
    /// and for each peer, `f` and `period` and the peer: 8 floor. (Two peers can use one ephemeral key.)
    pub(crate) fn write(&self, period: u32, to: &mut Records) {
        let period = period.to_be_bytes();
        for (peer, accepted) in &self.peers {
            to.put(&[PEER, &period, peer].concat(), |writer| writer.u64(accepted.floor));
            for (ephemeral, number) in &accepted.numbers {
                let name = [MESSAGE, &period, peer, ephemeral].concat();
                to.put(&name, |writer| writer.u64(*number));
            }
        }
    }

    /// All records, which are of these periods.
    pub(crate) fn read_all(
        from: &mut Source,
        mut periods: Vec<(u32, &mut Seen)>,
    ) -> Result<(), Error> {
        from.within(PEER, |from| {
            while let Some(name) = from.next_name() {
                let (period, peer) = read_name(&name, |reader| reader.array())?;
                let floor = from.take(&name, |reader| reader.u64())?;
                let seen = find_period(&mut periods, period)?;
                seen.peers.insert(peer, Accepted { floor, numbers: BTreeMap::new() });
            }
            Ok(())
        })?;
        from.within(MESSAGE, |from| {
            while let Some(name) = from.next_name() {
                let (period, (peer, ephemeral)): (_, (PeerId, _)) =
                    read_name(&name, |reader| Ok((reader.array()?, reader.array()?)))?;
                let number = from.take(&name, |reader| reader.u64())?;
                let seen = find_period(&mut periods, period)?;
                let accepted = seen.peers.get_mut(&peer).ok_or(Error::InvalidState)?;
                if number < accepted.floor || accepted.numbers.len() >= MAX_SEEN_OF_PEER {
                    return Err(Error::InvalidState);
                }
                accepted.numbers.insert(ephemeral, number);
                seen.len += 1;
            }
            Ok(())
        })
    }
}

impl Accepted {
    /// Drops the session with the smallest number; none that small is accepted any more.
    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.numbers.values().min() {
            self.floor = oldest.saturating_add(1);
            self.numbers.retain(|_, number| *number >= self.floor);
        }
    }
}

fn find_period<'a>(periods: &'a mut [(u32, &mut Seen)], id: u32) -> Result<&'a mut Seen, Error> {
    let found = periods.iter_mut().find(|(period, _)| *period == id);
    found.map(|(_, seen)| &mut **seen).ok_or(Error::InvalidState)
}

fn read_name<T>(
    name: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<(u32, T), Error> {
    let mut reader = Reader::new(name);
    let parts = (reader.u32()?, read(&mut reader)?);
    reader.finish()?;
    Ok(parts)
}

const MESSAGE: &[u8] = b"e";
const PEER: &[u8] = b"f";

#[cfg(test)]
mod tests {
    use super::*;

    fn ephemeral(n: u64) -> Ephemeral {
        let mut ephemeral = [0; 32];
        ephemeral[..8].copy_from_slice(&n.to_be_bytes());
        ephemeral
    }

    fn accepts(seen: &Seen, peer: PeerId, n: u64) -> bool {
        seen.check(&peer, &ephemeral(n)).and_then(|()| seen.check_number(&peer, n)).is_ok()
    }

    #[test]
    fn one_peer_fills_its_own_share_only_and_nothing_opens_twice() {
        let mut seen = Seen::default();
        let (eve, bob) = ([1; 16], [2; 16]);
        for n in 0..5000 {
            assert!(accepts(&seen, eve, n));
            seen.insert(eve, ephemeral(n), n);
        }
        assert_eq!(seen.len(), MAX_SEEN_OF_PEER);
        assert!((0..5000).all(|n| !accepts(&seen, eve, n)));
        assert!(accepts(&seen, bob, 7), "a newcomer");
        // What was held back is older than what was dropped, and what comes in disorder is not.
        let mut seen = Seen::default();
        for n in (10..20).rev() {
            assert!(accepts(&seen, bob, n));
            seen.insert(bob, ephemeral(n), n);
        }
        assert!(accepts(&seen, bob, 3));
    }

    #[test]
    fn a_full_record_takes_from_whoever_has_most_and_can_be_undone() {
        let mut seen = Seen::default();
        let peer = |n: usize| {
            let mut peer = [0; 16];
            peer[..8].copy_from_slice(&n.to_be_bytes());
            peer
        };
        let peers = MAX_SEEN - 10;
        (0..peers).for_each(|n| seen.insert(peer(n), ephemeral(n as u64), 5));
        let eve = peer(3);
        (1..11).for_each(|n| seen.insert(eve, ephemeral(1 << 40 | n), 5 + n));
        assert_eq!((seen.len(), seen.peers_len()), (MAX_SEEN, peers));
        let (floor, newcomer) = (seen.peers[&eve].floor, peer(peers));
        let undo = seen.before_insert(newcomer);
        assert!(accepts(&seen, newcomer, 1));
        seen.insert(newcomer, ephemeral(1 << 50), 1);
        assert_eq!(seen.len(), MAX_SEEN);
        assert_eq!((seen.peers[&eve].floor, floor), (6, 0));
        assert!(!accepts(&seen, eve, 3), "dropped");
        seen.undo(undo);
        assert_eq!((seen.len(), seen.peers_len(), seen.peers[&eve].floor), (MAX_SEEN, peers, 0));
        // When all have one, room for one more peer is made all the same, as far as there is any.
        for n in peers..MAX_SEEN {
            assert!(accepts(&seen, peer(n), 1));
            seen.insert(peer(n), ephemeral(1 << 60 | n as u64), 1);
        }
        assert_eq!((seen.len(), seen.peers_len()), (MAX_SEEN, MAX_SEEN));
        let none = seen.check(&peer(MAX_SEEN), &ephemeral(0));
        assert_eq!(none, Err(Error::LimitExceeded), "refusing is safe, forgetting is not");
    }
}
