//! Two people who have each other's public keys, and encapsulate anew to one another on a schedule.
//!
//! Each side sends in *epochs* of its own. A new one begins with an encapsulation to the key that the other
//! side announced last, and announces a new key itself: so what a thief has of one side is of no use once
//! both sides have begun new epochs. The header that carries this is in every message of the epoch
//! until the other side is known to have it, so that any message may be lost, doubled or late.
//!
//! What an epoch's secrets are derived from: see `EpochSecrets`.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{
    Buffer, Contribution, LayerContext, LayerError, Opened, Recalled, Secret, key_commitment,
    membership::Versions,
};
use cc_root_group::{KeyError, MemberPublicKey as _, Prk};

use crate::{HybridKeyPair, HybridPublicKey, ParameterSet};

mod epoch;
mod header;
mod persistence;
mod schedule;
mod state;

use epoch::{Agreement, Answered, OwnEpoch, PeerEpoch};
use header::{Front, Header};
pub(crate) use persistence::PAIRWISE;
pub use schedule::Schedule;
use state::State;

/// Past epochs of each side of which late messages still open, unless the caller asks for another number.
pub const DEFAULT_PAST_EPOCHS: usize = 3;
/// The most past epochs that can be kept.
pub const MAX_PAST_EPOCHS: usize = 64;
/// Epochs that one side begins while the other does not show that it has any of them. Then the present one
/// goes on until it does.
pub const MAX_UNCONFIRMED_EPOCHS: u64 = 16;

/// The pairwise mode of the layer.
pub(crate) struct Pairwise {
    pair: Arc<Pair>,
    state: Versions<State>,
    /// No epoch of this side has this number yet, nor a later one, not even one that was reverted: its
    /// header may have left.
    next_number: u64,
}

/// What stays the same: both sides' long-lived keys.
pub(crate) struct Pair {
    keys: HybridKeyPair,
    peer: HybridPublicKey,
    role: Role,
    /// From X25519 between the long-lived keys: only the two sides have it, as long as X25519 holds.
    fixed: Prk,
}

/// Who began. The two sides derive different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator = 1,
    Acceptor = 2,
}

/// What the one who begins hands to the other side: the header of its first epoch, as bytes. Not secret.
pub type Setup = Vec<u8>;

impl Role {
    const fn peer(self) -> Self {
        match self {
            Self::Initiator => Self::Acceptor,
            Self::Acceptor => Self::Initiator,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Initiator),
            2 => Some(Self::Acceptor),
            _ => None,
        }
    }
}

impl Pair {
    fn new(keys: HybridKeyPair, peer: HybridPublicKey, role: Role) -> Result<Self, KeyError> {
        if *keys.public_key() == peer {
            return Err(KeyError::OwnKey);
        }
        if keys.public_key().parameter_set() != peer.parameter_set() {
            return Err(KeyError::SuiteMismatch);
        }
        let shared = keys.x25519().diffie_hellman(peer.diffie_hellman_key())?;
        let (initiator, acceptor) = match role {
            Role::Initiator => (keys.public_key(), &peer),
            Role::Acceptor => (&peer, keys.public_key()),
        };
        let (initiator, acceptor) = (initiator.to_bytes(), acceptor.to_bytes());
        let prk = Prk::extract(KIND, "pairwise", shared.expose());
        let fixed = Prk::new(KIND, prk.expand("pairwise fixed", &[&initiator, &acceptor]));
        Ok(Self { keys, peer, role, fixed })
    }

    fn set(&self) -> ParameterSet {
        self.peer.parameter_set()
    }
}

impl Pairwise {
    /// The side that begins, and what the other side needs to [accept](Self::accept).
    pub(crate) fn initiate(
        keys: HybridKeyPair,
        peer: HybridPublicKey,
    ) -> Result<(Self, Setup), KeyError> {
        let pair = Pair::new(keys, peer, Role::Initiator)?;
        let agreement = Agreement { answers: 0, base: &pair.fixed, key: &pair.peer };
        let first = OwnEpoch::begin(&pair, 1, &agreement)?;
        let setup = first.1.clone();
        // The other side exists only once it has the setup.
        let state = State::new(first, None, 1);
        Ok((Self::with(pair, state), setup))
    }

    /// The other side.
    pub(crate) fn accept(
        keys: HybridKeyPair,
        peer: HybridPublicKey,
        setup: &[u8],
    ) -> Result<Self, KeyError> {
        let pair = Pair::new(keys, peer, Role::Acceptor)?;
        let header = Header::parse(&pair, 1, setup)?;
        if header.answers != 0 {
            return Err(KeyError::Rejected);
        }
        let answered = Answered { base: &pair.fixed, keys: &pair.keys };
        let received = PeerEpoch::open(&pair, 1, &header, &answered)?;
        let key = header.announced(&pair);
        let agreement = Agreement { answers: 1, base: &received.secrets.chain, key: &key };
        let first = OwnEpoch::begin(&pair, 1, &agreement)?;
        let state = State::new(first, Some((received, key)), 0);
        Ok(Self::with(pair, state))
    }

