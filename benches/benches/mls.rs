//! The MLS layer beside mls-rs: the same ciphersuite, both with RustCrypto and a store in memory, both
//! writing what must survive a restart within the time that is measured.
//!
//! `RAYON_NUM_THREADS=1` keeps mls-rs to one thread; the layer never uses more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use common::Peer;
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, Group, MlsMessage,
    client_builder::{MlsConfig, PaddingMode},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;

const TEXT: [u8; 100] = [7; 100];

fn client(name: &str) -> Client<impl MlsConfig + use<>> {
    let crypto = RustCryptoProvider::default();
    let suite = crypto.cipher_suite_provider(CipherSuite::CURVE25519_AES128).unwrap();
    let (secret, public) = suite.signature_key_generate().unwrap();
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    let rules = DefaultMlsRules::new()
        .with_commit_options(CommitOptions::new().with_path_required(true))
        .with_encryption_options(EncryptionOptions::new(true, PaddingMode::StepFunction));
    Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .mls_rules(rules)
        .signing_identity(
            SigningIdentity::new(credential, public),
            secret,
            CipherSuite::CURVE25519_AES128,
        )
        .build()
}

fn key_package<C: MlsConfig>(client: &Client<C>) -> MlsMessage {
    client
        .generate_key_package_message(
            mls_rs::ExtensionList::default(),
            mls_rs::ExtensionList::default(),
            None,
        )
        .unwrap()
}

/// Two members of a group of `size`; all have spoken where `speak` says so.
fn ours(size: usize, speak: bool) -> (Peer, Peer) {
    let mut founder = Peer::founder("0").alone();
    let mut joiners: Vec<_> = (1..size).map(|i| Peer::joiner(&i.to_string()).alone()).collect();
    let packages: Vec<_> = joiners.iter_mut().map(Peer::key_package).collect();
    let staged = founder.stage(&packages, &[]).unwrap();
    founder.confirm();
    let mut joiners = joiners.into_iter();
    let mut other = joiners.next().unwrap();
    other.join(&staged).unwrap();
    if speak {
        let hello = other.seal(b"hello");
        founder.open(&hello).unwrap();
        let hello = founder.seal(b"hello");
        other.open(&hello).unwrap();
        for mut joiner in joiners {
            joiner.join(&staged).unwrap();
            let hello = joiner.seal(b"hello");
            founder.open(&hello).unwrap();
            other.open(&hello).unwrap();
        }
    }
    (founder, other)
}

/// The same in mls-rs.
fn theirs(size: usize, speak: bool) -> (Group<impl MlsConfig>, Group<impl MlsConfig>) {
    let mut founder = client("0").group_builder().unwrap().build().unwrap();
    let joiners: Vec<_> = (1..size).map(|i| client(&i.to_string())).collect();
    let mut commit = founder.commit_builder();
    for joiner in &joiners {
        commit = commit.add_member(key_package(joiner)).unwrap();
    }
    let commit = commit.build().unwrap();
    founder.apply_pending_commit().unwrap();
    let welcome = &commit.welcome_messages[0];
    let (mut other, _) = joiners[0].join_group(None, welcome, None).unwrap();
    if speak {
        let hello = other.encrypt_application_message(b"hello", vec![]).unwrap();
        founder.process_incoming_message(hello).unwrap();
        let hello = founder.encrypt_application_message(b"hello", vec![]).unwrap();
        other.process_incoming_message(hello).unwrap();
        for joiner in &joiners[1..] {
            let (mut joiner, _) = joiner.join_group(None, welcome, None).unwrap();
            let hello = joiner.encrypt_application_message(b"hello", vec![]).unwrap();
            founder.process_incoming_message(hello.clone()).unwrap();
            other.process_incoming_message(hello).unwrap();
        }
    }
    founder.write_to_storage().unwrap();
    other.write_to_storage().unwrap();
    (founder, other)
}

/// The time that `f` spends within what it returns.
fn sum(count: u64, mut f: impl FnMut() -> Duration) -> Duration {
    (0..count).map(|_| f()).sum()
}

fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed(), value)
}

