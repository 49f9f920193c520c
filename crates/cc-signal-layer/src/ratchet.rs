//! The Triple Ratchet: the Double Ratchet with header encryption (section 4 of its specification), and beside
//! it the Sparse Post-Quantum Ratchet (section 5, `spqr.rs`). Both have a key for every message, and a message
//! is sealed under what is derived from the two (section 6).
//!
//! The variables of section 4.3 are these fields:
//!
//! | paper | here |
//! |---|---|
//! | `RK` | `root` |
//! | `DHRs`, `HKs`, `CKs`, `Ns` | `sending` |
//! | `NHKs`, `PN` | `next_sending`, `previous` |
//! | `DHRr`, `HKr`, `CKr`, `Nr` | `receiving` |
//! | `NHKr` | `next_receiving` |
//! | `MKSKIPPED` | `receiving.skipped`, `former` |
//! | state of the post-quantum ratchet | `spqr` |
//!
//! The sending half of a DH ratchet step waits until something is sent, as the specification
//! allows ("deferring new ratchet key generation"): a key that does not exist yet cannot be
//! stolen, and receiving needs no randomness.

use core::ops::Range;

use alloc::vec::Vec;

use zeroize::Zeroize as _;

use crate::{
    Error,
    chain_key::ChainKey,
    curve::{KeyPair, PublicKey},
    entropy::Entropy,
    header::{self, ENCRYPTED_LEN, Header, HeaderKey},
    limits::Limits,
    message_key::{HybridKey, MessageKey, TAG_LEN},
    root_key::RootKey,
    skipped::{FormerChain, FormerChains, Location, SkippedKeys},
    spqr::{self, Spqr},
    wire,
};

mod saved;
#[cfg(test)]
mod tampering;

/// What stands before the encrypted text: the type byte and the encrypted header.
pub(crate) const PREFIX_LEN: usize = 1 + ENCRYPTED_LEN;

/// The state of one side.
#[derive(Debug)]
pub(crate) struct Ratchet {
    root: RootKey,
    sending: Sending,
    next_sending: HeaderKey,
    /// The header key of the sending chain before, to know one's own messages by.
    last_sending: Option<HeaderKey>,
    previous: u32,
    receiving: Option<Receiving>,
    next_receiving: HeaderKey,
    former: FormerChains,
    spqr: Spqr,
}

/// The sending side of the ratchet.
#[derive(Debug)]
enum Sending {
    /// A responder that has received nothing: its signed prekey is its first ratchet key.
    Waiting(KeyPair),
    /// The peer has ratcheted; our step is due at the next message.
    Due(PublicKey),
    /// A chain to send in.
    Chain { pair: KeyPair, header_key: HeaderKey, chain: ChainKey, number: u32 },
}

#[derive(Debug)]
struct Receiving {
    /// How many receiving chains came before.
    index: u64,
    /// How many message keys were derived from those.
    start: u64,
    theirs: PublicKey,
    header_key: HeaderKey,
    chain: ChainKey,
    number: u32,
    skipped: SkippedKeys,
}

/// What opening a message will change, once it is applied.
#[derive(Debug)]
pub(crate) struct Change {
    double: DoubleChange,
    spqr: spqr::Change,
}

/// What it changes of the Double Ratchet.
#[derive(Debug)]
enum DoubleChange {
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
    /// `RatchetInitAliceHE`.
    pub(crate) fn initiator(
        root: RootKey,
        header_a: HeaderKey,
        next_header_b: HeaderKey,
        their_prekey: &PublicKey,
        spqr: Spqr,
        entropy: &mut impl Entropy,
    ) -> Result<Self, Error> {
        let pair = KeyPair::generate_from(entropy)?;
        let (root, chain, next_sending) = root.step(&pair, their_prekey)?;
        Ok(Self {
            root,
            sending: Sending::Chain { pair, header_key: header_a, chain, number: 0 },
            next_sending,
            last_sending: None,
            previous: 0,
            receiving: None,
            next_receiving: next_header_b,
            former: FormerChains::default(),
            spqr,
        })
    }

    /// `RatchetInitBobHE`.
    pub(crate) fn responder(
        root: RootKey,
        header_a: HeaderKey,
        next_header_b: HeaderKey,
        our_prekey: KeyPair,
        spqr: Spqr,
    ) -> Self {
        Self {
            root,
            sending: Sending::Waiting(our_prekey),
            next_sending: next_header_b,
            last_sending: None,
            previous: 0,
            receiving: None,
            next_receiving: header_a,
            former: FormerChains::default(),
            spqr,
        }
    }

