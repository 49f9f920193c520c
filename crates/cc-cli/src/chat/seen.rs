//! What the relay sees of an exchange: where, how long, when.

use cc_client::{Call, Failure, GroupId, Reply};

use super::order::Seen;
use crate::talk::session::Exchange;

/// An exchange as the relay sees it.
pub(crate) fn seen(exchange: &Exchange, at: u64) -> Seen {
    let short = |log: &GroupId| log.to_string().chars().take(8).collect::<String>();
    let (what, items) = match (&exchange.call, &exchange.result) {
        (Call::Append(append), Ok(Reply::Appended(last))) => {
            let count = u64::try_from(append.items.len()).unwrap_or(u64::MAX);
            let first = last.0.saturating_sub(count).saturating_add(1);
            let lengths = append.items.iter().map(Vec::len);
            let items: Vec<(u64, usize)> = (first..).zip(lengths).collect();
            let kind = if append.commit.is_some() { "a commit" } else { "an append" };
            let text = format!("{kind} to log {}: {}", short(&append.log), describe(&items));
            (text, Some((append.log, items)))
        }
        (Call::Append(append), result) => {
            let bytes: usize = append.items.iter().map(Vec::len).sum();
            let text = format!("an append of {bytes} bytes to log {}", short(&append.log));
            (format!("{text}: {}", outcome(result)), None)
        }
        (Call::Read(read), Ok(Reply::Page(page))) => {
            let items = page.items.iter().map(|item| (item.position.0, item.bytes.len()));
            let items: Vec<(u64, usize)> = items.collect();
            let text = format!("a read of log {} behind {}", short(&read.log), read.after.0);
            (format!("{text}: {}", describe(&items)), Some((read.log, items)))
        }
        (Call::Read(read), result) => {
            (format!("a read of log {}: {}", short(&read.log), outcome(result)), None)
        }
        (Call::Publish(publish), result) => {
            let bytes: usize = publish.packages.iter().map(|package| package.bytes.len()).sum();
            let (count, mailbox) = (publish.packages.len(), short(&publish.mailbox));
            let text = format!("{count} key packages, {bytes} bytes, of mailbox {mailbox}");
            (format!("{text}: {}", outcome(result)), None)
        }
        (Call::Claim(mailbox), result) => {
            (format!("a claim of a key package of {}: {}", short(mailbox), outcome(result)), None)
        }
    };
    Seen { at, what, items }
}

fn describe(items: &[(u64, usize)]) -> String {
    match items {
        [] => "nothing".into(),
        [(position, len)] => format!("{len} bytes at position {position}"),
        [(first, _), .., (last, _)] => {
            let bytes: usize = items.iter().map(|(_, len)| len).sum();
            format!("{} items, {bytes} bytes, at positions {first} to {last}", items.len())
        }
    }
}

const fn outcome(result: &Result<Reply, Failure>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Unknown) => "no answer",
    }
}
