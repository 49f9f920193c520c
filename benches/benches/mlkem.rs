//! The ML-KEM layer: keys, messages of a pair within an epoch and with a new one each, and changes of a group
//! beside the DH layer's.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, Configure, GroupLayer, Header, Kind,
    LayerContext, MemberId, NewMember, PartContext, StackId,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_mlkem_layer::{HybridKeyPair, HybridPublicKey, MlKemLayer, ParameterSet};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const SETS: [ParameterSet; 2] = [ParameterSet::MlKem768, ParameterSet::MlKem1024];

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("mlkem/keys");
    for set in SETS {
        group.bench_function(BenchmarkId::new("generate", set), |bench| {
            bench.iter(|| HybridKeyPair::generate(black_box(set)).unwrap());
        });
        let bytes = HybridKeyPair::generate(set).unwrap().public_key().to_bytes();
        group.bench_function(BenchmarkId::new("read a public key", set), |bench| {
            bench.iter(|| HybridPublicKey::from_bytes(black_box(&bytes)).unwrap());
        });
    }
    group.finish();
}

/// Two who have answered each other.
fn pair(set: ParameterSet) -> [MlKemLayer; 2] {
    let [a, b] = [(); 2].map(|()| HybridKeyPair::generate(set).unwrap());
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let (alice, setup) = MlKemLayer::initiate(a, of_b).unwrap();
    let mut people = [alice, MlKemLayer::accept(b, of_a, &setup).unwrap()];
    for _ in 0..4 {
        send(&mut people);
        people.reverse();
    }
    people
}

fn send([from, to]: &mut [MlKemLayer; 2]) {
    let stack = StackId::of(&[]);
    let binding = Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"");
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut message = Buffer::new(&[b'x'; 100]);
    from.seal(&context, &mut message).unwrap();
    from.apply();
    let _ = to.open(&context, &mut message).unwrap();
    to.apply();
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("mlkem/pair, there and back, 100 bytes");
    for set in SETS {
        let mut people = pair(set);
        group.bench_function(BenchmarkId::new("in one epoch", set), |bench| {
            bench.iter(|| {
                send(&mut people);
                people.reverse();
                send(&mut people);
            });
        });
        group.bench_function(BenchmarkId::new("a new epoch each", set), |bench| {
            bench.iter(|| {
                for _ in 0..2 {
                    people[0].settings().renew().unwrap();
                    send(&mut people);
                    people.reverse();
                }
            });
        });
    }
    group.finish();
}

fn id(number: usize) -> MemberId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    MemberId::from_bytes(id)
}

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

/// The founder of a group of `size`.
fn founder<L: GroupLayer>(size: usize, layer: impl Fn() -> L) -> L {
    let attached = |number: usize| {
        let mut layer = layer();
        let (stack, member) = (StackId::of(&[]), Some(id(number)));
        layer.attach(&Attachment { stack, position: 0, member, founding: number == 0 }).unwrap();
        layer.apply();
        layer
    };
    let packages: Vec<_> =
        (1..size).map(|number| attached(number).key_package(&parts(0)).unwrap()).collect();
    let new = |(index, part)| NewMember { id: id(index + 1), part, binding: [0; 32] };
    let added: Vec<_> = packages.iter().map(Vec::as_slice).enumerate().map(new).collect();
    let mut founder = attached(0);
    let request = ChangeRequest { added: &added, removed: &[] };
    let _ = founder.stage_change(&request, &parts(1)).unwrap();
    founder.confirm_change().unwrap();
    founder.apply();
    founder
}

fn change(layer: &mut impl GroupLayer, removed: &[MemberId]) {
    let request = ChangeRequest { added: &[], removed };
    let _ = black_box(layer.stage_change(&request, &parts(2)).unwrap());
    layer.revert();
}

fn groups(c: &mut Criterion) {
    let mut group = c.benchmark_group("mlkem/group of 100");
    let mut dh = founder(100, || DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap()));
    let mut hybrid = founder(100, || {
        MlKemLayer::group(HybridKeyPair::generate(ParameterSet::MlKem768).unwrap())
    });
    for (name, removed) in [("update", &[][..]), ("remove one", &[id(1)])] {
        group.bench_function(BenchmarkId::new("X25519", name), |bench| {
            bench.iter(|| change(&mut dh, removed));
        });
        group.bench_function(BenchmarkId::new("X25519 and ML-KEM-768", name), |bench| {
            bench.iter(|| change(&mut hybrid, removed));
        });
    }
    group.finish();
}

criterion_group!(benches, keys, messages, groups);
criterion_main!(benches);
