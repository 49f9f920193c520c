//! Requests that are not what they say, and who floods.

use cc_core::Opaque;

use super::{
    request::{self, JOIN, JoinAnswer::Declined, JoinBody, JoinRequest},
    tests::{DAY, fates_of, submit},
    *,
};
use crate::{
    Client, Command, Event, Fate, JoinLink,
    device::DeviceBody,
    frame::{self, List, Mail, MailItem},
    person::{self, PersonKeys, new_key},
    seat,
    testing::{Stage, client, events, id, mail_to},
};

/// Alice, whose link Mallory has.
struct Scene {
    stage: Stage,
    group: GroupId,
    link: JoinLink,
    alice: Client,
    mallory: Client,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new();
        let [mut alice, mallory] = ["Alice", "Mallory"].map(client);
        let group = stage.group(&mut [&mut alice]);
        let link = alice.join_link(stage.now, group, DAY).unwrap();
        events(&mut alice);
        Self { stage, group, link, alice, mallory }
    }

    /// What an honest request of Mallory's is.
    fn body(&mut self) -> JoinBody {
        let package = self.mallory.key_packages(self.stage.now, 1).unwrap().remove(0);
        body(&self.link, &self.mallory, &package)
    }

    /// What Alice makes of it.
    fn hear(&mut self, body: JoinBody) -> (Vec<Fate>, Vec<Event>) {
        let item = signed_item(&self.link, &self.mallory, body);
        fates_of(&mut self.stage, &mut self.alice, item)
    }

    /// It is refused as this, and nobody is shown.
    fn refused(&mut self, body: JoinBody, as_what: Fate) {
        let (fates, told) = self.hear(body);
        assert_eq!(fates, [as_what]);
        assert!(told.iter().all(|event| matches!(event, Event::Unreadable { .. })), "{told:?}");
        assert!(self.alice.join_requests().unwrap().is_empty());
    }
}

fn body(link: &JoinLink, of: &Client, package: &[u8]) -> JoinBody {
    let device = of.state.device(of.identity.id.as_bytes()).unwrap().unwrap();
    JoinBody {
        link: link.id(),
        to: List(link.mailboxes().to_vec()),
        answer_key: request::AnswerKey::generate().unwrap(),
        message: Opaque(Vec::new()),
        keys: of.state.own_contact().unwrap().keys().unwrap(),
        certificate: device.certificate().unwrap(),
        offer: seat::read_offer(package).unwrap(),
    }
}

fn signed_item(link: &JoinLink, by: &Client, body: JoinBody) -> Vec<u8> {
    let signature = person::sign(&by.identity.device_key().unwrap(), JOIN, &body).unwrap();
    sealed_item(link, body, signature)
}

fn sealed_item(link: &JoinLink, body: JoinBody, signature: [u8; 64]) -> Vec<u8> {
    let sealed = request::seal(link, &JoinRequest { body, signature }).unwrap();
    frame::encode(&MailItem::Join(sealed)).unwrap()
}

#[test]
fn an_honest_request_of_this_make_is_shown_and_a_second_copy_is_not() {
    let mut scene = Scene::new();
    let body = scene.body();
    let item = signed_item(&scene.link, &scene.mallory, body);
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item.clone());
    assert_eq!(fates, [Fate::Request]);
    assert!(matches!(&told[..], [Event::JoinRequested { .. }]), "{told:?}");
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item.clone());
    assert!(fates == [Fate::Duplicate] && told.is_empty());
    // Another name by the same device, before the first one was answered: the first one counts.
    let mut renamed = scene.body();
    let key = new_key().unwrap();
    renamed.keys = PersonKeys::first(&key);
    let body = DeviceBody { person: renamed.keys.id(), ..renamed.certificate.body };
    let body = DeviceBody { person_name: Opaque(b"Alice".to_vec()), ..body };
    let device = scene.mallory.identity.device_key().unwrap();
    renamed.certificate = body.certify(&key).unwrap().consent(&device).unwrap();
    let (fates, _) = scene.hear(renamed);
    assert_eq!(fates, [Fate::Duplicate]);
    let view = scene.alice.join_requests().unwrap().remove(0);
    assert_eq!(view.from, scene.mallory.me());
    // And after it was answered, a copy of it is nothing.
    submit(&mut scene.alice, Command::DeclineJoin(view.id));
    events(&mut scene.alice);
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item);
    assert!(fates == [Fate::Duplicate] && told.is_empty());
}

