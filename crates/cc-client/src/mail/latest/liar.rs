//! Members and a directory that pass on an old address, truly signed, of a device whose keys for mail leaked meanwhile.

use super::LatestAddress;
use crate::{
    Client, Command, Event, Fate, GroupId, Input, Now, OperationId, Reply, Verdict,
    contact::DeviceRecord,
    frame::{self, Frame, KeyPackageOffer, List, MailItem},
    introduction::PeopleUpdate,
    mail::{MailAddress, MailKeys, address::ROTATION},
    records::{Standing, Work},
    rejoin::offer::tests::offer_of,
    seat,
    testing::{Stage, client, events, fall_out_of_step},
};

/// Alice, Bob and Mallory. Bob's keys for mail have leaked, and he has others since.
struct Scene {
    stage: Stage,
    group: GroupId,
    alice: Client,
    bob: Client,
    mallory: Client,
    /// What leaked.
    thief: MailKeys,
    old: MailAddress,
    /// A key package of before, which nobody has used.
    offer: Vec<u8>,
    /// What Bob offered Alice before, and a service recorded.
    help: Vec<u8>,
    /// Before he took another key.
    before: Now,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new();
        let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
        let group = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
        let (thief, old) = (bob.state.mail_keys.clone(), bob.mail_address().unwrap());
        let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
        let help = frame::encode(&offer_of(&mut bob, &alice, group)).unwrap();
        let before = stage.now;
        stage.now.wall += ROTATION;
        stage.now.mono += ROTATION;
        stage.settle(&mut [&mut bob, &mut alice, &mut mallory]);
        assert!(bob.mail_address().unwrap().body.key != old.body.key);
        let mut scene = Self { stage, group, alice, bob, mallory, thief, old, offer, help, before };
        scene.refresh();
        scene
    }

    /// Bob changes nothing in the group but his own leaf.
    fn refresh(&mut self) {
        self.bob.submit(OperationId::random().unwrap(), Command::Refresh(self.group)).unwrap();
        let Self { stage, alice, bob, mallory, .. } = self;
        stage.settle(&mut [bob, alice, mallory]);
    }

    /// What this member's tree says of Bob.
    fn said(&self, of: &mut Client) -> Option<LatestAddress> {
        let seat = of.group_seat(&self.group).unwrap();
        LatestAddress::of_member(seat, &self.bob.identity.id)
    }

    /// A newcomer, whom Mallory invites with Bob's old address in what she tells of the members.
    fn newcomer(&mut self) -> Client {
        let mut dora = client("Dora");
        forget_newer(&mut self.mallory, &self.old);
        let package = dora.key_packages(self.stage.now, 1).unwrap().remove(0);
        self.mallory.invite(self.group, package).unwrap();
        self.stage.settle(&mut [&mut self.mallory, &mut dora]);
        assert!(dora.group(&self.group).unwrap().in_step);
        dora
    }

    /// Who fell out of step asks everybody, for hours; gives what came into Bob's mailbox meanwhile.
    fn asks(&mut self, lost: &mut Client) -> Vec<Vec<u8>> {
        let before = self.stage.service.log(&self.bob.mailbox()).len();
        fall_out_of_step(lost, self.group);
        for _ in 0..8 {
            self.stage.now.mono += 3_600_000;
            self.stage.settle(&mut [lost]);
        }
        let items = self.stage.service.log(&self.bob.mailbox());
        items[before..].iter().map(|item| item.bytes.clone()).collect()
    }

    /// Alice reads, at that time, what Bob offered before.
    fn repeat_offer(&self, alice: &mut Client, now: Now) {
        let help = frame::decode(&self.help).unwrap();
        let fate = alice.transact(|alice| alice.rejoin_offered(help, now)).unwrap();
        assert_eq!(fate, Fate::Request, "it is genuine");
    }

    /// Alice reads what Bob offers now.
    fn offer(&mut self, alice: &mut Client) {
        let (help, now) = (offer_of(&mut self.bob, alice, self.group), self.stage.now);
        let fate = alice.transact(|alice| alice.rejoin_offered(help, now)).unwrap();
        assert_eq!(fate, Fate::Request);
    }

    fn thief_opens(&self, item: &[u8]) -> bool {
        let Ok(MailItem::Sealed(sealed)) = frame::decode(item) else { panic!("sealed") };
        crate::mail::sealed::open(&self.thief.keys, &self.bob.mailbox(), &sealed).is_ok()
    }
}

