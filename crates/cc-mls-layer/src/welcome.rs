//! What a welcome of a stack is: the Welcome of RFC 9420, and beside it the ratchet tree.
//!
//! The group secrets are encrypted to each joiner with the encrypted GroupInfo as the context of HPKE (RFC
//! 9420 section 12.4.3.1), so it is hashed once for every joiner. With the tree in it (section 12.4.3.3),
//! adding n members costs n squared. The RFC lets the tree come by other means: here it follows the Welcome,
//! sealed under a key of the new epoch, which a joiner has before it needs the tree.
//!
//! ```text
//! struct {
//!     opaque welcome<V>;      // an MLSMessage; its GroupInfo has no ratchet_tree extension
//!     opaque sealed_tree<V>;  // AEAD of the ciphersuite over `optional<Node> ratchet_tree<V>`
//! } WelcomePart;
//! ```
//!
//! The key is MLS-Exporter("cascading-cipher ratchet tree", "", length of an AEAD key) of the new epoch (section
//! 8.5), and seals nothing else; the nonce is zero. The associated data is the binding, the digest of the parts
//! below. What is in the tree is authenticated by the tree hash in the signed GroupContext (section 7.8).
//!
//! With plain peers a welcome is the MLSMessage and nothing else.

use cc_core::{LayerError, LayerErrorKind, limits::MAX_PART_LEN};
use openmls::{
    group::JoinBuilder,
    prelude::{
        MlsGroup, RatchetTreeIn,
        tls_codec::{DeserializeBytes as _, Serialize as _, Size as _, VLByteSlice},
    },
};
use openmls_traits::{OpenMlsProvider as _, crypto::OpenMlsCrypto as _};
use zeroize::Zeroizing;

use crate::{
    MlsConfig, config::Ciphersuite, error::internal, provider::Provider, reader::Reader,
    tree_nodes::check_nodes, wire,
};

#[cfg(test)]
mod tests;

/// The exporter's label for the key of the tree; the context is empty.
pub(crate) const TREE_KEY_LABEL: &str = "cascading-cipher ratchet tree";

/// A welcome part, read and not verified.
pub(crate) struct WelcomePart<'a> {
    /// The MLSMessage.
    pub(crate) welcome: &'a [u8],
    /// `None` with plain peers.
    sealed_tree: Option<&'a [u8]>,
}

impl<'a> WelcomePart<'a> {
    /// The part of a change that `group` has staged, whose Welcome is the MLSMessage `welcome`. With plain peers
    /// there is no `binding`, and the part is that message.
    ///
    /// # Errors
    /// `Limit` for a part over [`MAX_PART_LEN`].
    pub(crate) fn write(
        welcome: Vec<u8>,
        group: &MlsGroup,
        provider: &Provider,
        binding: Option<&[u8; 32]>,
    ) -> Result<Vec<u8>, LayerError> {
        let part = match binding {
            Some(binding) => encode(&welcome, &seal_tree(group, provider, binding)?)?,
            None => welcome,
        };
        if part.len() > MAX_PART_LEN {
            return Err(LayerError::local(
                LayerErrorKind::Limit,
                "the welcome would be longer than cc_core::limits::MAX_PART_LEN",
            ));
        }
        Ok(part)
    }

    /// # Errors
    /// `Rejected` for what is no welcome part or over [`MAX_PART_LEN`].
    pub(crate) fn read(part: &'a [u8], config: &MlsConfig) -> Result<Self, LayerError> {
        if part.len() > MAX_PART_LEN {
            return Err(LayerError::rejected());
        }
        if config.plain_peers() {
            return Ok(Self { welcome: part, sealed_tree: None });
        }
        let mut reader = Reader::new(part);
        let mut read = || {
            let (welcome, sealed_tree) = (reader.vector()?, reader.vector()?);
            reader.end()?;
            Some(Self { welcome, sealed_tree: Some(sealed_tree) })
        };
        read()
            .filter(|part| wire::has_short_group_info(part.welcome))
            .ok_or_else(LayerError::rejected)
    }

