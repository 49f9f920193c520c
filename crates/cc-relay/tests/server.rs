//! The relay over real sockets: who may do what, what is refused, and who is told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use cc_client::{
    AccessToken, Answer, Call, Failure, LogId, MAX_ITEM_LEN, MailboxKey, Page, Position, Publish,
    PublishedPackage, Purpose, Refusal, Reply, Request,
};
use cc_relay::{
    Ended, FollowError, FollowStream, HttpService, Limits, Notice, Rate, ServerOptions,
    storage::{MemoryStorage, Retention, SqliteStorage, Storage},
};
use common::{Running, append, commit, http, id, page, raw, read, read_mailbox, start, token};
use proptest::{collection::vec, prelude::*};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new(Retention::default()))
}

fn open_relay() -> (Running, HttpService) {
    let relay = start(memory(), common::unlimited(), ServerOptions::default());
    let service = HttpService::new(&relay.url);
    (relay, service)
}

fn impatient() -> ServerOptions {
    ServerOptions { patience: Duration::from_millis(400), ..ServerOptions::default() }
}

const DENIED: Result<Reply, Failure> = Err(Failure::Refused(Refusal::Denied));

fn appended(position: u64) -> Result<Reply, Failure> {
    Ok(Reply::Appended(Position(position)))
}

#[test]
fn who_was_removed_and_who_never_was_there_gets_nothing() {
    let (_relay, service) = open_relay();
    let log = LogId::random().unwrap();
    let [old, new, outsider] = [1, 2, 3].map(token);
    assert_eq!(service.perform(&append(log, Some(&old), &[b"one"])), appended(1));
    // The commit that removes somebody, who has the old token only.
    assert_eq!(service.perform(&commit(log, &old, 0, Some(&new))), appended(2));
    assert_eq!(service.perform(&append(log, Some(&new), &[b"secret"])), appended(3));
    let conflict = Err(Failure::Refused(Refusal::Conflict { head: Position(2) }));
    assert_eq!(service.perform(&append(log, Some(&old), &[b"still here"])), conflict);
    assert_eq!(service.perform(&commit(log, &old, 2, Some(&old))), conflict);
    let seen = page(service.perform(&read(log, 0, &old)));
    assert_eq!((seen.items.len(), seen.head), (2, Position(2)), "up to the removal");
    assert!(page(service.perform(&read(log, 2, &old))).items.is_empty());
    assert_eq!(service.perform(&read(log, 0, &outsider)), DENIED);
    assert_eq!(service.perform(&append(log, Some(&outsider), &[b"flood"])), DENIED);
    // Without a token it goes to a mailbox, which is not this log.
    assert_eq!(service.perform(&append(log, None, &[b"flood"])), appended(1));
    assert_eq!(service.perform(&commit(log, &outsider, 2, Some(&outsider))), DENIED);
    assert_eq!(page(service.perform(&read(log, 0, &new))).items.len(), 3);
}

#[test]
fn a_mailbox_opens_for_its_owner_alone() {
    let (_relay, service) = open_relay();
    let [alice, mallory] = [(); 2].map(|()| MailboxKey::generate().unwrap());
    let mailbox = alice.address();
    let welcome = append(mailbox, None, &[b"welcome"]);
    assert_eq!(service.perform(&welcome), appended(1));
    // With a key of one's own, for another request, or for another position.
    let mut foreign = read_mailbox(&mallory, 0);
    let honest = read_mailbox(&alice, 0);
    if let (Call::Read(foreign), Call::Read(honest)) = (&mut foreign.call, &honest.call) {
        foreign.log = honest.log;
    }
    assert_eq!(service.perform(&foreign), DENIED);
    assert_eq!(service.perform(&Request { id: id(), ..honest.clone() }), DENIED);
    let mut further = honest.clone();
    if let Call::Read(read) = &mut further.call {
        read.after = Position(1);
    }
    assert_eq!(service.perform(&further), DENIED);
    let group = page(service.perform(&read(mailbox, 0, &token(1))));
    assert_eq!((group.items.len(), group.head), (0, Position(0)), "a group there is another log");
    assert_eq!(page(service.perform(&honest)).items.len(), 1);
    // Key packages are the owner's to publish.
    let package = PublishedPackage { bytes: b"package".to_vec(), last_resort: false };
    let publish = |key: &MailboxKey, id| {
        let packages = vec![package.clone()];
        let proof = key.prove(id, Purpose::Publish(&packages));
        Request { id, call: Call::Publish(Publish { mailbox, proof, packages }) }
    };
    assert_eq!(service.perform(&publish(&mallory, id())), DENIED);
    let published = publish(&alice, id());
    assert_eq!(service.perform(&published), Ok(Reply::Published { remaining: 1 }));
    let mut changed = published;
    if let Call::Publish(publish) = &mut changed.call {
        publish.packages[0].bytes.push(1);
    }
    assert_eq!(service.perform(&changed), DENIED);
    let claim = Request { id: id(), call: Call::Claim(mailbox) };
    let claimed = Ok(Reply::Claimed(Some(b"package".to_vec())));
    assert_eq!(service.perform(&claim), claimed);
    assert_eq!(service.perform(&claim), claimed, "the same request");
    let another = Request { id: id(), call: Call::Claim(mailbox) };
    assert_eq!(service.perform(&another), Ok(Reply::Claimed(None)));
}

