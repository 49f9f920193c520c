use cc_client::{Body, Content, GroupId, MessageRef, PersonId, Position, Trust};
use cc_core::MemberId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::App;
use crate::{
    chat::{
        conversation::{ItemKind, Said},
        order::{GroupRow, MemberRow, Order, Report},
        sample::{self, ALICE, BOB, GROUP},
    },
    talk::journal::{MessageState, What},
};

fn press(app: &mut App, code: KeyCode) {
    app.key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn line(app: &mut App, text: &str) -> Vec<Order> {
    app.take_orders();
    text.chars().for_each(|character| press(app, KeyCode::Char(character)));
    press(app, KeyCode::Enter);
    app.take_orders()
}

fn said(app: &App) -> Vec<Said> {
    let items = app.conversation.items().into_iter();
    items
        .filter_map(|item| if let ItemKind::Said(said) = item.kind { Some(said) } else { None })
        .collect()
}

fn texts(app: &App) -> Vec<String> {
    said(app).into_iter().map(|said| said.text).collect()
}

fn note(app: &App) -> &str {
    app.note.as_ref().map_or("", |note| note.text.as_str())
}

#[test]
fn the_first_group_opens_and_a_text_goes_there() {
    let mut app = App::new(0);
    assert!(line(&mut app, "hello").is_empty());
    assert!(note(&app).contains("/new"), "{}", note(&app));
    assert_eq!(app.input.text(), "hello", "what was not sent is still there");
    let mut app = sample::app();
    let orders = line(&mut app, "hello");
    let [Order::Send { group: GROUP, content, .. }] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(content.body, Body::Text("hello".into()));
    assert_eq!(app.input.text(), "");
    let orders = line(&mut app, "/timer 60 soon gone");
    let [Order::Send { content, .. }] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(content.disappears_after, Some(60));
}

#[test]
fn what_is_under_way_comes_last_and_takes_its_place() {
    let mut app = sample::app();
    app.report(Report::New(sample::text(1, ALICE, None, "mine")));
    app.report(Report::New(sample::text(2, BOB, Some(7), "theirs")));
    assert_eq!(texts(&app), ["theirs", "mine"]);
    assert_eq!(said(&app)[1].state, MessageState::Waiting);
    app.report(Report::Changed(sample::text(1, ALICE, Some(6), "mine")));
    assert_eq!(texts(&app), ["mine", "theirs"]);
    assert_eq!(said(&app)[0].state, MessageState::Sent(Position(6)));
    app.report(Report::New(sample::text(3, ALICE, None, "more")));
    let mut refused = sample::text(3, ALICE, None, "more");
    let What::Message(message) = &mut refused.what else { panic!() };
    message.state = MessageState::Refused("too long".into());
    app.report(Report::Changed(refused));
    assert_eq!(texts(&app), ["mine", "theirs", "more"]);
}

#[test]
fn edits_deletions_reactions_and_replies() {
    let mut app = sample::app();
    app.report(Report::New(sample::text(1, BOB, Some(1), "teh text")));
    app.report(Report::New(sample::text(2, ALICE, Some(2), "an answer")));
    let theirs = MessageRef { sender: BOB, message: sample::operation(1) };
    let edit = Body::Edit { of: theirs, text: "the text".into() };
    app.report(Report::New(sample::message(3, BOB, Some(3), Content::new(edit))));
    let first = said(&app).remove(0);
    assert!(first.edited && first.text == "the text");
    // Nobody else edits it, and nobody deletes it.
    let edit = Body::Edit { of: theirs, text: "forged".into() };
    app.report(Report::New(sample::message(4, ALICE, Some(4), Content::new(edit))));
    assert_eq!(texts(&app), ["the text", "an answer"]);
    let orders = line(&mut app, "/edit 1 forged");
    assert!(orders.is_empty() && note(&app).contains("not sent from this device"));
    app.input.set("");
    let orders = line(&mut app, "/react #1 fine");
    let [Order::Send { content, .. }] = &orders[..] else { panic!("{orders:?}") };
    let reaction = Body::Reaction { to: theirs, reaction: "fine".into(), withdrawn: false };
    assert_eq!(content.body, reaction);
    app.report(Report::New(sample::message(5, ALICE, Some(5), content.clone())));
    assert_eq!(said(&app)[0].reactions, [("fine".to_owned(), 1)]);
    let reply = Body::Reply { to: theirs, text: "yes".into() };
    app.report(Report::New(sample::message(6, ALICE, Some(6), Content::new(reply))));
    assert_eq!(said(&app)[2].reply.as_deref(), Some("#1 Bob: the text"));
    let orders = line(&mut app, "/delete 2");
    let [Order::Send { content, .. }] = &orders[..] else { panic!("{orders:?}") };
    app.report(Report::New(sample::message(7, ALICE, Some(7), content.clone())));
    assert!(said(&app)[1].deleted && texts(&app)[1].is_empty());
}

#[test]
fn what_disappears_is_gone_after_it_was_read() {
    let mut app = sample::app();
    app.tick(1_000_000);
    let content = Content::text("soon gone").disappearing_after(60);
    app.report(Report::New(sample::message(1, BOB, Some(1), content)));
    assert!(said(&app)[0].expires.is_some());
    assert!(!app.tick(1_059_999) && texts(&app) == ["soon gone"]);
    assert!(app.tick(1_060_000) && texts(&app).is_empty());
    // After a restart it does not come back, and what was never read has its time yet.
    let content = Content::text("soon gone").disappearing_after(60);
    let entry = sample::message(1, BOB, Some(1), content);
    app.tick(entry.at + 60_000);
    let opened = |unread| {
        let entries = vec![entry.clone()];
        Report::Opened { group: GROUP, entries, unread, complete: true }
    };
    app.report(opened(0));
    assert!(texts(&app).is_empty());
    app.report(opened(1));
    assert_eq!(texts(&app), ["soon gone"]);
}

#[test]
fn nothing_is_sent_to_changed_keys_before_somebody_looked() {
    let mut app = sample::app();
    let mut members = app.members.clone();
    members[1].trust = Some(Trust::Changed);
    app.report(Report::Members(GROUP, members.clone()));
    assert_eq!(app.changed(), ["Bob"]);
    assert!(line(&mut app, "hello").is_empty());
    assert!(note(&app).contains("/safety Bob"), "{}", note(&app));
    assert_eq!(app.input.text(), "hello");
    app.input.set("");
    assert!(line(&mut app, "/accept Bob").is_empty(), "asked first");
    press(&mut app, KeyCode::Enter);
    assert!(app.question.is_some() && app.take_orders().is_empty(), "only a yes is one");
    press(&mut app, KeyCode::Char('y'));
    assert!(matches!(app.take_orders()[..], [Order::Accept(_)]));
    members[1].trust = Some(Trust::Pinned);
    app.report(Report::Members(GROUP, members));
    assert!(matches!(line(&mut app, "hello")[..], [Order::Send { .. }]));
    // The session knows it first, perhaps: the text comes back.
    app.report(Report::Failed { why: "keys".into(), give_back: Some("hello".into()) });
    assert_eq!(app.input.text(), "hello");
}

#[test]
fn people_are_found_by_what_is_unambiguous() {
    let mut app = sample::app();
    let mut members = app.members.clone();
    let more = |name: &str, byte| MemberRow {
        device: MemberId::from_bytes([byte; 32]),
        person: Some(PersonId::from_bytes([byte; 32])),
        name: name.into(),
        device_name: None,
        trust: Some(Trust::Pinned),
        mine: false,
    };
    members.push(more("Bobby", 7));
    // Another device of Bob's.
    members.push(MemberRow { device: MemberId::from_bytes([8; 32]), ..members[1].clone() });
    app.report(Report::Members(GROUP, members));
    line(&mut app, "/remove bob");
    assert!(note(&app).contains("more than one"), "{}", note(&app));
    app.input.set("");
    line(&mut app, "/remove Bob");
    press(&mut app, KeyCode::Char('y'));
    let orders = app.take_orders();
    let [Order::Remove { members, .. }] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(members[..], [BOB, MemberId::from_bytes([8; 32])], "all devices of the person");
    line(&mut app, "/remove 3");
    press(&mut app, KeyCode::Char('n'));
    assert!(app.take_orders().is_empty() && app.question.is_none());
    line(&mut app, "/verify Alice");
    assert!(note(&app).contains("that is you"));
    app.input.set("");
    line(&mut app, "/remove Carol");
    assert!(note(&app).contains("nobody"));
}

#[test]
fn groups_are_changed_and_read() {
    let mut app = sample::app();
    let other = GroupId::from_bytes([9; 32]);
    let row =
        |id, title: &str| GroupRow { id, title: title.into(), unread: 2, members: 1, member: true };
    app.report(Report::Groups(vec![row(GROUP, "Dev Team"), row(other, "Friends")]));
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.open, Some(other));
    assert!(matches!(app.take_orders()[..], [Order::Open { .. }]));
    // What is for another group does not show here.
    app.report(Report::New(sample::text(1, BOB, Some(1), "elsewhere")));
    assert!(texts(&app).is_empty() && app.take_orders().is_empty());
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.open, Some(GROUP));
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.open, Some(other));
    line(&mut app, "/open dev");
    assert_eq!(app.open, Some(GROUP));
    app.report(Report::New(sample::text(2, BOB, Some(2), "here")));
    assert!(app.take_orders().iter().any(|order| matches!(order, Order::Read(GROUP))));
    line(&mut app, "/open 2");
    assert_eq!(app.open, Some(other));
    // Who is out writes nothing.
    app.report(Report::Groups(vec![GroupRow { member: false, ..row(other, "Friends") }]));
    assert!(line(&mut app, "hello").is_empty() && note(&app).contains("not in this group"));
}