#[test]
fn nobody_asks_for_another() {
    let mut scene = Scene::new();
    let mut carol = client("Carol");
    let package = carol.key_packages(scene.stage.now, 1).unwrap().remove(0);
    // With a key package of Carol's, as it lies in the directory, and everything else of Mallory's.
    let mut stolen = scene.body();
    stolen.offer = seat::read_offer(&package).unwrap();
    scene.refused(stolen, Fate::Forged);
    // All of Carol's, but her signature.
    let link = scene.link.clone();
    scene.refused(body(&link, &carol, &package), Fate::Forged);
    let unsigned = sealed_item(&link, body(&link, &carol, &package), [0; 64]);
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.alice, unsigned);
    assert_eq!(fates, [Fate::Forged]);
    // Carol's person, and Mallory's device.
    let mut claimed = scene.body();
    claimed.keys = carol.state.own_contact().unwrap().keys().unwrap();
    scene.refused(claimed, Fate::Forged);
    // A certificate that Mallory made for herself, of Carol's member id.
    let mut forged = scene.body();
    let of_carol = DeviceBody { member: *carol.identity.id.as_bytes(), ..forged.certificate.body };
    let person = scene.mallory.person_key().unwrap();
    let device = scene.mallory.identity.device_key().unwrap();
    forged.certificate = of_carol.certify(&person).unwrap().consent(&device).unwrap();
    scene.refused(forged, Fate::Forged);
    // The welcome is to go to somebody else.
    let mut diverted = scene.body();
    diverted.offer.address = carol.mail_address().unwrap();
    scene.refused(diverted, Fate::Forged);
    assert!(scene.alice.join_links().unwrap()[0].open == 0);
}

#[test]
fn a_request_is_for_one_link_and_reader() {
    let mut scene = Scene::new();
    let other = scene.alice.join_link(scene.stage.now, scene.group, DAY).unwrap();
    // Made for one link, and sealed for another.
    let mut moved = scene.body();
    moved.link = other.id();
    scene.refused(moved, Fate::Forged);
    let mut moved = scene.body();
    moved.to = List(vec![scene.mallory.mailbox()]);
    scene.refused(moved, Fate::Forged);
    // Sealed for one link, and sent for another, or to somebody else's mailbox.
    let body = scene.body();
    let item = signed_item(&scene.link, &scene.mallory, body);
    let MailItem::Join(mut sealed) = frame::decode(&item).unwrap() else { panic!() };
    sealed.link = other.id();
    let renamed = frame::encode(&MailItem::Join(sealed)).unwrap();
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, renamed);
    assert!(fates == [Fate::Malformed] && told.is_empty());
    let mut bob = client("Bob");
    let (fates, told) = fates_of(&mut scene.stage, &mut bob, item.clone());
    assert!(fates == [Fate::Malformed] && told.is_empty());
    // Who knows a link's public key only, as from a request on its way, has not its secret.
    let mut bytes = scene.link.to_bytes().unwrap().expose().to_vec();
    bytes[2 + 64..2 + 96].fill(7);
    let guessed = JoinLink::from_bytes(&bytes).unwrap();
    assert_eq!(guessed.id(), scene.link.id());
    let body = scene.body();
    let guess = signed_item(&guessed, &scene.mallory, body);
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, guess);
    assert!(fates == [Fate::Malformed] && told.is_empty());
    // Any bit of it that is changed.
    for at in [2, 40, 70, item.len() / 2, item.len() - 1] {
        let mut damaged = item.clone();
        damaged[at] ^= 1;
        let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, damaged);
        assert!(fates == [Fate::Malformed] && told.is_empty(), "{at}: {fates:?}");
    }
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.alice, item);
    assert_eq!(fates, [Fate::Request]);
}

