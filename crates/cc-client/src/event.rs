//! What the application is told.

use core::ops::Range;

use cc_core::{MemberId, store::StoreError};

use crate::{
    EventId, Fault, GroupId, History, HistoryEntries, JoinLapse, JoinLinkId, JoinRequestId, LogId,
    OperationId, PersonId, Position, Trust,
    fate::{Fate, fate_from},
    records::{Asker, EventRecord},
};

/// A member of a group: one device of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Person {
    /// The device, the same in every group of one recipe: the digest of all its long-lived keys.
    pub id: MemberId,
    /// Whose device it is, as both have signed; `None` as long as it has not said so, and where the person has
    /// revoked it.
    pub person: Option<PersonId>,
    /// What the person calls itself, by its signature; `None` as long as `person` is.
    /// [`Event::Introduced`] tells when it becomes known.
    pub name: Option<String>,
    /// What the device is called; `None` as long as `person` is.
    pub device: Option<String>,
}

impl Person {
    /// A member of whom nothing is known but the id.
    pub(crate) const fn new(id: [u8; 32]) -> Self {
        Self { id: MemberId::from_bytes(id), person: None, name: None, device: None }
    }

    /// The name, or else the first bytes of the id.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// Something that happened. It is a record of the store until it is
/// [acknowledged](crate::Client::acknowledge).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message of another device.
    Message {
        /// Where.
        group: GroupId,
        /// Whose.
        from: Person,
        /// Whether that is another device of this person's own.
        from_me: bool,
        /// The sender's own name for it: a message is read once by this.
        message: OperationId,
        /// Where it is in the group's log: by this, messages have one order.
        position: Position,
        /// What was sent.
        content: Vec<u8>,
    },
    /// A member passed on what was said before this device came, or had it do so. That the others wrote it is the
    /// word of `by` alone: it is shown with both names, and never as a message of who is said to have written it.
    Forwarded {
        /// Where.
        group: GroupId,
        /// Who passed it on.
        by: Person,
        /// The passing member's own name for it: it is read once by this.
        message: OperationId,
        /// Where it is in the group's log.
        position: Position,
        /// What was passed on.
        entries: HistoryEntries,
    },
    /// What became of a command.
    Settled {
        /// The command.
        operation: OperationId,
        /// What became of it.
        verdict: Verdict,
    },
    /// This person is in a group now.
    Entered {
        /// Which.
        group: GroupId,
        /// What it is called, as far as is known yet.
        name: String,
    },
    /// Somebody came. A newcomer has no name before it has said who it is: [`Event::Introduced`] follows.
    Joined {
        /// Where.
        group: GroupId,
        /// Who.
        person: Person,
    },
    /// Members said who they are, or who invited this device did: their names are known from now on. Names
    /// are what people call themselves; whose they are tells the [safety number](crate::Client::safety_number).
    Introduced {
        /// Where.
        group: GroupId,
        /// Devices that had no name until now, at most 128.
        members: Vec<Person>,
    },
    /// A person calls itself otherwise now, by its signature. The trust stays, for the keys do.
    Renamed {
        /// Who.
        person: PersonId,
        /// What it called itself until now.
        from: String,
        /// What it calls itself from now on.
        to: String,
    },
    /// Somebody went, or was removed.
    Left {
        /// Where.
        group: GroupId,
        /// Who.
        person: Person,
        /// Whether that is oneself.
        myself: bool,
    },
    /// A member renewed its secrets.
    KeysChanged {
        /// Where.
        group: GroupId,
        /// Whose, where a layer of the recipe tells.
        person: Option<Person>,
    },
    /// An item that could not be read. Only [`Fate::Forged`] means an attack.
    Unreadable {
        /// Which log.
        log: LogId,
        /// Where in it.
        position: Position,
        /// Why.
        fate: Fate,
    },
    /// Items that were not read before the service dropped them.
    Missed {
        /// Which log.
        log: LogId,
        /// Positions that were missed: those behind the first, the last included.
        missed: Range<Position>,
    },
    /// The service's log ends before what was read of it: it was put back to an old copy, or another log is
    /// shown. What it has now is read anew, and what was sent into what is gone may not reach the others.
    RolledBack {
        /// Which log.
        log: LogId,
        /// How far it was read.
        from: Position,
        /// Where it ended then.
        to: Position,
    },
    /// This member fell out of step with the group, and has asked to be added anew.
    Diverged {
        /// Which.
        group: GroupId,
    },
    /// Nobody has added this member anew for about two hours, however often it asked: those that it knows may all
    /// have left, or it may have been removed. It goes on asking, ever more rarely, and comes back if somebody
    /// who is in the group hears of it. Whoever is in the group can bring it back at once: remove it, if it is
    /// still seen there, and invite it again.
    Stranded {
        /// Which.
        group: GroupId,
    },
    /// This member is back. What was sent in between is not to be read.
    Repaired {
        /// Which.
        group: GroupId,
        /// Positions that were missed.
        missed: Range<Position>,
    },
    /// This device is one of this person's now, as [`offer_device`](crate::Client::offer_device) asked for.
    Linked {
        /// Whose.
        person: PersonId,
        /// What that person is called.
        name: String,
    },
    /// How far a person is trusted has changed.
    TrustChanged {
        /// Whose.
        person: PersonId,
        /// How far until now.
        from: Trust,
        /// How far from now on.
        to: Trust,
    },
    /// The key that signs for this person itself was replaced, by another device or a thief: this device does
    /// not sign for the person (any more). Who did not do that has had the key stolen.
    OwnKeysReplaced {
        /// Whether that is beside the replacement that is known here: of the two, one is a thief's.
        conflicting: bool,
    },
    /// Mail that the service did not take: a welcome, or a request to be added anew. Who was invited is in
    /// the group, and does not know it. Or another device of this person that could not be invited.
    NotDelivered {
        /// To whom.
        mailbox: LogId,
        /// Why, in words.
        why: String,
    },
    /// A person that was known before has one more device, by its own signature: the trust stays.
    DeviceAdded {
        /// Whose.
        person: PersonId,
        /// Which.
        device: Person,
    },
    /// A person says that a device is no longer one of its own.
    DeviceRevoked {
        /// Whose.
        person: PersonId,
        /// Which.
        device: Person,
    },
    /// Somebody asks to join, by a [link](crate::JoinLink) of this person. Nothing has changed yet:
    /// [`Client::join_requests`](crate::Client::join_requests) has more of who that is, with the safety number.
    JoinRequested {
        /// Which group.
        group: GroupId,
        /// By which it is accepted or declined.
        request: JoinRequestId,
        /// Who asks, as the device and the person have signed it. The name is their own choice.
        from: Person,
        /// What they say.
        message: String,
    },
    /// A [request](crate::Client::ask_to_join) of this device was declined by who made the link.
    JoinDeclined {
        /// Which.
        request: JoinRequestId,
        /// The link.
        link: JoinLinkId,
    },
    /// Nothing comes of a [request](crate::Client::ask_to_join) of this device, though nobody has declined it. It may ask
    /// again, where that is of use.
    JoinLapsed {
        /// Which.
        request: JoinRequestId,
        /// The link.
        link: JoinLinkId,
        /// Why.
        why: JoinLapse,
    },
    /// Who asked to join does not want to any more.
    JoinWithdrawn {
        /// Which group.
        group: GroupId,
        /// Which request. It cannot be answered any more.
        request: JoinRequestId,
        /// Who has asked.
        from: Person,
        /// Whether that came too late, so that a member has come in that has no keys: this device removes it again.
        let_in: bool,
    },
    /// Another device of this person has answered a request, which waits no longer. The first answer counts.
    JoinAnswered {
        /// Which group.
        group: GroupId,
        /// Which request.
        request: JoinRequestId,
        /// Who has asked.
        from: Person,
        /// Whether it is let in.
        accepted: bool,
    },
    /// More ask by a link than it takes, and further ones are turned away unseen until some are answered. Where it
    /// was given to too many, [revoke](crate::Command::RevokeJoinLink) it.
    JoinLinkFull {
        /// The group.
        group: GroupId,
        /// The link.
        link: JoinLinkId,
    },
    /// A device has agreed to be of two persons. It counts as that of the first, and neither is trusted.
    ConflictingClaims {
        /// Which.
        device: Person,
        /// Both.
        people: [PersonId; 2],
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The log shows it, at this position; the position is 0 for what needs no log.
    Done(Position),
    /// Somebody else did it first, or it is no longer to be done.
    Superseded,
    /// It was [cancelled](crate::Command::Cancel) before it was begun.
    Cancelled,
    /// It cannot be done; the text says why.
    Refused(String),
    /// It was not sent, because this person's keys have changed. [`Command::AcceptChange`] or
    /// [`Command::Verify`] first, then send it anew.
    ///
    /// [`Command::AcceptChange`]: crate::Command::AcceptChange
    /// [`Command::Verify`]: crate::Command::Verify
    Untrusted(PersonId),
}

/// What one input did: a fate for each item, and the events that came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Ledger {
    /// Items of this input, and earlier ones that got their final fate with it.
    pub fates: Vec<(LogId, Position, Fate)>,
    /// The events; empty where nothing is to be told.
    pub events: Range<EventId>,
}

