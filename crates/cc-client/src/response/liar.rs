//! A directory that hands out the key packages of somebody else.

use crate::{
    Call, Client, Command, GroupId, Input, LogId, OperationId, Reply,
    testing::{Stage, client},
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
