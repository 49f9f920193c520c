//! All chains of a group: one's own, and for every other member the latest ones.

use core::ops::Range;

use alloc::{collections::BTreeMap, vec::Vec};

use cc_core::SecretBytes;

use crate::{
    Error,
    codec::Reader,
    limits::Limits,
    sender_key::{MAX_NAME_LEN, ReceiverChain, SenderChain, StagedReceive, message_chain_id},
    state::{self, Records, Source, State},
    wire,
};

/// How many chains of one sender are kept, for messages that were under way when it rotated.
pub const CHAINS_PER_SENDER: usize = 3;

/// The most senders in one group.
pub const MAX_SENDERS: usize = 100_000;

/// The Sender Keys of one member of one group.
///
/// A sender has the name that the caller gives it: the bytes of its identity, or its place in the
/// group. The name is part of every message, so it is to be the same one for everybody.
#[derive(Debug)]
pub struct SenderKeys {
    own_chain: SenderChain,
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
    /// A fresh chain of one's own, under the name `own` that the others have for this member, and no
    /// other senders yet.
    ///
    /// # Errors
    /// As [`SenderChain::generate`].
    pub fn generate(own: &[u8], limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            own_chain: SenderChain::generate(own)?,
            senders: BTreeMap::new(),
            by_chain: BTreeMap::new(),
            limits,
        })
    }

    /// One's own chain: to distribute, to encrypt with, to rotate when a member leaves.
    #[must_use]
    pub fn sender_chain(&self) -> &SenderChain {
        &self.own_chain
    }

    /// One's own chain, to be changed.
    pub fn sender_chain_mut(&mut self) -> &mut SenderChain {
        &mut self.own_chain
    }

    /// Takes a distribution that came from `sender` through a pairwise session. Of a chain that
    /// is there already nothing changes, so that a repeated distribution cannot open old messages
    /// again. From a chain of somebody else, passed on by `sender`, no message ever opens.
    ///
    /// # Errors
    /// As [`ReceiverChain::from_distribution`]; [`Error::LimitExceeded`] beyond [`MAX_SENDERS`];
    /// [`Error::InvalidKey`] for a chain that another sender has already, which takes a collision of
    /// its id.
    pub fn insert(&mut self, sender: &[u8], distribution: &[u8]) -> Result<(), Error> {
        let chain = ReceiverChain::from_distribution(sender, distribution, self.limits)?;
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
    /// As [`SenderKeys::open_in_place`].
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
    /// As [`ReceiverChain::open_in_place`]; [`Error::Own`] for a message of the own chain. `message` is
    /// then to be thrown away.
    pub fn open_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(&[u8], Range<usize>, StagedGroupOpen), Error> {
        let id = message_chain_id(message).ok_or(Error::Undecryptable)?;
        if id == self.own_chain.id() && self.own_chain.has_sent(ad, message) {
            return Err(Error::Own);
        }
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

    fn write(&self, to: &mut Records) {
        to.within(OWN, |to| self.own_chain.write(to));
        for sender in self.senders.keys() {
            to.within(&record_of(sender), |to| self.write_sender(sender, to));
        }
    }

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let mut keys = Self {
            own_chain: from.within(OWN, |from| SenderChain::read(from, limits))?,
            senders: BTreeMap::new(),
            by_chain: BTreeMap::new(),
            limits: *limits,
        };
        let mut known = 0;
        while let Some(name) = from.next_name() {
            let sender = sender_of(&name)?;
            let chains =
                from.within(&record_of(sender), |from| read_sender(sender, from, limits))?;
            known += chains.len();
            for chain in chains {
                keys.insert_chain(sender, chain)?;
            }
        }
        if known != keys.by_chain.len() {
            return Err(Error::InvalidState);
        }
        Ok(keys)
    }
}

impl SenderKeys {
    /// All chains of a sender in one record, and the skipped keys of each by its id.
    pub(crate) fn write_sender(&self, sender: &[u8], to: &mut Records) {
        let Some(chains) = self.senders.get(sender) else { return };
        to.put(b"", |writer| chains.iter().for_each(|chain| chain.write(writer)));
        for chain in chains {
            to.within(&chain.id(), |to| chain.write_skipped(to));
        }
    }
}

/// The name of the record of one's own chain.
pub(crate) const OWN: &[u8] = b"o";

/// The name of a sender's record: its length (8) is before it, so that none is the beginning of another.
pub(crate) fn record_of(sender: &[u8]) -> Vec<u8> {
    [SENDER, &(sender.len() as u64).to_be_bytes(), sender].concat()
}

fn sender_of(name: &[u8]) -> Result<&[u8], Error> {
    let mut reader = Reader::new(name);
    if reader.take(SENDER.len())? != SENDER {
        return Err(Error::InvalidState);
    }
    match usize::try_from(reader.u64()?) {
        Ok(len) if len <= MAX_NAME_LEN => reader.take(len),
        Ok(_) | Err(_) => Err(Error::InvalidState),
    }
}

fn read_sender(
    sender: &[u8],
    from: &mut Source,
    limits: &Limits,
) -> Result<Vec<ReceiverChain>, Error> {
    let mut chains = from.take(b"", |reader| {
        let mut chains = Vec::new();
        while chains.is_empty() || reader.remaining() > 0 {
            if chains.len() >= CHAINS_PER_SENDER {
                return Err(Error::InvalidState);
            }
            chains.push(ReceiverChain::read(sender, reader, limits)?);
        }
        Ok(chains)
    })?;
    for (chain, count) in &mut chains {
        from.within(&chain.id(), |from| chain.read_skipped(*count, from))?;
    }
    Ok(chains.into_iter().map(|(chain, _)| chain).collect())
}

const SENDER: &[u8] = b"c";
