//! What a typed line does.

use std::path::PathBuf;

use cc_client::{Body, Content, GroupId, PersonId};
use cc_core::MemberId;

use super::{App, Page, Question};
use crate::chat::{
    input::{Line, parse},
    order::{GroupRow, MemberRow, Order},
    pages,
};

impl App {
    /// Takes the line that was typed.
    pub(super) fn enter(&mut self) {
        let typed = self.input.take();
        self.note = None;
        if let Err(why) = parse(&typed).and_then(|line| self.obey(line, &typed)) {
            self.input.set(&typed);
            self.complain(why);
        }
    }

    fn obey(&mut self, line: Line, typed: &str) -> Result<(), String> {
        let group = || self.open.ok_or_else(|| "make a group first: /new TITLE".to_owned());
        let verify = matches!(line, Line::Verify(_));
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
            Line::GroupLink(path) => {
                Order::GroupLink { group: group()?, path: path.map(PathBuf::from) }
            }
            Line::Join { link, text } => Order::Join { link, text },
            Line::Requests => Order::Requests,
            Line::Withdraw(which) => Order::Withdraw(which),
            Line::Share { name, last } => {
                let group = group()?;
                let (name, members) = self.find_readers(&name)?;
                Order::Share { group, members, name, last }
            }
            Line::Admit(who) => Order::Answer { who, accept: true },
            Line::Decline(who) => Order::Answer { who, accept: false },
            Line::Members => {
                let lines = pages::members(&self.members);
                self.page = Some(Page::new("Members", lines));
                return Ok(());
            }
            Line::Safety(name) | Line::Verify(name) => {
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

    /// The devices of one person, this one left out: a new device of one's own has no history either.
    fn find_readers(&self, name: &str) -> Result<(String, Vec<MemberId>), String> {
        let who = self.find_member(name)?;
        let same = |row: &&MemberRow| {
            row.device == who.device || (who.person.is_some() && row.person == who.person)
        };
        let devices = self.members.iter().filter(same).map(|row| row.device);
        let devices: Vec<_> = devices.filter(|device| Some(*device) != self.device).collect();
        if devices.is_empty() {
            return Err("that is this device alone".into());
        }
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
}

fn starts(text: &str, beginning: &str) -> bool {
    !beginning.is_empty() && text.to_lowercase().starts_with(&beginning.to_lowercase())
}

fn no_message(number: u64) -> String {
    format!("there is no message {number} here: the numbers stand in front of the messages")
}
