//! Sender Keys: one signed chain per sender, for messages to a group.
//!
//! A sender makes a [`SenderChain`] and sends its [distribution](SenderChain::distribution) to
//! every member through their pairwise sessions. From then on a message to the group is encrypted
//! once. A receiver of the distribution, and nobody else, can read on from there: the chain only
//! goes forward, so a newcomer reads nothing older. When a member leaves, every sender
//! [rotates](SenderChain::rotate).
//!
//! What this does not give, unlike the pairwise sessions: no healing after a compromise until
//! somebody rotates, and no deniability towards the group, since every message is signed.
//!
//! Message, 93 bytes and the text:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0x16 |
//! | 8 | id of the chain: the start of a hash of its signing key |
//! | 4 | number of the message, from 0 |
//! | n + 16 | the text, encrypted with AES-256-GCM under the message key, and the tag |
//! | 64 | Ed25519 signature over the associated data and everything before |
//!
//! Distribution, 69 bytes: 0x15, number (4), chain key (32), signing key (32).

use core::ops::Range;

use alloc::vec::Vec;

use cc_core::{Secret, SecretBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    entropy::{Entropy, System},
    limits::Limits,
    message_key::{MessageKey, TAG_LEN},
    session::Framing,
    skipped::ChainSkips,
    state::{self, Records, Source, State},
    wire,
};

/// One's own chain, to send to a group.
#[derive(Debug)]
pub struct SenderChain {
    signing: SigningKey,
    chain: ChainKey,
    number: u32,
}

/// Somebody else's chain, to receive from.
#[derive(Debug)]
pub struct ReceiverChain {
    verifying: VerifyingKey,
    chain: ChainKey,
    number: u32,
    skipped: ChainSkips,
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
    Advance { chain: ChainKey, number: u32, skipped: ChainSkips },
}

impl SenderChain {
    /// How much longer than its text a message is.
    pub const OVERHEAD: usize = HEAD_LEN + TAG_LEN + SIGNATURE_LEN;

    /// A fresh chain.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system's generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_from(&mut System)
    }

    /// Replaces the chain by an unrelated one. Those who are to read on need its distribution.
    ///
    /// # Errors
    /// [`Error::Random`]; the old chain stays then.
    pub fn rotate(&mut self) -> Result<(), Error> {
        *self = Self::generate()?;
        Ok(())
    }

    /// 8 bytes that name the chain, and begin differently after every rotation.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        chain_id(&self.signing.verifying_key())
    }

    /// What a member needs to read from the next message on. Secret: for pairwise sessions only.
    #[must_use]
    pub fn distribution(&self) -> SecretBytes {
        let mut writer = Writer::new();
        writer.u8(wire::SENDER_KEY_DISTRIBUTION);
        writer.u32(self.number);
        writer.put(self.chain.secret().expose());
        writer.put(self.signing.verifying_key().as_bytes());
        writer.finish()
    }

    /// Encrypts `text` for the group. As in [`Session::encrypt`](crate::Session::encrypt) the
    /// chain advances for good.
    ///
    /// # Errors
    /// [`Error::ChainExhausted`] after 2^32 - 1 messages, [`Error::Primitive`] for a text of
    /// 64 GiB.
    pub fn encrypt(&mut self, ad: &[u8], text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut message = Vec::with_capacity(text.len() + Self::OVERHEAD);
        message.extend_from_slice(&[0; HEAD_LEN]);
        message.extend_from_slice(text);
        let (place, body) = message.split_at_mut(HEAD_LEN);
        let (head, tag, signature) = self.encrypt_parts(ad, body)?;
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
        let (head, tag, signature) = self.encrypt_parts(ad, body)?;
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

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self {
            signing: SigningKey::from_bytes(entropy.secret()?.expose()),
            chain: ChainKey::new(entropy.secret()?),
            number: 0,
        })
    }

    fn encrypt_parts(&mut self, ad: &[u8], body: &mut [u8]) -> Result<Parts, Error> {
        let next_number = self.number.checked_add(1).ok_or(Error::ChainExhausted)?;
        let mut head = [wire::SENDER_KEY_MESSAGE; HEAD_LEN];
        for (byte, value) in
            head.iter_mut().skip(1).zip(self.id().iter().chain(&self.number.to_be_bytes()))
        {
            *byte = *value;
        }
        let (chain, key) = self.chain.step();
        self.chain = chain;
        self.number = next_number;
        let tag = key.encrypt(&associated_data(&head, ad), body)?;
        let signature = self.signing.sign(&signed(ad, &head, body, &tag));
        Ok((head, tag, signature.to_bytes()))
    }
}

