//! How fast it is.

use std::{sync::Arc, time::Instant};

use cc_client::{AccessToken, LogId};
use cc_relay::{
    HttpService, ServerOptions,
    storage::{Retention, SqliteStorage},
};

use crate::common::{self, append, page, read, start, token};

/// How fast it is: `cargo test -p cc-relay --test all -- --ignored --nocapture throughput`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    const CLIENTS: usize = 32;
    const EACH: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let storage = SqliteStorage::open(&path, Retention::default()).unwrap();
    let relay = start(Arc::new(storage), common::unlimited(), ServerOptions::default());
    let all = |work: &(dyn Fn(usize, &HttpService) + Sync)| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let service = HttpService::new(&relay.url);
                scope.spawn(move || work(client, &service));
            }
        });
        start.elapsed().as_secs_f64()
    };
    let log = |client: usize| LogId::from_bytes([u8::try_from(client).unwrap() + 1; 32]);
    let access: AccessToken = token(1);
    for count in [1, 16] {
        let item = [7; 500];
        let seconds = all(&|client, service| {
            for _ in 0..EACH {
                let items = vec![&item[..]; count];
                service.perform(&append(log(client), Some(&access), &items)).unwrap();
            }
        });
        let requests = (CLIENTS * EACH) as f64 / seconds;
        println!("{requests:.0} appends/s of {count} items of 500 bytes, {CLIENTS} clients");
    }
    let items = std::sync::atomic::AtomicUsize::new(0);
    let seconds = all(&|client, service| {
        let mut after = 0;
        loop {
            let page = page(service.perform(&read(log(client), after, &access)));
            let Some(last) = page.items.last() else { break };
            after = last.position.0;
            items.fetch_add(page.items.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let items = items.into_inner() as f64;
    println!("{:.0} items/s read, {:.0} MB/s", items / seconds, items * 500.0 / seconds / 1e6);
}
