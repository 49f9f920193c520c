//! What the program shows and what it wants, without a terminal and without a session: keys and reports in, orders
//! out.

mod commands;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use cc_client::{GroupId, Trust};
use cc_core::MemberId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    conversation::{Conversation, ItemKind, general},
    input::Editor,
    order::{GroupRow, MemberRow, Order, Report, Seen},
    pages,
};
use crate::talk::session::Connection;

/// Entries that are loaded when a group is opened, and each time somebody scrolls past them.
pub(crate) const ENTRIES: u64 = 200;

/// Exchanges with the relay that are remembered.
const SEEN: usize = 1000;

/// Everything that is to be drawn.
pub(crate) struct App {
    pub(crate) me: String,
    device: Option<MemberId>,
    pub(crate) relay: String,
    pub(crate) link: String,
    pub(crate) connection: Connection,
    pub(crate) unsent: usize,
    pub(crate) groups: Vec<GroupRow>,
    pub(crate) open: Option<GroupId>,
    pub(crate) members: Vec<MemberRow>,
    pub(crate) conversation: Conversation,
    pub(crate) input: Editor,
    /// Lines between the last one and the bottom of the screen.
    pub(crate) scroll: usize,
    pub(crate) page: Option<Page>,
    pub(crate) question: Option<Question>,
    pub(crate) note: Option<Note>,
    /// In milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) seen: VecDeque<Seen>,
    /// Whether the program is to end, and why if nobody asked.
    pub(crate) ended: Option<Option<String>>,
    /// Somebody asked to leave, and once more.
    leaving: bool,
    pub(crate) hurry: bool,
    /// Entries of the open group that were asked for.
    asked: u64,
    orders: Vec<Order>,
}

/// What covers the conversation until it is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
    pub(crate) scroll: usize,
}

/// Something that is done only after a yes.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) lines: Vec<String>,
    order: Order,
}

/// The line above the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) bad: bool,
}

