//! Mail that is not what it says: changed, moved, of others, of later versions, and made up.

use std::sync::{Arc, Mutex};

use cc_core::{Opaque, store::MemoryStore};

use super::{MailAddress, address::AddressBody};
use crate::{
    Call, Client, Command, Event, Fate, GroupId, Input, LogId, OperationId, Profile, Recipe, Reply,
    frame::{self, Frame, Invitation, KeyPackageOffer, List, Mail, MailItem},
    introduction::PeopleUpdate,
    seat,
    testing::{Stage, client, events, mail_to, read_mail},
};

type Disk = Arc<Mutex<MemoryStore>>;

/// Alice's group, and an invitation to it that Bob has not read.
struct Scene {
    stage: Stage,
    group: GroupId,
    alice: Client,
    bob: Client,
    disk: Disk,
    /// What is in Bob's mailbox.
    item: Vec<u8>,
}

impl Scene {
    fn new(recipe: &Recipe) -> Self {
        let mut stage = Stage::new();
        let disk = Disk::default();
        let create = |disk: &Disk, name| {
            Client::create(Arc::clone(disk), Profile::new(name), recipe.clone()).unwrap()
        };
        let (mut alice, mut bob) = (create(&Disk::default(), "Alice"), create(&disk, "Bob"));
        let group = stage.group(&mut [&mut alice]);
        stage.settle(&mut [&mut bob]);
        let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
        alice.invite(group, package).unwrap();
        stage.settle(&mut [&mut alice]);
        let item = stage.service.log(&bob.mailbox()).pop().unwrap().bytes;
        Self { stage, group, alice, bob, disk, item }
    }

    /// Bob reads these items, and not what else is in his mailbox; gives what each was to him.
    fn read(&mut self, items: &[Vec<u8>]) -> Vec<Fate> {
        let mut position = self.bob.state.meta.mailbox_cursor;
        let items = items.iter().map(|bytes| {
            position = position.next();
            crate::Item { position, commit: false, bytes: bytes.clone() }
        });
        let (items, forgotten) = (items.collect(), crate::Position::START);
        let page = crate::Page { items, forgotten, head: position };
        let log = self.bob.mailbox();
        let ledger = self.bob.handle(self.stage.now, Input::Page { log, page }).unwrap();
        ledger.fates.into_iter().map(|(_, _, fate)| fate).collect()
    }

    fn records(&self) -> usize {
        self.disk.lock().unwrap().len()
    }

    /// The real invitation still leads in.
    fn comes_in(mut self) {
        assert_eq!(self.read(&[self.item.clone()]), [Fate::Early]);
        for _ in 0..4 {
            self.stage.settle(&mut [&mut self.alice, &mut self.bob]);
        }
        let (of_bob, of_alice) =
            [&self.bob, &self.alice].map(|who| who.group(&self.group).unwrap()).into();
        assert!(of_bob.in_step && of_bob.authenticator == of_alice.authenticator);
    }
}

#[test]
fn changed_and_cut_mail_is_noise_and_changes_nothing() {
    for recipe in [Recipe::group(), Recipe::post_quantum()] {
        let mut scene = Scene::new(&recipe);
        let before = scene.records();
        let item = scene.item.clone();
        // The version tells that it is of a later one.
        let step = item.len() / 60;
        let places: Vec<usize> = (1..60).chain((60..item.len()).step_by(step)).collect();
        let flipped = places.iter().map(|at| {
            let mut item = item.clone();
            item[*at] ^= 1;
            item
        });
        let cut = places.iter().map(|at| item[..*at].to_vec());
        let longer = [[&item[..], &[0]].concat()];
        let items: Vec<Vec<u8>> = flipped.chain(cut).chain(longer).collect();
        for items in items.chunks(100) {
            let fates = scene.read(items);
            assert!(fates.iter().all(|fate| *fate == Fate::Malformed), "{fates:?}");
        }
        let mut later = item;
        later[0] = 2;
        assert_eq!(scene.read(&[later, Vec::new()]), [Fate::Unsupported, Fate::Malformed]);
        assert!(matches!(&events(&mut scene.bob)[..], [Event::Unreadable { .. }]));
        assert_eq!(scene.records(), before);
        scene.comes_in();
    }
}

#[test]
fn what_was_sealed_to_somebody_else_is_noise() {
    let mut scene = Scene::new(&Recipe::group());
    let carol = client("Carol");
    let mail = || Mail::Link(Opaque(vec![1; 40]));
    let for_carol = mail_to(&carol, &mail());
    // To Bob's key, as if it were that of another mailbox.
    let AddressBody { member, serial, kem, key, .. } = scene.bob.mail_address().unwrap().body;
    let body = AddressBody { mailbox: carol.mailbox(), member, serial, kem, key };
    let elsewhere = MailAddress { body, signature: [0; 64] };
    let elsewhere = crate::mail::seal(&elsewhere, &mail()).unwrap().unwrap();
    let unsealed = frame::encode(&mail()).unwrap();
    let fates = scene.read(&[for_carol, elsewhere, unsealed]);
    assert_eq!(fates, [Fate::Malformed; 3]);
    assert!(events(&mut scene.bob).is_empty());
    scene.comes_in();
}

