//! Members as real processes that are killed at random moments, restarted, and go on.
//!
//! A member is this program again, told by the environment to play one. The delivery service is the
//! test: it orders what members hand out, and gives it to the others. In the end no two things that were
//! handed out may have been sealed under one key and nonce. `CC_CRASH_KILLS` says how often to kill (50 unless
//! set), `CC_CRASH_SEED` what to do in between.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod member;
mod process;
mod uses;
mod world;

use std::time::Instant;

use process::Part;
use world::World;

/// The part of a member, when this program is run as one.
#[test]
fn plays_a_member() {
    if let Some(part) = Part::from_environment() {
        member::play(&part);
    }
}

#[test]
fn members_that_are_killed_go_on() {
    run("mls", 1);
}

#[test]
fn members_with_sender_keys_that_are_killed_go_on() {
    run("signal", 2);
}

fn run(stack: &'static str, salt: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let kills = number("CC_CRASH_KILLS").unwrap_or(50);
    let seed = number("CC_CRASH_SEED").unwrap_or_else(|| {
        let random = cc_core::random::array().unwrap();
        u64::from_be_bytes(random)
    });
    println!("{stack}: CC_CRASH_SEED={seed} CC_CRASH_KILLS={kills}");
    let started = Instant::now();
    let mut world = World::new(stack, seed ^ salt);
    world.begin();
    let mut steps = 0;
    while world.kills() < kills {
        world.step();
        steps += 1;
    }
    world.end();
    println!(
        "{stack}: {} kills, {steps} steps, {} in {:?}",
        world.kills(),
        world.summary(),
        started.elapsed()
    );
}
