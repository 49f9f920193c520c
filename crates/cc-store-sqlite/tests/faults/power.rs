//! The power goes at any moment, and what was not synced is lost, torn or out of order.

use std::path::PathBuf;

use cc_core::store::StoreError;
use cc_store_sqlite::{Durability, SqliteStore};

use crate::{
    disk::{Disk, Failure, Fault},
    model::{Model, Step, Template},
    random::{Random, seeds},
};

/// Losses of power that one store goes through.
const CUTS: usize = 6;

#[test]
fn what_was_committed_survives_a_loss_of_power() {
    survive(Durability::PowerLoss);
}

/// Some of the last commits may be missing. What is there is what there was at some time.
#[test]
fn without_syncs_the_past_survives_a_loss_of_power() {
    survive(Durability::ProcessEnd);
}

/// A process ends, another finds what it had written, acts on it, and then the power goes.
#[test]
fn what_was_seen_after_a_crash_survives_a_loss_of_power() {
    let disk = Disk::take();
    let template = Template::new();
    for seed in seeds(40) {
        let mut machine = Machine::new(&disk, &template, seed, Durability::PowerLoss);
        for _ in 0..CUTS {
            machine.work();
            machine.start();
            machine.stop();
            machine.power_cut();
            machine.start();
        }
    }
}

fn survive(durability: Durability) {
    let disk = Disk::take();
    let template = Template::new();
    let (mut cut, mut doubts, mut kept, mut lost) = (0, 0, 0, 0);
    for seed in seeds(60) {
        let mut machine = Machine::new(&disk, &template, seed, durability);
        for _ in 0..CUTS {
            machine.work();
            machine.power_cut();
            while machine.random.below(3) == 0 {
                machine.try_to_start();
                machine.power_cut();
            }
            let before = machine.states.clone();
            machine.start();
            let last = before.last() == machine.states.last();
            cut += 1;
            doubts += usize::from(before.len() > 1);
            kept += usize::from(before.len() > 1 && last);
            lost += usize::from(!last);
        }
    }
    println!("{cut} cuts; after {doubts} it was open what is there: {kept} times all of it");
    if std::env::var("CC_FAULTS_ROUNDS").is_err() {
        assert!(kept > 0 && lost > 0, "the cuts are not where they hurt");
    }
}

struct Machine<'a> {
    disk: &'a Disk,
    path: PathBuf,
    seed: u64,
    random: Random,
    durability: Durability,
    /// What may be there after a loss of power, oldest first.
    states: Vec<Model>,
    store: Option<SqliteStore>,
}

impl<'a> Machine<'a> {
    fn new(disk: &'a Disk, template: &Template, seed: u64, durability: Durability) -> Self {
        println!("CC_FAULTS_SEED={seed}");
        let path = template.copy();
        disk.reset();
        let states = vec![template.model.clone()];
        let store = Some(states[0].open_with(&path, durability).unwrap());
        Self { disk, path, seed, random: Random(seed), durability, states, store }
    }

    /// Works until the power goes.
    fn work(&mut self) {
        self.cut_ahead(&[4, 30, 200, 600]);
        for _ in 0..self.random.below(20) {
            let step = Step::any(&mut self.random);
            if let Err(error) = self.step(&step) {
                let seed = self.seed;
                assert!(self.disk.struck().is_some(), "seed {seed}, {step:?}: {error}");
                break;
            }
        }
        self.stop();
    }

    fn step(&mut self, step: &Step) -> Result<(), StoreError> {
        let now = self.states.last().unwrap().clone();
        let after = now.after(step);
        let result = match step {
            Step::Reopen => {
                self.store = None;
                now.open_with(&self.path, self.durability).map(|store| self.store = Some(store))
            }
            _ => now.perform(step, self.store.as_mut().unwrap()),
        };
        match &result {
            Ok(()) if self.durability == Durability::PowerLoss => self.states.clear(),
            Ok(()) => {}
            Err(StoreError::InDoubt(_)) => {}
            Err(StoreError::Io(_)) => return result,
            Err(error) => panic!("seed {}, {step:?}: {error:?}", self.seed),
        }
        if self.states.last() != Some(&after) {
            self.states.push(after);
        }
        result
    }

    /// Opens the store, checks that it holds what it may hold, and goes on from there.
    fn start(&mut self) {
        self.disk.heal();
        let (found, store) = Model::open_one_of(&self.states, &self.path, self.durability).unwrap();
        found.check(&store);
        self.states = vec![found];
        self.store = Some(store);
    }

    /// The power goes while the store is opened, or soon after.
    fn try_to_start(&mut self) {
        self.cut_ahead(&[30]);
        match Model::open_one_of(&self.states, &self.path, self.durability) {
            Ok((_, store)) => self.store = Some(store),
            Err(StoreError::Io(_)) if self.disk.struck().is_some() => {}
            Err(error) => panic!("seed {}: {error:?}", self.seed),
        }
        self.stop();
    }

    /// After fewer than one of so many operations, there will be no more.
    fn cut_ahead(&mut self, within: &[usize]) {
        let within = within[self.random.below(within.len())];
        let failure = [Failure::Nothing, Failure::Half, Failure::Done][self.random.below(3)];
        let at = self.random.below(within);
        self.disk.plan(Some(Fault { at, failure, lasting: true }));
    }

    fn power_cut(&mut self) {
        self.disk.power_cut(self.path.parent().unwrap(), &mut self.random);
    }

    /// The process ends with everything open.
    fn stop(&mut self) {
        self.disk.stop();
        self.store = None;
    }
}