#[test]
fn mail_of_a_later_version_is_told_from_noise() {
    let mut scene = Scene::new(&Recipe::group());
    let address = scene.bob.mail_address().unwrap();
    for (version, fate) in [(2, Fate::Unsupported), (0, Fate::Malformed)] {
        let item = crate::mail::seal_bytes(&address, &[version, 1, 2, 3]).unwrap().unwrap();
        assert_eq!(scene.read(&[item]), [fate]);
    }
    // A kind that there is not, and none.
    for bytes in [&[1, 99][..], &[1], &[]] {
        let item = crate::mail::seal_bytes(&address, bytes).unwrap().unwrap();
        assert_eq!(scene.read(&[item]), [Fate::Malformed]);
    }
    scene.comes_in();
}

#[test]
fn a_flood_is_not_stored() {
    let mut scene = Scene::new(&Recipe::group());
    let before = scene.records();
    let Ok(MailItem::Sealed(good)) = frame::decode(&scene.item) else { panic!("sealed") };
    let items: Vec<Vec<u8>> = (0..2_000_u32)
        .map(|at| {
            let mut noise = good.clone();
            noise.ciphertext.0[..4].copy_from_slice(&at.to_be_bytes());
            frame::encode(&MailItem::Sealed(noise)).unwrap()
        })
        .collect();
    for items in items.chunks(200) {
        assert!(scene.read(items).iter().all(|fate| *fate == Fate::Malformed));
    }
    assert_eq!(scene.records(), before);
    assert!(events(&mut scene.bob).is_empty());
    scene.comes_in();
}

#[test]
fn a_welcome_that_is_moved_to_another_log_leads_nowhere() {
    let mut scene = Scene::new(&Recipe::group());
    let Mail::Invitation(real) = read_mail(&scene.bob, &scene.item) else { panic!("a welcome") };
    let again = || {
        let bytes = frame::encode(&real).unwrap();
        frame::decode::<Invitation>(&bytes).unwrap()
    };
    let mallory = client("Mallory");
    // Of who has seen the whole of it, a thief of Bob's key for mail: to another log, as it is and with a roster of the thief's
    // own, to another place in the log, and as of somebody else.
    let log = LogId::random().unwrap();
    let (position, inviter) = (real.position.next(), mallory.mail_address().unwrap());
    let moved = [
        Invitation { log, ..again() },
        Invitation { log, roster: Opaque(Vec::new()), ..again() },
        Invitation { log, roster: Opaque(vec![7; 200]), ..again() },
        Invitation { position, ..again() },
        Invitation { inviter, ..again() },
    ];
    let before = scene.records();
    for moved in moved {
        let item = mail_to(&scene.bob, &Mail::Invitation(moved));
        assert_eq!(scene.read(&[item]), [Fate::Misaddressed]);
        assert_eq!((scene.bob.groups().count(), scene.bob.state.arrivals.len()), (0, 0));
        let told = events(&mut scene.bob);
        assert!(matches!(&told[..], [Event::Unreadable { fate: Fate::Misaddressed, .. }]));
        // Nobody is asked where it leads.
        while let Some(request) = scene.bob.poll_request(scene.stage.now).unwrap() {
            assert!(!matches!(&request.call, Call::Read(read) if read.log == log));
            let result = Err(crate::Failure::Unknown);
            let input = Input::Response { id: request.id, result };
            let _ledger = scene.bob.handle(scene.stage.now, input).unwrap();
        }
    }
    assert_eq!(scene.records(), before);
    scene.comes_in();
}

#[test]
fn a_roster_that_nobody_makes_so_long_is_not_looked_at() {
    let mut scene = Scene::new(&Recipe::group());
    let Mail::Invitation(real) = read_mail(&scene.bob, &scene.item) else { panic!("a welcome") };
    let before = scene.records();
    let long = Invitation { roster: Opaque(vec![7; 7 << 20]), ..real };
    let item = mail_to(&scene.bob, &Mail::Invitation(long));
    assert_eq!(scene.read(&[item]), [Fate::Malformed]);
    assert_eq!(scene.records(), before);
    scene.comes_in();
}

