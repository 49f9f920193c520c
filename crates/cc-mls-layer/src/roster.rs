//! The members of one epoch, read from the leaves of the ratchet tree.

use std::collections::HashMap;

use cc_core::{LayerDescriptor, MemberId};
use openmls::prelude::{LeafNode, MlsGroup};

use crate::{
    config::{Ciphersuite, MlsConfig},
    credential::MlsCredential,
    identity::commitment,
    member::MlsMember,
};

/// Who is in the group. Every member has an id, and no two have the same.
#[derive(Default)]
pub(crate) struct Roster {
    /// By leaf index, ascending.
    members: Vec<MlsMember>,
    by_id: HashMap<MemberId, u32>,
}

impl Roster {
    /// The members of `group`; `None` where a leaf has no id or a strange credential, or two have
    /// the same id.
    pub(crate) fn of(group: &MlsGroup, ids: Ids) -> Option<Self> {
        let mut roster = Self::default();
        for (index, leaf) in group.treesync().full_leaves() {
            let credential = MlsCredential::of(leaf.credential())?;
            let member = MlsMember {
                id: ids.of(leaf)?,
                name: credential.name(),
                credential,
                leaf_index: index.u32(),
                signature_key: leaf.signature_key().as_slice().to_vec(),
            };
            if roster.by_id.insert(member.id, index.u32()).is_some() {
                return None;
            }
            roster.members.push(member);
        }
        Some(roster)
    }

    pub(crate) fn members(&self) -> &[MlsMember] {
        &self.members
    }

    pub(crate) fn leaf(&self, id: &MemberId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn id(&self, leaf: u32) -> Option<MemberId> {
        let at = self.members.binary_search_by_key(&leaf, |member| member.leaf_index).ok()?;
        self.members.get(at).map(|member| member.id)
    }
}

/// How a leaf names its member.
#[derive(Clone, Copy)]
pub(crate) enum Ids {
    /// By its `application_id` (RFC 9420 section 5.3.3).
    ApplicationId,
    /// By its signature key: the id of a member in whose stack this is the only group layer.
    SignatureKey(Ciphersuite),
}

impl Ids {
    pub(crate) fn under(config: &MlsConfig) -> Self {
        if config.plain_peers() {
            Self::SignatureKey(config.ciphersuite())
        } else {
            Self::ApplicationId
        }
    }

    /// `None` where the leaf has no member id.
    pub(crate) fn of(self, leaf: &LeafNode) -> Option<MemberId> {
        match self {
            Self::ApplicationId => {
                let id = leaf.extensions().application_id()?;
                Some(MemberId::from_bytes(id.as_slice().try_into().ok()?))
            }
            Self::SignatureKey(suite) => Some(Self::by_key(suite, leaf.signature_key().as_slice())),
        }
    }

    /// The id of a member with this signature key and no other group layer.
    pub(crate) fn by_key(suite: Ciphersuite, signature_key: &[u8]) -> MemberId {
        MemberId::of([(&descriptor(suite), commitment(suite, signature_key))])
    }
}

/// The id in the layer's descriptor.
pub(crate) const LAYER_ID: &str = "cc.mls";

/// What both ends of the layer must agree on.
pub(crate) fn descriptor(suite: Ciphersuite) -> LayerDescriptor {
    LayerDescriptor { id: LAYER_ID, version: 1, parameters: (suite as u16).to_be_bytes().to_vec() }
}