    /// Gives openmls the tree, for which it must have processed the Welcome.
    ///
    /// # Errors
    /// `Rejected` for a tree that does not open or is none, and for one in the GroupInfo as well.
    pub(crate) fn give_tree<'p>(
        &self,
        builder: JoinBuilder<'p, Provider>,
        provider: &Provider,
        binding: &[u8; 32],
    ) -> Result<JoinBuilder<'p, Provider>, LayerError> {
        let Some(sealed_tree) = self.sealed_tree else {
            return Ok(builder);
        };
        let processed = builder.processed_welcome();
        let group_info = processed.unverified_group_info();
        if group_info.extensions().ratchet_tree().is_some() {
            return Err(LayerError::rejected());
        }
        let suite = group_info.ciphersuite();
        let key = processed
            .export_secret(provider.crypto(), TREE_KEY_LABEL, b"", suite.aead_key_length())
            .map(Zeroizing::new)
            .map_err(|_| LayerError::rejected())?;
        let tree = provider
            .crypto()
            .aead_decrypt(suite.aead_algorithm(), &key, sealed_tree, &nonce(suite), binding)
            .map_err(|_| LayerError::rejected())?;
        Ok(builder.with_ratchet_tree(read_tree(&tree)?))
    }
}

/// A ratchet tree (RFC 9420 section 12.4.3.3) from its encoding, not verified.
///
/// # Errors
/// `Rejected` for anything else, or more nodes than a group has.
pub(crate) fn read_tree(tree: &[u8]) -> Result<RatchetTreeIn, LayerError> {
    check_nodes(tree).ok_or_else(LayerError::rejected)?;
    RatchetTreeIn::tls_deserialize_exact_bytes(tree).map_err(|_| LayerError::rejected())
}

/// The encoded tree of the epoch that the staged change leads to; `None` where none is staged.
pub(crate) fn staged_tree(
    group: &MlsGroup,
    provider: &Provider,
) -> Result<Option<Vec<u8>>, LayerError> {
    let Some(staged) = group.pending_commit() else {
        return Ok(None);
    };
    let tree = staged
        .export_ratchet_tree(provider.crypto(), group.export_ratchet_tree())
        .map_err(internal)?
        .ok_or_else(|| internal("a change of a member's own has no tree"))?;
    tree.tls_serialize_detached().map(Some).map_err(internal)
}

fn encode(welcome: &[u8], sealed_tree: &[u8]) -> Result<Vec<u8>, LayerError> {
    let (welcome, sealed_tree) = (VLByteSlice(welcome), VLByteSlice(sealed_tree));
    let len = welcome.tls_serialized_len() + sealed_tree.tls_serialized_len();
    let mut part = Vec::with_capacity(len);
    welcome.tls_serialize(&mut part).map_err(internal)?;
    sealed_tree.tls_serialize(&mut part).map_err(internal)?;
    Ok(part)
}

fn seal_tree(
    group: &MlsGroup,
    provider: &Provider,
    binding: &[u8; 32],
) -> Result<Vec<u8>, LayerError> {
    let tree = staged_tree(group, provider)?.ok_or_else(|| internal("no change is staged"))?;
    seal(&tree, group, provider, binding)
}

/// `tree` as the joiners of the staged change of `group` open it.
fn seal(
    tree: &[u8],
    group: &MlsGroup,
    provider: &Provider,
    binding: &[u8; 32],
) -> Result<Vec<u8>, LayerError> {
    let staged = group.pending_commit().ok_or_else(|| internal("no change is staged"))?;
    let suite = group.ciphersuite();
    let key = staged
        .export_secret(provider.crypto(), TREE_KEY_LABEL, b"", suite.aead_key_length())
        .map(Zeroizing::new)
        .map_err(internal)?;
    provider
        .crypto()
        .aead_encrypt(suite.aead_algorithm(), &key, tree, &nonce(suite), binding)
        .map_err(internal)
}

/// Zero, for each key seals one tree: a commit always renews keys, so no two have the same exporter.
fn nonce(suite: Ciphersuite) -> Vec<u8> {
    vec![0; suite.aead_nonce_length()]
}
