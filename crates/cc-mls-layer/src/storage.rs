//! Where openmls and this crate keep their state: a map, and over it what was staged since the last
//! [`apply`](Storage::apply) or [`revert`](Storage::revert). A store on disk follows the map by
//! [`save`](Storage::save).
//!
//! Values are in postcard, which is as compact as the state itself; all but the join config, whose
//! serde form needs a self-describing format. They are overwritten when they are dropped, and so are
//! the blocks that a growing value leaves behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
};

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroize as _;

use self::stored::Stored;

mod pieces;
mod provider;
mod saved;
mod stored;
#[cfg(test)]
mod tests;

/// The store could not do what openmls asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value of kind {kind:?} could not be written or read")]
pub(crate) struct StorageError {
    kind: Kind,
}

/// What a value is: the first byte of its key. Never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    JoinConfig = 1,
    OwnLeafNode = 2,
    QueuedProposal = 3,
    Tree = 4,
    InterimTranscriptHash = 5,
    GroupContext = 6,
    ConfirmationTag = 7,
    GroupState = 8,
    MessageSecrets = 9,
    ResumptionPsks = 10,
    OwnLeafIndex = 11,
    GroupEpochSecrets = 12,
    SignatureKeyPair = 13,
    EncryptionKeyPair = 14,
    EpochKeyPairs = 15,
    KeyPackage = 16,
    Psk = 17,
    // This crate's own.
    Group = 32,
    OwnCommit = 33,
    PastEpoch = 34,
    Sent = 35,
    Checkpoint = 36,
    Received = 37,
    Layer = 38,
    Renewed = 39,
    Removal = 41,
    /// In the store only: a piece of a value of [`MessageSecrets`](Self::MessageSecrets).
    SecretsPiece = 40,
}

#[derive(Default)]
pub(crate) struct Storage {
    state: Mutex<State>,
}

type Key = Vec<u8>;

/// An encoded value, overwritten when it is dropped.
struct Value(Vec<u8>);

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// As `Vec::zeroize`, which takes a step for every byte: the values of a large group have some hundred
/// thousand.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.spare_capacity_mut().zeroize();
}

#[derive(Default)]
struct State {
    applied: BTreeMap<Key, Value>,
    /// `None` for what was deleted.
    staged: BTreeMap<Key, Option<Value>>,
    writes_secrets: bool,
    /// What was applied and the store does not have so, beside what is staged. `None` until there is
    /// a store.
    unsaved: Option<BTreeSet<Key>>,
    /// The store gets all that holds, once what is staged is applied.
    saved: bool,
    /// What the store has of the values that stand there in pieces.
    in_pieces: BTreeMap<Key, Stored>,
}

impl Storage {
    /// Keeps what was staged.
    pub(crate) fn apply(&self) {
        let mut state = self.state();
        let State { applied, staged, unsaved, saved, in_pieces, .. } = &mut *state;
        for stored in in_pieces.values_mut() {
            stored.apply(*saved);
        }
        in_pieces.retain(|_, stored| !stored.is_empty());
        if std::mem::take(saved) {
            *unsaved = Some(BTreeSet::new());
        } else if let Some(unsaved) = unsaved {
            unsaved.extend(staged.keys().cloned());
        }
        for (key, value) in std::mem::take(staged) {
            match value {
                Some(value) => applied.insert(key, value),
                None => applied.remove(&key),
            };
        }
    }

    /// Drops what was staged.
    pub(crate) fn revert(&self) {
        let mut state = self.state();
        state.staged.clear();
        state.saved = false;
        state.in_pieces.values_mut().for_each(Stored::revert);
    }

    /// Whether openmls's message secrets are written when it asks for it. They grow with the group,
    /// so they are written at checkpoints only; see [`Journal`](crate::journal::Journal).
    pub(crate) fn write_secrets(&self, on: bool) {
        self.state().writes_secrets = on;
    }

    /// Stages `value`.
    pub(crate) fn put(
        &self,
        kind: Kind,
        id: &impl Serialize,
        value: &impl Serialize,
    ) -> Result<(), StorageError> {
        let key = key(kind, id)?;
        let len = self.state().value(&key).map_or(0, |value| value.len());
        let value = encode(kind, value, len)?;
        self.state().stage(key, Some(value));
        Ok(())
    }

    /// Writes `value` so that a revert does not undo it.
    pub(crate) fn put_for_good(
        &self,
        kind: Kind,
        id: &impl Serialize,
        value: &impl Serialize,
    ) -> Result<(), StorageError> {
        let key = key(kind, id)?;
        let mut state = self.state();
        let len = state.value(&key).map_or(0, |value| value.len());
        let value = encode(kind, value, len)?;
        state.settle(&key);
        state.applied.insert(key, value);
        Ok(())
    }