#[test]
fn a_recorded_request_does_nothing_when_it_comes_again() {
    let (relay, service) = open_relay();
    let (log, access, key) = (LogId::random().unwrap(), token(1), MailboxKey::generate().unwrap());
    let recorded = http(&append(log, Some(&access), &[b"pay me"]).to_bytes().unwrap());
    let first = raw(&relay.address(), &recorded);
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    for _ in 0..5 {
        let again = raw(&relay.address(), &recorded);
        assert_eq!(
            again.split_once("\r\n\r\n").unwrap().1,
            first.split_once("\r\n\r\n").unwrap().1
        );
    }
    assert_eq!(page(service.perform(&read(log, 0, &access))).items.len(), 1);
    // A read of a mailbox gives what is still there, and nothing more is deleted by it.
    let old_read = read_mailbox(&key, 0);
    for _ in 0..3 {
        service.perform(&append(key.address(), None, &[b"welcome"])).unwrap();
    }
    assert_eq!(page(service.perform(&old_read)).items.len(), 3);
    assert_eq!(page(service.perform(&read_mailbox(&key, 2))).items.len(), 1);
    assert_eq!(page(service.perform(&old_read)).items.len(), 1);
    assert_eq!(page(service.perform(&read_mailbox(&key, 2))).items.len(), 1);
}

