//! The Signal layer's Double Ratchet beside vodozemac's, which encrypts no headers.
//!
//! Both use the same curve library. vodozemac is spared the encoding of its messages.

use std::hint::black_box;

use cc_signal_layer::{Account, Agree, Limits, Session};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vodozemac::olm;

const TEXT: &[u8; 100] = &[b'x'; 100];

fn ours() -> Result<(Session, Session), cc_signal_layer::Error> {
    let alice = Account::generate()?;
    let mut bob = Account::generate()?;
    let mut to_bob = alice.begin(&bob.bundle(), Agree::Pqxdh, Limits::default())?;
    let hello = to_bob.encrypt(&[], b"hello")?;
    let (_, staged) = bob.open_initial(&[], &hello, Limits::default())?;
    let mut to_alice = bob.apply(staged)?;
    let answer = to_alice.encrypt(&[], b"answer")?;
    to_bob.decrypt(&[], &answer)?;
    Ok((to_bob, to_alice))
}

fn theirs() -> Option<(olm::Session, olm::Session)> {
    let alice = olm::Account::new();
    let mut bob = olm::Account::new();
    bob.generate_one_time_keys(1);
    let one_time_key = bob.one_time_keys().into_values().next()?;
    let config = olm::SessionConfig::version_1();
    let mut to_bob =
        alice.create_outbound_session(config, bob.curve25519_key(), one_time_key).ok()?;
    let olm::OlmMessage::PreKey(hello) = to_bob.encrypt("hello").ok()? else {
        return None;
    };
    let mut to_alice =
        bob.create_inbound_session(config, alice.curve25519_key(), &hello).ok()?.session;
    let answer = to_alice.encrypt("answer").ok()?;
    to_bob.decrypt(&answer).ok()?;
    Some((to_bob, to_alice))
}

#[allow(clippy::unwrap_used)]
fn one_chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("signal/one chain, 100 bytes, encrypt and decrypt");
    group.throughput(Throughput::Elements(1));
    let (mut alice, mut bob) = ours().unwrap();
    group.bench_function("cc-signal-layer", |b| {
        b.iter(|| {
            let message = alice.encrypt(&[], black_box(TEXT)).unwrap();
            bob.decrypt(&[], &message).unwrap()
        });
    });
    let (mut alice, mut bob) = theirs().unwrap();
    group.bench_function("vodozemac", |b| {
        b.iter(|| {
            let message = alice.encrypt(black_box(TEXT)).unwrap();
            bob.decrypt(&message).unwrap()
        });
    });
    group.finish();
}

#[allow(clippy::unwrap_used)]
fn ping_pong(c: &mut Criterion) {
    let mut group = c.benchmark_group("signal/ping-pong, 100 bytes, two ratchet steps");
    group.throughput(Throughput::Elements(2));
    let (mut alice, mut bob) = ours().unwrap();
    group.bench_function("cc-signal-layer", |b| {
        b.iter(|| {
            let message = alice.encrypt(&[], black_box(TEXT)).unwrap();
            bob.decrypt(&[], &message).unwrap();
            let message = bob.encrypt(&[], black_box(TEXT)).unwrap();
            alice.decrypt(&[], &message).unwrap()
        });
    });
    let (mut alice, mut bob) = theirs().unwrap();
    group.bench_function("vodozemac", |b| {
        b.iter(|| {
            let message = alice.encrypt(black_box(TEXT)).unwrap();
            bob.decrypt(&message).unwrap();
            let message = bob.encrypt(black_box(TEXT)).unwrap();
            alice.decrypt(&message).unwrap()
        });
    });
    group.finish();
}

/// Two exchanges of post-quantum keys, one in each direction, in turns: the mean of a message is a 174th.
#[allow(clippy::unwrap_used)]
fn exchanges(c: &mut Criterion) {
    let mut group = c.benchmark_group("signal/two exchanges of post-quantum keys, 100 bytes");
    group.throughput(Throughput::Elements(174));
    let (mut alice, mut bob) = ours().unwrap();
    group.bench_function("cc-signal-layer, 174 messages in turns", |b| {
        b.iter(|| {
            for _ in 0..174 {
                let message = alice.encrypt(&[], black_box(TEXT)).unwrap();
                bob.decrypt(&[], &message).unwrap();
                core::mem::swap(&mut alice, &mut bob);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, one_chain, ping_pong, exchanges);
criterion_main!(benches);