#[test]
fn what_is_too_long_or_of_another_stack_is_noise() {
    let mut scene = Scene::new();
    for message in [vec![b'a'; MAX_JOIN_MESSAGE_LEN + 1], vec![0xff]] {
        let mut body = scene.body();
        body.message = Opaque(message);
        scene.refused(body, Fate::Malformed);
    }
    let long = request::SealedJoin {
        link: scene.link.id(),
        encapsulated: Opaque(vec![1; 32]),
        ciphertext: Opaque(vec![1; 64 << 10]),
    };
    let item = frame::encode(&MailItem::Join(long)).unwrap();
    let asked = scene.alice.join_links().unwrap()[0].asked;
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item);
    assert!(fates == [Fate::Malformed] && told.is_empty());
    assert_eq!(scene.alice.join_links().unwrap()[0].asked, asked, "it was not opened");
    let store = cc_core::store::MemoryStore::new();
    let profile = crate::Profile::new("Dave");
    let mut dave = Client::create(store, profile, crate::Recipe::post_quantum()).unwrap();
    let package = dave.key_packages(scene.stage.now, 1).unwrap().remove(0);
    let item = signed_item(&scene.link, &dave, body(&scene.link, &dave, &package));
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item);
    assert!(fates == [Fate::Malformed] && told.is_empty());
    // A key package that has expired.
    let old = scene.body();
    scene.stage.now.wall += 365 * DAY;
    let link = scene.alice.join_link(scene.stage.now, scene.group, DAY).unwrap();
    let old = JoinBody { link: link.id(), ..old };
    let item = signed_item(&link, &scene.mallory, old);
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.alice, item);
    assert_eq!(fates, [Fate::Malformed]);
    let shown = |event: &Event| matches!(event, Event::JoinRequested { .. });
    assert!(!told.iter().any(shown), "{told:?}");
}

#[test]
fn a_name_that_looks_like_a_members_is_marked() {
    let mut scene = Scene::new();
    let mut imitator = client("\u{410}lice");
    imitator.ask_to_join(scene.stage.now, &scene.link, "it is me").unwrap();
    scene.mallory.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
    scene.stage.settle(&mut [&mut imitator, &mut scene.mallory, &mut scene.alice]);
    let views = scene.alice.join_requests().unwrap();
    let of = |name: &str| views.iter().find(|view| view.from.name() == name).unwrap();
    assert_eq!(of("\u{410}lice").resembles, [id(&scene.alice)]);
    assert!(of("Mallory").resembles.is_empty());
}

#[test]
fn a_name_that_looks_like_that_of_somebody_known_is_marked() {
    let mut scene = Scene::new();
    // Alice knows Bob of another group, and not the one who asks in his name.
    let mut bob = client("Bob");
    scene.stage.group(&mut [&mut bob, &mut scene.alice]);
    let mut imitator = client("B\u{43e}b");
    imitator.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
    scene.stage.settle(&mut [&mut imitator, &mut scene.alice]);
    let view = scene.alice.join_requests().unwrap().remove(0);
    assert_eq!((view.trust, &view.resembles[..]), (None, &[id(&bob)][..]));
}

