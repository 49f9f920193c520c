//! Who is told what is new.

use std::time::{Duration, Instant};

use cc_client::{LogId, MailboxKey, Position, Request};
use cc_relay::{Ended, FollowError, FollowStream, Notice, Relay, Server, ServerOptions};

use crate::common::{
    self, Running, append, appended, commit, memory, open_relay, page, read, read_mailbox, start,
    token,
};

/// Waits until its metrics say this.
async fn until(relay: &Running, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !relay.relay.metrics_text().contains(wanted) {
        assert!(Instant::now() < deadline, "no {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the relay says next, which it says soon.
async fn told(stream: &mut FollowStream) -> Notice {
    match tokio::time::timeout(Duration::from_secs(20), stream.next()).await {
        Ok(notice) => notice.unwrap(),
        Err(_) => panic!("nothing is told"),
    }
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
        assert_eq!(told(follower).await, moved(1));
    }
    stranger.follow(&read(log, 0, &outsider)).await.unwrap();
    assert_eq!(told(&mut stranger).await, ended(Ended::Denied));
    perform(append(log, Some(&old), &[b"two"])).await.unwrap();
    for follower in [&mut member, &mut removed] {
        assert_eq!(told(follower).await, moved(2));
    }
    perform(commit(log, &old, 0, Some(&new))).await.unwrap();
    for follower in [&mut member, &mut removed] {
        assert_eq!(told(follower).await, moved(3));
        assert_eq!(told(follower).await, ended(Ended::EpochOver));
    }
    // Nobody waits for that epoch any more.
    assert!(relay.relay.metrics_text().contains("relay_followed_logs 0"));
    member.follow(&read(log, 3, &new)).await.unwrap();
    removed.follow(&read(log, 3, &old)).await.unwrap();
    assert_eq!(told(&mut removed).await, ended(Ended::EpochOver));
    // A mailbox, by its owner.
    let mailbox = Notice::Moved { log: key.address(), head: Position(1) };
    member.follow(&read_mailbox(&key, 0)).await.unwrap();
    until(&relay, "relay_followed_logs 2").await;
    perform(append(key.address(), None, &[b"welcome"])).await.unwrap();
    assert_eq!(told(&mut member).await, mailbox);
    perform(append(log, Some(&new), &[b"three"])).await.unwrap();
    assert_eq!(told(&mut member).await, moved(4));
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
    assert_eq!(told(&mut member).await, there);
    perform(append(log, Some(&new), &[b"four"])).await.unwrap();
    perform(append(key.address(), None, &[b"again"])).await.unwrap();
    let again = Notice::Moved { log: key.address(), head: Position(2) };
    assert_eq!(told(&mut member).await, again);
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
    until(&relay, "relay_followed_logs 3").await;
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
    assert_eq!(told(&mut early).await, Notice::Moved { log, head: Position(1) });
    let own = Notice::Moved { log: other, head: Position(1) };
    assert_eq!(told(&mut stranger).await, own);
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
    until(&relay, "relay_followed_logs 2").await;
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
    let mut told = [told(&mut follower).await, told(&mut follower).await];
    told.sort_by_key(|notice| matches!(notice, Notice::Moved { head, .. } if head.0 == 2));
    assert_eq!(told, [1, 2].map(|head| Notice::Moved { log: address, head: Position(head) }));
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
    assert_eq!(told(&mut owner).await, Notice::Moved { log: key.address(), head });
    let there = page(perform(read_mailbox(&key, 0)).await);
    assert_eq!((there.items.len(), there.forgotten), (2, Position(0)));
    // A read does.
    perform(read_mailbox(&key, 1)).await.unwrap();
    assert_eq!(page(perform(read_mailbox(&key, 0)).await).forgotten, Position(1));
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
    assert_eq!(told(&mut greedy).await, busy);
    assert!(relay.relay.metrics_text().contains("relay_followed_logs 32"));
    // What is no longer followed is given back, and so is all when the connection ends.
    greedy.unfollow(&logs[0]).await.unwrap();
    let mut other = connect().await;
    other.follow(&read(logs[0], 0, &token(1))).await.unwrap();
    until(&relay, "relay_followed_logs 32").await;
    drop(greedy);
    for log in logs {
        other.follow(&read(log, 0, &token(1))).await.unwrap();
    }
    until(&relay, "relay_followed_logs 32").await;
    assert_eq!(told(&mut other).await, busy);
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
        let Notice::Moved { head, .. } = told(&mut lazy).await else { panic!("ended") };
        assert!(head > last);
        last = head;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_follows_so_many_logs_and_no_more() {
    const MOST: u16 = 4096;
    let (relay, _service) = open_relay();
    let mut stream = FollowStream::connect(&relay.url, None).await.unwrap();
    let log = |number: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        LogId::from_bytes(bytes)
    };
    for number in 0..=MOST {
        stream.follow(&read(log(number), 0, &token(1))).await.unwrap();
    }
    let busy = Notice::Ended { log: log(MOST), why: Ended::Busy };
    assert_eq!(told(&mut stream).await, busy);
    // With another token it is one of those that are followed.
    stream.follow(&read(log(0), 0, &token(2))).await.unwrap();
    stream.unfollow(&log(1)).await.unwrap();
    stream.follow(&read(log(MOST), 0, &token(1))).await.unwrap();
    let told = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_time_between_pings_that_no_timer_takes_is_refused() {
    let day = Duration::from_hours(24);
    for (ping, taken) in [
        (Duration::ZERO, false),
        (Duration::from_millis(1), true),
        (day, true),
        (day + Duration::from_nanos(1), false),
        (Duration::MAX, false),
    ] {
        let relay = Relay::new(memory(), common::unlimited());
        let options = ServerOptions { ping, ..ServerOptions::default() };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), relay, options, None).await;
        let refused = server.err().map(|error| error.kind());
        assert_eq!(refused, (!taken).then_some(std::io::ErrorKind::InvalidInput), "{ping:?}");
    }
}

/// Who is gone without a word, or says nothing more, is not kept for ever.
#[test]
fn who_does_not_answer_a_ping_is_let_go() {
    use std::io::{Read as _, Write as _};

    let ping = Duration::from_millis(200);
    let options = ServerOptions { ping, ..ServerOptions::default() };
    let relay = start(memory(), common::unlimited(), options);
    let upgrade =
        b"GET /v1/follow HTTP/1.1\r\nhost: r\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut silent = std::net::TcpStream::connect(relay.address()).unwrap();
    silent.write_all(upgrade).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // One whose client answers stays.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut alive = FollowStream::connect(&relay.url, None).await.unwrap();
        let told = tokio::time::timeout(ping * 10, alive.next()).await;
        assert!(told.is_err(), "{told:?}");
        alive.follow(&read(LogId::random().unwrap(), 0, &token(1))).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ended = tokio::task::spawn_blocking(move || {
            let (mut heard, mut piece) = (Vec::new(), [0; 1024]);
            while Instant::now() < deadline {
                match silent.read(&mut piece).unwrap() {
                    0 => return heard,
                    count => heard.extend_from_slice(&piece[..count]),
                }
            }
            panic!("it is not let go")
        });
        let heard = ended.await.unwrap();
        assert!(heard.starts_with(b"HTTP/1.1 101") && heard.ends_with(&[0x89, 0]), "a ping");
    });
}

/// With the codes of RFC 6455 section 7.4.1, by which a client knows whether to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_closed_with_the_reason() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let (mut relay, _service) = open_relay();
    let url = format!("ws://{}/v1/follow", relay.address());
    let mut codes = Vec::new();
    let long = vec![1; 513];
    let messages = [
        Message::Binary(vec![9; 34].into()),
        Message::Text("hello".into()),
        Message::Binary(long.into()),
    ];
    for message in messages.map(Some).into_iter().chain([None]) {
        let (mut stream, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        match message {
            Some(message) => stream.send(message).await.unwrap(),
            None => {
                let end = std::thread::spawn(move || relay.stop());
                let closed = stream.next().await;
                end.join().unwrap();
                if let Some(Ok(Message::Close(Some(frame)))) = closed {
                    codes.push(u16::from(frame.code));
                }
                break;
            }
        }
        match stream.next().await {
            Some(Ok(Message::Close(Some(frame)))) => codes.push(u16::from(frame.code)),
            _ => codes.push(0),
        }
    }
    // What is too long is not read to its end, and the connection just ends.
    assert_eq!(codes, [1007, 1003, 0, 1001]);
}
