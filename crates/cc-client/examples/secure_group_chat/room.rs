//! The people, the delivery service between them, and what is printed.

use std::{
    error::Error,
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use cc_client::Recipe;
use cc_manager::{CascadingCipherManager, Change, Incoming, IncomingWelcome};

/// Everyone who was ever in the group.
pub(crate) struct Room {
    /// Everybody's stack.
    recipe: Recipe,
    /// In the group, in the order in which they came.
    members: Vec<Person>,
    /// Removed.
    gone: Vec<Person>,
    /// To join with the next change.
    invited: Vec<Person>,
    /// The last message, for newcomers to try.
    last: Option<Vec<u8>>,
}

struct Person {
    name: String,
    stack: CascadingCipherManager,
}

/// Why a line cannot be played.
#[derive(Debug)]
pub(crate) enum Problem {
    NotAMember(String),
    AlreadyAMember(String),
    NoGroup,
    LastMember(String),
    /// A layer failed, which no line should be able to cause.
    Cascade(Box<dyn Error>),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMember(name) => write!(f, "{name} is not in the group"),
            Self::AlreadyAMember(name) => write!(f, "{name} is in the group already"),
            Self::NoGroup => f.write_str("there is no group yet: the first to speak founds it"),
            Self::LastMember(name) => {
                write!(f, "{name} is the only member, and nobody could remove them")
            }
            Self::Cascade(error) => write!(f, "the cascade failed: {error}"),
        }
    }
}

impl<E: Error + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Cascade(Box::new(error))
    }
}

impl Person {
    fn new(name: &str, recipe: &Recipe, founds: Option<&str>) -> Result<Self, Problem> {
        let layers = recipe.layers(name, founds)?;
        let stack = CascadingCipherManager::builder().layers(layers).build()?;
        Ok(Self { name: name.to_owned(), stack })
    }
}

impl Room {
    /// Nobody yet.
    pub(crate) fn new(recipe: Recipe) -> Self {
        let (members, gone, invited) = (Vec::new(), Vec::new(), Vec::new());
        Self { recipe, members, gone, invited, last: None }
    }

    /// `name` says `text`, and everyone who ever was in the group tries to read it.
    pub(crate) fn say(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        if self.members.is_empty() {
            let founder = Person::new(name, &self.recipe, Some("Dev Team"))?;
            print(format_args!("* {name} founds the group\n\n{}", founder.stack.stack_report()))?;
            self.members.push(founder);
        }
        let at = self.position(name)?;
        let speaker = self.by(at)?;
        let wire = speaker.encrypt(text)?;
        let epoch = speaker.epoch().unwrap_or_default();
        let shares = shares(speaker);
        let members = self.members.len();
        let (mut readers, mut others) = (Vec::new(), Vec::new());
        let everyone = self.members.iter_mut().chain(&mut self.gone).enumerate();
        for (i, person) in everyone.filter(|(i, _)| *i != at) {
            match person.stack.receive(&wire)? {
                Incoming::Message(message) if message == *text => readers.push(person.name.clone()),
                Incoming::Early { .. } | Incoming::Stale { .. } if i >= members => {
                    others.push(format!("{} (removed)", person.name));
                }
                other => return Err(unexpected(&other)),
            }
        }
        print(format_args!(
            "\n{name}: {text}\n    epoch {epoch} | read by {} | not by {} | {} bytes on the wire\n    {shares}\n",
            list(&readers),
            list(&others),
            wire.len(),
        ))?;
        self.last = Some(wire);
        Ok(())
    }

    /// `name` is to join with the next change.
    pub(crate) fn invite(&mut self, name: &str) -> Result<(), Problem> {
        if self.members.is_empty() {
            return Err(Problem::NoGroup);
        }
        if self.members.iter().chain(&self.invited).any(|person| person.name == name) {
            return Err(Problem::AlreadyAMember(name.to_owned()));
        }
        self.invited.push(Person::new(name, &self.recipe, None)?);
        Ok(())
    }