#[test]
fn who_floods_is_turned_away_unseen_and_the_owner_is_told_once() {
    let mut scene = Scene::new();
    let mut flood: Vec<Client> = (0..35).map(|at| client(&format!("person {at}"))).collect();
    for one in &mut flood {
        one.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
        scene.stage.settle(&mut [one]);
    }
    let fates = scene.stage.settle(&mut [&mut scene.alice]);
    assert!(fates.iter().all(|(_, _, fate)| *fate == Fate::Request), "{fates:?}");
    let told = events(&mut scene.alice);
    let full = |event: &&Event| matches!(event, Event::JoinLinkFull { .. });
    let count = told.iter().filter(full).count();
    assert_eq!(
        (told.len(), count),
        (33, 1),
        "32 are shown, and it is told once that there are more"
    );
    let link = scene.alice.join_links().unwrap().remove(0);
    assert_eq!((link.open, link.asked), (32, 32), "the others were not even opened");
    // With an answer there is room for another.
    let first = scene.alice.join_requests().unwrap()[0].id;
    submit(&mut scene.alice, Command::DeclineJoin(first));
    events(&mut scene.alice);
    scene.mallory.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
    scene.stage.settle(&mut [&mut scene.mallory, &mut scene.alice]);
    assert!(matches!(&events(&mut scene.alice)[..], [Event::JoinRequested { .. }]));
    // However many there were: the link takes no more than so many in its life.
    let link = scene.link.id();
    scene
        .alice
        .transact(|alice| {
            let record = alice.state.get::<LinkRecord>(&links(), link.as_bytes())?;
            let record = LinkRecord { asked: 1024, open: 0, ..record.unwrap() };
            alice.state.put(&links(), *link.as_bytes(), &record)
        })
        .unwrap();
    let body = scene.body();
    let (fates, told) = scene.hear(body);
    assert_eq!(fates, [Fate::Request]);
    assert!(matches!(&told[..], [Event::JoinLinkFull { .. }]), "{told:?}");
}

#[test]
fn a_refusal_is_by_who_was_asked() {
    let mut scene = Scene::new();
    let request = scene.mallory.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
    scene.stage.settle(&mut [&mut scene.mallory, &mut scene.alice]);
    let forged = request::AnswerKey::generate().unwrap().answer(request, Declined).unwrap();
    let forged = mail_to(&scene.mallory, &Mail::JoinAnswer(forged));
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.mallory, forged);
    assert_eq!(fates, [Fate::Forged]);
    assert_eq!(scene.mallory.join_asks().unwrap().len(), 1);
    // Of a request that there is not.
    let nothing = JoinRequestId::from_bytes([1; 32]);
    let nothing = request::AnswerKey::generate().unwrap().answer(nothing, Declined).unwrap();
    let nothing = mail_to(&scene.mallory, &Mail::JoinAnswer(nothing));
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.mallory, nothing);
    assert!(fates == [Fate::Malformed] && told.is_empty());
    // The real one, and a copy of it.
    submit(&mut scene.alice, Command::DeclineJoin(request));
    scene.stage.settle(&mut [&mut scene.alice]);
    let mailbox = scene.mallory.mailbox();
    let real = scene.stage.service.log(&mailbox).pop().unwrap().bytes;
    scene.stage.settle(&mut [&mut scene.mallory]);
    assert!(matches!(&events(&mut scene.mallory)[..], [Event::JoinDeclined { .. }]));
    let (fates, told) = fates_of(&mut scene.stage, &mut scene.mallory, real);
    assert!(fates == [Fate::Malformed] && told.is_empty());
}

#[test]
fn a_revoked_device_does_not_come_back_by_a_link() {
    let mut scene = Scene::new();
    // Alice has a record of it from another group.
    let other = {
        let (alice, mallory) = (&mut scene.alice, &mut scene.mallory);
        let other = alice.found("Another").unwrap();
        let package = mallory.key_packages(scene.stage.now, 1).unwrap().remove(0);
        alice.invite(other, package).unwrap();
        scene.stage.settle(&mut [alice, mallory]);
        other
    };
    let member = *scene.mallory.identity.id.as_bytes();
    scene
        .alice
        .transact(|alice| {
            let mut device = alice.state.device(&member)?.unwrap();
            device.revocation = Some(Vec::new());
            alice.state.put_device(&member, &device)
        })
        .unwrap();
    events(&mut scene.alice);
    let body = scene.body();
    scene.refused(body, Fate::Request);
    assert_eq!(scene.alice.group(&other).unwrap().members.len(), 2);
}
