//! What messengers send: its encoding, and what a timeline makes of it in whatever order it comes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cc_client::{
    Applied, Attachment, Body, Content, ContentError, Forwarded, History, HistoryEntries,
    MemoryService, MessageRef, Now, OperationId, Position, Timeline, Upload, read_history,
    write_history,
};
use cc_core::MemberId;
use proptest::{prelude::*, sample::Index};

fn member(number: u8) -> MemberId {
    MemberId::from_bytes([number; 32])
}

fn operation(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn message(sender: u8, number: u8) -> MessageRef {
    MessageRef { sender: member(sender), message: operation(number) }
}

fn attachment() -> Attachment {
    let mut upload = Upload::new("a picture", "image/png").unwrap();
    upload.run(&mut MemoryService::new(), &[7; 100][..]).unwrap()
}

fn any_ref() -> impl Strategy<Value = MessageRef> {
    (0u8..3, 0u8..6).prop_map(|(sender, number)| message(sender, number))
}

fn forwarded() -> impl Strategy<Value = Forwarded> {
    (any_ref(), ".{0,20}", any::<u64>(), prop::collection::vec(any::<u8>(), 0..50)).prop_map(
        |(id, name, wall, content)| Forwarded {
            sender: id.sender,
            sender_name: name,
            message: id.message,
            wall,
            content,
        },
    )
}

/// What one item of a log brings.
#[derive(Debug, Clone)]
enum Said {
    Content(Content),
    PassedOn(Vec<Forwarded>),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        7 => content().prop_map(Said::Content),
        1 => prop::collection::vec(forwarded(), 0..3).prop_map(Said::PassedOn),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let text = || ".{0,20}".prop_map(String::from);
    prop_oneof![
        text().prop_map(Body::Text),
        (any_ref(), text()).prop_map(|(of, text)| Body::Edit { of, text }),
        any_ref().prop_map(|of| Body::Deletion { of }),
        (any_ref(), "[ab]", any::<bool>()).prop_map(|(to, reaction, withdrawn)| Body::Reaction {
            to,
            reaction,
            withdrawn
        }),
        (any_ref(), text()).prop_map(|(to, text)| Body::Reply { to, text }),
        text().prop_map(|text| Body::Attachment { attachment: attachment(), text }),
        (text(), prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(name, bytes)| Body::Custom { name, bytes }),
        (9u16.., prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(kind, bytes)| Body::Unsupported { kind, bytes }),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    (body(), prop::option::of(any::<u32>()))
        .prop_map(|(body, disappears_after)| Content { disappears_after, body })
}

proptest! {
    #[test]
    fn content_has_one_encoding(content in content(), cut in any::<Index>()) {
        let bytes = content.encode().unwrap();
        prop_assert_eq!(&Content::decode(&bytes).unwrap(), &content);
        prop_assert!(Content::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(Content::decode(&longer).is_err());
        let mut later = bytes;
        later[0] = 2;
        prop_assert_eq!(Content::decode(&later), Err(ContentError::Unsupported));
    }

    #[test]
    fn history_has_one_encoding(
        entries in prop::collection::vec(forwarded(), 0..4),
        to in 0usize..3,
        attached in any::<bool>(),
        cut in any::<Index>(),
    ) {
        let entries = if attached {
            HistoryEntries::Attached(attachment())
        } else {
            HistoryEntries::Here(entries)
        };
        let history = History { to: (1..).map(member).take(to).collect(), entries };
        let bytes = history.encode().unwrap();
        prop_assert_eq!(&History::decode(&bytes).unwrap(), &history);
        prop_assert!(History::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(History::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u16..12) {
        let _any = (Content::decode(&bytes), History::decode(&bytes));
        let length = u8::try_from(bytes.len().min(63)).unwrap();
        let framed = [&[1, 0][..], &kind.to_be_bytes(), &[length], &bytes[..length.into()]].concat();
        if let Ok(content) = Content::decode(&framed) {
            prop_assert_eq!(content.encode().unwrap(), framed);
        }
    }

    /// The heart of it: whatever the order in which contents come, and however often, the timeline is the
    /// same.
    #[test]
    fn any_order_of_arrival_gives_one_timeline(
        contents in prop::collection::vec((0u8..3, 0u8..6, said()), 0..24),
        order in prop::collection::vec((any::<Index>(), any::<Index>()), 0..40),
        again in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut items: Vec<_> = (1..)
            .zip(contents)
            .map(|(at, (sender, number, content))| (message(sender, number), Position(at), content))
            .collect();
        let build = |items: &[(MessageRef, Position, Said)]| {
            let mut timeline = Timeline::new();
            for (id, position, said) in items {
                match said.clone() {
                    Said::Content(content) => timeline.add(*id, Some(*position), content),
                    Said::PassedOn(entries) => {
                        timeline.add_forwarded(*id, Some(*position), entries)
                    }
                };
            }
            timeline
        };
        let expected = build(&items);
        if !items.is_empty() {
            for (a, b) in order {
                let (a, b) = (a.index(items.len()), b.index(items.len()));
                items.swap(a, b);
            }
            for again in again {
                items.push(items[again.index(items.len())].clone());
            }
        }
        let timeline = build(&items);
        prop_assert!(timeline.messages().eq(expected.messages()));
        prop_assert!(timeline.forwarded().eq(expected.forwarded()));
        prop_assert_eq!(&timeline, &expected);
        // And time does the same to both.
        let (mut timeline, mut expected) = (timeline, expected);
        for timeline in [&mut timeline, &mut expected] {
            let ids: Vec<_> = timeline.messages().map(|shown| shown.id).collect();
            for id in ids {
                timeline.read(&id, Now { wall: 0, mono: 0 });
            }
        }
        let half = Now { wall: u64::from(u32::MAX) * 500, mono: 0 };
        prop_assert_eq!(timeline.expire(half), expected.expire(half));
        prop_assert_eq!(timeline, expected);
    }

    #[test]
    fn histories_of_any_length_are_read_back(entries in prop::collection::vec(forwarded(), 0..20), cut in any::<Index>()) {
        let mut bytes = Vec::new();
        write_history(&entries, &mut bytes).unwrap();
        let read: Result<Vec<_>, _> = read_history(&bytes[..]).collect();
        prop_assert_eq!(read.unwrap(), entries.clone());
        if !bytes.is_empty() {
            let cut = &bytes[..cut.index(bytes.len())];
            let read: Vec<_> = read_history(cut).collect();
            // As many as are whole, and an error at most once.
            let good = read.iter().take_while(|entry| entry.is_ok()).count();
            prop_assert!(read.len() - good <= 1);
            prop_assert!(good <= entries.len());
            for (read, entry) in read.iter().zip(&entries).take(good) {
                prop_assert_eq!(read.as_ref().unwrap(), entry);
            }
        }
    }
}

#[test]
fn too_long_is_refused_on_both_sides() {
    let to = message(1, 1);
    let long = Body::Reaction { to, reaction: "x".repeat(65), withdrawn: false };
    assert_eq!(Content::new(long).encode(), Err(ContentError::TooLong));
    let long = Body::Custom { name: "x".repeat(256), bytes: Vec::new() };
    assert_eq!(Content::new(long).encode(), Err(ContentError::TooLong));
}

fn texts(timeline: &Timeline) -> Vec<Option<&str>> {
    timeline.messages().map(|shown| shown.text).collect()
}

#[test]
fn only_the_sender_edits_and_deletes() {
    let mut timeline = Timeline::new();
    let of = message(1, 1);
    timeline.add(of, Some(Position(1)), Content::text("one"));
    let edit = |text: &str| Content::new(Body::Edit { of, text: text.into() });
    let foreign = timeline.add(message(2, 2), Some(Position(2)), edit("two"));
    assert_eq!(foreign, Applied::Refused);
    let foreign =
        timeline.add(message(2, 3), Some(Position(3)), Content::new(Body::Deletion { of }));
    assert_eq!(foreign, Applied::Refused);
    assert_eq!(texts(&timeline), [Some("one")]);
    assert_eq!(timeline.add(message(1, 4), Some(Position(4)), edit("three")), Applied::Changed(of));
    assert_eq!(texts(&timeline), [Some("three")]);
    assert!(timeline.get(&of).unwrap().edited);
    // An earlier edit that comes later.
    assert_eq!(timeline.add(message(1, 5), Some(Position(3)), edit("old")), Applied::Nothing);
    assert_eq!(texts(&timeline), [Some("three")]);
    timeline.add(message(1, 6), Some(Position(6)), Content::new(Body::Deletion { of }));
    assert_eq!(timeline.get(&of).unwrap().body, None);
    assert_eq!(timeline.add(message(1, 7), Some(Position(7)), edit("back")), Applied::Nothing);
    assert_eq!(texts(&timeline), [None]);
    assert!(!format!("{timeline:?}").contains("three"), "nothing of it is kept");
}

#[test]
fn an_edit_may_come_before_its_message() {
    let mut timeline = Timeline::new();
    let of = message(1, 1);
    let edit = Content::new(Body::Edit { of, text: "two".into() });
    assert_eq!(timeline.add(message(1, 2), Some(Position(2)), edit), Applied::Waits(of));
    assert_eq!(timeline.messages().count(), 0);
    assert_eq!(timeline.add(of, Some(Position(1)), Content::text("one")), Applied::Shown);
    assert_eq!(texts(&timeline), [Some("two")]);
}

#[test]
fn timers_run_from_reading() {
    let mut timeline = Timeline::new();
    let [timed, other, unread] = [1, 2, 3].map(|number| message(1, number));
    timeline.add(timed, Some(Position(1)), Content::text("gone soon").disappearing_after(60));
    timeline.add(other, Some(Position(2)), Content::text("stays"));
    timeline.add(unread, Some(Position(3)), Content::text("unread").disappearing_after(60));
    let at = |wall| Now { wall, mono: 0 };
    assert_eq!(timeline.next_expiry(), None);
    assert!(timeline.read(&timed, at(1_000)) && timeline.read(&other, at(1_000)));
    // Read again, or by a clock that went back: the first moment counts.
    timeline.read(&timed, at(50_000));
    assert_eq!(timeline.next_expiry(), Some(61_000));
    assert_eq!(timeline.expire(at(60_999)), []);
    assert_eq!(timeline.expire(at(61_000)), [timed]);
    assert_eq!(texts(&timeline), [Some("stays"), Some("unread")]);
    assert!(!format!("{timeline:?}").contains("gone soon"));
    // It does not come back.
    let again = timeline.add(timed, Some(Position(1)), Content::text("gone soon"));
    assert_eq!((again, timeline.messages().count()), (Applied::Nothing, 2));
    assert!(!timeline.read(&message(9, 9), at(0)));
}

#[test]
fn what_is_under_way_comes_last_until_the_log_has_it() {
    let mut timeline = Timeline::new();
    let own = message(1, 1);
    timeline.add(own, None, Content::text("mine"));
    timeline.add(message(2, 2), Some(Position(9)), Content::text("theirs"));
    assert_eq!(texts(&timeline), [Some("theirs"), Some("mine")]);
    let edit = Content::new(Body::Edit { of: own, text: "edited".into() });
    timeline.add(message(1, 3), None, edit.clone());
    let settled = timeline.add(own, Some(Position(8)), Content::text("mine"));
    assert_eq!(settled, Applied::Changed(own));
    timeline.add(message(1, 3), Some(Position(10)), edit);
    assert_eq!(texts(&timeline), [Some("edited"), Some("theirs")]);
    let later = Content::new(Body::Edit { of: own, text: "later".into() });
    timeline.add(message(1, 4), Some(Position(11)), later);
    assert_eq!(texts(&timeline), [Some("later"), Some("theirs")]);
}

#[test]
fn what_never_comes_takes_no_memory_without_end() {
    let mut timeline = Timeline::new();
    for at in 0..20_000u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.to_be_bytes());
        let to = MessageRef { sender: member(1), message: OperationId::from_bytes(id) };
        let body = Body::Reaction { to, reaction: "!".into(), withdrawn: false };
        timeline.add(message(2, 2), Some(Position(at)), Content::new(body));
    }
    assert!(format!("{timeline:?}").len() < 4096 * 1024);
}

/// A group of three: Carol shows Dora, who comes later, what was said, and some of it never was.
/// The worked example of docs/client-wire-format.md.
#[test]
fn the_documented_bytes() {
    let of = message(1, 2);
    let content = Content::new(Body::Edit { of, text: "hi".into() }).disappearing_after(60);
    let expected = [
        &[1][..],          // version
        &[1, 0, 0, 0, 60], // disappears after a minute
        &[0, 2],           // an edit
        &[51],             // the length of the body
        &[1; 32],          // of a message of this sender
        &[2; 16],          // with this name
        &[2, b'h', b'i'],
    ]
    .concat();
    assert_eq!(content.encode().unwrap(), expected);
}
