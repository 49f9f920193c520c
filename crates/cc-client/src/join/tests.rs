//! Asking, accepting and declining, as they are meant.

use super::*;
use crate::{
    Client, Command, Event, Fate, Fault, JoinLink, OperationId, Profile, Recipe, Trust, Verdict,
    testing::{Stage, client, events, id},
};

pub(super) const DAY: u64 = 24 * 3_600_000;

pub(super) fn submit(client: &mut Client, command: Command) -> OperationId {
    let id = OperationId::random().unwrap();
    client.submit(id, command).unwrap();
    id
}

pub(super) fn fates_of(
    stage: &mut Stage,
    reader: &mut Client,
    item: Vec<u8>,
) -> (Vec<Fate>, Vec<Event>) {
    let mailbox = reader.mailbox();
    stage.service.inject(&mailbox, false, item);
    let fates = stage.settle(&mut [reader]);
    let fates = fates.into_iter().filter(|(_, log, _)| *log == mailbox).map(|(.., fate)| fate);
    (fates.collect(), events(reader))
}

/// Alice has a link, and Carol asks by it.
pub(super) struct Scene {
    pub(super) stage: Stage,
    pub(super) group: GroupId,
    pub(super) link: JoinLink,
    pub(super) alice: Client,
    pub(super) carol: Client,
    pub(super) request: JoinRequestId,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut stage = Stage::new();
        let [mut alice, mut carol] = ["Alice", "Carol"].map(client);
        let group = stage.group(&mut [&mut alice]);
        let link = alice.join_link(stage.now, group, DAY).unwrap();
        let request = carol.ask_to_join(stage.now, &link, "").unwrap();
        stage.settle(&mut [&mut carol, &mut alice]);
        events(&mut alice);
        Self { stage, group, link, alice, carol, request }
    }
}

/// Bob is in the group that Alice has founded, and Carol has asked him by a link of his when Alice removes him.
pub(super) fn host_removed() -> (Stage, GroupId, JoinLink, JoinRequestId, [Client; 4]) {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol, dave] = ["Alice", "Bob", "Carol", "Dave"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let link = bob.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol, &mut bob]);
    submit(&mut alice, Command::Remove { group, members: vec![bob.me().id] });
    (stage, group, link, request, [alice, bob, carol, dave])
}

#[test]
fn who_is_accepted_comes_in_and_who_that_is_was_shown_before() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let link = JoinLink::from_bytes(link.to_bytes().unwrap().expose()).unwrap();
    events(&mut alice);
    events(&mut bob);
    let epoch = alice.group(&group).unwrap().epoch;
    let request = carol.ask_to_join(stage.now, &link, "from the workshop").unwrap();
    assert_eq!(carol.join_asks().unwrap()[0].id, request);
    let fates = stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    assert!(fates.contains(&(1, alice.mailbox(), Fate::Request)), "{fates:?}");
    // Alice is told and shown, and nothing in the group has changed.
    let told = events(&mut alice);
    let [Event::JoinRequested { group: of, request: told, from, message }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((of, told, message.as_str()), (&group, &request, "from the workshop"));
    assert_eq!(*from, carol.me());
    let views = alice.join_requests().unwrap();
    assert_eq!((views.len(), views[0].trust), (1, None));
    assert!(views[0].resembles.is_empty());
    assert_eq!(alice.group(&group).unwrap().epoch, epoch);
    assert!(events(&mut bob).is_empty());
    // She accepts.
    let accepted = submit(&mut alice, Command::AcceptJoin(request));
    stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    let told = events(&mut alice);
    let done = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Done(_) } if *operation == accepted);
    assert!(told.iter().any(done), "{told:?}");
    // Whom she let in has its name from the first moment.
    let joined =
        |event: &Event| matches!(event, Event::Joined { person, .. } if *person == carol.me());
    assert!(told.iter().any(joined), "{told:?}");
    assert_eq!(alice.safety_number(&id(&carol)).unwrap(), views[0].safety_number);
    assert_eq!(carol.safety_number(&id(&alice)).unwrap(), views[0].safety_number);
    let told = events(&mut carol);
    assert!(
        told.iter().any(|event| matches!(event, Event::Entered { group: at, .. } if *at == group))
    );
    assert!(carol.join_asks().unwrap().is_empty() && alice.join_requests().unwrap().is_empty());
    carol.send(group, "here").unwrap();
    let fates = stage.settle(&mut [&mut carol, &mut alice, &mut bob]);
    assert!(
        fates.contains(&(1, group, Fate::Message)) && fates.contains(&(2, group, Fate::Message))
    );
    let link = alice.join_links().unwrap().remove(0);
    assert_eq!((link.open, link.asked, link.group), (0, 1, group));
}

