//! The members of one epoch, read from the leaves of the ratchet tree.

use std::collections::HashMap;

use cc_core::{LayerDescriptor, MemberId};
use openmls::prelude::{LeafNode, LeafNodeIndex, MlsGroup};

use crate::{
    config::{Ciphersuite, MlsConfig},
    credential::MlsCredential,
    identity::commitment,
    member::MlsMember,
};

/// Who is in the group. Every member has an id, and no two have the same.
#[derive(Default, PartialEq)]
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
        roster.follow(group, ids)?;
        Some(roster)
    }

    /// From here on, who is in `group` now: what [`of`](Self::of) gives, made only where a leaf is another
    /// than it was. After `None`, as of `of`, the roster is of no use.
    pub(crate) fn follow(&mut self, group: &MlsGroup, ids: Ids) -> Option<()> {
        let tree = group.public_group();
        let Self { members, by_id } = self;
        members.retain(|member| {
            let leaf = tree.leaf(LeafNodeIndex::new(member.leaf_index));
            let stays = leaf.is_some_and(|leaf| ids.same_member(member, leaf));
            if !stays {
                by_id.remove(&member.id);
            }
            stays
        });
        let mut known = members.iter().map(|member| member.leaf_index).peekable();
        let mut new = Vec::new();
        for (index, leaf) in group.treesync().full_leaves() {
            if known.next_if_eq(&index.u32()).is_none() {
                new.push(ids.member(index.u32(), leaf, group.ciphersuite())?);
            }
        }
        for member in new {
            if by_id.insert(member.id, member.leaf_index).is_some() {
                return None;
            }
            members.push(member);
        }
        members.sort_by_key(|member| member.leaf_index);
        Some(())
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

    /// The member at a leaf; `None` where it has no id or a strange credential.
    fn member(self, leaf_index: u32, leaf: &LeafNode, suite: Ciphersuite) -> Option<MlsMember> {
        let credential = MlsCredential::of(leaf.credential())?;
        let signature_key = leaf.signature_key().as_slice().to_vec();
        Some(MlsMember {
            id: self.of(leaf)?,
            name: credential.name(),
            credential,
            leaf_index,
            commitment: commitment(suite, &signature_key),
            signature_key,
        })
    }

    /// Whether [`member`](Self::member) would give `member` for this leaf.
    fn same_member(self, member: &MlsMember, leaf: &LeafNode) -> bool {
        let same_id = match self {
            Self::ApplicationId => self.of(leaf) == Some(member.id),
            // It follows from the key.
            Self::SignatureKey(_) => true,
        };
        same_id
            && leaf.signature_key().as_slice() == member.signature_key
            && member.credential.is(leaf.credential())
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
