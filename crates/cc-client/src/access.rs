//! Who may use a log: tokens of an epoch, and the key of a mailbox.

use core::fmt;

use cc_core::Secret;
use cc_primitives::ed25519::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::{Fault, LogId, RequestId};

/// Shows that its holder is in an epoch of a group, without saying who it is: 32 secret bytes, which all
/// members of the epoch derive. The service keeps the [hash](Self::hash) only.
#[derive(PartialEq, Eq)]
pub struct AccessToken(Secret<32>);

impl AccessToken {
    /// The token with these bytes.
    #[must_use]
    pub const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// Its bytes, for who carries it to the service.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What the service keeps of it: SHA-256 over a label and the token. 32 bytes.
    #[must_use]
    pub fn hash(&self) -> AccessHash {
        let hash = Sha256::new().chain_update(b"cc-client/1 access").chain_update(self.expose());
        AccessHash(hash.finalize().into())
    }
}

impl Clone for AccessToken {
    fn clone(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// A token as the client keeps it in its encrypted store.
pub(crate) mod stored {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::AccessToken;
    use crate::records::StoredSecret;

    pub(crate) fn serialize<S: Serializer>(
        token: &AccessToken,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        token.expose().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AccessToken, D::Error> {
        StoredSecret::deserialize(deserializer).map(|StoredSecret(token)| AccessToken::new(token))
    }
}

/// The hash of an [`AccessToken`]. 32 bytes.
#[derive(
    serde::Serialize, serde::Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct AccessHash(pub [u8; 32]);

/// The key of a mailbox: whoever has it reads the mailbox, and puts key packages beside it. The mailbox's
/// address is a digest of the public key, so no service can give it to somebody else.
pub struct MailboxKey(SigningKey);

impl MailboxKey {
    /// A new one.
    ///
    /// # Errors
    /// [`Fault::Random`](Fault) when the system's generator fails.
    pub fn generate() -> Result<Self, Fault> {
        Ok(Self::from_seed(&Secret::random()?))
    }

    /// The one of this seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// The seed, to be kept. Secret.
    #[must_use]
    pub fn seed(&self) -> Secret<32> {
        self.0.seed()
    }

    /// The address of the mailbox.
    #[must_use]
    pub fn address(&self) -> LogId {
        address(&self.0.public_key())
    }

    /// Shows to the service that a request is the owner's.
    #[must_use]
    pub fn prove(&self, id: RequestId, purpose: Purpose<'_>) -> MailboxProof {
        let signature = self.0.sign(&purpose.statement(&self.address(), id));
        MailboxProof { public_key: self.0.public_key(), signature }
    }
}

impl fmt::Debug for MailboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxKey({})", self.address())
    }
}

/// What a [`MailboxProof`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// To read the mailbox behind a position, and to have what is before it deleted.
    Read(crate::Position),
    /// To put these key packages beside the mailbox.
    Publish(&'a [crate::PublishedPackage]),
}

impl Purpose<'_> {
    fn statement(&self, mailbox: &LogId, id: RequestId) -> Vec<u8> {
        let hash = Sha256::new().chain_update(mailbox.as_bytes()).chain_update(id.as_bytes());
        let (label, hash): (&[u8], _) = match self {
            Self::Read(after) => {
                (b"cc-client/1 mailbox read", hash.chain_update(after.0.to_be_bytes()))
            }
            Self::Publish(packages) => {
                let hash = packages.iter().fold(hash, |hash, package| {
                    hash.chain_update([u8::from(package.last_resort)])
                        .chain_update(Sha256::digest(&package.bytes))
                });
                (b"cc-client/1 mailbox publish", hash)
            }
        };
        [label, &hash.finalize()].concat()
    }
}

/// Shows to the service that a request is of the owner of a mailbox. It is good for one request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxProof {
    /// Ed25519, 32 bytes. The mailbox's address is its digest.
    pub public_key: [u8; 32],
    /// Ed25519, 64 bytes.
    pub signature: [u8; 64],
}

impl MailboxProof {
    /// Whether the owner of `mailbox` made this for this request and purpose. For services.
    #[must_use]
    pub fn verify(&self, mailbox: &LogId, id: RequestId, purpose: Purpose<'_>) -> bool {
        address(&self.public_key) == *mailbox
            && VerifyingKey::from_bytes(&self.public_key).is_some_and(|key| {
                key.verify(&purpose.statement(mailbox, id), &self.signature).is_ok()
            })
    }
}

fn address(public_key: &[u8; 32]) -> LogId {
    let hash = Sha256::new().chain_update(b"cc-client/1 mailbox").chain_update(public_key);
    LogId::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, PublishedPackage};

    #[test]
    fn a_proof_is_for_one_request_and_purpose() {
        let (key, other) = (MailboxKey::generate().unwrap(), MailboxKey::generate().unwrap());
        let id = RequestId::random().unwrap();
        let read = Purpose::Read(Position(3));
        let proof = key.prove(id, read);
        assert!(proof.verify(&key.address(), id, read));
        assert!(!proof.verify(&key.address(), id, Purpose::Read(Position(4))));
        assert!(!proof.verify(&key.address(), RequestId::random().unwrap(), read));
        assert!(!proof.verify(&other.address(), id, read));
        assert!(!other.prove(id, read).verify(&key.address(), id, read));
        let packages = [PublishedPackage { bytes: vec![1], last_resort: false }];
        let last = [PublishedPackage { bytes: vec![1], last_resort: true }];
        let proof = key.prove(id, Purpose::Publish(&packages));
        assert!(proof.verify(&key.address(), id, Purpose::Publish(&packages)));
        assert!(!proof.verify(&key.address(), id, Purpose::Publish(&last)));
        assert!(!proof.verify(&key.address(), id, Purpose::Publish(&[])));
        let again = MailboxKey::from_seed(&key.seed());
        assert_eq!(again.address(), key.address());
    }
}
