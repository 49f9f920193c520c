//! Several devices of one person, and a move to another one.

use crate::common::talk::{Person, Relay};

#[test]
fn a_second_device_and_a_move_to_another_one() {
    let relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    let laptop = Person::new("Laptop", &relay);
    alice.found("Friends", &[&bob]);
    // A second device of Bob's.
    let offer = laptop.path("laptop.offer");
    let offer = offer.to_str().unwrap();
    laptop.run(&["device", "offer", offer]);
    laptop.fail(1, &["device", "offer", offer]);
    bob.fail(1, &["device", "add", "no-such-file"]);
    bob.run(&["device", "add", offer]);
    let told = laptop.run(&["receive"]);
    for kind in ["linked", "entered"] {
        assert!(told.iter().any(|entry| entry["kind"] == kind), "{told:?}");
    }
    // It has said that it is his.
    bob.run(&["receive"]);
    assert_eq!(bob.run(&["device"]).len(), 2);
    laptop.run(&["send", "Friends", "from the laptop"]);
    assert_eq!(alice.receive(), ["from the laptop"]);
    let lost = laptop.run(&["me"])[0]["device"].as_str().unwrap().to_owned();
    bob.fail(7, &["device", "revoke", "ffffffff"]);
    bob.run(&["device", "revoke", &lost[..12]]);
    assert_eq!(bob.run(&["device"]).len(), 1);
    // Bob moves to another machine, and takes along what was said.
    alice.run(&["receive"]);
    bob.run(&["receive"]);
    let passphrase = bob.path("pass.txt");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let (passphrase, export) = (passphrase.to_str().unwrap(), bob.path("bob.export"));
    let with = ["--export-passphrase-file", passphrase];
    let export = export.to_str().unwrap();
    bob.run(&[&["export", export][..], &with].concat());
    bob.fail(1, &[&["export", export][..], &with].concat());
    let moved = Person::nobody("Bob");
    let wrong = bob.path("wrong.txt");
    std::fs::write(&wrong, "wrong\n").unwrap();
    let wrong = ["--export-passphrase-file", wrong.to_str().unwrap()];
    let restore = ["restore", export, "--without-passphrase"];
    moved.fail(4, &[&restore[..], &wrong].concat());
    let told = moved.run(&[&restore[..], &with].concat());
    assert_eq!((&told[0]["name"], &told[0]["groups"]), (&"Bob".into(), &1.into()));
    moved.fail(1, &[&restore[..], &with].concat());
    assert!(moved.history("Friends").contains(&"from the laptop".to_owned()));
    // Alice takes him back, and the old device is out.
    alice.run(&["receive"]);
    let told = moved.run(&["receive"]);
    assert!(told.iter().any(|entry| entry["kind"] == "repaired"), "{told:?}");
    moved.run(&["send", "Friends", "from the new one"]);
    assert_eq!(alice.receive(), ["from the new one"]);
    let told = bob.run(&["receive"]);
    assert!(told.iter().any(|entry| entry["kind"] == "left"), "{told:?}");
}

#[test]
fn who_asks_is_shown_on_both_devices_and_answered_on_either() {
    let relay = Relay::start();
    let [bob, laptop, carol, dora] =
        ["Bob", "Laptop", "Carol", "Dora"].map(|name| Person::new(name, &relay));
    bob.run(&["found", "Friends"]);
    let offer = laptop.path("laptop.offer");
    laptop.run(&["device", "offer", offer.to_str().unwrap()]);
    bob.run(&["device", "add", offer.to_str().unwrap()]);
    laptop.run(&["receive"]);
    bob.run(&["receive"]);
    let link = bob.run(&["link", "Friends"])[0]["link"].as_str().unwrap().to_owned();
    for asker in [&carol, &dora] {
        asker.run(&["join", &link]);
    }
    // On the laptop, while nobody looks at the telephone.
    assert_eq!(laptop.run(&["requests"]).len(), 2);
    laptop.run(&["accept", "Carol"]);
    laptop.run(&["decline", "Dora"]);
    for (asker, kind) in [(&carol, "entered"), (&dora, "join-declined")] {
        let told = asker.run(&["receive"]);
        assert!(told.iter().any(|entry| entry["kind"] == kind), "{told:?}");
    }
    assert_eq!(bob.run(&["requests"]).len(), 0);
    let told = bob.run(&["receive"]);
    let declined = told
        .iter()
        .find(|entry| entry["kind"] == "join-answered" && entry["who"]["name"] == "Dora");
    assert_eq!(declined.unwrap()["accepted"], false, "{told:?}");
    bob.fail(7, &["accept", "Dora"]);
    // Revoked on one is revoked on both.
    laptop.run(&["link", "Friends", "--revoke"]);
    bob.run(&["receive"]);
    for device in [&bob, &laptop] {
        assert_eq!(device.run(&["link", "Friends", "--list"]).len(), 0);
    }
}
