//! How much one client gets, and who is kept from it by another.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use cc_client::{
    Call, Failure, LogId, MailboxKey, Publish, PublishedPackage, Purpose, Refusal, Reply, Request,
};
use cc_relay::{FollowStream, HttpService, Limits, Rate, ServerOptions};

use crate::common::{
    self, DENIED, Running, append, appended, http, http_with, id, memory, raw, read, start, token,
};

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
    assert!(refused_at(Limits { log_bytes: small, ..none }, &post));
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
    // Its body is not waited for, so nothing more can come on that connection.
    let announced = b"POST /v1/request HTTP/1.1\r\nhost: r\r\ncontent-length: 100\r\n\r\n";
    let told = raw(&relay.address(), announced).to_lowercase();
    assert!(told.starts_with("http/1.1 429"), "{told}");
    assert!(told.contains("connection: close") && told.contains("retry-after: "), "{told}");
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
        let request = http_with(&format!("x-from: {client}\r\n"), &body);
        let answer = common::raw_bytes(&relay.address(), &request);
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

/// And another one when one of them ends.
fn takes_three_connections(relay: &Running) {
    let mut open: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(relay.address()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(200));
    let request = http(&read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap());
    assert_eq!(raw(&relay.address(), &request), "");
    open.pop();
    std::thread::sleep(Duration::from_millis(200));
    assert!(raw(&relay.address(), &request).starts_with("HTTP/1.1 200"));
}

#[test]
fn one_client_does_not_take_all_connections() {
    let limits = Limits { client_connections: 3, ..common::unlimited() };
    let relay = start(memory(), limits, ServerOptions::default());
    takes_three_connections(&relay);
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

/// What a client writes into the header stands before what the proxy does: it is another client by none of it.
#[test]
fn a_client_cannot_say_where_it_is() {
    let limits =
        Limits { client_requests: Rate { per_second: 1, burst: 3 }, ..common::unlimited() };
    let options =
        ServerOptions { address_header: Some("x-from".into()), ..ServerOptions::default() };
    let body = read(LogId::random().unwrap(), 0, &token(1)).to_bytes().unwrap();
    let in_one = |number| format!("x-from: 192.0.2.{number}, 198.51.100.1\r\n");
    let in_two = |number| format!("x-from: 192.0.2.{number}\r\nx-from: 198.51.100.1\r\n");
    for headers in [&in_one as &dyn Fn(u8) -> String, &in_two] {
        let relay = start(memory(), limits, options.clone());
        let status =
            |headers: &str| raw(&relay.address(), &http_with(headers, &body))[9..12].to_owned();
        let answers: Vec<_> = (0..8).map(|number| status(&headers(number))).collect();
        assert_eq!(answers[..3], ["200", "200", "200"]);
        assert!(answers[3..].iter().any(|answer| answer == "429"), "{answers:?}");
        assert_eq!(status("x-from: 198.51.100.2\r\n"), "200");
    }
}

#[test]
fn all_clients_together_have_a_number_of_connections() {
    let options = ServerOptions { connections: 3, ..ServerOptions::default() };
    let relay = start(memory(), common::unlimited(), options);
    takes_three_connections(&relay);
}

/// Whoever asks for much with few bytes has taken as much as it gets.
#[test]
fn answers_count_for_who_asked() {
    let limits =
        Limits { client_bytes: Rate { per_second: 100, burst: 100_000 }, ..common::unlimited() };
    let options =
        ServerOptions { address_header: Some("x-from".into()), ..ServerOptions::default() };
    let relay = start(memory(), limits, options);
    let status = |client: u8, request: &Request| {
        let from = format!("x-from: 192.0.2.{client}\r\n");
        raw(&relay.address(), &http_with(&from, &request.to_bytes().unwrap()))[9..12].to_owned()
    };
    let log = LogId::random().unwrap();
    assert_eq!(status(1, &append(log, Some(&token(1)), &[&[7; 90_000]])), "200");
    let answers = [2, 2, 3, 2].map(|client| status(client, &read(log, 0, &token(1))));
    assert_eq!(answers, ["200", "200", "200", "429"]);
}
