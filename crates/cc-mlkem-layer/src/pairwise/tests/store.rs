//! What a store has of a pair.

use alloc::{format, string::ToString};

use super::*;

/// Alice in the middle of a conversation, with a header that is not confirmed.
fn busy() -> MlKemLayer {
    let [mut alice, mut bob] = pair();
    for _ in 0..3 {
        renew(&mut alice);
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
    }
    alice.settings().set_time(7).unwrap();
    renew(&mut alice);
    let _ = seal(&mut alice, b"text");
    renew(&mut alice);
    alice
}

fn storage(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> alloc::string::String {
    let error = load(records).err().unwrap();
    assert_eq!(error.kind(), LayerErrorKind::Storage);
    cc_core::error_chain(&error).to_string()
}

#[test]
fn missing_newer_and_left_over_records_are_refused() {
    let [mut new, _] = pair();
    for records in [dump(&mut busy()), dump(&mut new)] {
        for key in records.keys() {
            let mut missing = records.clone();
            missing.remove(key);
            let error = storage(&missing);
            assert!(error.contains("missing") || error.contains("malformed"));
            for (version, word) in [(0, "malformed"), (2, "format 2")] {
                let mut other = records.clone();
                other.get_mut(key).unwrap()[1] = version;
                assert!(storage(&other).contains(word));
            }
            let mut longer = records.clone();
            longer.get_mut(key).unwrap().push(0);
            assert!(storage(&longer).contains("malformed"));
        }
        let mut left_over = records.clone();
        left_over.insert(b"own\0\0\0\0\0\0\0\x63".to_vec(), vec![0, 1]);
        assert!(storage(&left_over).contains("malformed"));
    }
}

#[test]
fn damaged_records_do_no_harm() {
    let records = dump(&mut busy());
    for key in records.keys() {
        for at in (0..records[key].len()).step_by(records[key].len() / 60 + 1) {
            for change in [1u8, 0x80] {
                let mut other = records.clone();
                other.get_mut(key).unwrap()[at] ^= change;
                match load(&other) {
                    Ok(mut layer) => assert_eq!(dump(&mut layer), other),
                    Err(error) => assert_eq!(error.kind(), LayerErrorKind::Storage),
                }
            }
            let mut other = records.clone();
            other.get_mut(key).unwrap().truncate(at);
            storage(&other);
        }
    }
}

/// A message in an epoch that goes on writes one small record, and one that is received none.
#[test]
fn a_message_writes_little() {
    let [mut alice, mut bob] = pair();
    for _ in 0..2 {
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
    }
    let save = |layer: &mut MlKemLayer, new: bool| {
        let mut batch = Batch::new();
        let mut to = if new { batch.new_scope(scope()) } else { batch.scope(scope()) };
        layer.save(&mut to).unwrap();
        layer.apply();
        batch
            .changes()
            .map(|(_, key, change)| match change {
                Change::Put(value) => key.len() + value.expose().len(),
                Change::Delete => key.len(),
            })
            .sum::<usize>()
    };
    save(&mut alice, true);
    save(&mut bob, true);
    send(&mut alice, &mut bob);
    assert_eq!(save(&mut alice, false), b"progress".len() + 2 + 8 + 9 + 9 + 1);
    assert_eq!(save(&mut bob, false), 0);
}

#[test]
fn no_secret_shows() {
    let mut alice = busy();
    let records = dump(&mut alice);
    let shown = format!("{alice:?} {:?}", alice.mode_for_tests().unwrap().state);
    for (key, value) in &records {
        // The rest of these is public, and so are the others.
        let secrets = match key.as_slice() {
            b"layer" => &value[6..102],
            key if key.starts_with(b"own") => &value[2..],
            key if key.starts_with(b"peer\0") => &value[2..98],
            _ => continue,
        };
        for window in secrets.windows(16) {
            if window.iter().filter(|byte| **byte == 0).count() < 6 {
                assert!(!shown.contains(&hex::encode(window)));
                assert!(!shown.contains(&format!("{window:?}")[1..40]));
            }
        }
    }
}
