//! What a save writes for a message, whatever the size of the group.

use super::{pairwise::strangers, *};

/// Records, and bytes of their names and values.
type Written = (usize, usize);

/// What sending and receiving the first message writes in a group of so many, and all there is.
fn in_group(members: usize) -> [Written; 3] {
    let (mut alice, mut bob) = (person(true), person(false));
    let mut packages = vec![(bob.id, bob.package())];
    for _ in 2..members {
        // The others say nothing.
        let mut other = person(false);
        packages.push((other.id, other.package()));
    }
    let change = alice.try_stage(&packages, &[], 1).unwrap();
    alice.confirm();
    bob.join(&change.welcome, 1).unwrap();
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    let stored = alice.stored();
    let len = stored.iter().map(|(name, value)| name.len() + value.len()).sum();
    [alice.written, bob.written, (stored.len(), len)]
}

#[test]
fn a_message_writes_the_same_in_any_group() {
    let [two, many] = [2, 100].map(in_group);
    std::println!("in a group of 2: {two:?}, of 100: {many:?}");
    assert_eq!(two[..2], many[..2]);
    let [(sent, sent_bytes), (received, received_bytes), _] = many;
    assert_eq!((sent, received), (1, 1));
    assert!(sent_bytes < 100 && received_bytes < 150, "{many:?}");
    assert!(many[2].1 > 100 * 1900);
}

#[test]
fn late_messages_and_gaps() {
    let [mut alice, mut bob, mut charlie] = three();
    for _ in 0..5 {
        all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    }
    let wires: Vec<_> = (0..1000).map(|_| seal(&mut alice.layer, b"x").unwrap()).collect();
    bob.open(&wires[999]).unwrap();
    let (records, bytes) = bob.written;
    std::println!("after a gap of 999: {:?}", bob.written);
    assert!(records <= 34 && bytes < 38 * 1000, "{:?}", bob.written);
    for late in [500, 3] {
        bob.open(&wires[late]).unwrap();
        assert!(bob.written.0 == 2 && bob.written.1 < 1500, "{:?}", bob.written);
    }
    // With all those keys there, the next message writes no more than ever.
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    assert!(bob.written.0 == 1 && bob.written.1 < 150, "{:?}", bob.written);
}

#[test]
fn in_a_pair() {
    let (alice, bob) = strangers();
    let (mut alice, mut bob) = (Kept::new(alice), Kept::new(bob));
    let mut sizes = Vec::new();
    // An exchange of post-quantum keys, and more.
    for _ in 0..100 {
        let wire = alice.seal(b"x");
        bob.open_kept(&wire).unwrap();
        sizes.push((alice.written, bob.written));
        let wire = bob.seal(b"x");
        alice.open_kept(&wire).unwrap();
    }
    let mean =
        |of: fn(&(Written, Written)) -> usize| sizes.iter().map(of).sum::<usize>() / sizes.len();
    let (sent, received) = (mean(|(sent, _)| sent.1), mean(|(_, received)| received.1));
    let most = sizes.iter().map(|(sent, received)| sent.1.max(received.1)).max().unwrap();
    std::println!("in a pair, sent {sent} and received {received} bytes in the mean, most {most}");
    // A new epoch has a record of its own.
    assert!(sizes.iter().all(|(sent, _)| sent.0 <= 2), "{sizes:?}");
    assert!(sent < 900 && received < 1300 && most < 3000, "{sizes:?}");
    let wires: Vec<_> = (0..1000).map(|_| seal(&mut alice.layer, b"x").unwrap()).collect();
    bob.open_kept(&wires[999]).unwrap();
    std::println!("after a gap of 999: {:?}", bob.written);
    bob.open_kept(&wires[700]).unwrap();
    std::println!("for a late message: {:?}", bob.written);
    assert!(bob.written.0 <= 4 && bob.written.1 < 4000, "{:?}", bob.written);
    let wire = alice.seal(b"x");
    bob.open_kept(&wire).unwrap();
    assert!(bob.written.0 <= 3 && bob.written.1 < 1300, "{:?}", bob.written);
    let stored: usize = alice.stored().iter().map(|(name, value)| name.len() + value.len()).sum();
    std::println!("in a store: {stored} bytes");
    assert!(stored < 5000, "{stored}");
}
