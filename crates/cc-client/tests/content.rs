//! What messengers send: its encoding, and what a timeline makes of it in whatever order it comes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Applied, Attachment, Body, Content, ContentError, Event, Forwarded, HISTORY_MEDIA_TYPE,
    History, HistoryEntries, MemoryService, MessageRef, Now, OperationId, Position, Timeline,
    Upload, Verdict, read_history, write_history,
};
use cc_core::MemberId;
use common::{Person, group_of, settle};
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
        (prop::collection::vec(forwarded(), 0..3), 0usize..3).prop_map(|(entries, to)| {
            let to = (1..).map(member).take(to).collect();
            Body::History(History { to, entries: HistoryEntries::Here(entries) })
        }),
        Just(()).prop_map(|()| {
            let entries = HistoryEntries::Attached(attachment());
            Body::History(History { to: Vec::new(), entries })
        }),
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
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u16..12) {
        let _any = Content::decode(&bytes);
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
        contents in prop::collection::vec((0u8..3, 0u8..6, content()), 0..24),
        order in prop::collection::vec((any::<Index>(), any::<Index>()), 0..40),
        again in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let mut items: Vec<_> = (1..)
            .zip(contents)
            .map(|(at, (sender, number, content))| (message(sender, number), Position(at), content))
            .collect();
        let build = |items: &[(MessageRef, Position, Content)]| {
            let mut timeline = Timeline::new();
            for (id, position, content) in items {
                timeline.add(*id, Some(*position), content.clone());
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
    let entry = Forwarded {
        sender: member(1),
        sender_name: String::new(),
        message: operation(1),
        wall: 0,
        content: Vec::new(),
    };
    let entries = HistoryEntries::Here(vec![entry; 1025]);
    let many = Body::History(History { to: Vec::new(), entries });
    assert_eq!(Content::new(many).encode(), Err(ContentError::TooLong));
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
#[test]
fn history_is_marked_with_who_passed_it_on() {
    let mut service = MemoryService::new();
    let [mut alice, mut carol, mut dora] = ["Alice", "Carol", "Dora"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut carol], &mut service);
    let text = Content::text("before Dora").encode().unwrap();
    let said = alice.client.send(group, &text).unwrap();
    settle(&mut [&mut alice, &mut carol], &mut service);
    let package = dora.client.key_packages(dora.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [&mut alice, &mut carol, &mut dora], &mut service);
    assert_eq!(dora.read(&group), [], "a newcomer reads nothing older");

    let entry = |message, text: &str| Forwarded {
        sender: alice.client.me().id,
        sender_name: "Alice".into(),
        message,
        wall: carol.now.wall,
        content: Content::text(text).encode().unwrap(),
    };
    let entries =
        [entry(said, "before Dora"), entry(OperationId::random().unwrap(), "I owe Carol")];
    // As an attachment, as a long history would be.
    let mut file = Vec::new();
    write_history(&entries, &mut file).unwrap();
    let mut upload = Upload::new("history", HISTORY_MEDIA_TYPE).unwrap();
    let attached = HistoryEntries::Attached(upload.run(&mut service, &file[..]).unwrap());
    for entries in [HistoryEntries::Here(entries.to_vec()), attached] {
        let history = Body::History(History { to: vec![dora.client.me().id], entries });
        carol.client.send(group, Content::new(history).encode().unwrap()).unwrap();
    }
    alice.client.send(group, Content::text("after Dora").encode().unwrap()).unwrap();
    settle(&mut [&mut alice, &mut carol, &mut dora], &mut service);

    let mut timeline = Timeline::new();
    for event in &dora.events {
        let Event::Message { from, message, position, content, .. } = event else { continue };
        let id = MessageRef { sender: from.id, message: *message };
        let mut content = Content::decode(content).unwrap();
        if let Body::History(history) = &mut content.body
            && let HistoryEntries::Attached(attachment) = &history.entries
        {
            assert_eq!(attachment.media_type(), HISTORY_MEDIA_TYPE);
            let mut file = Vec::new();
            cc_client::Download::new(attachment.clone()).run(&mut service, &mut file).unwrap();
            let entries: Result<Vec<_>, _> = read_history(&file[..]).collect();
            history.entries = HistoryEntries::Here(entries.unwrap());
        }
        timeline.add(id, Some(*position), content);
    }
    assert_eq!(texts(&timeline), [Some("after Dora")], "nothing passed on is among the messages");
    let passed_on: Vec<_> = timeline.forwarded().collect();
    assert_eq!(passed_on.len(), 4);
    for (by, entry) in passed_on {
        assert_eq!(by, carol.client.me().id, "the one who says so");
        assert_eq!(entry.sender, alice.client.me().id);
    }
    // Alice deletes what she did say: it goes.
    let of = MessageRef { sender: alice.client.me().id, message: said };
    let deletion = alice.client.send(group, Content::new(Body::Deletion { of }).encode().unwrap());
    settle(&mut [&mut alice, &mut carol, &mut dora], &mut service);
    let Some(Event::Message { message, position, content, from, .. }) = dora.events.last() else {
        panic!("{:?}", dora.events.last())
    };
    let id = MessageRef { sender: from.id, message: *message };
    timeline.add(id, Some(*position), Content::decode(content).unwrap());
    assert_eq!(timeline.forwarded().count(), 2);
    // The position of one's own, for one's own timeline.
    let settled = alice.events.iter().find_map(|event| match event {
        Event::Settled { operation, verdict: Verdict::Done(at) }
            if Some(*operation) == deletion.as_ref().ok().copied() =>
        {
            Some(*at)
        }
        _ => None,
    });
    assert_eq!(settled, Some(*position));
}

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
