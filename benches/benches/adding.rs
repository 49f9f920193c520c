//! Adding many members by one commit, and joining as the last of them: this layer, mls-rs and openmls alone, the
//! same ciphersuite, all with RustCrypto and a store in memory.
//!
//! `cargo bench -p cc-benches --bench adding` takes 10 and 100, for continuous integration; `-- 1000 5000 20000`
//! takes those sizes, and `-- layer 1000` only this layer's. What would take more than ten minutes, by the square of
//! the size before, is left out. The times are those that the process spent on a processor, in all of its threads,
//! so that other work on the machine counts little. One run of each: they are long.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, time::Duration};

use cc_benches::{bare, on_processor};
use cc_core::GroupLayer as _;
use common::Peer;
use groups::{client, key_package};
use mls_rs::MlsMessage;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;
#[path = "shared/groups.rs"]
mod groups;

/// What it took to add and to join, and the bytes of the welcome.
#[derive(Clone, Copy)]
struct Times {
    add: Duration,
    join: Duration,
    welcome: usize,
}

/// Nothing is measured that would take longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Who can be measured alone.
const NAMES: [&str; 3] = ["layer", "mls-rs", "openmls"];

fn named(name: &str) -> bool {
    std::env::args().any(|arg| arg == name)
}

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10, 100] } else { sizes };
    println!("members added                 add   ratio        join   ratio     welcome");
    for (name, measure) in [
        ("layer", ours as fn(usize) -> Times),
        ("mls-rs", theirs as fn(usize) -> Times),
        ("openmls", openmls_alone as fn(usize) -> Times),
    ] {
        if NAMES.iter().any(|name| named(name)) && !named(name) {
            continue;
        }
        let mut first = None;
        let mut last: Option<(usize, Times)> = None;
        for &size in &sizes {
            let expected = last.map_or(Duration::ZERO, |(before, times)| {
                times.add.mul_f64((to_float(size) / to_float(before)).powi(2))
            });
            if expected > LONGEST {
                println!("{name:<12}{size:>9}   not measured");
                continue;
            }
            let times = measure(size);
            let first = *first.get_or_insert(times);
            println!(
                "{name:<12}{size:>9}{:>12.2?}{:>8.1}{:>12.2?}{:>8.1}{:>12}",
                times.add,
                times.add.as_secs_f64() / first.add.as_secs_f64(),
                times.join,
                times.join.as_secs_f64() / first.join.as_secs_f64(),
                times.welcome,
            );
            let row = size.to_string();
            cc_benches::time("adding/add", &row, name, times.add);
            cc_benches::time("adding/join", &row, name, times.join);
            cc_benches::figure("adding/welcome", &row, name, "B", to_float(times.welcome));
            last = Some((size, times));
        }
    }
}

fn to_float(size: usize) -> f64 {
    f64::from(u32::try_from(size).unwrap())
}

/// From key packages in hand until the change is in force and stored, as a manager does it; and from the
/// welcome until the group is stored.
fn ours(size: usize) -> Times {
    let mut founder = Peer::founder("founder").alone();
    let mut joiners: Vec<_> =
        (0..size).map(|i| Peer::joiner(&format!("member {i}")).alone()).collect();
    let packages: Vec<_> = joiners.iter_mut().map(Peer::key_package).collect();
    let (add, staged) = on_processor(|| {
        let staged = founder.stage(&packages, &[]).unwrap();
        founder.confirm();
        staged
    });
    let mut last = joiners.pop().unwrap();
    let (join, sender) = on_processor(|| last.join(&staged).unwrap());
    assert_eq!(sender, Some(founder.id));
    assert_eq!(last.layer.members().len(), size + 1);
    Times { add, join, welcome: staged.parts.welcome.len() }
}

fn theirs(size: usize) -> Times {
    let mut founder = client("founder").group_builder().unwrap().build().unwrap();
    let mut joiners: Vec<_> = (0..size).map(|i| client(&format!("member {i}"))).collect();
    let packages: Vec<_> =
        joiners.iter().map(|joiner| key_package(joiner).to_bytes().unwrap()).collect();
    let (add, welcome) = on_processor(|| {
        let mut commit = founder.commit_builder();
        for package in &packages {
            commit = commit.add_member(MlsMessage::from_bytes(package).unwrap()).unwrap();
        }
        let commit = commit.build().unwrap();
        black_box(commit.commit_message.to_bytes().unwrap());
        founder.apply_pending_commit().unwrap();
        founder.write_to_storage().unwrap();
        commit.welcome_messages[0].to_bytes().unwrap()
    });
    let last = joiners.pop().unwrap();
    let (join, _) = on_processor(|| {
        let welcome = MlsMessage::from_bytes(&welcome).unwrap();
        let (mut group, _) = last.join_group(None, &welcome, None).unwrap();
        group.write_to_storage().unwrap();
        group
    });
    Times { add, join, welcome: welcome.len() }
}

fn openmls_alone(size: usize) -> Times {
    let mut founder = bare::founder::<OpenMlsRustCrypto, SignatureKeyPair>("founder");
    let mut joiners: Vec<_> = (0..size)
        .map(|i| bare::joiner::<OpenMlsRustCrypto, SignatureKeyPair>(&format!("member {i}")))
        .collect();
    let packages: Vec<_> = joiners.iter().map(|joiner| joiner.package()).collect();
    let (add, welcome) = on_processor(|| founder.add(&packages));
    let last = joiners.pop().unwrap();
    let (join, _) = on_processor(|| last.join(&welcome));
    Times { add, join, welcome: welcome.len() }
}
