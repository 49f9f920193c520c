//! What happens between a request and its answer: revocations, removals, other ways in, and copies.

use cc_core::store::MemoryStore;

use super::{
    tests::{DAY, fates_of, host_removed, submit},
    *,
};
use crate::{
    Client, Command, Event, Fate, Fault, OperationId, Verdict,
    device::RevocationBody,
    records::Work,
    testing::{Stage, client, events, id},
};

/// The item that a request travels in.
fn item_of(asker: &Client) -> Vec<u8> {
    let record = asker.state.list::<AskRecord>(&asks(), 8).unwrap().remove(0).1;
    record.item
}

#[test]
fn a_restored_device_makes_no_link_before_it_is_back_and_no_request_stops_it() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let key = cc_aes_layer::AesKey::aes256(cc_core::Secret::random().unwrap());
    let export = bob.export(&key, false).unwrap();
    let mut bob = Client::restore(MemoryStore::new(), &export, &key, stage.now).unwrap();
    let link = bob.join_link(stage.now, group, DAY);
    assert!(matches!(link, Err(Fault::NotAMember(it)) if it == group), "{link:?}");
    // Its place was lost after it made a link, and a request lies before the welcome by which it comes back.
    stage.settle(&mut [&mut alice, &mut bob]);
    let link = bob.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol]);
    let lose = |bob: &mut Client| {
        let record = bob.state.group_mut(&group)?;
        record.standing = crate::records::Standing::Restored(record.cursor);
        record.seat.clear();
        let members = vec![*alice.identity.id.as_bytes()];
        let known = crate::records::RestoredGroup { members, mls_group: None };
        bob.state.put(&crate::records::restored(), *group.as_bytes(), &known)
    };
    bob.transact(lose).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
}

#[test]
fn a_device_that_is_revoked_while_its_request_waits_is_not_let_in() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let mut lost = client("Bob's telephone");
    let together = stage.group(&mut [&mut alice, &mut bob]);
    let offer = lost.offer_device(stage.now, 4).unwrap();
    submit(&mut bob, Command::Link(offer));
    stage.settle(&mut [&mut alice, &mut bob, &mut lost]);
    assert_eq!(alice.person(&id(&bob)).unwrap().devices.len(), 2);
    let group = alice.found("Another").unwrap();
    for accepted_before in [false, true] {
        let link = alice.join_link(stage.now, group, DAY).unwrap();
        let request = lost.ask_to_join(stage.now, &link, "").unwrap();
        stage.settle(&mut [&mut lost, &mut alice]);
        if !accepted_before {
            assert_eq!(alice.join_requests().unwrap()[0].id, request);
            submit(&mut bob, Command::Revoke(lost.me().id));
            stage.settle(&mut [&mut bob, &mut alice]);
            assert!(alice.join_requests().unwrap().is_empty(), "who has the device is not Bob");
            let accepted =
                alice.submit(OperationId::random().unwrap(), Command::AcceptJoin(request));
            assert!(matches!(accepted, Err(Fault::NoSuchJoinRequest(_))), "{accepted:?}");
            assert_eq!(alice.join_links().unwrap()[0].open, 0);
        }
    }
    assert_eq!(alice.group(&group).unwrap().members.len(), 1);
    assert_eq!(alice.group(&together).unwrap().members.len(), 2);
}

