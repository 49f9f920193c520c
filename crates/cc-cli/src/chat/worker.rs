//! The thread that has the session: does what the screen asks for, and tells it what happened.

mod links;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cc_client::{Attachment, Command, GroupId, OperationId, PersonId, Snapshot, Verdict};
use cc_core::MemberId;

use super::{
    order::{GroupRow, MemberRow, Order, Report},
    pages,
    seen::seen,
};
use crate::{
    error::CliError,
    files::output::write_secret,
    talk::{
        error::TalkError,
        link::{GroupLink, link_or_file},
        session::{Exchange, Session, Update},
    },
    untrusted_text::file_name,
};

/// How long it waits at the most before it looks for orders; they wake it earlier.
const WAIT: Duration = Duration::from_millis(500);

/// A session at work for a screen.
pub(crate) struct Worker<F: Fn(Report)> {
    session: Session,
    orders: Receiver<Order>,
    exchanges: Receiver<Exchange>,
    tell: F,
    /// The group that the screen shows.
    open: Option<GroupId>,
    /// What the screen has.
    snapshot: Option<Arc<Snapshot>>,
    groups: Vec<GroupRow>,
    members: Vec<MemberRow>,
    unsent: usize,
}

impl<F: Fn(Report)> Worker<F> {
    pub(crate) fn new(mut session: Session, orders: Receiver<Order>, tell: F) -> Self {
        let (sender, exchanges) = channel();
        session.observe(sender);
        Self {
            session,
            orders,
            exchanges,
            tell,
            open: None,
            snapshot: None,
            groups: Vec::new(),
            members: Vec::new(),
            unsent: 0,
        }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        let result = self.work();
        (self.tell)(Report::Ended(result.err().map(|error| error.to_string())));
    }

