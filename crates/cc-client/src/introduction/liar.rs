//! Members who lie about people: their own, and others.

use cc_core::store::MemoryStore;

use super::PeopleUpdate;
use crate::{
    Client, Event, Fate, GroupId, Profile, Recipe, Trust,
    device::{DeviceBody, DeviceCertificate, RevocationBody},
    frame::{self, Frame, List},
    identity::Identity,
    person::{PersonKeys, new_key},
    testing::{Stage, client, events, id},
};

/// Alice, Bob and Mallory, who lies.
struct Scene {
    stage: Stage,
    group: GroupId,
    alice: Client,
    bob: Client,
    mallory: Client,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new();
        let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
        let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
        for person in [&mut alice, &mut bob, &mut mallory] {
            events(person);
        }
        Self { stage, group, alice, bob, mallory }
    }

    /// What Alice makes of what Mallory says.
    fn hear(&mut self, update: PeopleUpdate) -> Vec<Fate> {
        let frame = Frame::People(update);
        self.stage.say(&mut self.mallory, &self.group, &frame, &mut [&mut self.alice])
    }

    fn bobs_certificate(&self) -> DeviceCertificate {
        let device = self.mallory.state.device(self.bob.identity.id.as_bytes()).unwrap().unwrap();
        device.certificate().unwrap()
    }

    fn keys_of(&self, of: &Client) -> PersonKeys {
        self.mallory.state.contact(&id(of)).unwrap().unwrap().keys().unwrap()
    }

    fn alices_trust(&mut self, of: &Client) -> Trust {
        self.alice.person(&id(of)).unwrap().trust
    }

    /// Bob is still Bob, and Alice is told of nothing but that an item was forged.
    fn nothing_came_of_it(mut self) {
        let view = self.alice.person(&id(&self.bob)).unwrap();
        assert_eq!((view.trust, view.devices.len()), (Trust::Pinned, 1));
        assert_eq!(view.devices[0].id, self.bob.identity.id);
        assert_eq!(self.alice.person(&id(&self.mallory)).unwrap().devices.len(), 1);
        let told = events(&mut self.alice);
        assert!(told.iter().all(|event| matches!(event, Event::Unreadable { .. })), "{told:?}");
    }
}

fn update(keys: PersonKeys, certificates: Vec<DeviceCertificate>) -> PeopleUpdate {
    PeopleUpdate {
        people: List(vec![keys]),
        certificates: List(certificates),
        revocations: List::default(),
        addresses: List::default(),
    }
}

#[test]
fn a_forged_certificate_is_refused() {
    let mut scene = Scene::new();
    let good = scene.bobs_certificate();
    let mallorys = scene.mallory.person_key().unwrap();
    let body = DeviceBody { serial: 9, person_name: b"Eve"[..].into(), ..good.body.clone() };
    let forged = good.renew(&mallorys, body).unwrap();
    let keys = scene.keys_of(&scene.bob);
    assert_eq!(scene.hear(update(keys, vec![forged])), [Fate::Forged]);
    scene.nothing_came_of_it();
}

#[test]
fn nobody_introduces_the_device_of_another() {
    let mut scene = Scene::new();
    let mallorys = scene.mallory.person_key().unwrap();
    let good = scene.bobs_certificate();
    let keys = scene.keys_of(&scene.mallory);
    let body = DeviceBody { person: keys.id(), serial: 9, ..good.body.clone() };
    // With the consent that the device gave to Bob, with one by another key, and with another key in the body.
    let other = scene.mallory.identity.device_key().unwrap();
    let own = DeviceBody { device_key: other.public_key(), ..body.clone() };
    let lies = [
        good.renew(&mallorys, body.clone()).unwrap(),
        body.certify(&mallorys).unwrap().consent(&other).unwrap(),
        own.certify(&mallorys).unwrap().consent(&other).unwrap(),
    ];
    for lie in lies {
        assert_eq!(scene.hear(update(keys.clone(), vec![lie])), [Fate::Forged]);
    }
    scene.nothing_came_of_it();
}

