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

use cc_core::{
    Attachment, Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties,
    RandomError, Restore, Secret, key_commitment,
    store::{ScopeReader, ScopeWriter, StoreError},
};

use crate::{AesKey, Algorithm, Password, mode::Mode, state};

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
pub struct AesLayer(pub(crate) Mode);

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
    /// the key cascade (a DH, ML-KEM or MLS layer, or the Signal layer of a pair that began from a bundle). AES-256.
    #[must_use]
    pub fn inherited() -> Self {
        Self(Mode::inherited(Algorithm::Aes256))
    }

    /// As [`AesLayer::inherited`], with AES-128.
    #[must_use]
    pub fn inherited_128() -> Self {
        Self(Mode::inherited(Algorithm::Aes128))
    }

    /// Which AES it is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Mode::Key(key) => key.algorithm(),
            Mode::Password(_) => Algorithm::Aes256,
            Mode::Inherited(inherited) => inherited.algorithm(),
        }
    }

    /// The key of a layer that was made with one.
    #[must_use]
    pub fn key(&self) -> Option<&AesKey> {
        match &self.0 {
            Mode::Key(key) => Some(key),
            Mode::Password(_) | Mode::Inherited(_) => None,
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
            Mode::Inherited(_) => 3,
        };
        LayerDescriptor { id: Self::ID, version: 1, parameters: vec![algorithm, mode] }
    }

    fn properties(&self) -> Properties {
        let mut properties = Properties::plain(match (&self.0, self.algorithm()) {
            (Mode::Key(_), Algorithm::Aes256) => "AES-256-GCM",
            (Mode::Key(_), Algorithm::Aes128) => "AES-128-GCM",
            (Mode::Password(_), _) => "AES-256-GCM (password)",
            (Mode::Inherited(_), Algorithm::Aes256) => "AES-256-GCM (inherited key)",
            (Mode::Inherited(_), Algorithm::Aes128) => "AES-128-GCM (inherited key)",
        });
        properties.inherits = matches!(self.0, Mode::Inherited(_));
        properties
    }

    fn attach(&mut self, _: &Attachment) -> Result<(), LayerError> {
        // Another stack has another chain; the old key is not to lie around.
        if let Mode::Inherited(inherited) = &mut self.0 {
            inherited.forget();
        }
        Ok(())
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        let associated_data = context.associated_data();
        Ok(match &mut self.0 {
            Mode::Key(key) => key.seal_in_place(&associated_data, buffer),
            Mode::Password(password) => password.seal_in_place(&associated_data, buffer),
            Mode::Inherited(inherited) => {
                inherited.key(context)?.seal_in_place(&associated_data, buffer)
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
            Mode::Inherited(inherited) => {
                inherited.key(context)?.open_in_place(&associated_data, buffer)
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
            Mode::Inherited(_) => None,
        }
    }
}

impl Restore for AesLayer {
    const ID: &'static str = "cc.aes";

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let record =
            from.get(state::KEY)?.ok_or_else(|| StoreError::corrupt("an AES layer is missing"))?;
        Ok(Self(state::decode(record.expose())?))
    }
}
