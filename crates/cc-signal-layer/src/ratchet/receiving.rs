//! The receiving half: the key of a message, and what opening it changes.

use core::ops::Range;

use zeroize::Zeroize as _;

use super::{PREFIX_LEN, Ratchet, Sending, with_associated_data};
use crate::{
    Error,
    chain_key::ChainKey,
    curve::PublicKey,
    header::{self, ENCRYPTED_LEN, Header, HeaderKey},
    limits::Limits,
    message_key::{HybridKey, MessageKey, OneTimeKey as _, TAG_LEN},
    root_key::RootKey,
    skipped::{FormerChain, Location, SkippedKeys},
    spqr, wire,
};

#[derive(Debug)]
pub(super) struct Receiving {
    /// How many receiving chains came before.
    pub(super) index: u64,
    /// How many message keys were derived from those.
    pub(super) start: u64,
    pub(super) theirs: PublicKey,
    pub(super) header_key: HeaderKey,
    pub(super) chain: ChainKey,
    pub(super) number: u32,
    pub(super) skipped: SkippedKeys,
}

/// What opening a message will change, once it is applied.
#[derive(Debug)]
pub(crate) struct Change {
    pub(super) double: DoubleChange,
    pub(super) spqr: spqr::Change,
}

/// What it changes of the Double Ratchet.
#[derive(Debug)]
pub(super) enum DoubleChange {
    /// A late message of the current receiving chain.
    Late(u32),
    /// A late message of a former chain.
    Former(Location),
    /// The next message of the current chain, perhaps after a gap.
    Advance { chain: ChainKey, number: u32, skipped: SkippedKeys },
    /// The first message seen of a new chain: a DH ratchet step.
    Ratchet {
        /// What is missing of the chain before, and how many keys were derived from that one.
        missed: SkippedKeys,
        end: u32,
        root: RootKey,
        next_receiving: HeaderKey,
        theirs: PublicKey,
        chain: ChainKey,
        number: u32,
        skipped: SkippedKeys,
    },
}