impl ReceiverChain {
    /// A chain from a distribution, which came through a pairwise session: that is what says
    /// whose chain it is.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::Malformed`] or [`Error::InvalidKey`].
    pub fn from_distribution(bytes: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        wire::expect(reader.u8()?, wire::SENDER_KEY_DISTRIBUTION)?;
        let number = reader.u32()?;
        let chain = ChainKey::new(reader.secret()?);
        let verifying = verifying_key(&reader.array()?)?;
        reader.finish()?;
        Ok(Self { verifying, chain, number, skipped: ChainSkips::default(), limits, revision: 0 })
    }

    /// The name of the chain.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        chain_id(&self.verifying)
    }

    /// Opens a group message without changing the chain.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for whatever reason.
    pub fn open(&self, ad: &[u8], message: &[u8]) -> Result<(Vec<u8>, StagedReceive), Error> {
        wire::open_copy(message, |buffer| self.open_in_place(ad, buffer))
    }

    /// Opens a group message in place without changing the chain. The text is in the range
    /// returned.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] for whatever reason; `message` is left as it was.
    pub fn open_in_place(
        &self,
        ad: &[u8],
        message: &mut [u8],
    ) -> Result<(Range<usize>, StagedReceive), Error> {
        let chain_id = self.id();
        if message_chain_id(message) != Some(chain_id) {
            return Err(Error::Undecryptable);
        }
        let (head, rest) =
            message.split_first_chunk_mut::<HEAD_LEN>().ok_or(Error::Undecryptable)?;
        let (rest, signature) =
            rest.split_last_chunk_mut::<SIGNATURE_LEN>().ok_or(Error::Undecryptable)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::Undecryptable)?;
        // The signature first: another member of the group must not make us walk the chain.
        self.verifying
            .verify_strict(&signed(ad, head, body, tag), &Signature::from_bytes(signature))
            .map_err(|_| Error::Undecryptable)?;
        let number = head.last_chunk().map(|n| u32::from_be_bytes(*n));
        let (key, change) =
            number.and_then(|number| self.find_key(number)).ok_or(Error::Undecryptable)?;
        key.decrypt(&associated_data(head, ad), body, tag)?;
        let staged = StagedReceive { chain_id, revision: self.revision, change };
        Ok((HEAD_LEN..HEAD_LEN + body.len(), staged))
    }

    /// Applies a staged change: the message counts as received, and its key is gone.
    ///
    /// # Errors
    /// [`Error::Stale`] when the change is of another chain, or this one has moved since.
    pub fn apply(&mut self, staged: StagedReceive) -> Result<(), Error> {
        if staged.chain_id != self.id() || staged.revision != self.revision {
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
    /// [`Error::Undecryptable`] for whatever reason; nothing has changed then.
    pub fn decrypt(&mut self, ad: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        let (text, staged) = self.open(ad, message)?;
        self.apply(staged)?;
        Ok(text)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.put(self.verifying.as_bytes());
        writer.put(self.chain.secret().expose());
        writer.u32(self.number);
        writer.u64(self.revision);
        writer.count(self.skipped.len());
    }

    /// In records by 4 bytes for the block.
    pub(crate) fn write_skipped(&self, to: &mut Records) {
        self.skipped.write(&[], to);
    }

    /// The chain, and how many skipped keys it had.
    pub(crate) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<(Self, u32), Error> {
        let chain = Self {
            verifying: verifying_key(&reader.array()?)?,
            chain: ChainKey::new(reader.secret()?),
            number: reader.u32()?,
            revision: reader.u64()?,
            skipped: ChainSkips::default(),
            limits: *limits,
        };
        Ok((chain, reader.u32()?))
    }

    /// Everything that is left in `from`.
    pub(crate) fn read_skipped(&mut self, count: u32, from: &mut Source) -> Result<(), Error> {
        while let Some(name) = from.next_name() {
            let block = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
            from.take(&name, |reader| self.skipped.read(u32::from_be_bytes(block), reader))?;
        }
        if u32::try_from(self.skipped.len()) != Ok(count) {
            return Err(Error::InvalidState);
        }
        self.enforce();
        Ok(())
    }

    /// For taking back what a failed store leaves undone.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            verifying: self.verifying,
            chain: self.chain.duplicate(),
            number: self.number,
            skipped: self.skipped.duplicate(),
            limits: self.limits,
            revision: self.revision,
        }
    }

    fn find_key(&self, number: u32) -> Option<(MessageKey, Change)> {
        let Some(gap) = number.checked_sub(self.number) else {
            let key = self.skipped.get(number)?;
            return Some((key.duplicate(), Change::Late(number)));
        };
        if gap > self.limits.max_skip() {
            return None;
        }
        let (chain, skipped) = ChainSkips::walk(&self.chain, self.number, number);
        let (chain, key) = chain.step();
        let number = number.checked_add(1)?;
        Some((key, Change::Advance { chain, number, skipped }))
    }

    fn enforce(&mut self) {
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

/// Which chain a group message is of, if it is one.
pub(crate) fn message_chain_id(message: &[u8]) -> Option<[u8; 8]> {
    let (kind, rest) = message.split_first()?;
    (*kind == wire::SENDER_KEY_MESSAGE).then(|| rest.first_chunk().copied()).flatten()
}

fn chain_id(verifying: &VerifyingKey) -> [u8; 8] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(ID_LABEL).chain_update(verifying.as_bytes()).finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

fn verifying_key(bytes: &[u8; 32]) -> Result<VerifyingKey, Error> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| Error::InvalidKey)?;
    if key.is_weak() {
        return Err(Error::InvalidKey);
    }
    Ok(key)
}

