//! What the program says of a member in its leaf (RFC 9420 section 7.2), for all who are in the group.

use cc_core::{LayerError, MemberId};
use openmls::prelude::{
    Extension, Extensions, LeafNode, LeafNodeIndex, LeafNodeParameters, UnknownExtension,
};

use crate::{
    MlsError, MlsLayer, config::LEAF_DATA_EXTENSION, error::internal, key_package::leaf_extensions,
};

/// Bytes at the most: every member keeps those of all.
pub(crate) const MAX_LEAF_DATA_LEN: usize = 256;

impl MlsLayer {
    /// What the leaves that this member makes from now on say of it: its key packages, the group that it founds, and
    /// its changes, the staged one not. At most 256 bytes, which mean nothing to the layer; with none, leaves say
    /// nothing. Its signature covers them, so nobody says them for another, and all members have the same: who is
    /// added finds them in the tree of its welcome.
    ///
    /// A store keeps the leaf and not the wish. Until this is called again, a layer that comes back from one makes changes
    /// that leave in its leaf what is there, and key packages that say nothing. Members with other libraries need not know
    /// the extension that the bytes are in.
    ///
    /// # Errors
    /// [`MlsError::LeafData`] over 256 bytes.
    pub fn set_leaf_data(&mut self, data: impl Into<Vec<u8>>) -> Result<(), MlsError> {
        let data = data.into();
        if data.len() > MAX_LEAF_DATA_LEN {
            return Err(MlsError::LeafData { max: MAX_LEAF_DATA_LEN, len: data.len() });
        }
        self.leaf_data = Some(data);
        Ok(())
    }

    /// What a member's leaf [says](Self::set_leaf_data) in the current epoch; `None` where it says nothing, for who
    /// is no member, without a group, and once removed.
    #[must_use]
    pub fn leaf_data(&self, member: &MemberId) -> Option<&[u8]> {
        let group = self.active().ok()?;
        let leaf = LeafNodeIndex::new(group.roster.leaf(member)?);
        let data =
            group.mls.public_group().leaf(leaf)?.extensions().unknown(LEAF_DATA_EXTENSION)?;
        Some(&data.0)
    }

    /// The extensions of a leaf of this member, whose id this is.
    pub(crate) fn leaf_extensions(
        &self,
        id: &MemberId,
    ) -> Result<Extensions<LeafNode>, LayerError> {
        let mut extensions = leaf_extensions(id, self.provider.ids)?;
        if let Some(data) = self.leaf_data.as_ref().filter(|data| !data.is_empty()) {
            let data = UnknownExtension(data.clone());
            extensions.add(Extension::Unknown(LEAF_DATA_EXTENSION, data)).map_err(internal)?;
        }
        Ok(extensions)
    }

    /// What is to change in this member's leaf beside its keys.
    pub(crate) fn own_leaf_parameters(&self) -> Result<LeafNodeParameters, LayerError> {
        if self.leaf_data.is_none() {
            return Ok(LeafNodeParameters::default());
        }
        let leaf = LeafNodeParameters::builder()
            .with_extensions(self.leaf_extensions(&self.own_id()?)?)
            // That of an earlier version does not have the extension among them.
            .with_capabilities(self.config.capabilities());
        Ok(leaf.build())
    }
}