#[test]
fn earlier_messages_are_loaded_at_the_top() {
    let mut app = sample::app();
    let entries = |from: u64| (from..=400).map(|n| sample::text(n, BOB, Some(n), "x")).collect();
    let opened = |entries, complete| Report::Opened { group: GROUP, entries, unread: 0, complete };
    app.report(opened(entries(201), false));
    app.take_orders();
    app.reached_top();
    app.reached_top();
    let orders = app.take_orders();
    assert!(matches!(orders[..], [Order::Open { group: GROUP, entries: 400 }]), "{orders:?}");
    app.report(opened(entries(1), true));
    app.reached_top();
    assert!(app.take_orders().is_empty());
    assert_eq!(texts(&app).len(), 400);
}

#[test]
fn pages_cover_and_go() {
    let mut app = sample::app();
    line(&mut app, "/help");
    assert!(app.page.as_ref().is_some_and(|page| page.title == "Help"));
    press(&mut app, KeyCode::Down);
    assert_eq!(app.page.as_ref().map(|page| page.scroll), Some(1));
    press(&mut app, KeyCode::Char('x'));
    assert!(app.page.is_some() && app.input.text().is_empty());
    press(&mut app, KeyCode::Esc);
    assert!(app.page.is_none());
    // Pasting sends nothing by itself.
    app.paste("one\ntwo");
    assert!(app.take_orders().is_empty() && app.input.text() == "one two");
    app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(matches!(app.take_orders()[..], [Order::Quit]));
    app.report(Report::Ended(None));
    assert_eq!(app.ended, Some(None));
}