fn associated_data(head: &[u8; HEAD_LEN], ad: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(HEAD_LEN + ad.len());
    all.extend_from_slice(head);
    all.extend_from_slice(ad);
    all
}

/// What is signed. The associated data is in it although the tag covers it: every member knows
/// the message key, and under a known key other data with the same tag is easy to find.
fn signed(ad: &[u8], head: &[u8], body: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(
        SIGNATURE_LABEL.len() + 8 + ad.len() + head.len() + body.len() + tag.len(),
    );
    all.extend_from_slice(SIGNATURE_LABEL);
    all.extend_from_slice(&(ad.len() as u64).to_be_bytes());
    for part in [ad, head, body, tag] {
        all.extend_from_slice(part);
    }
    all
}

type Parts = ([u8; HEAD_LEN], [u8; TAG_LEN], [u8; SIGNATURE_LEN]);

/// How long [`SenderChain::distribution`] is.
pub(crate) const DISTRIBUTION_LEN: usize = 1 + 4 + 32 + 32;
const HEAD_LEN: usize = 1 + 8 + 4;
const SIGNATURE_LEN: usize = 64;
const ID_LABEL: &[u8] = b"cc-signal/1 sender key id";
const SIGNATURE_LABEL: &[u8] = b"cc-signal/1 sender key message";

impl State for SenderChain {
    const KIND: u8 = state::SENDER_CHAIN;

    fn write(&self, to: &mut Records) {
        to.put(b"", |writer| {
            writer.put(self.signing.as_bytes());
            writer.put(self.chain.secret().expose());
            writer.u32(self.number);
        });
    }

    fn read(from: &mut Source, _: &Limits) -> Result<Self, Error> {
        from.take(b"", |reader| {
            let signing: Secret<32> = reader.secret()?;
            Ok(Self {
                signing: SigningKey::from_bytes(signing.expose()),
                chain: ChainKey::new(reader.secret()?),
                number: reader.u32()?,
            })
        })
    }
}

impl SenderChain {
    /// For taking back what a failed store leaves undone.
    pub(crate) fn duplicate(&self) -> Self {
        Self { signing: self.signing.clone(), chain: self.chain.duplicate(), number: self.number }
    }
}

#[cfg(test)]
impl SenderChain {
    pub(crate) fn set_number(&mut self, number: u32) {
        self.number = number;
    }
}
