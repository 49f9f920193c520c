//! What opens a store, and the wrapping of its data key.

use core::fmt;

use cc_aes_layer::{AesError, AesKey, Argon2Params, Password};
use cc_core::{Secret, store::StoreError};

use crate::error::aes_error;

/// What opens a store: a passphrase, or a key that the caller keeps elsewhere.
///
/// It does not encrypt the records. A random data key does, and this one wraps it, so that
/// [`SqliteStore::change_credential`](crate::SqliteStore::change_credential) rewrites 150 bytes.
pub struct Credential(Inner);

enum Inner {
    Passphrase(Password),
    Key(AesKey),
}

impl Credential {
    /// A passphrase. Argon2id makes a key of it once per opening, with
    /// [`Argon2Params::RECOMMENDED`]: about 0.1 s and 64 MiB.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] for an empty one.
    pub fn passphrase(passphrase: impl AsRef<[u8]>) -> Result<Self, StoreError> {
        Self::passphrase_with(passphrase, Argon2Params::RECOMMENDED)
    }

    /// A passphrase, and what a run of Argon2id costs where it is set. A store that exists is opened
    /// with the parameters it was set with, up to [`Argon2Params::DEFAULT_CEILING`] or these, where they
    /// are more: they stand in the file, and whoever can write it could have an opening take a minute and
    /// 1 GiB. [`accept_at_most`](Self::accept_at_most) moves that ceiling.
    ///
    /// # Errors
    /// As [`passphrase`](Self::passphrase).
    pub fn passphrase_with(
        passphrase: impl AsRef<[u8]>,
        params: Argon2Params,
    ) -> Result<Self, StoreError> {
        let password = Password::new(passphrase).map_err(|_| StoreError::WrongKey)?;
        Ok(Self(Inner::Passphrase(password.with_params(params))))
    }

    /// Opens no store that asks for more of Argon2id than `ceiling` in memory, passes or lanes:
    /// [`StoreError::TooCostly`], before anything is derived. What the passphrase is set with is always
    /// accepted, and a key has no cost.
    #[must_use]
    pub fn accept_at_most(self, ceiling: Argon2Params) -> Self {
        match self.0 {
            Inner::Passphrase(password) => {
                Self(Inner::Passphrase(password.accept_at_most(ceiling)))
            }
            key @ Inner::Key(_) => Self(key),
        }
    }

    /// 32 uniformly random bytes, such as from the operating system's key store.
    #[must_use]
    pub fn key(key: Secret<32>) -> Self {
        Self(Inner::Key(AesKey::aes256(key)))
    }

    /// How the header names it. Never renumbered.
    pub(crate) fn kind(&self) -> u8 {
        match self.0 {
            Inner::Key(_) => 1,
            Inner::Passphrase(_) => 2,
        }
    }

    pub(crate) fn wrap(
        &mut self,
        associated_data: &[u8],
        data_key: &Secret<32>,
    ) -> Result<Vec<u8>, StoreError> {
        match &mut self.0 {
            Inner::Key(key) => key.seal(associated_data, data_key.expose()),
            Inner::Passphrase(password) => password.seal(associated_data, data_key.expose()),
        }
        .map_err(aes_error)
    }

    pub(crate) fn unwrap(
        &mut self,
        associated_data: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret<32>, StoreError> {
        let opened = match &mut self.0 {
            Inner::Key(key) => key.open(associated_data, wrapped),
            Inner::Passphrase(password) => password.open(associated_data, wrapped),
        };
        let bytes = opened.map(zeroize::Zeroizing::new).map_err(|error| match error {
            AesError::Rejected => StoreError::WrongKey,
            AesError::Argon2Ceiling { asked, .. } => {
                StoreError::TooCostly { memory_kib: asked.memory_kib(), passes: asked.passes() }
            }
            error => aes_error(error),
        })?;
        Secret::copy_from(&bytes).ok_or_else(|| StoreError::corrupt("a data key of another length"))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Passphrase(_) => "Credential::Passphrase(..)",
            Inner::Key(_) => "Credential::Key(..)",
        })
    }
}
