//! What an entry of the journal says.

use cc_client::{
    Fate, GroupId, JoinLapse, JoinLinkId, JoinRequestId, OperationId, Person, PersonId, Position,
    Trust,
};
use cc_core::MemberId;
use serde::{Deserialize, Serialize};

use super::Gone;

/// Something that happened. Numbers begin at 1, and each is one more than the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// When this program heard of it, in milliseconds since 1970. Nothing on the wire says when it happened.
    pub(crate) at: u64,
    /// `None` for what is about no group.
    pub(crate) group: Option<GroupId>,
    pub(crate) what: What,
}

/// New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// A message, of somebody else or of one's own.
    Message(Message),
    /// This person is in the group now.
    Entered {
        title: String,
    },
    Joined {
        who: Who,
    },
    Left {
        who: Who,
        myself: bool,
    },
    /// A member renewed its secrets.
    KeysChanged {
        who: Option<Who>,
    },
    /// An item that could not be read.
    Unreadable {
        position: Position,
        why: Unreadable,
    },
    /// Items that the relay dropped before they were read: those behind the first position, the last included.
    Missed {
        from: Position,
        to: Position,
    },
    /// Out of step with the group; asked to be added anew.
    Diverged,
    /// Back again. What was sent in between is not to be read.
    Repaired {
        from: Position,
        to: Position,
    },
    /// A command, other than a message, that cannot be done.
    Refused {
        operation: OperationId,
        why: String,
    },
    /// This device is one of that person's.
    Linked {
        person: PersonId,
        name: String,
    },
    TrustChanged {
        person: PersonId,
        from: Trust,
        to: Trust,
    },
    DeviceAdded {
        person: PersonId,
        device: Who,
    },
    DeviceRevoked {
        person: PersonId,
        device: Who,
    },
    /// A device that has agreed to be of two persons.
    ConflictingClaims {
        device: Who,
        people: [PersonId; 2],
    },
    /// Of a later version of the client.
    Other {
        description: String,
    },
    /// The relay's log ends before what was read of it.
    RolledBack {
        from: Position,
        to: Position,
    },
    /// The key that signs for this person was replaced elsewhere.
    OwnKeysReplaced {
        conflicting: bool,
    },
    /// An invitation, or a request to be added anew, that the relay did not take.
    NotDelivered {
        why: String,
    },
    /// Somebody asks to join.
    JoinRequested {
        request: JoinRequestId,
        who: Who,
        message: String,
    },
    /// A request of this device was declined.
    JoinDeclined {
        request: JoinRequestId,
    },
    /// More ask by a link than it takes.
    JoinLinkFull {
        link: JoinLinkId,
    },
    /// A message of the past, as a member says that it was.
    Forwarded(Forwarded),
    /// Members said who they are.
    Introduced {
        members: Vec<Who>,
    },
    /// A person calls itself otherwise.
    Renamed {
        person: PersonId,
        from: String,
        to: String,
    },
    /// Nothing comes of a request of this device.
    JoinLapsed {
        request: JoinRequestId,
        why: JoinLapse,
    },
    /// Somebody does not ask to join any more.
    JoinWithdrawn {
        request: JoinRequestId,
        who: Who,
        let_in: bool,
    },
    /// Another device of this person has answered who asks to join.
    JoinAnswered {
        request: JoinRequestId,
        who: Who,
        accepted: bool,
    },
    /// Out of step still: nobody has added it anew for long.
    Stranded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) from: Who,
    /// Sent here, or by another device of this person.
    pub(crate) mine: bool,
    /// The sender's own name for it.
    pub(crate) id: OperationId,
    pub(crate) state: MessageState,
    /// As [`cc_client::Content`] encodes it; from other programs it may be anything.
    pub(crate) content: Vec<u8>,
    /// What each layer did, bottom first; empty where that is not known (yet).
    pub(crate) layers: Vec<LayerLine>,
    /// When one with a timer was read, in milliseconds since 1970.
    pub(crate) read_at: Option<u64>,
    /// Why there is nothing left in `content` of what was said.
    pub(crate) gone: Option<Gone>,
}

impl Message {
    /// One that was not read yet, and is there.
    pub(crate) const fn new(
        from: Who,
        mine: bool,
        id: OperationId,
        state: MessageState,
        content: Vec<u8>,
        layers: Vec<LayerLine>,
    ) -> Self {
        Self { from, mine, id, state, content, layers, read_at: None, gone: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwarded {
    /// Who passed it on. Nothing but the word of this member says the rest.
    pub(crate) by: Who,
    /// Who is said to have written it: a device, and its name.
    pub(crate) author: ([u8; 32], String),
    /// The author's own name for it.
    pub(crate) id: OperationId,
    /// When it is said to have been written, in milliseconds since 1970.
    pub(crate) written: u64,
    /// As that of a [`Message`].
    pub(crate) content: Vec<u8>,
    /// Why there is nothing left in `content` of what was said.
    pub(crate) gone: Option<Gone>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MessageState {
    /// Waits to be sent, or to be seen in the log.
    Waiting,
    /// The log has it there.
    Sent(Position),
    /// It was not sent, and will not be.
    Refused(String),
}

/// One layer's share of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerLine {
    pub(crate) name: String,
    pub(crate) version: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) microseconds: Option<u64>,
}

/// A member of a group, as it was known then; without a name of its own, the beginning of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) device: [u8; 32],
    pub(crate) person: Option<PersonId>,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unreadable {
    /// Its keys are gone.
    TooLate,
    /// Of a later version.
    Unsupported,
    /// What only an attack explains.
    Forged,
    /// A welcome for a key package that is not here.
    OrphanWelcome,
    Other,
    /// An invitation to a group that its log does not know.
    Unconfirmed,
    /// An invitation to a log that cannot be its group's.
    Misaddressed,
}

impl From<&Person> for Who {
    fn from(person: &Person) -> Self {
        let short = || person.id.to_string().chars().take(8).collect();
        let name = person.name.clone().unwrap_or_else(short);
        Self { device: *person.id.as_bytes(), person: person.person, name }
    }
}

impl Who {
    /// Whether the member has said who it is.
    pub(crate) const fn is_introduced(&self) -> bool {
        self.person.is_some()
    }

    pub(crate) const fn member(&self) -> MemberId {
        MemberId::from_bytes(self.device)
    }
}

impl From<Fate> for Unreadable {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::TooLate => Self::TooLate,
            Fate::Unsupported => Self::Unsupported,
            Fate::Forged => Self::Forged,
            Fate::OrphanWelcome => Self::OrphanWelcome,
            Fate::Unconfirmed => Self::Unconfirmed,
            Fate::Misaddressed => Self::Misaddressed,
            _ => Self::Other,
        }
    }
}
