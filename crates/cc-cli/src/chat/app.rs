//! What the program shows and what it wants, without a terminal and without a session: keys and reports in, orders
//! out.

use std::{collections::VecDeque, path::PathBuf};

use cc_client::{Body, Content, GroupId, PersonId, Trust};
use cc_core::MemberId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    conversation::{Conversation, ItemKind, general},
    input::{Editor, Line, parse},
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
            Report::Members(group, members) if Some(group) == self.open => self.members = members,
            Report::Opened { group, entries, unread, complete } if Some(group) == self.open => {
                self.conversation = Conversation::default();
                self.conversation.complete = complete;
                self.conversation.load(entries, unread, self.now);
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

    fn enter(&mut self) {
        let typed = self.input.take();
        self.note = None;
        if let Err(why) = parse(&typed).and_then(|line| self.obey(line, &typed)) {
            self.input.set(&typed);
            self.complain(why);
        }
    }

    fn obey(&mut self, line: Line, typed: &str) -> Result<(), String> {
        let group = || self.open.ok_or_else(|| "make a group first: /new TITLE".to_owned());
        let order = match line {
            Line::Nothing => return Ok(()),
            Line::Say(text) => return self.send(Content::text(text), typed),
            Line::Timer { seconds, text } => {
                return self.send(Content::text(text).disappearing_after(seconds), typed);
            }
            Line::Edit { message, text } => {
                let of = self.own(message)?;
                return self.send(Content::new(Body::Edit { of, text }), typed);
            }
            Line::Delete(message) => {
                let of = self.own(message)?;
                return self.send(Content::new(Body::Deletion { of }), typed);
            }
            Line::React { message, reaction } => {
                let to = self.reference(message)?;
                let body = Body::Reaction { to, reaction, withdrawn: false };
                return self.send(Content::new(body), typed);
            }
            Line::Reply { message, text } => {
                let to = self.reference(message)?;
                return self.send(Content::new(Body::Reply { to, text }), typed);
            }
            Line::New(title) => Order::Found(title),
            Line::Open(which) => {
                let id = self.find_group(&which)?;
                self.show(id);
                return Ok(());
            }
            Line::Link(None) => {
                self.page = Some(Page::new("Your link", pages::link(&self.link)));
                return Ok(());
            }
            Line::Link(Some(path)) => Order::WriteLink(PathBuf::from(path)),
            Line::Invite(link) => Order::Invite { group: group()?, link },
            Line::Members => {
                let lines = pages::members(&self.members);
                self.page = Some(Page::new("Members", lines));
                return Ok(());
            }
            Line::Safety(name) | Line::Verify(name) => {
                let verify = typed.trim_start().starts_with("/verify");
                let (person, name) = self.find_person(&name)?;
                Order::Safety { person, name, verify }
            }
            Line::Accept(name) => {
                let (person, name) = self.find_person(&name)?;
                let lines = vec![
                    format!("Take the changed keys of {name} without comparing?"),
                    "Whoever changed them, perhaps somebody else, then reads what you send.".into(),
                    format!("/safety {name} shows what to compare instead."),
                ];
                self.question = Some(Question { lines, order: Order::Accept(person) });
                return Ok(());
            }
            Line::Remove(name) => {
                let group = group()?;
                let members = self.find_devices(&name)?;
                let (name, count) = (members.0, members.1.len());
                let lines =
                    vec![format!("Remove {name}, with {count} device(s), from this group?")];
                let order = Order::Remove { group, members: members.1 };
                self.question = Some(Question { lines, order });
                return Ok(());
            }
            Line::Leave => {
                let order = Order::Leave(group()?);
                let lines = vec!["Leave this group? Only a member can take you in again.".into()];
                self.question = Some(Question { lines, order });
                return Ok(());
            }
            Line::Refresh => Order::Refresh(group()?),
            Line::Attach { path, text } => {
                Order::Attach { group: group()?, path: PathBuf::from(path), text }
            }
            Line::Save { message, path } => match self.conversation.body(message) {
                Some(Body::Attachment { attachment, .. }) => {
                    Order::Save { attachment: attachment.clone(), path: path.map(PathBuf::from) }
                }
                _ => return Err(format!("message {message} has no file")),
            },
            Line::Report(message) => {
                let known = self.conversation.message(message);
                let known = known.ok_or_else(|| no_message(message))?;
                let lines = pages::layers(known);
                self.page = Some(Page::new(&format!("Message {message} in its layers"), lines));
                return Ok(());
            }
            Line::Seen(message) => {
                let lines = match (message, self.open) {
                    (Some(number), Some(group)) => {
                        let known = self.conversation.message(number);
                        let known = known.ok_or_else(|| no_message(number))?;
                        pages::seen_of(&self.seen, group, known)
                    }
                    _ => pages::seen(&self.seen),
                };
                self.page = Some(Page::new("What the relay saw", lines));
                return Ok(());
            }
            Line::Tree => Order::Tree(group()?),
            Line::Stack => Order::Stack(group()?),
            Line::Devices => Order::Devices,
            Line::Offer(path) => Order::OfferDevice(PathBuf::from(path)),
            Line::AddDevice(path) => Order::AddDevice(PathBuf::from(path)),
            Line::Revoke(device) => Order::Revoke(device),
            Line::Help => {
                self.help();
                return Ok(());
            }
            Line::Quit => Order::Quit,
        };
        self.orders.push(order);
        Ok(())
    }

    fn send(&mut self, content: Content, typed: &str) -> Result<(), String> {
        let group = self.open.ok_or_else(|| "make a group first: /new TITLE".to_owned())?;
        if self.open_row().is_some_and(|row| !row.member) {
            return Err("you are not in this group any more".into());
        }
        if let Some(name) = self.changed().first() {
            return Err(format!(
                "not sent: the keys of {name} have changed. Compare with /safety {name}, then /verify {name}; or \
                 /accept {name}"
            ));
        }
        self.scroll = 0;
        self.orders.push(Order::Send { group, content, typed: typed.to_owned() });
        Ok(())
    }

    fn reference(&self, message: u64) -> Result<cc_client::MessageRef, String> {
        self.conversation.reference(message).ok_or_else(|| no_message(message))
    }

    /// Only one's own from this device can be changed.
    fn own(&self, message: u64) -> Result<cc_client::MessageRef, String> {
        let known = self.conversation.message(message).ok_or_else(|| no_message(message))?;
        if self.device != Some(known.from.member()) {
            return Err(format!("message {message} was not sent from this device"));
        }
        self.reference(message)
    }

    fn find_group(&self, which: &str) -> Result<GroupId, String> {
        if let Some(row) =
            which.parse::<usize>().ok().and_then(|at| self.groups.get(at.checked_sub(1)?))
        {
            return Ok(row.id);
        }
        let of =
            |row: &&GroupRow| starts(&row.title, which) || row.id.to_string().starts_with(which);
        let mut found = self.groups.iter().filter(of);
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row.id),
            (None, _) => Err(format!("there is no group {which}")),
            _ => Err(format!("{which} can be more than one group: write its number")),
        }
    }

    /// The devices of one person, or one device of which nobody knows whose it is.
    fn find_devices(&self, name: &str) -> Result<(String, Vec<MemberId>), String> {
        let who = self.find_member(name)?;
        if who.mine {
            return Err("that is you: /leave, or /revoke for another device".into());
        }
        let same = |row: &&MemberRow| {
            row.device == who.device || (who.person.is_some() && row.person == who.person)
        };
        let devices = self.members.iter().filter(same).map(|row| row.device).collect();
        Ok((who.name.clone(), devices))
    }

    fn find_person(&self, name: &str) -> Result<(PersonId, String), String> {
        let who = self.find_member(name)?;
        if who.mine {
            return Err("that is you".into());
        }
        let unknown = || format!("{} has not said yet whose device it is", who.name);
        Ok((who.person.ok_or_else(unknown)?, who.name.clone()))
    }

    /// By the number in the list, or the beginning of a name or id. Several devices of one person are one.
    fn find_member(&self, name: &str) -> Result<&MemberRow, String> {
        let number = name.parse::<usize>().ok();
        if let Some(row) = number.and_then(|at| self.members.get(at.checked_sub(1)?)) {
            return Ok(row);
        }
        let of =
            |row: &&MemberRow| starts(&row.name, name) || row.device.to_string().starts_with(name);
        let exact = |row: &&MemberRow| row.name == name;
        let mut found: Vec<&MemberRow> = self.members.iter().filter(exact).collect();
        if found.is_empty() {
            found = self.members.iter().filter(of).collect();
        }
        let Some(first) = found.first().copied() else {
            return Err(format!("there is nobody {name} in this group: /members"));
        };
        let one = |row: &&MemberRow| {
            row.device == first.device || (row.person.is_some() && row.person == first.person)
        };
        if found.iter().all(one) {
            Ok(first)
        } else {
            Err(format!("{name} can be more than one: write the number that /members shows"))
        }
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

fn starts(text: &str, beginning: &str) -> bool {
    !beginning.is_empty() && text.to_lowercase().starts_with(&beginning.to_lowercase())
}

fn no_message(number: u64) -> String {
    format!("there is no message {number} here: the numbers stand in front of the messages")
}
