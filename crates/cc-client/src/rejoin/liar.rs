//! Requests to be added anew that are not the member's, and ones that come again.

use cc_core::Opaque;

use super::REJOIN;
use crate::{
    Client, Command, Event, Fate, Fault, GroupId, Now, OperationId, Position,
    frame::{self, Frame, Invitation, KeyPackageOffer, Mail, RejoinBody, RejoinRequest},
    person,
    recipe::Role,
    records::{self, Asked, PackageRecord},
    seat,
    testing::{Stage, client, events, fall_out_of_step, mail_to},
};

pub(super) fn request(
    of: &Client,
    to: &Client,
    group: GroupId,
    bundle: Vec<u8>,
    time: u64,
) -> RejoinBody {
    RejoinBody {
        group,
        to: to.mailbox(),
        turn: 0,
        joined_at: Position(1),
        time,
        offer: KeyPackageOffer { address: of.mail_address().unwrap(), bundle: Opaque(bundle) },
    }
}

/// A key package with a stack of its own, and the stack's name.
pub(super) fn fresh_bundle(of: &mut Client, now: Now) -> Result<(Vec<u8>, String), Fault> {
    let seat = of.new_seat(Role::Invited)?;
    let latest = of.latest_address()?;
    let (bundle, _) = seat::key_package(of.seat(&seat)?, latest, now)?;
    Ok((bundle, seat))
}

/// A key package by which `of` has asked to be added anew when it had come in there. Nobody has heard of it.
pub(super) fn asked(of: &mut Client, group: GroupId, joined_at: Position, now: Now) -> Vec<u8> {
    of.transact(|of| {
        let (bundle, seat) = fresh_bundle(of, now)?;
        let asked = Some(Asked { group, joined_at, time: 1 });
        let package = PackageRecord { seat, expires: None, asked };
        of.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        Ok(bundle)
    })
    .unwrap()
}

/// What `reader` makes of a request in its mailbox.
pub(super) fn mail(stage: &mut Stage, request: RejoinRequest, reader: &mut Client) -> Vec<Fate> {
    let item = mail_to(reader, &Mail::Rejoin(request));
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
        let bundle = bob.transact(|bob| fresh_bundle(bob, now)).unwrap().0;
        let body = request(bob, to, group, bundle, time);
        let signature = person::sign(&key, REJOIN, &body).unwrap();
        RejoinRequest { body, signature }
    };
    let epoch = alice.group(&group).unwrap().epoch.unwrap();
    let first = make(&mut bob, &alice, stage.now, 1_000);
    let again = frame::encode(&Mail::Rejoin(first)).unwrap();
    let copy = || match frame::decode(&again).unwrap() {
        Mail::Rejoin(request) => request,
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
    fall_out_of_step(&mut bob, group);
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
    // Bob has asked to be added anew, is removed, and invited again, where nothing that an inviter said of
    // positions before is in the way.
    bob.transact(|bob| {
        bob.state.group_mut(&group)?.joined_at = Position(u64::MAX);
        Ok(())
    })
    .unwrap();
    let bundle = asked(&mut bob, group, Position(u64::MAX), stage.now);
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
        inviter: alice.mail_address().unwrap(),
        roster: Opaque(Vec::new()),
    };
    let item = mail_to(&bob, &Mail::Invitation(invitation));
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
                record.rejoins = super::MAX_REJOINS + 1;
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
        // Who is out of step may be back before it reads that it was removed.
        let came = |event: &Event| match event {
            Event::Entered { .. } => true,
            Event::Repaired { .. } => given_up,
            _ => false,
        };
        assert!(told.iter().any(came), "{told:?}");
        let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
        assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
    }
}

#[test]
fn invitations_that_a_member_made_up_keep_no_real_one_out() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let packages = bob.key_packages(stage.now, 2).unwrap();
    let claimed = seat::read_offer(&packages[0]).unwrap().bundle.0;
    // Long before, and as if Bob had been removed and invited again.
    for at in 0..10 {
        let invitation = Invitation {
            package: frame::package_digest(&claimed),
            log: group,
            position: Position(1_000 + at),
            welcome: Opaque(vec![1; 100]),
            inviter: mallory.mail_address().unwrap(),
            roster: Opaque(Vec::new()),
        };
        let item = mail_to(&bob, &Mail::Invitation(invitation));
        stage.service.inject(&bob.mailbox(), false, item);
    }
    stage.settle(&mut [&mut bob]);
    remove(&mut alice, group, &bob);
    stage.settle(&mut [&mut alice, &mut mallory]);
    alice.invite(group, packages[1].clone()).unwrap();
    stage.settle(&mut [&mut alice, &mut mallory]);
    // Bob's mailbox is read before the log.
    let mailbox = bob.mailbox();
    let items = stage.service.log(&mailbox);
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: Position::START, head };
    let _ledger = bob.handle(stage.now, crate::Input::Page { log: mailbox, page }).unwrap();
    let held = bob.state.list::<Vec<u8>>(&records::invitations(&group), 100).unwrap();
    assert_eq!(held.len(), 8);
    for _ in 0..2 {
        stage.settle(&mut [&mut bob, &mut alice, &mut mallory]);
    }
    let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
    assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
}

#[test]
fn who_was_away_for_two_invitations_comes_in_by_the_second() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = alice.found("Dev Team").unwrap();
    for package in bob.key_packages(stage.now, 2).unwrap() {
        alice.invite(group, package).unwrap();
        stage.settle(&mut [&mut alice]);
        if stage.service.log(&bob.mailbox()).len() == 1 {
            remove(&mut alice, group, &bob);
            stage.settle(&mut [&mut alice]);
        }
    }
    // Both are in his mailbox, and both logs answer before anything else is read.
    stage.settle(&mut [&mut bob]);
    let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
    assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
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
        let item = mail_to(&alice, &Mail::Rejoin(RejoinRequest { body, signature }));
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

#[test]
fn a_request_that_finds_no_room_in_the_queue_takes_nothing_else_out_of_it() {
    let mut stage = Stage::new();
    let [mut alice, mut mallory] = ["Alice", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut mallory]);
    let package = mallory.key_packages(stage.now, 1).unwrap().remove(0);
    let bundle = seat::read_offer(&package).unwrap().bundle.0;
    let key = mallory.identity.device_key().unwrap();
    let waiting = |alice: &mut Client, count| {
        let set = |alice: &mut Client| {
            alice.state.group_mut(&group)?.queued = count;
            Ok(())
        };
        alice.transact(set).unwrap();
    };
    let mut said = None;
    for time in [1, 2] {
        let body = request(&mallory, &alice, group, bundle.clone(), time);
        let signature = person::sign(&key, REJOIN, &body).unwrap();
        if time == 1 {
            waiting(&mut alice, u32::MAX);
        }
        let request = RejoinRequest { body, signature };
        let now = stage.now;
        assert_eq!(
            alice.transact(|alice| alice.rejoin_request(request, now)).unwrap(),
            Fate::Request
        );
        if time == 1 {
            waiting(&mut alice, 0);
            said = Some(alice.send(group, "the next command").unwrap());
        }
    }
    stage.settle(&mut [&mut alice]);
    let told = events(&mut alice);
    assert!(
        told.iter().any(
            |event| matches!(event, Event::Settled { operation, .. } if Some(*operation) == said)
        ),
        "{told:?}"
    );
}
