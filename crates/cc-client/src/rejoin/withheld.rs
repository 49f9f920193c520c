//! Requests to be added anew that a service withholds, and delivers when they are over.

use super::{
    REJOIN,
    liar::{asked, mail, request},
};
use crate::{
    Call, Client, Event, Failure, Fate, Input, LogId, Position, Reply, Verdict,
    frame::RejoinRequest,
    person,
    records::{self, Standing},
    testing::{Stage, client, events, fall_out_of_step},
};

/// What of mail `client` sends is kept here, and not sent, if `withhold` says so of the mailbox.
fn withheld(
    stage: &mut Stage,
    client: &mut Client,
    withhold: impl Fn(&LogId) -> bool,
) -> Vec<(LogId, Vec<u8>)> {
    let mut kept = Vec::new();
    for _ in 0..60 {
        while let Some(request) = client.poll_request(stage.now).unwrap() {
            let mail = match &request.call {
                Call::Append(append) if append.access.is_none() && withhold(&append.log) => {
                    Some((append.log, append.items[0].clone()))
                }
                _ => None,
            };
            let result = match &mail {
                Some(_) => Ok(Reply::Appended(Position(1))),
                None => request.perform(&mut stage.service),
            };
            kept.extend(mail);
            let input = Input::Response { id: request.id, result };
            let _ledger = client.handle(stage.now, input).unwrap();
        }
        stage.now.mono += 2_500;
        stage.now.wall += 2_500;
    }
    kept
}

#[test]
fn requests_that_a_service_withholds_put_nobody_out_for_long() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    fall_out_of_step(&mut bob, group);
    // Bob asks twice, and nobody hears of it; what he asks then is heard by Alice alone.
    let kept = withheld(&mut stage, &mut bob, |_| true);
    assert!(kept.len() >= 4, "two requests to two members: {}", kept.len());
    let carols = carol.mailbox();
    let more = withheld(&mut stage, &mut bob, |to| *to == carols);
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    assert!(bob.group(&group).unwrap().in_step, "Bob is back");
    let back_at = bob.group(&group).unwrap().joined_at;
    events(&mut bob);
    // Carol is given them one after another.
    let to_carol = kept.into_iter().chain(more).filter(|(to, _)| *to == carols);
    for (to, item) in to_carol.collect::<Vec<_>>() {
        stage.service.inject(&to, false, item);
        stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    }
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_bob.joined_at > back_at, "Carol believed one of them");
    assert!(of_bob.in_step && of_bob.authenticator == of_carol.authenticator);
    let told = events(&mut bob);
    assert!(told.iter().any(|event| matches!(event, Event::Repaired { .. })), "{told:?}");
    bob.send(group, "still here").unwrap();
    let fates = stage.settle(&mut [&mut bob, &mut alice, &mut carol]);
    assert!(
        fates.contains(&(1, group, Fate::Message)) && fates.contains(&(2, group, Fate::Message))
    );
}

/// Of one request each helper has a copy with a key package of its own.
#[test]
fn a_helper_that_does_not_know_who_is_back_puts_nobody_out_for_long() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    fall_out_of_step(&mut bob, group);
    let carols = carol.mailbox();
    let kept = withheld(&mut stage, &mut bob, |to| *to == carols);
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let back_at = bob.group(&group).unwrap().joined_at;
    assert!(bob.group(&group).unwrap().in_step);
    // Carol was out of step as well, and is back since: she never read that Bob was added anew.
    let bobs = *bob.identity.id.as_bytes();
    carol.transact(|carol| carol.state.delete(&records::returns(&group), bobs)).unwrap();
    stage.service.inject(&carols, false, kept[0].1.clone());
    stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_bob.joined_at > back_at, "Carol believed it");
    assert!(of_bob.in_step && of_bob.authenticator == of_carol.authenticator);
}

#[test]
fn who_is_readmitted_and_gets_no_welcome_is_out_in_the_end() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    // Of before he came in last; the welcome is lost.
    let bundle = asked(&mut bob, group, Position::START, stage.now);
    let mut body = request(&bob, &alice, group, bundle, 1);
    body.joined_at = Position(u64::MAX);
    let signature = person::sign(&bob.identity.device_key().unwrap(), REJOIN, &body).unwrap();
    assert_eq!(mail(&mut stage, RejoinRequest { body, signature }, &mut alice), [Fate::Request]);
    let waits = bob.send(group, "does this go?").unwrap();
    // The log is read, and the mailbox is not.
    let items = stage.service.log(&group);
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: Position::START, head };
    let _ledger = bob.handle(stage.now, Input::Page { log: group, page }).unwrap();
    assert!(matches!(bob.state.group(&group).unwrap().standing, Standing::Rejoining(_)));
    let mailbox = bob.mailbox();
    let mut asks = 0;
    for _ in 0..60 {
        while let Some(request) = bob.poll_request(stage.now).unwrap() {
            asks += usize::from(matches!(&request.call, Call::Append(_)));
            let result = match &request.call {
                Call::Read(read) if read.log == mailbox => Err(Failure::Unknown),
                _ => request.perform(&mut stage.service),
            };
            let input = Input::Response { id: request.id, result };
            let _ledger = bob.handle(stage.now, input).unwrap();
        }
        stage.now.mono += 2_500;
    }
    // A copy of this device elsewhere may have asked: the two do not put one another out for ever.
    assert_eq!(asks, 0);
    assert_eq!(bob.state.group(&group).unwrap().standing, Standing::Removed);
    let told = events(&mut bob);
    assert!(told.iter().any(|event| matches!(event,
        Event::Settled { operation, verdict: Verdict::Refused(_) } if *operation == waits)));
    // If it comes after all, he is back by it.
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
}

#[test]
fn who_has_lost_the_key_package_of_a_request_that_is_read_late_comes_back() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    fall_out_of_step(&mut bob, group);
    let carols = carol.mailbox();
    let kept = withheld(&mut stage, &mut bob, |_| true);
    // Bob is in step again, and his clock goes ahead by a year, and back.
    let title = crate::frame::Frame::Title(cc_core::Opaque(b"Team".to_vec()));
    stage.say(&mut alice, &group, &title, &mut [&mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
    let before = stage.now.wall;
    stage.now.wall += 365 * 24 * 3_600_000;
    bob.forget_expired(stage.now).unwrap();
    stage.now.wall = before;
    let epoch = bob.group(&group).unwrap().epoch;
    let (to, item) = kept.into_iter().find(|(to, _)| *to == carols).unwrap();
    stage.service.inject(&to, false, item);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut bob, &mut alice]);
    }
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_carol.epoch > epoch, "Carol believed it");
    assert!(of_bob.in_step && of_bob.authenticator == of_carol.authenticator);
}
