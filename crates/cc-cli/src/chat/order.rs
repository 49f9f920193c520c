//! What goes between the screen and the session, which live in two threads.

use std::path::PathBuf;

use cc_client::{Attachment, Content, GroupId, JoinRequestId, PersonId, Trust};
use cc_core::MemberId;

use crate::talk::{journal::Entry, link::InviteLink, session::Connection};

/// What the screen wants of the session.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Show a group, with so many of its last entries, and count it as read.
    Open {
        group: GroupId,
        entries: u64,
    },
    /// What came to the open group was shown.
    Read(GroupId),
    Found(String),
    /// A link, or the path of a file with one: asked about before anything is done.
    Invite {
        group: GroupId,
        link: String,
    },
    /// The same, after that.
    InviteNow {
        group: GroupId,
        link: InviteLink,
    },
    WriteLink(PathBuf),
    /// A link by which others ask to join, shown or written to a file.
    GroupLink {
        group: GroupId,
        path: Option<PathBuf>,
    },
    /// By a link, or the path of a file with one.
    Join {
        link: String,
        text: String,
    },
    Requests,
    /// What this device asked for: the beginning of its id, or the only one.
    Withdraw(Option<String>),
    /// Earlier messages for a member, of so many entries: asked about before anything is done.
    Share {
        group: GroupId,
        members: Vec<MemberId>,
        name: String,
        last: u64,
    },
    /// The same, after that.
    ShareNow {
        group: GroupId,
        members: Vec<MemberId>,
        name: String,
        last: u64,
    },
    /// Who asks, by name, number or id: asked about before anything is done.
    Answer {
        who: String,
        accept: bool,
    },
    /// The same, after that.
    AnswerNow {
        request: JoinRequestId,
        accept: bool,
    },
    /// With the text that was typed, to be given back where it is refused.
    Send {
        group: GroupId,
        content: Content,
        typed: String,
    },
    Attach {
        group: GroupId,
        path: PathBuf,
        text: String,
    },
    /// To this path, or into the present folder under the name that it has.
    Save {
        attachment: Attachment,
        path: Option<PathBuf>,
    },
    Safety {
        person: PersonId,
        name: String,
        verify: bool,
    },
    /// The number that was compared.
    Verify {
        person: PersonId,
        number: String,
    },
    Accept(PersonId),
    Remove {
        group: GroupId,
        members: Vec<MemberId>,
    },
    Leave(GroupId),
    Refresh(GroupId),
    Tree(GroupId),
    Stack(GroupId),
    Devices,
    OfferDevice(PathBuf),
    AddDevice(PathBuf),
    /// The beginning of its name or id.
    Revoke(String),
    RevokeNow(MemberId),
    Quit,
}

/// What the session tells the screen.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    Ready {
        me: String,
        device: MemberId,
        relay: String,
        link: String,
    },
    Groups(Vec<GroupRow>),
    /// A group that this screen asked for.
    Founded(GroupId),
    Members(GroupId, Vec<MemberRow>),
    Opened {
        group: GroupId,
        entries: Vec<Entry>,
        unread: u64,
        complete: bool,
    },
    New(Entry),
    Changed(Entry),
    Connection(Connection),
    /// How much waits to be sent.
    Unsent(usize),
    Page {
        title: String,
        lines: Vec<String>,
    },
    /// Before this is done, somebody has to say yes.
    Confirm {
        lines: Vec<String>,
        order: Order,
    },
    Note(String),
    Failed {
        why: String,
        give_back: Option<String>,
    },
    Seen(Seen),
    /// The session is over; the text says why, unless that was asked for.
    Ended(Option<String>),
}

/// One line of the list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupRow {
    pub(crate) id: GroupId,
    pub(crate) title: String,
    pub(crate) unread: u64,
    pub(crate) members: usize,
    /// Whether this person still is in it.
    pub(crate) member: bool,
}

/// One device in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) device: MemberId,
    pub(crate) person: Option<PersonId>,
    pub(crate) name: String,
    pub(crate) device_name: Option<String>,
    /// `None` where it is not known whose device it is.
    pub(crate) trust: Option<Trust>,
    /// A device of this person.
    pub(crate) mine: bool,
}

/// One exchange with the relay, as the relay sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) what: String,
    /// The log, and position and length of each item.
    pub(crate) items: Option<(GroupId, Vec<(u64, usize)>)>,
}
