//! Welcomes that name a log which cannot be that of their group.

use super::liar::{Forged, bundle_of, forge, invitation, last_commit, wait};
use crate::{
    Command, Event, Fate, Input, OperationId, Position,
    frame::{self, Invitation, Mail},
    records::{self, PackageRecord, Standing},
    seat::Place,
    testing::{Stage, client, events, mail_to, read_mail},
};

#[test]
fn a_welcome_at_an_address_that_is_no_log_of_its_group_is_refused() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let own = bob.mailbox();
    let addresses = [&mallory, &bob].map(|client| client.mail_address().unwrap());
    let [of_mallory, of_bob] = addresses;
    let asked = alice.found("Another").unwrap();
    // His own mailbox, that of who invites, and a group to which he invites himself.
    for (log, inviter) in
        [(own, &of_mallory), (of_mallory.mailbox(), &of_mallory), (asked, &of_bob)]
    {
        let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
        let forged = forge(&mut mallory, &offer, &stage);
        let before = (bob.state.meta.mailbox_cursor, bob.group(&group).unwrap());
        let place = Place { log, position: Position(1), inviter: inviter.mailbox() };
        let lie = invitation(&mut mallory, &bundle_of(&offer), &place, &forged);
        let lie = Mail::Invitation(Invitation { inviter: inviter.clone(), ..lie });
        stage.service.inject(&own, false, mail_to(&bob, &lie));
        let fates = wait(&mut stage, &mut [&mut bob]);
        assert_eq!(fates, [Fate::Misaddressed]);
        assert_eq!(bob.state.meta.mailbox_cursor, before.0.next(), "the mailbox goes on");
        assert_eq!(bob.group(&group).unwrap(), before.1);
        assert_eq!((bob.groups().count(), bob.state.arrivals.len()), (1, 0));
        let told = events(&mut bob);
        assert!(told.iter().any(|event| matches!(event,
            Event::Unreadable { log, fate: Fate::Misaddressed, .. } if *log == own)));
        // An honest one with the same key package still leads in: nothing of it is used up.
        let there = frame::package_digest(&bundle_of(&offer));
        let kept: Option<PackageRecord> = bob.state.get(&records::packages(), &there).unwrap();
        assert!(kept.is_some());
    }
    // An address that this device reads already is not founded at either.
    let id = OperationId::random().unwrap();
    let found = Command::Found { group: own, title: "Mine".into() };
    assert!(matches!(bob.submit(id, found), Err(crate::Fault::AddressInUse(log)) if log == own));
    let found = Command::Found { group, title: "Mine".into() };
    assert!(matches!(bob.submit(id, found), Err(crate::Fault::OperationExists(_))));
}

#[test]
fn a_welcome_to_one_group_does_not_lead_into_the_log_of_another() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let first = stage.group(&mut [&mut alice, &mut bob]);
    let second = stage.group(&mut [&mut alice, &mut bob]);
    let mailbox = bob.mailbox();
    // Bob is removed from the first, and Alice's program sends him the real welcome back to it, as one to the second;
    // then he is out of that as well.
    for group in [first, second] {
        let members = vec![bob.identity.id];
        let remove = Command::Remove { group, members };
        alice.submit(OperationId::random().unwrap(), remove).unwrap();
        wait(&mut stage, &mut [&mut alice, &mut bob]);
    }
    let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(first, offer.clone()).unwrap();
    stage.settle(&mut [&mut alice]);
    let real = stage.service.log(&mailbox).pop().unwrap();
    let Mail::Invitation(real) = read_mail(&bob, &real.bytes) else { panic!("a welcome") };
    // A log that confirms it: a member of both can make the second know the token.
    let joined = {
        let digest = frame::package_digest(&bundle_of(&offer));
        let package: PackageRecord = bob.state.get(&records::packages(), &digest).unwrap().unwrap();
        let welcome = real.welcome.as_slice();
        bob.transact(|bob| bob.join_by(&package, welcome)).unwrap().unwrap()
    };
    let same = bob.transact(|bob| bob.is_same_group(&second, &joined)).unwrap();
    assert!(!same);
    assert!(bob.transact(|bob| bob.is_same_group(&first, &joined)).unwrap());
    bob.transact(|bob| bob.erase_seat(&joined)).unwrap();
    let (bundle, at) = (bundle_of(&offer), last_commit(&stage, &second));
    let page_of = |items: Vec<crate::Item>| {
        let head = items.last().map_or(Position::START, |item| item.position);
        crate::Page { items, forgotten: Position::START, head }
    };
    let position = bob.state.meta.mailbox_cursor.next();
    let seat = alice.state.group(&first).unwrap().seat.clone();
    let lie = Forged { welcome: real.welcome.0.clone(), seat };
    let place = Place { log: second, position: at, inviter: alice.mailbox() };
    let lie = Mail::Invitation(invitation(&mut alice, &bundle, &place, &lie));
    let bytes = mail_to(&bob, &lie);
    let item = crate::Item { position, commit: false, bytes };
    let input = Input::Page { log: mailbox, page: page_of(vec![item]) };
    let ledger = bob.handle(stage.now, input).unwrap();
    assert_eq!(ledger.fates, [(mailbox, position, Fate::Early)]);
    // The service confirms whatever is asked of it.
    let read = loop {
        let request = bob.poll_request(stage.now).unwrap().unwrap();
        match &request.call {
            crate::Call::Read(read) if read.log == second => break request,
            _ => {}
        }
    };
    let items = stage.service.log(&second);
    let result = Ok(crate::Reply::Page(page_of(items)));
    let ledger = bob.handle(stage.now, Input::Response { id: read.id, result }).unwrap();
    assert!(ledger.fates.contains(&(mailbox, position, Fate::Misaddressed)), "{ledger:?}");
    assert_eq!(bob.state.group(&second).unwrap().standing, Standing::Removed);
    assert!(bob.state.arrivals.is_empty());
}
