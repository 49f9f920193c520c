//! The Sparse Post-Quantum Ratchet (Double Ratchet specification, section 5): symmetric chains that begin anew
//! with every epoch of ML-KEM Braid.
//!
//! The variables of section 5.2 are these fields:
//!
//! | paper | here |
//! |---|---|
//! | `RK`, `epoch` | `root`, `epoch` |
//! | `KDFChains[e].send` | `sending`, and `next_sending` of an epoch in which nothing is sent yet |
//! | `KDFChains[e].receive`, `MKSKIPPED[e]` | `receiving` |
//! | `scka` | `braid` |
//! | `direction` | `role` |
//!
//! Chains and keys of missing messages are kept as long as the Double Ratchet beside this one has keys of
//! missing messages (section 8.10 asks for a limit): it opens nothing without those. When it has none, what is
//! older than the last message is gone. At most [`MAX_EPOCHS`] epochs are kept, and twice as many keys as the
//! Double Ratchet keeps, for where the missing ones are in one ratchet is not always known in the other.

use alloc::collections::VecDeque;

use cc_core::Secret;

use crate::{
    Error,
    braid::{Braid, Message, Step},
    codec::{Reader, fill},
    entropy::Entropy,
    kdf,
    limits::Limits,
    message_key::MessageKey,
    session::Role,
    skipped::SkippedKeys,
};

mod epoch_chain;
mod saved;

use epoch_chain::{Advance, EpochChain};
pub(crate) use saved::Missing;

/// How many epochs are kept for messages that are late: more than the Double Ratchet's chains reach back, for
/// an epoch takes two chains of each side or more.
pub(crate) const MAX_EPOCHS: usize = 50;

/// The state of one side.
#[derive(Debug)]
pub(crate) struct Spqr {
    role: Role,
    braid: Braid,
    root: Secret<32>,
    /// The last epoch of which there are chains.
    epoch: u32,
    sending_epoch: u32,
    sending: EpochChain,
    next_sending: Option<EpochChain>,
    /// Oldest first.
    receiving: VecDeque<Receiving>,
}

#[derive(Debug)]
struct Receiving {
    epoch: u32,
    chain: EpochChain,
    skipped: SkippedKeys,
}

/// What a message says of this ratchet. It travels in the encrypted header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) message: Message,
    /// The number of this message in the sender's chain of its epoch, from 0.
    pub(crate) number: u32,
}

/// What opening a message changes, once it is applied.
#[derive(Debug)]
pub(crate) struct Change {
    key: KeyChange,
    step: Step,
    chains: Option<EpochChains>,
}

/// What taking the key of a message changes.
#[derive(Debug)]
pub(crate) enum KeyChange {
    Late {
        epoch: u32,
        number: u32,
    },
    /// The next message of the chain.
    Next {
        epoch: u32,
        advance: Advance,
    },
    /// A message after a gap.
    Skip {
        epoch: u32,
        chain: EpochChain,
        skipped: SkippedKeys,
    },
}

/// What a new epoch begins with.
#[derive(Debug)]
struct EpochChains {
    root: Secret<32>,
    sending: EpochChain,
    receiving: EpochChain,
}

impl Header {
    /// The length of the encoding: 4 number, and the message of the braid.
    pub(crate) const LEN: usize = 4 + Message::LEN;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        fill(&mut bytes, &[&self.number.to_be_bytes(), &self.message.encode()]);
        bytes
    }

    /// `epoch`: one that is near that of the message.
    fn read(bytes: &[u8; Self::LEN], epoch: u32) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let number = reader.u32()?;
        Ok(Self { number, message: Message::read(&mut reader, epoch)? })
    }

    /// The epoch whose chain the message is in: the one before that of the braid.
    fn epoch(&self) -> Result<u32, Error> {
        self.message.epoch.checked_sub(1).ok_or(Error::Undecryptable)
    }
}

impl Spqr {
    /// `RatchetInitAliceSCKA2` and `RatchetInitBobSCKA2`, from a secret that is used for nothing else.
    pub(crate) fn new(secret: &Secret<32>, role: Role) -> Result<Self, Error> {
        let EpochChains { root, sending, receiving } =
            EpochChains::derive(&Secret::zeroed(), secret, role, INIT_INFO)?;
        let braid = match role {
            Role::Initiator => Braid::initiator(secret)?,
            Role::Responder => Braid::responder(secret)?,
        };
        let mut ratchet = Self {
            role,
            braid,
            root,
            epoch: 0,
            sending_epoch: 0,
            sending,
            next_sending: None,
            receiving: VecDeque::new(),
        };
        ratchet.push_receiving(0, receiving);
        Ok(ratchet)
    }

