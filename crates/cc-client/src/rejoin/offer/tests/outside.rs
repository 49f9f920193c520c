//! Devices outside of a group that are offered to be added to it: who was added, and does not know of it.

use super::*;
use crate::testing::fall_out_of_step;

#[test]
fn who_was_added_and_knows_nothing_of_it_comes_in_after_a_day() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.group(&group).unwrap().members.len(), 3);
    // The service loses what is in Carol's mailbox.
    stage.service.forget(&carol.mailbox(), Position(1));
    stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(carol.groups().count(), 0);
    pass_hours(&mut stage, 26, &mut [&mut alice, &mut bob, &mut carol]);
    let (of_alice, of_carol) = (alice.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_carol.in_step && of_carol.authenticator == of_alice.authenticator);
    let told = events(&mut carol);
    assert!(told.iter().any(|event| matches!(event, Event::Entered { .. })), "{told:?}");
}

#[test]
fn who_was_removed_and_added_again_without_hearing_of_it_comes_in_after_a_day() {
    for replaced in [false, true] {
        let mut stage = Stage::new();
        let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
        let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
        let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
        submit(&mut alice, Command::Remove { group, members: vec![carol.identity.id] });
        stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
        assert!(carol.group(&group).unwrap().epoch.is_none());
        // Of a device that was put out of a group for a copy of it, which is silent.
        let put_out = |carol: &mut Client| {
            carol.state.group_mut(&group)?.replaced = replaced;
            Ok(())
        };
        carol.transact(put_out).unwrap();
        alice.invite(group, package).unwrap();
        stage.settle(&mut [&mut alice, &mut bob]);
        let there = stage.service.log(&carol.mailbox()).len();
        stage.service.forget(&carol.mailbox(), Position(u64::try_from(there).unwrap()));
        pass_hours(&mut stage, 27, &mut [&mut alice, &mut bob, &mut carol]);
        let (of_alice, of_carol) = (alice.group(&group).unwrap(), carol.group(&group).unwrap());
        assert_eq!(of_carol.in_step && of_carol.epoch == of_alice.epoch, !replaced);
        assert_eq!(of_carol.epoch.is_none(), replaced, "the two do not put one another out");
    }
}

#[test]
fn offers_of_groups_that_are_none_have_few_asked() {
    let mut stage = Stage::new();
    let [mut alice, mut mallory] = ["Alice", "Mallory"].map(client);
    let before = stage.service.log(&mallory.mailbox()).len();
    for at in 0..100 {
        let body = offer(&mut mallory, &alice, GroupId::from_bytes([at; 32]));
        for body in [offer(&mut mallory, &alice, body.group), body] {
            assert_eq!(offered(&stage, &mut alice, signed(&mallory, body)), Fate::Request);
        }
        stage.settle(&mut [&mut alice]);
    }
    let asked = stage.service.log(&mallory.mailbox()).len() - before;
    assert_eq!(asked, 8);
    assert_eq!(alice.groups().count(), 0);
}

/// The service loses what is in this mailbox.
fn lose_mail(stage: &Stage, of: &Client) {
    let last = stage.service.log(&of.mailbox()).last().map(|item| item.position);
    stage.service.forget(&of.mailbox(), last.unwrap());
}

/// Carol was added to a group of Alice and Bob, and the service lost her welcome; and what Bob offers her.
fn added_in_vain(stage: &mut Stage, carol: &mut Client) -> ([Client; 2], GroupId, RejoinOffer) {
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    lose_mail(stage, carol);
    let added_at = bob.return_record(&group, carol.identity.id.as_bytes()).unwrap().added_at;
    let offer = OfferBody { added_at, ..offer(&mut bob, carol, group) };
    let offer = signed(&bob, offer);
    ([alice, bob], group, offer)
}