    /// Everyone who was invited joins, in one change of the first member's.
    pub(crate) fn let_in(&mut self) -> Result<(), Problem> {
        let mut joiners = std::mem::take(&mut self.invited);
        if joiners.is_empty() {
            return Ok(());
        }
        let bundles = joiners
            .iter_mut()
            .map(|person| person.stack.key_package())
            .collect::<Result<Vec<_>, _>>()?;
        let change = self.by(0)?.add_members(bundles)?;
        let welcome = self.deliver(&change)?.ok_or(Problem::NoGroup)?;
        let mut read_before = Vec::new();
        for person in &mut joiners {
            match person.stack.receive_welcome(&welcome)? {
                IncomingWelcome::Joined(_) => {}
                other => return Err(unexpected(&other)),
            }
            let Some(wire) = &self.last else { continue };
            if let Incoming::Message(_) = person.stack.receive(wire)? {
                read_before.push(person.name.clone());
            }
        }
        let names: Vec<_> = joiners.iter().map(|person| person.name.clone()).collect();
        print(format_args!(
            "\n+ {} joined{} | epoch {} | commit {} bytes, welcome {} bytes | the message before is read by {}\n",
            list(&names),
            by(&self.members, 0),
            self.by(0)?.epoch().unwrap_or_default(),
            change.commit.len(),
            welcome.len(),
            list(&read_before),
        ))?;
        // Somebody who comes back is somebody new: their old stack goes on being refused.
        self.members.extend(joiners);
        Ok(())
    }

    /// `name` is removed by the first other member.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Problem> {
        let at = self.position(name)?;
        let who = usize::from(at == 0);
        if who >= self.members.len() {
            return Err(Problem::LastMember(name.to_owned()));
        }
        let id = self.members.get(at).and_then(|person| person.stack.member_id());
        let change = self.by(who)?.remove_members(id)?;
        self.deliver(&change)?;
        let epoch = self.by(who)?.epoch().unwrap_or_default();
        print(format_args!(
            "\n- {name} was removed{} | epoch {epoch} | commit {} bytes\n",
            by(&self.members, who),
            change.commit.len(),
        ))?;
        let person = self.members.remove(at);
        self.gone.push(person);
        Ok(())
    }

    /// `name` replaces their own keys.
    pub(crate) fn update(&mut self, name: &str) -> Result<(), Problem> {
        let who = self.position(name)?;
        let change = self.by(who)?.update()?;
        self.deliver(&change)?;
        let epoch = self.by(who)?.epoch().unwrap_or_default();
        print(format_args!(
            "\n~ {name} has new keys | epoch {epoch} | commit {} bytes\n",
            change.commit.len(),
        ))
    }

    /// The delivery service gives the commit to all members, the one who made it included, and each does
    /// what the answer asks for. Gives the welcome for the new members.
    fn deliver(&mut self, change: &Change) -> Result<Option<Vec<u8>>, Problem> {
        let mut welcome = None;
        for person in &mut self.members {
            match person.stack.receive(&change.commit)? {
                Incoming::Own { change: Some(accepted) } => {
                    welcome = person.stack.confirm(accepted)?.welcome;
                }
                Incoming::Commit(_) => {}
                other => return Err(unexpected(&other)),
            }
        }
        Ok(welcome)
    }

    fn position(&self, name: &str) -> Result<usize, Problem> {
        self.members
            .iter()
            .position(|person| person.name == name)
            .ok_or_else(|| Problem::NotAMember(name.to_owned()))
    }

    fn by(&mut self, who: usize) -> Result<&mut CascadingCipherManager, Problem> {
        self.members.get_mut(who).map(|person| &mut person.stack).ok_or(Problem::NoGroup)
    }
}

fn unexpected(incoming: &dyn fmt::Debug) -> Problem {
    Problem::Cascade(format!("{incoming:?}").into())
}

/// Each layer's share of the bytes and the time, bottom first.
fn shares(stack: &CascadingCipherManager) -> String {
    let shares: Vec<_> = stack
        .last_report()
        .iter()
        .map(|layer| {
            format!(
                "{} +{} B, {} us",
                layer.name,
                layer.bytes_out - layer.bytes_in.min(layer.bytes_out),
                layer.elapsed.unwrap_or(Duration::ZERO).as_micros(),
            )
        })
        .collect();
    shares.join(" | ")
}

fn by(members: &[Person], who: usize) -> String {
    members.get(who).map(|person| format!(" by {}", person.name)).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn print(text: fmt::Arguments<'_>) -> Result<(), Problem> {
    Ok(io::stdout().lock().write_fmt(text)?)
}
