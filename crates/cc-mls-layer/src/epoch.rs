//! What is kept of epochs that are over, so that late messages still open.

use cc_core::{MemberId, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::roster::Roster;

/// An epoch within the window.
#[derive(Serialize, Deserialize)]
pub(crate) struct PastEpoch {
    pub(crate) epoch: u64,
    exporter: [u8; 32],
    /// Leaf indices and member ids, ascending by leaf.
    members: Vec<(u32, [u8; 32])>,
}

impl PastEpoch {
    pub(crate) fn new(epoch: u64, exporter: &Secret<32>, roster: &Roster) -> Self {
        let members = roster
            .members()
            .iter()
            .map(|member| (member.leaf_index, *member.id.as_bytes()))
            .collect();
        Self { epoch, exporter: *exporter.expose(), members }
    }

    pub(crate) fn exporter(&self) -> Option<Secret<32>> {
        Secret::copy_from(&self.exporter)
    }

    pub(crate) fn id(&self, leaf: u32) -> Option<MemberId> {
        let at = self.members.binary_search_by_key(&leaf, |(leaf, _)| *leaf).ok()?;
        self.members.get(at).map(|(_, id)| MemberId::from_bytes(*id))
    }
}

impl Drop for PastEpoch {
    fn drop(&mut self) {
        self.exporter.zeroize();
    }
}
