//! What the client's records in the store say.

use serde::{Deserialize, Serialize};

use crate::{
    AccessHash, AccessToken, GroupId, JoinRequestId, LogId, OperationId, Position, RequestId,
    frame::item_digest, operations::CommandDigest,
};

mod events;
mod places;
mod stored_secret;

pub(crate) use events::{Asker, EventRecord};
pub(crate) use places::*;
pub(crate) use stored_secret::StoredSecret;

/// What the client itself knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Counts commits: of two processes, one is refused.
    pub(crate) fence: u64,
    pub(crate) next_event: u64,
    /// Events up to this one are acknowledged.
    pub(crate) acknowledged: u64,
    /// The number of the next manager.
    pub(crate) next_seat: u64,
    /// The number of the next settled command.
    pub(crate) next_settled: u64,
    pub(crate) mailbox_cursor: Position,
    /// Key packages that the directory is to have.
    pub(crate) packages_wanted: u32,
    /// As the directory last said.
    pub(crate) packages_there: Option<u32>,
    /// When the first of those in the directory expires, in seconds since 1970.
    pub(crate) packages_expire: Option<u64>,
    /// When the one of last resort in the directory expires.
    pub(crate) last_resort_expires: Option<u64>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) title: String,
    /// The name of its manager in the store.
    pub(crate) seat: String,
    /// Everything up to here has its fate, or is held.
    pub(crate) cursor: Position,
    /// The last item that was appended as a commit, whatever came of it.
    pub(crate) last_commit: Position,
    /// Where this person joined.
    pub(crate) joined_at: Position,
    pub(crate) standing: Standing,
    /// The token of the present epoch, once it was asked for. It has a record of its own, which is written
    /// once in an epoch.
    #[serde(skip)]
    pub(crate) access: Option<StoredToken>,
    /// The number of the next command.
    pub(crate) next_queued: u64,
    /// Commands in the queue and on their way.
    pub(crate) queued: u32,
    /// The number of the command that was to commit the leaving of others last.
    pub(crate) leaves: Option<u64>,
    /// The number of the next message of this person's.
    pub(crate) next_message: u64,
    /// Since when this member has its secrets, in milliseconds since 1970, once that was looked at.
    pub(crate) refreshed: Option<u64>,
    /// Messages of this member's since then.
    pub(crate) sent_since_refresh: u64,
    /// What waits for the log to show it, or for another commit. It has a record of its own, which is
    /// written once.
    #[serde(skip)]
    pub(crate) in_flight: Option<InFlight>,
    /// The commands of it whose messages the log has shown, while it does not have all.
    pub(crate) landed: Vec<u64>,
    /// Positions that are held, and how many bytes each has.
    pub(crate) held: Vec<(Position, u32)>,
    /// A commit of a later epoch came although everything before it was read.
    pub(crate) suspect: bool,
    /// Rejoins that were asked for since this member was last in step.
    pub(crate) rejoins: u32,
    /// It was removed and added anew at once, and had not asked for that: a copy of this device elsewhere has.
    pub(crate) replaced: bool,
    /// The key package of a request to be added anew has expired since this member came in.
    pub(crate) request_expired: bool,
    /// What the latest request to be added anew had as its time.
    pub(crate) asked: u64,
    /// Its mail, which may be under way.
    pub(crate) asking: Vec<RequestId>,
    /// When this member last looked of whom nothing was heard, in milliseconds since 1970; 0 for never.
    pub(crate) looked: u64,
}

/// A token in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredToken(#[serde(with = "crate::access::stored")] pub(crate) AccessToken);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    Member,
    /// Asked to be added anew, having read this far.
    Rejoining(Position),
    /// Restored without its stack, having read this far: asks to be added anew.
    Restored(Position),
    Removed,
}

impl Standing {
    /// Whether this member is to come back.
    pub(crate) const fn is_away(self) -> bool {
        matches!(self, Self::Rejoining(_) | Self::Restored(_))
    }
}

/// What was handed to the delivery service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub(crate) request: RequestId,
    /// The epoch that it was sealed in.
    pub(crate) epoch: u64,
    pub(crate) what: Sent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sent {
    /// Messages that the log did not show yet.
    Messages(Vec<SentMessage>),
    /// The commit of the staged change, whose command is still in the queue.
    Commit {
        #[serde(skip)]
        digest: [u8; 32],
        change: [u8; 16],
        command: Option<Sealed>,
    },
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentMessage {
    /// Of the item.
    #[serde(skip)]
    pub(crate) digest: [u8; 32],
    /// The number of its command.
    pub(crate) number: u64,
    /// The command: it goes back into the queue if it has to be sealed anew.
    pub(crate) queued: Queued,
}

impl Sent {
    /// Which one of it an item of the log is, if it is of it.
    pub(crate) fn place_of(&self, item: &[u8]) -> Option<usize> {
        let digest = item_digest(item);
        match self {
            Self::Messages(sent) => sent.iter().position(|known| known.digest == digest),
            Self::Commit { digest: known, .. } => (*known == digest).then_some(0),
        }
    }

    /// Whether the command of this number is on its way with it.
    pub(crate) fn concerns(&self, number: u64) -> bool {
        match self {
            Self::Messages(sent) => sent.iter().any(|message| message.number == number),
            Self::Commit { command, .. } => {
                command.as_ref().is_some_and(|sealed| sealed.number == number)
            }
        }
    }
}

/// A command whose commit is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    pub(crate) operation: Option<OperationId>,
}

