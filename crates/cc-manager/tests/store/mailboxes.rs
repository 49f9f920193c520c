//! Inbox and outbox: what is kept until it is settled.

use super::*;

#[test]
fn the_inbox_keeps_a_message_until_it_is_acknowledged() {
    let [mut alice, mut bob, _] = three();
    let wires = ["one", "two", "three"].map(|text| alice.manager.encrypt(text).unwrap());
    let ids = wires.each_ref().map(|wire| bob.manager.decrypt(wire).unwrap().id().unwrap());
    assert!(ids.is_sorted());
    bob.restart();
    let inbox = bob.manager.inbox().unwrap();
    assert_eq!(inbox.iter().map(|message| message.id().unwrap()).collect::<Vec<_>>(), ids);
    assert!(inbox.iter().all(|message| message.sender() == alice.manager.member_id()));
    assert_eq!(bob.texts(), ["one", "two", "three"]);
    // It was opened: what comes again is a replay.
    assert!(bob.manager.decrypt(&wires[1]).unwrap_err().is_rejected());
    bob.manager.acknowledge([ids[1]]).unwrap();
    bob.manager.acknowledge([ids[1], MessageId::from_u64(99)]).unwrap();
    bob.restart();
    assert_eq!(bob.texts(), ["one", "three"]);
    bob.manager.acknowledge([ids[0], ids[2]]).unwrap();
    bob.restart();
    assert!(bob.texts().is_empty());
    // Numbers are never given again.
    let wire = alice.manager.encrypt("four").unwrap();
    assert!(bob.manager.decrypt(&wire).unwrap().id().unwrap() > ids[2]);
}

#[test]
fn the_outbox_keeps_what_is_to_be_sent() {
    let [mut alice, mut bob, _] = three();
    let first = alice.manager.encrypt("one").unwrap();
    let second = alice.manager.encrypt("two").unwrap();
    let leave = alice.manager.leave().unwrap();
    alice.restart();
    let outbox = alice.manager.outbox().unwrap();
    for entry in &outbox {
        assert_eq!((entry.epoch, &entry.recipients), (Some(1), &Recipients::Everyone));
    }
    assert_eq!(outbox[2].kind, Kind::Proposal);
    let outbox = common::wires(outbox);
    assert_eq!(outbox, [first.clone(), second.clone(), leave.clone()]);
    assert_eq!(bob.manager.decrypt(&outbox[1]).unwrap(), "two");
    alice.manager.sent([&second]).unwrap();
    alice.restart();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), [first.clone(), leave.clone()]);
    alice.manager.sent([&first, &leave, &second]).unwrap();
    assert!(alice.manager.outbox().unwrap().is_empty());
}

#[test]
fn nothing_handed_out_is_forgotten_and_nothing_else_is_written() {
    let [mut alice, mut bob, _] = three();
    let before = (alice.commits(), bob.commits());
    let wire = alice.manager.encrypt("once").unwrap();
    bob.manager.decrypt(&wire).unwrap();
    assert_eq!((alice.commits(), bob.commits()), (before.0 + 1, before.1 + 1));
    assert!(bob.manager.decrypt(&wire).is_err());
    assert!(bob.manager.decrypt("noise").is_err());
    bob.manager.acknowledge(None).unwrap();
    assert_eq!(bob.commits(), before.1 + 1, "a refusal is not written");
}

#[test]
fn inbox_and_outbox_are_read_some_at_a_time() {
    let [mut alice, mut bob, _] = three();
    let texts: Vec<_> = (0..300).map(|n| format!("text {n}")).collect();
    let wires = alice.manager.encrypt_all(&texts).unwrap();
    bob.manager.receive_all(&wires).unwrap();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = bob.manager.inbox_after(after, 70).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() == 70 || read.len() + page.len() == 300);
        after = last.id();
        read.extend(page.iter().map(|message| message.as_str().unwrap().to_string()));
    }
    assert_eq!(read, texts);
    assert!(bob.manager.inbox_after(None, 0).unwrap().is_empty());
    let mut sent = Vec::new();
    loop {
        let page = alice.manager.outbox_first(70).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() == 70 || sent.len() + page.len() == 300);
        alice.manager.sent(&page).unwrap();
        sent.extend(page);
    }
    assert_eq!(common::wires(sent), wires);
    assert!(alice.manager.outbox_first(0).unwrap().is_empty());
}

#[test]
fn many_messages_are_one_commit() {
    let [mut alice, mut bob, mut charlie] = three();
    let before = (alice.commits(), bob.commits());
    let texts: Vec<_> = (0..50).map(|n| format!("text {n}")).collect();
    let mut wires = alice.manager.encrypt_all(&texts).unwrap();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires);
    wires.insert(7, b"noise".to_vec());
    let received: Vec<_> =
        bob.manager.receive_all(&wires).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!((alice.commits(), bob.commits()), (before.0 + 1, before.1 + 1));
    assert!(matches!(received[7], Incoming::Foreign(_)), "a version that there is not");
    let opened: Vec<_> = received.into_iter().filter_map(Incoming::into_message).collect();
    assert_eq!(opened.len(), 50);
    bob.restart();
    assert_eq!(bob.texts(), texts);
    let ids = opened.iter().filter_map(|message| message.id());
    bob.manager.acknowledge(ids).unwrap();
    alice.manager.sent(&wires).unwrap();
    assert!(bob.texts().is_empty() && alice.manager.outbox().unwrap().is_empty());
    // One by one is as good.
    for wire in wires.iter().filter(|wire| *wire != b"noise") {
        charlie.manager.decrypt(wire).unwrap();
    }
    assert_eq!(charlie.texts(), texts);
}

/// For who keeps them itself, in one transaction with what the manager writes.
#[test]
fn without_a_mailbox_nothing_is_kept_of_what_is_said() {
    let [mut alice, mut bob, _] = three();
    alice.manager.encrypt("before").unwrap();
    for person in [&mut alice, &mut bob] {
        person.manager.set_mailbox(false);
    }
    let wires = alice.manager.encrypt_all_with(["one", "two"], b"bound").unwrap();
    let leaves = alice.manager.leave().unwrap();
    assert_eq!(alice.manager.outbox().unwrap().len(), 1, "what was there");
    let before = bob.commits();
    for other in bob.manager.receive_all_with(&wires, b"other").unwrap() {
        assert!(matches!(other.unwrap(), Incoming::Forged(_)));
    }
    let received = bob.manager.receive_all_with(&wires, b"bound").unwrap();
    let opened: Vec<_> =
        received.into_iter().map(|it| it.unwrap().into_message().unwrap()).collect();
    assert!(opened[0] == "one" && opened[1] == "two");
    assert!(opened.iter().all(|message| message.id().is_none()));
    assert_eq!(bob.commits(), before + 1);
    assert!(matches!(bob.manager.receive(&leaves).unwrap(), Incoming::Proposal(_)));
    assert!(bob.manager.inbox().unwrap().is_empty());
    // The ratchets are where they were left, and a manager that is opened keeps a mailbox again.
    bob.restart();
    for again in bob.manager.receive_all_with(&wires, b"bound").unwrap() {
        assert!(matches!(again.unwrap(), Incoming::Duplicate));
    }
    bob.manager.receive(alice.manager.encrypt("kept").unwrap()).unwrap();
    assert_eq!(bob.texts(), ["kept"]);
}