    fn work(&mut self) -> Result<(), CliError> {
        let me = self.session.me();
        (self.tell)(Report::Ready {
            me: me.name(),
            device: me.id,
            relay: self.session.relay().to_string(),
            link: self.session.link().to_string(),
        });
        let mut changed = true;
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Quit) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Ok(order) => {
                        self.obey(order);
                        changed = true;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.show_groups(changed)?;
            let updates = self.session.wait(WAIT)?;
            changed = !updates.is_empty();
            for exchange in self.exchanges.try_iter().collect::<Vec<_>>() {
                (self.tell)(Report::Seen(seen(&exchange, wall())));
            }
            for update in updates {
                self.update(update);
            }
            let unsent = self.session.unsent();
            if unsent != self.unsent {
                self.unsent = unsent;
                (self.tell)(Report::Unsent(unsent));
            }
        }
    }

    fn update(&self, update: Update) {
        match update {
            Update::New(entry) => (self.tell)(Report::New(entry)),
            Update::Changed(entry) => (self.tell)(Report::Changed(entry)),
            Update::Connection(connection) => (self.tell)(Report::Connection(connection)),
            Update::UploadFailed(_, why) => self.fail(format!("the file was not sent: {why}")),
            Update::Settled(_, Verdict::Refused(why)) => self.fail(format!("not done: {why}")),
            Update::Settled(..) => {}
        }
    }

    /// Tells the screen of groups and members where they are others than it has.
    fn show_groups(&mut self, changed: bool) -> Result<(), CliError> {
        let snapshot = self.session.views()?.snapshot();
        let same = self.snapshot.as_ref().is_some_and(|known| Arc::ptr_eq(known, &snapshot));
        if same && !changed {
            return Ok(());
        }
        let mut groups = Vec::new();
        for view in snapshot.groups.values() {
            groups.push(GroupRow {
                id: view.id,
                title: view.title.clone(),
                unread: self.session.unread(&view.id)?,
                members: view.members.len(),
                member: view.epoch.is_some(),
            });
        }
        groups.sort_by(|a, b| (!a.member, &a.title, a.id).cmp(&(!b.member, &b.title, b.id)));
        if groups != self.groups {
            self.groups.clone_from(&groups);
            (self.tell)(Report::Groups(groups));
        }
        if let Some(view) = self.open.and_then(|group| snapshot.groups.get(&group)) {
            let own = self.session.me().person;
            let mut members = Vec::new();
            for member in view.members.iter() {
                let trust = match &member.person {
                    Some(person) => Some(self.session.client().person(person)?.trust),
                    None => None,
                };
                members.push(MemberRow {
                    device: member.id,
                    person: member.person,
                    name: member.name(),
                    device_name: member.device.clone(),
                    trust,
                    mine: member.id == self.session.me().id
                        || (own.is_some() && member.person == own),
                });
            }
            if members != self.members {
                self.members.clone_from(&members);
                (self.tell)(Report::Members(view.id, members));
            }
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// What cannot be done is told, and changes nothing.
    fn obey(&mut self, order: Order) {
        let typed = match &order {
            Order::Send { typed, .. } => Some(typed.clone()),
            _ => None,
        };
        if let Err(error) = self.try_to(order) {
            let why = match error.advice() {
                Some(advice) => format!("{error}: {advice}"),
                None => error.to_string(),
            };
            (self.tell)(Report::Failed { why, give_back: typed });
        }
    }

    fn try_to(&mut self, order: Order) -> Result<(), CliError> {
        match order {
            Order::Quit => {}
            Order::Open { group, entries } => self.open(group, entries)?,
            Order::Read(group) => self.session.mark_read(&group)?,
            Order::Found(title) => {
                let group = self.session.found(&title)?;
                (self.tell)(Report::Founded(group));
                self.note(format!("{title} is made. /invite LINK brings somebody in."));
            }
            Order::Invite { group, link } => self.ask_to_invite(group, &link)?,
            Order::InviteNow { group, link } => {
                self.session.invite(group, &link)?;
                self.note("Invited: the relay is asked for a key package.".into());
            }
            Order::WriteLink(path) => {
                let link = format!("{}\n", self.session.link());
                write_secret(&path, link.as_bytes())?;
                self.note(format!("Your link is in {}.", path.display()));
            }
            Order::GroupLink { group, path } => self.group_link(group, path)?,
            Order::Join { link, text } => {
                let link: GroupLink = link_or_file(&link)?;
                self.session.ask_to_join(&link, &text)?;
                self.note("Asked: who made the link sees who you are, and decides.".into());
            }
            Order::Requests => self.requests()?,
            Order::Withdraw(which) => self.withdraw(which.as_deref())?,
            Order::Share { group, members, name, last } => {
                self.ask_to_share(group, members, name, last)?;
            }
            Order::ShareNow { group, members, name, last } => {
                let (_, count) = self.session.share(group, &members, last)?;
                self.note(format!("Passing {count} messages on to {name}."));
            }
            Order::Answer { who, accept } => self.ask_to_answer(&who, accept)?,
            Order::AnswerNow { request, accept: true } => {
                self.command(Command::AcceptJoin(request))?;
            }
            Order::AnswerNow { request, accept: false } => {
                self.command(Command::DeclineJoin(request))?;
            }
            Order::Send { group, content, .. } => {
                self.session.send(group, &content)?;
            }
            Order::Attach { group, path, text } => {
                self.session.attach(group, &path, &text)?;
                self.note(format!("Sending {}.", path.display()));
            }
            Order::Save { attachment, path } => self.save(&attachment, path)?,
            Order::Safety { person, name, verify } => self.safety(person, &name, verify)?,
            Order::Verify { person, number } => {
                let now = self.session.client().safety_number(&person)?;
                if now.to_string() != number {
                    return Err(TalkError::Client(cc_client::Fault::SafetyNumber(person)).into());
                }
                self.session.verify(person, now)?;
            }
            Order::Accept(person) => self.command(Command::AcceptChange(person))?,
            Order::Remove { group, members } => self.command(Command::Remove { group, members })?,
            Order::Leave(group) => {
                self.command(Command::Leave(group))?;
                self.note("The others are asked to let you go.".into());
            }
            Order::Refresh(group) => self.command(Command::Refresh(group))?,
            Order::Tree(group) => {
                let tree = self.session.client().ratchet_tree(&group)?;
                let text = tree.map_or_else(|| "There is none.".into(), |tree| tree.to_text(None));
                let lines = text.lines().map(str::to_owned).collect();
                (self.tell)(Report::Page { title: "Ratchet tree".into(), lines });
            }
            Order::Stack(group) => {
                let report = self.session.client().stack_report(&group)?.to_string();
                let lines = report.lines().map(str::to_owned).collect();
                (self.tell)(Report::Page { title: "Layers, the innermost first".into(), lines });
            }
            Order::Devices => self.devices()?,
            Order::OfferDevice(path) => {
                self.session.offer_device(&path)?;
                self.note(format!(
                    "Bring {} to your other device, and to nobody else; there: /add-device FILE",
                    path.display()
                ));
            }
            Order::AddDevice(path) => {
                let _operation: OperationId = self.session.add_device(&path)?;
                self.note("The new device comes into all groups.".into());
            }
            Order::Revoke(device) => self.ask_to_revoke(&device)?,
            Order::RevokeNow(device) => self.command(Command::Revoke(device))?,
        }
        Ok(())
    }

    fn open(&mut self, group: GroupId, entries: u64) -> Result<(), CliError> {
        if self.open != Some(group) {
            self.open = Some(group);
            self.members.clear();
        }
        let unread = self.session.unread(&group)?;
        let history = self.session.history(&group, entries)?;
        let complete = u64::try_from(history.len()).is_ok_and(|len| len < entries);
        (self.tell)(Report::Opened { group, entries: history, unread, complete });
        self.session.mark_read(&group)?;
        Ok(())
    }

    fn save(&self, attachment: &Attachment, path: Option<PathBuf>) -> Result<(), CliError> {
        let path = match path {
            Some(path) => path,
            None => {
                let name = file_name(attachment.name()).unwrap_or_else(|| "attachment".into());
                let path = PathBuf::from(name);
                // Somebody else chose the name: nothing is replaced for it.
                if path.symlink_metadata().is_ok() {
                    return Err(CliError::Exists { name: path.display().to_string() });
                }
                path
            }
        };
        let length = self.session.save(attachment, &path)?;
        self.note(format!("{length} bytes are in {}.", path.display()));
        Ok(())
    }

    fn safety(&mut self, person: PersonId, name: &str, verify: bool) -> Result<(), CliError> {
        let number = self.session.client().safety_number(&person)?.to_string();
        let mut lines = pages::safety(&self.session.me().name(), name, &number);
        if verify {
            lines.push(String::new());
            lines.push(format!("Does {name} see the same digits?"));
            (self.tell)(Report::Confirm { lines, order: Order::Verify { person, number } });
        } else {
            (self.tell)(Report::Page { title: "Safety number".into(), lines });
        }
        Ok(())
    }

    fn ask_to_share(
        &mut self,
        group: GroupId,
        members: Vec<MemberId>,
        name: String,
        last: u64,
    ) -> Result<(), CliError> {
        let count = self.session.to_share(&group, last)?.len();
        if count == 0 {
            return Err(TalkError::NothingToShare.into());
        }
        let lines = vec![
            format!("Pass {count} earlier messages on to {name}?"),
            format!("{name} sees them as your word for what others wrote, with your name."),
            "They are sealed for this group: whoever is in it now could read them, with a program that shows them."
                .into(),
        ];
        let order = Order::ShareNow { group, members, name, last };
        (self.tell)(Report::Confirm { lines, order });
        Ok(())
    }

    fn devices(&mut self) -> Result<(), CliError> {
        let me = self.session.me();
        let mut lines = Vec::new();
        for device in self.own_devices()? {
            let here = if device.0 == me.id { ", this one" } else { "" };
            lines.push(format!("{}  {}{here}", device.0, device.1));
        }
        lines.extend([
            String::new(),
            "A new device: there /offer-device FILE, here /add-device FILE. A lost one: /revoke DEVICE.".into(),
        ]);
        (self.tell)(Report::Page { title: "Your devices".into(), lines });
        Ok(())
    }

    fn own_devices(&mut self) -> Result<Vec<(MemberId, String)>, CliError> {
        let devices = self.session.own_devices()?;
        let row = |device: cc_client::Person| (device.id, device.device.unwrap_or_default());
        Ok(devices.into_iter().map(row).collect())
    }

    fn ask_to_revoke(&mut self, which: &str) -> Result<(), CliError> {
        let me = self.session.me().id;
        let mut found: Vec<_> = self.own_devices()?;
        found.retain(|(id, name)| {
            *id != me && (id.to_string().starts_with(which) || name.starts_with(which))
        });
        match &found[..] {
            [(id, name)] => {
                let lines = vec![
                    format!("Put the device {name} {id} out of all groups, for ever?"),
                    "Everybody in your groups is told that it is no longer yours.".into(),
                ];
                (self.tell)(Report::Confirm { lines, order: Order::RevokeNow(*id) });
                Ok(())
            }
            [] => Err(TalkError::NoSuchPerson(which.to_owned()).into()),
            _ => Err(TalkError::ManyPeople(which.to_owned()).into()),
        }
    }

    fn command(&mut self, command: Command) -> Result<(), CliError> {
        let _operation: OperationId = self.session.submit(command)?;
        Ok(())
    }

    fn note(&self, text: String) {
        (self.tell)(Report::Note(text));
    }

    fn fail(&self, why: String) {
        (self.tell)(Report::Failed { why, give_back: None });
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
