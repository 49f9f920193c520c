//! Where state survives: the contract of a transactional key-value store, and one in memory.
//!
//! # Writing one for your own database
//! Three methods: [`get`](Store::get), [`scan`](Store::scan) and [`commit`](Store::commit). One table
//! with the primary key `(scope, key)` and a value is enough. Then let the conformance suite
//! (`store::tests`, feature `store-tests`) judge it. `examples/custom_store.rs` of `cc-manager` is one.
//! What the suite cannot see, and what everything rests on:
//!
//! - **Durable when `commit` returns.** A ciphertext leaves the machine after that. A store that
//!   forgets a commit makes a ratchet use a key twice.
//! - **One opener.** Two processes on one state fork the ratchet. The second must get
//!   [`StoreError::Locked`].
//! - **Values are secret keys.** Encrypt them, and overwrite what is deleted as far as the medium
//!   allows: forward secrecy on disk is no better than that.
//!
//! # Why it looks as it does
//! - A name has two parts, a [`Scope`] and a key, rather than being one string with prefixes. A store
//!   that hides names behind a keyed hash can still find all records of a scope; a flat name space
//!   would have to decrypt every name it holds, of all groups, to restore one.
//! - A [`Batch`] holds one change per record, not a list of operations: the last one wins before the
//!   store sees it. An implementation cannot get the order wrong, and writes no record twice.
//! - A batch can [require](Batch::require) what records hold. The database looks and changes in one
//!   step, so that of two who hold the same ratchet only one moves it on.
//! - `commit` borrows the batch, so that it can be tried again after [`StoreError::Full`].
//! - Reading takes `&self`, so that many scopes can be read at once. A client that needs `&mut` goes
//!   into a `RefCell`; nothing here must be `Sync`.
//! - A commit that fails halfway between memory and disk may or may not be there after a restart. The
//!   contract does not pretend otherwise: [`StoreError::InDoubt`].

use alloc::boxed::Box;
use core::{error::Error, ops::ControlFlow};

mod batch;
mod memory;
mod scope;
#[cfg(feature = "store-tests")]
pub mod tests;

pub use batch::{Batch, Change};
pub use memory::{Failure, MemoryStore};
pub use scope::{Scope, ScopeReader, ScopeWriter};

use crate::{RandomError, SecretBytes};

/// Bytes of a whole scope, and of a key.
pub const MAX_NAME_LEN: usize = 1024;
/// Bytes of a value: 256 MiB.
pub const MAX_VALUE_LEN: usize = 256 << 20;

/// Transactional key-value state for layers and the manager.
pub trait Store: Send {
    /// The value of a record, `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a value that is not what was put there, [`StoreError::Io`].
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError>;

    /// Hands all records of `scope` whose keys begin with `prefix` to `visit`, in the order of their
    /// keys, until it breaks. Records of the scope's children are not among them.
    ///
    /// # Errors
    /// As [`get`](Self::get). Some records may have been visited then.
    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Puts all changes of `batch` into force: all or none of them, and durable when it returns.
    /// An empty batch changes nothing.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] and [`StoreError::Overtaken`] as [`Batch::check`] finds them,
    /// [`StoreError::Full`], [`StoreError::Io`]: nothing of the batch is in force or ever will be; it
    /// may be tried again.
    /// [`StoreError::InDoubt`]: all or nothing of it is, and only opening the store anew tells which.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
}

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The passphrase or key does not open this store.
    #[error("the passphrase or key does not open this store")]
    WrongKey,
    /// The store asks for a costlier derivation of the key from the passphrase than is accepted, which
    /// whoever can write it may have changed. Nothing was derived. Where the store is trusted, accept more.
    #[error(
        "opening the store takes a derivation with {memory_kib} KiB of memory and {passes} passes, which \
         is more than is accepted: if nobody else could write the store, accept more"
    )]
    TooCostly {
        /// Memory that the store asks for, in KiB.
        memory_kib: u32,
        /// Passes over it that the store asks for.
        passes: u8,
    },
    /// Not a store of this kind.
    #[error("not a store of Cascading Cipher")]
    Foreign,
    /// Written by a newer version of this library.
    #[error("the store has format {version}, which this version of the library does not know")]
    Newer {
        /// The format that was found.
        version: u32,
    },
    /// Changed by something else, or damaged.
    #[error("the store is damaged: {0}")]
    Corrupt(Cause),
    /// Older than the caller knows it was: a backup was restored.
    #[error("the store is at generation {found}, but was at {expected} or later: an old copy")]
    RolledBack {
        /// The generation of the store that was found.
        found: u64,
        /// The generation that the caller had seen.
        expected: u64,
    },
    /// A record is not what the change [requires](Batch::require): somebody else changed it.
    #[error("somebody else changed what the change rests on")]
    Overtaken,
    /// Somebody has it open, in this process or another.
    #[error("the store is open already, here or in another process")]
    Locked,
    /// There is none to open.
    #[error("there is no store there")]
    Missing,
    /// There is something where one was to be created.
    #[error("there is something there already")]
    Exists,
    /// No room for the change, on the disk or within the limit that was set.
    #[error("there is no room for the change")]
    Full,
    /// A scope, key or value beyond the limits, or beyond what the database takes.
    #[error("a name or value is longer than a store takes")]
    TooLong,
    /// A failure while a commit was made durable. Whether it is in force shows when the store is
    /// opened anew; until then it answers everything with this.
    #[error("it is not known whether the last change is in force: open the store again ({0})")]
    InDoubt(Cause),
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The database, the file system or the network failed. Nothing has changed.
    #[error("the store failed: {0}")]
    Io(Cause),
}

/// What the database said.
pub type Cause = Box<dyn Error + Send + Sync>;

impl StoreError {
    /// [`StoreError::Corrupt`] for a reason.
    pub fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(cause.into())
    }

    /// [`StoreError::Io`] with its cause.
    pub fn io(cause: impl Into<Cause>) -> Self {
        Self::Io(cause.into())
    }

    /// [`StoreError::InDoubt`] with its cause.
    pub fn in_doubt(cause: impl Into<Cause>) -> Self {
        Self::InDoubt(cause.into())
    }

    /// The number of this error, for logs and for bindings to other languages. Numbers are never given
    /// to another error; `docs/errors.md` lists them.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::WrongKey => 401,
            Self::Foreign => 402,
            Self::Newer { .. } => 403,
            Self::Corrupt(_) => 404,
            Self::RolledBack { .. } => 405,
            Self::Overtaken => 406,
            Self::Locked => 407,
            Self::Missing => 408,
            Self::Exists => 409,
            Self::Full => 410,
            Self::TooLong => 411,
            Self::InDoubt(_) => 412,
            Self::Random(_) => 209,
            Self::Io(_) => 413,
            Self::TooCostly { .. } => 414,
        }
    }

    /// Whether the change may be in force after all.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        (**self).get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (**self).scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        (**self).commit(batch)
    }
}

/// One store for many managers: each has a scope of its own. A `visit` must not use the store.
#[cfg(feature = "std")]
impl<S: Store + ?Sized> Store for alloc::sync::Arc<std::sync::Mutex<S>> {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        held(self)?.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        held(self)?.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        held(self)?.commit(batch)
    }
}

/// A thread that panicked within the store may have left it in any state.
#[cfg(feature = "std")]
fn held<S: ?Sized>(
    store: &std::sync::Mutex<S>,
) -> Result<std::sync::MutexGuard<'_, S>, StoreError> {
    store.lock().map_err(|_| StoreError::in_doubt("a thread panicked while it used the store"))
}
