//! Who asks takes it back, at any moment; and what lapses.

use super::{
    tests::{DAY, Scene, fates_of, submit},
    *,
};
use crate::{
    Call, Command, Event, Fate, Fault, Input, JoinLapse, OperationId, Verdict,
    frame::{self, MailItem},
    testing::{client, events},
};

impl Scene {
    fn settle(&mut self) {
        self.stage.settle(&mut [&mut self.carol, &mut self.alice]);
    }

    fn withdraw(&mut self) {
        submit(&mut self.carol, Command::WithdrawJoin(self.request));
        events(&mut self.carol);
    }

    /// Alice is told, with this at the end; and there is nobody but her in the group.
    fn is_withdrawn(&mut self, was_let_in: bool) {
        let told = events(&mut self.alice);
        let withdrawn = |event: &&Event| matches!(event, Event::JoinWithdrawn { request, group, let_in, from } if (*request, *group, *let_in) == (self.request, self.group, was_let_in) && *from == self.carol.me());
        assert_eq!(told.iter().filter(withdrawn).count(), 1, "{told:?}");
        assert_eq!(self.alice.group(&self.group).unwrap().members.len(), 1);
        assert!(self.alice.join_requests().unwrap().is_empty());
        assert!(self.alice.state.list::<AdmittedRecord>(&admitted(), 8).unwrap().is_empty());
        let told = events(&mut self.carol);
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(self.carol.unused_key_packages().unwrap(), 0);
        assert_eq!(self.carol.groups().count(), 0);
    }

    /// Carol asks again by the same link, and comes in.
    fn asks_again(&mut self) {
        let again = self.carol.ask_to_join(self.stage.now, &self.link, "after all").unwrap();
        assert_eq!(again, self.request);
        self.settle();
        assert_eq!(self.alice.join_requests().unwrap()[0].message, "after all");
        submit(&mut self.alice, Command::AcceptJoin(again));
        self.settle();
        assert_eq!(self.alice.group(&self.group).unwrap().members.len(), 2);
        assert_eq!(self.carol.group(&self.group).unwrap().members.len(), 2);
    }
}

#[test]
fn who_withdraws_is_not_shown_any_more_and_may_ask_again() {
    let mut scene = Scene::new();
    scene.withdraw();
    assert!(scene.carol.join_asks().unwrap().is_empty());
    let again = OperationId::random().unwrap();
    let again = scene.carol.submit(again, Command::WithdrawJoin(scene.request));
    assert!(matches!(again, Err(Fault::NoSuchJoinRequest(_))), "{again:?}");
    scene.settle();
    scene.is_withdrawn(false);
    assert_eq!(scene.alice.join_links().unwrap()[0].open, 0);
    for command in [Command::AcceptJoin(scene.request), Command::DeclineJoin(scene.request)] {
        let answer = scene.alice.submit(OperationId::random().unwrap(), command);
        assert!(matches!(answer, Err(Fault::NoSuchJoinRequest(_))), "{answer:?}");
    }
    scene.asks_again();
}

#[test]
fn what_is_asked_withdrawn_and_asked_again_arrives_in_this_order() {
    let mut scene = Scene::new();
    scene.withdraw();
    let again = scene.carol.ask_to_join(scene.stage.now, &scene.link, "once more").unwrap();
    submit(&mut scene.carol, Command::WithdrawJoin(again));
    scene.carol.ask_to_join(scene.stage.now, &scene.link, "now I mean it").unwrap();
    events(&mut scene.carol);
    // One at a time: the next goes when the service has the one before it.
    let mut mails = Vec::new();
    while let Some(request) = scene.carol.poll_request(scene.stage.now).unwrap() {
        if matches!(&request.call, Call::Append(_)) {
            mails.push(request);
        } else {
            let result = request.perform(&mut scene.stage.service);
            let input = Input::Response { id: request.id, result };
            let _ledger = scene.carol.handle(scene.stage.now, input).unwrap();
        }
    }
    assert_eq!(mails.len(), 1);
    scene.stage.now.mono += 60_000;
    scene.settle();
    let views = scene.alice.join_requests().unwrap();
    assert_eq!((views.len(), views[0].message.as_str()), (1, "now I mean it"));
    assert_eq!(scene.alice.join_links().unwrap()[0].open, 1);
}

