//! What floods of a client cost that is not waited for by anybody.

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::common::{self, append, http, read, start, token};
use cc_client::{LogId, MAX_ANSWER_LEN, MAX_ITEM_LEN, Position, Refusal};
use cc_relay::{
    Ended, FollowStream, Limits, Notice, Rate, ServerOptions,
    storage::{
        ClockRecord, Hour, MemoryStorage, ReadPage, Reader, Retention, Storage, StoredAppend,
        StoredPublish, Task, Usage,
    },
};

/// A storage in which writes wait, as behind a disk that does not answer.
struct Stuck {
    engine: MemoryStorage,
    /// Bytes of what waits.
    waiting: Arc<AtomicUsize>,
}

impl Storage for Stuck {
    fn append(
        &self,
        _: cc_client::RequestId,
        append: StoredAppend,
        _: Hour,
    ) -> Task<'_, Result<Position, Refusal>> {
        // It is in a queue: that who asked is gone takes it out of none.
        self.waiting.fetch_add(append.items.iter().map(Vec::len).sum(), Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn read(
        &self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Task<'_, Result<ReadPage, Refusal>> {
        self.engine.read(log, after, reader, now)
    }

    fn publish(
        &self,
        id: cc_client::RequestId,
        publish: StoredPublish,
        now: Hour,
    ) -> Task<'_, Result<u32, Refusal>> {
        self.engine.publish(id, publish, now)
    }

    fn claim(
        &self,
        id: cc_client::RequestId,
        mailbox: LogId,
        now: Hour,
    ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>> {
        self.engine.claim(id, mailbox, now)
    }

    fn expire(&self, now: Hour) -> Task<'_, bool> {
        self.engine.expire(now)
    }

    fn clock(&self) -> Task<'_, Option<ClockRecord>> {
        self.engine.clock()
    }

    fn set_clock(&self, clock: ClockRecord) -> Task<'_, ()> {
        self.engine.set_clock(clock)
    }

    fn check(&self) -> Task<'_, ()> {
        self.engine.check()
    }

    fn usage(&self) -> Usage {
        self.engine.usage()
    }
}

#[test]
fn what_waits_to_be_written_counts_as_memory_also_where_who_sent_it_is_gone() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let engine = MemoryStorage::new(Retention::default());
    let storage = Arc::new(Stuck { engine, waiting: Arc::clone(&waiting) });
    let options =
        ServerOptions { memory: 64 << 20, grace: Duration::ZERO, ..ServerOptions::default() };
    let relay = start(storage, common::unlimited(), options);
    let item = vec![7; MAX_ITEM_LEN / 4];
    let log = LogId::random().unwrap();
    // Who stays, and who goes as soon as all is sent.
    for stays in [true, false] {
        let mut streams = Vec::new();
        for _ in 0..12 {
            let request = append(log, Some(&token(1)), &[&item]).to_bytes().unwrap();
            let mut stream = TcpStream::connect(relay.address()).unwrap();
            // Where there is no room for it, it is not read to its end.
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let _refused = stream.write_all(&http(&request));
            std::thread::sleep(Duration::from_millis(100));
            if stays {
                streams.push(stream);
            } else {
                let _gone = stream.shutdown(Shutdown::Both);
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        let share = (16 << 20).max(2 * MAX_ANSWER_LEN);
        let bytes = waiting.load(Ordering::SeqCst);
        assert!(bytes >= item.len() && bytes <= share, "{bytes} of {share}");
    }
}

/// What a client says over a WebSocket costs it as requests do, whatever it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_but_unfollow_is_let_go() {
    let limits =
        Limits { client_requests: Rate { per_second: 1, burst: 50 }, ..common::unlimited() };
    let engine = Arc::new(MemoryStorage::new(Retention::default()));
    let relay = start(engine, limits, ServerOptions::default());
    let mut stream = FollowStream::connect(&relay.url, None).await.unwrap();
    let log = LogId::random().unwrap();
    for _ in 0..200 {
        if stream.unfollow(&log).await.is_err() {
            return;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert!(ended.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_but_follow_is_busy() {
    let limits =
        Limits { client_requests: Rate { per_second: 1, burst: 50 }, ..common::unlimited() };
    let engine = Arc::new(MemoryStorage::new(Retention::default()));
    let relay = start(engine, limits, ServerOptions::default());
    let mut stream = FollowStream::connect(&relay.url, None).await.unwrap();
    let log = LogId::random().unwrap();
    for _ in 0..200 {
        stream.follow(&read(log, 0, &token(1))).await.unwrap();
    }
    let told = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert_eq!(told.unwrap().unwrap(), Notice::Ended { log, why: Ended::Busy });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pings_without_end_is_let_go() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let engine = Arc::new(MemoryStorage::new(Retention::default()));
    let relay = start(engine, common::unlimited(), ServerOptions::default());
    let url = format!("ws://{}/v1/follow", relay.address());
    let (stream, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut sink, mut heard) = stream.split();
    let flood =
        tokio::spawn(
            async move { while sink.send(Message::Pong(Vec::new().into())).await.is_ok() {} },
        );
    let closed = async {
        loop {
            match heard.next().await {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
    flood.abort();
}
