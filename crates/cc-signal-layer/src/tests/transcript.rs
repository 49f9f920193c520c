//! A whole session, byte for byte (`tests/vectors/transcript.json`, described beside it).

use std::{fs, path::PathBuf, string::String};

use alloc::{format, vec::Vec};

use serde_json::{Value, json};

use crate::{
    Account, Agree, Limits, SafetyNumber, SenderChain, Sessions,
    entropy::{Entropy, Fixed},
    message_key::tests::forget,
};

/// Who sends what, with an index under which it is delivered later. `None` sends nothing.
struct Transcript {
    accounts: [Account; 2],
    sessions: [Sessions; 2],
    entropy: [Fixed; 2],
    steps: Vec<Value>,
    messages: Vec<(usize, Vec<u8>, Vec<u8>)>,
}

const NAMES: [&str; 2] = ["alice", "bob"];

/// When Alice begins, in microseconds since 1970: the number of the session.
const NOW: u64 = 1_700_000_000_000_000;

impl Transcript {
    fn send(&mut self, from: usize, text: &str) -> usize {
        let ad = format!("ad {}", self.messages.len());
        let entropy = &mut self.entropy[from];
        let session = self.sessions[from].active_mut_for_test();
        let message = session.encrypt_with(ad.as_bytes(), text.as_bytes(), entropy).unwrap();
        self.steps.push(json!({
            "step": "send",
            "index": self.messages.len(),
            "from": NAMES[from],
            "associated_data": hex::encode(&ad),
            "text": hex::encode(text),
            "message": hex::encode(&message),
        }));
        self.messages.push((1 - from, ad.into_bytes(), message));
        self.messages.len() - 1
    }

    /// Bob and Alice in turns, with their number as the text; the message.
    fn turn(&mut self, number: usize) -> Value {
        let from = 1 - number % 2;
        let text = format!("{number}");
        let entropy = &mut self.entropy[from];
        let session = self.sessions[from].active_mut_for_test();
        let message = session.encrypt_with(b"exchange", text.as_bytes(), entropy).unwrap();
        let to = 1 - from;
        let opened =
            self.sessions[to].decrypt(&mut self.accounts[to], b"exchange", &message).unwrap();
        assert_eq!(opened, text.as_bytes());
        hex::encode(&message).into()
    }

    fn receive(&mut self, index: usize) {
        let (to, ad, message) = &self.messages[index];
        self.sessions[*to].decrypt(&mut self.accounts[*to], ad, message).unwrap();
        self.steps.push(json!({ "step": "receive", "index": index, "by": NAMES[*to] }));
    }
}

/// More than an exchange takes.
const EXCHANGE: usize = 100;

fn transcript() -> Value {
    forget();
    let mut entropy = NAMES.map(|name| Fixed::new(format!("transcript {name}").as_bytes()));
    let [alice, mut bob] = [0, 1].map(|n| Account::generate_from(&mut entropy[n]).unwrap());
    bob.replenish_from(1, &mut entropy[1]).unwrap();
    let bundle = bob.one_time_bundles(1).pop().unwrap();
    let (a, b) = (*alice.identity(), *bob.identity());
    let mut run = Transcript {
        accounts: [alice, bob],
        sessions: [Sessions::new(b, Limits::default()), Sessions::new(a, Limits::default())],
        entropy,
        steps: Vec::new(),
        messages: Vec::new(),
    };
    run.sessions[0]
        .begin_from(&run.accounts[0], &bundle, Agree::Pqxdh, NOW, &mut run.entropy[0])
        .unwrap();
    // The handshake twice, out of order; then both chains, a skipped message, and its late
    // arrival after another ratchet step.
    let first = run.send(0, "first");
    let second = run.send(0, "second");
    run.receive(second);
    run.receive(first);
    let answer = run.send(1, "answer");
    run.receive(answer);
    let lost = run.send(0, "late");
    let seen = run.send(0, "");
    run.receive(seen);
    let answer = run.send(1, "another answer");
    run.receive(answer);
    let next = run.send(0, "next chain");
    run.receive(next);
    run.receive(lost);
    // A whole exchange of post-quantum keys and the beginning of the next one, in turns.
    let exchange: Vec<_> = (0..EXCHANGE).map(|n| run.turn(n)).collect();
    assert!(
        run.sessions.iter_mut().all(|sessions| {
            sessions.active_mut_for_test().ratchet_mut().spqr_mut().epoch() >= 1
        })
    );

    let mut entropy = Fixed::new(b"transcript group");
    let mut sender = SenderChain::generate_from(b"sender", &mut entropy).unwrap();
    let distribution = hex::encode(sender.distribution().expose());
    let group: Vec<Value> = ["one", "two"]
        .iter()
        .map(|text| {
            let message = sender.encrypt_with(b"group", text.as_bytes(), &mut entropy).unwrap();
            json!({
                "associated_data": hex::encode("group"),
                "text": hex::encode(text),
                "message": hex::encode(message),
            })
        })
        .collect();

    let state = |n: usize| hex::encode(run.sessions[n].export().expose());
    let number = SafetyNumber::new(&a, b"alice", &b, b"bob");
    json!({
        "alice_identity": hex::encode(a.to_bytes()),
        "bob_identity": hex::encode(b.to_bytes()),
        "bob_bundle": hex::encode(bundle.to_bytes()),
        "session_number": NOW,
        "session_id": hex::encode(run.sessions[0].active().unwrap().id()),
        "steps": run.steps,
        "exchange": exchange,
        "alice_sessions": state(0),
        "bob_sessions": state(1),
        "safety_number": format!("{number}"),
        "safety_code": hex::encode(number.to_bytes()),
        "group_distribution": distribution,
        "group_messages": group,
    })
}

#[test]
fn the_transcript_is_reproduced() {
    let file: Value = serde_json::from_slice(&fs::read(path()).unwrap()).unwrap();
    let ours = transcript();
    for (name, value) in ours.as_object().unwrap() {
        assert_eq!(&file[name], value, "{name}");
    }
    assert_eq!(file, ours);
}

/// The stream that the transcript draws from, so that a reader can check their own.
#[test]
fn the_fixed_stream() {
    let bytes: [u8; 40] = Fixed::new(b"transcript alice").array().unwrap();
    assert_eq!(
        hex::encode(bytes),
        fs::read_to_string(path().with_file_name("stream.txt")).unwrap().trim()
    );
}

/// Writes the vector. A change of it is a change of the wire format.
#[test]
#[ignore = "writes a file"]
fn write_transcript() {
    let mut file: String = serde_json::to_string_pretty(&transcript()).unwrap();
    file.push('\n');
    fs::write(path(), file).unwrap();
    let bytes: [u8; 40] = Fixed::new(b"transcript alice").array().unwrap();
    let mut line = hex::encode(bytes);
    line.push('\n');
    fs::write(path().with_file_name("stream.txt"), line).unwrap();
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/transcript.json")
}
