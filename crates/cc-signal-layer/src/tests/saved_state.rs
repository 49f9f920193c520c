//! Saved state: sizes, strictness, and fixtures written by earlier versions.

use std::{fs, path::PathBuf, string::String};

use alloc::{format, vec, vec::Vec};

use serde_json::{Value, json};

use super::{AD, acquainted, session_pair, strangers};
use crate::{
    Account, Agree, Error, Limits, SenderChain, SenderKeys, Session, Sessions,
    message_key::tests::forget,
};

#[test]
fn an_acknowledged_session_is_small() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    for _ in 0..12 {
        let message = alice.encrypt(AD, b"text").unwrap();
        bob.decrypt(AD, &message).unwrap();
        let message = bob.encrypt(AD, b"text").unwrap();
        alice.decrypt(AD, &message).unwrap();
    }
    for session in [&alice, &bob] {
        let len = session.export().expose().len();
        assert!(len < 2048, "{len} bytes");
        std::println!("session state: {len} bytes");
    }
}

#[test]
fn damaged_state_is_refused_or_harmless() {
    let (mut alice, bob) = acquainted();
    let _ = alice.encrypt(b"so that there is a chain");
    let sessions = alice.sessions.export().expose().to_vec();
    let session = alice.sessions.active().unwrap().export().expose().to_vec();
    let account = bob.account.export().expose().to_vec();
    for bytes in [&sessions, &session, &account] {
        for len in 0..bytes.len() {
            let cut = &bytes[..len];
            assert!(Sessions::load(cut, Limits::default()).is_err());
            assert!(Session::load(cut, Limits::default()).is_err());
            assert!(Account::load(cut).is_err());
        }
        // Any flipped bit: no panic, whatever it means.
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            let _ = Sessions::load(&flipped, Limits::default());
            let _ = Session::load(&flipped, Limits::default());
            let _ = Account::load(&flipped);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Sessions::load(&longer, Limits::default()).is_err());
        assert!(Session::load(&longer, Limits::default()).is_err());
        assert!(Account::load(&longer).is_err());
    }
    // Kinds are not taken for one another, and versions to come are named.
    assert_eq!(Account::load(&session).unwrap_err(), Error::InvalidState);
    let mut newer = account;
    newer[1] = 2;
    assert_eq!(Account::load(&newer).unwrap_err(), Error::UnknownVersion(2));
}

#[test]
fn sender_keys_survive_a_restart() {
    let mut sender = SenderChain::generate(b"s").unwrap();
    let mut keys = SenderKeys::generate(b"reader", Limits::default()).unwrap();
    keys.insert(b"s", sender.distribution().expose()).unwrap();
    let messages: Vec<_> = (0..3).map(|n| sender.encrypt(AD, &[n]).unwrap()).collect();
    let (_, _, staged) = keys.open(AD, &messages[2]).unwrap();
    keys.apply(staged).unwrap();
    let bytes = keys.export();
    let mut keys = SenderKeys::load(bytes.expose(), Limits::default()).unwrap();
    assert_eq!(keys.export(), bytes);
    assert!(keys.open(AD, &messages[2]).is_err());
    for n in [1, 0] {
        let (_, text, staged) = keys.open(AD, &messages[usize::from(n)]).unwrap();
        assert_eq!(text, [n]);
        keys.apply(staged).unwrap();
    }
    for len in 0..bytes.expose().len() {
        assert!(SenderKeys::load(&bytes.expose()[..len], Limits::default()).is_err());
    }
    let mut restarted = SenderChain::load(sender.export().expose()).unwrap();
    let message = restarted.encrypt(AD, b"on").unwrap();
    assert_eq!(keys.open(AD, &message).unwrap().1, b"on");
}

