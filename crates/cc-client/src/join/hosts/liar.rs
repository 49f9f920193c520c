//! What revoked devices and other people say of a link.

use super::{tests::Scene, *};
use crate::{
    Command, Event, JoinLink,
    join::{
        request,
        tests::{DAY, fates_of, submit},
    },
    testing::{client, events, mail_to},
};

#[test]
fn a_revoked_device_ends_the_links_that_it_has_and_is_told_and_believed_no_more() {
    let mut scene = Scene::shown();
    submit(&mut scene.phone, Command::Revoke(scene.laptop.me().id));
    let stolen = &mut scene.laptop;
    scene.stage.settle(&mut [&mut scene.phone, &mut scene.carol]);
    // Who has the laptop reads what is sent to it by that link: so the link is over.
    assert!(scene.phone.join_links().unwrap().is_empty());
    assert!(scene.phone.join_requests().unwrap().is_empty());
    let told = events(&mut scene.carol);
    assert!(matches!(&told[..], [Event::JoinDeclined { .. }]), "{told:?}");
    // Another link is not for it.
    let other = scene.phone.join_link(scene.stage.now, scene.group, DAY).unwrap();
    assert_eq!(other.mailboxes(), [scene.phone.mailbox()]);
    let before = scene.stage.service.log(&stolen.mailbox()).len();
    scene.carol.ask_to_join(scene.stage.now, &other, "").unwrap();
    scene.stage.settle(&mut [&mut scene.phone, &mut scene.carol]);
    assert_eq!(scene.stage.service.log(&stolen.mailbox()).len(), before);
    // Nor is what it says taken for anything, though its signature is good.
    let record = scene.phone.state.get::<LinkRecord>(&links(), other.id().as_bytes());
    let expires = record.unwrap().unwrap().expires;
    for (link, word) in [
        (other.id(), HostWord::Revoked(expires)),
        (other.id(), HostWord::Declined(*scene.carol.identity.id.as_bytes())),
        (scene.link.id(), made(stolen, &scene.phone, scene.group, &scene.link)),
    ] {
        let item = said(stolen, &scene.phone, link, word);
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
        assert_eq!(fates, [Fate::Request]);
    }
    assert_eq!(scene.phone.join_links().unwrap().len(), 1);
    assert_eq!(scene.phone.join_requests().unwrap().len(), 1);
}

/// That there is this link, which `by` has.
fn made(by: &Client, to: &Client, group: GroupId, link: &JoinLink) -> HostWord {
    let record = by.state.get::<LinkRecord>(&links(), link.id().as_bytes()).unwrap();
    let keys = record.map_or_else(|| request::new_keys().unwrap(), |record| record.keys);
    HostWord::Made(SharedLink {
        group,
        keys,
        expires: u64::MAX,
        hosts: List([by, to].map(|it| *it.identity.id.as_bytes()).to_vec()),
        mailboxes: List([by, to].map(Client::mailbox).to_vec()),
    })
}

/// What `by` says to `to`, as its own.
fn said(by: &Client, to: &Client, link: JoinLinkId, word: HostWord) -> Vec<u8> {
    let body = HostBody { from: *by.identity.id.as_bytes(), to: to.mailbox(), link, word };
    signed_by(by, to, body)
}

fn signed_by(by: &Client, to: &Client, body: HostBody) -> Vec<u8> {
    let signature = person::sign(&by.identity.device_key().unwrap(), HOSTS, &body).unwrap();
    mail_to(to, &Mail::JoinHosts(HostNews { body, signature }))
}

#[test]
fn only_the_other_devices_of_a_person_have_a_say() {
    let mut scene = Scene::shown();
    let mut mallory = client("Mallory");
    let package = mallory.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.phone.invite(scene.group, package).unwrap();
    let Scene { stage, phone, laptop, .. } = &mut scene;
    stage.settle(&mut [phone, laptop, &mut mallory]);
    events(phone);
    let carol = *scene.carol.identity.id.as_bytes();
    let words = |scene: &Scene| {
        let own = made(&scene.laptop, &scene.phone, scene.group, &scene.link);
        [HostWord::Declined(carol), HostWord::Accepted(carol), HostWord::Revoked(1), own]
    };
    let link = scene.link.id();
    for word in words(&scene) {
        // A member of the group, and somebody whom nobody knows.
        for stranger in [&mallory, &client("Nobody")] {
            let item = said(stranger, &scene.phone, link, word.clone());
            let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
            assert_eq!(fates, [Fate::Malformed]);
        }
        // In the laptop's name; and what the laptop has said to somebody else.
        let from = *scene.laptop.identity.id.as_bytes();
        let body = HostBody { from, to: scene.phone.mailbox(), link, word: word.clone() };
        let item = signed_by(&mallory, &scene.phone, body);
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
        assert_eq!(fates, [Fate::Forged]);
        let body = HostBody { from, to: mallory.mailbox(), link, word };
        let item = signed_by(&scene.laptop, &scene.phone, body);
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
        assert_eq!(fates, [Fate::Forged]);
    }
    // A link with other keys, without its reader, or without who tells of it.
    let keys = request::new_keys().unwrap();
    let id = link_id(&keys.public);
    let HostWord::Made(good) = made(&scene.laptop, &scene.phone, scene.group, &scene.link) else {
        panic!()
    };
    let good = SharedLink { keys, ..good };
    for bad in [
        SharedLink { keys: request::new_keys().unwrap(), ..good.clone() },
        SharedLink { hosts: List(good.hosts.0[..1].to_vec()), ..good.clone() },
        SharedLink { mailboxes: List(vec![mallory.mailbox(); 2]), ..good.clone() },
        SharedLink { hosts: List(vec![*scene.phone.identity.id.as_bytes(); 2]), ..good.clone() },
    ] {
        let item = said(&scene.laptop, &scene.phone, id, HostWord::Made(bad));
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
        assert_eq!(fates, [Fate::Malformed]);
    }
    // Shared with somebody who is no device of Alice's, or expired.
    let mut foreign = good.clone();
    foreign.hosts.0.push(*mallory.identity.id.as_bytes());
    foreign.mailboxes.0.push(mallory.mailbox());
    for bad in [foreign, SharedLink { expires: 1, ..good.clone() }] {
        let item = said(&scene.laptop, &scene.phone, id, HostWord::Made(bad));
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
        assert_eq!(fates, [Fate::Request]);
    }
    // Of a link that the laptop does not host it says nothing.
    let alone = scene.phone.join_link(scene.stage.now, scene.group, DAY).unwrap();
    let forget = |phone: &mut Client| {
        let id = alone.id();
        let mut record = phone.state.get::<LinkRecord>(&links(), id.as_bytes())?.unwrap();
        record.hosts.truncate(1);
        phone.state.put(&links(), *id.as_bytes(), &record)
    };
    scene.phone.transact(forget).unwrap();
    let item = said(&scene.laptop, &scene.phone, alone.id(), HostWord::Revoked(u64::MAX));
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
    assert_eq!(fates, [Fate::Malformed]);
    assert_eq!(scene.phone.join_links().unwrap().len(), 2);
    assert_eq!(scene.phone.join_requests().unwrap()[0].id, scene.request);
    // And what is right counts.
    let item = said(&scene.laptop, &scene.phone, id, HostWord::Made(good));
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.phone, item);
    assert_eq!(fates, [Fate::Request]);
    assert_eq!(scene.phone.join_links().unwrap().len(), 3);
}