    /// `SCKARatchetSendKey`: what goes into the header, and this ratchet's part of the message key.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::Primitive`], [`Error::ChainExhausted`].
    pub(crate) fn send(
        &mut self,
        entropy: &mut impl Entropy,
    ) -> Result<(Header, MessageKey), Error> {
        let (message, output) = self.braid.send(entropy)?;
        if let Some(key) = output {
            self.begin_epoch(self.next_chains(&key)?);
        }
        let header = Header { message, number: 0 };
        let epoch = header.epoch()?;
        if epoch != self.sending_epoch {
            // The keys of the chain before are deleted.
            self.sending = self.next_sending.take().ok_or(Error::Primitive)?;
            self.sending_epoch = epoch;
        }
        let number = self.sending.number();
        let key = self.sending.step()?;
        Ok((Header { number, ..header }, key))
    }

    /// What a message says of this ratchet.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for what no sender says.
    pub(crate) fn read_header(&self, bytes: &[u8; Header::LEN]) -> Result<Header, Error> {
        Header::read(bytes, self.epoch).map_err(|_| Error::Undecryptable)
    }

    /// The first half of `SCKARatchetReceiveKey`: this ratchet's part of the message key. Of the messages that
    /// are missing before it, the keys of the first and last so many are kept.
    ///
    /// # Errors
    /// [`Error::Expired`], [`Error::TooFarAhead`], or [`Error::Undecryptable`] for what no sender says.
    pub(crate) fn find_key(
        &self,
        header: &Header,
        (first, last): (u32, u32),
    ) -> Result<(MessageKey, KeyChange), Error> {
        let (epoch, number) = (header.epoch()?, header.number);
        let oldest = self.receiving.front().map_or(self.epoch, |receiving| receiving.epoch);
        if epoch < oldest {
            return Err(Error::Expired);
        }
        let receiving = self.receiving.iter().find(|receiving| receiving.epoch == epoch);
        let Receiving { chain, skipped, .. } = receiving.ok_or(Error::Undecryptable)?;
        let Some(gap) = number.checked_sub(chain.number()) else {
            let key = skipped.get(number).map_err(|error| match error {
                // The other ratchet has its key, so it is not.
                Error::Duplicate => Error::Undecryptable,
                other => other,
            })?;
            return Ok((key.duplicate(), KeyChange::Late { epoch, number }));
        };
        if gap == 0 {
            let (key, advance) = chain.peek().map_err(|_| Error::Undecryptable)?;
            return Ok((key, KeyChange::Next { epoch, advance }));
        }
        if gap > EpochChain::MAX_JUMP {
            return Err(Error::TooFarAhead);
        }
        let (mut chain, skipped) = chain.walk(number, first, last)?;
        let key = chain.step().map_err(|_| Error::Undecryptable)?;
        Ok((key, KeyChange::Skip { epoch, chain, skipped }))
    }

    /// The second half of `SCKARatchetReceiveKey`, when the message has opened.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when what was agreed is not authentic.
    pub(crate) fn receive(&self, header: &Header, key: KeyChange) -> Result<Change, Error> {
        let step = self.braid.receive(&header.message)?;
        let chains = step.output().map(|key| self.next_chains(key)).transpose()?;
        Ok(Change { key, step, chains })
    }

    /// Applies what was found on this very state.
    pub(crate) fn apply(&mut self, change: Change) {
        let (KeyChange::Late { epoch, .. }
        | KeyChange::Next { epoch, .. }
        | KeyChange::Skip { epoch, .. }) = change.key;
        if let Some(receiving) =
            self.receiving.iter_mut().find(|receiving| receiving.epoch == epoch)
        {
            match change.key {
                KeyChange::Late { number, .. } => receiving.skipped.remove(number),
                KeyChange::Next { advance, .. } => receiving.chain.apply(advance),
                KeyChange::Skip { chain, skipped, .. } => {
                    receiving.chain = chain;
                    receiving.skipped.append(skipped);
                }
            }
        }
        self.braid.apply(change.step);
        if let Some(chains) = change.chains {
            self.begin_epoch(chains);
        }
    }

    /// Drops what is beyond the limits. `complete`: the Double Ratchet has no key of a missing message.
    pub(crate) fn enforce(&mut self, complete: bool, limits: &Limits) {
        if complete {
            // The last epoch of which something has arrived, and those after it.
            while self.receiving.get(1).is_some()
                && self.receiving.iter().skip(1).any(|receiving| receiving.chain.number() > 0)
            {
                self.receiving.pop_front();
            }
            self.receiving.iter_mut().for_each(|receiving| receiving.skipped.drop_all());
        }
        while self.receiving.len() > MAX_EPOCHS {
            self.receiving.pop_front();
        }
        let mut excess = self.skipped_len().saturating_sub(limits.max_skipped().saturating_mul(2));
        for receiving in &mut self.receiving {
            while excess > 0 && !receiving.skipped.is_empty() {
                receiving.skipped.drop_oldest();
                excess -= 1;
            }
        }
    }

