//! A conversation for tests and pictures: the same each time.

use cc_client::{Attachment, Content, GroupId, OperationId, PersonId, Position, Trust};
use cc_core::MemberId;

use super::{
    app::App,
    order::{GroupRow, MemberRow, Report},
};
use crate::talk::{
    journal::{Entry, LayerLine, Message, MessageState, What, Who},
    session::Connection,
};

pub(crate) const GROUP: GroupId = GroupId::from_bytes([1; 32]);
pub(crate) const ALICE: MemberId = MemberId::from_bytes([2; 32]);
pub(crate) const BOB: MemberId = MemberId::from_bytes([3; 32]);
pub(crate) const CAROL: MemberId = MemberId::from_bytes([4; 32]);

/// 2026-11-26, 18:00 UTC.
pub(crate) const NOW: u64 = 1_795_716_000_000;

/// Alice's screen, in a group with Bob.
pub(crate) fn app() -> App {
    let mut app = App::new(NOW);
    app.report(Report::Ready {
        me: "Alice".into(),
        device: ALICE,
        relay: "https://relay.example".into(),
        link: "cascade:https://relay.example#AQ".into(),
    });
    app.report(Report::Connection(Connection::Following));
    app.report(Report::Groups(vec![group(GROUP, "Dev Team", 0, 2)]));
    app.report(Report::Members(GROUP, vec![member(ALICE, "Alice"), member(BOB, "Bob")]));
    app.take_orders();
    app
}

pub(crate) fn group(id: GroupId, title: &str, unread: u64, members: usize) -> GroupRow {
    GroupRow { id, title: title.into(), unread, members, member: true }
}

pub(crate) fn member(device: MemberId, name: &str) -> MemberRow {
    MemberRow {
        device,
        person: Some(PersonId::from_bytes(*device.as_bytes())),
        name: name.into(),
        device_name: None,
        trust: Some(Trust::Pinned),
        mine: device == ALICE,
    }
}

pub(crate) fn who(device: MemberId, name: &str) -> Who {
    Who {
        device: *device.as_bytes(),
        person: Some(PersonId::from_bytes(*device.as_bytes())),
        name: name.into(),
    }
}

fn name(device: MemberId) -> &'static str {
    match device {
        ALICE => "Alice",
        BOB => "Bob",
        _ => "Carol",
    }
}

pub(crate) fn operation(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    OperationId::from_bytes(bytes)
}

pub(crate) fn entry(number: u64, what: What) -> Entry {
    Entry { number, at: NOW + number * 47_000, group: Some(GROUP), what }
}

pub(crate) fn message(
    number: u64,
    from: MemberId,
    position: Option<u64>,
    content: Content,
) -> Entry {
    let layer = |name: &str, bytes_in, bytes_out, time| LayerLine {
        name: name.into(),
        version: 1,
        bytes_in,
        bytes_out,
        microseconds: Some(time),
    };
    let layers =
        vec![layer("aes", 21, 85, 9), layer("dh", 85, 162, 31), layer("mls", 162, 480, 240)];
    let state = position.map_or(MessageState::Waiting, |at| MessageState::Sent(Position(at)));
    let content = content.encode().unwrap();
    let (from, mine) = (who(from, name(from)), from == ALICE);
    let id = operation(number);
    entry(number, What::Message(Message::new(from, mine, id, state, content, layers)))
}

pub(crate) fn text(number: u64, from: MemberId, position: Option<u64>, text: &str) -> Entry {
    message(number, from, position, Content::text(text))
}

/// An attachment of this name that is nowhere.
pub(crate) fn attachment(name: &str) -> Attachment {
    use cc_client::{MemoryService, Upload};
    let mut upload = Upload::new(name.to_owned(), "image/png").unwrap();
    upload.run(&mut MemoryService::new(), &b"picture"[..]).unwrap()
}
