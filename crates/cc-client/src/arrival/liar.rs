//! Who has a key package of somebody, and names a log that is not that of its group.

use std::sync::{Arc, Mutex};

use cc_core::{Opaque, store::MemoryStore};

use crate::{
    Call, Client, Command, Event, Failure, Fate, GroupId, Input, LogId, OperationId, Position,
    Profile, Recipe,
    frame::{self, Invitation, Mail},
    introduction::Roster,
    recipe::Role,
    records::{self, PackageRecord, Standing, Work},
    seat::{self, Place, Staged},
    testing::{Stage, client, events, fall_out_of_step, mail_to, read_mail},
};

/// A welcome, and the stack of who makes it.
pub(super) struct Forged {
    pub(super) welcome: Vec<u8>,
    pub(super) seat: String,
}

/// A welcome to a group of the liar's own, which is called as the other one.
pub(super) fn forge(liar: &mut Client, offer: &[u8], stage: &Stage) -> Forged {
    let (now, offer) = (stage.now, offer.to_vec());
    let forged = liar.transact(|liar| {
        let seat = liar.new_seat(Role::Founder("Dev Team"))?;
        let (work, latest) = (Work::Add(vec![offer]), liar.latest_address()?);
        let stack = liar.seat(&seat)?;
        let Staged::Change { id, .. } = seat::stage(stack, &work, latest, now)? else {
            panic!("a change");
        };
        let welcome = seat::confirm(stack, id)?.1.unwrap();
        Ok(Forged { welcome, seat })
    });
    forged.unwrap()
}

/// An invitation with this welcome to this place, as somebody in the welcome's epoch makes it.
pub(super) fn invitation(
    liar: &mut Client,
    bundle: &[u8],
    place: &Place,
    forged: &Forged,
) -> Invitation {
    let roster = liar
        .transact(|liar| seat::seal_roster(liar.seat(&forged.seat)?, place, &Roster::default()));
    Invitation {
        package: frame::package_digest(bundle),
        log: place.log,
        position: place.position,
        welcome: Opaque(forged.welcome.clone()),
        inviter: liar.mail_address().unwrap(),
        roster: Opaque(roster.unwrap()),
    }
}

fn invite(
    stage: &Stage,
    liar: &mut Client,
    to: &Client,
    bundle: &[u8],
    (log, position): (GroupId, Position),
    forged: &Forged,
) {
    let place = Place { log, position, inviter: liar.mailbox() };
    let invitation = invitation(liar, bundle, &place, forged);
    stage.service.inject(&to.mailbox(), false, mail_to(to, &Mail::Invitation(invitation)));
}

pub(super) fn last_commit(stage: &Stage, group: &GroupId) -> Position {
    stage.service.log(group).iter().rfind(|item| item.commit).unwrap().position
}

pub(super) fn bundle_of(offer: &[u8]) -> Vec<u8> {
    seat::read_offer(offer).unwrap().bundle.0
}

/// Some minutes pass, and the last fate of each mailbox's items.
pub(super) fn wait(stage: &mut Stage, people: &mut [&mut Client]) -> Vec<Fate> {
    let mailboxes: Vec<LogId> = people.iter().map(|person| person.mailbox()).collect();
    let mut fates = Vec::new();
    for _ in 0..12 {
        fates.extend(stage.settle(people));
    }
    let of_mail = fates.into_iter().filter(|(_, log, _)| mailboxes.contains(log));
    of_mail.map(|(_, _, fate)| fate).collect()
}

