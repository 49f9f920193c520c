//! Clients that are slow, and one relay that is.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use cc_client::{Answer, Failure, LogId, MAX_ITEM_LEN, Page, Position, Refusal, Reply};
use cc_relay::{HttpService, ServerOptions};

use crate::common::{self, append, http, memory, page, raw, read, start, token};

fn impatient() -> ServerOptions {
    ServerOptions { patience: Duration::from_millis(400), ..ServerOptions::default() }
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

/// A relay that ends takes what is under way, and nothing new.
#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let mut relay = start(memory(), common::unlimited(), ServerOptions::default());
    let address = relay.address();
    let request = http(&append(LogId::random().unwrap(), None, &[b"x"]).to_bytes().unwrap());
    let (first, rest) = request.split_at(request.len() - 5);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let end = std::thread::spawn(move || relay.stop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(rest).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    end.join().unwrap();
}

/// Of a proxy that mixes up connections, or of a relay that lies.
#[test]
fn an_answer_to_another_request_is_none() {
    use std::net::TcpListener;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (request, other) = (read(LogId::random().unwrap(), 0, &token(1)), common::id());
    let ids = [other, request.id];
    let server = std::thread::spawn(move || {
        for id in ids {
            let result = Ok(Reply::Appended(Position(7)));
            let answer = Answer { id, result }.to_bytes().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
        }
    });
    let mut service = HttpService::new(&url);
    assert_eq!(service.perform(&request), Err(Failure::Unknown));
    // Nor is one of another kind.
    let cc_client::Call::Read(read) = &request.call else { panic!("a read") };
    let answer = cc_client::DeliveryService::read(&mut service, request.id, read);
    assert_eq!(answer, Err(Failure::Unknown));
    server.join().unwrap();
}

/// As a relay does that was restarted, or that has waited long enough for the next request.
#[test]
fn a_connection_that_was_closed_is_made_anew() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let request = read(LogId::random().unwrap(), 0, &token(1));
    let page = Page { items: Vec::new(), forgotten: Position(0), head: Position(5) };
    let result = Ok(Reply::Page(page));
    let answer = Answer { id: request.id, result: result.clone() }.to_bytes().unwrap();
    let server = std::thread::spawn(move || {
        // Closed once it has heard the request, which may be done or not.
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
    });
    assert_eq!(HttpService::new(&url).perform(&request), result);
    server.join().unwrap();
}

/// Nobody is made silent for longer than an hour by one answer.
#[test]
fn a_wait_is_believed_up_to_an_hour() {
    use std::net::TcpListener;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let service = HttpService::new(&url);
    let request = read(LogId::random().unwrap(), 0, &token(1));
    let busy = |retry_after| Err(Failure::Refused(Refusal::Busy { retry_after }));
    let told = Answer { id: request.id, result: busy(u64::MAX) }.to_bytes().unwrap();
    let head = |status: &str, length| {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}");
        format!("{head}\r\nretry-after: 4000000000\r\n\r\n").into_bytes()
    };
    let answers = [[head("200 OK", told.len()), told].concat(), head("429 Too Many Requests", 0)];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            stream.write_all(&answer).unwrap();
        }
    });
    for _ in 0..2 {
        assert_eq!(service.perform(&request), busy(3_600_000));
    }
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

/// As long as it is not read, an answer is memory of who asked for it.
#[test]
fn answers_that_are_not_read_count_as_memory() {
    let options = ServerOptions {
        memory: 128 << 20,
        address_header: Some("x-client".into()),
        ..ServerOptions::default()
    };
    let relay = start(memory(), common::unlimited(), options);
    let service = HttpService::new(&relay.url);
    let (log, access) = (LogId::random().unwrap(), token(1));
    service.perform(&append(log, Some(&access), &[&vec![7; MAX_ITEM_LEN]])).unwrap();
    let request = read(log, 0, &access);
    let body = request.to_bytes().unwrap();
    let head = format!(
        "POST /v1/request HTTP/1.1\r\nhost: r\r\nx-client: 192.0.2.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let ask = || {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        stream
    };
    let status = |stream: &mut TcpStream| {
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    // A quarter is less than for three answers.
    let mut lazy = [ask(), ask(), ask()];
    let mut answers = lazy.each_mut().map(status);
    answers.sort();
    assert_eq!(answers, ["200", "200", "429"]);
    // Another client has its own.
    assert_eq!(page(service.perform(&request)).items.len(), 1);
}
