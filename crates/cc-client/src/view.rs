//! What is to be seen of a group.

use std::sync::Arc;

use crate::{Client, GroupId, Person, Position};

/// A group as it was when this was taken. Cheap to copy, and it holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// Its id.
    pub id: GroupId,
    /// What it is called.
    pub title: String,
    /// The epoch, `None` for who is not a member (any more).
    pub epoch: Option<u64>,
    /// All members, this person included.
    pub members: Arc<[Person]>,
    /// How far its log was read.
    pub cursor: Position,
    /// Where in its log this person joined (again).
    pub joined_at: Position,
    /// Whether this person is a member, in step with the others as far as is known.
    pub in_step: bool,
    /// What all members have in common in this epoch, for people to compare.
    pub authenticator: Option<[u8; 32]>,
}

impl Client {
    /// The groups that this person is in, or was.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.state.groups.keys().copied()
    }
}
