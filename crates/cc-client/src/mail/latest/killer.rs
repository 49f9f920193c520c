//! A device that is killed at every step between a new key for mail and the change that says so.

use std::sync::{Arc, Mutex};

use cc_core::store::{Failure, MemoryStore};

use super::LatestAddress;
use crate::{
    Client, Command, GroupId, Input, OperationId, Profile, Recipe,
    mail::address::ROTATION,
    testing::{Stage, client},
};

type Disk = Arc<Mutex<MemoryStore>>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    /// Before a request goes out.
    Before,
    /// After it was done, without its answer.
    Unanswered,
    /// After its answer was taken.
    After,
    /// The commit of the answer is in doubt.
    Commit(Failure),
}

struct Bob {
    disk: Disk,
    client: Client,
    steps: usize,
    blow: (usize, Blow),
}

impl Bob {
    fn kill(&mut self) {
        let reopened = self.disk.lock().unwrap().reopened();
        *self.disk.lock().unwrap() = reopened;
        self.client = Client::open(Arc::clone(&self.disk)).unwrap();
    }

    /// Does what is to be done, or is killed on the way.
    fn turn(&mut self, stage: &mut Stage) {
        while let Some(request) = self.client.poll_request(stage.now).unwrap() {
            let blow = (self.steps == self.blow.0).then_some(self.blow.1);
            self.steps += 1;
            if blow == Some(Blow::Before) {
                return self.kill();
            }
            let result = request.perform(&mut stage.service);
            if blow == Some(Blow::Unanswered) {
                return self.kill();
            }
            if let Some(Blow::Commit(failure)) = blow {
                self.disk.lock().unwrap().fail_after(0, failure);
            }
            let input = Input::Response { id: request.id, result };
            let taken = self.client.handle(stage.now, input);
            if blow.is_some() {
                return self.kill();
            }
            let _ledger = taken.unwrap();
        }
    }
}

fn said(of: &mut Client, group: &GroupId, bob: &Client) -> LatestAddress {
    LatestAddress::of_member(of.group_seat(group).unwrap(), &bob.identity.id).unwrap()
}

/// Bob takes another key for mail and renews his secrets; gives how many steps that took.
fn play(blow: (usize, Blow)) -> usize {
    let mut stage = Stage::new();
    let (disk, mut alice) = (Disk::default(), client("Alice"));
    let profile = Profile::new("Bob");
    let mut new = Client::create(Arc::clone(&disk), profile, Recipe::group()).unwrap();
    let group = stage.group(&mut [&mut alice, &mut new]);
    let old = new.latest_address().unwrap();
    let mut bob = Bob { disk, client: new, steps: 0, blow };
    stage.now.wall += ROTATION;
    stage.now.mono += ROTATION;
    let mut is_to_renew = true;
    for _ in 0..6 {
        bob.turn(&mut stage);
        if is_to_renew && bob.client.latest_address().unwrap() != old {
            is_to_renew = false;
            let refresh = Command::Refresh(group);
            bob.client.submit(OperationId::random().unwrap(), refresh).unwrap();
        }
        stage.settle(&mut [&mut alice]);
        // At no time does a leaf say what is not so.
        let own = bob.client.latest_address().unwrap();
        let address = bob.client.mail_address().unwrap();
        assert!(said(&mut alice, &group, &bob.client).0 <= own.0, "{blow:?}");
        assert!(!alice.is_outdated(&group, &address, stage.now).unwrap(), "{blow:?}");
    }
    let own = bob.client.latest_address().unwrap();
    assert_ne!(own, old, "{blow:?}");
    assert_eq!(said(&mut alice, &group, &bob.client), own, "{blow:?}");
    let known = alice.state.device(bob.client.identity.id.as_bytes()).unwrap().unwrap();
    assert_eq!(known.address().unwrap(), bob.client.mail_address().ok(), "{blow:?}");
    let views = [&alice, &bob.client].map(|who| who.group(&group).unwrap().authenticator);
    assert_eq!(views[0], views[1], "{blow:?}");
    bob.steps
}

#[test]
fn killed_at_every_step_a_leaf_says_no_later_address_than_there_is() {
    let steps = play((usize::MAX, Blow::After));
    // Later ones only look whether there is something new.
    let steps = steps.min(16);
    assert!(steps > 6, "{steps}");
    let failures = [Failure::Lost, Failure::Kept].map(Blow::Commit);
    for blow in [Blow::Before, Blow::Unanswered, Blow::After].into_iter().chain(failures) {
        for step in 0..steps {
            play((step, blow));
        }
    }
}
