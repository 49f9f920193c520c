//! Asking to join a group: who has a link of a member asks, the member sees who that is, and decides.
//!
//! A [`JoinLink`] belongs to the member that made it, and leads to the mailboxes of that person's devices. A request
//! is sealed to a key in the link and under a secret of the link (HPKE, RFC 9180, mode PSK): these devices read it and
//! nobody else, and only who has the link can make one. In it are a key package, and who asks, as the person and the device
//! have signed it. Nothing in the group changes before the member accepts: that is a commit and a welcome, as with
//! any other newcomer.

mod answering;
mod asking;
mod ending;
mod hosts;
mod link;
mod names;
mod received;
mod request;
mod view;
mod withdrawing;

use cc_core::store::Scope;
use serde::{Deserialize, Serialize};

use crate::{GroupId, JoinLinkId, JoinRequestId, LogId, RequestId, records};

pub use asking::{JoinAsk, JoinLapse};
pub(crate) use hosts::HostNews;
pub use link::{JoinLink, JoinLinkView};
pub(crate) use request::{SealedJoin, SealedReply};
pub use view::JoinRequestView;

/// Bytes of what somebody says with a request, at the most.
pub const MAX_JOIN_MESSAGE_LEN: usize = 1024;

/// The links of this device, which it or another one of its person made, by their ids.
fn links() -> Scope {
    records::root().child("join links")
}

/// Requests that are not answered, by their ids.
fn requests() -> Scope {
    records::root().child("join requests")
}

/// The answers that there were under a link, by the ids of the requests.
fn answered(link: &JoinLinkId) -> Scope {
    records::root().child("join answered").child(link.as_bytes())
}

/// Links that are over, with when they would have expired.
fn ended() -> Scope {
    records::root().child("join links ended")
}

/// Requests that were accepted, by their ids, as long as something may be said of them.
fn admitted() -> Scope {
    records::root().child("join admitted")
}

/// What this device has withdrawn, by the digests of the key packages.
fn withdrawn() -> Scope {
    records::root().child("join withdrawn")
}

/// What this device has asked for, by the ids of the requests.
fn asks() -> Scope {
    records::root().child("join asks")
}

/// A link of this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LinkRecord {
    group: GroupId,
    keys: link::LinkKeys,
    /// Where requests go, as the link has it.
    mailboxes: Vec<LogId>,
    /// The devices of this person that have the link and are still in the group, this one included.
    hosts: Vec<[u8; 32]>,
    /// Milliseconds since 1970.
    expires: u64,
    /// Requests that opened, whatever came of them.
    asked: u32,
    /// Those of them that wait for an answer.
    open: u32,
    /// The application was told that requests are turned away.
    told: bool,
}

/// A request that waits for an answer. All of it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RequestRecord {
    link: JoinLinkId,
    group: GroupId,
    member: [u8; 32],
    /// When it was read, in milliseconds since 1970 by this device's clock.
    received: u64,
    answer_key: request::AnswerKey,
    /// Where the answer goes: a `MailAddress`, as it travels.
    address: Vec<u8>,
    /// The key package offer, as it travels.
    offer: Vec<u8>,
    /// The keys of the person and the certificate of the device: a `PeopleUpdate`, as it travels.
    people: Vec<u8>,
    message: String,
}

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AdmittedRecord {
    /// Without the key package and the message.
    request: RequestRecord,
    /// Who asked has withdrawn it while the commit was on its way.
    withdrawn: bool,
    /// It has come in by another device of this person, which accepted it as well.
    elsewhere: bool,
}

/// A request that is over here, by a withdrawal or by an answer: a welcome for its key package is not waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WithdrawnRecord {
    request: JoinRequestId,
    /// The mails that say so, and where: another request goes behind them.
    mails: Vec<(LogId, RequestId)>,
    /// Of one that has had an answer: by which it is withdrawn, and where, should another device of who was asked
    /// let it in all the same.
    answered: Option<(request::AnswerKey, Vec<LogId>)>,
    /// When the key package expires, in seconds since 1970.
    expires: Option<u64>,
}

/// What this device has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AskRecord {
    link: JoinLinkId,
    /// Whom.
    mailboxes: Vec<LogId>,
    answer_key: request::AnswerKey,
    /// The digest of the key package that is in the request.
    package: [u8; 32],
    /// Milliseconds since 1970 by this device's clock.
    asked: u64,
    /// The request as it travels: it goes again with the same bytes.
    item: Vec<u8>,
    /// The last mail with it to each of them.
    mails: Vec<RequestId>,
}

/// The id of the request of a device under a link: both sides derive it, and there is one for each.
fn request_id(link: &JoinLinkId, member: &[u8; 32]) -> JoinRequestId {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::new()
        .chain_update(b"cc-client/1 join request")
        .chain_update(link.as_bytes())
        .chain_update(member);
    JoinRequestId::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod killer;
#[cfg(test)]
mod liar;
#[cfg(test)]
mod meanwhile;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod withdrawn_tests;
