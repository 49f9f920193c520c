//! A disk that fails and a machine that loses power, as SQLite sees them.
//!
//! The files are real, for the store looks at them beside SQLite as well. What SQLite does to them is
//! counted, may be told to fail, and is remembered until it is synced: when the power goes, each file
//! becomes what was synced and any part of what was not.

#![allow(dead_code, reason = "each test that includes this uses some of it")]

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{Error, ErrorKind, Result},
    marker::PhantomData,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs, WalDisabled};

use crate::random::Random;

/// What a disk writes entirely or not at all.
const SECTOR: usize = 512;

/// What SQLite asks of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Open,
    Exists,
    Size,
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// With an error, and nothing happens.
    Nothing,
    /// With an error, and half of what was to be written is written.
    Half,
    /// With an error, although it was done.
    Done,
    /// There is no room, after half of it. Only writes fail like this.
    Full,
}

pub(crate) const CHANGES: [Operation; 4] =
    [Operation::Write, Operation::Truncate, Operation::Sync, Operation::Delete];
pub(crate) const FAILURES: [Failure; 4] =
    [Failure::Nothing, Failure::Half, Failure::Done, Failure::Full];

impl Failure {
    /// Whether `operation` can fail like this, and not as [`Failure::Nothing`] is anyway.
    pub(crate) fn fits(self, operation: Operation) -> bool {
        match self {
            Self::Nothing => true,
            Self::Half | Self::Full => operation == Operation::Write,
            Self::Done => CHANGES.contains(&operation),
        }
    }
}

/// The operation `at` fails, and if `lasting`, those after it as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) failure: Failure,
    pub(crate) lasting: bool,
}

/// The disk below all that this thread does with SQLite, which has no threads of its own: each test has a disk.
pub(crate) struct Disk {
    /// Stays in its thread.
    _thread: PhantomData<*const ()>,
}

impl Disk {
    /// A disk that works.
    pub(crate) fn take() -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| sqlite_vfs::register("faults", Faults, true).unwrap());
        let disk = Self { _thread: PhantomData };
        disk.reset();
        disk
    }

    /// Works again, counts from zero, and takes all files for synced as they are.
    pub(crate) fn reset(&self) {
        *state() = State::new();
    }

    /// Counts from zero, and fails as `fault` says.
    pub(crate) fn plan(&self, fault: Option<Fault>) {
        let mut state = state();
        state.trace.clear();
        state.fault = fault;
        state.struck = None;
    }

    /// Works again from here on.
    pub(crate) fn heal(&self) {
        state().fault = None;
    }

    /// From here on nothing works: the process is as good as gone.
    pub(crate) fn stop(&self) {
        let mut state = state();
        let at = state.trace.len();
        state.fault = Some(Fault { at, failure: Failure::Nothing, lasting: true });
    }

    /// What was asked for since the plan was made.
    pub(crate) fn trace(&self) -> Vec<Operation> {
        state().trace.clone()
    }

    /// The first operation that failed.
    pub(crate) fn struck(&self) -> Option<Operation> {
        state().struck
    }

    /// The power goes and comes back, for the machine whose files are in `directory`. Nobody has one of
    /// them open.
    pub(crate) fn power_cut(&self, directory: &Path, random: &mut Random) {
        let mut state = state();
        let loss = Loss::any(random);
        let files = std::mem::take(&mut state.files);
        let (here, elsewhere): (BTreeMap<_, _>, _) =
            files.into_iter().partition(|(path, _)| path.starts_with(directory));
        *state = State { files: elsewhere, ..State::new() };
        for (path, lives) in here {
            // A directory entry that was not synced may be the one before.
            let last = lives.len() - 1;
            if matches!(lives[last], Life::File { .. }) && !path.exists() {
                // A draft that became a store, synced.
                continue;
            }
            let life = if random.below(2) == 0 { last } else { random.below(lives.len()) };
            match &lives[life] {
                Life::Absent => match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                    _ => {}
                },
                Life::File { synced, pending } => {
                    fs::write(&path, loss.apply(synced.clone(), pending, random)).unwrap();
                }
            }
        }
    }
}

struct State {
    /// Oldest first; the last is what is there.
    files: BTreeMap<PathBuf, Vec<Life>>,
    trace: Vec<Operation>,
    fault: Option<Fault>,
    struck: Option<Operation>,
}

