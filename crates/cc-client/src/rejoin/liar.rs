//! Requests to be added anew that are not the member's, and ones that come again.

use cc_core::Opaque;

use super::REJOIN;
use crate::{
    Client, Command, Event, Fate, GroupId, OperationId, Position,
    frame::{self, Frame, Invitation, KeyPackageOffer, MailItem, RejoinBody, RejoinRequest},
    person,
    records::{self, PackageRecord},
    seat,
    testing::{Stage, client, events},
};

fn request(of: &Client, to: &Client, group: GroupId, bundle: Vec<u8>, time: u64) -> RejoinBody {
    RejoinBody {
        group,
        to: to.mailbox(),
        turn: 0,
        epoch: 1,
        joined_at: Position(1),
        time,
        offer: KeyPackageOffer { mailbox: of.mailbox(), bundle: Opaque(bundle) },
    }
}

/// What `reader` makes of a request in its mailbox.
fn mail(stage: &mut Stage, request: RejoinRequest, reader: &mut Client) -> Vec<Fate> {
    let item = frame::encode(&MailItem::Rejoin(request)).unwrap();
    stage.service.inject(&reader.mailbox(), false, item);
    let mailbox = reader.mailbox();
    let fates = stage.settle(&mut [reader]);
    fates.into_iter().filter(|(_, log, _)| *log == mailbox).map(|(_, _, fate)| fate).collect()
}

#[test]
fn a_stolen_key_package_puts_nobody_out() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    // Mallory has a key package of Bob's that was never used.
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let stolen = seat::read_offer(&package).unwrap().bundle.0;
    let keys = [mallory.identity.device_key().unwrap(), person::new_key().unwrap()];
    for key in keys {
        let body = request(&bob, &alice, group, stolen.clone(), 1);
        let signature = person::sign(&key, REJOIN, &body).unwrap();
        let forged = RejoinRequest { body, signature };
        assert_eq!(mail(&mut stage, forged, &mut alice), [Fate::Forged]);
    }
    let epoch = alice.group(&group).unwrap().epoch;
    stage.settle(&mut [&mut alice, &mut bob, &mut mallory]);
    assert_eq!(alice.group(&group).unwrap().epoch, epoch);
    bob.send(group, "still here").unwrap();
    assert!(bob.group(&group).unwrap().in_step);
}

#[test]
fn a_request_counts_once_and_for_whom_it_was_made() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let key = bob.identity.device_key().unwrap();
    let make = |bob: &mut Client, to: &Client, now, time| {
        let bundle =
            bob.transact(|bob| seat::rejoin_package(bob.group_seat(&group)?, now)).unwrap();
        let body = request(bob, to, group, bundle, time);
        let signature = person::sign(&key, REJOIN, &body).unwrap();
        RejoinRequest { body, signature }
    };
    let epoch = alice.group(&group).unwrap().epoch.unwrap();
    let first = make(&mut bob, &alice, stage.now, 1_000);
    let again = frame::encode(&MailItem::Rejoin(first)).unwrap();
    let copy = || match frame::decode(&again).unwrap() {
        MailItem::Rejoin(request) => request,
        _ => panic!("a request"),
    };
    // In another member's mailbox it is noise, with another time a forgery.
    assert_eq!(mail(&mut stage, copy(), &mut mallory), [Fate::Malformed]);
    let mut later = copy();
    later.body.time += 1;
    assert_eq!(mail(&mut stage, later, &mut alice), [Fate::Forged]);
    assert_eq!(mail(&mut stage, copy(), &mut alice), [Fate::Request]);
    assert_eq!(alice.group(&group).unwrap().epoch, Some(epoch + 1), "Bob is added anew");
    // Again, and an older one: nothing.
    assert_eq!(mail(&mut stage, copy(), &mut alice), [Fate::Duplicate]);
    let older = make(&mut bob, &alice, stage.now, 999);
    assert_eq!(mail(&mut stage, older, &mut alice), [Fate::Duplicate]);
    // Mallory gets one of before Bob was added, after she has read that he was.
    stage.settle(&mut [&mut mallory]);
    let late = make(&mut bob, &mallory, stage.now, 1_000);
    assert_eq!(mail(&mut stage, late, &mut mallory), [Fate::Duplicate]);
    assert_eq!(alice.group(&group).unwrap().epoch, Some(epoch + 1));
}

fn remove(from: &mut Client, group: GroupId, member: &Client) {
    let command = Command::Remove { group, members: vec![member.identity.id] };
    from.submit(OperationId::random().unwrap(), command).unwrap();
}

#[test]
fn who_is_in_step_again_before_it_is_readmitted_comes_back() {
    for log_first in [false, true] {
        in_step_and_readmitted(log_first);
    }
}

