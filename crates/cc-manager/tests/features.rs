//! The features `serde` and `tracing`.

#![cfg(all(feature = "serde", feature = "tracing"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use cc_core::MemberId;
use cc_manager::{ChangeSummary, Incoming, Joined, KeyPackageView, Kind, LayerErrorKind, Standing};
use common::{Follow as _, founder, group, joiner};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    json
}

#[test]
fn plain_public_data_is_serialized() {
    let mut alice = founder("alice");
    let mut bob = joiner("bob");
    let package = bob.key_package().unwrap();
    let view: KeyPackageView = alice.inspect_key_package(&package).unwrap();
    round_trip(&view);
    let change = alice.add_members([package]).unwrap();
    assert_eq!(round_trip(&change.id()), format!("\"{}\"", change.id()));
    let confirmed = alice.confirm(change.id()).unwrap();
    let summary: ChangeSummary = confirmed.summary;
    assert!(round_trip(&summary).contains("\"removed_self\":false"));
    let joined: Joined = bob.join(confirmed.welcome.unwrap()).unwrap();
    assert!(round_trip(&joined).contains("alice"));
    round_trip(&alice.standing().unwrap());
    round_trip(&Standing::Removed);
    round_trip(&Kind::Welcome);
    round_trip(&LayerErrorKind::Stale);
    let report = serde_json::to_string(&alice.stack_report()).unwrap();
    assert!(report.contains("\"refuses_replays\":true"), "{report}");
    alice.encrypt("text").unwrap();
    assert!(serde_json::to_string(alice.last_report()).unwrap().contains("bytes_out"));
}

#[test]
fn an_id_is_hexadecimal_digits_and_nothing_else_is_an_id() {
    let id = MemberId::from_bytes([0xab; 32]);
    assert_eq!(round_trip(&id), format!("\"{}\"", "ab".repeat(32)));
    for bad in ["\"ab\"".to_string(), format!("\"{}\"", "+a".repeat(32)), "[1,2]".into()] {
        assert!(serde_json::from_str::<MemberId>(&bad).is_err(), "{bad}");
    }
}

/// Keeps what is logged, one line an event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

#[test]
fn the_log_says_why_and_nothing_secret() {
    let lines = Lines::default();
    let logged = Arc::clone(&lines.0);
    tracing::subscriber::with_default(lines, || {
        let mut all = group(&["a", "b"]);
        let wire = all[0].encrypt("attack at dawn").unwrap();
        assert!(matches!(all[1].receive(&wire).unwrap(), Incoming::Message(_)));
        assert!(logged.lock().unwrap().is_empty(), "nothing was refused");
        let mut damaged = all[0].encrypt("attack at dusk").unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        all[1].receive(&damaged).unwrap();
        let update = all[0].update().unwrap();
        all[0].receive(&update.commit).unwrap();
    });
    let logged = logged.lock().unwrap();
    let [(forged, why), (own, _)] = &logged[..] else { panic!("{logged:?}") };
    assert_eq!((*forged, *own), (Level::WARN, Level::DEBUG));
    assert!(why.contains("code=201") && why.contains("position=2"), "{why}");
    assert!(logged.iter().all(|(_, line)| !line.contains("attack")), "{logged:?}");
}