#[test]
fn a_roster_with_lies_shows_a_newcomer_nobody() {
    let mut scene = Scene::new();
    let mut dora = client("Dora");
    // Mallory adds Dora, and tells her first that Bob's device is Mallory's.
    let package = dora.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.mallory.invite(scene.group, package).unwrap();
    let mallorys = scene.mallory.person_key().unwrap();
    let keys = scene.keys_of(&scene.mallory);
    let good = scene.bobs_certificate();
    let body = DeviceBody { person: keys.id(), serial: 9, ..good.body.clone() };
    let lie = good.renew(&mallorys, body).unwrap();
    scene.stage.settle(&mut [&mut scene.mallory]);
    // Her roster is in the log already: Dora forgets it, so that she hears the lie first.
    scene.stage.settle(&mut [&mut dora]);
    for person in [&scene.bob, &scene.alice] {
        let member = *person.identity.id.as_bytes();
        dora.transact(|dora| {
            dora.state.delete(crate::contact::devices(), member)?;
            dora.state.delete(&crate::contact::people(), *id(person).as_bytes())
        })
        .unwrap();
    }
    let frame = Frame::People(update(keys, vec![lie]));
    let heard = scene.stage.say(&mut scene.mallory, &scene.group, &frame, &mut [&mut dora]);
    assert_eq!(heard, [Fate::Forged]);
    let members = dora.group(&scene.group).unwrap().members;
    let bob = members.iter().find(|member| member.id == scene.bob.identity.id).unwrap();
    assert_eq!(bob.person, None, "a device of an unknown person");
    // The truth still counts.
    scene.bob.transact(|bob| bob.introduce(&scene.group)).unwrap();
    scene.stage.settle(&mut [&mut scene.bob, &mut dora]);
    assert_eq!(dora.person(&id(&scene.bob)).unwrap().devices.len(), 1);
}

#[test]
fn a_key_is_not_replaced_without_the_old_one() {
    let mut scene = Scene::new();
    let keys = scene.keys_of(&scene.bob);
    let [thief, new] = [(); 2].map(|()| new_key().unwrap());
    // Signed by another key in the place of the old one: taken from a person of the thief's own.
    let own = PersonKeys::first(&thief).replaced(&thief, &new).unwrap();
    let first = frame::encode(&keys).unwrap();
    let mut forged = frame::encode(&own).unwrap();
    forged[1..33].copy_from_slice(&first[1..33]);
    let forged: PersonKeys = frame::decode(&forged).unwrap();
    assert_eq!(forged.id(), keys.id());
    let good = scene.bobs_certificate();
    let body = DeviceBody { generation: 1, serial: 9, ..good.body.clone() };
    let certificate = good.renew(&new, body).unwrap();
    assert_eq!(scene.hear(update(forged, vec![certificate])), [Fate::Forged]);
    scene.nothing_came_of_it();
}

#[test]
fn an_old_introduction_again_changes_nothing() {
    let mut scene = Scene::new();
    let old = update(scene.keys_of(&scene.bob), vec![scene.bobs_certificate()]);
    scene.bob.transact(Client::replace_keys).unwrap();
    let Scene { stage, alice, bob, mallory, .. } = &mut scene;
    stage.settle(&mut [bob, alice, mallory]);
    let bobs = id(bob);
    alice.transact(|alice| alice.accept_change(&bobs)).unwrap();
    events(alice);
    assert_eq!(scene.hear(old), [Fate::Request]);
    scene.nothing_came_of_it();
}