fn in_step_and_readmitted(log_first: bool) {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    bob.transact(|bob| {
        bob.state.group_mut(&group)?.suspect = true;
        Ok(())
    })
    .unwrap();
    // Bob asks, and hears from Carol before anybody has read that.
    stage.settle(&mut [&mut bob]);
    assert!(!bob.group(&group).unwrap().in_step);
    let title = Frame::Title(Opaque(b"Team".to_vec()));
    stage.say(&mut carol, &group, &title, &mut [&mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
    let epoch = bob.group(&group).unwrap().epoch;
    stage.settle(&mut [&mut alice, &mut carol]);
    // Bob reads his removal before the welcome, or after it.
    let log = if log_first { group } else { bob.mailbox() };
    let items = stage.service.log(&log);
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: Position::START, head };
    let _ledger = bob.handle(stage.now, crate::Input::Page { log, page }).unwrap();
    stage.settle(&mut [&mut alice, &mut carol, &mut bob]);
    let view = bob.group(&group).unwrap();
    assert!(view.in_step && view.epoch > epoch, "Bob was added anew");
    assert_eq!(view.authenticator, alice.group(&group).unwrap().authenticator);
    bob.send(group, "still here").unwrap();
    let fates = stage.settle(&mut [&mut bob, &mut alice]);
    assert!(fates.contains(&(1, group, Fate::Message)));
}

#[test]
fn a_welcome_for_a_request_that_is_over_does_no_harm() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let now = stage.now;
    // Bob has asked to be added anew, is removed, and invited again, where nothing that an inviter said of
    // positions before is in the way.
    let bundle = bob
        .transact(|bob| {
            let bundle = seat::rejoin_package(bob.group_seat(&group)?, now)?;
            let record = bob.state.group_mut(&group)?;
            record.joined_at = Position(u64::MAX);
            let seat = record.seat.clone();
            let package = PackageRecord { seat, expires: None, rejoins: Some(group) };
            bob.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
            Ok(bundle)
        })
        .unwrap();
    remove(&mut alice, group, &bob);
    stage.settle(&mut [&mut alice, &mut bob]);
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
    events(&mut bob);
    // Whoever has read the request has what it takes for this.
    let invitation = Invitation {
        package: frame::package_digest(&bundle),
        log: group,
        position: Position(u64::MAX - 1),
        welcome: Opaque(vec![1; 100]),
    };
    let item = frame::encode(&MailItem::Invitation(invitation)).unwrap();
    stage.service.inject(&bob.mailbox(), false, item);
    let fates = stage.settle(&mut [&mut bob]);
    assert_eq!(fates, [(0, bob.mailbox(), Fate::OrphanWelcome)]);
    // The mailbox goes on.
    let other = alice.found("Another").unwrap();
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(other, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    let told = events(&mut bob);
    assert!(
        told.iter().any(|event| matches!(event, Event::Entered { group, .. } if *group == other))
    );
}

#[test]
fn who_is_removed_and_invited_again_comes_in_whatever_is_read_first() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    for given_up in [false, true] {
        let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
        if given_up {
            bob.transact(|bob| {
                let record = bob.state.group_mut(&group)?;
                record.standing = crate::records::Standing::Rejoining(record.cursor);
                record.rejoins = super::MAX_REJOINS;
                Ok(())
            })
            .unwrap();
        }
        remove(&mut alice, group, &bob);
        stage.settle(&mut [&mut alice]);
        alice.invite(group, package).unwrap();
        stage.settle(&mut [&mut alice]);
        events(&mut bob);
        // Bob's mailbox is read before the log.
        let mailbox = bob.mailbox();
        let items = stage.service.log(&mailbox);
        let head = items.last().unwrap().position;
        let page = crate::Page { items, forgotten: Position::START, head };
        let _ledger = bob.handle(stage.now, crate::Input::Page { log: mailbox, page }).unwrap();
        stage.settle(&mut [&mut bob]);
        let told = events(&mut bob);
        assert!(told.iter().any(|event| matches!(event, Event::Entered { .. })), "{told:?}");
        let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
        assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
    }
}

#[test]
fn who_asks_for_ever_fills_no_queue() {
    let mut stage = Stage::new();
    let [mut alice, mut mallory] = ["Alice", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut mallory]);
    let package = mallory.key_packages(stage.now, 1).unwrap().remove(0);
    let bundle = seat::read_offer(&package).unwrap().bundle.0;
    let key = mallory.identity.device_key().unwrap();
    let mailbox = alice.mailbox();
    for time in 1..=50 {
        let body = request(&mallory, &alice, group, bundle.clone(), time);
        let signature = person::sign(&key, REJOIN, &body).unwrap();
        let item = frame::encode(&MailItem::Rejoin(RejoinRequest { body, signature })).unwrap();
        stage.service.inject(&mailbox, false, item);
    }
    let items = stage.service.log(&mailbox);
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: Position::START, head };
    let _ledger = alice.handle(stage.now, crate::Input::Page { log: mailbox, page }).unwrap();
    assert_eq!(alice.state.group(&group).unwrap().queued, 1);
    let epoch = alice.group(&group).unwrap().epoch.unwrap();
    stage.settle(&mut [&mut alice]);
    assert_eq!(alice.group(&group).unwrap().epoch, Some(epoch + 1));
}
