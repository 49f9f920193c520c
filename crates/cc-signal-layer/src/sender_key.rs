//! Sender Keys: one signed chain per sender, for messages to a group.
//!
//! A sender makes a [`SenderChain`] and sends its [distribution](SenderChain::distribution) to
//! every member through their pairwise sessions. From then on a message to the group is encrypted
//! once. A receiver of the distribution, and nobody else, can read on from there: the chain only
//! goes forward, so a newcomer reads nothing older. When a member leaves, every sender
//! [rotates](SenderChain::rotate).
//!
//! A chain has the name of its sender in its id and in everything that it signs. A member who passes
//! another's distribution on as its own gives the receiver a chain of which no message ever comes.
//!
//! What this does not give, unlike the pairwise sessions: no healing after a compromise until
//! somebody rotates, and no deniability towards the group, since every message is signed.
//!
//! Message, 105 bytes and the text:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0x16 |
//! | 8 | id of the chain: the start of a hash of its signing key and the sender's name |
//! | 4 | number of the message, from 0 |
//! | 12 | salt of the message key |
//! | n + 16 | the text, encrypted with AES-256-GCM under a key from message key and salt, and the tag |
//! | 64 | Ed25519 signature over the sender's name, the associated data and everything before |
//!
//! The salt is random, for copies of a chain that was put back: each reaches the same message keys. Of `k`
//! messages under one message key two have the same salt with a probability below k^2 / 2^97: 2^-33 for
//! 2^32 copies, as NIST SP 800-38D section 8.3 asks of random nonces.
//!
//! Distribution, 69 bytes: 0x15, number (4), chain key (32), signing key (32).

use core::ops::Range;

use alloc::{boxed::Box, vec::Vec};

use cc_core::{Secret, SecretBytes};
use cc_primitives::ed25519::{SigningKey, VerifyingKey};

use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    entropy::{Entropy, System},
    limits::Limits,
    message_key::{MessageKey, OneTimeKey as _, TAG_LEN},
    scrub::scrubbed,
    session::Framing,
    skipped::SkippedKeys,
    state, wire,
};

mod message;
mod saved;

pub(crate) use message::message_chain_id;
use message::{
    HEAD_LEN, Parts, SALT_LEN, SIGNATURE_LEN, Sealed, associated_data, chain_id, number_and_salt,
    signed, split, verifying_key,
};

/// One's own chain, to send to a group.
#[derive(Debug)]
pub struct SenderChain {
    sender: Box<[u8]>,
    id: [u8; 8],
    signing: SigningKey,
    /// Of the signing key.
    verifying: VerifyingKey,
    chain: ChainKey,
    number: u32,
}

/// Somebody else's chain, to receive from.
#[derive(Debug)]
pub struct ReceiverChain {
    sender: Box<[u8]>,
    id: [u8; 8],
    verifying: VerifyingKey,
    chain: ChainKey,
    number: u32,
    skipped: SkippedKeys,
    limits: Limits,
    revision: u64,
}

/// The change that opening a group message makes to its [`ReceiverChain`].
#[derive(Debug)]
#[must_use = "the message is not received until this is applied"]
pub struct StagedReceive {
    chain_id: [u8; 8],
    revision: u64,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Late(u32),
    Advance { chain: ChainKey, number: u32, skipped: SkippedKeys },
}

impl SenderChain {
    /// How much longer than its text a message is.
    pub const OVERHEAD: usize = HEAD_LEN + TAG_LEN + SIGNATURE_LEN;

    /// A fresh chain of `sender`, the name under which the others keep it.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's generator fails, [`Error::LimitExceeded`] for a
    /// name beyond [`MAX_NAME_LEN`].
    pub fn generate(sender: &[u8]) -> Result<Self, Error> {
        Self::generate_from(sender, &mut System)
    }

    /// Replaces the chain by an unrelated one of the same sender. Those who are to read on need its
    /// distribution.
    ///
    /// # Errors
    /// [`Error::Random`]; the old chain stays then.
    pub fn rotate(&mut self) -> Result<(), Error> {
        *self = Self::generate(&self.sender)?;
        Ok(())
    }

    /// The sender's name.
    #[must_use]
    pub fn sender(&self) -> &[u8] {
        &self.sender
    }

    /// 8 bytes that name the chain, different after every rotation.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// What a member needs to read from the next message on. Secret: for pairwise sessions only.
    #[must_use]
    pub fn distribution(&self) -> SecretBytes {
        let mut writer = Writer::new();
        writer.u8(wire::SENDER_KEY_DISTRIBUTION);
        writer.u32(self.number);
        writer.put(self.chain.secret().expose());
        writer.put(self.verifying.as_bytes());
        writer.finish()
    }

