//! Draws the state. Everything that others wrote passes [`clean`] here, wherever it is shown.

#[cfg(test)]
pub(crate) mod tests;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Paragraph},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    app::App,
    conversation::{Item, ItemKind, Said},
    pages,
};
use crate::{
    talk::{journal::MessageState, session::Connection},
    untrusted_text::{clean, clean_lines},
};

const DIM: Style = Style::new().fg(Color::DarkGray);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const NAME: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
const MINE: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);

/// The narrowest screens on which groups, and members, are shown beside the conversation.
const WIDTH_WITH_GROUPS: u16 = 60;
const WIDTH_WITH_MEMBERS: u16 = 100;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let [top, middle, notes, input] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(app), top);
    let width = frame.area().width;
    let groups = if width >= WIDTH_WITH_GROUPS { 22 } else { 0 };
    let members = if width >= WIDTH_WITH_MEMBERS { 24 } else { 0 };
    let [left, centre, right] = Layout::horizontal([
        Constraint::Length(groups),
        Constraint::Min(20),
        Constraint::Length(members),
    ])
    .areas(middle);
    if groups > 0 {
        draw_groups(frame, app, left);
    }
    draw_conversation(frame, app, centre);
    if members > 0 {
        draw_members(frame, app, right);
    }
    frame.render_widget(note(app), notes);
    draw_input(frame, app, input);
    draw_page(frame, app, middle);
    draw_question(frame, app, middle);
}

fn header(app: &App) -> Line<'static> {
    let (state, style) = match app.connection {
        Connection::Connecting => ("connecting", DIM),
        Connection::Following => ("connected", GOOD),
        Connection::Polling => ("connected, asking", GOOD),
        Connection::Offline => ("OFFLINE", BAD),
    };
    let waiting = match app.unsent {
        0 => String::new(),
        count => format!(", {count} waiting"),
    };
    Line::from(vec![
        Span::styled(" cascade ", Style::new().add_modifier(Modifier::REVERSED)),
        Span::raw(format!(" {} ", clean(&app.me))),
        Span::styled(format!("at {} ", clean(&app.relay)), DIM),
        Span::styled(state, style),
        Span::styled(waiting, DIM),
        Span::styled("   F1 help", DIM),
    ])
}

fn draw_groups(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let block = Block::new().borders(Borders::RIGHT).border_style(DIM).title("Groups");
    let inner = block.inner(area);
    let width = usize::from(inner.width);
    let mut lines = Vec::new();
    for (at, row) in app.groups.iter().enumerate() {
        let unread = match row.unread {
            0 => String::new(),
            unread => format!(" ({unread})"),
        };
        let title = format!("{} {}", at + 1, clean(&row.title));
        let title = cut(&title, width.saturating_sub(unread.width()));
        let mut style = if row.member { Style::new() } else { DIM };
        if Some(row.id) == app.open {
            style = style.add_modifier(Modifier::REVERSED);
        }
        lines.push(Line::from(vec![Span::styled(title, style), Span::styled(unread, NAME)]));
    }
    if lines.is_empty() {
        lines.push(Line::styled("none yet", DIM));
    }
    // The open one is among those that show.
    let at = app.groups.iter().position(|row| Some(row.id) == app.open).unwrap_or(0);
    let skip = (at + 1).saturating_sub(usize::from(inner.height));
    let lines: Vec<Line<'_>> = lines.into_iter().skip(skip).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_members(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let block = Block::new().borders(Borders::LEFT).border_style(DIM).title("Members");
    let width = usize::from(block.inner(area).width);
    let row = |member: &super::order::MemberRow| {
        let (mark, style) = match pages::mark(member.trust) {
            _ if member.mine => ("·", DIM),
            "✓" => ("✓", GOOD),
            "!" => ("!", BAD),
            mark => (mark, DIM),
        };
        let name = cut(&clean(&member.name), width.saturating_sub(2));
        Line::from(vec![Span::styled(format!("{mark} "), style), Span::raw(name)])
    };
    let lines: Vec<Line<'_>> = app.members.iter().map(row).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_conversation(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let title = app.open_row().map_or_else(
        || "No group yet".to_owned(),
        |row| format!("{} ({} members)", clean(&row.title), row.members),
    );
    let mut block = Block::new().title(cut(&title, usize::from(area.width)));
    if !app.changed().is_empty() {
        let names = app.changed().join(", ");
        let warning = format!(
            "The keys of {} have changed: nothing is sent. /safety, /verify or /accept NAME",
            clean(&names)
        );
        block = block.title_bottom(Line::styled(cut(&warning, usize::from(area.width)), BAD));
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width).max(10);
    let mut lines = Vec::new();
    if app.open.is_none() {
        lines.extend(welcome(width));
    }
    for item in app.conversation.items() {
        item_lines(&item, width, &mut lines);
    }
    let height = usize::from(inner.height);
    let furthest = lines.len().saturating_sub(height);
    if app.scroll >= furthest && app.scroll > 0 {
        app.scroll = furthest;
        app.reached_top();
    }
    let from = furthest.saturating_sub(app.scroll);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(from).take(height).collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

fn welcome(width: usize) -> Vec<Line<'static>> {
    let text = "You are in no group yet.\n\nMake one: /new TITLE\nOr be invited: /link shows what to give to \
                somebody who is in a group.\nOr ask to join by a group's link: /join LINK\n\n/help shows everything.";
    let lines = text.lines().flat_map(|line| wrap(line, width));
    lines.map(Line::from).collect()
}