#[test]
fn a_directory_puts_no_key_of_its_own_beside_a_key_package() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let KeyPackageOffer { address, bundle } = seat::read_offer(&offer).unwrap();
    let mallorys = mallory.mail_address().unwrap();
    let key = mallorys.body.key.clone();
    let swapped = MailAddress {
        body: AddressBody { key: key.clone(), ..address.body },
        signature: address.signature,
    };
    let body = AddressBody { key, ..address.body };
    let signed = body.sign(&mallory.identity.device_key().unwrap()).unwrap();
    for lie in [swapped, signed, MailAddress { body: address.body, ..mallorys }] {
        let offer = KeyPackageOffer { address: lie, bundle: bundle.clone() };
        let offer = frame::encode(&offer).unwrap();
        let id = OperationId::random().unwrap();
        let invite = Command::Invite { group, mailbox: bob.mailbox(), member: None };
        alice.submit(id, invite).unwrap();
        for _ in 0..4 {
            while let Some(request) = alice.poll_request(stage.now).unwrap() {
                let result = match &request.call {
                    Call::Claim(_) => Ok(Reply::Claimed(Some(offer.clone()))),
                    _ => request.perform(&mut stage.service),
                };
                let input = Input::Response { id: request.id, result };
                let _ledger = alice.handle(stage.now, input).unwrap();
            }
            stage.now.mono += 2_500;
        }
        assert_eq!(alice.group(&group).unwrap().members.len(), 1);
        assert!(stage.service.log(&bob.mailbox()).is_empty(), "nothing is sealed to it");
        let told = events(&mut alice);
        assert!(
            told.iter().any(|event| matches!(event,
                Event::Settled { operation, verdict: crate::Verdict::Refused { .. } }
                    if *operation == id)),
            "{told:?}"
        );
    }
    alice.invite(group, offer).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&group).unwrap().in_step);
}

#[test]
fn a_key_that_is_none_stops_nobody() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    // Carol's program says that her mail is to be sealed to a point of low order.
    let offer = carol.key_packages(stage.now, 1).unwrap().remove(0);
    let KeyPackageOffer { address, bundle } = seat::read_offer(&offer).unwrap();
    let body = AddressBody { key: Opaque(vec![0; 32]), ..address.body };
    let address = body.sign(&carol.identity.device_key().unwrap()).unwrap();
    let offer = frame::encode(&KeyPackageOffer { address, bundle }).unwrap();
    alice.invite(group, offer).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    let told = events(&mut alice);
    let mailbox = carol.mailbox();
    assert!(told.iter().any(|event| matches!(event,
        Event::NotDelivered { mailbox: to, .. } if *to == mailbox)));
    bob.send(group, "it goes on").unwrap();
    stage.settle(&mut [&mut bob, &mut alice]);
    assert!(events(&mut alice).iter().any(|event| matches!(event, Event::Message { .. })));
}

#[test]
fn a_member_gives_nobody_another_address() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let member = *bob.identity.id.as_bytes();
    let known =
        |alice: &Client| alice.state.device(&member).unwrap().unwrap().address().unwrap().unwrap();
    let real = known(&alice);
    assert_eq!(real, bob.mail_address().unwrap());
    let (bobs, mallorys) = [&bob, &mallory].map(|who| who.identity.device_key().unwrap()).into();
    let key = mallory.mail_address().unwrap().body.key;
    let forged = AddressBody { key, serial: 9, ..real.body };
    let elsewhere = AddressBody { mailbox: mallory.mailbox(), serial: 9, ..real.body.clone() };
    let unsealable = AddressBody { kem: 99, serial: 9, ..real.body.clone() };
    let lies = [
        (forged.clone().sign(&mallorys).unwrap(), Fate::Forged),
        (MailAddress { body: forged, signature: real.signature }, Fate::Forged),
        (elsewhere.sign(&bobs).unwrap(), Fate::Forged),
        // Bob's, but of a later version.
        (unsealable.sign(&bobs).unwrap(), Fate::Request),
    ];
    for (lie, fate) in lies {
        let addresses = List(vec![lie]);
        let frame = Frame::People(PeopleUpdate { addresses, ..PeopleUpdate::default() });
        let fates = stage.say(&mut mallory, &group, &frame, &mut [&mut alice]);
        assert_eq!(fates, [fate]);
        assert_eq!(known(&alice), real);
    }
    // The newest of his own counts, whoever passes them on, and in whatever order.
    let newer = AddressBody { serial: 7, ..real.body.clone() }.sign(&bobs).unwrap();
    for address in [newer.clone(), real] {
        let addresses = List(vec![address]);
        let frame = Frame::People(PeopleUpdate { addresses, ..PeopleUpdate::default() });
        stage.say(&mut mallory, &group, &frame, &mut [&mut alice]);
        assert_eq!(known(&alice), newer);
    }
}