#[test]
fn a_device_that_is_revoked_after_it_was_accepted_is_not_added() {
    let mut stage = Stage::new();
    let [mut alice, mut carol] = ["Alice", "Carol"].map(client);
    let together = stage.group(&mut [&mut alice, &mut carol]);
    let group = alice.found("Another").unwrap();
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "").unwrap();
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    stage.settle(&mut [&mut carol, &mut alice]);
    events(&mut alice);
    let accepted = submit(&mut alice, Command::AcceptJoin(request));
    let member = *carol.identity.id.as_bytes();
    let body = RevocationBody { person: id(&carol), generation: 0, member };
    let revocation = body.sign(&carol.person_key().unwrap()).unwrap();
    alice.transact(|alice| alice.revoke_device(&revocation)).unwrap();
    // Nor anew, by a request of before.
    let epoch = alice.group(&together).unwrap().epoch;
    let readmission = Work::Readmit(vec![package]);
    alice.transact(|alice| alice.enqueue(&together, None, readmission)).unwrap();
    stage.settle(&mut [&mut alice, &mut carol]);
    assert_eq!(alice.group(&together).unwrap().epoch, epoch);
    assert_eq!(alice.group(&group).unwrap().members.len(), 1);
    let told = events(&mut alice);
    let refused = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Refused(why) } if *operation == accepted && why.contains("revoked"));
    assert!(told.iter().any(refused), "{told:?}");
    assert_eq!(alice.group(&together).unwrap().members.len(), 2);
}

#[test]
fn copies_of_a_request_use_nothing_of_a_link_up() {
    let mut stage = Stage::new();
    let [mut alice, mut carol, mut dave] = ["Alice", "Carol", "Dave"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &link, "").unwrap();
    let item = item_of(&carol);
    stage.settle(&mut [&mut carol, &mut alice]);
    for _ in 0..40 {
        let (fates, told) = fates_of(&mut stage, &mut alice, item.clone());
        assert_eq!(fates, [Fate::Duplicate]);
        assert!(!told.iter().any(|event| matches!(event, Event::JoinLinkFull { .. })));
    }
    assert_eq!(alice.join_links().unwrap()[0].asked, 1);
    dave.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut dave, &mut alice]);
    assert_eq!(alice.join_requests().unwrap().len(), 2);
}

#[test]
fn who_comes_in_by_another_way_takes_no_place_of_a_link() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let other = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &link, "").unwrap();
    carol.ask_to_join(stage.now, &other, "").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    bob.invite(group, package).unwrap();
    stage.settle(&mut [&mut bob, &mut carol, &mut alice]);
    assert_eq!(alice.group(&group).unwrap().members.len(), 3);
    assert!(alice.join_requests().unwrap().is_empty());
    assert!(alice.join_links().unwrap().iter().all(|link| link.open == 0), "nobody waits");
    // Who is removed again asks anew, and is seen.
    submit(&mut bob, Command::Remove { group, members: vec![carol.me().id] });
    stage.settle(&mut [&mut bob, &mut carol, &mut alice]);
    carol.ask_to_join(stage.now, &link, "once more").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    assert_eq!(alice.join_requests().unwrap().len(), 1);
}

#[test]
fn that_a_link_is_used_up_is_told_also_where_somebody_was_answered_before() {
    let mut stage = Stage::new();
    let [mut alice, mut carol, mut dave] = ["Alice", "Carol", "Dave"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    let use_up = |alice: &mut Client| {
        let id = link.id();
        let mut record = alice.state.get::<LinkRecord>(&links(), id.as_bytes())?.unwrap();
        record.asked = 1024;
        alice.state.put(&links(), *id.as_bytes(), &record)
    };
    alice.transact(use_up).unwrap();
    submit(&mut alice, Command::DeclineJoin(request));
    events(&mut alice);
    dave.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut dave, &mut alice]);
    assert_eq!(events(&mut alice), [Event::JoinLinkFull { link: link.id(), group }]);
}

#[test]
fn a_removal_ends_the_links_of_who_is_removed() {
    let (mut stage, group, link, request, people) = host_removed();
    let [mut alice, mut bob, mut carol, mut dave] = people;
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    // Its keys are gone, and who waited does not wait in vain.
    assert!(bob.join_links().unwrap().is_empty());
    assert_eq!(events(&mut carol), [Event::JoinDeclined { request, link: link.id() }]);
    // Back in the group, Bob makes another one.
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    events(&mut bob);
    dave.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut dave, &mut bob]);
    assert!(bob.join_requests().unwrap().is_empty() && events(&mut bob).is_empty());
}