#[test]
fn groups_that_are_none_take_the_places_of_a_week_and_no_more() {
    let mut stage = Stage::new();
    let [mut carol, mut mallory] = ["Carol", "Mallory"].map(client);
    for at in 0..20 {
        let body = offer(&mut mallory, &carol, GroupId::from_bytes([at; 32]));
        assert_eq!(offered(&stage, &mut carol, signed(&mallory, body)), Fate::Request);
    }
    let ([mut alice, mut bob], group, offer) = added_in_vain(&mut stage, &mut carol);
    stage.now.mono += 7 * 24 * HOUR;
    stage.now.wall += 7 * 24 * HOUR;
    assert_eq!(offered(&stage, &mut carol, offer), Fate::Request);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    }
    assert!(carol.group(&group).is_ok_and(|group| group.in_step));
    assert_eq!(carol.unused_key_packages().unwrap(), 1, "those of groups that are none are gone");
}

#[test]
fn what_was_asked_of_many_members_of_one_group_takes_one_place() {
    let mut stage = Stage::new();
    let mut carol = client("Carol");
    let (now, other) = (stage.now, GroupId::from_bytes([7; 32]));
    // Of a group that she was removed from while she was out of step.
    let ask_many = |carol: &mut Client| {
        for _ in 0..9 {
            let seat = carol.new_seat(crate::recipe::Role::Invited)?;
            let latest = carol.latest_address()?;
            let (bundle, expires) = seat::key_package(carol.seat(&seat)?, latest, now)?;
            let asked = Some(Asked { group: other, joined_at: Position(1), time: now.wall });
            let package = PackageRecord { seat, expires, asked };
            carol.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        }
        Ok(())
    };
    carol.transact(ask_many).unwrap();
    let ([mut alice, mut bob], group, offer) = added_in_vain(&mut stage, &mut carol);
    assert_eq!(offered(&stage, &mut carol, offer), Fate::Request);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    }
    assert!(carol.group(&group).is_ok_and(|group| group.in_step));
}

#[test]
fn another_offer_does_not_undo_what_was_asked_before() {
    let mut stage = Stage::new();
    let [mut carol, mut mallory] = ["Carol", "Mallory"].map(client);
    let ([mut alice, mut bob], group, bobs) = added_in_vain(&mut stage, &mut carol);
    assert_eq!(offered(&stage, &mut carol, bobs), Fate::Request);
    stage.settle(&mut [&mut carol]);
    // Bob is away, and half a day later somebody who was in the group offers the same.
    stage.now.mono += 13 * HOUR;
    stage.now.wall += 13 * HOUR;
    let mallorys = offer(&mut mallory, &carol, group);
    let mallorys = signed(&mallory, mallorys);
    assert_eq!(offered(&stage, &mut carol, mallorys), Fate::Request);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut bob, &mut alice]);
    }
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_carol.in_step && of_carol.authenticator == of_bob.authenticator);
}

#[test]
fn who_came_in_while_its_clock_was_ahead_is_heard_when_it_asks_again() {
    let mut stage = Stage::new();
    let mut carol = client("Carol");
    let ([mut alice, mut bob], group, offer) = added_in_vain(&mut stage, &mut carol);
    // Both clocks are a year ahead.
    let before = stage.now.wall;
    stage.now.wall += 365 * 24 * HOUR;
    assert_eq!(offered(&stage, &mut carol, offer), Fate::Request);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut bob]);
    }
    stage.now.wall = before;
    let joined_at = carol.group(&group).unwrap().joined_at;
    assert!(carol.group(&group).unwrap().in_step);
    fall_out_of_step(&mut carol, group);
    for _ in 0..4 {
        stage.settle(&mut [&mut carol, &mut bob]);
    }
    let (of_bob, of_carol) = (bob.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(of_carol.joined_at > joined_at, "Bob heard her");
    assert!(of_carol.in_step && of_carol.authenticator == of_bob.authenticator);
    stage.settle(&mut [&mut alice]);
}

