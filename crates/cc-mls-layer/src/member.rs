//! A member as MLS knows them.

use cc_core::MemberId;

use crate::MlsCredential;

/// A member of the group, read from their leaf in the ratchet tree (RFC 9420 section 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsMember {
    /// Who, in all layers: the leaf's `application_id` extension.
    pub id: MemberId,
    /// The name in the basic credential; `None` for another kind of credential.
    pub name: Option<String>,
    /// The credential.
    pub credential: MlsCredential,
    /// The place in the ratchet tree, 0 at the left.
    pub leaf_index: u32,
    /// The signature public key: 32 bytes for Ed25519, 65 for P-256.
    pub signature_key: Vec<u8>,
    /// What the member id commits to in this layer: a digest of the signature key.
    pub(crate) commitment: [u8; 32],
}
