//! Members that ask to be added anew, of groups in which the first who are asked can do nothing.

use super::{HELPERS, helpers_of_round};
use crate::{
    Call, Client, Command, GroupId, Input, LogId, OperationId, Reply,
    testing::{Stage, client},
};

fn fall_out_of_step(client: &mut Client, group: GroupId) {
    let suspect = |client: &mut Client| {
        client.state.group_mut(&group)?.suspect = true;
        Ok(())
    };
    client.transact(suspect).unwrap();
}

#[test]
fn everybody_is_asked_twice_and_nobody_twice_at_once() {
    let helpers: Vec<LogId> = (0..20).map(|at| LogId::from_bytes([at; 32])).collect();
    for count in 0..helpers.len() {
        let helpers = &helpers[..count];
        for round in 0..8 {
            let asked = helpers_of_round(helpers, round);
            let wanted = if round == 0 { HELPERS } else { 2 * HELPERS };
            assert_eq!(asked.len(), wanted.min(count));
            assert!((1..asked.len()).all(|at| !asked[..at].contains(&asked[at])), "{asked:?}");
            let again = helpers_of_round(helpers, round + 1);
            let new = &asked[..HELPERS.min(count)];
            assert!(new.iter().all(|helper| again.contains(helper)), "{new:?} {again:?}");
        }
    }
}

#[test]
fn who_lost_its_welcome_is_back_after_its_third_request_however_many_there_are() {
    let mut stage = Stage::new();
    let mut people: Vec<Client> = (0..14).map(|at| client(&format!("person {at}"))).collect();
    let group = stage.group(&mut people.iter_mut().collect::<Vec<_>>());
    let mut bob = people.pop().unwrap();
    let mailbox = bob.mailbox();
    fall_out_of_step(&mut bob, group);
    // Three requests, and time for what comes of them.
    for _ in 0..96 {
        while let Some(request) = bob.poll_request(stage.now).unwrap() {
            let result = request.perform(&mut stage.service);
            let _ledger =
                bob.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
        }
        for helper in &mut people {
            while let Some(request) = helper.poll_request(stage.now).unwrap() {
                let welcome = match &request.call {
                    Call::Append(append) => append.access.is_none() && append.log == mailbox,
                    _ => false,
                };
                // The first welcome is lost, and its sender does not know.
                let lost = welcome && bob.state.group(&group).unwrap().rejoins < 2;
                let result = if lost {
                    Ok(Reply::Appended(crate::Position(1)))
                } else {
                    request.perform(&mut stage.service)
                };
                let input = Input::Response { id: request.id, result };
                let _ledger = helper.handle(stage.now, input).unwrap();
            }
        }
        stage.now.mono += 2_500;
        stage.now.wall += 2_500;
    }
    let (view, other) = (bob.group(&group).unwrap(), people[0].group(&group).unwrap());
    // Who is asked a second time by it saw the member being added.
    assert!(view.in_step, "{} requests", bob.state.group(&group).unwrap().rejoins);
    assert_eq!(view.authenticator, other.authenticator);
}

#[test]
fn whom_a_member_invited_it_can_ask_without_having_read_of_them() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice]);
    // From here on Alice reads nothing of the group: neither what Carol says of herself, nor that Bob leaves.
    let mut alone = Stage { service: stage.service.fork(), now: stage.now };
    stage.settle(&mut [&mut bob, &mut carol]);
    bob.submit(OperationId::random().unwrap(), Command::Leave(group)).unwrap();
    stage.settle(&mut [&mut bob, &mut carol]);
    alone.now = stage.now;
    alice.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
    alone.settle(&mut [&mut alice]);
    stage.now = alone.now;
    for _ in 0..4 {
        stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    }
    let (view, other) = (alice.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(view.in_step, "Carol brings her back");
    assert_eq!((view.authenticator, view.members.len()), (other.authenticator, 2));
    assert!(bob.group(&group).unwrap().epoch.is_none());
}