#[test]
fn who_stole_a_replaced_key_is_told_from_its_owner() {
    // Another key in the place of the one that replaced it, and one more device by the old key.
    for with_old_key in [false, true] {
        let mut scene = Scene::new();
        let stolen = scene.bob.person_key().unwrap();
        let old = scene.keys_of(&scene.bob);
        scene.bob.transact(Client::replace_keys).unwrap();
        let Scene { stage, alice, bob, mallory, group } = &mut scene;
        stage.settle(&mut [bob, alice, mallory]);
        let bobs = id(bob);
        alice.transact(|alice| alice.accept_change(&bobs)).unwrap();
        // A device of the thief's, which agrees to be Bob's.
        let mut device = client("Bob");
        let package = device.key_packages(stage.now, 1).unwrap().remove(0);
        let mut own = device.state.own.clone();
        own.linking = true;
        device.transact(|device| device.state.set_own_person(own)).unwrap();
        mallory.invite(*group, package).unwrap();
        stage.settle(&mut [mallory, alice, &mut device]);
        let keys = if with_old_key {
            scene.keys_of(&scene.bob)
        } else {
            old.replaced(&stolen, &new_key().unwrap()).unwrap()
        };
        let body = DeviceBody {
            person: bobs,
            generation: 0,
            member: *device.identity.id.as_bytes(),
            mailbox: device.mailbox(),
            device_key: device.identity.device_key().unwrap().public_key(),
            ..scene.bobs_certificate().body
        };
        let certificate = body.certify(&stolen).unwrap();
        let certificate = certificate.consent(&device.identity.device_key().unwrap()).unwrap();
        events(&mut scene.alice);
        scene.hear(update(keys, vec![certificate]));
        let bob = core::mem::replace(&mut scene.bob, client("Nobody"));
        // The device is nobody's, in both cases: an honest certificate may be as old.
        assert_eq!(scene.alice.person(&bobs).unwrap().devices.len(), 1);
        let fallen = if with_old_key { Trust::Pinned } else { Trust::Changed };
        assert_eq!(scene.alices_trust(&bob), fallen);
        let told = events(&mut scene.alice);
        let told = told.iter().any(|event| {
            matches!(event,
            Event::TrustChanged { person, from: Trust::Pinned, to: Trust::Changed }
                if *person == bobs)
        });
        assert_eq!(told, !with_old_key);
    }
}

#[test]
fn a_certificate_of_before_a_replacement_that_comes_late_takes_no_mark() {
    let mut scene = Scene::new();
    let old = scene.bobs_certificate();
    let keys = scene.keys_of(&scene.bob);
    scene.bob.transact(Client::replace_keys).unwrap();
    let Scene { stage, alice, bob, mallory, .. } = &mut scene;
    stage.settle(&mut [bob, alice, mallory]);
    // Dora has not seen Bob's device when the old certificate comes, and has his new keys.
    let bobs = id(bob);
    let member = *bob.identity.id.as_bytes();
    alice
        .transact(|alice| {
            alice.accept_change(&bobs)?;
            let mut contact = alice.state.contact(&bobs)?.unwrap();
            contact.devices.retain(|device| *device != member);
            alice.state.put_contact(&bobs, &contact)?;
            alice.state.delete(crate::contact::devices(), member)
        })
        .unwrap();
    events(alice);
    assert_eq!(scene.hear(update(keys, vec![old])), [Fate::Request]);
    let bob = core::mem::replace(&mut scene.bob, client("Nobody"));
    assert_eq!(scene.alices_trust(&bob), Trust::Pinned);
    assert_eq!(scene.alice.person(&bobs).unwrap().devices.len(), 0);
    assert!(events(&mut scene.alice).is_empty());
    // The one of now counts.
    scene.bob = bob;
    let (keys, renewed) = (scene.keys_of(&scene.bob), scene.bobs_certificate());
    scene.hear(update(keys, vec![renewed]));
    assert_eq!(scene.alice.person(&bobs).unwrap().devices.len(), 1);
}

#[test]
fn an_owner_is_told_of_a_key_that_is_replaced_elsewhere() {
    for conflicting in [false, true] {
        let mut scene = Scene::new();
        let stolen = scene.alice.person_key().unwrap();
        let keys = scene.keys_of(&scene.alice);
        if conflicting {
            scene.alice.transact(Client::replace_keys).unwrap();
            let Scene { stage, alice, mallory, .. } = &mut scene;
            stage.settle(&mut [alice, mallory]);
        }
        let thiefs = keys.replaced(&stolen, &new_key().unwrap()).unwrap();
        scene.hear(update(thiefs, Vec::new()));
        let told = events(&mut scene.alice);
        let expected = Event::OwnKeysReplaced { conflicting };
        assert!(told.contains(&expected), "{told:?}");
        let signs = scene.alice.person_key().is_ok();
        assert_eq!(signs, conflicting, "where another key is in force, this one signs nothing");
    }
}