impl Ratchet {
    /// `RatchetDecrypt` of section 6, in place and without changing the state: where in `message` the text
    /// is now, and the change to apply. On failure the text is overwritten, and the header
    /// is as it was.
    ///
    /// # Errors
    /// [`Error::Undecryptable`]; of a message whose header is genuine also [`Error::Own`],
    /// [`Error::Duplicate`], [`Error::Expired`] and [`Error::TooFarAhead`].
    pub(crate) fn open(
        &self,
        session_ad: &[u8; 32],
        ad: &[u8],
        message: &mut [u8],
        limits: &Limits,
    ) -> Result<(Range<usize>, Change), Error> {
        let (prefix, rest) =
            message.split_first_chunk_mut::<PREFIX_LEN>().ok_or(Error::Undecryptable)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::Undecryptable)?;
        let (kind, header) = prefix.split_first().ok_or(Error::Undecryptable)?;
        let header: &[u8; ENCRYPTED_LEN] = header.try_into().map_err(|_| Error::Undecryptable)?;
        if *kind != wire::MESSAGE {
            return Err(Error::Undecryptable);
        }
        let (plain, classical, double) = self.find_key(header, limits)?;
        let spqr = self.spqr.read_header(&plain.spqr)?;
        let (post_quantum, key_change) = self.spqr.find_key(&spqr, double.missing(limits))?;
        let key = HybridKey::new(classical, post_quantum);
        with_associated_data([session_ad, header, ad], |ad| {
            key.decrypt(header::salt(header), ad, body, tag)
        })?;
        match self.spqr.receive(&spqr, key_change) {
            Ok(spqr) => Ok((PREFIX_LEN..PREFIX_LEN + body.len(), Change { double, spqr })),
            Err(_) => {
                // What the two have agreed is not authentic.
                body.zeroize();
                Err(Error::Undecryptable)
            }
        }
    }

    /// Applies what [`Ratchet::open`] found, which must have been called on this very state.
    pub(crate) fn apply(&mut self, change: Change, limits: &Limits) {
        self.spqr.apply(change.spqr);
        match change.double {
            DoubleChange::Late(number) => {
                if let Some(receiving) = &mut self.receiving {
                    receiving.skipped.remove(number);
                }
            }
            DoubleChange::Former(location) => self.former.remove(location),
            DoubleChange::Advance { chain, number, skipped } => {
                if let Some(receiving) = &mut self.receiving {
                    receiving.chain = chain;
                    receiving.number = number;
                    receiving.skipped.append(skipped);
                }
            }
            DoubleChange::Ratchet {
                missed,
                end,
                root,
                next_receiving,
                theirs,
                chain,
                number,
                skipped,
            } => {
                let (mut next_index, mut next_start) = (0, 0);
                if let Some(mut old) = self.receiving.take() {
                    old.skipped.append(missed);
                    let Receiving { index, start, header_key, skipped, .. } = old;
                    next_index = index.saturating_add(1);
                    next_start = start.saturating_add(u64::from(end));
                    self.former.push(FormerChain { index, start, end, header_key, skipped });
                }
                let sending = core::mem::replace(&mut self.sending, Sending::Due(theirs));
                if let Sending::Chain { header_key, number, .. } = sending {
                    self.previous = number;
                    self.last_sending = Some(header_key);
                }
                self.root = root;
                self.receiving = Some(Receiving {
                    index: next_index,
                    start: next_start,
                    theirs,
                    header_key: core::mem::replace(&mut self.next_receiving, next_receiving),
                    chain,
                    number,
                    skipped,
                });
            }
        }
        self.enforce(limits);
    }

    /// The key of the message with this header, and what using it changes. Everything that can be
    /// refused is refused before a key is derived.
    pub(super) fn find_key(
        &self,
        encrypted: &[u8; ENCRYPTED_LEN],
        limits: &Limits,
    ) -> Result<(Header, MessageKey, DoubleChange), Error> {
        if let Some(receiving) = &self.receiving
            && let Some(header) = receiving.header_key.decrypt(encrypted)
        {
            let (key, change) = receiving.find_key(&header, limits)?;
            return Ok((header, key, change));
        }
        if let Some(header) = self.next_receiving.decrypt(encrypted) {
            let (key, change) = self.find_key_after_step(&header, limits)?;
            return Ok((header, key, change));
        }
        match self.former.find(encrypted) {
            Ok((header, location, key)) => {
                Ok((header, key.duplicate(), DoubleChange::Former(location)))
            }
            Err(Error::Undecryptable) if self.has_sent(encrypted) => Err(Error::Own),
            Err(error) => Err(error),
        }
    }

    /// `DHRatchetHE`, its receiving half, with the skipping before and after it.
    ///
    /// Of the chain before, no more is skipped than the limit allows: the new chain does not depend on
    /// it. The new chain is followed further than within a chain, for its first message is what the next
    /// step of both sides depends on.
    fn find_key_after_step(
        &self,
        header: &Header,
        limits: &Limits,
    ) -> Result<(MessageKey, DoubleChange), Error> {
        let (Sending::Chain { pair, .. } | Sending::Waiting(pair)) = &self.sending else {
            // The peer cannot answer a ratchet key that we have not made yet.
            return Err(Error::Undecryptable);
        };
        let next_number = header.number.checked_add(1).ok_or(Error::Undecryptable)?;
        if header.number > limits.max_skip().max(Limits::MAX_FIRST_SKIP) {
            return Err(Error::TooFarAhead);
        }
        let (missed, end) = match &self.receiving {
            Some(old) => {
                let gap = header.previous.checked_sub(old.number).ok_or(Error::Undecryptable)?;
                let end = old.number.saturating_add(gap.min(limits.max_skip()));
                (SkippedKeys::walk(&old.chain, old.number, end, limits.max_skip()).1, end)
            }
            None if header.previous == 0 => (SkippedKeys::default(), 0),
            None => return Err(Error::Undecryptable),
        };
        let (root, chain, next_receiving) =
            self.root.step(pair, &header.ratchet_key).map_err(|_| Error::Undecryptable)?;
        let (chain, skipped) = SkippedKeys::walk(&chain, 0, header.number, limits.max_skip());
        let (chain, key) = chain.step();
        let change = DoubleChange::Ratchet {
            missed,
            end,
            root,
            next_receiving,
            theirs: header.ratchet_key,
            chain,
            number: next_number,
            skipped,
        };
        Ok((key, change))
    }

    /// Whether the header is of a message of our present sending chain or the one before.
    fn has_sent(&self, encrypted: &[u8; ENCRYPTED_LEN]) -> bool {
        let present = match &self.sending {
            Sending::Chain { header_key, .. } => Some(header_key),
            Sending::Waiting(_) | Sending::Due(_) => None,
        };
        present.into_iter().chain(&self.last_sending).any(|key| key.decrypt(encrypted).is_some())
    }
}

impl Change {
    /// Whether the message was a new one, not a late one.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.double, DoubleChange::Advance { .. } | DoubleChange::Ratchet { .. })
    }
}

impl DoubleChange {
    /// How many keys of missing messages this keeps: the first ones and the last ones of those that are
    /// missing before the message. (Of a late message not known, so as many as may be.)
    pub(super) fn missing(&self, limits: &Limits) -> (u32, u32) {
        let count = |keys: &SkippedKeys| u32::try_from(keys.len()).unwrap_or(u32::MAX);
        match self {
            Self::Late(_) | Self::Former(_) => (limits.max_skip(), limits.max_skip()),
            Self::Advance { skipped, .. } => (count(skipped), 0),
            Self::Ratchet { missed, skipped, .. } => (count(missed), count(skipped)),
        }
    }
}

impl Receiving {
    fn find_key(
        &self,
        header: &Header,
        limits: &Limits,
    ) -> Result<(MessageKey, DoubleChange), Error> {
        if header.ratchet_key != self.theirs {
            return Err(Error::Undecryptable);
        }
        let Some(gap) = header.number.checked_sub(self.number) else {
            let key = self.skipped.get(header.number)?;
            return Ok((key.duplicate(), DoubleChange::Late(header.number)));
        };
        let next_number = header.number.checked_add(1).ok_or(Error::Undecryptable)?;
        if gap > limits.max_skip() {
            return Err(Error::TooFarAhead);
        }
        if gap == 0 {
            let (chain, key) = self.chain.step();
            let skipped = SkippedKeys::default();
            return Ok((key, DoubleChange::Advance { chain, number: next_number, skipped }));
        }
        let max = limits.max_skip();
        let (chain, skipped) = SkippedKeys::walk(&self.chain, self.number, header.number, max);
        let (chain, key) = chain.step();
        Ok((key, DoubleChange::Advance { chain, number: next_number, skipped }))
    }
}
