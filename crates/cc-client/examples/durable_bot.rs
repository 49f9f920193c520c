//! A bot that answers every message once, whenever it is killed: `durable_bot STORE ADDRESS`. It prints its
//! mailbox, by which it can be invited.

mod socket;

use std::{error::Error, time::Duration};

use cc_client::{Client, Command, Event, EventId, Profile, Recipe, SystemTimeSource, turn};
use cc_store_sqlite::{Credential, SqliteStore};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: durable_bot STORE ADDRESS".into());
    };
    let mut service = socket::SocketService::new(address);
    let store = SqliteStore::open_or_create(&path, Credential::passphrase("a passphrase")?)?;
    let mut bot = Client::open_or_create(store, Profile::new("Bot"), Recipe::group())?;
    bot.publish_key_packages(4)?;
    println!("{}", bot.mailbox());
    let clock = SystemTimeSource::start();
    loop {
        turn(&mut bot, &mut service, clock.now())?;
        for (id, event) in bot.events(EventId(0), 100)? {
            match event {
                Event::Message { group, message, content, .. } => {
                    // Acknowledged, and answered, in one commit: under an id that the message gives.
                    let content = [b"you said: ", &content[..]].concat();
                    let answer = message.derived("answer");
                    bot.answer(id, &[], answer, Command::Send { group, content })?;
                }
                _ => bot.acknowledge(id, &[])?,
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
