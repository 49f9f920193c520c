//! Two devices of one person, of which either answers.

use super::*;
use crate::{
    Command, Event, Input, JoinLink, Verdict,
    frame::{self, MailItem},
    join::tests::{DAY, fates_of, submit},
    testing::{Stage, client, events},
};

/// Alice has two devices in her group and a link of the first one, and Carol asks by it.
pub(super) struct Scene {
    pub(super) stage: Stage,
    pub(super) group: GroupId,
    pub(super) link: JoinLink,
    pub(super) phone: Client,
    pub(super) laptop: Client,
    pub(super) carol: Client,
    pub(super) request: JoinRequestId,
}

impl Scene {
    /// Carol has asked, and nobody has read that.
    fn new() -> Self {
        let mut stage = Stage::new();
        let [mut phone, mut laptop, mut carol] = ["Alice", "Laptop", "Carol"].map(client);
        let group = stage.group(&mut [&mut phone]);
        let offer = laptop.offer_device(stage.now, 4).unwrap();
        submit(&mut phone, Command::Link(offer));
        stage.settle(&mut [&mut phone, &mut laptop]);
        assert_eq!(laptop.group(&group).unwrap().members.len(), 2);
        let link = phone.join_link(stage.now, group, DAY).unwrap();
        let link = JoinLink::from_bytes(link.to_bytes().unwrap().expose()).unwrap();
        assert_eq!(link.mailboxes(), [phone.mailbox(), laptop.mailbox()]);
        stage.settle(&mut [&mut phone, &mut laptop]);
        let request = carol.ask_to_join(stage.now, &link, "hello").unwrap();
        stage.settle(&mut [&mut carol]);
        events(&mut phone);
        events(&mut laptop);
        Self { stage, group, link, phone, laptop, carol, request }
    }

    /// And both devices have.
    pub(super) fn shown() -> Self {
        let mut scene = Self::new();
        scene.settle();
        for device in [&mut scene.phone, &mut scene.laptop] {
            let told = events(device);
            assert!(matches!(&told[..], [Event::JoinRequested { .. }]), "{told:?}");
            assert_eq!(device.join_requests().unwrap()[0].id, scene.request);
        }
        scene
    }

    fn settle(&mut self) -> Vec<(usize, LogId, Fate)> {
        let Self { stage, phone, laptop, carol, .. } = self;
        stage.settle(&mut [phone, laptop, carol])
    }

    /// Nobody has anything to answer any more.
    fn is_over(&mut self) {
        for device in [&mut self.phone, &mut self.laptop] {
            assert!(device.join_requests().unwrap().is_empty());
            assert_eq!(device.join_links().unwrap()[0].open, 0);
            for command in [Command::AcceptJoin(self.request), Command::DeclineJoin(self.request)] {
                let answer = device.submit(OperationId::random().unwrap(), command);
                assert!(matches!(answer, Err(Fault::NoSuchJoinRequest(_))), "{answer:?}");
            }
        }
    }

    /// Carol is in, once, and speaks with both.
    fn is_in(&mut self) {
        let told = events(&mut self.carol);
        let entered = told.iter().filter(|event| matches!(event, Event::Entered { .. })).count();
        assert_eq!(entered, 1, "{told:?}");
        let over =
            |event: &Event| matches!(event, Event::JoinDeclined { .. } | Event::JoinLapsed { .. });
        assert!(!told.iter().any(over), "{told:?}");
        for client in [&self.phone, &self.laptop, &self.carol] {
            assert_eq!(client.group(&self.group).unwrap().members.len(), 3);
        }
        self.carol.send(self.group, "here").unwrap();
        let fates = self.settle();
        for device in [0, 1] {
            assert!(fates.contains(&(device, self.group, Fate::Message)), "{fates:?}");
        }
    }

    /// Carol is not in, and knows that she was declined, once.
    fn is_out(&mut self) {
        let told = events(&mut self.carol);
        let declined = |event: &&Event| matches!(event, Event::JoinDeclined { .. });
        assert_eq!(told.iter().filter(declined).count(), 1, "{told:?}");
        let entered = |event: &Event| matches!(event, Event::Entered { .. });
        assert!(!told.iter().any(entered), "{told:?}");
        assert_eq!(self.carol.groups().count(), 0);
        for client in [&self.phone, &self.laptop] {
            assert_eq!(client.group(&self.group).unwrap().members.len(), 2);
        }
    }
}

fn answered(told: &[Event]) -> Vec<bool> {
    let answers = told.iter().filter_map(|event| match event {
        Event::JoinAnswered { accepted, .. } => Some(*accepted),
        _ => None,
    });
    answers.collect()
}

