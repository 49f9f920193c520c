//! All chains of a group: one's own, and for every other member the latest ones.

use core::ops::Range;

use alloc::{collections::BTreeMap, vec::Vec};

use cc_core::SecretBytes;

use crate::{
    Error,
    codec::{Reader, Writer},
    limits::Limits,
    sender_key::{ReceiverChain, SenderChain, StagedReceive, message_chain_id},
    state::{self, State},
    wire,
};

/// How many chains of one sender are kept, for messages that were under way when it rotated.
pub const CHAINS_PER_SENDER: usize = 3;

/// The most senders in one group.
pub const MAX_SENDERS: usize = 100_000;

/// The longest name of a sender, in bytes.
pub const MAX_NAME_LEN: usize = 1024;

/// The Sender Keys of one member of one group.
///
/// A sender has the name that the caller gives it: the bytes of its identity, or its place in the
/// group.
#[derive(Debug)]
pub struct SenderKeys {
    own: SenderChain,
    /// Newest chain last.
    senders: BTreeMap<Vec<u8>, Vec<ReceiverChain>>,
    /// Whose a chain is. Found from the message, so that opening costs the same in any group.
    by_chain: BTreeMap<[u8; 8], Vec<u8>>,
    limits: Limits,
}

/// The change that opening a group message makes.
#[derive(Debug)]
#[must_use = "the message is not received until this is applied"]
pub struct StagedGroupOpen(StagedReceive);