    /// `RatchetEncrypt` of section 6, in place: what goes before `body`, and the tag that goes after it.
    ///
    /// The chains have advanced before the body is encrypted, whatever happens afterwards.
    pub(crate) fn encrypt(
        &mut self,
        session_ad: &[u8],
        ad: &[u8],
        body: &mut [u8],
        entropy: &mut impl Entropy,
    ) -> Result<([u8; PREFIX_LEN], [u8; TAG_LEN]), Error> {
        if let Sending::Waiting(_) = &self.sending {
            return Err(Error::NoSession);
        }
        let (spqr, post_quantum) = self.spqr.send(entropy)?;
        if let Sending::Due(theirs) = &self.sending {
            let pair = KeyPair::generate_from(entropy)?;
            let (root, chain, next_sending) = self.root.step(&pair, theirs)?;
            self.root = root;
            self.sending = Sending::Chain {
                pair,
                header_key: core::mem::replace(&mut self.next_sending, next_sending),
                chain,
                number: 0,
            };
        }
        let Sending::Chain { pair, header_key, chain, number } = &mut self.sending else {
            return Err(Error::NoSession);
        };
        let next_number = number.checked_add(1).ok_or(Error::ChainExhausted)?;
        let header =
            Header { ratchet_key: *pair.public(), previous: self.previous, number: *number, spqr };
        let header = header_key.encrypt(&header, entropy)?;
        let (next_chain, classical) = chain.step();
        *chain = next_chain;
        *number = next_number;
        let key = HybridKey::new(classical, post_quantum);

        let mut prefix = [wire::MESSAGE; PREFIX_LEN];
        if let Some((_, rest)) = prefix.split_first_mut() {
            rest.copy_from_slice(&header);
        }
        let tag =
            key.encrypt(header::salt(&header), &associated_data(session_ad, &prefix, ad), body)?;
        Ok((prefix, tag))
    }

    /// `RatchetDecrypt` of section 6, in place and without changing the state: where in `message` the text
    /// is now, and the change to apply. On failure the text is overwritten, and the header
    /// is as it was.
    ///
    /// # Errors
    /// [`Error::Undecryptable`]; of a message whose header is genuine also [`Error::Own`],
    /// [`Error::Duplicate`], [`Error::Expired`] and [`Error::TooFarAhead`].
    pub(crate) fn open(
        &self,
        session_ad: &[u8],
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
        let (post_quantum, key_change) = self.spqr.find_key(&plain.spqr, double.missing(limits))?;
        let key = HybridKey::new(classical, post_quantum);
        key.decrypt(header::salt(header), &associated_data(session_ad, prefix, ad), body, tag)?;
        match self.spqr.receive(&plain.spqr, key_change) {
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

    /// How many keys of missing messages are kept.
    pub(crate) fn skipped_len(&self) -> usize {
        self.former.len() + self.receiving.as_ref().map_or(0, |r| r.skipped.len())
    }

    /// Drops the skipped keys that have expired, and the oldest beyond the limit.
    pub(crate) fn enforce(&mut self, limits: &Limits) {
        let excess = self.skipped_len().saturating_sub(limits.max_skipped());
        let excess = self.former.drop_oldest(excess);
        if let Some(Receiving { index, start, number, skipped, .. }) = &mut self.receiving {
            for _ in 0..excess {
                skipped.drop_oldest();
            }
            let position = start.saturating_add(u64::from(*number));
            let oldest = position.saturating_sub(u64::from(limits.skipped_lifetime()));
            skipped.drop_before(oldest.saturating_sub(*start));
            self.former.expire(oldest, *index);
        }
        self.spqr.enforce(self.skipped_len() == 0, limits);
    }

    /// The key of the message with this header, and what using it changes. Everything that can be
    /// refused is refused before a key is derived.
    fn find_key(
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
    fn missing(&self, limits: &Limits) -> (u32, u32) {
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

/// `CONCAT(AD, enc_header)` and the caller's data. The first two have fixed lengths, so the
/// concatenation is unambiguous.
fn associated_data(session_ad: &[u8], prefix: &[u8; PREFIX_LEN], ad: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(session_ad.len() + PREFIX_LEN + ad.len());
    all.extend_from_slice(session_ad);
    all.extend_from_slice(prefix);
    all.extend_from_slice(ad);
    all
}
