//! Counts for whoever runs the relay, as Prometheus reads them. No address and no log is in them.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cc_client::{Call, Failure, Refusal, Reply};

use crate::storage::Usage;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 8] = [500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];
const CALLS: [&str; 4] = ["append", "read", "publish", "claim"];
const OUTCOMES: [&str; 7] = ["done", "conflict", "denied", "gone", "too_large", "busy", "failed"];

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    calls: [[AtomicU64; OUTCOMES.len()]; CALLS.len()],
    times: [AtomicU64; BOUNDS.len() + 1],
    time_sum: AtomicU64,
    items_in: AtomicU64,
    bytes_in: AtomicU64,
    items_out: AtomicU64,
    bytes_out: AtomicU64,
    /// Requests that were refused before they were read.
    pub(crate) malformed: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) followers: AtomicU64,
    pub(crate) dropped_followers: AtomicU64,
}

/// Counts one more as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn up(count: &'a AtomicU64) -> Self {
        add(count, 1);
        Self(count)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn add(count: &AtomicU64, amount: usize) {
    count.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

pub(crate) const fn call_name(call: &Call) -> &'static str {
    match call {
        Call::Append(_) => "append",
        Call::Read(_) => "read",
        Call::Publish(_) => "publish",
        Call::Claim(_) => "claim",
    }
}

pub(crate) const fn outcome_name(result: &Result<Reply, Failure>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Failure::Refused(Refusal::Conflict { .. })) => "conflict",
        Err(Failure::Refused(Refusal::Denied)) => "denied",
        Err(Failure::Refused(Refusal::Gone)) => "gone",
        Err(Failure::Refused(Refusal::TooLarge)) => "too_large",
        Err(Failure::Refused(Refusal::Busy { .. })) => "busy",
        Err(_) => "failed",
    }
}

impl Metrics {
    pub(crate) fn answered(&self, call: &Call, result: &Result<Reply, Failure>, time: Duration) {
        let row = CALLS.iter().position(|name| *name == call_name(call));
        let column = OUTCOMES.iter().position(|name| *name == outcome_name(result));
        if let (Some(row), Some(column)) = (row, column)
            && let Some(count) = self.calls.get(row).and_then(|row| row.get(column))
        {
            add(count, 1);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.times.get(bucket) {
            add(bucket, 1);
        }
        self.time_sum.fetch_add(micros, Ordering::Relaxed);
        match (call, result) {
            (Call::Append(append), Ok(_)) => {
                add(&self.items_in, append.items.len());
                add(&self.bytes_in, append.items.iter().map(Vec::len).sum());
            }
            (Call::Read(_), Ok(Reply::Page(page))) => {
                add(&self.items_out, page.items.len());
                add(&self.bytes_out, page.items.iter().map(|item| item.bytes.len()).sum());
            }
            _ => {}
        }
    }

    /// The text format, version 0.0.4.
    pub(crate) fn text(&self, followed_logs: usize, usage: Usage) -> String {
        let mut text = String::new();
        head(&mut text, "relay_requests_total", "counter", "Requests, by call and outcome.");
        for (call, row) in CALLS.iter().zip(&self.calls) {
            for (outcome, count) in OUTCOMES.iter().zip(row) {
                let labels = format!("{{call=\"{call}\",outcome=\"{outcome}\"}}");
                line(&mut text, "relay_requests_total", &labels, get(count));
            }
        }
        let name = "relay_request_seconds";
        head(&mut text, name, "histogram", "Time from a request's last byte to its answer.");
        let mut total = 0;
        for (at, count) in self.times.iter().enumerate() {
            total += get(count);
            let bound = BOUNDS.get(at).map_or("+Inf".into(), |bound| seconds(*bound));
            line(&mut text, &format!("{name}_bucket"), &format!("{{le=\"{bound}\"}}"), total);
        }
        let _always = writeln!(text, "{name}_sum {}", seconds(get(&self.time_sum)));
        line(&mut text, &format!("{name}_count"), "", total);
        for (name, kind, help, value) in [
            ("relay_items_in_total", "counter", "Items appended.", get(&self.items_in)),
            ("relay_bytes_in_total", "counter", "Bytes of items appended.", get(&self.bytes_in)),
            ("relay_items_out_total", "counter", "Items read.", get(&self.items_out)),
            ("relay_bytes_out_total", "counter", "Bytes of items read.", get(&self.bytes_out)),
            (
                "relay_malformed_total",
                "counter",
                "Bodies that were no request.",
                get(&self.malformed),
            ),
            ("relay_limited_total", "counter", "Requests over a limit.", get(&self.limited)),
            (
                "relay_timeouts_total",
                "counter",
                "Bodies that came too slowly.",
                get(&self.timed_out),
            ),
            ("relay_connections", "gauge", "Open connections.", get(&self.connections)),
            ("relay_followers", "gauge", "Open WebSockets.", get(&self.followers)),
            (
                "relay_followers_dropped_total",
                "counter",
                "WebSockets that were closed because their client did not read.",
                get(&self.dropped_followers),
            ),
            (
                "relay_followed_logs",
                "gauge",
                "Logs that somebody follows.",
                u64::try_from(followed_logs).unwrap_or(u64::MAX),
            ),
            ("relay_storage_bytes", "gauge", "Bytes that the storage takes.", usage.bytes),
            ("relay_storage_limit_bytes", "gauge", "Bytes that it may take.", usage.limit),
            (
                "relay_storage_refused_total",
                "counter",
                "Requests that were refused for want of room.",
                usage.refused,
            ),
            (
                "relay_storage_forgotten_total",
                "counter",
                "Items that were forgotten so that groups had room.",
                usage.forgotten,
            ),
        ] {
            head(&mut text, name, kind, help);
            line(&mut text, name, "", value);
        }
        text
    }
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _always = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _always = writeln!(text, "{name}{labels} {value}");
}