impl SenderKeys {
    /// A fresh chain of one's own, and no other senders yet.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's generator fails.
    pub fn generate(limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            own: SenderChain::generate()?,
            senders: BTreeMap::new(),
            by_chain: BTreeMap::new(),
            limits,
        })
    }

    /// One's own chain: to distribute, to encrypt with, to rotate when a member leaves.
    #[must_use]
    pub fn own(&self) -> &SenderChain {
        &self.own
    }

    /// One's own chain, to be changed.
    pub fn own_mut(&mut self) -> &mut SenderChain {
        &mut self.own
    }

    /// Takes a distribution that came from `sender` through a pairwise session. Of a chain that
    /// is there already nothing changes, so that a repeated distribution cannot open old messages
    /// again.
    ///
    /// # Errors
    /// As [`ReceiverChain::from_distribution`]; [`Error::LimitExceeded`] beyond [`MAX_SENDERS`]
    /// or [`MAX_NAME_LEN`]; [`Error::InvalidKey`] for a chain that another sender has already.
    pub fn insert(&mut self, sender: &[u8], distribution: &[u8]) -> Result<(), Error> {
        let chain = ReceiverChain::from_distribution(distribution, self.limits)?;
        self.insert_chain(sender, chain)
    }

    /// Forgets a sender that has left. One's own chain is to be rotated as well.
    pub fn remove(&mut self, sender: &[u8]) {
        for chain in self.senders.remove(sender).unwrap_or_default() {
            self.by_chain.remove(&chain.id());
        }
    }

    /// Whether a chain of this sender is known.
    #[must_use]
    pub fn contains(&self, sender: &[u8]) -> bool {
        self.senders.contains_key(sender)
    }

    /// Who sent a group message, as far as the message says; opening it proves it.
    #[must_use]
    pub fn claimed_sender(&self, message: &[u8]) -> Option<&[u8]> {
        self.by_chain.get(&message_chain_id(message)?).map(Vec::as_slice)
    }

    /// Opens a group message without changing anything: who sent it, the text, and the change.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for whatever reason.
    pub fn open(
        &self,
        ad: &[u8],
        message: &[u8],
    ) -> Result<(&[u8], Vec<u8>, StagedGroupOpen), Error> {
        let (text, (sender, staged)) = wire::open_copy(message, |buffer| {
            let (sender, range, staged) = self.open_in_place(ad, buffer)?;
            Ok((range, (sender, staged)))
        })?;
        Ok((sender, text, staged))
    }

    /// Opens a group message in place without changing anything. The text is in the range
    /// returned.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for whatever reason; `message` is left as it was.
    pub fn open_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(&[u8], Range<usize>, StagedGroupOpen), Error> {
        let id = message_chain_id(message).ok_or(Error::Undecryptable)?;
        let sender = self.by_chain.get(&id).ok_or(Error::Undecryptable)?;
        let chains = self.senders.get(sender).ok_or(Error::Undecryptable)?;
        let chain = chains.iter().find(|chain| chain.id() == id).ok_or(Error::Undecryptable)?;
        let (range, staged) = chain.open_in_place(ad, message)?;
        Ok((sender, range, StagedGroupOpen(staged)))
    }

    /// Applies a staged change.
    ///
    /// # Errors
    /// [`Error::Stale`] when the chain has moved or gone since; nothing has changed then.
    pub fn apply(&mut self, staged: StagedGroupOpen) -> Result<(), Error> {
        let id = staged.0.chain_id();
        self.by_chain
            .get(&id)
            .and_then(|sender| self.senders.get_mut(sender))
            .and_then(|chains| chains.iter_mut().find(|chain| chain.id() == id))
            .ok_or(Error::Stale)?
            .apply(staged.0)
    }

    /// The keys as bytes for an encrypted store.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        state::export(self)
    }

    /// Keys from the bytes of [`SenderKeys::export`], with limits for their further life.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for a state of a later version, [`Error::InvalidState`] for
    /// anything else that is wrong.
    pub fn load(bytes: &[u8], limits: Limits) -> Result<Self, Error> {
        state::load(bytes, &limits)
    }

    /// Whose chains are known, in the order of their names.
    pub(crate) fn senders(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.senders.keys().map(Vec::as_slice)
    }

    pub(crate) fn insert_chain(
        &mut self,
        sender: &[u8],
        chain: ReceiverChain,
    ) -> Result<(), Error> {
        let id = chain.id();
        if let Some(owner) = self.by_chain.get(&id) {
            // The sender's own chain again: a later place in it would lose what is under way, an
            // earlier one would be a replay.
            return if owner == sender { Ok(()) } else { Err(Error::InvalidKey) };
        }
        let known = self.senders.contains_key(sender);
        if sender.len() > MAX_NAME_LEN || (!known && self.senders.len() >= MAX_SENDERS) {
            return Err(Error::LimitExceeded);
        }
        let chains = self.senders.entry(Vec::from(sender)).or_default();
        if chains.len() >= CHAINS_PER_SENDER {
            let oldest = chains.remove(0);
            self.by_chain.remove(&oldest.id());
        }
        chains.push(chain);
        self.by_chain.insert(id, Vec::from(sender));
        Ok(())
    }
}

impl State for SenderKeys {
    const KIND: u8 = state::SENDER_KEYS;

    fn write(&self, writer: &mut Writer) {
        self.own.write(writer);
        writer.count(self.senders.len());
        for (sender, chains) in &self.senders {
            writer.bytes(sender);
            writer.count(chains.len());
            for chain in chains {
                chain.write(writer);
            }
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error> {
        let mut keys = Self {
            own: SenderChain::read(reader, limits)?,
            senders: BTreeMap::new(),
            by_chain: BTreeMap::new(),
            limits: *limits,
        };
        let mut known = 0;
        for _ in 0..reader.count(8, MAX_SENDERS)? {
            let sender = reader.bytes(MAX_NAME_LEN)?;
            let chains = reader.count(80, CHAINS_PER_SENDER)?;
            if chains == 0 || keys.senders().next_back().is_some_and(|last| last >= sender) {
                return Err(Error::InvalidState);
            }
            known += chains;
            for _ in 0..chains {
                keys.insert_chain(sender, ReceiverChain::read(reader, limits)?)?;
            }
        }
        if known != keys.by_chain.len() {
            return Err(Error::InvalidState);
        }
        Ok(keys)
    }
}
