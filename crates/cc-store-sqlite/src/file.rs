//! The files of a store, before SQLite sees them: the lock, and whether it is one of ours.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use cc_core::store::StoreError;

/// "CCst", at offset 68 of the database file (SQLite file format section 1.3.17).
pub(crate) const APPLICATION_ID: i32 = 0x4343_7374;
/// The format that this version writes, at offset 60 of the database file.
pub(crate) const FORMAT: u32 = 2;

/// The store's files, and the lock that keeps everybody else from them.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    /// Held as long as the store is open; the system lets go of it when the process ends, however
    /// that happens. The file itself stays: removing it would let two openers lock two files.
    _lock: File,
}

impl Files {
    /// Locks the store at `path`, whether or not it exists.
    ///
    /// The lock comes before any other file is touched. On Unix, closing any handle to a database drops
    /// all of the process's `fcntl` locks on it, and with them SQLite's own.
    pub(crate) fn lock(path: &Path) -> Result<Self, StoreError> {
        let path = canonical(path).map_err(StoreError::io)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(with_suffix(&path, ".lock"))
            .map_err(StoreError::io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => Err(StoreError::io(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the first 100 bytes of the database, and changes nothing.
    pub(crate) fn recognize(&self) -> Result<(), StoreError> {
        let mut head = [0; 100];
        File::open(&self.path).and_then(|mut file| file.read_exact(&mut head)).map_err(
            |error| match error.kind() {
                ErrorKind::NotFound => StoreError::Missing,
                ErrorKind::UnexpectedEof | ErrorKind::IsADirectory => StoreError::Foreign,
                _ => StoreError::io(error),
            },
        )?;
        let number = |at: usize| {
            let bytes = head.get(at..).and_then(|bytes| bytes.first_chunk());
            u32::from_be_bytes(bytes.copied().unwrap_or_default())
        };
        let is_ours =
            head.starts_with(b"SQLite format 3\0") && number(68) == APPLICATION_ID.cast_unsigned();
        if !is_ours {
            return Err(StoreError::Foreign);
        }
        check_format(number(60))
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
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
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