    fn with(pair: Pair, state: State) -> Self {
        Self { pair: Arc::new(pair), state: Versions::new(state), next_number: 2 }
    }

    pub(crate) fn public_key(&self) -> &HybridPublicKey {
        self.pair.keys.public_key()
    }

    /// Sets what is not staged.
    pub(crate) fn configure(&mut self, change: impl Fn(&mut State)) {
        self.state.configure(change);
    }

    /// Whether the other side has shown that it has the ML-KEM key that it is known by.
    pub(crate) fn is_peer_confirmed(&self) -> bool {
        match self.pair.role {
            Role::Initiator => self.state.latest().received() > 0,
            Role::Acceptor => self.state.latest().receiving.iter().any(|epoch| epoch.answers > 0),
        }
    }

    /// The secret of the latest epoch that both sides have: the other side's latest that this one received,
    /// or the setup.
    pub(crate) fn contribute(&self) -> Contribution {
        let state = self.state.latest();
        let (role, number, secrets) = match state.receiving.last() {
            Some(epoch) => (self.pair.role.peer(), epoch.number, &epoch.secrets),
            None => {
                let setup = state.earlier.first().unwrap_or(&state.present);
                (self.pair.role, setup.number, &setup.secrets)
            }
        };
        let hint = [&[role as u8][..], &number.to_be_bytes()].concat();
        Contribution { hint, secret: secrets.contribution.duplicate() }
    }

    pub(crate) fn recall(&self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let (role, number) = hint.split_first().ok_or(LayerError::rejected())?;
        let role = Role::from_number(*role).ok_or(LayerError::rejected())?;
        let number = number.try_into().map_err(|_| LayerError::rejected())?;
        let number = u64::from_be_bytes(number);
        let state = self.state.latest();
        let secrets = if role == self.pair.role {
            state.own(number).map(|epoch| &epoch.secrets)
        } else {
            state.peers(number).map(|epoch| &epoch.secrets)
        };
        match secrets {
            Some(secrets) => Ok(Recalled { secret: secrets.contribution.duplicate(), epoch: None }),
            None if role == self.pair.role && number > state.present.number => {
                Err(LayerError::rejected())
            }
            None if role != self.pair.role && number > state.received() => {
                Err(LayerError::early(None))
            }
            None => Err(LayerError::stale(None)),
        }
    }

    /// Equal on both sides of a pair, and for a second layer with the same keys.
    pub(crate) fn commitment(&self) -> Secret<32> {
        key_commitment(self.pair.fixed.expose())
    }

    pub(crate) fn seal(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        let mut state = self.state.latest().clone();
        if state.is_due() {
            let epoch = {
                let agreement = state.agreement(&self.pair);
                OwnEpoch::begin(&self.pair, self.next_number, &agreement)?
            };
            // A number that was used for nothing is no harm; one that is used twice would be.
            self.next_number = self.next_number.checked_add(1).ok_or(KeyError::Internal)?;
            state.begin(epoch);
        }
        let present = &state.present;
        let header = (!state.is_confirmed()).then_some(&*state.header);
        let front = Front::encode(present.number, state.received(), header);
        let associated_data = [&context.associated_data()[..], &front].concat();
        present.secrets.messages.seal(&associated_data, buffer)?;
        buffer.prepend(&front);
        state.count();
        self.state.stage(state);
        Ok(())
    }

    pub(crate) fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let state = self.state.latest();
        let front = Front::parse(&self.pair, buffer.as_slice())?;
        let associated_data = [&context.associated_data()[..], front.bytes].concat();
        let received = state.receive(&self.pair, &front)?;
        let (len, claimed) = (front.bytes.len(), front.received);
        if !buffer.drop_front(len) {
            return Err(LayerError::rejected());
        }
        received.secrets().messages.open(&associated_data, buffer)?;
        // Authentic: and still it cannot have what was never made.
        if claimed > state.present.number {
            return Err(LayerError::rejected());
        }
        if let Some(next) = state.after(received, claimed) {
            self.state.stage(next);
        }
        Ok(Opened::default())
    }

    pub(crate) fn apply(&mut self) {
        self.state.apply();
    }

    pub(crate) fn revert(&mut self) {
        self.state.revert();
    }
}

/// The kind of layer, for the labels of derivations.
const KIND: &str = HybridPublicKey::LABEL;

#[cfg(test)]
mod tests;
