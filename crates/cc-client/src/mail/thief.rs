//! What a thief of a device, who has recorded its mailbox, reads of its mail.

use cc_aes_layer::AesKey;
use cc_core::store::MemoryStore;

use super::{
    MailAddress,
    address::{AddressBody, ROTATION},
};
use crate::{
    Client, GroupId, LogId,
    frame::{self, Frame, MailItem},
    introduction::PeopleUpdate,
    testing::{Stage, client, fall_out_of_step},
};

/// Time passes, and everybody looks at its key for mail.
fn wait(stage: &mut Stage, people: &mut [&mut Client], milliseconds: u64) {
    stage.now.wall += milliseconds;
    stage.now.mono += milliseconds;
    stage.settle(people);
}

/// Alice invites Bob to another group; gives it, and the item that told him.
fn invite(stage: &mut Stage, alice: &mut Client, bob: &mut Client) -> (GroupId, Vec<u8>) {
    let group = alice.found("Another").unwrap();
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [alice]);
    let item = stage.service.log(&bob.mailbox()).pop().unwrap().bytes;
    stage.settle(&mut [bob, alice]);
    assert!(bob.group(&group).unwrap().in_step);
    (group, item)
}

fn opens(thief: &super::MailKeys, mailbox: &LogId, item: &[u8]) -> bool {
    let Ok(MailItem::Sealed(sealed)) = frame::decode(item) else { panic!("sealed") };
    super::sealed::open(&thief.keys, mailbox, &sealed).is_ok()
}

#[test]
fn a_thief_reads_the_mail_of_sixteen_weeks_and_after_the_next_key_none() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let mailbox = bob.mailbox();
    stage.group(&mut [&mut alice, &mut bob]);
    let mut items = vec![invite(&mut stage, &mut alice, &mut bob).1];
    for _ in 0..6 {
        wait(&mut stage, &mut [&mut bob, &mut alice], ROTATION);
        items.push(invite(&mut stage, &mut alice, &mut bob).1);
    }
    // The store is stolen now.
    let thief = bob.state.mail_keys.clone();
    let read: Vec<bool> = items.iter().map(|item| opens(&thief, &mailbox, item)).collect();
    assert_eq!(read, [false, false, false, true, true, true, true]);
    let (_, soon) = invite(&mut stage, &mut alice, &mut bob);
    assert!(opens(&thief, &mailbox, &soon), "until there is another key");
    wait(&mut stage, &mut [&mut bob, &mut alice], ROTATION);
    let (_, later) = invite(&mut stage, &mut alice, &mut bob);
    assert!(!opens(&thief, &mailbox, &later));
}

#[test]
fn members_learn_the_next_key_and_what_was_made_before_it_still_counts() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let before = bob.mail_address().unwrap();
    wait(&mut stage, &mut [&mut bob, &mut alice], ROTATION);
    let after = bob.mail_address().unwrap();
    assert!(before.body.serial < after.body.serial && before.body.key != after.body.key);
    let known = alice.state.device(bob.identity.id.as_bytes()).unwrap().unwrap();
    assert_eq!(known.address().unwrap(), Some(after));
    // By a key package of before.
    let other = alice.found("Another").unwrap();
    alice.invite(other, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&other).unwrap().in_step);
    // Alice falls out of step, and asks Bob by the key that he has now.
    fall_out_of_step(&mut alice, group);
    let mail = stage.service.log(&bob.mailbox()).len();
    for _ in 0..4 {
        stage.settle(&mut [&mut alice, &mut bob]);
    }
    let request = &stage.service.log(&bob.mailbox())[mail];
    let mut newest = bob.state.mail_keys.clone();
    newest.keys.drain(..newest.keys.len() - 1);
    assert!(opens(&newest, &bob.mailbox(), &request.bytes));
    assert!(alice.group(&group).unwrap().in_step);
}

#[test]
fn who_is_restored_from_before_its_last_key_has_an_address_that_counts() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let member = *bob.identity.id.as_bytes();
    let known =
        |alice: &Client| alice.state.device(&member).unwrap().unwrap().address().unwrap().unwrap();
    let key = AesKey::generate().unwrap();
    let export = bob.export(&key, false).unwrap();
    wait(&mut stage, &mut [&mut bob], ROTATION);
    stage.settle(&mut [&mut alice]);
    let lost = bob.mail_address().unwrap();
    assert_eq!(known(&alice), lost);
    drop(bob);
    let mut bob = Client::restore(MemoryStore::new(), &export, &key, stage.now).unwrap();
    for _ in 0..3 {
        stage.settle(&mut [&mut bob, &mut alice]);
    }
    assert!(bob.group(&group).unwrap().in_step);
    let own = bob.mail_address().unwrap();
    assert!(own.body.key != lost.body.key && own.body.serial > lost.body.serial);
    assert_eq!(known(&alice), own);
    // What is no address of his own, and what is older, changes nothing.
    let forged = MailAddress { signature: [0; 64], ..lost.clone() };
    let later = AddressBody { serial: u64::MAX, ..lost.body.clone() };
    let later = later.sign(&bob.identity.device_key().unwrap()).unwrap();
    let mut forged_later = forged.clone();
    forged_later.body.serial = u64::MAX;
    // One of the future counts less than all others, so it need not be looked at.
    for (told, genuine) in [(lost, true), (forged, true), (forged_later, true), (later, true)] {
        let heard = bob.transact(|bob| bob.outnumber_address(&told, stage.now)).unwrap();
        assert_eq!((heard, bob.mail_address().unwrap()), (genuine, own.clone()));
    }
}

