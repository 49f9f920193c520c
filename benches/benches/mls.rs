//! Messages in the MLS layer beside mls-rs and openmls alone: the same ciphersuite, all with RustCrypto and a store
//! in memory, all writing what must survive a restart within the time that is measured. Every member has spoken.
//!
//! `RAYON_NUM_THREADS=1` keeps all of them to one thread.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::time::Duration;

use cc_benches::bare::{self, Member as _};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use groups::{TEXT, ours, sum, theirs, timed};
use mls_rs::MlsMessage;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;
#[path = "shared/groups.rs"]
mod groups;

fn messages(c: &mut Criterion) {
    let mut bench = c.benchmark_group("mls/message");
    bench.sample_size(20).sampling_mode(SamplingMode::Flat);
    bench.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    let sizes: &[usize] = if cc_benches::quick() { &[2, 100] } else { &[2, 100, 300, 1000] };
    for &size in sizes {
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

        // openmls joins by writing the whole tree as JSON, which takes too long with 1000 members.
        if size <= 300 {
            let (mut founder, mut other) = bare::bare::<OpenMlsRustCrypto, SignatureKeyPair>(size);
            bench.bench_function(BenchmarkId::new("send/openmls", size), |b| {
                b.iter_custom(|count| {
                    sum(count, || {
                        let (time, wire) = timed(|| founder.send(&TEXT));
                        other.receive(&wire);
                        time
                    })
                });
            });
            bench.bench_function(BenchmarkId::new("receive/openmls", size), |b| {
                b.iter_custom(|count| {
                    sum(count, || {
                        let wire = founder.send(&TEXT);
                        timed(|| other.receive(&wire)).0
                    })
                });
            });
        }
    }
    bench.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
