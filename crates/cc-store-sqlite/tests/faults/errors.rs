//! Every operation of a conversation with a store fails, in every way.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cc_core::store::StoreError;
use cc_store_sqlite::{Durability, SqliteStore};

use crate::{
    disk::{CHANGES, Disk, FAILURES, Failure, Fault, Operation},
    model::{Model, Step, Template},
};

/// Small changes and large ones, what takes records away, what empties the log, what opens the store.
fn conversation() -> Vec<Step> {
    let commit = |changes: &[_]| Step::Commit(changes.to_vec());
    vec![
        commit(&[(0, 1, Some(30))]),
        commit(&[(1, 2, Some(30_000)), (1, 3, None), (3, 7, Some(90))]),
        Step::Checkpoint,
        commit(&[(0, 1, Some(10)), (0, 4, None)]),
        Step::ChangeCredential,
        Step::Reopen,
        Step::Commit((0..20).map(|key| (key % 4, key, Some(300))).collect()),
        commit(&[(1, 2, None), (2, 2, Some(70_000))]),
        commit(&[(2, 2, Some(70_000)), (3, 3, Some(0))]),
        Step::Reopen,
        commit(&[(0, 5, Some(9000))]),
        Step::Commit((0..24).map(|key| (key % 4, key, None)).collect()),
    ]
}

/// How much is done after a failure, before the store is opened again and looked at.
const STEPS_AFTER: usize = 3;

#[test]
fn every_operation_fails() {
    fail_at_every_operation(false);
}

/// And so do all that come after it.
#[test]
fn every_operation_fails_for_good() {
    fail_at_every_operation(true);
}

fn fail_at_every_operation(lasting: bool) {
    let disk = Disk::take();
    let template = Template::new();
    let plain = run(&disk, &template, None);
    let mut struck: BTreeMap<_, usize> = BTreeMap::new();
    for (at, &operation) in plain.iter().enumerate() {
        if CHANGES.contains(&operation) {
            *struck.entry(format!("{operation:?}")).or_default() += 1;
        }
        for failure in FAILURES {
            if failure.fits(operation) && !(lasting && failure == Failure::Half) {
                run(&disk, &template, Some(Fault { at, failure, lasting }));
            }
        }
    }
    println!("{} operations, among them {struck:?}", plain.len());
    assert_eq!(struck.len(), CHANGES.len(), "{struck:?}");
    assert!(struck["Write"] > 50 && struck["Sync"] > 10, "{struck:?}");
}

/// After an error that is not doubt the old credential opens the store.
#[test]
fn a_change_of_the_credential_that_failed_did_not_happen() {
    let disk = Disk::take();
    let template = Template::new();
    let change = |fault| {
        let path = template.copy();
        disk.reset();
        let mut store = template.model.open(&path).unwrap();
        disk.plan(fault);
        let result = template.model.perform(&Step::ChangeCredential, &mut store);
        let trace = disk.trace();
        disk.heal();
        drop(store);
        if matches!(result, Err(StoreError::Io(_) | StoreError::Full)) {
            let store = template.model.open(&path);
            store.unwrap_or_else(|error| panic!("{fault:?}: {error}, after {result:?}"));
        }
        trace.len()
    };
    for at in 0..change(None) {
        for failure in FAILURES {
            change(Some(Fault { at, failure, lasting: false }));
        }
    }
}

/// A creation that fails leaves nothing in the way of the next one.
#[test]
fn every_creation_fails() {
    let disk = Disk::take();
    let create = |fault| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        disk.reset();
        disk.plan(fault);
        let result = Model::create(&path).map(drop);
        let trace = disk.trace();
        disk.heal();
        match result {
            Ok(()) => {}
            Err(StoreError::Io(_) | StoreError::Full) => {
                drop(Model::create(&path).unwrap());
            }
            Err(error) => panic!("{fault:?}: {error:?}"),
        }
        let model = Model::new();
        model.check(&model.open(&path).unwrap());
        trace.len()
    };
    let plain = create(None);
    assert!(plain > 20, "{plain} operations");
    for at in 0..plain {
        let failure = if at % 2 == 0 { Failure::Nothing } else { Failure::Full };
        create(Some(Fault { at, failure, lasting: at % 4 > 1 }));
    }
}

/// Whatever fails while the store is opened and read, the answer is an error or right, and the files
/// are as they were, unless it failed where they are changed.
#[test]
fn every_look_fails() {
    let disk = Disk::take();
    let template = Template::new();
    let mut model = template.model.clone();
    let closed = template.copy();
    look(&disk, &model, &closed);
    // With all of it in the log, as a crash leaves it.
    let closed = template.copy();
    disk.reset();
    let mut store = model.open(&closed).unwrap();
    let step = Step::Commit(vec![(0, 1, Some(20_000)), (1, 2, None)]);
    model.perform(&step, &mut store).unwrap();
    model = model.after(&step);
    disk.stop();
    drop(store);
    look(&disk, &model, &closed);
}

