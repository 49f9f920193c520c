//! What a message costs as the group grows. A measurement, to be run by hand:
//! `cargo test --release -p cc-mls-layer --test cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Peer, assemble, settle};

#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_message() {
    for members in [2usize, 100, 300] {
        let joiners = (1..members).map(|i| Peer::joiner(&format!("member {i}"))).collect();
        let mut peers = assemble(Peer::founder("founder"), joiners);
        // All have spoken, and a few of each one's messages were skipped.
        for sender in 1..members {
            for skipped in 0..6 {
                let wire = peers[sender].seal(b"hello");
                if skipped == 5 {
                    peers[0].open(&wire).unwrap();
                }
            }
        }
        let (mut send, mut receive) = (Vec::new(), Vec::new());
        for _ in 0..640 {
            let start = Instant::now();
            let wire = peers[1].seal(&[7; 100]);
            send.push(start.elapsed());
            let start = Instant::now();
            peers[0].open(&wire).unwrap();
            receive.push(start.elapsed());
        }
        let start = Instant::now();
        let staged = peers[0].stage(&[], &[]).unwrap();
        let commit = start.elapsed();
        let start = Instant::now();
        settle(&mut peers, 0, &staged, &(2..members).collect::<Vec<_>>());
        println!(
            "{members} members: send {:?} mean {:?}, receive {:?} mean {:?}; stage {commit:?}, \
             confirm and process {:?}",
            median(&mut send),
            mean(&send),
            median(&mut receive),
            mean(&receive),
            start.elapsed(),
        );
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap()
}
