//! Requests to be added anew that are not the member's, and ones that come again.

use cc_core::Opaque;

use super::REJOIN;
use crate::{
    Client, Fate, GroupId, Position,
    frame::{self, KeyPackageOffer, MailItem, RejoinBody, RejoinRequest},
    person, seat,
    testing::{Stage, client},
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