fn item_lines(item: &Item, width: usize, lines: &mut Vec<Line<'static>>) {
    match &item.kind {
        ItemKind::Notice(text) => {
            lines.extend(
                wrap(&format!("  {}", clean(text)), width).map(|line| Line::styled(line, DIM)),
            );
        }
        ItemKind::Warning(text) => {
            let text = format!("! {}", clean(text));
            lines.extend(wrap(&text, width).map(|line| Line::styled(line, BAD)));
        }
        ItemKind::Said(said) => said_lines(item, said, width, lines),
    }
}

fn said_lines(item: &Item, said: &Said, width: usize, lines: &mut Vec<Line<'static>>) {
    let mut head = vec![
        Span::styled(format!("{:>4} {} ", format!("#{}", item.number), pages::time(item.at)), DIM),
        Span::styled(clean(&said.from), if said.mine { MINE } else { NAME }),
    ];
    if said.mine {
        head.push(match &said.state {
            MessageState::Waiting => Span::styled(" …", DIM),
            MessageState::Sent(_) => Span::styled(" ✓", GOOD),
            MessageState::Refused(_) => Span::styled(" ✗", BAD),
        });
    }
    if said.edited {
        head.push(Span::styled(" edited", DIM));
    }
    if said.expires.is_some() {
        head.push(Span::styled(" disappears", DIM));
    }
    lines.push(Line::from(head));
    let indented = |text: &str, style: Style| {
        let wrapped: Vec<_> = wrap(text, width.saturating_sub(5)).collect();
        wrapped.into_iter().map(move |line| Line::styled(format!("     {line}"), style))
    };
    if let Some(quote) = &said.reply {
        lines.extend(indented(&format!("> {}", clean(quote)), DIM));
    }
    if said.deleted {
        lines.extend(indented("(deleted)", DIM));
    }
    for line in clean_lines(&said.text) {
        lines.extend(indented(&line, Style::new()));
    }
    if let Some(file) = &said.attachment {
        let text = format!("[file] {}   /save {}", clean(file), item.number);
        lines.extend(indented(&text, Style::new().fg(Color::Magenta)));
    }
    if !said.reactions.is_empty() {
        let reactions =
            said.reactions.iter().map(|(word, count)| format!("{} {count}", clean(word)));
        lines.extend(indented(&reactions.collect::<Vec<_>>().join("  "), DIM));
    }
    if let MessageState::Refused(why) = &said.state {
        lines.extend(indented(&format!("not sent: {}", clean(why)), BAD));
    }
}

fn note(app: &App) -> Line<'static> {
    match &app.note {
        Some(note) => {
            let style = if note.bad { BAD } else { GOOD };
            Line::styled(format!(" {}", clean(&note.text)), style)
        }
        None if app.scroll > 0 => Line::styled(" earlier messages; Esc goes to the end", DIM),
        None => Line::default(),
    }
}

fn draw_input(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let room = usize::from(area.width).saturating_sub(4);
    let before = clean(app.input.before_cursor());
    let all = clean(app.input.text());
    // The end of what is in front of the cursor shows.
    let mut skipped = 0;
    let mut width = before.width();
    for character in before.chars() {
        if width <= room {
            break;
        }
        width -= character.width().unwrap_or(0);
        skipped += character.len_utf8();
    }
    let shown = cut(all.get(skipped..).unwrap_or_default(), room + 1);
    let line = Line::from(vec![Span::styled("> ", NAME), Span::raw(shown)]);
    frame.render_widget(line, area);
    if app.page.is_none() && app.question.is_none() {
        let column = u16::try_from(width).unwrap_or(u16::MAX).saturating_add(2);
        frame.set_cursor_position(Position::new(area.x.saturating_add(column), area.y));
    }
}

fn draw_page(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(page) = &app.page else { return };
    let block = Block::bordered()
        .title(format!(" {} ", clean(&page.title)))
        .title_bottom(Line::styled(" Esc closes, arrows scroll ", DIM));
    let inner = block.inner(area);
    let width = usize::from(inner.width).max(10);
    let lines = page
        .lines
        .iter()
        .skip(page.scroll)
        .flat_map(|line| wrap(&clean(line), width).collect::<Vec<_>>());
    let lines: Vec<Line<'_>> = lines.take(usize::from(inner.height)).map(Line::from).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_question(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(question) = &app.question else { return };
    let width = usize::from(area.width).saturating_sub(4).max(10);
    let mut lines = Vec::new();
    for line in &question.lines {
        lines.extend(wrap(&clean(line), width).map(Line::from));
    }
    lines.push(Line::default());
    lines.push(Line::styled("y yes    n no", NAME));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let top = area.y + (area.height - height) / 2;
    let area = Rect { x: area.x, y: top, width: area.width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Sure? ")), area);
}

/// What fits into so many columns.
fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = text.chars().take_while(|character| {
        used += character.width().unwrap_or(0);
        used <= columns
    });
    fits.collect()
}

/// Lines of at most so many columns, broken at spaces where there are any. Columns at the beginning stay.
fn wrap(text: &str, columns: usize) -> impl Iterator<Item = String> {
    let mut lines = Vec::new();
    let (mut line, mut width, mut space) = (String::new(), 0, None);
    for character in text.chars() {
        let columns_of = character.width().unwrap_or(0);
        if width + columns_of > columns && !line.is_empty() {
            let rest = match space {
                Some(at) if at > 0 => line.split_off(at),
                _ => String::new(),
            };
            lines.push(core::mem::replace(&mut line, rest.trim_start().to_owned()));
            (width, space) = (line.width(), None);
            if character == ' ' && line.is_empty() {
                continue;
            }
        }
        if character == ' ' && !line.trim().is_empty() {
            space = Some(line.len());
        }
        line.push(character);
        width += columns_of;
    }
    lines.push(line);
    lines.into_iter()
}