#[test]
fn who_is_declined_is_told_and_asks_by_that_link_no_more() {
    let Scene { mut stage, group, link, mut alice, mut carol, request } = Scene::new();
    submit(&mut alice, Command::DeclineJoin(request));
    events(&mut alice);
    stage.settle(&mut [&mut alice, &mut carol]);
    assert_eq!(events(&mut carol), [Event::JoinDeclined { request, link: link.id() }]);
    assert_eq!(carol.unused_key_packages().unwrap(), 0, "its key package opens nothing any more");
    assert!(carol.join_asks().unwrap().is_empty());
    // Again: turned away without a word.
    assert_eq!(carol.ask_to_join(stage.now, &link, "please").unwrap(), request);
    let fates = stage.settle(&mut [&mut carol, &mut alice]);
    assert!(fates.contains(&(1, alice.mailbox(), Fate::Duplicate)), "{fates:?}");
    assert!(events(&mut alice).is_empty() && alice.join_requests().unwrap().is_empty());
    // By another link she is seen.
    let other = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &other, "").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    assert_eq!(alice.join_requests().unwrap().len(), 1);
}

#[test]
fn each_request_has_one_answer() {
    let mut stage = Stage::new();
    let [mut alice, mut carol] = ["Alice", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "").unwrap();
    // An answer before there is a question.
    let early = alice.submit(OperationId::random().unwrap(), Command::AcceptJoin(request));
    assert!(matches!(early, Err(Fault::NoSuchJoinRequest(it)) if it == request));
    // It is asked twice, and shown once.
    assert_eq!(carol.ask_to_join(stage.now, &link, "").unwrap(), request);
    stage.settle(&mut [&mut carol, &mut alice]);
    let asked = |event: &Event| matches!(event, Event::JoinRequested { .. });
    assert_eq!(events(&mut alice).iter().filter(|event| asked(event)).count(), 1);
    let id = OperationId::random().unwrap();
    alice.submit(id, Command::AcceptJoin(request)).unwrap();
    alice.submit(id, Command::AcceptJoin(request)).unwrap();
    // As after a restart.
    alice.state.operations = None;
    alice.submit(id, Command::AcceptJoin(request)).unwrap();
    for command in [Command::AcceptJoin(request), Command::DeclineJoin(request)] {
        let again = alice.submit(OperationId::random().unwrap(), command.clone());
        assert!(matches!(again, Err(Fault::NoSuchJoinRequest(_))), "{again:?}");
        let other = alice.submit(id, Command::DeclineJoin(request));
        assert!(matches!(other, Err(Fault::OperationExists(_))), "{other:?}");
    }
    // Nor is it taken back: there would be no answer for Carol.
    let cancel = submit(&mut alice, Command::Cancel(id));
    let superseded = |event: &Event| matches!(event, Event::Settled { operation, verdict: Verdict::Superseded } if *operation == cancel);
    assert!(events(&mut alice).iter().any(superseded));
    let epoch = alice.group(&group).unwrap().epoch.unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    assert_eq!(alice.group(&group).unwrap().epoch, Some(epoch + 1));
    assert_eq!(carol.group(&group).unwrap().members.len(), 2);
    // Who is in it asks in vain.
    let other = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &other, "").unwrap();
    let fates = stage.settle(&mut [&mut carol, &mut alice]);
    assert!(fates.contains(&(1, alice.mailbox(), Fate::Duplicate)), "{fates:?}");
}