#[test]
fn a_device_of_two_persons_is_told() {
    let mut scene = Scene::new();
    // Mallory's device agrees to be somebody's whom Mallory has made up as well.
    let second = new_key().unwrap();
    let keys = PersonKeys::first(&second);
    let device = scene.mallory.identity.device_key().unwrap();
    let member = *scene.mallory.identity.id.as_bytes();
    let known = scene.mallory.state.device(&member).unwrap().unwrap();
    let body = known.certificate().unwrap().body;
    let body = DeviceBody { person: keys.id(), serial: 9, ..body };
    let certificate = body.certify(&second).unwrap().consent(&device).unwrap();
    let update = update(keys.clone(), vec![certificate]);
    assert_eq!(scene.hear(update.clone()), [Fate::Request]);
    let mallorys = id(&scene.mallory);
    let told = events(&mut scene.alice);
    assert!(told.iter().any(|event| matches!(event,
        Event::ConflictingClaims { people, .. } if *people == [mallorys, keys.id()])));
    assert_eq!(scene.alice.person(&mallorys).unwrap().trust, Trust::Changed);
    // Once.
    scene.hear(update);
    assert!(events(&mut scene.alice).is_empty());
}

#[test]
fn nobody_revokes_the_device_of_another_before_it_is_seen() {
    let mut scene = Scene::new();
    let mut dora = client("Dora");
    // Mallory knows Dora's key package, and calls the device in it her own lost one.
    let keys = scene.keys_of(&scene.mallory);
    let member = *dora.identity.id.as_bytes();
    let body = RevocationBody { person: keys.id(), generation: 0, member };
    let revocation = body.sign(&scene.mallory.person_key().unwrap()).unwrap();
    let update = PeopleUpdate { revocations: List(vec![revocation; 3]), ..PeopleUpdate::default() };
    assert_eq!(scene.hear(update), [Fate::Request]);
    assert!(events(&mut scene.alice).is_empty());
    let package = dora.key_packages(scene.stage.now, 1).unwrap().remove(0);
    let Scene { stage, alice, bob, mallory, group } = &mut scene;
    alice.invite(*group, package).unwrap();
    stage.settle(&mut [alice, bob, mallory, &mut dora]);
    let view = alice.person(&id(&dora)).unwrap();
    assert_eq!((view.devices.len(), view.name.as_str()), (1, "Dora"));
    assert!(!alice.is_revoked(&dora.identity.id).unwrap());
    assert_eq!(alice.person(&id(mallory)).unwrap().devices.len(), 1);
    // It is kept, once, for the case that the device says that it is Mallory's.
    let known = alice.state.contact(&id(mallory)).unwrap().unwrap();
    assert_eq!(known.unclaimed().unwrap().len(), 1);
}

#[test]
fn a_damaged_introduction_shows_nobody_as_another() {
    let mut scene = Scene::new();
    let genuine = update(scene.keys_of(&scene.bob), vec![scene.bobs_certificate()]);
    let bytes = frame::encode(&genuine).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        for bytes in [&damaged, &bytes[..at].to_vec()] {
            let Ok(update) = frame::decode::<PeopleUpdate>(bytes) else { continue };
            assert_eq!(frame::encode(&update).unwrap(), *bytes, "one encoding");
            scene
                .alice
                .transact(|alice| alice.learn(&scene.group, update, scene.stage.now))
                .unwrap();
        }
    }
    scene.nothing_came_of_it();
}

