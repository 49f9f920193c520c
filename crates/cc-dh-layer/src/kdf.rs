//! HKDF-SHA-256 (RFC 5869) with this crate's labels.

use cc_core::Secret;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::DhError;

/// A pseudorandom key from which keys for different purposes are expanded.
pub(crate) struct Prk(Secret<32>);

impl Prk {
    /// `HKDF-Extract(salt, ikm)`.
    pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Self {
        let (mut prk, _) = Hkdf::<Sha256>::extract(Some(salt), ikm);
        let mut secret = Secret::zeroed();
        secret.expose_mut().copy_from_slice(&prk);
        zeroize::Zeroize::zeroize(prk.as_mut_slice());
        Self(secret)
    }

    /// `HKDF-Expand(prk, "cascading-cipher/1 dh " ‖ label ‖ fields, N)`. Callers' fields have fixed
    /// lengths, so that no two sequences of them read alike.
    pub(crate) fn expand<const N: usize>(
        &self,
        label: &[u8],
        fields: &[&[u8]],
    ) -> Result<Secret<N>, DhError> {
        let hkdf = Hkdf::<Sha256>::from_prk(self.0.expose()).map_err(|_| DhError::Internal)?;
        let mut info = alloc::vec![b"cascading-cipher/1 dh ".as_slice(), label];
        info.extend_from_slice(fields);
        let mut secret = Secret::zeroed();
        hkdf.expand_multi_info(&info, secret.expose_mut()).map_err(|_| DhError::Internal)?;
        Ok(secret)
    }

    /// To be stored.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl From<Secret<32>> for Prk {
    fn from(secret: Secret<32>) -> Self {
        Self(secret)
    }
}