#[test]
fn an_invitation_of_a_stay_that_is_over_leads_nobody_back_into_it() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = alice.found("Dev Team").unwrap();
    let (mut places, member) = (Vec::new(), bob.me().id);
    let remove = |alice: &mut Client| {
        let remove = Command::Remove { group, members: vec![member] };
        alice.submit(OperationId::random().unwrap(), remove).unwrap();
    };
    for package in bob.key_packages(stage.now, 2).unwrap() {
        alice.invite(group, package).unwrap();
        stage.settle(&mut [&mut alice]);
        places.push(last_commit(&stage, &group));
        if places.len() == 1 {
            alice.send(group, "of the first stay").unwrap();
            stage.settle(&mut [&mut alice]);
            remove(&mut alice);
            stage.settle(&mut [&mut alice]);
        }
    }
    // Bob was away, and the log says nothing to the first welcome for now.
    let before_first = Position(places[0].0 - 1);
    let come = |stage: &mut Stage, bob: &mut Client, withheld: bool| {
        let mut fates = Vec::new();
        for _ in 0..20 {
            while let Some(request) = bob.poll_request(stage.now).unwrap() {
                let result = match &request.call {
                    Call::Read(read)
                        if withheld && read.log == group && read.after == before_first =>
                    {
                        Err(Failure::Unknown)
                    }
                    _ => request.perform(&mut stage.service),
                };
                let input = Input::Response { id: request.id, result };
                let ledger = bob.handle(stage.now, input).unwrap();
                fates.extend(ledger.fates.into_iter().map(|(log, _, fate)| (log, fate)));
            }
            stage.now.mono += 5_000;
        }
        fates
    };
    come(&mut stage, &mut bob, true);
    assert_eq!(bob.group(&group).unwrap().joined_at, places[1]);
    remove(&mut alice);
    stage.settle(&mut [&mut alice]);
    come(&mut stage, &mut bob, true);
    assert!(bob.group(&group).unwrap().epoch.is_none());
    events(&mut bob);
    // Now it does, and the first stay is over.
    let fates = come(&mut stage, &mut bob, false);
    assert_eq!(fates.last(), Some(&(bob.mailbox(), Fate::Duplicate)));
    assert!(fates.iter().all(|(_, fate)| *fate == Fate::Duplicate), "{fates:?}");
    assert!(bob.group(&group).unwrap().epoch.is_none() && events(&mut bob).is_empty());
    // By a later one he is back.
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
}

#[test]
fn who_was_asked_for_help_does_not_take_the_place() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    fall_out_of_step(&mut bob, group);
    stage.settle(&mut [&mut bob]);
    let before = bob.group(&group).unwrap();
    // Mallory takes the key package out of the request in her mailbox.
    let items = stage.service.log(&mallory.mailbox());
    let Mail::Rejoin(request) = read_mail(&mallory, &items.last().unwrap().bytes) else {
        panic!("a request");
    };
    let offer = request.body.offer;
    let forged = forge(&mut mallory, &frame::encode(&offer).unwrap(), &stage);
    let bundle = offer.bundle.as_slice();
    let at = last_commit(&stage, &group);
    invite(&stage, &mut mallory, &bob, bundle, (group, at), &forged);
    let place = Place { log: group, position: Position(9_999), inviter: mallory.mailbox() };
    let invitation = Mail::Invitation(invitation(&mut mallory, bundle, &place, &forged));
    for _ in 0..2 {
        // Sealed twice, it is one.
        stage.service.inject(&bob.mailbox(), false, mail_to(&bob, &invitation));
    }
    let fates = wait(&mut stage, &mut [&mut bob]);
    let early = Fate::Early;
    // Positions are of the real log, or not even there; the second copy is known as one.
    assert_eq!(fates, [early, early, Fate::Duplicate, Fate::Unconfirmed, Fate::Unconfirmed]);
    let after = bob.group(&group).unwrap();
    assert_eq!((after.authenticator, after.members), (before.authenticator, before.members));
    let told = events(&mut bob);
    assert!(!told.iter().any(|event| matches!(event, Event::Repaired { .. })), "{told:?}");
    assert!(told.iter().any(|event| matches!(event,
        Event::Unreadable { fate: Fate::Unconfirmed, log, .. } if *log == bob.mailbox())));
    // And the same request still brings him back.
    wait(&mut stage, &mut [&mut alice, &mut bob]);
    let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
    assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
    assert!(events(&mut bob).iter().any(|event| matches!(event, Event::Repaired { .. })));
}

