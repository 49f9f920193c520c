//! Credentials (RFC 9420 section 5.3), and who decides which are let in.

use std::{fmt, sync::Arc};

use cc_core::LayerError;
use openmls::prelude::{
    BasicCredential, Credential, CredentialType, DeserializeBytes as _, LeafNode,
    tls_codec::{Serialize as _, VLBytes},
};

use crate::key_package_view::MAX_MEMBER_NAME_LEN;

/// Bytes of the longest certificate chain, as it stands in a leaf: 32 KiB, so that a key package has room for
/// it twice over.
pub(crate) const MAX_CHAIN_LEN: usize = 32 << 10;

/// What says who a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MlsCredential {
    /// What the member calls itself. Nothing proves it.
    Basic {
        /// Any bytes, at most 1024; this crate's own members put their name there, in UTF-8.
        identity: Vec<u8>,
    },
    /// A certificate chain in DER, the member's own certificate first and each certified by the next.
    /// At least one certificate, none of them empty, 32 KiB in all with their lengths; nothing else is verified by this crate.
    X509 {
        /// The certificates.
        chain: Vec<Vec<u8>>,
    },
}

impl MlsCredential {
    /// The credential of a leaf; `None` for another kind, a malformed chain, or one over its bound.
    pub(crate) fn of(credential: &Credential) -> Option<Self> {
        let content = credential.serialized_content();
        match credential.credential_type() {
            CredentialType::Basic if content.len() > MAX_MEMBER_NAME_LEN => None,
            CredentialType::X509 if content.len() > MAX_CHAIN_LEN => None,
            CredentialType::Basic => Some(Self::Basic { identity: content.to_vec() }),
            CredentialType::X509 => certificates(content).map(|chain| Self::X509 { chain }),
            _ => None,
        }
    }

    /// Whether this is what [`of`](Self::of) gives for `credential`.
    pub(crate) fn is(&self, credential: &Credential) -> bool {
        match self {
            Self::Basic { identity } => {
                credential.credential_type() == CredentialType::Basic
                    && credential.serialized_content() == identity
            }
            Self::X509 { .. } => Self::of(credential).as_ref() == Some(self),
        }
    }

    pub(crate) fn to_mls(&self) -> Credential {
        match self {
            Self::Basic { identity } => BasicCredential::new(identity.clone()).into(),
            Self::X509 { chain } => {
                let certificates = chain.iter().flat_map(|certificate| {
                    // Only a certificate of more than a gigabyte has no encoding, and it is refused
                    // when the identity is made.
                    VLBytes::new(certificate.clone()).tls_serialize_detached().unwrap_or_default()
                });
                Credential::new(CredentialType::X509, certificates.collect())
            }
        }
    }

    /// The name, where there is one.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Basic { identity } => Some(String::from_utf8_lossy(identity).into_owned()),
            Self::X509 { .. } => None,
        }
    }
}

/// `Certificate chain<V>`, without the length in front.
fn certificates(mut content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut chain = Vec::new();
    while !content.is_empty() {
        let (certificate, rest) = VLBytes::tls_deserialize_bytes(content).ok()?;
        chain.push(Vec::from(certificate));
        content = rest;
    }
    let complete = !chain.is_empty() && chain.iter().all(|certificate| !certificate.is_empty());
    complete.then_some(chain)
}

/// Who decides which credentials enter the group: the application, or without it nobody but basic
/// credentials.
#[derive(Clone, Default)]
pub(crate) enum Policy {
    #[default]
    Basic,
    Application(Arc<Decide>),
    /// The application's, until it is set again after a restart: no store keeps a function.
    Lost,
}

type Decide = dyn Fn(&MlsCredential, &[u8]) -> bool + Send + Sync;

impl Policy {
    pub(crate) fn new(
        decide: impl Fn(&MlsCredential, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::Application(Arc::new(decide))
    }

    pub(crate) const fn is_set(&self) -> bool {
        !matches!(self, Self::Basic)
    }

    /// Lets the member of `leaf` in.
    ///
    /// # Errors
    /// `Rejected`; `NotReady` where the policy has to be set again.
    pub(crate) fn admit(&self, leaf: &LeafNode) -> Result<(), LayerError> {
        let admitted = match (self, MlsCredential::of(leaf.credential())) {
            (Self::Lost, _) => {
                return Err(LayerError::not_ready(
                    "no store keeps a credential policy: call MlsLayer::set_credential_policy first",
                ));
            }
            (Self::Application(decide), Some(credential)) => {
                decide(&credential, leaf.signature_key().as_slice())
            }
            (Self::Basic, Some(MlsCredential::Basic { .. })) => true,
            (Self::Basic, Some(MlsCredential::X509 { .. })) | (_, None) => false,
        };
        if admitted { Ok(()) } else { Err(LayerError::rejected()) }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic only",
            Self::Application(_) => "the application's",
            Self::Lost => "the application's, to be set again",
        })
    }
}

impl PartialEq for Policy {
    /// Whether both are the same, not whether they decide alike.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Basic, Self::Basic) | (Self::Lost, Self::Lost) => true,
            (Self::Application(a), Self::Application(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Policy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_as_it_is_written() {
        let chain = vec![vec![1], vec![2; 63], vec![3; 64], vec![4; 20_000]];
        let credential = MlsCredential::X509 { chain };
        assert_eq!(MlsCredential::of(&credential.to_mls()), Some(credential.clone()));
        let encoded = credential.to_mls().serialized_content().to_vec();
        for len in (0..encoded.len()).step_by(61) {
            let cut = Credential::new(CredentialType::X509, encoded[..len].to_vec());
            assert_ne!(MlsCredential::of(&cut), Some(credential.clone()));
        }
        for bad in [vec![], vec![0], vec![1, 7, 0], vec![0xff], vec![2, 7]] {
            let bad = Credential::new(CredentialType::X509, bad);
            assert_eq!(MlsCredential::of(&bad), None);
        }
        assert_eq!(MlsCredential::of(&Credential::new(CredentialType::Other(9), vec![1])), None);
    }

    #[test]
    fn policies_are_compared_by_what_they_are() {
        let policy = || Policy::new(|_, _| true);
        let (a, b) = (policy(), policy());
        assert_eq!(a, a.clone());
        assert!(a != b && a != Policy::default() && Policy::default() == Policy::default());
        assert_eq!(format!("{a:?} {:?}", Policy::default()), "the application's basic only");
    }
}