/// What became of a command.
fn verdict(told: &[Event], of: OperationId) -> &Verdict {
    let verdicts = told.iter().filter_map(|event| match event {
        Event::Settled { operation, verdict } if *operation == of => Some(verdict),
        _ => None,
    });
    let verdicts = verdicts.collect::<Vec<_>>();
    assert_eq!(verdicts.len(), 1, "{told:?}");
    verdicts[0]
}

#[test]
fn one_device_answers_while_the_other_is_off() {
    for accept in [true, false] {
        let mut scene = Scene::new();
        let Scene { stage, laptop, carol, request, .. } = &mut scene;
        stage.settle(&mut [laptop]);
        let view = laptop.join_requests().unwrap().remove(0);
        assert_eq!((view.id, view.message.as_str()), (*request, "hello"));
        let command =
            if accept { Command::AcceptJoin(*request) } else { Command::DeclineJoin(*request) };
        submit(laptop, command);
        stage.settle(&mut [laptop, carol]);
        assert_eq!(carol.groups().count(), usize::from(accept));
        // The telephone is there again.
        scene.settle();
        let told = events(&mut scene.phone);
        scene.is_over();
        if accept {
            // Where it reads the log first, there is nobody who asks any more.
            assert!(answered(&told).iter().all(|accepted| *accepted), "{told:?}");
            scene.is_in();
        } else {
            assert_eq!(answered(&told), [false], "{told:?}");
            scene.is_out();
            // Declined by one, declined by all.
            scene.carol.ask_to_join(scene.stage.now, &scene.link, "please").unwrap();
            let fates = scene.settle();
            for (device, mailbox) in scene.link.mailboxes().iter().enumerate() {
                assert!(fates.contains(&(device, *mailbox, Fate::Duplicate)), "{fates:?}");
            }
            scene.is_over();
        }
    }
}

#[test]
fn the_other_device_is_told_of_an_answer_and_shows_the_request_no_longer() {
    for accept in [true, false] {
        let mut scene = Scene::shown();
        let command = if accept { Command::AcceptJoin } else { Command::DeclineJoin };
        submit(&mut scene.laptop, command(scene.request));
        scene.settle();
        let told = events(&mut scene.phone);
        let shown = |event: &&Event| matches!(event, Event::JoinAnswered { group, request, from, accepted } if (*group, *request, *accepted) == (scene.group, scene.request, accept) && *from == scene.carol.me());
        assert_eq!(told.iter().filter(shown).count(), 1, "{told:?}");
        assert!(answered(&events(&mut scene.laptop)).is_empty());
        scene.is_over();
        if accept { scene.is_in() } else { scene.is_out() }
    }
}

#[test]
fn who_is_accepted_by_both_at_once_comes_in_once() {
    for laptop_first in [false, true] {
        let mut scene = Scene::shown();
        let by_phone = submit(&mut scene.phone, Command::AcceptJoin(scene.request));
        let by_laptop = submit(&mut scene.laptop, Command::AcceptJoin(scene.request));
        let Scene { stage, phone, laptop, carol, .. } = &mut scene;
        if laptop_first {
            stage.settle(&mut [laptop, phone, carol]);
        } else {
            // Both commits are staged before either goes out, and the slower one's is refused.
            stage.settle(&mut [phone, laptop, carol]);
        }
        let (phones, laptops) = (events(&mut scene.phone), events(&mut scene.laptop));
        let verdicts = [verdict(&phones, by_phone), verdict(&laptops, by_laptop)];
        let done = verdicts.iter().filter(|it| matches!(it, Verdict::Done(_))).count();
        let superseded = verdicts.iter().filter(|it| matches!(it, Verdict::Superseded)).count();
        assert_eq!((done, superseded), (1, 1), "{verdicts:?}");
        scene.is_over();
        scene.is_in();
        // Removed again, she may ask again, and is shown on both.
        submit(
            &mut scene.phone,
            Command::Remove { group: scene.group, members: vec![scene.carol.me().id] },
        );
        scene.settle();
        scene.carol.ask_to_join(scene.stage.now, &scene.link, "").unwrap();
        scene.settle();
        for device in [&scene.phone, &scene.laptop] {
            assert_eq!(device.join_requests().unwrap().len(), 1);
        }
    }
}

