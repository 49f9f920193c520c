//! The program `cascade`: files that open only with the right keys, and conversations over a relay.

mod chat;
mod demo;
mod error;
mod files;
mod shell;
mod talk;
mod untrusted_text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    error::CliError,
    talk::commands::{
        device, groups, init, join, me, members, messages, receive, relay, share, transfer, tree,
    },
    untrusted_text::printable,
};

/// Layered end-to-end encryption.
#[derive(Debug, Parser)]
#[command(name = "cascade", version, about, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Chat(chat::Arguments),
    Encrypt(files::encrypt::Arguments),
    Decrypt(files::decrypt::Arguments),
    Keygen(files::keygen::Arguments),
    Fingerprint(files::fingerprint::Arguments),
    Inspect(files::inspect::Arguments),
    Init(init::Arguments),
    Me(me::Me),
    Rename(me::Rename),
    Link(me::Link),
    Groups(groups::Groups),
    Found(groups::Found),
    Invite(groups::Invite),
    Join(join::Join),
    Requests(join::Requests),
    Accept(join::Accept),
    Decline(join::Decline),
    Withdraw(join::Withdraw),
    Members(members::Members),
    Verify(members::Verify),
    Remove(members::Remove),
    Leave(groups::Leave),
    Send(messages::Send),
    Receive(receive::Arguments),
    History(messages::History),
    Save(messages::Save),
    Share(share::Arguments),
    Report(messages::Report),
    Tree(tree::Arguments),
    Device(device::Arguments),
    Export(transfer::Export),
    Restore(transfer::Restore),
    Relay(relay::Arguments),
    Demo(demo::Arguments),
    Completions(shell::Completions),
    Man(shell::Man),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Encrypt(arguments) => files::encrypt::run(&arguments),
        Command::Decrypt(arguments) => files::decrypt::run(&arguments),
        Command::Keygen(arguments) => files::keygen::run(&arguments),
        Command::Fingerprint(arguments) => files::fingerprint::run(&arguments),
        Command::Inspect(arguments) => files::inspect::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Me(arguments) => me::me(&arguments),
        Command::Rename(arguments) => me::rename(&arguments),
        Command::Link(arguments) => me::link(&arguments),
        Command::Groups(arguments) => groups::groups(&arguments),
        Command::Found(arguments) => groups::found(&arguments),
        Command::Invite(arguments) => groups::invite(&arguments),
        Command::Join(arguments) => join::join(&arguments),
        Command::Requests(arguments) => join::requests(&arguments),
        Command::Accept(arguments) => join::accept(&arguments),
        Command::Decline(arguments) => join::decline(&arguments),
        Command::Withdraw(arguments) => join::withdraw(&arguments),
        Command::Members(arguments) => members::members(&arguments),
        Command::Verify(arguments) => members::verify(&arguments),
        Command::Remove(arguments) => members::remove(&arguments),
        Command::Leave(arguments) => groups::leave(&arguments),
        Command::Send(arguments) => messages::send(&arguments),
        Command::Receive(arguments) => receive::run(&arguments),
        Command::History(arguments) => messages::history(&arguments),
        Command::Save(arguments) => messages::save(&arguments),
        Command::Share(arguments) => share::run(&arguments),
        Command::Report(arguments) => messages::report(&arguments),
        Command::Tree(arguments) => tree::run(&arguments),
        Command::Device(arguments) => device::run(&arguments),
        Command::Export(arguments) => transfer::export(&arguments),
        Command::Restore(arguments) => transfer::restore(&arguments),
        Command::Relay(arguments) => relay::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Says what went wrong and what to do next, on standard error.
fn report(error: &CliError) -> ExitCode {
    // Where standard error is closed, there is nobody to tell.
    let _ = {
        use std::io::Write as _;
        let mut stderr = std::io::stderr().lock();
        // In an error there may be a name that somebody else chose, of a file for example.
        writeln!(stderr, "cascade: {}", printable(&error.to_string())).and_then(|()| {
            match error.advice() {
                Some(advice) => writeln!(stderr, "  {advice}"),
                None => Ok(()),
            }
        })
    };
    ExitCode::from(error.exit_code())
}

const AFTER_HELP: &str = "\
Examples:
  cascade keygen -o key.txt
  tar c photos | cascade encrypt -r cascade1... -o photos.tar.cascade
  cascade decrypt -i key.txt photos.tar.cascade | tar x
  cascade encrypt -p -o secret.cascade secret.txt
  cascade init --name Alice --relay https://relay.example
  cascade found Friends && cascade invite Friends 'cascade:https://relay.example#...'
  cascade link Friends                  (others: cascade join LINK; you: cascade accept NAME)
  cascade device offer new.offer        (on a second device; on the first: cascade device add new.offer)
  cascade export alice.export           (and cascade restore alice.export, on the next one)
  echo 'Hello!' | cascade send Friends -
  cascade receive --follow --json

Exit status:
  0  done
  1  a file cannot be read or written, or this machine lacks something
  2  wrong arguments
  3  the input is not genuine: damaged, changed, cut, or no cascade file
  4  the keys that were given do not open the input
  5  the input needs a newer version of this program
  6  the relay did not answer in time; what waits is kept, and goes with the next command
  7  it was refused: no such group, person or message, not a member, keys that have changed
  130  interrupted";