    /// Encrypts `text` for the group. As in [`Session::encrypt`](crate::Session::encrypt) the
    /// chain advances for good.
    ///
    /// # Errors
    /// [`Error::ChainExhausted`] after 2^32 - 1 messages, [`Error::Random`], [`Error::Primitive`] for
    /// a text of 64 GiB.
    pub fn encrypt(&mut self, ad: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
        self.encrypt_with(ad, text, &mut System)
    }

    pub(crate) fn encrypt_with(
        &mut self,
        ad: &[u8],
        text: &[u8],
        entropy: &mut impl Entropy,
    ) -> Result<Vec<u8>, Error> {
        let mut message = Vec::with_capacity(text.len() + Self::OVERHEAD);
        message.extend_from_slice(&[0; HEAD_LEN]);
        message.extend_from_slice(text);
        let (place, body) = message.split_at_mut(HEAD_LEN);
        let (head, tag, signature) = self.encrypt_parts(ad, body, entropy)?;
        place.copy_from_slice(&head);
        message.extend_from_slice(&tag);
        message.extend_from_slice(&signature);
        Ok(message)
    }

    /// Encrypts `body` in place: the message is `head || body || tag || signature`.
    ///
    /// # Errors
    /// As [`SenderChain::encrypt`]; `body` is then to be thrown away.
    pub fn encrypt_in_place(
        &mut self,
        ad: &[u8],
        body: &mut [u8],
    ) -> Result<(Framing, [u8; 64]), Error> {
        let (head, tag, signature) = self.encrypt_parts(ad, body, &mut System)?;
        let head = Vec::from(head);
        Ok((Framing { head, tag }, signature))
    }

    /// The chain as bytes for an encrypted store.
    #[must_use]
    pub fn export(&self) -> SecretBytes {
        state::export(self)
    }

    /// A chain from the bytes of [`SenderChain::export`].
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for a state of a later version, [`Error::InvalidState`] for
    /// anything else that is wrong.
    pub fn load(bytes: &[u8]) -> Result<Self, Error> {
        state::load(bytes, &Limits::default())
    }

    pub(crate) fn generate_from(sender: &[u8], entropy: &mut impl Entropy) -> Result<Self, Error> {
        let (seed, chain) = (entropy.secret()?, entropy.secret()?);
        Self::new(sender, &seed, ChainKey::new(chain), 0)
    }

    fn new(sender: &[u8], seed: &Secret<32>, chain: ChainKey, number: u32) -> Result<Self, Error> {
        if sender.len() > MAX_NAME_LEN {
            return Err(Error::LimitExceeded);
        }
        let signing = scrubbed(|| SigningKey::from_seed(seed));
        let verifying = signing.verifying_key();
        let id = chain_id(&verifying, sender);
        Ok(Self { sender: Box::from(sender), id, signing, verifying, chain, number })
    }

    fn encrypt_parts(
        &mut self,
        ad: &[u8],
        body: &mut [u8],
        entropy: &mut impl Entropy,
    ) -> Result<Sealed, Error> {
        let next_number = self.number.checked_add(1).ok_or(Error::ChainExhausted)?;
        let salt: [u8; SALT_LEN] = entropy.array()?;
        let mut head = [wire::SENDER_KEY_MESSAGE; HEAD_LEN];
        for (byte, value) in head
            .iter_mut()
            .skip(1)
            .zip(self.id.iter().chain(&self.number.to_be_bytes()).chain(&salt))
        {
            *byte = *value;
        }
        scrubbed(|| {
            let (chain, key) = self.chain.step();
            self.chain = chain;
            self.number = next_number;
            let tag = key.encrypt(&salt, &associated_data(&head, ad), body)?;
            let signature = self.signing.sign(&signed(&self.sender, ad, &head, body, &tag));
            Ok((head, tag, signature))
        })
    }

    /// Whether a message that says it is of this chain is.
    pub(crate) fn has_sent(&self, ad: &[u8], message: &mut [u8]) -> bool {
        split(message).is_ok_and(|parts| parts.verify(&self.verifying, &self.sender, ad))
    }
}

