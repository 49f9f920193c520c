//! The files of a store, before SQLite sees them: the lock, and whether it is one of ours.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use cc_core::store::StoreError;

use crate::identity::{self, Claim};

/// "CCst", at offset 68 of the database file (SQLite file format section 1.3.17).
pub(crate) const APPLICATION_ID: i32 = 0x4343_7374;
/// The format that this version writes, at offset 60 of the database file.
pub(crate) const FORMAT: u32 = 3;

/// The store's files, and the lock that keeps everybody else from them.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    /// The database file, once it was recognized.
    claim: Option<Claim>,
    /// Held as long as the store is open; the system lets go of it when the process ends, however
    /// that happens. The file itself stays: removing it would let two openers lock two files.
    _lock: File,
}

impl Files {
    /// Locks the store at `path`, whether or not it exists. The lock comes before any other file is
    /// touched.
    pub(crate) fn lock(path: &Path) -> Result<Self, StoreError> {
        let path = canonical(path).map_err(StoreError::io)?;
        let lock = lock_file(&with_suffix(&path, ".lock"))?;
        Ok(Self { path, claim: None, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the first 100 bytes of the database, and changes nothing.
    ///
    /// On Unix, closing any handle to a file drops all of the process's `fcntl` locks on it, and with
    /// them those by which SQLite keeps other processes away. So a file that this process has open as a
    /// store, which the lock file does not tell where somebody removed it, is never opened here.
    pub(crate) fn recognize(&mut self) -> Result<(), StoreError> {
        let metadata = self.path.symlink_metadata().map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::Missing,
            _ => StoreError::io(error),
        })?;
        if !metadata.is_file() {
            return Err(StoreError::Foreign);
        }
        identity::one_name(&self.path, &metadata)?;
        self.claim = Some(Claim::of(&metadata)?);
        let mut head = [0; 100];
        let mut options = OpenOptions::new();
        no_links(options.read(true));
        let read = options.open(&self.path).and_then(|mut file| file.read_exact(&mut head));
        read.map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::Missing,
            ErrorKind::UnexpectedEof => StoreError::Foreign,
            _ => StoreError::io(error),
        })?;
        if head.starts_with(b"SQLite format 3\0")
            && number(&head, 68) == Some(APPLICATION_ID.cast_unsigned())
            && let Some(format) = number(&head, 60)
        {
            return check_format(format);
        }
        Err(StoreError::Foreign)
    }

    /// Whether there is a log that a crash left.
    pub(crate) fn left_log(&self) -> bool {
        with_suffix(&self.path, "-wal").symlink_metadata().is_ok()
    }

    /// Fails unless there is nothing at the path. A log without a database counts: SQLite would apply
    /// it to the new one.
    pub(crate) fn vacant(&self) -> Result<(), StoreError> {
        for suffix in ["", "-wal", "-journal"] {
            let path = with_suffix(&self.path, suffix);
            match path.symlink_metadata() {
                Ok(_) => return Err(StoreError::Exists),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(error)),
            }
        }
        Ok(())
    }

    /// Removes the store.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        // Not before: a log that was left without its database is in the way, and no more.
        match fs::remove_file(with_suffix(&self.path, "-wal")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// An empty file beside the store, to become the store once it is complete, so that a crash never
    /// leaves half of one.
    pub(crate) fn draft(&self) -> Result<PathBuf, StoreError> {
        let draft = with_suffix(&self.path, ".new");
        for suffix in ["", "-wal", "-journal"] {
            match fs::remove_file(with_suffix(&draft, suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io(error));
                }
                _ => {}
            }
        }
        let mut options = OpenOptions::new();
        no_links(owner_only(options.write(true).create_new(true)));
        options.open(&draft).map_err(StoreError::io)?;
        Ok(draft)
    }

    /// The draft becomes the store, durably.
    pub(crate) fn publish(&self, draft: &Path) -> Result<(), StoreError> {
        let publish = || {
            // Windows syncs only what is open for writing.
            OpenOptions::new().write(true).open(draft)?.sync_all()?;
            fs::rename(draft, &self.path)?;
            #[cfg(unix)]
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
            Ok(())
        };
        publish().map_err(|error: io::Error| StoreError::io(error))
    }
}

pub(crate) fn check_format(version: u32) -> Result<(), StoreError> {
    match version {
        1..=FORMAT => Ok(()),
        0 => Err(StoreError::corrupt("format 0, which was never written")),
        version => Err(StoreError::Newer { version }),
    }
}

/// Opens the lock file, makes it one that nobody else can open, and locks it.
fn lock_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    no_links(owner_only(&mut options));
    let lock = options.open(path).map_err(|error| {
        if path.is_symlink() {
            StoreError::io("the lock file is a symbolic link: remove it")
        } else {
            StoreError::io(error)
        }
    })?;
    let metadata = lock.metadata().map_err(StoreError::io)?;
    if !metadata.is_file() {
        return Err(StoreError::io("what is in the place of the lock file is no file: remove it"));
    }
    identity::own_lock(&lock, &metadata)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => return Err(StoreError::io(error)),
    }
    // Somebody may have removed it in between, and the next one would lock another.
    match path.symlink_metadata() {
        Ok(there) if identity::same(&there, &metadata) => Ok(lock),
        Ok(_) => Err(StoreError::Locked),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::Locked),
        Err(error) => Err(StoreError::io(error)),
    }
}

/// The number at `at` of a database header.
fn number(head: &[u8], at: usize) -> Option<u32> {
    head.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Lets nobody but its owner open a file that is created.
fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Fails to open a symbolic link.
fn no_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        options,
        rustix::fs::OFlags::NOFOLLOW.bits().cast_signed(),
    );
    options
}

/// One path for one file, so that two ways of naming it lock the same thing.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let parent = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            Ok(parent.canonicalize()?.join(name))
        }
        result => result,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