    /// Deletes a value so that a revert does not undo it.
    pub(crate) fn delete_for_good(
        &self,
        kind: Kind,
        id: &impl Serialize,
    ) -> Result<(), StorageError> {
        let key = key(kind, id)?;
        let mut state = self.state();
        state.settle(&key);
        state.applied.remove(&key);
        Ok(())
    }

    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &impl Serialize,
    ) -> Result<Option<T>, StorageError> {
        let key = key(kind, id)?;
        let state = self.state();
        state.value(&key).map(|value| decode(kind, value)).transpose()
    }

    pub(crate) fn contains(&self, kind: Kind, id: &impl Serialize) -> Result<bool, StorageError> {
        let key = key(kind, id)?;
        Ok(self.state().value(&key).is_some())
    }

    pub(crate) fn delete(&self, kind: Kind, id: &impl Serialize) -> Result<(), StorageError> {
        let key = key(kind, id)?;
        self.state().stage(key, None);
        Ok(())
    }

    /// All values of `kind` whose ids begin with `id`, by id.
    pub(crate) fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &impl Serialize,
    ) -> Result<Vec<T>, StorageError> {
        let prefix = key(kind, id)?;
        let state = self.state();
        state
            .keys(&prefix)
            .iter()
            .filter_map(|key| state.value(key))
            .map(|value| decode(kind, value))
            .collect()
    }

    /// The ids of all values of `kind`.
    pub(crate) fn ids<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, StorageError> {
        let state = self.state();
        let keys = state.keys(&[kind as u8]);
        let present = keys.iter().filter(|key| state.value(key).is_some());
        let id = |key: &Key| key.split_first().and_then(|(_, id)| postcard::from_bytes(id).ok());
        present.map(|key| id(key).ok_or(StorageError { kind })).collect()
    }

    pub(crate) fn delete_all(&self, kind: Kind, id: &impl Serialize) -> Result<(), StorageError> {
        let prefix = key(kind, id)?;
        let mut state = self.state();
        for key in state.keys(&prefix) {
            state.stage(key, None);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked with the lock left no map half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stage(&mut self, key: Key, value: Option<Value>) {
        self.saved = false;
        self.staged.insert(key, value);
    }

    /// What is applied under `key` is about to change for good.
    fn settle(&mut self, key: &Key) {
        self.saved = false;
        self.staged.remove(key);
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(key.clone());
        }
    }

    fn value(&self, key: &[u8]) -> Option<&Value> {
        match self.staged.get(key) {
            Some(staged) => staged.as_ref(),
            None => self.applied.get(key),
        }
    }

    fn keys(&self, prefix: &[u8]) -> Vec<Key> {
        let mut keys: Vec<Key> =
            under(&self.applied, prefix).chain(under(&self.staged, prefix)).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

fn under<V>(map: &BTreeMap<Key, V>, prefix: &[u8]) -> impl Iterator<Item = Key> {
    map.range(prefix.to_vec()..)
        .map(|(key, _)| key)
        .take_while(move |key| key.starts_with(prefix))
        .cloned()
}

fn key(kind: Kind, id: &impl Serialize) -> Result<Key, StorageError> {
    postcard::to_extend(id, vec![kind as u8]).map_err(|_| StorageError { kind })
}

/// `len`: what the value had for its length before. It will be much the same.
fn encode(kind: Kind, value: &impl Serialize, len: usize) -> Result<Value, StorageError> {
    if kind == Kind::JoinConfig {
        return serde_json::to_vec(value).map(Value).map_err(|_| StorageError { kind });
    }
    let room = (len + len / 8).max(64);
    // postcard writes keys byte by byte, which takes less time where nothing can grow.
    let encoded = match encode_within(value, room) {
        Err(postcard::Error::SerializeBufferFull) => {
            postcard::serialize_with_flavor(value, Wiping::with_capacity(room))
        }
        encoded => encoded,
    };
    encoded.map_err(|_| StorageError { kind })
}

/// # Errors
/// `SerializeBufferFull` where the value takes more than `room` bytes.
fn encode_within(value: &impl Serialize, room: usize) -> postcard::Result<Value> {
    let mut buffer = Value(vec![0; room]);
    let len = postcard::to_slice(value, &mut buffer.0)?.len();
    buffer.0.truncate(len);
    Ok(buffer)
}

fn decode<T: DeserializeOwned>(kind: Kind, value: &Value) -> Result<T, StorageError> {
    if kind == Kind::JoinConfig {
        return serde_json::from_slice(value).map_err(|_| StorageError { kind });
    }
    postcard::from_bytes(value).map_err(|_| StorageError { kind })
}

/// A vector that overwrites the block it leaves when it grows.
struct Wiping(Value);

impl Wiping {
    fn with_capacity(capacity: usize) -> Self {
        Self(Value(Vec::with_capacity(capacity)))
    }

    // Out of the way of every byte that has room.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let capacity = (self.0.0.capacity() * 2).max(self.0.len() + more).max(64);
        let mut grown = Vec::with_capacity(capacity);
        grown.extend_from_slice(&self.0);
        self.0 = Value(grown);
    }
}

impl Flavor for Wiping {
    type Output = Value;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.0.len() == self.0.0.capacity() {
            self.grow(1);
        }
        self.0.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.0.0.capacity() - self.0.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.0.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Value> {
        Ok(self.0)
    }
}
