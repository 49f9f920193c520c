//! Attachments that are sent in pieces, by processes that are killed at each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::{self, talk as people};

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use people::{Person, Relay};

/// Between a client and the relay: lets so many bytes pass to the relay, and then none.
struct Gate {
    address: String,
    passed: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
    /// Connections of before the last change of the limit end: those of who was killed.
    turn: Arc<AtomicU64>,
}

impl Gate {
    fn before(relay: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (passed, limit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let turn = Arc::new(AtomicU64::new(0));
        let gate = Self {
            address,
            passed: Arc::clone(&passed),
            limit: Arc::clone(&limit),
            turn: Arc::clone(&turn),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A relay that is not there refuses.
                let Ok(relay) = TcpStream::connect(&relay) else { continue };
                let (to_client, from_relay) =
                    (client.try_clone().unwrap(), relay.try_clone().unwrap());
                let (passed, limit) = (Arc::clone(&passed), Arc::clone(&limit));
                let (turn, of) = (Arc::clone(&turn), turn.load(Ordering::SeqCst));
                thread::spawn(move || {
                    pass(client, relay, |bytes| {
                        let is_over = || turn.load(Ordering::SeqCst) != of;
                        if is_over() {
                            return false;
                        }
                        passed.fetch_add(bytes, Ordering::SeqCst);
                        while passed.load(Ordering::SeqCst) >= limit.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(2));
                        }
                        !is_over()
                    });
                });
                thread::spawn(move || pass(from_relay, to_client, |_| true));
            }
        });
        gate
    }

    /// From now on, to those who come from now on.
    fn allow(&self, bytes: u64) {
        self.turn.fetch_add(1, Ordering::SeqCst);
        self.limit.store(self.passed() + bytes, Ordering::SeqCst);
    }

    fn open(&self) {
        self.limit.store(u64::MAX, Ordering::SeqCst);
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    fn is_shut(&self) -> bool {
        self.passed() >= self.limit.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn(u64) -> bool) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if !may_pass(count as u64) || to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(std::net::Shutdown::Both);
}

const SIZE: usize = 5 << 20;

#[test]
fn a_send_that_is_killed_at_each_piece_goes_on_where_it_was() {
    let mut relay = Relay::start();
    let gate = Gate::before(relay.url().split_once("://").unwrap().1.to_owned());
    let alice = Person::at("Alice", &format!("http://{}", gate.address));
    // The link of who is invited names the same relay.
    let bob = Person::at("Bob", &format!("http://{}", gate.address));
    alice.found("Files", &[&bob]);
    let content = common::content(SIZE);
    let path = alice.path("plan.pdf");
    fs::write(&path, &content).unwrap();
    let send = ["send", "Files", "the plan", "--attach", path.to_str().unwrap()];
    let before = gate.passed();
    // More than one piece, and less than two: who begins from the beginning never comes to the end.
    gate.allow(1_300_000);
    let mut kills = 0;
    let mut sender = alice.command(&send).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        assert!(Instant::now() < deadline, "{kills} kills, {} bytes", gate.passed() - before);
        if let Some(status) = sender.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            break;
        }
        if gate.is_shut() {
            // At moments that differ.
            thread::sleep(Duration::from_millis(100 + 60 * (kills % 4)));
            sender.kill().unwrap();
            sender.wait().unwrap();
            kills += 1;
            if kills == 3 {
                relay.restart();
            }
            gate.allow(1_300_000);
            // Any command goes on with it; this one waits until all is sent.
            let text = format!("kill {kills}");
            let next = ["send", "Files", &text, "--timeout", "120"];
            sender = alice.command(&next).spawn().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    gate.open();
    assert!(kills >= 4, "{kills}");
    let passed = gate.passed() - before;
    assert!(passed < 3 * SIZE as u64, "{passed} bytes for {SIZE}, with {kills} kills");
    let seen = bob.run(&["receive"]);
    let files: Vec<_> = seen.iter().filter(|entry| entry["content"] == "attachment").collect();
    assert_eq!(files.len(), 1, "{seen:?}");
    assert_eq!(files[0]["text"], "the plan");
    let saved = bob.path("saved.pdf");
    bob.run(&["save", &files[0]["number"].to_string(), saved.to_str().unwrap()]);
    assert!(fs::read(&saved).unwrap() == content);
}

#[test]
fn a_relay_that_is_restarted_in_the_middle_is_waited_for() {
    let mut relay = Relay::start();
    let gate = Gate::before(relay.url().split_once("://").unwrap().1.to_owned());
    let url = format!("http://{}", gate.address);
    let (alice, bob) = (Person::at("Alice", &url), Person::at("Bob", &url));
    alice.found("Files", &[&bob]);
    let content = common::content(SIZE);
    let path = alice.path("plan.pdf");
    fs::write(&path, &content).unwrap();
    gate.allow(2_500_000);
    let send = ["send", "Files", "--attach", path.to_str().unwrap(), "--timeout", "120"];
    let mut sender = alice.command(&send).spawn().unwrap();
    while !gate.is_shut() {
        thread::sleep(Duration::from_millis(5));
    }
    relay.kill();
    gate.open();
    thread::sleep(Duration::from_secs(1));
    relay.restart();
    assert!(sender.wait().unwrap().success());
    let seen = bob.run(&["receive"]);
    let file = seen.iter().find(|entry| entry["content"] == "attachment").unwrap();
    let saved = bob.path("saved.pdf");
    bob.run(&["save", &file["number"].to_string(), saved.to_str().unwrap()]);
    assert!(fs::read(&saved).unwrap() == content);
}

#[test]
fn a_file_that_changed_meanwhile_is_told_and_not_sent() {
    let relay = Relay::start();
    let gate = Gate::before(relay.url().split_once("://").unwrap().1.to_owned());
    let url = format!("http://{}", gate.address);
    let (alice, bob) = (Person::at("Alice", &url), Person::at("Bob", &url));
    alice.found("Files", &[&bob]);
    let path = alice.path("plan.pdf");
    fs::write(&path, common::content(SIZE)).unwrap();
    gate.allow(1_300_000);
    let send = ["send", "Files", "--attach", path.to_str().unwrap()];
    let mut sender = alice.command(&send).spawn().unwrap();
    while !gate.is_shut() {
        thread::sleep(Duration::from_millis(5));
    }
    sender.kill().unwrap();
    sender.wait().unwrap();
    fs::write(&path, b"another plan").unwrap();
    gate.open();
    alice.run(&["send", "Files", "never mind"]);
    let seen = bob.run(&["receive"]);
    assert!(seen.iter().all(|entry| entry["content"] != "attachment"), "{seen:?}");
    // It is forgotten: nothing tries again.
    alice.run(&["send", "Files", "really"]);
    assert_eq!(bob.receive(), ["really"]);
}