#[test]
fn a_group_of_ones_own_takes_no_place_in_another() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let [now, unknown] = [stage.now; 2];
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let other = alice.found("Without Bob").unwrap();
    let package = mallory.key_packages(now, 1).unwrap().remove(0);
    alice.invite(other, package).unwrap();
    stage.settle(&mut [&mut alice, &mut mallory, &mut bob]);
    // A member of the group, as somebody who is not in it, and where there is no log.
    let nowhere = GroupId::random().unwrap();
    for log in [group, other, nowhere] {
        let offer = bob.key_packages(unknown, 1).unwrap().remove(0);
        let forged = forge(&mut mallory, &offer, &stage);
        let at = match stage.service.log(&log).len() {
            0 => Position(1),
            _ => last_commit(&stage, &log),
        };
        let before = bob.group(&group).unwrap();
        invite(&stage, &mut mallory, &bob, &bundle_of(&offer), (log, at), &forged);
        let fates = wait(&mut stage, &mut [&mut bob]);
        let refused = [Fate::Forged, Fate::Misaddressed, Fate::Unconfirmed];
        assert!(fates.last().is_some_and(|fate| refused.contains(fate)), "{fates:?}");
        let after = bob.group(&group).unwrap();
        assert_eq!(after, before);
        assert_eq!(bob.groups().count(), 1);
        assert!(bob.state.arrivals.is_empty());
    }
    // Neither is the way in closed to the truth, nor the place of who was removed open to a lie.
    let offer = bob.key_packages(now, 1).unwrap().remove(0);
    alice.invite(other, offer).unwrap();
    let members = vec![bob.identity.id];
    let remove = Command::Remove { group, members };
    alice.submit(OperationId::random().unwrap(), remove).unwrap();
    wait(&mut stage, &mut [&mut alice, &mut bob]);
    assert!(bob.group(&other).unwrap().in_step);
    assert_eq!(bob.state.group(&group).unwrap().standing, Standing::Removed);
    events(&mut bob);
    let offer = bob.key_packages(now, 1).unwrap().remove(0);
    let forged = forge(&mut mallory, &offer, &stage);
    let at = last_commit(&stage, &group);
    invite(&stage, &mut mallory, &bob, &bundle_of(&offer), (group, at), &forged);
    let fates = wait(&mut stage, &mut [&mut bob]);
    assert_eq!(fates, [Fate::Early, Fate::Unconfirmed]);
    assert_eq!(bob.state.group(&group).unwrap().standing, Standing::Removed);
    assert!(matches!(bob.send(group, "to whom?"), Err(crate::Fault::NotAMember(_))));
}

#[test]
fn a_commit_is_where_the_inviter_says() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, offer.clone()).unwrap();
    stage.settle(&mut [&mut alice]);
    alice.send(group, "to be read").unwrap();
    stage.settle(&mut [&mut alice]);
    // Alice's program says that it was later: Bob would not read what is before.
    let items = stage.service.log(&bob.mailbox());
    let Mail::Invitation(real) = read_mail(&bob, &items[0].bytes) else {
        panic!("an invitation");
    };
    let head = stage.service.log(&group).last().unwrap().position;
    let seat = alice.state.group(&group).unwrap().seat.clone();
    let lie = Forged { welcome: real.welcome.0.clone(), seat };
    invite(&stage, &mut alice, &bob, &bundle_of(&offer), (group, head), &lie);
    // The lie is read first.
    let items: Vec<_> = stage.service.log(&bob.mailbox()).into_iter().rev().zip(1..).collect();
    let items = items.into_iter().map(|(item, at)| crate::Item { position: Position(at), ..item });
    let page =
        crate::Page { items: items.collect(), forgotten: Position::START, head: Position(2) };
    let log = bob.mailbox();
    let _ledger = bob.handle(stage.now, Input::Page { log, page }).unwrap();
    let fates = wait(&mut stage, &mut [&mut alice, &mut bob]);
    assert!(fates.contains(&Fate::Unconfirmed) && fates.contains(&Fate::Joined), "{fates:?}");
    assert_eq!(bob.group(&group).unwrap().joined_at, real.position);
    let told = events(&mut bob);
    assert!(told.iter().any(|event| matches!(event, Event::Message { .. })), "{told:?}");
}

#[test]
fn a_welcome_that_waits_for_its_log_outlives_the_process() {
    let mut stage = Stage::new();
    let disk = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice = client("Alice");
    let profile = Profile::new("Bob");
    let mut bob = Client::create(Arc::clone(&disk), profile, Recipe::group()).unwrap();
    let group = alice.found("Dev Team").unwrap();
    let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, offer).unwrap();
    stage.settle(&mut [&mut alice]);
    let mailbox = bob.mailbox();
    let items = stage.service.log(&mailbox);
    let page = crate::Page { items, forgotten: Position::START, head: Position(1) };
    let ledger = bob.handle(stage.now, Input::Page { log: mailbox, page }).unwrap();
    assert_eq!(ledger.fates, [(mailbox, Position(1), Fate::Early)]);
    assert!(!bob.is_caught_up());
    for _ in 0..3 {
        // Killed before and after its log was asked.
        bob.close();
        bob = Client::open(Arc::clone(&disk)).unwrap();
        assert_eq!(bob.groups().count(), 0);
        let request = bob.poll_request(stage.now).unwrap();
        assert!(request.is_some());
    }
    bob.close();
    bob = Client::open(disk).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
    let packages = bob.state.list::<PackageRecord>(&records::packages(), 9).unwrap();
    assert_eq!(packages.len(), 0, "the key package is used up");
    let told = events(&mut bob);
    let entered = told.iter().filter(|event| matches!(event, Event::Entered { .. })).count();
    assert_eq!(entered, 1);
}