/// Mallory adds Carol to a group of her own, and puts her out there as if Carol had been restored elsewhere.
fn puts_out(stage: &mut Stage, mallory: &mut Client, carol: &mut Client) {
    let packages = carol.key_packages(stage.now, 2).unwrap();
    let group = mallory.found("A trap").unwrap();
    mallory.invite(group, packages[0].clone()).unwrap();
    stage.settle(&mut [mallory, carol]);
    assert!(carol.group(&group).unwrap().in_step);
    let readmit = |mallory: &mut Client| {
        mallory.enqueue(&group, None, records::Work::Readmit(vec![packages[1].clone()]))
    };
    mallory.transact(readmit).unwrap();
    // The service keeps the welcome from Carol, for Mallory did not send it.
    stage.settle(&mut [mallory]);
    lose_mail(stage, carol);
    stage.settle(&mut [carol]);
    assert!(carol.state.group(&group).unwrap().replaced);
}

#[test]
fn who_is_put_out_by_one_member_for_a_copy_that_is_none_comes_into_other_groups() {
    for in_step in [true, false] {
        let mut stage = Stage::new();
        let [mut carol, mut mallory, mut dave] = ["Carol", "Mallory", "Dave"].map(client);
        let honest = stage.group(&mut [&mut dave, &mut carol]);
        puts_out(&mut stage, &mut mallory, &mut carol);
        if !in_step {
            // As it is where a copy of her has asked to be added anew to all of her groups.
            let put_out = |carol: &mut Client| {
                let record = carol.state.group_mut(&honest)?;
                (record.standing, record.replaced) = (Standing::Removed, true);
                Ok(())
            };
            carol.transact(put_out).unwrap();
        }
        let ([mut alice, mut bob], group, offer) = added_in_vain(&mut stage, &mut carol);
        assert_eq!(offered(&stage, &mut carol, offer), Fate::Request);
        for _ in 0..2 {
            stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
        }
        assert_eq!(carol.group(&group).is_ok_and(|view| view.in_step), in_step);
    }
}

#[test]
fn who_was_put_out_for_a_copy_does_not_come_back_into_that_group_by_an_offer() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol, mut dave] = ["Alice", "Bob", "Carol", "Dave"].map(client);
    stage.group(&mut [&mut dave, &mut carol]);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    let put_out = |carol: &mut Client| {
        let record = carol.state.group_mut(&group)?;
        (record.standing, record.replaced) = (Standing::Removed, true);
        Ok(())
    };
    carol.transact(put_out).unwrap();
    let requests = carol.state.requests.len();
    let body = offer(&mut bob, &carol, group);
    assert_eq!(offered(&stage, &mut carol, signed(&bob, body)), Fate::Request);
    assert_eq!(carol.state.requests.len(), requests, "the two do not put one another out");
}

#[test]
fn an_offer_of_which_nothing_comes_takes_no_place() {
    let mut stage = Stage::new();
    let [mut carol, mut mallory] = ["Carol", "Mallory"].map(client);
    for at in 0..8 {
        let body = offer(&mut mallory, &carol, GroupId::from_bytes([at; 32]));
        assert_eq!(offered(&stage, &mut carol, signed(&mallory, body)), Fate::Request);
    }
    // The hour of those is over, and their requests still have all the places.
    stage.now.mono += 13 * HOUR;
    stage.now.wall += 13 * HOUR;
    let ([mut alice, mut bob], group, offer) = added_in_vain(&mut stage, &mut carol);
    let again = frame::encode(&offer).unwrap();
    assert_eq!(offered(&stage, &mut carol, offer), Fate::Request);
    let forget = |carol: &mut Client| carol.forget_requests(&GroupId::from_bytes([0; 32]));
    carol.transact(forget).unwrap();
    // At once, and not after half a day.
    assert_eq!(offered(&stage, &mut carol, frame::decode(&again).unwrap()), Fate::Request);
    for _ in 0..2 {
        stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    }
    assert!(carol.group(&group).is_ok_and(|group| group.in_step));
}
