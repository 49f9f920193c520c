//! Whole stacks beside openmls used directly with the same ciphersuite: with the layer's own cryptography and
//! openmls's memory storage; with the same and nothing written; and as it comes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use cc_aes_layer::AesLayer;
use cc_benches::{
    bare::{Member, bare},
    same,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::CascadingCipherManager;
use cc_mls_layer::{MlsIdentity, MlsLayer};
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SIZES: [usize; 3] = [2, 100, 300];

fn stack(name: &str, founder: bool) -> CascadingCipherManager {
    let identity = MlsIdentity::generate(name).unwrap();
    let mls =
        if founder { MlsLayer::create("group", identity) } else { MlsLayer::member(identity) };
    CascadingCipherManager::builder()
        .layer(DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap()))
        .layer(mls.unwrap())
        .layer(AesLayer::inherited())
        .build()
        .unwrap()
}

/// A group of `size` in which every member has spoken: the founder and one other.
fn stacks(size: usize) -> (CascadingCipherManager, CascadingCipherManager) {
    let mut founder = stack("0", true);
    let mut others: Vec<_> = (1..size).map(|i| stack(&i.to_string(), false)).collect();
    let bundles: Vec<_> = others.iter_mut().map(|other| other.key_package().unwrap()).collect();
    let change = founder.add_members(bundles).unwrap();
    let welcome = founder.confirm(change.id()).unwrap().welcome.unwrap();
    let mut hellos = Vec::new();
    for other in &mut others {
        other.receive_welcome(&welcome).unwrap();
        hellos.push(other.encrypt("hello").unwrap());
    }
    let mut other = others.swap_remove(0);
    for (i, hello) in hellos.iter().enumerate() {
        founder.decrypt(hello).unwrap();
        if i > 0 {
            other.decrypt(hello).unwrap();
        }
    }
    let hello = founder.encrypt("hello").unwrap();
    other.decrypt(hello).unwrap();
    (founder, other)
}

fn messages(c: &mut Criterion) {
    let text = [b'x'; 100];
    for (name, receiving) in [("send", false), ("receive", true)] {
        let mut group = c.benchmark_group(format!("cascade/{name} 100 bytes, all have spoken"));
        group.throughput(Throughput::Elements(1));
        // The largest group takes most of the time to set up.
        let sizes = if cc_benches::quick() { &SIZES[..2] } else { &SIZES[..] };
        for &size in sizes {
            let (mut a, mut b) = stacks(size);
            group.bench_function(BenchmarkId::new("DH -> MLS -> AES", size), |bench| {
                if receiving {
                    bench.iter_batched(
                        || a.encrypt(text).unwrap(),
                        |wire| b.decrypt(wire).unwrap(),
                        BatchSize::NumIterations(1),
                    );
                } else {
                    bench.iter(|| a.encrypt(black_box(text)).unwrap());
                }
            });
            let same = same::primitives(size);
            openmls(&mut group, "openmls, same primitives", size, receiving, same);
            let unwritten = same::unwritten(size);
            openmls(&mut group, "the same, unwritten", size, receiving, unwritten);
            let own = bare::<OpenMlsRustCrypto, SignatureKeyPair>(size);
            openmls(&mut group, "openmls alone", size, receiving, own);
        }
        group.finish();
    }
}

/// Messages between two members of a group of `size` in openmls.
fn openmls(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: usize,
    receiving: bool,
    (mut a, mut b): (impl Member, impl Member),
) {
    let text = [b'x'; 100];
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        if receiving {
            let (sent, one) = (|| a.send(&text), BatchSize::NumIterations(1));
            bench.iter_batched(sent, |wire| b.receive(&wire), one);
        } else {
            bench.iter(|| a.send(black_box(&text)));
        }
    });
}

criterion_group!(benches, messages);
criterion_main!(benches);