#[test]
fn welcomes_that_no_log_confirms_are_bounded() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let now = stage.now;
    let count = super::MAX_ARRIVALS + 8;
    for offer in bob.key_packages(now, count).unwrap() {
        let forged = forge(&mut mallory, &offer, &stage);
        let place = (GroupId::random().unwrap(), Position(1));
        invite(&stage, &mut mallory, &bob, &bundle_of(&offer), place, &forged);
    }
    let mut fates = stage.settle(&mut [&mut bob]);
    assert!(bob.state.arrivals.len() <= super::MAX_ARRIVALS);
    // An honest one comes in meanwhile.
    let group = alice.found("Dev Team").unwrap();
    let offer = bob.key_packages(now, 1).unwrap().remove(0);
    alice.invite(group, offer).unwrap();
    fates.extend(stage.settle(&mut [&mut alice, &mut bob]));
    assert!(bob.group(&group).unwrap().in_step);
    let told = wait(&mut stage, &mut [&mut bob]);
    let ended = fates.iter().filter(|(_, _, fate)| *fate == Fate::Unconfirmed).count();
    let later = told.iter().filter(|fate| **fate == Fate::Unconfirmed).count();
    assert_eq!(ended + later, count, "each is told");
}

#[test]
fn newcomers_alone_are_told_who_is_there() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol, mut dora] = ["Alice", "Bob", "Carol", "Dora"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
    let before = stage.service.log(&group).len();
    let package = dora.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice]);
    // The commit and the title; who the others are is no message to those who know it.
    let log = stage.service.log(&group);
    assert_eq!(log.len(), before + 2);
    assert!(log[before + 1].bytes.len() < 1024);
    // Dora knows all at once, and nobody has said anything since.
    while !dora.group(&group).is_ok_and(|view| view.in_step) {
        let request = dora.poll_request(stage.now).unwrap().unwrap();
        let result = request.perform(&mut stage.service);
        let _ledger = dora.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
    }
    for person in [&alice, &bob, &carol] {
        let view = dora.person(&crate::testing::id(person)).unwrap();
        assert_eq!(view.devices[0].id, person.identity.id);
    }
    assert!(!events(&mut dora).iter().any(|event| matches!(event, Event::Unreadable { .. })));
}

#[test]
fn an_inviter_that_lies_about_members_is_told_of() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut dora] = ["Alice", "Bob", "Dora"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    // Alice's program has another key in Bob's certificate.
    let member = *bob.identity.id.as_bytes();
    alice
        .transact(|alice| {
            let mut device = alice.state.device(&member)?.unwrap();
            let mut certificate = device.certificate()?;
            certificate.device_signature[0] ^= 1;
            device.certificate = frame::encode(&certificate)?;
            alice.state.put_device(&member, &device)
        })
        .unwrap();
    let package = dora.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice]);
    stage.settle(&mut [&mut dora]);
    assert!(dora.group(&group).unwrap().in_step);
    assert!(dora.person(&crate::testing::id(&bob)).is_err(), "a device of nobody");
    assert!(dora.person(&crate::testing::id(&alice)).is_ok());
    let mailbox = dora.mailbox();
    let told = events(&mut dora);
    assert!(told.iter().any(|event| matches!(event,
        Event::Unreadable { log, fate: Fate::Forged, .. } if *log == mailbox)));
}

#[test]
fn who_has_lost_the_key_package_of_a_welcome_asks_for_another() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let year = 365 * 24 * 3_600_000;
    let later = crate::Now { wall: stage.now.wall + year, mono: 0 };
    assert_eq!(bob.forget_expired(later).unwrap(), 1);
    alice.invite(group, package.clone()).unwrap();
    let fates = stage.settle(&mut [&mut alice, &mut bob]);
    assert!(fates.iter().any(|(_, _, fate)| *fate == Fate::OrphanWelcome), "it is told");
    let (of_bob, of_alice) = (bob.group(&group).unwrap(), alice.group(&group).unwrap());
    assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
    assert!(events(&mut bob).iter().any(|event| matches!(event, Event::Entered { .. })));
    // Somebody who makes up many such welcomes does not make him work without end.
    let bundle = bundle_of(&package);
    let mut nobody = client("Nobody");
    let seat = nobody.transact(|nobody| nobody.new_seat(Role::Founder(""))).unwrap();
    let noise = Forged { welcome: vec![1; 100], seat };
    for _ in 0..30 {
        let place = (GroupId::random().unwrap(), Position(1));
        invite(&stage, &mut nobody, &bob, &bundle, place, &noise);
    }
    stage.settle(&mut [&mut bob]);
    assert_eq!(stage.service.log(&nobody.mailbox()).len(), 8);
}
