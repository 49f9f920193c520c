//! The layer: one of the three ways to have a key, bound to a place in a stack.
//!
//! The associated data of every message is [`LayerContext::associated_data`]. The bytes:
//!
//! | mode | parameters in the descriptor | bytes of a message |
//! |---|---|---|
//! | key | algorithm, 1 | as [`AesKey::seal`] makes them: 24 + n + 16 |
//! | password | algorithm, 2 | as [`Password::seal`] makes them: 54 + 24 + n + 16 |
//! | inherited | algorithm, 3 | as [`AesKey::seal`] makes them: 24 + n + 16 |
//!
//! The algorithm is 1 for AES-256 and 2 for AES-128. An inherited key is
//! `chain.derive(position, "cc.aes/1 aes-256")`, or the first 16 bytes of
//! `chain.derive(position, "cc.aes/1 aes-128")`.

use alloc::{boxed::Box, vec};
use core::fmt;

use cc_core::{
    Attachment, Buffer, ChainSecret, CipherLayer, LayerContext, LayerDescriptor, LayerError,
    Opened, Properties, RandomError, Restore, Secret, key_commitment, store::ScopeWriter,
};

use crate::{AesError, AesKey, Algorithm, Password, state};

/// An AES-GCM layer of a stack.
///
/// It keeps no state that a message could spoil: sealing and opening may fail or be reverted at any
/// point, and the next message is as good as if nothing had happened. It does not refuse replays.
///
/// A store keeps what it was made with, once: the key, or the password itself and its parameters, so
/// that nobody has to enter it again. A message writes nothing. What Argon2id made of the password is
/// not kept: after a restart the first message of each salt costs one run, and the layer seals under a
/// new salt.
#[derive(Debug)]
pub struct AesLayer(Mode);

pub(crate) enum Mode {
    Key(AesKey),
    Password(Box<Password>),
    Inherited { algorithm: Algorithm, last: Option<Inherited> },
}

/// The key that the layer last derived, so that an epoch costs one derivation and not one per
/// message. There is never more than one: an older epoch's key goes with the first message of
/// another.
pub(crate) struct Inherited {
    chain: ChainSecret,
    position: u16,
    key: AesKey,
}

impl AesLayer {
    /// A layer with a key that both ends have.
    #[must_use]
    pub fn new(key: AesKey) -> Self {
        Self(Mode::Key(key))
    }

    /// A layer with a new AES-256 key. The other end needs [`AesLayer::key`].
    ///
    /// # Errors
    /// [`RandomError`] when the operating system's random generator fails.
    pub fn generate() -> Result<Self, RandomError> {
        AesKey::generate().map(Self::new)
    }

    /// A layer with a password that both ends know. AES-256.
    #[must_use]
    pub fn password(password: Password) -> Self {
        Self(Mode::Password(Box::new(password)))
    }

    /// A layer that takes its key from the layers below it, at least one of which must contribute to
    /// the key cascade (a DH, Signal or MLS layer). AES-256.
    #[must_use]
    pub fn inherited() -> Self {
        Self(Mode::Inherited { algorithm: Algorithm::Aes256, last: None })
    }

    /// As [`AesLayer::inherited`], with AES-128.
    #[must_use]
    pub fn inherited_128() -> Self {
        Self(Mode::Inherited { algorithm: Algorithm::Aes128, last: None })
    }

    pub(crate) const fn from_mode(mode: Mode) -> Self {
        Self(mode)
    }

    /// Which AES it is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Mode::Key(key) => key.algorithm(),
            Mode::Password(_) => Algorithm::Aes256,
            Mode::Inherited { algorithm, .. } => *algorithm,
        }
    }

    /// The key of a layer that was made with one.
    #[must_use]
    pub fn key(&self) -> Option<&AesKey> {
        match &self.0 {
            Mode::Key(key) => Some(key),
            Mode::Password(_) | Mode::Inherited { .. } => None,
        }
    }
}

impl CipherLayer for AesLayer {
    fn descriptor(&self) -> LayerDescriptor {
        let algorithm = match self.algorithm() {
            Algorithm::Aes256 => 1,
            Algorithm::Aes128 => 2,
        };
        let mode = match &self.0 {
            Mode::Key(_) => 1,
            Mode::Password(_) => 2,
            Mode::Inherited { .. } => 3,
        };
        LayerDescriptor { id: Self::ID, version: 1, parameters: vec![algorithm, mode] }
    }

    fn properties(&self) -> Properties {
        let mut properties = Properties::plain(match (&self.0, self.algorithm()) {
            (Mode::Key(_), Algorithm::Aes256) => "AES-256-GCM",
            (Mode::Key(_), Algorithm::Aes128) => "AES-128-GCM",
            (Mode::Password(_), _) => "AES-256-GCM (password)",
            (Mode::Inherited { .. }, Algorithm::Aes256) => "AES-256-GCM (inherited key)",
            (Mode::Inherited { .. }, Algorithm::Aes128) => "AES-128-GCM (inherited key)",
        });
        properties.inherits = matches!(self.0, Mode::Inherited { .. });
        properties
    }

    fn attach(&mut self, _: &Attachment) -> Result<(), LayerError> {
        // Another stack has another chain; the old key is not to lie around.
        if let Mode::Inherited { last, .. } = &mut self.0 {
            *last = None;
        }
        Ok(())
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        let associated_data = context.associated_data();
        Ok(match &mut self.0 {
            Mode::Key(key) => key.seal_in_place(&associated_data, buffer),
            Mode::Password(password) => password.seal_in_place(&associated_data, buffer),
            Mode::Inherited { algorithm, last } => {
                inherited_key(*algorithm, last, context)?.seal_in_place(&associated_data, buffer)
            }
        }?)
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let associated_data = context.associated_data();
        match &mut self.0 {
            Mode::Key(key) => key.open_in_place(&associated_data, buffer),
            Mode::Password(password) => password.open_in_place(&associated_data, buffer),
            Mode::Inherited { algorithm, last } => {
                inherited_key(*algorithm, last, context)?.open_in_place(&associated_data, buffer)
            }
        }?;
        Ok(Opened::default())
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            to.put(state::KEY, state::encode(&self.0));
        }
        Ok(())
    }

    fn key_commitment(&self) -> Option<Secret<32>> {
        match &self.0 {
            Mode::Key(key) => Some(key_commitment(key.expose())),
            Mode::Password(password) => Some(password.commitment()),
            Mode::Inherited { .. } => None,
        }
    }
}

fn inherited_key<'a>(
    algorithm: Algorithm,
    last: &'a mut Option<Inherited>,
    context: &LayerContext<'_>,
) -> Result<&'a AesKey, AesError> {
    let chain = context.chain.ok_or(AesError::NothingInherited)?;
    let position = context.position;
    let inherited = match last.take() {
        Some(last) if last.position == position && last.chain == *chain => last,
        _ => {
            let purpose: &[u8] = match algorithm {
                Algorithm::Aes256 => b"cc.aes/1 aes-256",
                Algorithm::Aes128 => b"cc.aes/1 aes-128",
            };
            let key = algorithm.key(chain.derive(position, purpose));
            Inherited { chain: chain.duplicate(), position, key }
        }
    };
    Ok(&last.insert(inherited).key)
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Password(password) => password.fmt(f),
            Self::Inherited { algorithm, .. } => write!(f, "Inherited({algorithm:?}, ..)"),
        }
    }
}