#[test]
fn a_name_in_a_credential_is_nobodys() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    // Mallory's program puts Alice's name where the MLS layer has one.
    let (profile, recipe) = (Profile::new("Mallory"), Recipe::group());
    let identity = Identity::with_credential(profile, recipe, "Alice").unwrap();
    let mut mallory = Client::create_as(MemoryStore::new(), identity).unwrap();
    let package = mallory.key_packages(stage.now, 1).unwrap().remove(0);
    assert!(package.windows(5).any(|window| window == b"Alice"));
    let group = stage.group(&mut [&mut alice, &mut bob]);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    let member = mallory.identity.id;
    let name_of = |person: &Client| {
        let view = person.group(&group).unwrap();
        view.members.iter().find(|known| known.id == member).unwrap().name.clone()
    };
    assert_eq!((name_of(&alice), name_of(&bob)), (None, None));
    // Nor in what it says, or draws.
    mallory.state.own.linking = true;
    stage.settle(&mut [&mut mallory]);
    mallory.send(group, "it is me, Alice").unwrap();
    stage.settle(&mut [&mut mallory, &mut alice, &mut bob]);
    let said = events(&mut bob).into_iter().find_map(|event| match event {
        Event::Message { from, .. } => Some(from),
        _ => None,
    });
    let said = said.unwrap();
    assert_eq!((said.id, said.person, said.name), (member, None, None));
    // With its certificate comes what it calls itself, and with whose key.
    mallory.state.own.linking = false;
    mallory.transact(|mallory| mallory.introduce(&group)).unwrap();
    stage.settle(&mut [&mut mallory, &mut alice, &mut bob]);
    assert_eq!(name_of(&bob).as_deref(), Some("Mallory"));
}

#[test]
fn nobody_renames_another() {
    let mut scene = Scene::new();
    let mut certificate = scene.bobs_certificate();
    certificate.body.person_name = b"Bobby"[..].into();
    certificate.body.serial += 1;
    let keys = scene.keys_of(&scene.bob);
    assert_eq!(scene.hear(update(keys, vec![certificate])), [Fate::Forged]);
    let view = scene.alice.person(&id(&scene.bob)).unwrap();
    assert_eq!(view.name, "Bob");
    scene.nothing_came_of_it();
}

#[test]
fn an_older_certificate_brings_no_older_name() {
    let mut scene = Scene::new();
    let old = update(scene.keys_of(&scene.bob), vec![scene.bobs_certificate()]);
    scene.bob.transact(|bob| bob.rename("Bobby".into())).unwrap();
    scene.stage.settle(&mut [&mut scene.bob, &mut scene.alice]);
    let renamed = |event: &Event| matches!(event, Event::Renamed { to, .. } if to == "Bobby");
    assert!(events(&mut scene.alice).iter().any(renamed));
    assert_eq!(scene.hear(old), [Fate::Request]);
    assert_eq!(scene.alice.person(&id(&scene.bob)).unwrap().name, "Bobby");
    assert_eq!(events(&mut scene.alice), []);
}

#[test]
fn who_stole_a_replaced_key_renames_nobody() {
    let mut scene = Scene::new();
    let stolen = scene.bob.person_key().unwrap();
    let good = scene.bobs_certificate();
    // Bob replaces his key, and Alice hears of the new one alone: his certificates under it come later.
    scene.bob.transact(Client::replace_keys).unwrap();
    let keys = scene.bob.state.own_contact().unwrap().keys().unwrap();
    assert_eq!(scene.hear(update(keys.clone(), Vec::new())), [Fate::Request]);
    let body = DeviceBody { serial: 99, person_name: b"Eve"[..].into(), ..good.body.clone() };
    let lie = good.renew(&stolen, body).unwrap();
    assert_eq!(scene.hear(update(keys, vec![lie])), [Fate::Request]);
    let view = scene.alice.person(&id(&scene.bob)).unwrap();
    assert_eq!((view.name.as_str(), view.devices[0].name().as_str()), ("Bob", "Bob"));
    assert!(!events(&mut scene.alice).iter().any(|event| matches!(event, Event::Renamed { .. })));
}