#[test]
fn what_is_no_request_is_refused_before_it_costs_anything() {
    let (relay, service) = open_relay();
    let address = relay.address();
    let status = |bytes: &[u8]| raw(&address, bytes).chars().skip(9).take(3).collect::<String>();
    assert_eq!(status(&http(b"")), "400");
    assert_eq!(status(&http(b"{\"json\": true}")), "400");
    let good = read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap();
    assert_eq!(status(&http(&good)), "200");
    assert_eq!(status(&http(&[&good[..], &[0]].concat())), "400");
    assert_eq!(status(&http(&[&[2], &good[1..]].concat())), "400", "another version");
    let head = |length: &str| {
        format!("POST /v1/request HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n{length}\r\n\r\n")
    };
    // Its body is not waited for.
    assert_eq!(status(head("content-length: 17000000").as_bytes()), "413");
    assert_eq!(status(head("content-length: 99999999999999999999").as_bytes()), "400");
    assert_eq!(status(head("transfer-encoding: chunked").as_bytes()), "411");
    assert_eq!(status(b"GET /v1/request HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"), "405");
    assert_eq!(status(b"GET / HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"), "404");
    assert_eq!(status(b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"), "404");
    assert_eq!(status(b"GET /v1/follow HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"), "400");
    assert_eq!(status(&[0xff; 2000]), "400");
    let log = LogId::random().unwrap();
    let too_large = append(log, Some(&token(1)), &[&vec![0; MAX_ITEM_LEN + 1]]);
    let refused = Err(Failure::Refused(Refusal::TooLarge));
    assert_eq!(service.perform(&too_large), refused);
    let largest = append(log, Some(&token(1)), &[&vec![7; MAX_ITEM_LEN]]);
    assert_eq!(service.perform(&largest), appended(1));
    let read = page(service.perform(&read(log, 0, &token(1))));
    assert_eq!(read.items[0].bytes.len(), MAX_ITEM_LEN);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// On one connection, which stays of use.
    #[test]
    fn garbage_is_400_and_the_next_request_is_answered(bodies in vec(vec(any::<u8>(), 0..200), 1..8)) {
        thread_local! {
            static RELAY: Running = start(memory(), common::unlimited(), ServerOptions::default());
        }
        let address = RELAY.with(Running::address);
        let mut stream = TcpStream::connect(address).unwrap();
        let mut exchange = |body: &[u8]| {
            let head = format!("POST /v1/request HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            let mut answer = [0; 4096];
            let count = stream.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[9..count.min(12)]).into_owned()
        };
        for body in bodies {
            prop_assert_eq!(exchange(&body), "400");
        }
        let good = read(LogId::from_bytes([9; 32]), 0, &token(1)).to_bytes().unwrap();
        prop_assert_eq!(exchange(&good), "200");
    }
}

#[test]
fn who_is_slow_is_let_go() {
    let relay = start(memory(), common::unlimited(), impatient());
    let address = relay.address();
    let start = Instant::now();
    // Half a head; half a body; nothing at all; a head that announces much.
    let half = http(&append(LogId::random().unwrap(), None, &[b"x"]).to_bytes().unwrap());
    for bytes in [&half[..20], &half[..half.len() - 5], b"", ANNOUNCED] {
        let answer = raw(&address, bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    // A byte of the head now and then.
    let mut stream = TcpStream::connect(&address).unwrap();
    let mut sent = 0;
    for byte in half.iter().cycle().take(100) {
        std::thread::sleep(Duration::from_millis(50));
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 60, "{sent} bytes in as many twentieths of a second");
}

/// An answer on a slow line takes as long as it comes; a relay that says nothing more is given up.
#[test]
fn an_answer_may_be_slow_but_must_go_on() {
    use std::{net::TcpListener, sync::mpsc};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let patience = Duration::from_millis(800);
    let service = HttpService::new(&url).with_patience(patience);
    let request = read(LogId::random().unwrap(), 0, &token(1));
    let head = Position(5);
    let result = Ok(Reply::Page(Page { items: Vec::new(), forgotten: Position(0), head }));
    let answer = Answer { id: request.id, result }.to_bytes().unwrap();
    let (ended, end) = mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        for stops in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 4096];
            assert_ne!(stream.read(&mut heard).unwrap(), 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all(head.as_bytes()).unwrap();
            let (first, rest) = answer.split_at(answer.len() - 12);
            stream.write_all(first).unwrap();
            if stops {
                let _ended = end.recv();
                break;
            }
            // Longer than the patience in all.
            for byte in rest {
                std::thread::sleep(patience / 8);
                stream.write_all(&[*byte]).unwrap();
            }
        }
    });
    let start = Instant::now();
    assert_eq!(page(service.perform(&request)).head, head);
    assert!(start.elapsed() > patience, "{:?}", start.elapsed());
    let (start, fresh) = (Instant::now(), HttpService::new(&url).with_patience(patience));
    assert_eq!(fresh.perform(&request), Err(Failure::Unknown));
    assert!(
        (patience..Duration::from_secs(20)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    drop(ended);
    server.join().unwrap();
}

/// The head of a request of 16 MiB.
const ANNOUNCED: &[u8] =
    b"POST /v1/request HTTP/1.1\r\nhost: r\r\nx-client: 192.0.2.1\r\ncontent-length: 16777216\r\n\r\n";

#[test]
fn one_client_does_not_take_all_memory() {
    let options = ServerOptions {
        memory: 64 << 20,
        address_header: Some("x-client".into()),
        ..ServerOptions::default()
    };
    let relay = start(memory(), common::unlimited(), options);
    let greedy: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(relay.address()).unwrap();
            stream.write_all(ANNOUNCED).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    // Of another address: that of the connection.
    let request = http(&read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap());
    let answer = raw(&relay.address(), &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(greedy);
}

#[test]
fn who_may_not_append_takes_nothing_from_who_may() {
    let log_items = Rate { per_second: 1, burst: 5 };
    let limits = Limits { log_items, ..common::unlimited() };
    let relay = start(memory(), limits, ServerOptions::default());
    let service = HttpService::new(&relay.url);
    let log = LogId::random().unwrap();
    // What comes again takes nothing either.
    let first = append(log, Some(&token(1)), &[b"one"]);
    for _ in 0..8 {
        assert_eq!(service.perform(&first), appended(1));
    }
    for _ in 0..4 {
        let flood = append(log, Some(&token(2)), &[&b"flood"[..]; 4]);
        assert_eq!(service.perform(&flood), DENIED);
    }
    assert_eq!(service.perform(&append(log, Some(&token(1)), &[b"two"])), appended(2));
}

#[test]
fn who_does_not_read_the_answers_holds_no_memory() {
    let relay = start(memory(), common::unlimited(), impatient());
    let service = HttpService::new(&relay.url);
    let (log, access) = (LogId::random().unwrap(), token(1));
    service.perform(&append(log, Some(&access), &[&vec![7; MAX_ITEM_LEN]])).unwrap();
    let request = http(&read(log, 0, &access).to_bytes().unwrap());
    // More answers than there is memory for.
    let lazy: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = TcpStream::connect(relay.address()).unwrap();
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match service.perform(&read(log, 0, &access)) {
            Ok(Reply::Page(page)) => break assert_eq!(page.items.len(), 1),
            Err(Failure::Refused(Refusal::Busy { .. })) if Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
    drop(lazy);
}

#[test]
fn limits_are_told_with_the_time_to_wait() {
    let small = Rate { per_second: 1, burst: 5 };
    let log = LogId::random().unwrap();
    let refused_at = |limits: Limits, request: &dyn Fn() -> Request| {
        let relay = start(memory(), limits, ServerOptions::default());
        let service = HttpService::new(&relay.url);
        let results: Vec<_> = (0..12).map(|_| service.perform(&request())).collect();
        for result in results {
            if let Err(Failure::Refused(Refusal::Busy { retry_after })) = result {
                assert!((1..10_000).contains(&retry_after), "{retry_after}");
                return true;
            }
            assert!(result.is_ok(), "{result:?}");
        }
        false
    };
    let none = common::unlimited();
    let post = || append(log, Some(&token(1)), &[b"x"]);
    let mail = || append(log, None, &[b"x"]);
    let claim = || Request { id: id(), call: Call::Claim(log) };
    assert!(!refused_at(none, &post));
    assert!(refused_at(Limits { client_requests: small, ..none }, &post));
    assert!(refused_at(Limits { log_items: small, ..none }, &post));
    let bytes = Rate { per_second: 100, burst: 900 };
    assert!(refused_at(Limits { client_bytes: bytes, ..none }, &post));
    assert!(!refused_at(Limits { mailbox_items: small, ..none }, &post));
    assert!(refused_at(Limits { mailbox_items: small, ..none }, &mail));
    assert!(refused_at(Limits { mailbox_items: small, ..none }, &claim));
    assert!(!refused_at(Limits::default(), &post), "a client notices nothing of the defaults");
    let limits = Limits { client_requests: small, ..none };
    let relay = start(memory(), limits, ServerOptions::default());
    let health = b"GET /health HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    let answers: Vec<_> = (0..8).map(|_| raw(&relay.address(), health)).collect();
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 429")), "{answers:?}");
}

/// Who has begun as many as it may goes on with those that it has, and others are not kept from theirs.
#[test]
fn one_client_does_not_begin_any_number_of_logs() {
    let limits = Limits { client_logs: 5, ..common::unlimited() };
    // Two clients, as a proxy tells them apart.
    let options =
        ServerOptions { address_header: Some("x-from".into()), ..ServerOptions::default() };
    let relay = start(memory(), limits, options);
    let from = |client: &str, request: Request| {
        let body = request.to_bytes().unwrap();
        let head = format!(
            "POST /v1/request HTTP/1.1\r\nhost: r\r\nx-from: {client}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let answer = common::raw_bytes(&relay.address(), &[head.as_bytes(), &body].concat());
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        cc_client::Answer::from_bytes(&answer[end..]).unwrap().result
    };
    let [greedy, other] = ["192.0.2.1", "192.0.2.2"];
    let key = MailboxKey::generate().unwrap();
    let publish = |key: &MailboxKey| {
        let (id, packages) =
            (id(), vec![PublishedPackage { bytes: vec![1; 9], last_resort: false }]);
        let proof = key.prove(id, Purpose::Publish(&packages));
        Request { id, call: Call::Publish(Publish { mailbox: key.address(), proof, packages }) }
    };
    let logs: Vec<LogId> = (0..4).map(|_| LogId::random().unwrap()).collect();
    // Groups, mailboxes and key packages count alike.
    for (at, log) in logs.iter().enumerate() {
        let access = (at % 2 == 0).then(|| token(1));
        assert_eq!(from(greedy, append(*log, access.as_ref(), &[b"x"])), appended(1));
    }
    assert_eq!(from(greedy, publish(&key)), Ok(Reply::Published { remaining: 1 }));
    let busy = |result: Result<Reply, Failure>| match result {
        Err(Failure::Refused(Refusal::Busy { retry_after })) => {
            // The next one in a fifth of an hour.
            assert!((600_000..=720_000).contains(&retry_after), "{retry_after}");
            true
        }
        _ => false,
    };
    let new = LogId::random().unwrap();
    assert!(busy(from(greedy, append(new, Some(&token(1)), &[b"x"]))));
    assert!(busy(from(greedy, append(new, None, &[b"x"]))));
    let stranger = MailboxKey::generate().unwrap();
    assert!(busy(from(greedy, publish(&stranger))));
    assert_eq!(from(greedy, append(logs[0], Some(&token(1)), &[b"y"])), appended(2));
    assert_eq!(from(greedy, append(logs[1], None, &[b"y"])), appended(2));
    assert_eq!(from(greedy, publish(&key)), Ok(Reply::Published { remaining: 2 }));
    assert_eq!(from(greedy, read(new, 0, &token(1))).map(|_| ()), Ok(()));
    assert_eq!(from(other, append(new, Some(&token(1)), &[b"x"])), appended(1));
    assert_eq!(from(greedy, append(new, Some(&token(1)), &[b"x"])), appended(2));
}

/// Who is told of what is new in a mailbox deletes nothing by that, whatever it says to have read.
#[tokio::test(flavor = "multi_thread")]
async fn following_a_mailbox_deletes_nothing() {
    let (relay, service) = open_relay();
    let key = MailboxKey::generate().unwrap();
    let perform = |request: Request| {
        let service = service.clone();
        async move { tokio::task::spawn_blocking(move || service.perform(&request)).await.unwrap() }
    };
    perform(append(key.address(), None, &[b"one", b"two"])).await.unwrap();
    let mut owner = FollowStream::connect(&relay.url, None).await.unwrap();
    owner.follow(&read_mailbox(&key, 1)).await.unwrap();
    let head = Position(2);
    assert_eq!(owner.next().await.unwrap(), Notice::Moved { log: key.address(), head });
    let there = page(perform(read_mailbox(&key, 0)).await);
    assert_eq!((there.items.len(), there.forgotten), (2, Position(0)));
    // A read does.
    perform(read_mailbox(&key, 1)).await.unwrap();
    assert_eq!(page(perform(read_mailbox(&key, 0)).await).forgotten, Position(1));
}

#[test]
fn one_client_does_not_take_all_connections() {
    let limits = Limits { client_connections: 3, ..common::unlimited() };
    let relay = start(memory(), limits, ServerOptions::default());
    let mut open: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(relay.address()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(200));
    let request = http(&read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap());
    assert_eq!(raw(&relay.address(), &request), "");
    open.pop();
    std::thread::sleep(Duration::from_millis(200));
    assert!(raw(&relay.address(), &request).starts_with("HTTP/1.1 200"));
}

/// Nor as WebSockets, which are connections as long as they are open.
#[tokio::test(flavor = "multi_thread")]
async fn one_client_does_not_take_all_connections_as_followers() {
    let limits = Limits { client_connections: 3, ..common::unlimited() };
    let relay = start(memory(), limits, ServerOptions::default());
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(FollowStream::connect(&relay.url, None).await.unwrap());
    }
    assert!(FollowStream::connect(&relay.url, None).await.is_err());
    open.pop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while FollowStream::connect(&relay.url, None).await.is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_browser_may_ask_from_any_page() {
    let (relay, _) = open_relay();
    let preflight = b"OPTIONS /v1/request HTTP/1.1\r\nhost: r\r\norigin: https://chat.example\r\n\
        access-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let answer = raw(&relay.address(), preflight).to_lowercase();
    assert!(answer.starts_with("http/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: content-type"), "{answer}");
    let request = http(&read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap());
    assert!(raw(&relay.address(), &request).contains("access-control-allow-origin: *"));
}

#[test]
fn metrics_count_and_name_nobody() {
    let options = ServerOptions { metrics: true, ..ServerOptions::default() };
    let relay = start(memory(), common::unlimited(), options);
    let service = HttpService::new(&relay.url);
    let log = LogId::random().unwrap();
    service.perform(&append(log, Some(&token(1)), &[b"12345", b"678"])).unwrap();
    assert_eq!(service.perform(&read(log, 0, &token(2))), DENIED);
    service.perform(&read(log, 0, &token(1))).unwrap();
    let text =
        raw(&relay.address(), b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n");
    for line in [
        "relay_requests_total{call=\"append\",outcome=\"done\"} 1",
        "relay_requests_total{call=\"read\",outcome=\"denied\"} 1",
        "relay_items_in_total 2",
        "relay_bytes_in_total 8",
        "relay_bytes_out_total 8",
        "relay_request_seconds_count 3",
        "relay_storage_limit_bytes 17179869184",
        "relay_storage_refused_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("127.0.0.1") && !text.contains(&log.to_string()));
    let health = b"GET /health HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    assert!(raw(&relay.address(), health).ends_with("ok\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_are_told_as_long_as_they_may_read() {
    let (mut relay, service) = open_relay();
    let perform = |request: Request| {
        let service = service.clone();
        async move { tokio::task::spawn_blocking(move || service.perform(&request)).await.unwrap() }
    };
    let log = LogId::random().unwrap();
    let [old, new, outsider] = [1, 2, 3].map(token);
    let key = MailboxKey::generate().unwrap();
    perform(append(log, Some(&old), &[b"one"])).await.unwrap();
    let connect = async || FollowStream::connect(&relay.url, None).await.unwrap();
    let (mut member, mut removed, mut stranger) =
        (connect().await, connect().await, connect().await);
    let moved = |head| Notice::Moved { log, head: Position(head) };
    let ended = |why| Notice::Ended { log, why };
    // What is there already is told at once.
    for follower in [&mut member, &mut removed] {
        follower.follow(&read(log, 0, &old)).await.unwrap();
        assert_eq!(follower.next().await.unwrap(), moved(1));
    }
    stranger.follow(&read(log, 0, &outsider)).await.unwrap();
    assert_eq!(stranger.next().await.unwrap(), ended(Ended::Denied));
    perform(append(log, Some(&old), &[b"two"])).await.unwrap();
    for follower in [&mut member, &mut removed] {
        assert_eq!(follower.next().await.unwrap(), moved(2));
    }
    perform(commit(log, &old, 0, Some(&new))).await.unwrap();
    for follower in [&mut member, &mut removed] {
        assert_eq!(follower.next().await.unwrap(), moved(3));
        assert_eq!(follower.next().await.unwrap(), ended(Ended::EpochOver));
    }
    member.follow(&read(log, 3, &new)).await.unwrap();
    removed.follow(&read(log, 3, &old)).await.unwrap();
    assert_eq!(removed.next().await.unwrap(), ended(Ended::EpochOver));
    // A mailbox, by its owner.
    let mailbox = Notice::Moved { log: key.address(), head: Position(1) };
    member.follow(&read_mailbox(&key, 0)).await.unwrap();
    while relay.relay.metrics_text().contains("relay_followed_logs 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    perform(append(key.address(), None, &[b"welcome"])).await.unwrap();
    assert_eq!(member.next().await.unwrap(), mailbox);
    perform(append(log, Some(&new), &[b"three"])).await.unwrap();
    assert_eq!(member.next().await.unwrap(), moved(4));
    for follower in [&mut removed, &mut stranger] {
        let told = tokio::time::timeout(Duration::from_millis(300), follower.next()).await;
        assert!(told.is_err(), "{told:?}");
    }
    member.unfollow(&log).await.unwrap();
    // What a client says is done in order: when this is answered, the other was done.
    let another = LogId::random().unwrap();
    perform(append(another, Some(&new), &[b"x"])).await.unwrap();
    member.follow(&read(another, 0, &new)).await.unwrap();
    let there = Notice::Moved { log: another, head: Position(1) };
    assert_eq!(member.next().await.unwrap(), there);
    perform(append(log, Some(&new), &[b"four"])).await.unwrap();
    perform(append(key.address(), None, &[b"again"])).await.unwrap();
    let again = Notice::Moved { log: key.address(), head: Position(2) };
    assert_eq!(member.next().await.unwrap(), again);
    // What is no read is not followed, and the relay says when it ends.
    let wrong = member.follow(&append(log, None, &[])).await;
    assert!(matches!(wrong, Err(FollowError::NotARead)));
    let end = std::thread::spawn(move || relay.stop());
    assert!(matches!(member.next().await, Err(FollowError::Closed)));
    end.join().unwrap();
}

/// Nobody knows what a log that does not exist yet will be.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_before_there_is_a_log_is_told_of_its_own_alone() {
    let (relay, service) = open_relay();
    let (log, other) = (LogId::random().unwrap(), LogId::random().unwrap());
    let key = MailboxKey::generate().unwrap();
    let (member, outsider) = (token(1), token(2));
    let mut stranger = FollowStream::connect(&relay.url, None).await.unwrap();
    for log in [log, key.address(), other] {
        stranger.follow(&read(log, 0, &outsider)).await.unwrap();
    }
    let mut early = FollowStream::connect(&relay.url, None).await.unwrap();
    early.follow(&read(log, 0, &member)).await.unwrap();
    while !relay.relay.metrics_text().contains("relay_followed_logs 3") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What a client says is done in order: this is answered after the others were.
    early.follow(&read(log, 0, &member)).await.unwrap();
    let requests = [
        append(log, Some(&member), &[b"one"]),
        append(key.address(), None, &[b"welcome"]),
        append(other, Some(&outsider), &[b"its own"]),
    ];
    let perform = tokio::task::spawn_blocking(move || {
        requests.map(|request| service.perform(&request).unwrap())
    });
    perform.await.unwrap();
    assert_eq!(early.next().await.unwrap(), Notice::Moved { log, head: Position(1) });
    let own = Notice::Moved { log: other, head: Position(1) };
    assert_eq!(stranger.next().await.unwrap(), own);
    let told = tokio::time::timeout(Duration::from_millis(300), stranger.next()).await;
    assert!(told.is_err(), "{told:?}");
}

/// Whoever founds a group at the address of a mailbox, before or after there is one, has another log.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_at_the_address_of_a_mailbox_is_another_log() {
    let (relay, service) = open_relay();
    let (key, founder) = (MailboxKey::generate().unwrap(), token(1));
    let address = key.address();
    let mut follower = FollowStream::connect(&relay.url, None).await.unwrap();
    follower.follow(&read(address, 0, &founder)).await.unwrap();
    follower.follow(&read_mailbox(&key, 0)).await.unwrap();
    while !relay.relay.metrics_text().contains("relay_followed_logs 2") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mailbox = read_mailbox(&key, 0);
    let done = tokio::task::spawn_blocking(move || {
        let group = append(address, Some(&founder), &[b"mine", b"alone"]);
        assert_eq!(service.perform(&group), appended(2));
        assert_eq!(service.perform(&append(address, None, &[b"welcome"])), appended(1));
        let seen = page(service.perform(&mailbox));
        assert_eq!((&seen.items[0].bytes[..], seen.head), (&b"welcome"[..], Position(1)));
        assert_eq!(page(service.perform(&read(address, 0, &founder))).items.len(), 2);
    });
    done.await.unwrap();
    let mut told = [follower.next().await.unwrap(), follower.next().await.unwrap()];
    told.sort_by_key(|notice| matches!(notice, Notice::Moved { head, .. } if head.0 == 2));
    assert_eq!(told, [1, 2].map(|head| Notice::Moved { log: address, head: Position(head) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_counts_as_memory() {
    // So little that one client may have all of it.
    let options = ServerOptions { memory: 16 << 10, ..ServerOptions::default() };
    let relay = start(memory(), common::unlimited(), options);
    let connect = async || FollowStream::connect(&relay.url, None).await.unwrap();
    let mut greedy = connect().await;
    let logs = [(); 33].map(|()| LogId::random().unwrap());
    for log in logs {
        greedy.follow(&read(log, 0, &token(1))).await.unwrap();
    }
    let busy = Notice::Ended { log: logs[32], why: Ended::Busy };
    assert_eq!(greedy.next().await.unwrap(), busy);
    assert!(relay.relay.metrics_text().contains("relay_followed_logs 32"));
    // What is no longer followed is given back, and so is all when the connection ends.
    greedy.unfollow(&logs[0]).await.unwrap();
    let mut other = connect().await;
    other.follow(&read(logs[0], 0, &token(1))).await.unwrap();
    while !relay.relay.metrics_text().contains("relay_followed_logs 32") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(greedy);
    for log in logs {
        other.follow(&read(log, 0, &token(1))).await.unwrap();
    }
    while !relay.relay.metrics_text().contains("relay_followed_logs 32") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(other.next().await.unwrap(), busy);
}

/// Who does not read is told the last position only, when it reads again: nothing waits for it but that.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_read_costs_one_position_a_log() {
    let (relay, service) = open_relay();
    let (log, access) = (LogId::random().unwrap(), token(1));
    let mut lazy = FollowStream::connect(&relay.url, None).await.unwrap();
    lazy.follow(&read(log, 0, &access)).await.unwrap();
    let sent = tokio::task::spawn_blocking(move || {
        for _ in 0..300 {
            service.perform(&append(log, Some(&access), &[&[b'x'; 200][..]; 8])).unwrap();
        }
    });
    sent.await.unwrap();
    let mut last = Position(0);
    while last < Position(2400) {
        let Notice::Moved { head, .. } = lazy.next().await.unwrap() else { panic!("ended") };
        assert!(head > last);
        last = head;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_a_certificate_of_its_own() {
    let certificate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (ours, other) = (certificate(), certificate());
    let files = (ours.cert.pem(), ours.signing_key.serialize_pem());
    let relay =
        common::start_tls(memory(), common::unlimited(), ServerOptions::default(), Some(files));
    let (url, log) = (relay.secure(), LogId::random().unwrap());
    let request = append(log, Some(&token(1)), &[b"over TLS"]);
    let (trusting, pem) = (url.clone(), ours.cert.pem());
    let wrong = other.cert.pem();
    let results = tokio::task::spawn_blocking(move || {
        let of = |pem: &str| HttpService::with_root_certificate(&trusting, pem.as_bytes()).unwrap();
        let results = [
            of(&pem).perform(&request),
            of(&wrong).perform(&request),
            HttpService::new(&trusting).perform(&request),
        ];
        assert!(HttpService::with_root_certificate(&trusting, b"no PEM").is_err());
        results
    });
    let unknown = Err(Failure::Unknown);
    assert_eq!(results.await.unwrap(), [appended(1), unknown.clone(), unknown]);
    let root = ours.cert.pem();
    let mut follower = FollowStream::connect(&url, Some(root.as_bytes())).await.unwrap();
    follower.follow(&read(log, 0, &token(1))).await.unwrap();
    let moved = Notice::Moved { log, head: Position(1) };
    assert_eq!(follower.next().await.unwrap(), moved);
    assert!(FollowStream::connect(&url, None).await.is_err());
    // A client that speaks no TLS holds nothing up.
    assert_eq!(raw(&relay.address(), &http(b"")).matches("HTTP").count(), 0);
}

#[test]
fn a_failing_storage_is_unknown_and_not_refused() {
    use cc_client::RequestId;
    use cc_relay::storage::{
        ClockRecord, Hour, ReadPage, Reader, StorageError, StoredAppend, Task, Usage,
    };
    struct Broken;
    fn broken<'a, T: Send + 'a>() -> Task<'a, T> {
        Box::pin(async { Err(StorageError("the disk is full".into())) })
    }
    impl Storage for Broken {
        fn append(
            &self,
            _: RequestId,
            _: StoredAppend,
            _: Hour,
        ) -> Task<'_, Result<Position, Refusal>> {
            broken()
        }
        fn read(
            &self,
            _: LogId,
            _: Position,
            _: Reader,
            _: Hour,
        ) -> Task<'_, Result<ReadPage, Refusal>> {
            broken()
        }
        fn publish(
            &self,
            _: RequestId,
            _: cc_relay::storage::StoredPublish,
            _: Hour,
        ) -> Task<'_, Result<u32, Refusal>> {
            broken()
        }
        fn claim(
            &self,
            _: RequestId,
            _: LogId,
            _: Hour,
        ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>> {
            broken()
        }
        fn expire(&self, _: Hour) -> Task<'_, bool> {
            broken()
        }
        fn clock(&self) -> Task<'_, Option<ClockRecord>> {
            broken()
        }
        fn set_clock(&self, _: ClockRecord) -> Task<'_, ()> {
            broken()
        }
        fn check(&self) -> Task<'_, ()> {
            broken()
        }
        fn usage(&self) -> Usage {
            Usage::default()
        }
    }
    let relay = start(Arc::new(Broken), common::unlimited(), ServerOptions::default());
    let service = HttpService::new(&relay.url);
    let log = LogId::random().unwrap();
    assert_eq!(service.perform(&append(log, None, &[b"x"])), Err(Failure::Unknown));
    let health = b"GET /health HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    assert!(raw(&relay.address(), health).starts_with("HTTP/1.1 503"));
    let answer = Answer { id: id(), result: Err(Failure::Unknown) }.to_bytes().unwrap();
    assert_eq!(Answer::from_bytes(&answer).unwrap().result, Err(Failure::Unknown));
}

/// How fast it is: `cargo test -p cc-relay --test server -- --ignored --nocapture throughput`.
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