#[test]
fn two_commits_that_are_both_on_their_way_make_one_member() {
    let mut scene = Scene::shown();
    submit(&mut scene.phone, Command::AcceptJoin(scene.request));
    submit(&mut scene.laptop, Command::AcceptJoin(scene.request));
    let mut commits = Vec::new();
    for (at, device) in [&mut scene.phone, &mut scene.laptop].into_iter().enumerate() {
        let found = commits_of(device, &mut scene.stage);
        commits.push((at, found));
    }
    for (at, commit) in commits {
        let device = if at == 0 { &mut scene.phone } else { &mut scene.laptop };
        let result = commit.perform(&mut scene.stage.service);
        assert_eq!(result.is_ok(), at == 0, "{result:?}");
        let _ledger =
            device.handle(scene.stage.now, Input::Response { id: commit.id, result }).unwrap();
    }
    scene.settle();
    scene.is_over();
    scene.is_in();
    assert!(scene.laptop.state.list::<AdmittedRecord>(&admitted(), 8).unwrap().is_empty());
}

/// The commit of this device, which is not sent; everything before it is.
fn commits_of(device: &mut Client, stage: &mut Stage) -> crate::Request {
    loop {
        let request = device.poll_request(stage.now).unwrap().unwrap();
        if matches!(&request.call, crate::Call::Append(append) if append.commit.is_some()) {
            return request;
        }
        let result = request.perform(&mut stage.service);
        let _ledger = device.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
    }
}

#[test]
fn a_no_counts_until_who_asks_is_in() {
    // The refusal arrives first: who has come in without keys is removed again.
    let mut scene = Scene::shown();
    submit(&mut scene.phone, Command::AcceptJoin(scene.request));
    submit(&mut scene.laptop, Command::DeclineJoin(scene.request));
    let commit = commits_of(&mut scene.phone, &mut scene.stage);
    let result = commit.perform(&mut scene.stage.service);
    scene.stage.settle(&mut [&mut scene.laptop, &mut scene.carol]);
    assert_eq!(scene.laptop.group(&scene.group).unwrap().members.len(), 3);
    let answer = Input::Response { id: commit.id, result };
    let _ledger = scene.phone.handle(scene.stage.now, answer).unwrap();
    let fates = scene.settle();
    assert!(fates.iter().all(|(.., fate)| *fate != Fate::Forged && *fate != Fate::Malformed));
    scene.is_over();
    scene.is_out();
    let told = events(&mut scene.phone);
    let removed = |event: &Event| matches!(event, Event::JoinWithdrawn { let_in: true, .. });
    assert!(told.iter().any(removed), "{told:?}");
    // The welcome is there as well, and its log was not asked yet: the refusal counts.
    let mut scene = Scene::shown();
    submit(&mut scene.phone, Command::AcceptJoin(scene.request));
    scene.stage.settle(&mut [&mut scene.phone]);
    submit(&mut scene.laptop, Command::DeclineJoin(scene.request));
    scene.settle();
    scene.is_over();
    scene.is_out();
    // She is in: the refusal is nothing to her.
    let mut scene = Scene::shown();
    submit(&mut scene.phone, Command::AcceptJoin(scene.request));
    scene.stage.settle(&mut [&mut scene.phone, &mut scene.carol]);
    submit(&mut scene.laptop, Command::DeclineJoin(scene.request));
    scene.settle();
    scene.is_over();
    scene.is_in();
}

#[test]
fn a_no_stops_a_yes_that_has_not_gone_out() {
    let mut scene = Scene::shown();
    submit(&mut scene.laptop, Command::DeclineJoin(scene.request));
    scene.stage.settle(&mut [&mut scene.laptop]);
    let accepted = submit(&mut scene.phone, Command::AcceptJoin(scene.request));
    let item = scene.stage.service.log(&scene.phone.mailbox()).pop().unwrap().bytes;
    let MailItem::Sealed(sealed) = frame::decode(&item).unwrap() else { panic!() };
    let Mail::JoinHosts(news) = scene.phone.open_mail(&sealed).unwrap() else { panic!() };
    let now = scene.stage.now;
    let fate = scene.phone.transact(|phone| phone.host_news(news, now)).unwrap();
    assert_eq!(fate, Fate::Request);
    scene.settle();
    let told = events(&mut scene.phone);
    assert!(matches!(verdict(&told, accepted), Verdict::Refused(why) if why == DECLINED));
    assert_eq!(answered(&told), [false]);
    scene.is_over();
    scene.is_out();
}

