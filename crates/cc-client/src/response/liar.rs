//! A directory that hands out the key packages of somebody else.

use crate::{
    Call, Client, Command, Event, Failure, Fault, GroupId, Input, LogId, OperationId, Refusal,
    Reply,
    contact::MAX_DEVICES,
    device::DeviceBody,
    frame::{Frame, List},
    introduction::PeopleUpdate,
    testing::{Stage, client, events},
};

/// What `client` asks of the directory is answered with this.
fn answer_claims(stage: &mut Stage, client: &mut Client, package: &[u8]) -> usize {
    let mut claims = 0;
    while let Some(request) = client.poll_request(stage.now).unwrap() {
        let result = match &request.call {
            Call::Claim(_) => {
                claims += 1;
                Ok(Reply::Claimed(Some(package.to_vec())))
            }
            _ => request.perform(&mut stage.service),
        };
        let _ledger = client.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
    }
    claims
}

fn invite(client: &mut Client, group: GroupId, mailbox: LogId) {
    let id = OperationId::random().unwrap();
    client.submit(id, Command::Invite { group, mailbox, member: None }).unwrap();
}

#[test]
fn nobody_is_added_in_the_place_of_a_known_device() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    stage.group(&mut [&mut alice, &mut bob]);
    let group = alice.found("Another").unwrap();
    let now = stage.now;
    let package = |of: &mut Client| of.key_packages(now, 1).unwrap().remove(0);
    let (bobs, mallorys) = (package(&mut bob), package(&mut mallory));
    // Alice knows Bob's device, and her own new one by its offer.
    invite(&mut alice, group, bob.mailbox());
    assert_eq!(answer_claims(&mut stage, &mut alice, &mallorys), 1);
    let mut laptop = client("Laptop");
    let offer = laptop.offer_device(now, 0).unwrap();
    alice.submit(OperationId::random().unwrap(), Command::Link(offer)).unwrap();
    assert_eq!(answer_claims(&mut stage, &mut alice, &mallorys), 2);
    stage.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.group(&group).unwrap().members.len(), 1);
    // Bob's own does.
    invite(&mut alice, group, bob.mailbox());
    assert_eq!(answer_claims(&mut stage, &mut alice, &bobs), 1);
    stage.settle(&mut [&mut alice, &mut bob]);
    assert!(alice.group(&group).unwrap().members.iter().any(|it| it.id == bob.identity.id));
}

#[test]
fn nobody_is_added_by_claiming_the_mailbox_of_another() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(client);
    let together = stage.group(&mut [&mut alice, &mut bob, &mut mallory]);
    let group = alice.found("Another").unwrap();
    // Mallory's device says that Bob's mailbox is its own, and the directory helps it.
    let device = mallory.state.device(mallory.identity.id.as_bytes()).unwrap().unwrap();
    let body = device.certificate().unwrap().body;
    let body = DeviceBody { mailbox: bob.mailbox(), serial: 9, ..body };
    let claim = body.certify(&mallory.person_key().unwrap()).unwrap();
    let claim = claim.consent(&mallory.identity.device_key().unwrap()).unwrap();
    let update = PeopleUpdate { certificates: List(vec![claim]), ..PeopleUpdate::default() };
    let update = Frame::People(update);
    stage.say(&mut mallory, &together, &update, &mut [&mut alice]);
    let mailbox = bob.mailbox();
    let command = Command::Invite { group, mailbox, member: None };
    let invited = alice.submit(OperationId::random().unwrap(), command);
    assert!(matches!(invited, Err(Fault::MailboxClaimed(it)) if it == mailbox), "{invited:?}");
    // By the device that is meant, Bob comes and nobody else.
    let mallorys = mallory.key_packages(stage.now, 1).unwrap().remove(0);
    let bobs = bob.key_packages(stage.now, 1).unwrap().remove(0);
    for (package, members) in [(mallorys, 1), (bobs, 2)] {
        let member = Some(bob.identity.id);
        let command = Command::Invite { group, mailbox, member };
        alice.submit(OperationId::random().unwrap(), command).unwrap();
        assert_eq!(answer_claims(&mut stage, &mut alice, &package), 1);
        stage.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(alice.group(&group).unwrap().members.len(), members);
    }
}

#[test]
fn mail_that_the_service_does_not_take_is_told() {
    let mut stage = Stage::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    let mailbox = bob.mailbox();
    for _ in 0..20 {
        while let Some(request) = alice.poll_request(stage.now).unwrap() {
            let result = match &request.call {
                Call::Append(append) if append.log == mailbox => {
                    Err(Failure::Refused(Refusal::TooLarge))
                }
                _ => request.perform(&mut stage.service),
            };
            let input = Input::Response { id: request.id, result };
            let _ledger = alice.handle(stage.now, input).unwrap();
        }
        stage.now.mono += 2_500;
    }
    let told = events(&mut alice);
    let told = told
        .iter()
        .filter(|event| matches!(event, Event::NotDelivered { mailbox: to, .. } if *to == mailbox));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_person_has_a_number_of_devices() {
    let stage = Stage::new();
    let mut alice = client("Alice");
    let own = alice.state.own.id;
    let fill = |alice: &mut Client, count: usize| {
        let mut contact = alice.state.own_contact()?;
        contact.revoked = (1..count).map(|at| ([u8::try_from(at).unwrap(); 32], vec![])).collect();
        alice.state.put_contact(&own, &contact)
    };
    alice.transact(|alice| fill(alice, MAX_DEVICES)).unwrap();
    let offer = client("Laptop").offer_device(stage.now, 0).unwrap();
    let link = |alice: &mut Client| {
        alice.submit(OperationId::random().unwrap(), Command::Link(offer.clone()))
    };
    assert!(matches!(link(&mut alice), Err(Fault::TooManyDevices)));
    alice.transact(|alice| fill(alice, MAX_DEVICES - 1)).unwrap();
    // (What stands for the others is no revocation, which only the count looks at.)
    assert!(!matches!(link(&mut alice), Err(Fault::TooManyDevices)));
}
