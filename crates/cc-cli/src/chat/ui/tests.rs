use cc_client::{Body, Content, MessageRef, Trust};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::{cut, draw, wrap};
use crate::{
    chat::{
        app::App,
        order::{Order, Report},
        sample::{self, ALICE, BOB, CAROL, GROUP},
    },
    talk::journal::What,
};

pub(crate) fn drawn(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    let text =
        |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect();
    rows.map(|row| {
        let line: String = text(row);
        line.trim_end().to_owned()
    })
    .collect()
}

/// A conversation with a bit of everything.
pub(crate) fn conversation() -> App {
    let mut app = sample::app();
    let mut members: Vec<_> = [(ALICE, "Alice"), (BOB, "Bob"), (CAROL, "Carol")]
        .map(|(id, name)| sample::member(id, name))
        .into();
    members[1].trust = Some(Trust::Verified);
    app.report(Report::Groups(vec![
        sample::group(GROUP, "Dev Team", 0, 3),
        sample::group(cc_client::GroupId::from_bytes([8; 32]), "Friends", 2, 5),
    ]));
    app.report(Report::Members(GROUP, members));
    app.report(Report::New(sample::text(1, ALICE, Some(3), "Shall we ship it?")));
    app.report(Report::New(sample::text(
        2,
        BOB,
        Some(4),
        "The relay sees 480 bytes of a text of 17.",
    )));
    let joined = What::Joined { who: sample::who(CAROL, "Carol") };
    app.report(Report::New(sample::entry(3, joined)));
    let to = MessageRef { sender: ALICE, message: sample::operation(1) };
    let reply = Body::Reply { to, text: "Yes. I have read the docs while I was offline.".into() };
    app.report(Report::New(sample::message(4, CAROL, Some(6), Content::new(reply))));
    let reaction = Body::Reaction { to, reaction: "👍".into(), withdrawn: false };
    app.report(Report::New(sample::message(5, BOB, Some(7), Content::new(reaction))));
    app.report(Report::New(sample::text(6, ALICE, None, "Then it goes out today.")));
    app
}

#[test]
fn a_wide_screen() {
    let shown = lines(&drawn(&mut conversation(), 100, 16));
    let expected = "\x20cascade  Alice at https://relay.example connected   F1 help
Groups               │Dev Team (3 members)                                  │Members
1 Dev Team           │  #1 18:00 Alice ✓                                    │· Alice
2 Friends (2)        │     Shall we ship it?                                │✓ Bob
                     │     👍 1                                             │  Carol";
    for (shown, expected) in shown.iter().zip(expected.lines()) {
        // A wide character takes two cells, of which the second is empty.
        assert_eq!(shown.replace("👍  1", "👍 1"), expected, "{shown:#?}");
    }
    let all = shown.join("\n");
    for part in [
        "#2 18:01 Bob",
        "The relay sees 480 bytes of a text of 17.",
        "Carol joined.",
        "> #1 Alice: Shall we ship it?",
        "#6 18:04 Alice …",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn any_size_is_drawn() {
    for width in [1, 2, 5, 20, 59, 60, 99, 100, 250] {
        for height in [1, 2, 3, 5, 24, 80] {
            let mut app = conversation();
            drawn(&mut app, width, height);
            app.report(Report::Page { title: "Page".into(), lines: vec!["line".repeat(50); 30] });
            drawn(&mut app, width, height);
            let order = Order::Leave(GROUP);
            app.report(Report::Confirm { lines: vec!["Sure?".repeat(20); 9], order });
            drawn(&mut app, width, height);
        }
    }
}

/// Names, titles, texts, file names, reactions, errors of a relay: nothing of others does anything to a terminal.
#[test]
fn nothing_of_others_controls_the_terminal() {
    const EVIL: &str = "x\x1b]0;owned\x07\x1b[2J\u{9b}31m\r\n\u{202e}gpj.exe\u{200b}\u{7f}\x08y";
    let mut app = conversation();
    app.report(Report::Groups(vec![sample::group(GROUP, EVIL, 1, 2)]));
    let mut members = vec![sample::member(ALICE, EVIL), sample::member(BOB, EVIL)];
    members[1].trust = Some(Trust::Changed);
    members[1].device_name = Some(EVIL.into());
    app.report(Report::Members(GROUP, members));
    app.report(Report::New(sample::text(10, BOB, Some(10), EVIL)));
    let attachment = sample::attachment("x\x1b[2J.png");
    let body = Body::Attachment { attachment, text: EVIL.into() };
    app.report(Report::New(sample::message(11, BOB, Some(11), Content::new(body))));
    let to = MessageRef { sender: BOB, message: sample::operation(10) };
    let reaction = Body::Reaction { to, reaction: "\x1b[31m\u{202e}".into(), withdrawn: false };
    app.report(Report::New(sample::message(12, BOB, Some(12), Content::new(reaction))));
    let reply = Body::Reply { to, text: EVIL.into() };
    app.report(Report::New(sample::message(13, BOB, Some(13), Content::new(reply))));
    let body = Body::Custom { name: "\x1b[1m".into(), bytes: vec![27] };
    app.report(Report::New(sample::message(14, BOB, Some(14), Content::new(body))));
    app.report(Report::New(sample::entry(15, What::Joined { who: sample::who(BOB, EVIL) })));
    app.report(Report::New(sample::entry(16, What::Entered { title: EVIL.into() })));
    app.report(Report::New(sample::entry(17, What::Other { description: EVIL.into() })));
    app.paste(EVIL);
    let mut checked = 0;
    let mut check = |app: &mut App| {
        for cell in drawn(app, 120, 60).content() {
            let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}');
            assert!(!cell.symbol().contains(bad), "{:?}", cell.symbol());
            checked += 1;
        }
    };
    check(&mut app);
    app.report(Report::Failed { why: EVIL.into(), give_back: None });
    app.report(Report::Page { title: EVIL.into(), lines: vec![EVIL.into(); 5] });
    check(&mut app);
    app.report(Report::Confirm { lines: vec![EVIL.into()], order: Order::Leave(GROUP) });
    check(&mut app);
    assert_eq!(checked, 3 * 120 * 60);
}

#[test]
fn changed_keys_show() {
    let mut app = conversation();
    let mut members = app.members.clone();
    members[2].trust = Some(Trust::Changed);
    app.report(Report::Members(GROUP, members));
    let all = lines(&drawn(&mut app, 110, 20)).join("\n");
    assert!(all.contains("The keys of Carol have changed: nothing is sent."), "{all}");
    assert!(all.contains("! Carol"), "{all}");
}

#[test]
fn scrolling_stops_at_the_top_and_asks_for_more() {
    let mut app = sample::app();
    let entries = (1..=200).map(|n| sample::text(n, BOB, Some(n), "x")).collect();
    app.report(Report::Opened { group: GROUP, entries, unread: 0, complete: false });
    let all = lines(&drawn(&mut app, 80, 20)).join("\n");
    assert!(all.contains("#200") && !all.contains("#150"), "{all}");
    app.take_orders();
    app.scroll = 10_000;
    let all = lines(&drawn(&mut app, 80, 20)).join("\n");
    assert!(all.contains("  #1 ") && !all.contains("#200"), "{all}");
    assert!(matches!(app.take_orders()[..], [Order::Open { entries: 400, .. }]));
}

#[test]
fn lines_are_broken_at_spaces_and_never_too_long() {
    let wrapped = |text, columns| wrap(text, columns).collect::<Vec<_>>();
    assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
    assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
    assert_eq!(wrapped("", 4), [""]);
    assert_eq!(cut("日本語", 5), "日本");
}
