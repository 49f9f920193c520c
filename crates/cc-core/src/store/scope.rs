//! Names, and views of a store and a batch that see one scope only.

use alloc::vec::Vec;
use core::{fmt, ops::ControlFlow};

use super::{Batch, Store, StoreError};
use crate::SecretBytes;

/// A part of a store: a path of components, such as a manager's name and a layer's position.
///
/// Records of a scope have nothing to do with those of any other, parents and children included.
/// Each component goes with its length (4 bytes, big-endian), so that different paths are never the
/// same bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Vec<u8>);

impl Scope {
    /// A scope of one component.
    #[must_use]
    pub fn new(component: impl AsRef<[u8]>) -> Self {
        Self(Vec::new()).child(component)
    }

    /// The scope `component` within this one.
    #[must_use]
    pub fn child(&self, component: impl AsRef<[u8]>) -> Self {
        let component = component.as_ref();
        // A longer component makes a name over the limit anyway, which no store takes.
        let length = u32::try_from(component.len()).unwrap_or(u32::MAX);
        let mut path = Vec::with_capacity(self.0.len() + 4 + component.len());
        path.extend_from_slice(&self.0);
        path.extend_from_slice(&length.to_be_bytes());
        path.extend_from_slice(component);
        Self(path)
    }

    /// The scope numbered `index` within this one: the child of its 4 bytes, big-endian.
    #[must_use]
    pub fn indexed(&self, index: u32) -> Self {
        self.child(index.to_be_bytes())
    }

    /// The path, as a database may use it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The scope with this path, as [`as_bytes`](Self::as_bytes) gave it; `None` for what is none.
    #[must_use]
    pub fn from_bytes(path: &[u8]) -> Option<Self> {
        let mut rest = path;
        loop {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            rest = after.get(length..)?;
            if rest.is_empty() {
                return Some(Self(path.to_vec()));
            }
        }
    }

    /// The records of this scope in `store`.
    #[must_use]
    pub fn of<'a>(&self, store: &'a dyn Store) -> ScopeReader<'a> {
        ScopeReader { store, scope: self.clone() }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0.escape_ascii())
    }
}

/// One scope of a store, to read. What a layer gets to restore itself from.
pub struct ScopeReader<'a> {
    store: &'a dyn Store,
    scope: Scope,
}

impl ScopeReader<'_> {
    /// As [`Store::get`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.store.get(&self.scope, key)
    }

    /// As [`Store::scan`].
    ///
    /// # Errors
    /// As [`Store::scan`].
    pub fn scan(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(&self.scope, prefix, visit)
    }

    /// All records whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// As [`Store::scan`].
    pub fn list(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let mut records = Vec::new();
        self.scan(prefix, &mut |key, value| {
            records.push((key.to_vec(), value));
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }
}

impl fmt::Debug for ScopeReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeReader").field(&self.scope).finish()
    }
}

/// One scope of a batch, to write. What a layer gets to save its changes in.
pub struct ScopeWriter<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) scope: Scope,
    pub(super) new: bool,
}

impl ScopeWriter<'_> {
    /// As [`Batch::put`].
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: SecretBytes) {
        self.batch.put(&self.scope, key, value);
    }

    /// As [`Batch::delete`].
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.batch.delete(&self.scope, key);
    }

    /// Whether the store has no records of this scope yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.new
    }
}

impl fmt::Debug for ScopeWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopeWriter").field(&self.scope).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_never_confused() {
        let paths = [
            Scope::new(""),
            Scope::new("a"),
            Scope::new("ab"),
            Scope::new("").child("a"),
            Scope::new("a").child(""),
            Scope::new("a").child("b"),
            Scope::new("a").child("b").child(""),
            Scope::new("a").indexed(1),
            Scope::new("a").indexed(256),
        ];
        for (at, path) in paths.iter().enumerate() {
            assert_eq!(paths.iter().position(|other| other == path), Some(at));
            assert_eq!(Scope::from_bytes(path.as_bytes()).as_ref(), Some(path));
        }
        assert_eq!(Scope::new("a").child("bc").as_bytes(), b"\0\0\0\x01a\0\0\0\x02bc");
    }

    #[test]
    fn a_path_that_is_none_is_no_scope() {
        for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\0\0\0\x01ab", b"\xff\xff\xff\xffa"] {
            assert_eq!(Scope::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
