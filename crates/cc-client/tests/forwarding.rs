//! History for newcomers, by a member's choice: always marked with who passed it on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Body, Command, Content, Download, Event, Fault, Forwarded, GroupId, HISTORY_MEDIA_TYPE,
    History, HistoryEntries, MemoryService, MessageRef, OperationId, Timeline, Upload,
    read_history, write_history,
};
use cc_core::MemberId;
use common::{Person, group_of, settle};

fn text(text: &str) -> Vec<u8> {
    Content::text(text).encode().unwrap()
}

fn entry(sender: MemberId, message: OperationId, content: Vec<u8>) -> Forwarded {
    Forwarded { sender, sender_name: "said".into(), message, wall: 1_790_000_000_000, content }
}

fn numbered(sender: MemberId, count: u32) -> Vec<Forwarded> {
    let entry = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        entry(sender, OperationId::from_bytes(id), number.to_string().into_bytes())
    };
    (0..count).map(entry).collect()
}

/// Who passed what on, as somebody was told it.
fn passed_on(person: &Person) -> Vec<(MemberId, Forwarded)> {
    let mut told = Vec::new();
    for event in &person.events {
        if let Event::Forwarded { by, entries: HistoryEntries::Here(entries), .. } = event {
            told.extend(entries.iter().map(|entry| (by.id, entry.clone())));
        }
    }
    told
}

/// Alice and Carol have talked, and Dora has come.
fn newcomer(service: &mut MemoryService) -> ([Person; 3], GroupId, OperationId) {
    let [mut alice, mut carol, mut dora] = ["Alice", "Carol", "Dora"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut carol], service);
    let said = alice.client.send(group, text("before Dora")).unwrap();
    settle(&mut [&mut alice, &mut carol], service);
    let package = dora.client.key_packages(dora.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [&mut alice, &mut carol, &mut dora], service);
    assert_eq!(dora.read(&group), [], "a newcomer reads nothing older");
    ([alice, carol, dora], group, said)
}

#[test]
fn history_is_marked_with_who_passed_it_on() {
    let mut service = MemoryService::new();
    let ([mut alice, mut carol, mut dora], group, said) = newcomer(&mut service);
    let [alices, carols, doras] = [&alice, &carol, &dora].map(|person| person.client.me().id);
    // One that Alice did send, and one that Carol makes up.
    let lie = OperationId::random().unwrap();
    let entries =
        vec![entry(alices, said, text("before Dora")), entry(alices, lie, text("I owe Carol"))];
    // As an attachment as well, as a long history would be.
    let mut file = Vec::new();
    write_history(&entries, &mut file).unwrap();
    let mut upload = Upload::new("history", HISTORY_MEDIA_TYPE).unwrap();
    let attached = HistoryEntries::Attached(upload.run(&mut service, &file[..]).unwrap());
    let id = OperationId::random().unwrap();
    let shared = carol.client.share_history(id, group, &[doras], entries.clone()).unwrap();
    assert_eq!(shared.len(), 1);
    let history = History { to: vec![doras], entries: attached };
    let command = Command::ShareHistory { group, history };
    carol.client.submit(OperationId::random().unwrap(), command).unwrap();
    alice.client.send(group, text("after Dora")).unwrap();
    let everybody = &mut [&mut alice, &mut carol, &mut dora];
    settle(everybody, &mut service);

    // Nothing of it is a message, and Alice, who was there, is not told.
    let read: Vec<_> = dora.read(&group).into_iter().map(|(from, _)| from).collect();
    assert_eq!(read, ["Alice"]);
    assert_eq!(passed_on(&alice), []);
    let told = passed_on(&dora);
    assert_eq!(told.len(), 2);
    let mut timeline = Timeline::new();
    let mut forwards = 0;
    for event in &dora.events {
        match event {
            Event::Message { from, message, position, content, .. } => {
                let id = MessageRef { sender: from.id, message: *message };
                timeline.add(id, Some(*position), Content::decode(content).unwrap());
            }
            Event::Forwarded { group: at, by, message, position, entries } => {
                assert_eq!((*at, by.id, by.name.as_deref()), (group, carols, Some("Carol")));
                let entries = match entries {
                    HistoryEntries::Here(entries) => entries.clone(),
                    HistoryEntries::Attached(attachment) => {
                        assert_eq!(attachment.media_type(), HISTORY_MEDIA_TYPE);
                        let mut file = Vec::new();
                        Download::new(attachment.clone()).run(&mut service, &mut file).unwrap();
                        read_history(&file[..]).collect::<Result<_, _>>().unwrap()
                    }
                };
                let id = MessageRef { sender: by.id, message: *message };
                timeline.add_forwarded(id, Some(*position), entries);
                forwards += 1;
            }
            _ => {}
        }
    }
    assert_eq!(forwards, 2);
    let texts: Vec<_> = timeline.messages().map(|shown| shown.text).collect();
    assert_eq!(texts, [Some("after Dora")], "nothing passed on is among the messages");
    // Passed on twice, it is there once; and it is Carol who says so, the lie too.
    let passed_on: Vec<_> = timeline.forwarded().collect();
    assert_eq!(passed_on.len(), 2);
    for (by, entry) in passed_on {
        assert_eq!((by, entry.sender), (carols, alices));
    }
    for (by, entry) in told {
        assert_eq!((by, entry.sender, entry.sender_name.as_str()), (carols, alices, "Alice"));
    }
    // Alice deletes what she did say: it goes.
    let of = MessageRef { sender: alices, message: said };
    let deletion = Content::new(Body::Deletion { of });
    let id = MessageRef { sender: alices, message: OperationId::random().unwrap() };
    timeline.add(id, None, deletion);
    assert_eq!(timeline.forwarded().count(), 1);
}