/// A file from its creation to its deletion, or the time without it.
enum Life {
    Absent,
    File { synced: Vec<u8>, pending: Vec<Change> },
}

enum Change {
    Bytes { offset: usize, data: Vec<u8> },
    Length(usize),
}

thread_local! {
    static STATE: &'static Mutex<State> = Box::leak(Box::new(Mutex::new(State::new())));
}

fn state() -> MutexGuard<'static, State> {
    STATE.with(|state| *state).lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    const fn new() -> Self {
        Self { files: BTreeMap::new(), trace: Vec::new(), fault: None, struck: None }
    }

    /// Counts the operation, and says how it fails.
    fn begin(&mut self, operation: Operation) -> Option<Failure> {
        let number = self.trace.len();
        self.trace.push(operation);
        let fault = self.fault?;
        let failure = match fault.failure {
            Failure::Full if operation != Operation::Write => return None,
            failure if number == fault.at => failure,
            Failure::Full if fault.lasting && number > fault.at => Failure::Full,
            _ if fault.lasting && number > fault.at => Failure::Nothing,
            _ => return None,
        };
        self.struck.get_or_insert(operation);
        Some(failure)
    }

    fn lives(&mut self, path: &Path) -> &mut Vec<Life> {
        self.files.entry(path.to_path_buf()).or_insert_with(|| {
            vec![match fs::read(path) {
                Ok(synced) => Life::File { synced, pending: Vec::new() },
                Err(_) => Life::Absent,
            }]
        })
    }

    fn change(&mut self, path: &Path, change: Change) {
        let Some(Life::File { pending, .. }) = self.lives(path).last_mut() else {
            panic!("{} is written to, and is not there", path.display())
        };
        pending.push(change);
    }

    /// With the directory entry: SQLite syncs the directory when it syncs a log that it created.
    fn sync(&mut self, path: &Path) {
        let lives = self.lives(path);
        lives.drain(..lives.len() - 1);
        if let Some(Life::File { synced, pending }) = lives.last_mut() {
            for change in pending.drain(..) {
                change.apply(synced);
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => content.truncate(*length),
        }
    }

    /// Its sectors, each a change by itself.
    fn sectors(&self) -> Vec<Self> {
        let Self::Bytes { offset, data } = self else { return Vec::new() };
        let mut sectors = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let length = (SECTOR - (offset + at) % SECTOR).min(data.len() - at);
            let piece = data[at..at + length].to_vec();
            sectors.push(Self::Bytes { offset: offset + at, data: piece });
            at += length;
        }
        sectors
    }
}

/// What a loss of power does to what was not synced.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Everything,
    Nothing,
    /// All from somewhere on, where one change may be torn.
    Tail,
    /// So many changes of eight, and of those that stay so many of eight are torn.
    Some {
        lost: usize,
        torn: usize,
    },
}

impl Loss {
    fn any(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Everything,
            1 => Self::Nothing,
            2 | 3 => Self::Tail,
            _ => Self::Some { lost: random.below(8), torn: random.below(8) },
        }
    }

    fn apply(self, mut content: Vec<u8>, pending: &[Change], random: &mut Random) -> Vec<u8> {
        let end = random.below(pending.len() + 1);
        for (number, change) in pending.iter().enumerate() {
            let (lost, torn) = match self {
                Self::Everything => (true, false),
                Self::Nothing => (false, false),
                Self::Tail => (number > end, number == end),
                Self::Some { lost, torn } => (random.below(8) < lost, random.below(8) < torn),
            };
            if lost {
                // The length of a file may be on the disk before what stands there.
                if let Change::Bytes { offset, data } = change
                    && content.len() < offset + data.len()
                    && random.below(8) == 0
                {
                    content.resize_with(offset + data.len(), || random.byte());
                }
            } else if torn {
                for sector in change.sectors() {
                    if random.below(2) == 0 {
                        sector.apply(&mut content);
                    }
                }
            } else {
                change.apply(&mut content);
            }
        }
        content
    }
}

struct Faults;

struct Handle {
    path: PathBuf,
    file: File,
}

impl Vfs for Faults {
    type Handle = Handle;

