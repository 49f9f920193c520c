//! Members that are offered help: who gets such offers, how many, and what those of a liar do.

use super::*;
use crate::{
    Command, Event, OperationId,
    records::{Asked, PackageRecord, Standing},
    testing::{Stage, client, events, fall_out_of_step},
};

mod outside;

const HOUR: u64 = 3_600_000;

/// Hours pass, in each of which all do what is to be done.
fn pass_hours(stage: &mut Stage, hours: u32, people: &mut [&mut Client]) {
    for _ in 0..hours {
        stage.now.mono += HOUR;
        stage.now.wall += HOUR;
        stage.settle(people);
    }
}

fn submit(client: &mut Client, command: Command) {
    client.submit(OperationId::random().unwrap(), command).unwrap();
}

/// Alice was shown another log, and the only one whom she knew has left since: Bob, who had brought Carol in.
fn lost() -> (Stage, GroupId, [Client; 3]) {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let mut alone = Stage { service: stage.service.fork(), now: stage.now };
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    bob.invite(group, package).unwrap();
    stage.settle(&mut [&mut bob, &mut carol]);
    submit(&mut bob, Command::Leave(group));
    stage.settle(&mut [&mut bob, &mut carol]);
    submit(&mut alice, Command::Refresh(group));
    alone.settle(&mut [&mut alice]);
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    assert!(bob.group(&group).unwrap().epoch.is_none(), "Bob has left");
    (stage, group, [alice, bob, carol])
}

#[test]
fn who_knows_nobody_that_is_still_there_is_brought_back_by_who_came_since() {
    let (mut stage, group, [mut alice, mut bob, mut carol]) = lost();
    pass_hours(&mut stage, 3, &mut [&mut alice, &mut bob, &mut carol]);
    assert!(!alice.group(&group).unwrap().in_step, "Bob cannot help");
    pass_hours(&mut stage, 24, &mut [&mut alice, &mut bob, &mut carol]);
    let (of_alice, of_carol) = (alice.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_alice.in_step, "Carol brought her back");
    assert_eq!(of_alice.authenticator, of_carol.authenticator);
    assert_eq!(of_alice.members.len(), 2);
    let told = events(&mut alice);
    assert!(told.iter().any(|event| matches!(event, Event::Repaired { .. })), "{told:?}");
    let kept = alice.state.list::<OfferRecord>(&records::offers(&group), 10).unwrap();
    assert_eq!(kept, [], "nothing is left of it");
    carol.send(group, "welcome back").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    let told = events(&mut alice);
    assert!(told.iter().any(|event| matches!(event, Event::Message { .. })), "{told:?}");
}

#[test]
fn who_is_not_heard_of_is_written_to_by_few_and_ever_more_rarely() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol, mut dave] = ["Alice", "Bob", "Carol", "Dave"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol, &mut dave]);
    let mail = |stage: &Stage, of: &Client| stage.service.log(&of.mailbox()).len();
    for client in [&mut alice, &mut bob, &mut carol] {
        client.send(group, "hello").unwrap();
    }
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let (before, daves) = ([&alice, &bob, &carol].map(|it| mail(&stage, it)), mail(&stage, &dave));
    for _ in 0..64 {
        for client in [&mut alice, &mut bob, &mut carol] {
            client.send(group, "good morning").unwrap();
        }
        stage.now.mono += 24 * HOUR;
        stage.now.wall += 24 * HOUR;
        stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    }
    // Looks 1, 2, 4 to 64; where two do not agree who was heard of, another one writes.
    let offers = mail(&stage, &dave) - daves;
    assert!((WRITERS * 6..=WRITERS * 8).contains(&offers), "{offers}");
    assert_eq!([&alice, &bob, &carol].map(|it| mail(&stage, it)), before, "they are heard of");
    // He was only away: the offers are of no use to him.
    stage.settle(&mut [&mut dave, &mut alice, &mut bob, &mut carol]);
    assert!(dave.group(&group).unwrap().in_step);
    let told = events(&mut dave);
    assert!(!told.iter().any(|event| matches!(event, Event::Diverged { .. })), "{told:?}");
}

