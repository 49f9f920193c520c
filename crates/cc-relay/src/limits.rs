//! How much one client address, log or mailbox may use: token buckets.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cc_client::{LogId, Position};

/// Buckets of one kind that are remembered. When there are more, those that are full again are forgotten, and
/// if that is not enough, all newcomers share one.
const MAX_BUCKETS: usize = 100_000;
/// How long it takes until those that are full again are looked for anew: that costs a look at all of them.
const SWEEP: Duration = Duration::from_secs(1);

/// What a log takes from a bucket that gets a number a second, for it to be that number an hour.
const LOG_PRICE: u32 = 3600;

/// A rate with a burst. `0` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many a second.
    pub per_second: u32,
    /// So many at once, after a silence.
    pub burst: u32,
}

impl Rate {
    /// This rate, and bursts of so many seconds of it.
    #[must_use]
    pub const fn new(per_second: u32, burst_seconds: u32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(burst_seconds) }
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one client address. IPv6 addresses count by their first 64 bits.
    pub client_requests: Rate,
    /// Bytes of one client address, in requests and answers.
    pub client_bytes: Rate,
    /// Connections of one client address at the same time; `0` for no limit.
    pub client_connections: u32,
    /// Logs that one client address begins in an hour, which may be all at once: groups, attachments, mailboxes, and
    /// mailboxes that have key packages; `0` for no limit.
    pub client_logs: u32,
    /// Items appended to one group's log.
    pub log_items: Rate,
    /// Bytes appended to one group's log.
    pub log_bytes: Rate,
    /// Items appended to one mailbox, and key packages that are claimed there.
    pub mailbox_items: Rate,
}

impl Default for Limits {
    /// Enough for a busy group, and for some people behind one address with a hundred groups each.
    fn default() -> Self {
        Self {
            client_requests: Rate::new(200, 20),
            client_bytes: Rate::new(8 << 20, 16),
            client_connections: 256,
            client_logs: 1000,
            log_items: Rate::new(200, 20),
            log_bytes: Rate::new(8 << 20, 16),
            mailbox_items: Rate::new(5, 60),
        }
    }
}

/// Where a client is, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress([u8; 16]);

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => {
                let mut octets = address.octets();
                octets.iter_mut().skip(8).for_each(|octet| *octet = 0);
                Self(octets)
            }
        }
    }
}

/// All buckets.
#[derive(Debug)]
pub(crate) struct Buckets {
    limits: Limits,
    client_requests: Table<ClientAddress>,
    client_bytes: Table<ClientAddress>,
    client_logs: Table<ClientAddress>,
    log_items: Table<LogId>,
    log_bytes: Table<LogId>,
    mailbox_items: Table<LogId>,
}

impl Buckets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            client_requests: Table::new(limits.client_requests),
            client_bytes: Table::new(limits.client_bytes),
            client_logs: Table::new(Rate::new(limits.client_logs, LOG_PRICE)),
            log_items: Table::new(limits.log_items),
            log_bytes: Table::new(limits.log_bytes),
            mailbox_items: Table::new(limits.mailbox_items),
            limits,
        }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A request with a body of this length; `Err` has how long to wait.
    pub(crate) fn request(&self, client: ClientAddress, length: usize) -> Result<(), Duration> {
        let now = Instant::now();
        self.client_requests.take(client, 1, now)?;
        self.client_bytes.take(client, length, now)
    }

    /// An answer of this length has gone out, and counts for what comes next.
    pub(crate) fn answered(&self, client: ClientAddress, length: usize) {
        self.client_bytes.charge(client, length, Instant::now());
    }

    /// Whether a client may begin a log now. Nothing is taken before it has.
    pub(crate) fn may_begin_log(&self, client: ClientAddress) -> Result<(), Duration> {
        self.client_logs.check(client, LOG_PRICE as usize, Instant::now())
    }

    /// A client has begun a log.
    pub(crate) fn log_begun(&self, client: ClientAddress) {
        self.client_logs.charge(client, LOG_PRICE as usize, Instant::now());
    }

    /// Whether so much may be appended to a group's log now. Nothing is taken: who has no right to append
    /// would take it from those who have.
    pub(crate) fn append(&self, log: LogId, items: usize, length: usize) -> Result<(), Duration> {
        let now = Instant::now();
        self.log_items.check(log, items, now)?;
        self.log_bytes.check(log, length, now)
    }

    /// So much was appended to a group's log, up to this position. A request that comes again, also from
    /// somebody who was removed since, has the position of the first time and takes nothing.
    pub(crate) fn appended(&self, log: LogId, position: Position, items: usize, length: usize) {
        let now = Instant::now();
        self.log_items.charge_once(log, position, items, now);
        self.log_bytes.charge_once(log, position, length, now);
    }

    pub(crate) fn mailbox(&self, mailbox: LogId, items: usize) -> Result<(), Duration> {
        self.mailbox_items.take(mailbox, items, Instant::now())
    }
}

