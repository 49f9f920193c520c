//! The driver for tokio: cancelled anywhere, over a service that is slow and loses answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cc_client::{
    Append, AsyncDeliveryService, Client, Driver, Event, Failure, GroupId, LogId, MemoryService,
    Page, Position, Profile, Publish, Read, Recipe, RequestId,
};
use cc_core::store::MemoryStore;
use tokio::time::{Instant, sleep, timeout};

/// Takes its time, before and after, and loses answers now and then.
struct Slow {
    inner: MemoryService,
    calls: AtomicU64,
}

impl Slow {
    fn new(inner: MemoryService) -> Self {
        Self { inner, calls: AtomicU64::new(0) }
    }

    async fn travel(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(call * 37 % 90)).await;
    }

    async fn answer<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        self.travel().await;
        if self.calls.load(Ordering::Relaxed).is_multiple_of(11) {
            Err(Failure::Unknown)
        } else {
            answer
        }
    }
}

impl AsyncDeliveryService for Slow {
    async fn append(&self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        self.travel().await;
        let answer = self.inner.append(id, append).await;
        self.answer(answer).await
    }

    async fn read(&self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        self.travel().await;
        let answer = self.inner.read(id, read).await;
        self.answer(answer).await
    }

    async fn publish(&self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        self.travel().await;
        let answer = self.inner.publish(id, publish).await;
        self.answer(answer).await
    }

    async fn claim(&self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        self.travel().await;
        let answer = self.inner.claim(id, mailbox).await;
        self.answer(answer).await
    }
}

fn person(name: &str, service: &MemoryService) -> Driver<Slow> {
    let client = Client::create(MemoryStore::new(), Profile::new(name), Recipe::group()).unwrap();
    Driver::new(client, Slow::new(service.clone()))
}

/// Asks for the next event in pieces of a few milliseconds, each of which is dropped.
async fn next_in_pieces(driver: &mut Driver<Slow>) -> Event {
    let mut piece = 1;
    loop {
        piece = piece * 5 % 23;
        if let Ok(event) = timeout(Duration::from_millis(piece), driver.next()).await {
            let (id, event) = event.unwrap();
            driver.client().acknowledge(id, &[]).unwrap();
            return event;
        }
    }
}

async fn two(service: &MemoryService) -> (Driver<Slow>, Driver<Slow>, GroupId) {
    let (mut alice, mut bob) = (person("Alice", service), person("Bob", service));
    let group = alice.client().found("Two").unwrap();
    let now = bob.now();
    let package = bob.client().key_packages(now, 1).unwrap().remove(0);
    alice.client().invite(group, package).unwrap();
    // Until the welcome is in Bob's mailbox too.
    let mut joined = false;
    while let Ok(event) = timeout(Duration::from_secs(30), next_in_pieces(&mut alice)).await {
        joined |= matches!(event, Event::Joined { .. });
    }
    assert!(joined);
    let bob = tokio::spawn(async move {
        while !matches!(next_in_pieces(&mut bob).await, Event::Entered { .. }) {}
        bob
    });
    (alice, bob.await.unwrap(), group)
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_loses_nothing() {
    let service = MemoryService::new();
    let (mut alice, mut bob, group) = two(&service).await;
    let mut sent = BTreeSet::new();
    for at in 0..40 {
        let text = format!("message {at}");
        alice.client().send(group, &text).unwrap();
        sent.insert(text);
    }
    // Alice is cut short all the time, in a task of her own.
    let task = tokio::spawn(async move {
        let mut settled = 0;
        while settled < 40 {
            if let Event::Settled { .. } = next_in_pieces(&mut alice).await {
                settled += 1;
            }
        }
        // Until nothing is under way.
        let _idle = timeout(Duration::from_secs(10), alice.next()).await;
        alice
    });
    let mut read = Vec::new();
    while read.len() < 40 {
        if let Event::Message { content, .. } = next_in_pieces(&mut bob).await {
            read.push(String::from_utf8(content).unwrap());
        }
    }
    task.await.unwrap();
    let nothing_more = timeout(Duration::from_secs(60), bob.next()).await;
    assert!(nothing_more.is_err(), "{nothing_more:?}");
    assert_eq!(read.iter().cloned().collect::<BTreeSet<_>>(), sent, "nothing lost");
    assert_eq!(read.len(), 40, "nothing doubled");
    let beside = ["the commit", "the title", "who Bob is"].len();
    assert_eq!(service.log(&group).len(), beside + 40, "each message once");
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_looked_after_at_once() {
    let service = MemoryService::new();
    let client = |name| Client::create(MemoryStore::new(), Profile::new(name), Recipe::group());
    let mut alice = Driver::<MemoryService>::new(client("Alice").unwrap(), service.clone());
    let mut bob = Driver::<MemoryService>::new(client("Bob").unwrap(), service.clone());
    let group = alice.client().found("Two").unwrap();
    let now = bob.now();
    let package = bob.client().key_packages(now, 1).unwrap().remove(0);
    alice.client().invite(group, package).unwrap();
    for driver in [&mut alice, &mut bob] {
        while let Ok(event) = timeout(Duration::from_secs(5), driver.next()).await {
            let (id, _) = event.unwrap();
            driver.client().acknowledge(id, &[]).unwrap();
        }
    }
    let notifier = bob.notifier();
    let waiting = tokio::spawn(async move {
        let (_, event) = bob.next().await.unwrap();
        (event, Instant::now(), bob)
    });
    // Bob has just looked, and looks again in a second by himself.
    sleep(Duration::from_millis(1)).await;
    alice.client().send(group, "now").unwrap();
    let (id, _) = alice.next().await.unwrap();
    alice.client().acknowledge(id, &[]).unwrap();
    let told = Instant::now();
    notifier.notify(group);
    let (event, at, bob) = waiting.await.unwrap();
    assert!(matches!(event, Event::Message { .. }), "{event:?}");
    assert!(at - told < Duration::from_millis(5), "{:?}", at - told);
    // The client goes on elsewhere.
    let client = bob.into_client();
    assert_eq!(client.groups().count(), 1);
    notifier.notify(group);
}
