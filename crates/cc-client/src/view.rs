//! Snapshots for user interfaces.

use crate::{Client, Fault, GroupId, Person, Position, records::Standing, seat};

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
    pub members: Vec<Person>,
    /// How far its log was read.
    pub cursor: Position,
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

    /// A snapshot of a group.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::Store`].
    pub fn group(&mut self, id: &GroupId) -> Result<GroupView, Fault> {
        self.transact(|client| {
            let record = client.state.group(id)?;
            let (title, cursor) = (record.title.clone(), record.cursor);
            let in_step = record.standing == Standing::Member && !record.suspect;
            let standing = record.standing;
            let mut view = GroupView {
                id: *id,
                title,
                epoch: None,
                members: Vec::new(),
                cursor,
                in_step,
                authenticator: None,
            };
            if matches!(standing, Standing::Member | Standing::Rejoining(_)) {
                let seat = client.group_seat(id)?;
                (view.epoch, view.authenticator) = (seat.epoch(), seat.epoch_authenticator());
                view.members = seat::members(seat);
            }
            for member in &mut view.members {
                client.describe(member)?;
            }
            Ok(view)
        })
    }
}
