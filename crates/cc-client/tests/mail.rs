//! Who is with whom is for the members of groups: the delivery service, which keeps every byte that it is ever given, finds
//! in no item of a mailbox which log it is about, or who sent it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::collections::BTreeSet;

use cc_aes_layer::AesKey;
use cc_client::{Append, Client, Command, DeliveryService, OperationId, Recipe, RequestId};
use common::{
    Disk, Person,
    hoarder::{Hoarder, contains},
};

fn submit(person: &mut Person, command: Command) {
    person.client.submit(OperationId::random().unwrap(), command).unwrap();
}

/// Invitations by the directory and by hand, a request to join that is accepted and one that is declined, another device,
/// and one that was lost and comes back: all kinds of mail.
fn whole_life(recipe: &Recipe) {
    let mut hoarder = Hoarder::default();
    let named = |name: &str| Person::with(name, recipe.clone());
    let [mut alice, mut laptop, mut bob] = ["Alice", "Laptop", "Bob"].map(named);
    let [mut carol, mut dora, mut eve] = ["Carol", "Dora", "Eve"].map(named);
    for person in [&mut alice, &mut laptop, &mut bob, &mut carol] {
        person.client.publish_key_packages(3).unwrap();
    }
    let groups = ["The Winter Garden", "Another"].map(|name| alice.client.found(name).unwrap());
    let everybody =
        &mut [&mut alice, &mut laptop, &mut bob, &mut carol, &mut dora, &mut eve] as &mut [_];
    hoarder.settle(everybody);
    let mailbox = bob.client.mailbox();
    submit(&mut alice, Command::Invite { group: groups[0], mailbox, member: None });
    let package = carol.client.key_packages(carol.now, 1).unwrap().remove(0);
    alice.client.invite(groups[1], package).unwrap();
    let day = 24 * 3_600_000;
    let link = alice.client.join_link(alice.now, groups[0], day).unwrap();
    dora.client.ask_to_join(dora.now, &link, "let me in").unwrap();
    eve.client.ask_to_join(eve.now, &link, "me, too").unwrap();
    hoarder.settle(&mut [&mut alice, &mut bob, &mut carol, &mut dora, &mut eve]);
    for request in alice.client.join_requests().unwrap() {
        let declined = request.from.name() == "Eve";
        submit(
            &mut alice,
            if declined {
                Command::DeclineJoin(request.id)
            } else {
                Command::AcceptJoin(request.id)
            },
        );
    }
    let offer = laptop.client.offer_device(laptop.now, 1).unwrap();
    submit(&mut alice, Command::Link(offer));
    hoarder.settle(&mut [&mut alice, &mut laptop, &mut bob, &mut carol, &mut dora, &mut eve]);
    let key = AesKey::generate().unwrap();
    let export = carol.client.export(&key, true).unwrap();
    let disk = Disk::default();
    let client = Client::restore(disk.clone(), &export, &key, carol.now).unwrap();
    let mut moved = Person::restored("Carol", disk, client, carol.now);
    hoarder.settle(&mut [&mut moved, &mut alice, &mut laptop, &mut bob, &mut dora]);
    assert!(moved.client.group(&groups[1]).unwrap().in_step);
    assert_eq!(alice.client.group(&groups[0]).unwrap().members.len(), 4);

    // Everybody got mail, and whoever looks for addresses finds them elsewhere.
    let people = [&alice, &laptop, &bob, &carol, &dora, &eve].map(|person| &person.client);
    let reached: BTreeSet<_> = hoarder.mail.iter().map(|(to, _)| *to).collect();
    assert_eq!(reached.len(), people.len());
    assert!(groups.iter().all(|group| hoarder.has_seen(group.as_bytes())));
    let mailboxes = people.map(Client::mailbox);
    let members = people.map(|client| *client.me().id.as_bytes());
    let persons = people.map(|client| *client.me().person.unwrap().as_bytes());
    // Nor does the length tell what an item is, but for requests to join, which a link seals. (What the Signal layer adds to
    // an invitation is longer.)
    let sealed = hoarder.mail.iter().map(|(_, item)| item).filter(|item| item[1] == 1);
    let lens: BTreeSet<_> = sealed.map(Vec::len).collect();
    let (least, count) = match recipe.name() {
        Some("group") => (8_249, 1),
        Some("post-quantum") => (17_532, 1),
        _ => (17_532, 4),
    };
    assert!(lens.first() == Some(&least) && lens.len() <= count, "{lens:?} with {recipe:?}");
    for (at, (to, item)) in hoarder.mail.iter().enumerate() {
        for address in groups.iter().chain(&mailboxes) {
            assert!(!contains(item, address.as_bytes()), "item {at} to {to:?} with {recipe:?}");
        }
        for id in members.iter().chain(&persons) {
            assert!(!contains(item, id), "who, in item {at} to {to:?} with {recipe:?}");
        }
    }
}

#[test]
fn the_service_sees_in_no_mailbox_which_group_it_is_about_or_who_sent_it() {
    for recipe in Recipe::NAMES {
        whole_life(&Recipe::named(recipe).unwrap());
    }
}

#[test]
fn an_address_in_an_item_would_be_found() {
    let mut hoarder = Hoarder::default();
    let [alice, bob] = ["Alice", "Bob"].map(Person::new);
    let mailbox = alice.client.mailbox();
    let item = [&[1, 1][..], mailbox.as_bytes(), &[0; 900]].concat();
    let append =
        Append { log: bob.client.mailbox(), access: None, commit: None, items: vec![item] };
    hoarder.append(RequestId::random().unwrap(), &append).unwrap();
    assert!(hoarder.mail.iter().any(|(_, item)| contains(item, mailbox.as_bytes())));
}
