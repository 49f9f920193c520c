//! What comes over HTTP, and what is answered to it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use cc_client::{Answer, Failure, LogId, MAX_ITEM_LEN, Position, Refusal};
use cc_relay::{HttpService, ServerOptions, storage::Storage};
use proptest::{collection::vec, prelude::*};

use crate::common::{
    self, DENIED, Running, append, appended, http, id, memory, open_relay, page, raw, read, start,
    token,
};

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