#[test]
fn a_share_that_is_broken_off_anywhere_comes_once_and_in_order() {
    let mut service = MemoryService::new();
    let ([mut alice, mut carol, mut dora], group, _) = newcomer(&mut service);
    let [carols, doras] = [&carol, &dora].map(|person| person.client.me().id);
    let stranger = MemberId::from_bytes([9; 32]);
    let entries = numbered(stranger, 2_500);
    let id = OperationId::random().unwrap();
    let ids = carol.client.share_history(id, group, &[doras], entries.clone()).unwrap();
    assert_eq!(ids.len(), 3);
    // Killed before and behind each request and answer; and asked again, for nobody knows whether it was done.
    for _ in 0..80 {
        carol.restart();
        let again = carol.client.share_history(id, group, &[doras], entries.clone()).unwrap();
        assert_eq!(again, ids);
        if let Some(request) = carol.client.poll_request(carol.now).unwrap() {
            let result = request.perform(&mut service);
            if carol.now.wall % 2 == 0 {
                let id = request.id;
                let input = cc_client::Input::Response { id, result };
                let _ledger = carol.client.handle(carol.now, input).unwrap();
            }
        }
        carol.now.wall += 1;
    }
    carol.client.send(group, "all was passed on").unwrap();
    settle(&mut [&mut alice, &mut carol, &mut dora], &mut service);
    let expected: Vec<_> = entries.into_iter().map(|entry| (carols, entry)).collect();
    assert_eq!(passed_on(&dora), expected);
    assert_eq!(dora.read(&group).len(), 1);
    // Who gets it may be killed as well.
    let id = OperationId::random().unwrap();
    carol.client.share_history(id, group, &[], numbered(stranger, 2_000)).unwrap();
    settle(&mut [&mut carol], &mut service);
    dora.events.clear();
    for _ in 0..50 {
        dora.step(&mut service);
        dora.restart();
    }
    settle(&mut [&mut alice, &mut dora], &mut service);
    assert_eq!(passed_on(&dora).len(), 2_000);
    assert_eq!(passed_on(&alice).len(), 2_000, "for all");
}

#[test]
fn a_share_is_bounded_and_for_members() {
    let mut service = MemoryService::new();
    let ([_, mut carol, mut dora], group, said) = newcomer(&mut service);
    let [carols, doras] = [&carol, &dora].map(|person| person.client.me().id);
    let mut share = |to: &[MemberId], entries| {
        carol.client.share_history(OperationId::random().unwrap(), group, to, entries)
    };
    // One that is too long, among others: none goes.
    let mut long = numbered(carols, 3_000);
    long[2_999].content = vec![7; 4 << 20];
    assert!(matches!(share(&[doras], long), Err(Fault::TooLong)));
    let mut long = numbered(carols, 1);
    long[0].sender_name = "x".repeat(256);
    assert!(matches!(share(&[doras], long), Err(Fault::TooLong)));
    let nobody = MemberId::from_bytes([9; 32]);
    let entries = numbered(carols, 1);
    let refused = share(&[doras, nobody], entries.clone());
    assert!(matches!(refused, Err(Fault::NoSuchDevice(member)) if member == nobody));
    assert!(share(&[doras], Vec::new()).unwrap().is_empty());
    // Large ones go in several.
    let large = (0..3).map(|_| entry(carols, said, vec![7; 700_000])).collect();
    assert_eq!(share(&[doras], large).unwrap().len(), 3);
    settle(&mut [&mut carol, &mut dora], &mut service);
    assert_eq!(passed_on(&dora).len(), 3);
    // Not by who is no member, and nothing after a removal.
    let entries_of = |entries: &[Forwarded]| entries.to_vec();
    let remove = Command::Remove { group, members: vec![doras] };
    carol.client.submit(OperationId::random().unwrap(), remove).unwrap();
    settle(&mut [&mut carol, &mut dora], &mut service);
    let id = OperationId::random().unwrap();
    let refused = dora.client.share_history(id, group, &[], entries_of(&entries));
    assert!(matches!(refused, Err(Fault::NotAMember(_))));
    let refused = carol.client.share_history(id, group, &[doras], entries);
    assert!(matches!(refused, Err(Fault::NoSuchDevice(_))));
}