#[test]
fn in_a_group_in_which_nobody_says_anything_few_write_to_each() {
    let mut stage = Stage::new();
    let mut people: Vec<Client> = (0..10).map(|at| client(&format!("person {at}"))).collect();
    let group = stage.group(&mut people.iter_mut().collect::<Vec<_>>());
    let mail = |stage: &Stage, people: &[Client]| -> Vec<usize> {
        people.iter().map(|it| stage.service.log(&it.mailbox()).len()).collect()
    };
    let before = mail(&stage, &people);
    for _ in 0..5 {
        pass_hours(&mut stage, 1, &mut people.iter_mut().collect::<Vec<_>>());
        stage.now.mono += 23 * HOUR;
        stage.now.wall += 23 * HOUR;
    }
    // Looks 1, 2 and 4.
    let offers: Vec<_> =
        mail(&stage, &people).iter().zip(before).map(|(it, old)| it - old).collect();
    assert!(offers.iter().all(|offers| *offers <= 3 * WRITERS), "{offers:?}");
    assert!(offers.iter().all(|offers| *offers > 0), "{offers:?}");
    assert!(people.iter().all(|it| it.group(&group).unwrap().in_step));
}

#[test]
fn a_request_of_who_comes_in_meanwhile_puts_it_out_for_no_longer_than_its_welcome_takes() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    submit(&mut alice, Command::Remove { group, members: vec![carol.identity.id] });
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    // Bob hears nothing of Carol, and what he offers is read before the welcome is.
    let added_at = bob.return_record(&group, carol.identity.id.as_bytes()).unwrap().added_at;
    let body = OfferBody { added_at, ..offer(&mut bob, &carol, group) };
    assert_eq!(offered(&stage, &mut carol, signed(&bob, body)), Fate::Request);
    stage.settle(&mut [&mut carol]);
    let joined_at = carol.group(&group).unwrap().joined_at;
    assert!(carol.group(&group).unwrap().in_step && joined_at == added_at, "by the welcome");
    // What she asked is read now.
    stage.settle(&mut [&mut bob, &mut alice, &mut carol]);
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_carol.joined_at > joined_at, "Bob believed it");
    assert!(of_carol.in_step && of_carol.authenticator == of_bob.authenticator);
    // And none is sent where a welcome waits already.
    let [mut dave] = ["Dave"].map(client);
    let package = dave.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    let (mailbox, items) = (dave.mailbox(), stage.service.log(&dave.mailbox()));
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: Position::START, head };
    let _ledger = dave.handle(stage.now, crate::Input::Page { log: mailbox, page }).unwrap();
    let body = offer(&mut bob, &dave, group);
    let requests = dave.state.requests.len();
    assert_eq!(offered(&stage, &mut dave, signed(&bob, body)), Fate::Request);
    assert_eq!(dave.state.requests.len(), requests);
}

#[test]
fn who_renews_its_keys_is_heard_of() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let id = *bob.identity.id.as_bytes();
    pass_hours(&mut stage, 49, &mut [&mut alice, &mut bob]);
    assert!(alice.return_record(&group, &id).unwrap().silent > 0);
    submit(&mut bob, Command::Refresh(group));
    stage.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.return_record(&group, &id).unwrap().silent, 0);
}

#[test]
fn who_waits_for_a_welcome_does_not_give_up_sooner_for_an_offer() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let waits = |bob: &mut Client| {
        let record = bob.state.group_mut(&group)?;
        record.standing = Standing::Rejoining(record.cursor);
        record.rejoins = super::super::ASKS_FOR_NOTHING;
        Ok(())
    };
    bob.transact(waits).unwrap();
    let due = stage.now.mono + 60_000;
    bob.timers.suspects.insert(group, due);
    let body = offer(&mut mallory, &bob, group);
    assert_eq!(offered(&stage, &mut bob, signed(&mallory, body)), Fate::Request);
    assert_eq!(bob.timers.suspects.get(&group), Some(&due));
}

/// `from` offers `to` that; everything in it is genuine.
fn offer(from: &mut Client, to: &Client, group: GroupId) -> OfferBody {
    let own = from.state.device(from.identity.id.as_bytes()).unwrap().unwrap();
    let keys = from.state.own_contact().unwrap().keys().unwrap();
    let (certificate, address) = (own.certificate().unwrap(), from.mail_address().unwrap());
    let (to, added_at) = (to.mailbox(), Position::START);
    OfferBody { group, to, added_at, keys, certificate, address }
}

fn copy(body: &OfferBody) -> OfferBody {
    frame::decode(&frame::encode(body).unwrap()).unwrap()
}

fn signed(from: &Client, body: OfferBody) -> RejoinOffer {
    let signature = person::sign(&from.identity.device_key().unwrap(), OFFER, &body).unwrap();
    RejoinOffer { body, signature }
}

/// `from` offers `to` now to add it anew.
pub(crate) fn offer_of(from: &mut Client, to: &Client, group: GroupId) -> RejoinOffer {
    let body = offer(from, to, group);
    signed(from, body)
}

