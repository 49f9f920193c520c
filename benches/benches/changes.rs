//! Changes in the MLS layer beside mls-rs: the same ciphersuite, both with RustCrypto and a store in memory, both
//! writing what must survive a restart within the time that is measured. Nobody but the founder has committed.
//!
//! The two take turns, and the fastest run of each counts, in time of the processor: other work on the machine disturbs
//! that least.
//! `cargo bench -p cc-benches --bench changes` takes 100 and 1000 members; `-- 1000 5000 20000` takes those sizes, with
//! fewer runs of the large ones. `RAYON_NUM_THREADS=1` keeps both to one thread.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, time::Duration};

use cc_benches::on_processor;
use common::Peer;
use groups::{client, key_package, ours, theirs};
use mls_rs::MlsMessage;

#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;
#[path = "shared/groups.rs"]
mod groups;

/// What one side took, run by run.
#[derive(Default)]
struct Times {
    commit: Vec<Duration>,
    process: Vec<Duration>,
    join: Vec<Duration>,
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args().filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100, 1000];
    }
    let most = if cc_benches::quick() { 10 } else { 30 };
    println!("                      members        layer       mls-rs   ratio   (fastest; median)");
    for size in sizes {
        let runs = if size > 1000 { most / 5 } else { most };
        let (layer, mls_rs) = measure(size, runs);
        report("make a commit", size, layer.commit, mls_rs.commit);
        report("process a commit", size, layer.process, mls_rs.process);
        report("join", size, layer.join, mls_rs.join);
    }
}

fn measure(size: usize, runs: usize) -> (Times, Times) {
    let (mut layer, mut mls_rs) = (Times::default(), Times::default());
    let (mut founder, mut other) = ours(size, false);
    let (mut their_founder, mut their_other) = theirs(size, false);
    for _ in 0..runs {
        let (time, staged) = on_processor(|| {
            let staged = founder.stage(&[], &[]).unwrap();
            founder.confirm();
            staged
        });
        layer.commit.push(time);
        layer.process.push(on_processor(|| other.process(&staged).unwrap()).0);

        let (time, commit) = on_processor(|| {
            let commit = their_founder.commit(vec![]).unwrap().commit_message;
            let commit = black_box(commit.to_bytes().unwrap());
            their_founder.apply_pending_commit().unwrap();
            their_founder.write_to_storage().unwrap();
            commit
        });
        mls_rs.commit.push(time);
        let process = || {
            let commit = MlsMessage::from_bytes(&commit).unwrap();
            their_other.process_incoming_message(commit).unwrap();
            their_other.write_to_storage().unwrap();
        };
        mls_rs.process.push(on_processor(process).0);

        let mut joiner = Peer::joiner("new").alone();
        let package = joiner.key_package();
        let staged = founder.stage(&[package], &[]).unwrap();
        founder.transact(cc_core::GroupLayer::discard_change).unwrap();
        layer.join.push(on_processor(|| joiner.join(&staged).unwrap()).0);

        let joiner = client("new");
        let package = key_package(&joiner);
        let commit = their_founder.commit_builder().add_member(package).unwrap().build().unwrap();
        their_founder.clear_pending_commit();
        let welcome = commit.welcome_messages[0].to_bytes().unwrap();
        let join = || {
            let welcome = MlsMessage::from_bytes(&welcome).unwrap();
            let (mut group, _) = joiner.join_group(None, &welcome, None).unwrap();
            group.write_to_storage().unwrap();
            group
        };
        mls_rs.join.push(on_processor(join).0);
    }
    (layer, mls_rs)
}

fn report(what: &str, size: usize, mut layer: Vec<Duration>, mut mls_rs: Vec<Duration>) {
    layer.sort_unstable();
    mls_rs.sort_unstable();
    let (table, row) = (format!("changes/{what}"), size.to_string());
    cc_benches::time(&table, &row, "layer", layer[0]);
    cc_benches::time(&table, &row, "mls-rs", mls_rs[0]);
    let ratio = layer[0].as_secs_f64() / mls_rs[0].as_secs_f64();
    println!(
        "{what:<20}{size:>9}{:>13.2?}{:>13.2?}{ratio:>8.2}   ({:.2?}, {:.2?})",
        layer[0],
        mls_rs[0],
        layer[layer.len() / 2],
        mls_rs[mls_rs.len() / 2],
    );
}
