//! The members of one epoch, read from the leaves of the ratchet tree.

use std::collections::HashMap;

use cc_core::MemberId;
use openmls::prelude::{BasicCredential, LeafNode, MlsGroup};

use crate::member::MlsMember;

/// Who is in the group. Every member has an id, and no two have the same.
#[derive(Default)]
pub(crate) struct Roster {
    /// By leaf index, ascending.
    members: Vec<MlsMember>,
    by_id: HashMap<MemberId, u32>,
}

impl Roster {
    /// The members of `group`; `None` where a leaf has no id, or two have the same.
    pub(crate) fn of(group: &MlsGroup) -> Option<Self> {
        let mut roster = Self::default();
        for (index, leaf) in group.treesync().full_leaves() {
            let member = MlsMember {
                id: member_id(leaf)?,
                name: name(leaf),
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

/// The `application_id` of a leaf (RFC 9420 section 5.3.3), where it is a member id.
pub(crate) fn member_id(leaf: &LeafNode) -> Option<MemberId> {
    let id = leaf.extensions().application_id()?;
    Some(MemberId::from_bytes(id.as_slice().try_into().ok()?))
}

fn name(leaf: &LeafNode) -> Option<String> {
    let credential = BasicCredential::try_from(leaf.credential().clone()).ok()?;
    Some(String::from_utf8_lossy(credential.identity()).into_owned())
}
