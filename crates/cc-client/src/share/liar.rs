//! Members who pass on what is none, or what nobody wrote.

use cc_core::{MemberId, Opaque};
use tls_codec::SerializeBytes as _;

use crate::{
    Event, Fate, Forwarded, History, HistoryEntries, OperationId,
    frame::{Content, Frame},
    testing::{Stage, client, events},
};

fn entry(sender: MemberId, content: &[u8]) -> Forwarded {
    let (sender_name, message) = ("Somebody else".to_owned(), OperationId::random().unwrap());
    Forwarded { sender, sender_name, message, wall: 0, content: content.to_vec() }
}

fn frame(number: u64, bytes: Vec<u8>) -> Frame {
    Frame::History(Content { number, id: OperationId::random().unwrap(), bytes: Opaque(bytes) })
}

#[test]
fn what_is_no_history_is_refused_and_the_next_one_is_read() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    events(&mut alice);
    let author = bob.identity.id;
    let good = History { to: Vec::new(), entries: HistoryEntries::Here(vec![entry(author, b"x")]) };
    let good = good.encode().unwrap();
    // One entry more than may be, one byte more, a name that is none, another kind, and parts.
    let many = {
        let entries = vec![entry(author, b"x"); super::MAX_ENTRIES];
        let history = History { to: Vec::new(), entries: HistoryEntries::Here(entries) };
        let bytes = history.encode().unwrap();
        // Behind an empty list of members, the kind, and the length of the entries.
        let all = [&bytes[6..], &good[4..]].concat();
        [&[0, 1][..], &Opaque(all).tls_serialize_bytes().unwrap()].concat()
    };
    let long = {
        let entries = vec![entry(author, &vec![7; 5 << 20])];
        let history = History { to: Vec::new(), entries: HistoryEntries::Here(entries) };
        assert_eq!(history.encode(), Err(crate::ContentError::TooLong));
        vec![0; 5 << 20]
    };
    let mut unnamed = good.clone();
    let at = unnamed.windows(4).position(|window| window == b"Some").unwrap();
    unnamed[at] = 0xff;
    let mut unknown = good.clone();
    unknown[1] = 9;
    let longer = [&good[..], &[0]].concat();
    let mut number = 1 << 60;
    for bytes in [many, long, unnamed, unknown, longer, good[..good.len() - 1].to_vec(), vec![]] {
        number += 1;
        let frame = frame(number, bytes);
        let fates = stage.say(&mut mallory, &group, &frame, &mut [&mut alice]);
        assert_eq!(fates, [Fate::Malformed]);
        assert_eq!(events(&mut alice), []);
    }
    // The number of what was refused is not used up, and a second copy is known by it.
    let fates = stage.say(&mut mallory, &group, &frame(number, good.clone()), &mut [&mut alice]);
    assert_eq!(fates, [Fate::Message]);
    let again = stage.say(&mut mallory, &group, &frame(number, good), &mut [&mut alice]);
    assert_eq!(again, [Fate::Duplicate]);
    let told = events(&mut alice);
    let [Event::Forwarded { by, entries: HistoryEntries::Here(entries), .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((by.id, by.name.as_deref()), (mallory.identity.id, Some("Mallory")));
    // Who is known is not called otherwise by others.
    assert_eq!((entries[0].sender, entries[0].sender_name.as_str()), (author, "Bob"));
}