fn changes(c: &mut Criterion) {
    let mut bench = c.benchmark_group("mls/change");
    bench.sample_size(10).sampling_mode(SamplingMode::Flat);
    bench.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(300));
    for size in [100, 1000] {
        let (mut founder, mut other) = ours(size, false);
        bench.bench_function(BenchmarkId::new("process/layer", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let staged = founder.stage(&[], &[]).unwrap();
                    founder.confirm();
                    timed(|| other.process(&staged).unwrap()).0
                })
            });
        });
        bench.bench_function(BenchmarkId::new("join/layer", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let mut joiner = Peer::joiner("new").alone();
                    let package = joiner.key_package();
                    let staged = founder.stage(&[package], &[]).unwrap();
                    founder.transact(cc_core::GroupLayer::discard_change).unwrap();
                    timed(|| joiner.join(&staged).unwrap()).0
                })
            });
        });
        bench.bench_function(BenchmarkId::new("commit/layer", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    timed(|| {
                        let _ = founder.stage(&[], &[]).unwrap();
                        founder.confirm();
                    })
                    .0
                })
            });
        });

        let (mut founder, mut other) = theirs(size, false);
        bench.bench_function(BenchmarkId::new("process/mls-rs", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let commit = founder.commit(vec![]).unwrap().commit_message;
                    founder.apply_pending_commit().unwrap();
                    let commit = commit.to_bytes().unwrap();
                    timed(|| {
                        let commit = MlsMessage::from_bytes(&commit).unwrap();
                        other.process_incoming_message(commit).unwrap();
                        other.write_to_storage().unwrap();
                    })
                    .0
                })
            });
        });
        bench.bench_function(BenchmarkId::new("join/mls-rs", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let joiner = client("new");
                    let package = key_package(&joiner);
                    let commit =
                        founder.commit_builder().add_member(package).unwrap().build().unwrap();
                    founder.clear_pending_commit();
                    let welcome = commit.welcome_messages[0].to_bytes().unwrap();
                    timed(|| {
                        let welcome = MlsMessage::from_bytes(&welcome).unwrap();
                        let (mut group, _) = joiner.join_group(None, &welcome, None).unwrap();
                        group.write_to_storage().unwrap();
                        group
                    })
                    .0
                })
            });
        });
        bench.bench_function(BenchmarkId::new("commit/mls-rs", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    timed(|| {
                        let commit = founder.commit(vec![]).unwrap().commit_message;
                        black_box(commit.to_bytes().unwrap());
                        founder.apply_pending_commit().unwrap();
                        founder.write_to_storage().unwrap();
                    })
                    .0
                })
            });
        });
    }
    bench.finish();
}

fn messages(c: &mut Criterion) {
    let mut bench = c.benchmark_group("mls/message");
    bench.sample_size(20).sampling_mode(SamplingMode::Flat);
    bench.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    for size in [2, 300, 1000] {
        let (mut founder, mut other) = ours(size, true);
        bench.bench_function(BenchmarkId::new("send/layer", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let (time, wire) = timed(|| founder.seal(&TEXT));
                    other.open(&wire).unwrap();
                    time
                })
            });
        });
        bench.bench_function(BenchmarkId::new("receive/layer", size), |b| {
            b.iter_custom(|count| {
                sum(count, || {
                    let wire = founder.seal(&TEXT);
                    timed(|| other.open(&wire).unwrap()).0
                })
            });
        });
        drop((founder, other));

        // mls-rs writes all it has of the group, or nothing: both are shown.
        let (mut founder, mut other) = theirs(size, true);
        for (write, label) in [(false, "mls-rs unwritten"), (true, "mls-rs")] {
            bench.bench_function(BenchmarkId::new(format!("send/{label}"), size), |b| {
                b.iter_custom(|count| {
                    sum(count, || {
                        let (time, wire) = timed(|| {
                            let wire = founder.encrypt_application_message(&TEXT, vec![]).unwrap();
                            if write {
                                founder.write_to_storage().unwrap();
                            }
                            wire.to_bytes().unwrap()
                        });
                        let wire = MlsMessage::from_bytes(&wire).unwrap();
                        other.process_incoming_message(wire).unwrap();
                        time
                    })
                });
            });
            bench.bench_function(BenchmarkId::new(format!("receive/{label}"), size), |b| {
                b.iter_custom(|count| {
                    sum(count, || {
                        let wire = founder.encrypt_application_message(&TEXT, vec![]).unwrap();
                        let wire = wire.to_bytes().unwrap();
                        timed(|| {
                            let wire = MlsMessage::from_bytes(&wire).unwrap();
                            other.process_incoming_message(wire).unwrap();
                            if write {
                                other.write_to_storage().unwrap();
                            }
                        })
                        .0
                    })
                });
            });
        }
    }
    bench.finish();
}

criterion_group!(benches, changes, messages);
criterion_main!(benches);