#[test]
fn who_withdraws_before_the_commit_goes_does_not_come_in() {
    let mut scene = Scene::new();
    let accepted = submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    scene.withdraw();
    scene.stage.settle(&mut [&mut scene.carol]);
    let mail = scene.stage.service.log(&scene.alice.mailbox()).pop().unwrap();
    let MailItem::JoinWithdrawn(reply) = frame::decode(&mail.bytes).unwrap() else { panic!() };
    let fate = scene.alice.transact(|alice| alice.join_withdrawn(&reply)).unwrap();
    assert_eq!(fate, Fate::Request);
    let told = scene.alice.events(crate::EventId(0), 9).unwrap();
    let refused = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Refused(why) } if *operation == accepted && why.contains("withdrawn"));
    assert!(told.iter().any(|(_, event)| refused(event)), "{told:?}");
    scene.is_withdrawn(false);
    scene.settle();
    let log = scene.stage.service.log(&scene.group);
    assert!(log.iter().all(|item| !item.commit), "nothing was committed");
    scene.asks_again();
}

/// Alice's commit is with the service, and she has not heard of that.
fn commit_on_its_way(scene: &mut Scene) {
    submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    loop {
        let request = scene.alice.poll_request(scene.stage.now).unwrap().unwrap();
        let commit = matches!(&request.call, Call::Append(append) if append.commit.is_some());
        let result = request.perform(&mut scene.stage.service);
        if commit {
            break;
        }
        let input = Input::Response { id: request.id, result };
        let _ledger = scene.alice.handle(scene.stage.now, input).unwrap();
    }
}

fn hears_of_it(scene: &mut Scene) {
    scene.withdraw();
    scene.stage.settle(&mut [&mut scene.carol]);
    let mail = scene.stage.service.log(&scene.alice.mailbox()).pop().unwrap();
    let MailItem::JoinWithdrawn(reply) = frame::decode(&mail.bytes).unwrap() else { panic!() };
    scene.alice.transact(|alice| alice.join_withdrawn(&reply)).unwrap();
}

#[test]
fn who_withdraws_while_the_commit_is_on_its_way_is_removed_again() {
    let mut scene = Scene::new();
    commit_on_its_way(&mut scene);
    hears_of_it(&mut scene);
    scene.stage.now.mono += 60_000;
    scene.settle();
    scene.is_withdrawn(true);
    assert!(scene.stage.service.log(&scene.carol.mailbox()).is_empty(), "there is no welcome");
    scene.asks_again();
}

#[test]
fn a_commit_that_lost_against_another_does_not_let_in_who_has_withdrawn() {
    let mut scene = Scene::new();
    let mut bob = client("Bob");
    let package = bob.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.alice.invite(scene.group, package).unwrap();
    scene.stage.settle(&mut [&mut scene.alice, &mut bob]);
    let accepted = submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    // Her commit is on its way, and Bob's comes before it.
    while scene.alice.state.group(&scene.group).unwrap().in_flight.is_none() {
        let request = scene.alice.poll_request(scene.stage.now).unwrap().unwrap();
        if !matches!(&request.call, Call::Append(append) if append.commit.is_some()) {
            let result = request.perform(&mut scene.stage.service);
            let input = Input::Response { id: request.id, result };
            let _ledger = scene.alice.handle(scene.stage.now, input).unwrap();
        }
    }
    submit(&mut bob, Command::Refresh(scene.group));
    scene.stage.settle(&mut [&mut bob]);
    hears_of_it(&mut scene);
    scene.stage.now.mono += 60_000;
    scene.stage.settle(&mut [&mut scene.alice, &mut bob, &mut scene.carol]);
    let told = events(&mut scene.alice);
    let refused = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Refused(_) } if *operation == accepted);
    assert!(told.iter().any(refused), "{told:?}");
    let withdrawn = |event: &Event| matches!(event, Event::JoinWithdrawn { let_in: false, .. });
    assert!(told.iter().any(withdrawn), "{told:?}");
    let log = scene.stage.service.log(&scene.group);
    assert_eq!(log.iter().filter(|item| item.commit).count(), 2, "Bob's joining, and his update");
    assert_eq!(bob.group(&scene.group).unwrap().members.len(), 2);
}

#[test]
fn who_withdraws_when_the_welcome_is_there_stays_outside() {
    let mut scene = Scene::new();
    submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    scene.stage.settle(&mut [&mut scene.alice]);
    assert_eq!(scene.alice.group(&scene.group).unwrap().members.len(), 2);
    scene.withdraw();
    scene.settle();
    scene.is_withdrawn(true);
    let asked = scene.stage.service.log(&scene.alice.mailbox());
    assert_eq!(asked.len(), 2, "a request and a withdrawal: she asks for no other welcome");
    scene.asks_again();
    // Who is in it has nothing to withdraw.
    let late = OperationId::random().unwrap();
    let late = scene.carol.submit(late, Command::WithdrawJoin(scene.request));
    assert!(matches!(late, Err(Fault::NoSuchJoinRequest(_))), "{late:?}");
}