fn offered(stage: &Stage, reader: &mut Client, offer: RejoinOffer) -> Fate {
    reader.transact(|reader| reader.rejoin_offered(offer, stage.now)).unwrap()
}

#[test]
fn an_offer_counts_for_whom_it_was_made_by_who_signed_it() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let kept = |alice: &Client| {
        alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap().len()
    };
    // Mallory would have Alice ask Bob, who did not offer it.
    let body = offer(&mut bob, &alice, group);
    assert_eq!(offered(&stage, &mut alice, signed(&mallory, body)), Fate::Forged);
    // Or write to a mailbox of her choice in Bob's name, or have that sealed to her.
    let mut body = offer(&mut bob, &alice, group);
    body.address = mallory.mail_address().unwrap();
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Forged);
    let mut body = offer(&mut bob, &alice, group);
    body.certificate.body.mailbox = mallory.mailbox();
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Forged);
    let mut body = offer(&mut bob, &alice, group);
    body.address = mallory.mail_address().unwrap();
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Forged);
    let mut body = offer(&mut mallory, &alice, group);
    body.keys = bob.state.own_contact().unwrap().keys().unwrap();
    assert_eq!(offered(&stage, &mut alice, signed(&mallory, body)), Fate::Forged);
    // Of no group, to somebody else, of oneself.
    let body = offer(&mut bob, &alice, alice.mailbox());
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Malformed);
    let body = offer(&mut bob, &mallory, group);
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Malformed);
    let body = offer(&mut alice, &bob, group);
    let body = OfferBody { to: alice.mailbox(), ..body };
    let own = signed(&alice, body);
    assert_eq!(offered(&stage, &mut alice, own), Fate::Malformed);
    assert_eq!(kept(&alice), 0);
    let body = offer(&mut bob, &alice, group);
    assert_eq!(offered(&stage, &mut alice, signed(&bob, body)), Fate::Request);
    assert_eq!(kept(&alice), 1);
    assert!(alice.group(&group).unwrap().in_step, "and changes nothing by itself");
    assert_eq!(alice.state.group(&group).unwrap().standing, Standing::Member);
}

#[test]
fn many_who_offer_help_and_give_none_do_not_make_a_member_ask_without_end() {
    let (mut stage, group, [mut alice, _bob, _carol]) = lost();
    let mut liars: Vec<Client> = (0..12).map(|at| client(&format!("liar {at}"))).collect();
    let (mut asked, mut largest) = (0, 0);
    // Each of them offers it every ten minutes for a day.
    for _ in 0..144 {
        for liar in &mut liars {
            let body = offer(liar, &alice, group);
            let offer = signed(liar, body);
            assert_eq!(offered(&stage, &mut alice, offer), Fate::Request);
        }
        let kept = alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap();
        assert_eq!(kept.len(), MAX_OFFERS_KEPT);
        let before = alice.state.group(&group).unwrap().rejoins;
        stage.now.mono += HOUR / 6;
        stage.now.wall += HOUR / 6;
        stage.settle(&mut [&mut alice]);
        let record = alice.state.group(&group).unwrap();
        asked += record.rejoins - before;
        largest = largest.max(record.asking.len());
    }
    // Once in 32 minutes, a few at a time.
    assert!((20..60).contains(&asked), "{asked}");
    assert!(largest <= USED_AT_ONCE + 6, "{largest}");
}

#[test]
fn devices_that_are_made_up_push_out_no_known_one() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let mut liars: Vec<Client> = (0..9).map(|at| client(&format!("liar {at}"))).collect();
    let now = stage.now;
    let mut offer_it = |from: &mut Client, alice: &mut Client| {
        stage.now.wall += 1;
        let body = offer(from, alice, group);
        assert_eq!(offered(&stage, alice, signed(from, body)), Fate::Request);
    };
    offer_it(&mut bob, &mut alice);
    for liar in &mut liars {
        offer_it(liar, &mut alice);
    }
    let kept = alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap();
    assert_eq!(kept.len(), MAX_OFFERS_KEPT);
    assert_eq!(kept.iter().filter(|(_, offer)| offer.known).count(), 1);
    let asked = alice.transact(|alice| alice.offers_to_use(&group, now)).unwrap();
    assert!(asked.contains(&bob.mail_address().unwrap()), "before those of whom nothing is known");
    // Where all are known, who is not takes no place.
    let all_known = |alice: &mut Client| {
        for (key, offer) in alice.state.list::<OfferRecord>(&records::offers(&group), 100)? {
            alice.state.put(
                &records::offers(&group),
                key,
                &OfferRecord { known: true, ..offer },
            )?;
        }
        Ok(())
    };
    alice.transact(all_known).unwrap();
    let before = alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap();
    offer_it(&mut liars[0], &mut alice);
    assert_eq!(alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap(), before);
}