#[test]
fn a_revoked_link_declines_who_waits_and_opens_nothing_any_more() {
    let mut stage = Stage::new();
    let [mut alice, mut carol, mut dave] = ["Alice", "Carol", "Dave"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    submit(&mut alice, Command::RevokeJoinLink(link.id()));
    let again = alice.submit(OperationId::random().unwrap(), Command::RevokeJoinLink(link.id()));
    assert!(matches!(again, Err(Fault::NoSuchJoinLink(_))), "{again:?}");
    events(&mut alice);
    dave.ask_to_join(stage.now, &link, "").unwrap();
    let fates = stage.settle(&mut [&mut dave, &mut alice, &mut carol]);
    assert!(fates.contains(&(1, alice.mailbox(), Fate::Malformed)), "{fates:?}");
    assert_eq!(events(&mut carol), [Event::JoinDeclined { request, link: link.id() }]);
    assert!(events(&mut alice).is_empty(), "Dave is nobody");
    assert!(alice.join_links().unwrap().is_empty() && alice.join_requests().unwrap().is_empty());
    assert_eq!(dave.join_asks().unwrap().len(), 1);
}

#[test]
fn a_link_is_for_its_time_its_recipe_and_others() {
    let mut stage = Stage::new();
    let [mut alice, mut carol] = ["Alice", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    assert!(matches!(alice.ask_to_join(stage.now, &link, ""), Err(Fault::JoinLink)));
    let long = "a".repeat(MAX_JOIN_MESSAGE_LEN + 1);
    assert!(matches!(carol.ask_to_join(stage.now, &link, &long), Err(Fault::TooLong)));
    let store = cc_core::store::MemoryStore::new();
    let mut other = Client::create(store, Profile::new("Dave"), Recipe::post_quantum()).unwrap();
    assert!(matches!(other.ask_to_join(stage.now, &link, ""), Err(Fault::OtherRecipe)));
    // It was asked in time, and is read too late, by the clock of who made the link.
    carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol]);
    stage.now.wall += DAY;
    events(&mut alice);
    let fates = stage.settle(&mut [&mut alice]);
    assert_eq!(fates, [(0, alice.mailbox(), Fate::Request)]);
    assert!(events(&mut alice).is_empty() && alice.join_requests().unwrap().is_empty());
    assert!(matches!(carol.ask_to_join(stage.now, &link, ""), Err(Fault::JoinLinkExpired)));
    assert_eq!(other.unused_key_packages().unwrap(), 0);
    // Links are bounded, and those that have expired make room.
    for _ in 0..64 {
        alice.join_link(stage.now, group, DAY).unwrap();
    }
    assert!(matches!(alice.join_link(stage.now, group, DAY), Err(Fault::TooManyJoins)));
    stage.now.wall += DAY;
    alice.join_link(stage.now, group, DAY).unwrap();
    assert_eq!(alice.join_links().unwrap().len(), 1);
    // Nobody makes one for a group that it is not in.
    let nowhere = carol.join_link(stage.now, group, DAY);
    assert!(matches!(nowhere, Err(Fault::NoSuchGroup(_))), "{nowhere:?}");
}

#[test]
fn a_link_has_one_encoding_and_other_bytes_are_none() {
    let mut stage = Stage::new();
    let mut alice = client("Alice");
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let bytes = link.to_bytes().unwrap();
    let bytes = bytes.expose();
    assert_eq!(JoinLink::from_bytes(bytes).unwrap(), link);
    assert_eq!((bytes.len(), link.recipe()), (1 + 1 + 32 + 32 + 32 + 8 + 1 + 5, "group"));
    for len in 0..bytes.len() {
        assert!(matches!(JoinLink::from_bytes(&bytes[..len]), Err(Fault::JoinLink)), "{len}");
    }
    assert!(JoinLink::from_bytes(&[bytes, &[0]].concat()).is_err());
    let shown = format!("{link:?}");
    assert!(!shown.contains("secret") && shown.contains(&link.id().to_string()), "{shown}");
}