#[test]
fn a_withdrawal_is_by_who_asked() {
    let mut scene = Scene::new();
    let forged = |request| {
        let key = request::AnswerKey::generate().unwrap();
        frame::encode(&MailItem::JoinWithdrawn(key.withdrawal(request).unwrap())).unwrap()
    };
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.alice, forged(scene.request));
    assert_eq!(fates, [Fate::Forged]);
    assert_eq!(scene.alice.join_requests().unwrap().len(), 1);
    // Nor is an answer a withdrawal, or a withdrawal an answer.
    let key = scene.carol.state.get::<AskRecord>(&asks(), scene.request.as_bytes()).unwrap();
    let key = key.unwrap().answer_key;
    let answer = key.answer(scene.request, request::JoinAnswer::Declined).unwrap();
    let withdrawal = key.withdrawal(scene.request).unwrap();
    assert!(!key.is_withdrawn_by(&answer) && key.answer_in(&withdrawal).is_none());
    // One of before, which a service gives once more when Carol has asked again and is in.
    scene.withdraw();
    scene.settle();
    let old = scene.stage.service.log(&scene.alice.mailbox()).pop().unwrap().bytes;
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.alice, old.clone());
    assert_eq!(fates, [Fate::Malformed]);
    scene.asks_again();
    for item in [old, forged(scene.request)] {
        let (fates, _) = fates_of(&mut scene.stage, &mut scene.alice, item);
        assert_eq!(fates, [Fate::Forged]);
    }
    scene.settle();
    assert_eq!(scene.alice.group(&scene.group).unwrap().members.len(), 2);
}

#[test]
fn a_device_that_becomes_another_persons_withdraws_what_it_asked_for() {
    let mut scene = Scene::new();
    scene.carol.offer_device(scene.stage.now, 0).unwrap();
    assert!(scene.carol.join_asks().unwrap().is_empty());
    scene.settle();
    scene.is_withdrawn(false);
}

/// Carol is told that nothing comes of it, and may ask again.
fn lapses(scene: &mut Scene, as_what: JoinLapse) {
    let told = events(&mut scene.carol);
    let link = scene.link.id();
    let lapsed = Event::JoinLapsed { request: scene.request, link, why: as_what };
    assert!(told.contains(&lapsed), "{told:?}");
    assert!(scene.carol.join_asks().unwrap().is_empty());
    assert_eq!(scene.carol.unused_key_packages().unwrap(), 0);
}

#[test]
fn who_was_accepted_too_late_is_told_and_comes_in_when_it_asks_again() {
    let mut scene = Scene::new();
    scene.stage.now.wall += 400 * DAY;
    let accepted = submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    scene.settle();
    let told = events(&mut scene.alice);
    let refused = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Refused(_) } if *operation == accepted);
    assert!(told.iter().any(refused), "{told:?}");
    lapses(&mut scene, JoinLapse::NotPossible);
    // By another link, for this one has expired as well.
    scene.link = scene.alice.join_link(scene.stage.now, scene.group, DAY).unwrap();
    scene.request = scene.carol.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
    scene.settle();
    submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    scene.settle();
    assert_eq!(scene.carol.group(&scene.group).unwrap().members.len(), 2);
}

#[test]
fn who_was_accepted_by_one_who_is_then_removed_is_told() {
    let mut scene = Scene::new();
    let mut bob = client("Bob");
    let package = bob.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.alice.invite(scene.group, package).unwrap();
    scene.stage.settle(&mut [&mut scene.alice, &mut bob]);
    submit(&mut scene.alice, Command::AcceptJoin(scene.request));
    let members = vec![scene.alice.me().id];
    submit(&mut bob, Command::Remove { group: scene.group, members });
    scene.stage.settle(&mut [&mut bob]);
    scene.settle();
    lapses(&mut scene, JoinLapse::NotPossible);
    assert_eq!(bob.group(&scene.group).unwrap().members.len(), 1);
}

#[test]
fn who_is_in_by_another_way_or_waits_too_long_is_told() {
    let mut scene = Scene::new();
    let package = scene.carol.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.alice.invite(scene.group, package).unwrap();
    scene.settle();
    lapses(&mut scene, JoinLapse::MemberAlready);
    // Nobody answers, until the key package has expired.
    let mut scene = Scene::new();
    scene.stage.now.wall += 400 * DAY;
    scene.carol.forget_expired(scene.stage.now).unwrap();
    lapses(&mut scene, JoinLapse::Expired);
}
