//! What is kept of epochs that are over, so that late messages still open.

use cc_core::{LayerError, MemberId, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::roster::Roster;

/// The commit that ended an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// SHA-256 of the commit.
    commit: [u8; 32],
    /// Whether this member made it.
    own: bool,
}

impl Ending {
    pub(crate) const fn own(commit: [u8; 32]) -> Self {
        Self { commit, own: true }
    }

    pub(crate) const fn of_another(commit: [u8; 32]) -> Self {
        Self { commit, own: false }
    }

    /// What to answer to a commit with this digest to the epoch `epoch`, which is over.
    pub(crate) fn answer(&self, commit: &[u8; 32], epoch: u64) -> LayerError {
        if self.commit != *commit {
            LayerError::stale(Some(epoch))
        } else if self.own {
            LayerError::own()
        } else {
            LayerError::duplicate()
        }
    }
}

/// An epoch within the window.
#[derive(Serialize, Deserialize)]
pub(crate) struct PastEpoch {
    pub(crate) epoch: u64,
    pub(crate) ended_by: Ending,
    #[serde(serialize_with = "write", deserialize_with = "read")]
    exporter: Secret<32>,
    /// Leaf indices and member ids, ascending by leaf.
    members: Vec<(u32, [u8; 32])>,
}

impl PastEpoch {
    pub(crate) fn new(
        epoch: u64,
        ended_by: Ending,
        exporter: &Secret<32>,
        roster: &Roster,
    ) -> Self {
        let members = roster
            .members()
            .iter()
            .map(|member| (member.leaf_index, *member.id.as_bytes()))
            .collect();
        Self { epoch, ended_by, exporter: exporter.duplicate(), members }
    }

    pub(crate) fn exporter(&self) -> &Secret<32> {
        &self.exporter
    }

    pub(crate) fn id(&self, leaf: u32) -> Option<MemberId> {
        let at = self.members.binary_search_by_key(&leaf, |(leaf, _)| *leaf).ok()?;
        self.members.get(at).map(|(_, id)| MemberId::from_bytes(*id))
    }
}

fn write<S: Serializer>(secret: &Secret<32>, to: S) -> Result<S::Ok, S::Error> {
    secret.expose().serialize(to)
}

fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<32>, D::Error> {
    <[u8; 32]>::deserialize(from).map(|mut bytes| Secret::take(&mut bytes))
}
