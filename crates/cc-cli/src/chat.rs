//! `cascade chat`: the conversation in a terminal. The screen, the keys and the session have a thread each, so that
//! nobody waits for the network.

mod app;
mod conversation;
mod input;
mod order;
mod pages;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod picture;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod sample;
mod seen;
mod ui;
mod worker;

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use cc_relay::RelayUrl;
use clap::Args;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableBracketedPaste, EnableBracketedPaste, Event},
        execute,
    },
};

use self::{
    app::App,
    order::Report,
    worker::{Worker, wall},
};
use crate::{
    error::CliError,
    files::signals::ScreenGuard,
    talk::{
        commands::init::ask,
        error::TalkError,
        profile::{NewProfile, ProfileArguments, default_recipe},
        session::Session,
    },
};

/// Talk with people in groups, in this terminal.
///
/// The first start asks for your name and the address of a relay, and makes a profile; its key lies in a file beside
/// it that only you can read. For one under a passphrase, make it with `cascade init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade chat
  cascade chat --profile alice --name Alice --relay http://127.0.0.1:4480

/help, in the program, shows what can be typed. It may be ended, or killed, at any time: what was typed is kept, and is
sent at the next start.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    profile: ProfileArguments,
    /// At the first start: what others see.
    #[arg(long)]
    name: Option<String>,
    /// At the first start: the address of the relay.
    #[arg(long, env = "CASCADE_RELAY", value_name = "URL")]
    relay: Option<String>,
}

/// How long another process may still have the profile, as one that is just being ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(250);

/// What the loop is woken by.
enum Happening {
    Terminal(Event),
    Report(Box<Report>),
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TalkError::NoTerminal.into());
    }
    let session = open(arguments)?;
    let _guard = ScreenGuard::new(restore).map_err(TalkError::Terminal)?;
    let terminal = ratatui::try_init().map_err(TalkError::Terminal)?;
    // A terminal without it pastes as if it were typed.
    let _ = execute!(io::stdout(), EnableBracketedPaste);
    let result = show(terminal, session);
    restore();
    result
}

/// Gives the terminal back as it was.
fn restore() {
    let _ = execute!(io::stdout(), DisableBracketedPaste);
    ratatui::restore();
}

fn open(arguments: &Arguments) -> Result<Session, CliError> {
    let profile = &arguments.profile;
    if profile.exists()? {
        return Session::open(profile, PATIENCE);
    }
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => ask("Your name, as others see it", TalkError::NoName)?,
    };
    let relay = match &arguments.relay {
        Some(relay) => relay.clone(),
        None => ask("The relay (https://HOST)", TalkError::NoRelay)?,
    };
    let relay: RelayUrl = relay.trim().parse().map_err(|_| TalkError::Relay(relay))?;
    let new = NewProfile {
        name,
        device: String::new(),
        relay,
        without_passphrase: profile.passphrase_file.is_none(),
        recipe: default_recipe(),
    };
    Session::create(profile, &new)
}

/// The loop: what happens goes into the state, the state onto the screen, what it wants to the session.
fn show(mut terminal: DefaultTerminal, session: Session) -> Result<(), CliError> {
    let waker = session.waker();
    let (orders, order_receiver) = channel();
    let (happenings, happening_receiver) = channel();
    let reports = happenings.clone();
    let worker = thread::spawn(move || {
        let over = Over(reports.clone());
        let tell = move |report| {
            // A screen that is gone has nobody to tell.
            let _ = reports.send(Happening::Report(Box::new(report)));
        };
        Worker::new(session, order_receiver, tell).run();
        drop(over);
    });
    // It ends with the process: reading a key cannot be ended from here.
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if happenings.send(Happening::Terminal(event)).is_err() {
                return;
            }
        }
    });
    let mut app = App::new(wall());
    let mut draw = true;
    while app.ended.is_none() && !app.hurry {
        if draw {
            terminal.draw(|frame| ui::draw(frame, &mut app)).map_err(TalkError::Terminal)?;
        }
        draw = match happening_receiver.recv_timeout(TICK) {
            Ok(first) => {
                // All that is there goes into one drawing.
                for happening in core::iter::once(first).chain(happening_receiver.try_iter()) {
                    take(&mut app, happening);
                }
                app.tick(wall());
                true
            }
            Err(RecvTimeoutError::Timeout) => app.tick(wall()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut asked = false;
        for order in app.take_orders() {
            asked = true;
            // A session that is over says so.
            let _ = orders.send(order);
        }
        if asked {
            waker.wake();
        }
    }
    drop(orders);
    waker.wake();
    if !app.hurry {
        // The store is closed when the thread has ended.
        let _ = worker.join();
    }
    match app.ended {
        Some(Some(why)) => Err(TalkError::SessionEnded(why).into()),
        _ => Ok(()),
    }
}

fn take(app: &mut App, happening: Happening) {
    match happening {
        Happening::Terminal(Event::Key(key)) => app.key(key),
        Happening::Terminal(Event::Paste(text)) => app.paste(&text),
        Happening::Terminal(_) => {}
        Happening::Report(report) => app.report(*report),
    }
}

/// Says that the session is over, also where its thread panicked.
struct Over(Sender<Happening>);

impl Drop for Over {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = "the program has a fault".to_owned();
            let _ = self.0.send(Happening::Report(Box::new(Report::Ended(Some(why)))));
        }
    }
}
