//! Many people in many groups, over a network and machines that fail in every way at once: all come to agree,
//! and whatever a member sends is read once by all who were members. A run is chosen by its seed. And one thing
//! that goes wrong at each place at which it can.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod simulated;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use cc_client::{
    Client, Command, Event, EventId, Fate, Input, Item, Now, OperationId, Page, Position,
};
use cc_core::store::{Failure, MemoryStore};
use simulated::{
    script::{Trouble, play},
    world::{Plan, What, World},
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn simulate(seed: u64, plan: Plan) {
    // Shown where it fails.
    eprintln!("CC_SIMULATE_SEED={seed}");
    let mut world = World::new(seed, plan);
    world.run();
    let rounds = world.settle();
    let figures = world.check();
    eprintln!("settled after {rounds} rounds: {figures:#?}");
}

/// `cargo xtask simulate` runs the long form.
#[test]
fn all_agree_and_everything_is_read_once() {
    let plan = Plan {
        people: number("CC_SIMULATE_PEOPLE", 6) as usize,
        groups: number("CC_SIMULATE_GROUPS", 2) as usize,
        steps: number("CC_SIMULATE_STEPS", 3_000),
        members: 40,
        cuts: number("CC_SIMULATE_CUTS", 1) == 1,
    };
    match std::env::var("CC_SIMULATE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => simulate(seed, plan),
        None => (1..=3).for_each(|seed| simulate(seed, plan)),
    }
}

#[test]
fn a_seed_makes_everything_happen_again() {
    let plan = Plan { people: 5, groups: 2, steps: 1_500, members: 40, cuts: true };
    let run = |seed| {
        let mut world = World::new(seed, plan);
        world.run();
        world.settle();
        world.digest()
    };
    let first = run(4);
    assert_eq!(run(4), first);
    assert_ne!(run(5), first);
}

/// Of so many places one is tried; `cargo xtask simulate` tries all.
fn stride() -> usize {
    number("CC_SIMULATE_STRIDE", 17).max(1) as usize
}

#[test]
fn any_reply_may_be_lost() {
    let points = play(Trouble::None);
    for call in (0..points.calls).step_by(stride()) {
        play(Trouble::Reply(call));
    }
    eprintln!("every {}. of {} replies", stride(), points.calls);
}

#[test]
fn anybody_may_be_killed_between_any_two_calls() {
    let points = play(Trouble::None);
    for call in (0..points.calls).step_by(stride()) {
        play(Trouble::KilledBefore(call));
        play(Trouble::KilledBehind(call));
    }
    eprintln!("at every {}. of {} calls, before and behind it", stride(), points.calls);
}

#[test]
fn any_commit_of_a_store_may_fail() {
    let points = play(Trouble::None);
    eprintln!("every {}. of {:?} commits, in three ways", stride().pow(2), points.commits);
    for (member, commits) in points.commits.into_iter().enumerate() {
        // Three for each, and there are more commits than calls.
        for commit in (0..commits).step_by(stride().pow(2)) {
            for failure in [Failure::Full, Failure::Lost, Failure::Kept] {
                play(Trouble::Commit(member, commit, failure));
            }
        }
    }
}

/// All orders of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for code in 0..256 {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
        if (0..4).all(|at| order.contains(&at)) {
            orders.push(order);
        }
    }
    orders
}

#[test]
fn pages_come_twice_and_in_every_order_of_four() {
    let mut world = World::quiet(2);
    let group = world.found(0);
    let mailbox = world.members[1].client.mailbox();
    world.members[1].turn(&mut world.network);
    world.ask(0, group, What::Other, &Command::Invite { group, mailbox, member: None });
    world.settle();
    assert!(world.members[1].is_in(&group));
    let before = world.members[1].disk.lock().unwrap().reopened();
    let cursor = world.members[1].client.group(&group).unwrap().cursor;
    for number in 0..8 {
        let content = vec![number];
        world.ask(0, group, What::Message, &Command::Send { group, content });
        if number % 3 == 1 {
            world.ask(0, group, What::Other, &Command::Refresh(group));
        }
        world.members[0].pass(2_500);
        world.members[0].turn(&mut world.network);
    }
    world.settle();
    let expected = world.members[0].client.group(&group).unwrap();
    let log = world.network.service.log(&group);
    let news = &log[cursor.0 as usize..];
    assert!(news.len() >= 10);
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    let page = |items: Vec<Item>| Input::Page {
        log: group,
        page: Page { items, forgotten: Position::START, head: Position(log.len() as u64) },
    };
    for order in orders() {
        let disk = Arc::new(Mutex::new(before.reopened()));
        let mut reader = Client::open(Arc::<Mutex<MemoryStore>>::clone(&disk)).unwrap();
        let mut fates = BTreeMap::<Position, Vec<Fate>>::new();
        let mut feed = |reader: &mut Client, items: Vec<Item>| {
            let fed = items.len();
            let ledger = reader.handle(now, page(items)).unwrap();
            assert!(ledger.fates.len() >= fed, "an item without a fate");
            for (_, position, fate) in ledger.fates {
                fates.entry(position).or_default().push(fate);
            }
        };
        for four in news.chunks(4) {
            let shuffled = order.iter().filter_map(|at| four.get(*at).cloned());
            let shuffled: Vec<Item> = shuffled.collect();
            feed(&mut reader, shuffled.clone());
            feed(&mut reader, shuffled);
        }
        // Whatever did not follow on what was read is read again.
        feed(&mut reader, news.to_vec());
        let events = reader.events(EventId(0), usize::MAX).unwrap();
        let mut read = BTreeMap::<OperationId, u32>::new();
        for (_, event) in events {
            if let Event::Message { message, .. } = event {
                *read.entry(message).or_default() += 1;
            }
        }
        assert_eq!(read.len(), 8, "{order:?}");
        assert!(read.values().all(|times| *times == 1), "{order:?}: {read:?}");
        let view = reader.group(&group).unwrap();
        assert_eq!(view.authenticator, expected.authenticator, "{order:?}");
        for (position, fates) in &fates {
            let once = fates.iter().filter(|fate| !matches!(fate, Fate::Early | Fate::Duplicate));
            assert_eq!(once.count(), 1, "{order:?}: {position:?} was {fates:?}");
        }
    }
}