#[test]
fn nobody_offers_help_as_another_device() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol, mut dave, mut mallory] =
        ["Alice", "Bob", "Carol", "Dave", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    // Who was added and has not said who it is is known by its leaf.
    let package = dave.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.state.device(dave.identity.id.as_bytes()).unwrap(), None);
    for (victim, known) in [(&mut bob, true), (&mut dave, true), (&mut carol, false)] {
        let body = offer(victim, &alice, group);
        let theirs = signed(victim, body);
        assert_eq!(offered(&stage, &mut alice, theirs), Fate::Request);
        // A device of Mallory's, which says that it is a member of that id.
        let mut body = offer(&mut mallory, &alice, group);
        let (member, key) =
            (*victim.identity.id.as_bytes(), mallory.identity.device_key().unwrap());
        let lie = crate::device::DeviceBody { member, ..body.certificate.body };
        let certified = lie.certify(&mallory.person_key().unwrap()).unwrap();
        body.certificate = certified.consent(&key).unwrap();
        let address = crate::mail::AddressBody { member, ..body.address.body };
        body.address = address.sign(&key).unwrap();
        let expected = if known { Fate::Forged } else { Fate::Request };
        assert_eq!(offered(&stage, &mut alice, signed(&mallory, body)), expected);
        let kept = alice.state.list::<OfferRecord>(&records::offers(&group), 100).unwrap();
        let theirs = frame::encode(&victim.mail_address().unwrap()).unwrap();
        assert!(kept.iter().any(|(_, offer)| offer.address == theirs), "it is kept");
    }
}

#[test]
fn an_offer_to_ask_in_the_mailbox_of_a_member_takes_no_request_from_it() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    // Of a device that nobody knows, which says that Bob's mailbox is its own.
    let mut body = offer(&mut mallory, &alice, group);
    let (mailbox, key) = (bob.mailbox(), mallory.identity.device_key().unwrap());
    let lie = crate::device::DeviceBody { mailbox, ..body.certificate.body };
    let certified = lie.certify(&mallory.person_key().unwrap()).unwrap();
    body.certificate = certified.consent(&key).unwrap();
    let address = crate::mail::AddressBody { mailbox, ..body.address.body };
    body.address = address.sign(&key).unwrap();
    let theirs = offer(&mut bob, &alice, group);
    for known in [false, true] {
        // Beside Bob's address, and beside his own offer.
        if known {
            let theirs = signed(&bob, copy(&theirs));
            assert_eq!(offered(&stage, &mut alice, theirs), Fate::Request);
        }
        let lie = signed(&mallory, copy(&body));
        assert_eq!(offered(&stage, &mut alice, lie), Fate::Request);
        let before = alice.group(&group).unwrap().joined_at;
        fall_out_of_step(&mut alice, group);
        pass_hours(&mut stage, 3, &mut [&mut alice, &mut bob]);
        let view = alice.group(&group).unwrap();
        assert!(view.in_step && view.joined_at > before, "Bob added her anew");
    }
}

#[test]
fn what_is_known_of_the_coming_back_of_a_member_goes_with_it() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    let kept = |alice: &Client, of: &Client| -> Option<ReturnRecord> {
        alice.state.get(&records::returns(&group), of.identity.id.as_bytes()).unwrap()
    };
    // Carol has asked to be added anew once; Bob never did.
    let asks = |alice: &mut Client| {
        let member = *carol.identity.id.as_bytes();
        let known = alice.return_record(&group, &member)?;
        let record = ReturnRecord { asked: stage.now.wall, ..known };
        alice.state.put(&records::returns(&group), member, &record)
    };
    alice.transact(asks).unwrap();
    let asked = stage.now.wall;
    pass_hours(&mut stage, 26, &mut [&mut alice]);
    assert!(kept(&alice, &bob).is_some_and(|record| record.invited_at.is_some()), "in use");
    let members = vec![bob.identity.id, carol.identity.id];
    submit(&mut alice, Command::Remove { group, members });
    pass_hours(&mut stage, 26, &mut [&mut alice]);
    assert_eq!(kept(&alice, &bob), None);
    // An old request of hers is still known as one, until its key package has expired.
    assert_eq!(kept(&alice, &carol), Some(ReturnRecord { asked, ..ReturnRecord::default() }));
    stage.now.wall += 91 * 24 * HOUR;
    stage.now.mono += 91 * 24 * HOUR;
    stage.settle(&mut [&mut alice]);
    assert_eq!(kept(&alice, &carol), None);
}
