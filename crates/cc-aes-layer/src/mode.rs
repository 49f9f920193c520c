//! The three ways in which a layer has a key.

use alloc::boxed::Box;
use core::fmt;

use cc_core::{ChainSecret, LayerContext};

use crate::{AesError, AesKey, Algorithm, Password};

pub(crate) enum Mode {
    Key(AesKey),
    Password(Box<Password>),
    Inherited(InheritedKey),
}

/// A key from the layers below.
pub(crate) struct InheritedKey {
    algorithm: Algorithm,
    latest: Option<Derived>,
}

/// The key that was derived last, so that an epoch costs one derivation and not one per message. There
/// is never more than one: an older epoch's key goes with the first message of another.
struct Derived {
    chain: ChainSecret,
    position: u16,
    key: AesKey,
}

impl Mode {
    pub(crate) const fn inherited(algorithm: Algorithm) -> Self {
        Self::Inherited(InheritedKey { algorithm, latest: None })
    }
}

impl InheritedKey {
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Overwrites the key that was derived last.
    pub(crate) fn forget(&mut self) {
        self.latest = None;
    }

    /// The key for a message.
    ///
    /// [`AesError::NothingInherited`] where no layer below contributes.
    pub(crate) fn key(&mut self, context: &LayerContext<'_>) -> Result<&AesKey, AesError> {
        let chain = context.chain.ok_or(AesError::NothingInherited)?;
        let position = context.position;
        let derived = match self.latest.take() {
            Some(latest) if latest.position == position && latest.chain == *chain => latest,
            _ => {
                let purpose: &[u8] = match self.algorithm {
                    Algorithm::Aes256 => b"cc.aes/1 aes-256",
                    Algorithm::Aes128 => b"cc.aes/1 aes-128",
                };
                let key = self.algorithm.key(chain.derive(position, purpose));
                Derived { chain: chain.duplicate(), position, key }
            }
        };
        Ok(&self.latest.insert(derived).key)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Password(password) => password.fmt(f),
            Self::Inherited(inherited) => write!(f, "Inherited({:?}, ..)", inherited.algorithm),
        }
    }
}