fn look(disk: &Disk, model: &Model, path: &Path) {
    disk.reset();
    let before = files(path);
    let look = || -> Result<Vec<Operation>, StoreError> {
        let store = model.open(path)?;
        let result = model.read(&store).map(|_| disk.trace());
        // Without what SQLite does to the files when it closes them.
        disk.stop();
        result
    };
    let trace = look().unwrap();
    let changes = |operation: &Operation| CHANGES.contains(operation);
    let mut untouched = 0;
    for (at, operation) in trace.iter().enumerate() {
        for lasting in [false, true] {
            restore(path, &before);
            disk.reset();
            let fault = Fault { at, failure: Failure::Nothing, lasting };
            disk.plan(Some(fault));
            match look() {
                Ok(_) => assert!(!lasting, "{fault:?} was not noticed"),
                Err(StoreError::Io(_)) if trace[..at].iter().any(changes) => {}
                Err(StoreError::Io(_)) => {
                    untouched += 1;
                    assert!(files(path) == before, "{fault:?}, {operation:?}: a file was touched");
                }
                Err(error) => panic!("{fault:?}, {operation:?}: {error:?}"),
            }
            disk.reset();
            let store = model.open(path).unwrap();
            model.check(&store);
        }
    }
    assert!(untouched > 20, "{untouched} failures");
}

/// The store's files with what they hold, but the lock, and a log that nothing was written to: SQLite
/// cannot remove it while the disk fails.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().unwrap() != "lock")
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

fn restore(path: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files(path).keys() {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in before {
        fs::write(path, bytes).unwrap();
    }
}

/// Holds the conversation while the disk fails as `fault` says, and gives what was asked of the disk.
fn run(disk: &Disk, template: &Template, fault: Option<Fault>) -> Vec<Operation> {
    let path = template.copy();
    disk.reset();
    let mut talk = Talk {
        disk,
        path: &path,
        fault,
        store: Some(template.model.open(&path).unwrap()),
        model: template.model.clone(),
    };
    disk.plan(fault);
    let mut after = 0..STEPS_AFTER;
    for step in conversation() {
        if disk.struck().is_some() && after.next().is_none() {
            break;
        }
        talk.step(&step);
    }
    let trace = disk.trace();
    assert_eq!(disk.struck().is_some(), fault.is_some(), "{fault:?}");
    disk.heal();
    talk.store = None;
    let store = talk.model.open(&path).unwrap();
    talk.model.check(&store);
    trace
}

struct Talk<'a> {
    disk: &'a Disk,
    path: &'a Path,
    fault: Option<Fault>,
    store: Option<SqliteStore>,
    model: Model,
}

impl Talk<'_> {
    fn step(&mut self, step: &Step) {
        let fault = self.fault;
        let healthy = self.disk.struck().is_none();
        let Err(error) = self.attempt(step) else {
            self.model = self.model.after(step);
            if healthy && self.disk.struck().is_some() {
                // The failure did not matter, so all of it is there.
                self.disk.heal();
                self.model.check(self.store.as_ref().unwrap());
            }
            return;
        };
        assert!(healthy && self.disk.struck().is_some(), "{fault:?}, {step:?}: {error}");
        self.judge(step, &error);
        if fault.is_some_and(|fault| fault.lasting) {
            match self.attempt(step) {
                Err(again) => {
                    self.judge(step, &again);
                    if again.is_in_doubt() && !error.is_in_doubt() {
                        return self.settle(step, true);
                    }
                }
                // What was done although it failed need not be done again.
                Ok(()) => assert!(
                    matches!(step, Step::Checkpoint | Step::Reopen),
                    "{fault:?}, {step:?} while the disk fails, after {error}"
                ),
            }
        }
        if error.is_in_doubt() {
            return self.settle(step, false);
        }
        self.disk.heal();
        if let Some(store) = &self.store {
            self.model.check(store);
        }
        self.attempt(step).unwrap_or_else(|error| panic!("{fault:?}, {step:?} again: {error}"));
        self.model = self.model.after(step);
        self.model.check(self.store.as_ref().unwrap());
    }

    fn attempt(&mut self, step: &Step) -> Result<(), StoreError> {
        if matches!(step, Step::Reopen) {
            self.store = None;
            self.store = Some(self.model.open(self.path)?);
            return Ok(());
        }
        self.model.perform(step, self.store.as_mut().unwrap())
    }

    /// The error is of a kind that the contract knows for this failure.
    fn judge(&self, step: &Step, error: &StoreError) {
        let full = self.fault.is_some_and(|fault| fault.failure == Failure::Full);
        let fits = match error {
            StoreError::Full => full,
            StoreError::Io(_) => !full,
            StoreError::InDoubt(_) => !matches!(step, Step::Reopen),
            _ => false,
        };
        assert!(fits, "{:?}, {step:?}: {error:?}", self.fault);
    }

    /// It is in doubt whether `step` happened: opening the store tells. Before that it answers nothing.
    fn settle(&mut self, step: &Step, killed: bool) {
        let mut store = self.store.take().unwrap();
        self.disk.heal();
        assert!(self.model.read(&store).unwrap_err().is_in_doubt());
        assert!(self.model.perform(step, &mut store).unwrap_err().is_in_doubt());
        assert!(store.checkpoint().unwrap_err().is_in_doubt());
        assert!(store.verify().unwrap_err().is_in_doubt());
        if killed {
            self.disk.stop();
        }
        drop(store);
        self.disk.heal();
        let after = self.model.after(step);
        let models = [self.model.clone(), after.clone()];
        let opened = Model::open_one_of(&models, self.path, Durability::PowerLoss);
        let (found, mut store) = opened.unwrap();
        found.check(&store);
        if found == self.model {
            self.model.perform(step, &mut store).unwrap();
        }
        self.model = after;
        self.model.check(&store);
        self.store = Some(store);
    }
}