#[derive(Debug)]
struct Table<K> {
    rate: Rate,
    buckets: Mutex<Kept<K>>,
}

#[derive(Debug)]
struct Kept<K> {
    buckets: HashMap<Option<K>, Bucket>,
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What may be taken; negative after a charge.
    level: f64,
    at: Instant,
    /// What was charged for last.
    position: Position,
}

impl<K: Eq + Hash + Copy> Table<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(Kept { buckets: HashMap::new(), swept: None }) }
    }

    /// Takes so much. What is larger than the burst is taken from a full bucket, or else could never go.
    fn take(&self, key: K, amount: usize, now: Instant) -> Result<(), Duration> {
        let amount = as_f64(amount);
        self.with(key, now, |bucket, rate| {
            bucket.has(amount, rate)?;
            bucket.level -= amount;
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// Whether [`take`](Self::take) would take so much.
    fn check(&self, key: K, amount: usize, now: Instant) -> Result<(), Duration> {
        self.with(key, now, |bucket, rate| bucket.has(as_f64(amount), rate)).unwrap_or(Ok(()))
    }

    fn charge(&self, key: K, amount: usize, now: Instant) {
        let _unlimited = self.with(key, now, |bucket, _| bucket.level -= as_f64(amount));
    }

    /// Charges for what is behind all that was charged for before.
    fn charge_once(&self, key: K, position: Position, amount: usize, now: Instant) {
        let _unlimited = self.with(key, now, |bucket, _| {
            if position > bucket.position {
                bucket.position = position;
                bucket.level -= as_f64(amount);
            }
        });
    }

    /// `None` where there is no limit.
    fn with<T>(&self, key: K, now: Instant, act: impl FnOnce(&mut Bucket, Rate) -> T) -> Option<T> {
        let rate = self.rate;
        if rate.per_second == 0 {
            return None;
        }
        let mut kept = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { buckets, swept } = &mut *kept;
        let mut key = Some(key);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            if swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
                buckets.retain(|_, bucket| {
                    bucket.fill(rate, now);
                    bucket.level < f64::from(rate.burst)
                });
                *swept = Some(now);
            }
            if buckets.len() >= MAX_BUCKETS {
                key = None;
            }
        }
        let full = Bucket { level: f64::from(rate.burst), at: now, position: Position::START };
        let bucket = buckets.entry(key).or_insert(full);
        bucket.fill(rate, now);
        Some(act(bucket, rate))
    }
}

impl Bucket {
    fn has(&self, amount: f64, rate: Rate) -> Result<(), Duration> {
        let wanted = amount.min(f64::from(rate.burst));
        if self.level >= wanted {
            return Ok(());
        }
        let seconds = (wanted - self.level) / f64::from(rate.per_second);
        Err(Duration::from_secs_f64(seconds.clamp(0.05, 3600.0)))
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let level = self.level + passed * f64::from(rate.per_second);
        (self.level, self.at) = (level.min(f64::from(rate.burst)), now.max(self.at));
    }
}

fn as_f64(amount: usize) -> f64 {
    f64::from(u32::try_from(amount).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let table = Table::new(Rate { per_second: 10, burst: 20 });
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(table.take(1, 1, start), Ok(()));
        }
        let wait = table.take(1, 1, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(table.take(2, 1, start), Ok(()), "another key has a bucket of its own");
        assert_eq!(table.take(1, 1, start + wait), Ok(()));
        table.charge(1, 30, start + wait);
        let wait = table.take(1, 1, start + wait).unwrap_err();
        assert!(wait > Duration::from_secs(3), "{wait:?}");
    }

    #[test]
    fn what_is_larger_than_the_burst_goes_from_a_full_bucket() {
        let table = Table::new(Rate { per_second: 10, burst: 20 });
        let start = Instant::now();
        assert_eq!(table.take(1, 50, start), Ok(()));
        assert!(table.take(1, 1, start + Duration::from_secs(3)).is_err());
        assert_eq!(table.take(1, 1, start + Duration::from_secs(4)), Ok(()));
    }

    #[test]
    fn any_number_of_keys_has_a_bounded_table() {
        let table = Table::new(Rate { per_second: 1, burst: 1 });
        let start = Instant::now();
        for key in 0..2 * MAX_BUCKETS {
            let _limited = table.take(key, 1, start);
        }
        assert_eq!(table.buckets.lock().unwrap().buckets.len(), MAX_BUCKETS + 1);
        // Those that are full again make room.
        assert_eq!(table.take(2 * MAX_BUCKETS, 1, start + SWEEP), Ok(()));
        assert_eq!(table.buckets.lock().unwrap().buckets.len(), 1);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let address = |text: &str| ClientAddress::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
    }
}