#[test]
fn who_withdraws_is_shown_on_neither_and_may_ask_again() {
    let mut scene = Scene::shown();
    submit(&mut scene.carol, Command::WithdrawJoin(scene.request));
    scene.settle();
    for device in [&mut scene.phone, &mut scene.laptop] {
        let told = events(device);
        assert!(matches!(&told[..], [Event::JoinWithdrawn { let_in: false, .. }]), "{told:?}");
    }
    scene.is_over();
    scene.carol.ask_to_join(scene.stage.now, &scene.link, "after all").unwrap();
    scene.settle();
    for device in [&mut scene.phone, &mut scene.laptop] {
        assert_eq!(device.join_requests().unwrap()[0].message, "after all");
    }
    // Also after one of them has accepted, and its commit has not gone out.
    submit(&mut scene.laptop, Command::AcceptJoin(scene.request));
    let _commit = commits_of(&mut scene.laptop, &mut scene.stage);
    submit(&mut scene.carol, Command::WithdrawJoin(scene.request));
    scene.settle();
    scene.stage.now.mono += 60_000;
    scene.settle();
    scene.is_over();
    assert_eq!(scene.phone.group(&scene.group).unwrap().members.len(), 2);
    scene.carol.ask_to_join(scene.stage.now, &scene.link, "now I mean it").unwrap();
    scene.settle();
    for device in [&mut scene.phone, &mut scene.laptop] {
        assert_eq!(device.join_requests().unwrap()[0].message, "now I mean it");
    }
}

#[test]
fn a_link_that_one_device_revokes_is_over_on_both_and_does_not_come_back() {
    let mut scene = Scene::shown();
    // What the service has of the link, to show it once more.
    let made = scene.stage.service.log(&scene.laptop.mailbox()).into_iter().find(|item| {
        let Ok(MailItem::Sealed(sealed)) = frame::decode(&item.bytes) else { return false };
        matches!(scene.laptop.open_mail(&sealed), Ok(Mail::JoinHosts(_)))
    });
    let made = made.unwrap().bytes;
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.laptop, made.clone());
    assert_eq!(fates, [Fate::Duplicate]);
    submit(&mut scene.laptop, Command::RevokeJoinLink(scene.link.id()));
    scene.settle();
    for device in [&scene.phone, &scene.laptop] {
        assert!(device.join_links().unwrap().is_empty());
        assert!(device.join_requests().unwrap().is_empty());
        assert!(device.open_requests().unwrap().is_empty());
    }
    scene.is_out();
    let (fates, _) = fates_of(&mut scene.stage, &mut scene.laptop, made);
    assert_eq!(fates, [Fate::Request]);
    assert!(scene.laptop.join_links().unwrap().is_empty());
    // Nor where it is told of late.
    let other = scene.phone.join_link(scene.stage.now, scene.group, DAY).unwrap();
    submit(&mut scene.phone, Command::RevokeJoinLink(other.id()));
    scene.stage.settle(&mut [&mut scene.phone]);
    let log = scene.stage.service.log(&scene.laptop.mailbox());
    let [.., made, revoked] = &log[..] else { panic!() };
    for item in [revoked, made] {
        let MailItem::Sealed(sealed) = frame::decode(&item.bytes).unwrap() else { panic!() };
        let Mail::JoinHosts(news) = scene.laptop.open_mail(&sealed).unwrap() else { panic!() };
        let now = scene.stage.now;
        let fate = scene.laptop.transact(|laptop| laptop.host_news(news, now)).unwrap();
        assert_eq!(fate, Fate::Request);
        assert!(scene.laptop.join_links().unwrap().is_empty());
    }
    // It is remembered until it would have expired.
    assert_eq!(scene.laptop.state.list::<u64>(&ended(), 8).unwrap().len(), 2);
    scene.stage.now.wall += DAY;
    let now = scene.stage.now;
    scene.laptop.transact(|laptop| laptop.forget_old_links(now)).unwrap();
    assert!(scene.laptop.state.list::<u64>(&ended(), 8).unwrap().is_empty());
}

#[test]
fn a_device_that_leaves_declines_nobody_whom_another_one_can_let_in() {
    let mut scene = Scene::shown();
    let mut bob = client("Bob");
    let package = bob.key_packages(scene.stage.now, 1).unwrap().remove(0);
    scene.phone.invite(scene.group, package).unwrap();
    let everybody = |scene: &mut Scene, bob: &mut Client| {
        let Scene { stage, phone, laptop, carol, .. } = scene;
        stage.settle(&mut [phone, laptop, carol, bob]);
    };
    everybody(&mut scene, &mut bob);
    let group = scene.group;
    let remove = |device: &Client| Command::Remove { group, members: vec![device.me().id] };
    submit(&mut bob, remove(&scene.phone));
    everybody(&mut scene, &mut bob);
    assert!(scene.phone.join_links().unwrap().is_empty());
    assert!(events(&mut scene.carol).is_empty());
    assert_eq!(scene.laptop.join_requests().unwrap().len(), 1);
    // With the last one goes the link.
    submit(&mut bob, remove(&scene.laptop));
    everybody(&mut scene, &mut bob);
    let told = events(&mut scene.carol);
    assert!(matches!(&told[..], [Event::JoinDeclined { .. }]), "{told:?}");
    assert!(scene.laptop.open_requests().unwrap().is_empty());
}