#[test]
fn who_asks_is_compared_with_what_is_known_of_the_person() {
    let mut stage = Stage::new();
    let [mut alice, mut carol] = ["Alice", "Carol"].map(client);
    let together = stage.group(&mut [&mut alice, &mut carol]);
    stage.settle(&mut [&mut alice, &mut carol]);
    let number = alice.safety_number(&id(&carol)).unwrap();
    submit(&mut alice, Command::Verify(id(&carol), number.clone()));
    let group = alice.found("Another").unwrap();
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut carol, &mut alice]);
    let view = alice.join_requests().unwrap().remove(0);
    assert_eq!((view.trust, view.safety_number), (Some(Trust::Verified), number));
    submit(&mut alice, Command::DeclineJoin(view.id));
    // Carol's person key is another one now, and Alice has not heard of it.
    submit(&mut carol, Command::Leave(together));
    submit(&mut carol, Command::ReplaceKeys);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    carol.ask_to_join(stage.now, &link, "").unwrap();
    let mailbox = carol.mailbox();
    while let Some(request) = carol.poll_request(stage.now).unwrap() {
        // Nothing of hers comes into the log of the group that they are both in.
        if !matches!(&request.call, crate::Call::Append(append) if append.log == together) {
            let result = request.perform(&mut stage.service);
            let input = crate::Input::Response { id: request.id, result };
            let _ledger = carol.handle(stage.now, input).unwrap();
        }
    }
    stage.settle(&mut [&mut alice]);
    let view = alice.join_requests().unwrap().remove(0);
    assert_eq!(view.trust, Some(Trust::Changed));
    assert_ne!(mailbox, alice.mailbox());
}

#[test]
fn who_has_left_the_group_lets_nobody_in() {
    let (mut stage, _, link, request, [mut alice, mut bob, _, mut dave]) = host_removed();
    stage.settle(&mut [&mut alice, &mut bob]);
    events(&mut bob);
    assert!(bob.join_requests().unwrap().is_empty());
    let accepted = bob.submit(OperationId::random().unwrap(), Command::AcceptJoin(request));
    assert!(matches!(accepted, Err(Fault::NoSuchJoinRequest(_))), "{accepted:?}");
    dave.ask_to_join(stage.now, &link, "").unwrap();
    stage.settle(&mut [&mut dave, &mut bob]);
    assert!(events(&mut bob).is_empty());
    assert!(bob.join_links().unwrap().is_empty() && bob.open_requests().unwrap().is_empty());
}

#[test]
fn the_service_sees_neither_who_asks_nor_what_they_say() {
    let mut stage = Stage::new();
    let mut alice = client("Alice");
    let store = cc_core::store::MemoryStore::new();
    let profile = Profile::new("Carol the asker").with_device("a telephone");
    let mut carol = Client::create(store, profile, Recipe::group()).unwrap();
    let group = stage.group(&mut [&mut alice]);
    let link = alice.join_link(stage.now, group, DAY).unwrap();
    let request = carol.ask_to_join(stage.now, &link, "from the workshop").unwrap();
    stage.settle(&mut [&mut carol]);
    let mut mail = stage.service.log(&alice.mailbox());
    stage.settle(&mut [&mut alice]);
    submit(&mut alice, Command::DeclineJoin(request));
    stage.settle(&mut [&mut alice]);
    mail.extend(stage.service.log(&carol.mailbox()));
    assert_eq!(mail.len(), 2);
    let person = id(&carol);
    let (member, host) = (carol.me().id, alice.me().id);
    let secrets = [
        &b"Carol the asker"[..],
        b"a telephone",
        b"from the workshop",
        person.as_bytes(),
        member.as_bytes(),
        group.as_bytes(),
        host.as_bytes(),
    ];
    for item in mail {
        for secret in secrets {
            let seen = item.bytes.windows(secret.len()).any(|bytes| bytes == secret);
            assert!(!seen, "{:?}", String::from_utf8_lossy(secret));
        }
    }
}