/// A command of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queued {
    /// `None` for what the client does of itself.
    pub(crate) operation: Option<OperationId>,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Content {
        number: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A [`History`](crate::History), as it travels.
    History {
        number: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    Title,
    /// Who this device is.
    Introduction,
    /// Key package offers, as they travel.
    Add(Vec<Vec<u8>>),
    /// Somebody who asked to join.
    Admit {
        request: JoinRequestId,
        /// The one offer that was in the request.
        offers: Vec<Vec<u8>>,
        /// Who that is: a `PeopleUpdate`, as it travels.
        people: Vec<u8>,
    },
    /// Offers of members that come back.
    Readmit(Vec<Vec<u8>>),
    Remove(Vec<[u8; 32]>),
    Refresh,
    /// Commits what others asked for, their leaving.
    CommitLeaves,
    Leave,
}

impl Work {
    /// Whether the application says it, to all who are in the group.
    pub(crate) const fn is_said(&self) -> bool {
        matches!(self, Self::Content { .. } | Self::History { .. })
    }

    /// Whether it is sent as a message, and so beside others.
    pub(crate) const fn is_message(&self) -> bool {
        self.is_said() || matches!(self, Self::Title | Self::Introduction | Self::Leave)
    }
}

/// What a commit follows, and the hash of the token of the epoch that it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitRecord {
    pub(crate) after: Position,
    pub(crate) next: AccessHash,
}

/// What is on its way to a group's log: it goes out until the log shows it or the epoch is over, always with
/// the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlightRecord {
    /// Of the epoch that the items are of.
    pub(crate) access: StoredToken,
    /// With it this is a commit.
    pub(crate) commit: Option<CommitRecord>,
    #[serde(with = "items")]
    pub(crate) items: Vec<Vec<u8>>,
    pub(crate) in_flight: InFlight,
}

/// Items as bytes, not byte by byte.
mod items {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    pub(super) fn serialize<S: Serializer>(
        items: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(items.iter().map(|item| Bytes::new(item)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let items = Vec::<ByteBuf>::deserialize(deserializer)?;
        Ok(items.into_iter().map(ByteBuf::into_vec).collect())
    }
}

impl FlightRecord {
    /// What was in flight, but for messages that have landed. The digests are not stored.
    pub(crate) fn in_flight(self, landed: &[u64]) -> InFlight {
        let mut in_flight = self.in_flight;
        let digests = self.items.iter().map(|item| item_digest(item));
        match &mut in_flight.what {
            Sent::Messages(sent) => {
                for (message, digest) in sent.iter_mut().zip(digests) {
                    message.digest = digest;
                }
                sent.retain(|message| !landed.contains(&message.number));
            }
            Sent::Commit { digest, .. } => {
                *digest = self.items.first().map_or([0; 32], |item| item_digest(item));
            }
        }
        in_flight
    }
}

/// Another request that goes out until it is answered, always with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestRecord {
    /// To somebody's mailbox.
    Mail {
        mailbox: LogId,
        item: Vec<u8>,
    },
    /// To somebody's mailbox, behind another one.
    MailAfter {
        mailbox: LogId,
        item: Vec<u8>,
        after: RequestId,
    },
    Publish {
        packages: Vec<(Vec<u8>, bool)>,
    },
    Claim {
        group: GroupId,
        mailbox: LogId,
        member: Option<[u8; 32]>,
        /// `None` for another device of this person, which follows this one.
        operation: Option<OperationId>,
        /// Tells another command under that id.
        digest: CommandDigest,
        /// Claims for it before this one.
        attempts: u32,
    },
}

/// A key package that was made, and its manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageRecord {
    pub(crate) seat: String,
    /// Seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Made to come back into a group.
    pub(crate) asked: Option<Asked>,
}

/// A request to be added anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Where.
    pub(crate) group: GroupId,
    /// Where this member had come in when it asked.
    pub(crate) joined_at: Position,
    /// As the request has it: the greater, the later.
    pub(crate) time: u64,
}

/// What is known of a group that has no stack here, or none that is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestoredGroup {
    pub(crate) members: Vec<[u8; 32]>,
    pub(crate) mls_group: Option<Vec<u8>>,
}

/// What is known of a member's coming back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReturnRecord {
    /// The commit that added the member last, where it was read.
    pub(crate) added_at: Position,
    /// What the member's latest request had as its time.
    pub(crate) asked: u64,
    /// A request was seen since the member was added last.
    pub(crate) asked_since: bool,
    /// The command that answers the latest request, where one was made.
    pub(crate) queued: Option<u64>,
    /// The address at which this device invited the member last, if it did: a `MailAddress`, as it travels.
    pub(crate) invited_at: Option<Vec<u8>>,
    /// [`SeenRecord::said`] of the member at the last look.
    pub(crate) said: u64,
    /// Looks, one after another, since which nothing was heard of the member.
    pub(crate) silent: u32,
}

/// Which messages of one sender were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenRecord {
    /// No message with this number or a greater one was.
    next: Option<u64>,
    /// Smaller ones that were not: they may be held, or under way.
    missing: Vec<u64>,
}

/// Messages of one sender that may come late.
const MAX_MISSING: u32 = 1024;

impl SeenRecord {
    /// Changes with each message.
    pub(crate) fn said(&self) -> u64 {
        self.next.unwrap_or(0)
    }

    /// Takes note of a message; `false` if it was read before, or is older than what may come late.
    pub(crate) fn read(&mut self, number: u64) -> bool {
        let next = self.next.unwrap_or_else(|| number.saturating_sub(MAX_MISSING.into()));
        if number >= next {
            self.missing.extend(next.max(number.saturating_sub(MAX_MISSING.into()))..number);
            let surplus = self.missing.len().saturating_sub(MAX_MISSING as usize);
            self.missing.drain(..surplus);
            self.next = Some(number.saturating_add(1));
            return true;
        }
        match self.missing.binary_search(&number) {
            Ok(at) => {
                self.missing.remove(at);
                true
            }
            Err(_) => false,
        }
    }
}
