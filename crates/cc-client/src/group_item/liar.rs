//! Members who append what they should not.

use cc_core::Opaque;

use crate::{
    Client, Fate,
    frame::{self, Frame, GroupItem},
    records::Work,
    seat::{self, Staged},
    testing::{Stage, client},
};

#[test]
fn a_commit_that_is_appended_as_none_changes_nothing() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let epoch = alice.group(&group).unwrap().epoch;
    let now = stage.now;
    let stage_commit = |mallory: &mut Client| {
        let latest = mallory.latest_address()?;
        let seat = mallory.group_seat(&group)?;
        let staged = seat::stage(seat, &Work::Refresh, latest, now)?;
        seat::discard(seat)?;
        Ok(staged)
    };
    let Staged::Change { commit, .. } = mallory.transact(stage_commit).unwrap() else {
        panic!("a change");
    };
    let item = frame::encode(&GroupItem::Sealed(Opaque(commit))).unwrap();
    stage.service.inject(&group, false, item);
    let fates = stage.settle(&mut [&mut alice, &mut bob]);
    let fates: Vec<Fate> = fates.into_iter().map(|(_, _, fate)| fate).collect();
    assert_eq!(fates, [Fate::Malformed; 2]);
    // The service knows the token of the epoch that all are in.
    alice.send(group, "hello").unwrap();
    let fates = stage.settle(&mut [&mut alice, &mut bob]);
    assert!(fates.contains(&(1, group, Fate::Message)));
    for person in [&alice, &bob] {
        let view = person.group(&group).unwrap();
        assert!(view.in_step && view.epoch == epoch);
    }
}

#[test]
fn a_title_is_short() {
    let mut stage = Stage::new();
    let [mut alice, mut mallory] = ["Alice", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut mallory]);
    let title = |len| Frame::Title(Opaque(vec![b'x'; len]));
    let heard = stage.say(&mut mallory, &group, &title(1025), &mut [&mut alice]);
    assert_eq!(heard, [Fate::Malformed]);
    assert_eq!(alice.group(&group).unwrap().title, "Dev Team");
    let heard = stage.say(&mut mallory, &group, &title(1024), &mut [&mut alice]);
    assert_eq!(heard, [Fate::Request]);
    assert_eq!(alice.group(&group).unwrap().title.len(), 1024);
    assert!(alice.found("x".repeat(1025)).is_err());
}

#[test]
fn requests_to_leave_take_one_place_in_the_queue() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    // Mallory asks again and again, and Bob does once.
    for liar in [&mut mallory, &mut bob] {
        for _ in 0..20 {
            let leave = |liar: &mut Client| seat::leave(liar.group_seat(&group)?);
            let wire = liar.transact(leave).unwrap();
            let item = frame::encode(&GroupItem::Sealed(Opaque(wire))).unwrap();
            stage.service.inject(&group, false, item);
        }
    }
    let items = stage.service.log(&group);
    let head = items.last().unwrap().position;
    let page = crate::Page { items, forgotten: crate::Position::START, head };
    let ledger = alice.handle(stage.now, crate::Input::Page { log: group, page }).unwrap();
    let asked = ledger.fates.iter().filter(|(_, _, fate)| *fate == Fate::Request);
    assert!(asked.count() >= 40);
    assert_eq!(alice.state.group(&group).unwrap().queued, 1);
    for _ in 0..4 {
        stage.settle(&mut [&mut alice]);
    }
    assert_eq!(alice.group(&group).unwrap().members.len(), 1, "all who asked have left");
}