/// State of version 1 as this code wrote it when the format was new, and messages it must open.
#[test]
fn fixtures_of_version_1_open() {
    forget();
    let fixture: Value =
        serde_json::from_slice(&fs::read(fixture_path("state-v1.json")).unwrap()).unwrap();
    let bytes = |name: &str| hex::decode(fixture[name].as_str().unwrap()).unwrap();

    let mut account = Account::load(&bytes("account")).unwrap();
    assert_eq!(account.export().expose(), bytes("account"));
    let mut sessions = Sessions::load(&bytes("sessions"), Limits::default()).unwrap();
    assert_eq!(sessions.export().expose(), bytes("sessions"));
    for name in ["skipped", "late", "next", "step", "initial"] {
        let text = sessions
            .decrypt(&mut account, AD, &bytes(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(text, name.as_bytes());
    }
    let mut peer = Session::load(&bytes("peer_session"), Limits::default()).unwrap();
    let message = sessions.encrypt(AD, b"on we go").unwrap();
    // The initial message has made a newer session active, which the old peer does not have.
    assert!(peer.decrypt(AD, &message).is_err());

    let mut keys = SenderKeys::load(&bytes("sender_keys"), Limits::default()).unwrap();
    assert_eq!(keys.export().expose(), bytes("sender_keys"));
    let (sender, text, staged) = keys.open(AD, &bytes("group")).unwrap();
    assert_eq!((sender, &text[..]), (&b"sender"[..], &b"group"[..]));
    keys.apply(staged).unwrap();
    let mut chain = SenderChain::load(&bytes("sender_chain")).unwrap();
    let message = chain.encrypt(AD, b"on").unwrap();
    assert_eq!(keys.open(AD, &message).unwrap().1, b"on");
}

/// Writes a fixture. To be run by hand once for every new version of the format, never again for
/// an old one: `cargo test -p cc-signal-layer write_fixture -- --ignored`.
#[test]
#[ignore = "writes a file"]
fn write_fixture() {
    let (mut alice, mut bob) = acquainted();
    // Bob's state: a skipped key in a former chain, one in the current chain.
    let skipped = alice.encrypt(b"skipped");
    let seen = alice.encrypt(b"seen");
    bob.decrypt(&seen).unwrap();
    let answer = bob.encrypt(b"answer");
    alice.decrypt(&answer).unwrap();
    let late = alice.encrypt(b"late");
    let seen = alice.encrypt(b"seen");
    bob.decrypt(&seen).unwrap();
    let answer = bob.encrypt(b"answer");
    let next = alice.encrypt(b"next");

    let mut sender = SenderChain::generate(b"sender").unwrap();
    let mut keys = SenderKeys::generate(b"reader", Limits::default()).unwrap();
    let distribution = sender.distribution();
    keys.insert(b"sender", distribution.expose()).unwrap();
    let group = sender.encrypt(AD, b"group").unwrap();

    // Alice begins another session, with the keys that Bob's account has in the fixture.
    let bundle = bob.account.one_time_bundles(1).pop().unwrap();
    let (account, sessions) = bob.snapshot();
    let mut other = alice.stolen();
    alice.decrypt(&answer).unwrap();
    let step = alice.encrypt(b"step");
    other.sessions.begin(&other.account, &bundle, Agree::Pqxdh).unwrap();
    let initial = other.encrypt(b"initial");
    let peer_session = alice.sessions.active().unwrap().export();
    let text = |bytes: &[u8]| hex::encode(bytes);
    let fixture = json!({
        "account": text(&account),
        "sessions": text(&sessions),
        "peer_session": text(peer_session.expose()),
        "skipped": text(&skipped),
        "late": text(&late),
        "next": text(&next),
        "step": text(&step),
        "initial": text(&initial),
        "sender_keys": text(keys.export().expose()),
        "sender_chain": text(sender.export().expose()),
        "group": text(&group),
    });
    let mut file = serde_json::to_string_pretty(&fixture).unwrap();
    file.push('\n');
    fs::write(fixture_path("state-v1.json"), file).unwrap();
}

#[test]
fn debug_output_shows_no_secret() {
    let (mut alice, bob) = strangers();
    alice.sessions.begin(&alice.account, &bob.account.bundle(), Agree::Pqxdh).unwrap();
    let mut shown: Vec<String> = vec![
        format!("{:?}", alice.account),
        format!("{:?}", SenderKeys::generate(b"own", Limits::default()).unwrap()),
    ];
    // The handshake is public, and the rest is redacted.
    shown.push(format!("{:?}", alice.sessions));
    let secret = alice.account.export();
    for text in shown {
        for window in secret.expose()[14..78].windows(4) {
            let list = format!("{}, {}, {}, {}", window[0], window[1], window[2], window[3]);
            assert!(!text.contains(&list));
        }
    }
}

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