impl ReceiverChain {
    /// A chain from a distribution that came from `sender` through a pairwise session. Messages open
    /// only if the chain is of that sender.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::Malformed`] or [`Error::InvalidKey`];
    /// [`Error::LimitExceeded`] for a name beyond [`MAX_NAME_LEN`].
    pub fn from_distribution(sender: &[u8], bytes: &[u8], limits: Limits) -> Result<Self, Error> {
        if sender.len() > MAX_NAME_LEN {
            return Err(Error::LimitExceeded);
        }
        let mut reader = Reader::new(bytes);
        wire::expect(reader.u8()?, wire::SENDER_KEY_DISTRIBUTION)?;
        let number = reader.u32()?;
        let chain = ChainKey::new(reader.secret()?);
        let verifying = verifying_key(&reader.array()?)?;
        reader.finish()?;
        Ok(Self {
            sender: Box::from(sender),
            id: chain_id(&verifying, sender),
            verifying,
            chain,
            number,
            // Of what came before, there never was a key.
            skipped: SkippedKeys::with_floor(number),
            limits,
            revision: 0,
        })
    }

    /// [`SenderChain::id`], if the chain is of that sender.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Opens a group message without changing the chain.
    ///
    /// # Errors
    /// As [`ReceiverChain::open_in_place`].
    pub fn open(&self, ad: &[u8], message: &[u8]) -> Result<(Vec<u8>, StagedReceive), Error> {
        wire::open_copy(message, |buffer| self.open_in_place(ad, buffer))
    }

    /// Opens a group message in place without changing the chain. The text is in the range
    /// returned.
    ///
    /// # Errors
    /// [`Error::Undecryptable`]; of a message that the sender has signed also [`Error::Duplicate`],
    /// [`Error::Expired`] and [`Error::TooFarAhead`]. `message` is then to be thrown away.
    pub fn open_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, StagedReceive), Error> {
        let chain_id = self.id;
        if message_chain_id(message) != Some(chain_id) {
            return Err(Error::Undecryptable);
        }
        let parts = split(message)?;
        // The signature first: another member of the group must not make us walk the chain.
        if !parts.verify(&self.verifying, &self.sender, ad) {
            return Err(Error::Undecryptable);
        }
        let Parts { head, body, tag, .. } = parts;
        let (number, salt) = number_and_salt(head)?;
        let change = scrubbed(|| {
            let (key, change) = self.find_key(number)?;
            key.decrypt(&salt, &associated_data(head, ad), body, tag)?;
            Ok::<_, Error>(change)
        })?;
        let staged = StagedReceive { chain_id, revision: self.revision, change };
        Ok((HEAD_LEN..HEAD_LEN + body.len(), staged))
    }

    /// Applies a staged change: the message counts as received, and its key is gone.
    ///
    /// # Errors
    /// [`Error::Stale`] when the change is of another chain, or this one has moved since.
    pub fn apply(&mut self, staged: StagedReceive) -> Result<(), Error> {
        if staged.chain_id != self.id || staged.revision != self.revision {
            return Err(Error::Stale);
        }
        self.revision = self.revision.wrapping_add(1);
        match staged.change {
            Change::Late(number) => self.skipped.remove(number),
            Change::Advance { chain, number, skipped } => {
                self.chain = chain;
                self.number = number;
                self.skipped.append(skipped);
            }
        }
        self.enforce();
        Ok(())
    }

    /// Opens a group message and applies the change at once.
    ///
    /// # Errors
    /// As [`ReceiverChain::open_in_place`]; nothing has changed then.
    pub fn decrypt(&mut self, ad: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        let (text, staged) = self.open(ad, message)?;
        self.apply(staged)?;
        Ok(text)
    }

    fn find_key(&self, number: u32) -> Result<(MessageKey, Change), Error> {
        let Some(gap) = number.checked_sub(self.number) else {
            let key = self.skipped.get(number)?;
            return Ok((key.duplicate(), Change::Late(number)));
        };
        let next_number = number.checked_add(1).ok_or(Error::Undecryptable)?;
        if gap > self.limits.max_skip() {
            return Err(Error::TooFarAhead);
        }
        let (chain, skipped) =
            SkippedKeys::walk(&self.chain, self.number, number, self.limits.max_skip());
        let (chain, key) = chain.step();
        Ok((key, Change::Advance { chain, number: next_number, skipped }))
    }

    fn enforce(&mut self) {
        let oldest = self.number.saturating_sub(self.limits.skipped_lifetime());
        self.skipped.drop_before(u64::from(oldest));
        while self.skipped.len() > self.limits.max_skipped() {
            self.skipped.drop_oldest();
        }
    }
}

impl StagedReceive {
    pub(crate) fn chain_id(&self) -> [u8; 8] {
        self.chain_id
    }
}

/// The longest name of a sender, in bytes.
pub const MAX_NAME_LEN: usize = 1024;

#[cfg(test)]
impl SenderChain {
    pub(crate) fn set_number(&mut self, number: u32) {
        self.number = number;
    }
}