/// This client knows no later address of the device than this one.
fn forget_newer(client: &mut Client, address: &MailAddress) {
    let member = address.body.member;
    let address = frame::encode(address).unwrap();
    let forget = |client: &mut Client| {
        let device = client.state.device(&member)?.unwrap();
        client.state.put_device(&member, &DeviceRecord { address: Some(address), ..device })
    };
    client.transact(forget).unwrap();
}

fn known(client: &Client, of: &Client) -> Option<MailAddress> {
    client.state.device(of.identity.id.as_bytes()).unwrap().unwrap().address().unwrap()
}

#[test]
fn an_inviter_gives_a_newcomer_no_old_address_of_a_member() {
    let mut scene = Scene::new();
    let mut dora = scene.newcomer();
    let own = scene.bob.latest_address().unwrap();
    assert_eq!(scene.said(&mut dora), Some(own));
    assert_eq!(known(&dora, &scene.bob), None);
    assert_eq!(known(&dora, &scene.alice), scene.alice.mail_address().ok(), "the rest counts");
    // Nor later, in what Mallory says in the group.
    let addresses = List(vec![scene.old.clone()]);
    let frame = Frame::People(PeopleUpdate { addresses, ..PeopleUpdate::default() });
    scene.stage.say(&mut scene.mallory, &scene.group, &frame, &mut [&mut dora]);
    assert_eq!(known(&dora, &scene.bob), None);
    let items = scene.asks(&mut dora);
    assert!(items.iter().all(|item| !scene.thief_opens(item)), "{}", items.len());
    // Bob says it himself with his next change.
    scene.refresh();
    scene.stage.settle(&mut [&mut scene.mallory, &mut dora]);
    for _ in 0..4 {
        scene.stage.settle(&mut [&mut scene.alice, &mut scene.mallory, &mut scene.bob, &mut dora]);
    }
    assert!(dora.group(&scene.group).unwrap().in_step);
    scene.refresh();
    scene.stage.settle(&mut [&mut dora]);
    assert_eq!(known(&dora, &scene.bob), scene.bob.mail_address().ok());
}

#[test]
fn who_missed_the_next_address_seals_nothing_to_the_one_before() {
    let mut scene = Scene::new();
    let mut alice = core::mem::replace(&mut scene.alice, client("Nobody"));
    forget_newer(&mut alice, &scene.old);
    let items = scene.asks(&mut alice);
    assert!(items.iter().all(|item| !scene.thief_opens(item)), "{}", items.len());
    let newest = scene.bob.mail_address().unwrap();
    forget_newer(&mut alice, &newest);
    let items = scene.asks(&mut alice);
    assert!(!items.is_empty() && items.iter().all(|item| !scene.thief_opens(item)));
}

#[test]
fn an_old_offer_of_help_that_is_repeated_has_nothing_sealed_to_the_old_key() {
    for knows_newer in [true, false] {
        let mut scene = Scene::new();
        let mut alice = core::mem::replace(&mut scene.alice, client("Nobody"));
        scene.offer(&mut alice);
        if !knows_newer {
            // But her tree says it.
            forget_newer(&mut alice, &scene.old);
        }
        scene.repeat_offer(&mut alice, scene.stage.now);
        let items = scene.asks(&mut alice);
        assert!(!items.is_empty(), "the newer one stays");
        assert!(items.iter().all(|item| !scene.thief_opens(item)));
    }
}

#[test]
fn an_offer_of_help_from_before_the_next_address_is_not_made_use_of() {
    for knows_newer in [true, false] {
        let mut scene = Scene::new();
        let mut alice = core::mem::replace(&mut scene.alice, client("Nobody"));
        alice.transact(|alice| alice.forget_offers(&scene.group)).unwrap();
        scene.repeat_offer(&mut alice, scene.before);
        if !knows_newer {
            forget_newer(&mut alice, &scene.old);
        }
        let items = scene.asks(&mut alice);
        assert_eq!(items.is_empty(), !knows_newer, "she asks him where he is now");
        assert!(items.iter().all(|item| !scene.thief_opens(item)));
    }
}

#[test]
fn who_was_removed_and_is_offered_help_seals_nothing_to_an_older_address() {
    let mut scene = Scene::new();
    let mut alice = core::mem::replace(&mut scene.alice, client("Nobody"));
    let (group, members) = (scene.group, vec![alice.identity.id]);
    let remove = Command::Remove { group, members };
    scene.mallory.submit(OperationId::random().unwrap(), remove).unwrap();
    scene.stage.settle(&mut [&mut scene.mallory, &mut alice]);
    assert_eq!(alice.state.group(&group).unwrap().standing, Standing::Removed);
    let mail = |scene: &Scene| scene.stage.service.log(&scene.bob.mailbox()).len();
    let before = mail(&scene);
    scene.repeat_offer(&mut alice, scene.stage.now);
    scene.stage.settle(&mut [&mut alice]);
    assert_eq!(mail(&scene), before);
    scene.offer(&mut alice);
    scene.stage.settle(&mut [&mut alice]);
    assert!(mail(&scene) > before, "of an offer from there she makes use");
}

