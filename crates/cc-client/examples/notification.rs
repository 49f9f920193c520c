//! Decrypts what a push notification brought, as the notification extension of a telephone does: a second
//! process, which has the store while the application is closed. `notification STORE key HEX` or
//! `notification STORE passphrase TEXT`; the pushed page comes on standard input. It prints what to show,
//! and on standard error how long it took.

use std::{error::Error, io::Read as _, time::Instant};

use cc_client::{
    AppRecord, Client, Event, EventId, Input, Item, LogId, Page, Position, SystemTimeSource,
};
use cc_core::Secret;
use cc_store_sqlite::{Credential, SqliteStore};

/// The application's record of what was shown already, in the client's store.
const SHOWN: &[u8] = b"last shown";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, kind, credential] = arguments.as_slice() else {
        return Err("usage: notification STORE (key HEX | passphrase TEXT)".into());
    };
    let credential = match kind.as_str() {
        "key" => Credential::key(key(credential)?),
        _ => Credential::passphrase(credential)?,
    };
    let (log, page) = pushed()?;
    let clock = SystemTimeSource::start();

    let start = Instant::now();
    let mut client = Client::open(SqliteStore::open(path, credential)?)?;
    let opened = Instant::now();
    let ledger = client.handle(clock.now(), Input::Page { log, page })?;
    let handled = Instant::now();

    // The events stay for the application, which acknowledges them. This process notes what it showed, so
    // that a push that comes twice is shown once.
    let shown = client.record(SHOWN)?.and_then(|record| record.expose().try_into().ok());
    let shown = EventId(shown.map_or(0, u64::from_be_bytes));
    let mut last = shown;
    for (id, event) in client.events(shown, 100)? {
        if let Event::Message { from, content, .. } = event {
            println!("{}: {}", from.name(), String::from_utf8_lossy(&content));
        }
        last = id;
    }
    let value = Some(last.0.to_be_bytes().to_vec());
    client.acknowledge(EventId(0), &[AppRecord { key: SHOWN.to_vec(), value }])?;
    let noted = Instant::now();
    client.close();
    eprintln!(
        "open {:.1} ms, handle {:.1} ms, note {:.1} ms, close {:.1} ms; {:?}",
        (opened - start).as_secs_f64() * 1e3,
        (handled - opened).as_secs_f64() * 1e3,
        (noted - handled).as_secs_f64() * 1e3,
        noted.elapsed().as_secs_f64() * 1e3,
        ledger.fates,
    );
    Ok(())
}

/// An item: where it is, whether it is a commit, and its bytes.
type Pushed = (Position, bool, Vec<u8>);

/// What the push service brought: a log, and items of it.
fn pushed() -> Result<(LogId, Page), Box<dyn Error>> {
    let mut bytes = Vec::new();
    std::io::stdin().take(8 << 20).read_to_end(&mut bytes)?;
    let (log, items, head): (LogId, Vec<Pushed>, Position) = postcard::from_bytes(&bytes)?;
    let item = |(position, commit, bytes)| Item { position, commit, bytes };
    let items = items.into_iter().map(item).collect();
    Ok((log, Page { items, forgotten: Position::START, head }))
}

fn key(hex: &str) -> Result<Secret<32>, Box<dyn Error>> {
    let mut key = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err("a key has 64 hexadecimal digits".into());
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap_or_default(), 16)?;
    }
    Ok(Secret::take(&mut key))
}
