//! What the application is told, and did not acknowledge yet.

use serde::{Deserialize, Serialize};

use crate::{
    GroupId, JoinLapse, JoinLinkId, JoinRequestId, LogId, OperationId, PersonId, Position, Trust,
};

/// An event, as it is stored. Members are in it by their ids: names come from their certificates when it is
/// told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EventRecord {
    Message {
        group: GroupId,
        from: [u8; 32],
        message: OperationId,
        position: Position,
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
    },
    Done {
        operation: OperationId,
        position: Position,
    },
    Superseded {
        operation: OperationId,
    },
    Cancelled {
        operation: OperationId,
    },
    Refused {
        operation: OperationId,
        why: String,
    },
    Entered {
        group: GroupId,
        name: String,
    },
    Joined {
        group: GroupId,
        person: [u8; 32],
    },
    Left {
        group: GroupId,
        person: [u8; 32],
        myself: bool,
    },
    KeysChanged {
        group: GroupId,
        person: Option<[u8; 32]>,
    },
    Unreadable {
        log: LogId,
        position: Position,
        fate: u8,
    },
    Missed {
        log: LogId,
        from: Position,
        to: Position,
    },
    RolledBack {
        log: LogId,
        from: Position,
        to: Position,
    },
    Diverged {
        group: GroupId,
    },
    Repaired {
        group: GroupId,
        from: Position,
        to: Position,
    },
    Untrusted {
        operation: OperationId,
        person: PersonId,
    },
    Linked {
        person: PersonId,
        name: String,
    },
    TrustChanged {
        person: PersonId,
        from: Trust,
        to: Trust,
    },
    OwnKeysReplaced {
        conflicting: bool,
    },
    NotDelivered {
        mailbox: LogId,
        why: String,
    },
    DeviceAdded {
        person: PersonId,
        device: [u8; 32],
    },
    DeviceRevoked {
        person: PersonId,
        device: [u8; 32],
    },
    ConflictingClaims {
        device: [u8; 32],
        people: [PersonId; 2],
    },
    JoinRequested {
        asker: Asker,
        message: String,
    },
    JoinDeclined {
        request: JoinRequestId,
        link: JoinLinkId,
    },
    JoinLapsed {
        request: JoinRequestId,
        link: JoinLinkId,
        why: JoinLapse,
    },
    JoinWithdrawn {
        asker: Asker,
        let_in: bool,
    },
    JoinAnswered {
        asker: Asker,
        accepted: bool,
    },
    JoinLinkFull {
        link: JoinLinkId,
        group: GroupId,
    },
    Forwarded {
        group: GroupId,
        by: [u8; 32],
        message: OperationId,
        position: Position,
        /// The [`History`](crate::History), as it travels.
        #[serde(with = "serde_bytes")]
        history: Vec<u8>,
    },
    Introduced {
        group: GroupId,
        members: Vec<[u8; 32]>,
    },
    Renamed {
        person: PersonId,
        from: String,
        to: String,
    },
    Stranded {
        group: GroupId,
    },
}

/// Who asks to join a group, by which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asker {
    pub(crate) request: JoinRequestId,
    pub(crate) group: GroupId,
    pub(crate) member: [u8; 32],
    pub(crate) person: Option<PersonId>,
    pub(crate) name: String,
    pub(crate) device: String,
}