impl EventRecord {
    pub(crate) fn into_event(self) -> Result<Event, Fault> {
        let settled = |operation, verdict| Event::Settled { operation, verdict };
        Ok(match self {
            Self::Forwarded { group, by, message, position, history } => {
                let damaged = |_| StoreError::corrupt("what was passed on is malformed");
                let entries = History::decode(&history).map_err(damaged)?.entries;
                Event::Forwarded { group, by: Person::new(by), message, position, entries }
            }
            Self::Message { group, from, message, position, content } => {
                let (from, from_me) = (Person::new(from), false);
                Event::Message { group, from, from_me, message, position, content }
            }
            Self::Done { operation, position } => settled(operation, Verdict::Done(position)),
            Self::Superseded { operation } => settled(operation, Verdict::Superseded),
            Self::Cancelled { operation } => settled(operation, Verdict::Cancelled),
            Self::Refused { operation, why } => settled(operation, Verdict::Refused(why)),
            Self::Entered { group, name } => Event::Entered { group, name },
            Self::Joined { group, person } => Event::Joined { group, person: Person::new(person) },
            Self::Left { group, person, myself } => {
                Event::Left { group, person: Person::new(person), myself }
            }
            Self::KeysChanged { group, person } => {
                Event::KeysChanged { group, person: person.map(Person::new) }
            }
            Self::Unreadable { log, position, fate } => {
                Event::Unreadable { log, position, fate: fate_from(fate) }
            }
            Self::Missed { log, from, to } => Event::Missed { log, missed: from..to },
            Self::RolledBack { log, from, to } => Event::RolledBack { log, from, to },
            Self::Diverged { group } => Event::Diverged { group },
            Self::Stranded { group } => Event::Stranded { group },
            Self::Repaired { group, from, to } => Event::Repaired { group, missed: from..to },
            Self::Untrusted { operation, person } => settled(operation, Verdict::Untrusted(person)),
            Self::Linked { person, name } => Event::Linked { person, name },
            Self::TrustChanged { person, from, to } => Event::TrustChanged { person, from, to },
            Self::OwnKeysReplaced { conflicting } => Event::OwnKeysReplaced { conflicting },
            Self::NotDelivered { mailbox, why } => Event::NotDelivered { mailbox, why },
            Self::Introduced { group, members } => {
                let members = members.into_iter().map(Person::new).collect();
                Event::Introduced { group, members }
            }
            Self::Renamed { person, from, to } => Event::Renamed { person, from, to },
            Self::DeviceAdded { person, device } => {
                Event::DeviceAdded { person, device: Person::new(device) }
            }
            Self::DeviceRevoked { person, device } => {
                Event::DeviceRevoked { person, device: Person::new(device) }
            }
            Self::ConflictingClaims { device, people } => {
                Event::ConflictingClaims { device: Person::new(device), people }
            }
            Self::JoinRequested { asker, message } => {
                let (request, group, from) = asker.into_person();
                Event::JoinRequested { group, request, from, message }
            }
            Self::JoinLapsed { request, link, why } => Event::JoinLapsed { request, link, why },
            Self::JoinWithdrawn { asker, let_in } => {
                let (request, group, from) = asker.into_person();
                Event::JoinWithdrawn { group, request, from, let_in }
            }
            Self::JoinAnswered { asker, accepted } => {
                let (request, group, from) = asker.into_person();
                Event::JoinAnswered { group, request, from, accepted }
            }
            Self::JoinDeclined { request, link } => Event::JoinDeclined { request, link },
            Self::JoinLinkFull { link, group } => Event::JoinLinkFull { group, link },
        })
    }
}

impl Asker {
    fn into_person(self) -> (JoinRequestId, GroupId, Person) {
        let Self { request, group, member, person, name, device } = self;
        let (id, name, device) = (MemberId::from_bytes(member), Some(name), Some(device));
        (request, group, Person { id, person, name, device })
    }
}