    fn open(&self, path: &str, options: OpenOptions) -> Result<Handle> {
        let mut state = state();
        if state.begin(Operation::Open).is_some() {
            return Err(injected());
        }
        let path = PathBuf::from(path);
        let lives = state.lives(&path);
        let mut open = File::options();
        open.read(true).write(options.access != OpenAccess::Read);
        match options.access {
            OpenAccess::Read | OpenAccess::Write => {}
            OpenAccess::Create => drop(open.create(true)),
            OpenAccess::CreateNew => drop(open.create_new(true)),
        }
        let file = open.open(&path)?;
        if matches!(lives.last(), Some(Life::Absent)) {
            lives.push(Life::File { synced: Vec::new(), pending: Vec::new() });
        }
        Ok(Handle { path, file })
    }

    fn delete(&self, path: &str) -> Result<()> {
        let mut state = state();
        let failure = state.begin(Operation::Delete);
        if matches!(failure, None | Some(Failure::Done)) {
            let lives = state.lives(Path::new(path));
            fs::remove_file(path)?;
            lives.push(Life::Absent);
        }
        outcome(failure)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        outcome(state().begin(Operation::Exists))?;
        fs::exists(path)
    }

    fn temporary_name(&self) -> String {
        panic!("the store needs no temporary files")
    }

    fn random(&self, buffer: &mut [i8]) {
        for byte in buffer {
            *byte = i8::from_ne_bytes(cc_core::random::array().unwrap());
        }
    }

    fn sleep(&self, duration: Duration) -> Duration {
        duration
    }

    fn full_pathname<'a>(&self, path: &'a str) -> Result<Cow<'a, str>> {
        Ok(path.into())
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = WalDisabled;

    fn size(&self) -> Result<u64> {
        outcome(state().begin(Operation::Size))?;
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        outcome(state().begin(Operation::Read))?;
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + u64::try_from(done).unwrap())? {
                0 => {
                    // SQLite wants zeros behind the end.
                    buffer[done..].fill(0);
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                read => done += read,
            }
        }
        Ok(())
    }

    fn write_all_at(&mut self, data: &[u8], offset: u64) -> Result<()> {
        let mut state = state();
        let failure = state.begin(Operation::Write);
        let written = match failure {
            None | Some(Failure::Done) => data,
            Some(Failure::Half | Failure::Full) => &data[..data.len() / 2],
            Some(Failure::Nothing) => &[],
        };
        if !written.is_empty() {
            self.file.write_all_at(written, offset)?;
            let offset = usize::try_from(offset).unwrap();
            state.change(&self.path, Change::Bytes { offset, data: written.to_vec() });
        }
        outcome(failure)
    }

    fn sync(&mut self, _data_only: bool) -> Result<()> {
        let mut state = state();
        let failure = state.begin(Operation::Sync);
        if matches!(failure, None | Some(Failure::Done)) {
            state.sync(&self.path);
        }
        outcome(failure)
    }

    /// Also called with a size that the file may grow to, which the system's own file system does
    /// nothing about.
    fn set_len(&mut self, size: u64) -> Result<()> {
        let mut state = state();
        if size >= self.file.metadata()?.len() {
            return Ok(());
        }
        let failure = state.begin(Operation::Truncate);
        if matches!(failure, None | Some(Failure::Done)) {
            self.file.set_len(size)?;
            state.change(&self.path, Change::Length(usize::try_from(size).unwrap()));
        }
        outcome(failure)
    }

    // The store's own lock file is what keeps others out.
    fn lock(&mut self, _lock: LockKind) -> Result<bool> {
        Ok(true)
    }

    fn reserved(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn current_lock(&self) -> Result<LockKind> {
        Ok(LockKind::Exclusive)
    }

    fn wal_index(&self, _readonly: bool) -> Result<WalDisabled> {
        panic!("the store needs no shared memory")
    }
}

fn outcome(failure: Option<Failure>) -> Result<()> {
    match failure {
        None => Ok(()),
        // What `sqlite-vfs` takes for a full disk.
        Some(Failure::Full) => Err(ErrorKind::WriteZero.into()),
        Some(_) => Err(injected()),
    }
}

fn injected() -> Error {
    Error::other("a failure that the test asked for")
}