#[test]
fn a_clock_that_goes_back_and_forth_takes_no_key_away_that_is_in_use() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    stage.group(&mut [&mut alice, &mut bob]);
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let year = 365 * 24 * 3_600_000;
    for _ in 0..20 {
        let before = stage.now.wall;
        wait(&mut stage, &mut [&mut bob], year);
        stage.now.wall = before;
        stage.now.mono += 24 * 3_600_000;
        stage.settle(&mut [&mut bob]);
    }
    assert_eq!(bob.state.mail_keys.keys.len(), 14, "the first one, and some of the others");
    let other = alice.found("Another").unwrap();
    alice.invite(other, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&other).unwrap().in_step);
}

/// Who has Bob's device key says this in the group, by a key of its own for his mail; Alice and Bob hear it.
fn steal_mail(stage: &mut Stage, group: GroupId, people: &mut [&mut Client; 3], serial: u64) {
    let [alice, bob, mallory] = people;
    let key = mallory.mail_address().unwrap().body.key;
    let body = AddressBody { serial, key, ..bob.mail_address().unwrap().body };
    let address = body.sign(&bob.identity.device_key().unwrap()).unwrap();
    let mut update = PeopleUpdate::default();
    update.addresses.0.push(address);
    stage.say(mallory, &group, &Frame::People(update), &mut [alice, bob]);
}

#[test]
fn a_thief_of_a_device_key_does_not_keep_its_mail_for_ever() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let member = *bob.identity.id.as_bytes();
    let known =
        |of: &Client| of.state.device(&member).unwrap().unwrap().address().unwrap().unwrap().body;
    // The greatest number of all counts less than what Bob said before.
    let before = bob.mail_address().unwrap().body;
    steal_mail(&mut stage, group, &mut [&mut alice, &mut bob, &mut mallory], u64::MAX);
    assert_eq!(known(&alice), before);
    assert_eq!(bob.mail_address().unwrap().body, before, "and Bob need not answer it");
    // The greatest that counts: Bob hears of it, and overtakes it.
    let serial = stage.now.wall + 24 * 3_600_000;
    steal_mail(&mut stage, group, &mut [&mut alice, &mut bob, &mut mallory], serial);
    wait(&mut stage, &mut [&mut bob, &mut alice], 60_000);
    let own = bob.mail_address().unwrap().body;
    assert!(own.serial > serial && own.key == before.key);
    assert_eq!(known(&alice), own);
    // Who was told nothing else does not take it either: Bob's leaf says that there is one that counts more.
    let forget = |alice: &mut Client| {
        let device = alice.state.device(&member)?.unwrap();
        alice.state.put_device(&member, &crate::contact::DeviceRecord { address: None, ..device })
    };
    alice.transact(forget).unwrap();
    steal_mail(&mut stage, group, &mut [&mut alice, &mut bob, &mut mallory], u64::MAX);
    assert_eq!(alice.state.device(&member).unwrap().unwrap().address().unwrap(), None);
    bob.transact(|bob| bob.introduce(&group)).unwrap();
    stage.settle(&mut [&mut bob, &mut alice]);
    assert_eq!(known(&alice), own);
}

#[test]
fn an_address_that_was_made_while_the_clock_was_ahead_is_made_anew() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    stage.group(&mut [&mut alice, &mut bob]);
    let member = *bob.identity.id.as_bytes();
    let known =
        |of: &Client| of.state.device(&member).unwrap().unwrap().address().unwrap().unwrap().body;
    let first = bob.mail_address().unwrap().body;
    let before = stage.now.wall;
    wait(&mut stage, &mut [&mut bob], 365 * 24 * 3_600_000);
    stage.now.wall = before;
    stage.settle(&mut [&mut alice]);
    assert_eq!(known(&alice), first, "it is of the future");
    stage.now.mono += 24 * 3_600_000;
    stage.settle(&mut [&mut bob, &mut alice]);
    let second = bob.mail_address().unwrap().body;
    assert!(second.key != first.key && second.serial < before + 24 * 3_600_000);
    assert_eq!(known(&alice), second);
}