    /// How many keys of missing messages are kept.
    pub(crate) fn skipped_len(&self) -> usize {
        self.receiving.iter().map(|receiving| receiving.skipped.len()).sum()
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            role: self.role,
            braid: self.braid.duplicate(),
            root: self.root.duplicate(),
            epoch: self.epoch,
            sending_epoch: self.sending_epoch,
            sending: self.sending.duplicate(),
            next_sending: self.next_sending.as_ref().map(EpochChain::duplicate),
            receiving: self
                .receiving
                .iter()
                .map(|receiving| Receiving {
                    epoch: receiving.epoch,
                    chain: receiving.chain.duplicate(),
                    skipped: receiving.skipped.duplicate(),
                })
                .collect(),
        }
    }

    /// `KDF_SCKA_RK(RK, key)`.
    fn next_chains(&self, key: &Secret<32>) -> Result<EpochChains, Error> {
        EpochChains::derive(&self.root, key, self.role, EPOCH_INFO)
    }

    fn begin_epoch(&mut self, chains: EpochChains) {
        self.root = chains.root;
        self.epoch = self.epoch.saturating_add(1);
        self.next_sending = Some(chains.sending);
        self.push_receiving(self.epoch, chains.receiving);
    }

    fn push_receiving(&mut self, epoch: u32, chain: EpochChain) {
        self.receiving.push_back(Receiving { epoch, chain, skipped: SkippedKeys::default() });
    }
}

impl EpochChains {
    /// A root key, the chain from the initiator to the responder, and the other one.
    fn derive(root: &Secret<32>, key: &Secret<32>, role: Role, info: &[u8]) -> Result<Self, Error> {
        let okm = kdf::hkdf::<96>(root.expose(), key.expose(), info)?;
        let first = EpochChain::new(&kdf::part(okm.expose(), 1)?);
        let second = EpochChain::new(&kdf::part(okm.expose(), 2)?);
        let (sending, receiving) = match role {
            Role::Initiator => (first, second),
            Role::Responder => (second, first),
        };
        Ok(Self { root: kdf::part(okm.expose(), 0)?, sending, receiving })
    }
}

const INIT_INFO: &[u8] = b"CascadingCipher_MLKEM768_SHA-256:Chain Start";
const EPOCH_INFO: &[u8] = b"CascadingCipher_MLKEM768_SHA-256:Chain Add Epoch";

#[cfg(test)]
impl Spqr {
    /// The last epoch of which this side has the secret.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn braid_mut(&mut self) -> &mut Braid {
        &mut self.braid
    }

    pub(crate) fn set_next_number(&mut self, number: u32) {
        self.sending.set_number(number);
    }

    /// Takes away what gives message keys.
    pub(crate) fn replace_chain_keys(&mut self) {
        for receiving in &mut self.receiving {
            let number = receiving.chain.number();
            receiving.chain = EpochChain::new(&Secret::random().unwrap());
            receiving.chain.set_number(number);
            receiving.skipped = SkippedKeys::default();
        }
    }

    /// As [`Spqr::receive`], and what is not authentic changes nothing.
    pub(crate) fn receive_as_thief(&self, header: &Header, key: KeyChange) -> Change {
        let step = self.braid.receive(&header.message).unwrap_or(Step::Nothing);
        let chains = step.output().map(|key| self.next_chains(key).unwrap());
        Change { key, step, chains }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has the root of an epoch lacks the next one's chains without what was agreed, and the other way round.
    #[test]
    fn an_epoch_needs_the_one_before_and_what_was_agreed() {
        let secret = |byte| Secret::copy_from(&[byte; 32]).unwrap();
        let begin = |root, key| {
            EpochChains::derive(&secret(root), &secret(key), Role::Initiator, EPOCH_INFO).unwrap()
        };
        let roots = [begin(1, 2), begin(9, 2), begin(1, 9)].map(|chains| chains.root);
        assert!(roots[0] != roots[1] && roots[0] != roots[2]);
        let spqr = |root, sends| {
            let mut spqr = Spqr::new(&secret(7), Role::Initiator).unwrap();
            spqr.root = secret(root);
            spqr.next_chains(&secret(sends)).unwrap().root
        };
        assert!(spqr(1, 2) == roots[0] && spqr(1, 9) == roots[2]);
    }
}