impl App {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            me: String::new(),
            device: None,
            relay: String::new(),
            link: String::new(),
            connection: Connection::Connecting,
            unsent: 0,
            groups: Vec::new(),
            open: None,
            members: Vec::new(),
            conversation: Conversation::default(),
            input: Editor::default(),
            scroll: 0,
            page: None,
            question: None,
            note: None,
            now,
            seen: VecDeque::new(),
            ended: None,
            leaving: false,
            hurry: false,
            asked: 0,
            orders: Vec::new(),
        }
    }

    /// What the session is to do.
    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        core::mem::take(&mut self.orders)
    }

    /// Whose keys have changed in the open group: nothing is sent there.
    pub(crate) fn changed(&self) -> Vec<&str> {
        let changed = self.members.iter().filter(|member| member.trust == Some(Trust::Changed));
        let mut names: Vec<&str> = changed.map(|member| member.name.as_str()).collect();
        names.dedup();
        names
    }

    pub(crate) fn open_row(&self) -> Option<&GroupRow> {
        self.groups.iter().find(|row| Some(row.id) == self.open)
    }

    /// Time goes on. Gives whether there is something to draw.
    pub(crate) fn tick(&mut self, now: u64) -> bool {
        self.now = now;
        self.conversation.expire(now)
    }

    /// Takes what the session tells.
    pub(crate) fn report(&mut self, report: Report) {
        match report {
            Report::Ready { me, device, relay, link } => {
                (self.me, self.device, self.relay, self.link) = (me, Some(device), relay, link);
            }
            Report::Groups(groups) => {
                self.groups = groups;
                if self.open.is_none()
                    && let Some(first) = self.groups.first()
                {
                    self.show(first.id);
                }
            }
            Report::Founded(group) => self.show(group),
            Report::Members(group, members) if Some(group) == self.open => self.members = members,
            Report::Opened { group, entries, unread, complete } if Some(group) == self.open => {
                self.conversation = Conversation::default();
                self.conversation.complete = complete;
                self.conversation.load(entries, unread, self.now);
                self.conversation.expire(self.now);
            }
            Report::Members(..) | Report::Opened { .. } => {}
            Report::New(entry) => {
                match general(&entry.what) {
                    Some(ItemKind::Warning(text)) => self.complain(text),
                    Some(ItemKind::Notice(text)) => self.say(text),
                    _ => {}
                }
                if entry.group.is_some() && entry.group == self.open {
                    let group = entry.group;
                    self.conversation.add(entry, self.now);
                    self.orders.extend(group.map(Order::Read));
                }
            }
            Report::Changed(entry) => {
                if entry.group.is_some() && entry.group == self.open {
                    let at = entry.at;
                    self.conversation.add(entry, at);
                }
            }
            Report::Connection(connection) => self.connection = connection,
            Report::Unsent(unsent) => self.unsent = unsent,
            Report::Page { title, lines } => self.page = Some(Page { title, lines, scroll: 0 }),
            Report::Confirm { lines, order } => self.question = Some(Question { lines, order }),
            Report::Note(text) => self.say(text),
            Report::Failed { why, give_back } => {
                if let Some(text) = give_back.filter(|_| self.input.text().is_empty()) {
                    self.input.set(&text);
                }
                self.complain(why);
            }
            Report::Seen(seen) => {
                if self.seen.len() >= SEEN {
                    self.seen.pop_front();
                }
                self.seen.push_back(seen);
            }
            Report::Ended(why) => self.ended = Some(why),
        }
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'q')) {
            // What takes long is not waited for by who asks twice: everything is kept.
            self.hurry = core::mem::replace(&mut self.leaving, true);
            return self.orders.push(Order::Quit);
        }
        if self.question.is_some() {
            return self.answer(key.code);
        }
        if self.page.is_some() {
            return self.key_on_page(key.code);
        }
        match key.code {
            KeyCode::Char('n') if control => self.next_group(1),
            KeyCode::Char('p') if control => self.next_group(-1),
            KeyCode::Char('w') if control => self.input.delete_word(),
            KeyCode::Char('u') if control => self.input.set(""),
            KeyCode::Char('a') if control => self.input.home(),
            KeyCode::Char('e') if control => self.input.end(),
            KeyCode::Char(_) if control => {}
            KeyCode::Char(character) => self.input.insert(character),
            KeyCode::Backspace => self.input.backspace(),
            KeyCode::Delete => self.input.delete(),
            KeyCode::Left => self.input.left(),
            KeyCode::Right => self.input.right(),
            KeyCode::Home => self.input.home(),
            KeyCode::End => self.input.end(),
            KeyCode::Up => self.input.earlier(),
            KeyCode::Down => self.input.later(),
            KeyCode::PageUp => self.scroll_up(),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_sub(SCROLL),
            KeyCode::Tab => self.next_group(1),
            KeyCode::BackTab => self.next_group(-1),
            KeyCode::F(1) => self.help(),
            KeyCode::Esc => (self.note, self.scroll) = (None, 0),
            KeyCode::Enter => self.enter(),
            _ => {}
        }
    }

    /// Takes pasted text. What is a line break there is none here, so that nothing is sent by pasting it.
    pub(crate) fn paste(&mut self, text: &str) {
        if self.page.is_none() && self.question.is_none() {
            self.input.paste(&text.replace(['\r', '\n'], " "));
        }
    }

    fn answer(&mut self, code: KeyCode) {
        let Some(question) = self.question.take() else { return };
        match code {
            KeyCode::Char('y' | 'Y') => self.orders.push(question.order),
            KeyCode::Char('n' | 'N') | KeyCode::Esc => self.say("Nothing was done.".into()),
            _ => self.question = Some(question),
        }
    }

    fn key_on_page(&mut self, code: KeyCode) {
        let Some(page) = &mut self.page else { return };
        let last = page.lines.len().saturating_sub(1);
        match code {
            KeyCode::Up => page.scroll = page.scroll.saturating_sub(1),
            KeyCode::Down => page.scroll = page.scroll.saturating_add(1).min(last),
            KeyCode::PageUp => page.scroll = page.scroll.saturating_sub(SCROLL),
            KeyCode::PageDown => page.scroll = page.scroll.saturating_add(SCROLL).min(last),
            KeyCode::Home => page.scroll = 0,
            KeyCode::End => page.scroll = last,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') | KeyCode::F(1) => self.page = None,
            _ => {}
        }
    }

    fn scroll_up(&mut self) {
        self.scroll = self.scroll.saturating_add(SCROLL);
    }

    /// The top of what is loaded shows: loads more.
    pub(crate) fn reached_top(&mut self) {
        if let Some(group) = self.open
            && !self.conversation.complete
            && u64::try_from(self.conversation.len()).is_ok_and(|len| len >= self.asked)
        {
            self.asked = self.asked.saturating_add(ENTRIES);
            self.orders.push(Order::Open { group, entries: self.asked });
        }
    }

    fn next_group(&mut self, step: isize) {
        let count = self.groups.len();
        let at = self.groups.iter().position(|row| Some(row.id) == self.open);
        let next = match (at, step) {
            (None, _) => 0,
            (Some(at), 1) => at + 1,
            (Some(at), _) => (at + count).saturating_sub(1),
        };
        if let Some(row) = next.checked_rem(count).and_then(|next| self.groups.get(next)) {
            self.show(row.id);
        }
    }

    fn show(&mut self, group: GroupId) {
        if self.open != Some(group) {
            self.conversation = Conversation::default();
            self.members.clear();
        }
        self.open = Some(group);
        self.asked = ENTRIES;
        self.scroll = 0;
        self.orders.push(Order::Open { group, entries: ENTRIES });
    }

    fn help(&mut self) {
        self.page = Some(Page::new("Help", pages::help()));
    }

    fn say(&mut self, text: String) {
        self.note = Some(Note { text, bad: false });
    }

    fn complain(&mut self, text: String) {
        self.note = Some(Note { text, bad: true });
    }
}

/// Lines by which a page goes up or down.
const SCROLL: usize = 10;

impl Page {
    fn new(title: &str, lines: Vec<String>) -> Self {
        Self { title: title.to_owned(), lines, scroll: 0 }
    }
}