#[test]
fn a_directory_puts_no_older_address_beside_a_key_package() {
    let Scene { mut stage, group, mut alice, mut bob, old, .. } = Scene::new();
    let other = alice.found("Another").unwrap();
    let offer = bob.key_packages(stage.now, 1).unwrap().remove(0);
    let KeyPackageOffer { bundle, .. } = seat::read_offer(&offer).unwrap();
    let swapped = frame::encode(&KeyPackageOffer { address: old, bundle }).unwrap();
    let before = stage.service.log(&bob.mailbox()).len();
    let id = OperationId::random().unwrap();
    let (mailbox, member) = (bob.mailbox(), None);
    alice.submit(id, Command::Invite { group: other, mailbox, member }).unwrap();
    while let Some(request) = alice.poll_request(stage.now).unwrap() {
        let result = match &request.call {
            crate::Call::Claim(_) => Ok(Reply::Claimed(Some(swapped.clone()))),
            _ => request.perform(&mut stage.service),
        };
        let input = Input::Response { id: request.id, result };
        let _ledger = alice.handle(stage.now, input).unwrap();
    }
    stage.settle(&mut [&mut alice]);
    let told = events(&mut alice);
    assert!(
        told.iter().any(|event| matches!(event,
            Event::Settled { operation, verdict: Verdict::Refused { .. } } if *operation == id)),
        "{told:?}"
    );
    assert_eq!(stage.service.log(&bob.mailbox()).len(), before, "nothing is sealed to it");
    alice.invite(other, offer).unwrap();
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.group(&other).unwrap().in_step && bob.group(&group).unwrap().in_step);
}

/// What is not prevented, and how long it lasts.
#[test]
fn who_is_added_anew_by_an_older_key_package_says_the_latest_address_with_its_next_change() {
    let mut scene = Scene::new();
    let (group, offer) = (scene.group, scene.offer.clone());
    let readmit = Work::Readmit(vec![offer]);
    scene.mallory.transact(|mallory| mallory.enqueue(&group, None, readmit)).unwrap();
    let mut alice = core::mem::replace(&mut scene.alice, client("Nobody"));
    for _ in 0..4 {
        scene.stage.settle(&mut [&mut scene.mallory, &mut alice, &mut scene.bob]);
    }
    assert_eq!(scene.said(&mut alice), Some(LatestAddress(scene.old.body.serial)));
    assert!(scene.bob.group(&group).unwrap().in_step, "Bob had a welcome");
    scene.refresh();
    scene.stage.settle(&mut [&mut alice]);
    assert_eq!(scene.said(&mut alice), scene.bob.latest_address().ok());
}

#[test]
fn a_leaf_that_a_clock_made_that_was_ahead_is_made_anew() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let before = stage.now.wall;
    let year = 365 * 24 * 3_600_000;
    stage.now.wall += year;
    stage.now.mono += 24 * 3_600_000;
    stage.settle(&mut [&mut bob]);
    bob.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
    stage.settle(&mut [&mut bob]);
    let member = bob.identity.id;
    let said = |of: &mut Client| {
        LatestAddress::of_member(of.group_seat(&group).unwrap(), &member).unwrap()
    };
    assert!(said(&mut bob).0 >= before + year);
    stage.now.wall = before;
    stage.settle(&mut [&mut alice]);
    // It keeps nobody from what Bob says meanwhile.
    stage.now.mono += 24 * 3_600_000;
    stage.settle(&mut [&mut bob, &mut alice]);
    assert_eq!(known(&alice, &bob), bob.mail_address().ok());
    assert_eq!(Ok(said(&mut alice)), bob.latest_address().map_err(|_| ()));
    // Nor when that time has come.
    let mut later = stage.now;
    later.wall += year;
    let address = bob.mail_address().unwrap();
    assert!(!alice.transact(|alice| alice.is_outdated(&group, &address, later)).unwrap());
}

#[test]
fn what_a_leaf_says_has_one_encoding() {
    for serial in [0, 7, u64::MAX] {
        let bytes = LatestAddress(serial).encode();
        assert_eq!(LatestAddress::decode(&bytes), Some(LatestAddress(serial)));
        for other in [&bytes[..8], &[&bytes[..], &[0]].concat(), &[&[2], &bytes[1..]].concat(), &[]]
        {
            assert_eq!(LatestAddress::decode(other), None);
        }
    }
}
