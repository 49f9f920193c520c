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

use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroize as _;

mod saved;
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
}

impl Storage {
    /// Keeps what was staged.
    pub(crate) fn apply(&self) {
        let mut state = self.state();
        let State { applied, staged, unsaved, saved, .. } = &mut *state;
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
        let value = encode(kind, value, 0)?;
        let mut state = self.state();
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
    postcard::serialize_with_flavor(value, Wiping::with_capacity(len + len / 8))
        .map_err(|_| StorageError { kind })
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

/// A value of the group, under the group id.
macro_rules! of_group {
    ($kind:ident, $write:ident, $read:ident, $delete:ident, $entity:ident) => {
        fn $write<G: traits::GroupId<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            group_id: &G,
            value: &T,
        ) -> Result<(), StorageError> {
            self.put(Kind::$kind, group_id, value)
        }

        fn $read<G: traits::GroupId<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            group_id: &G,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::$kind, group_id)
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(
            &self,
            group_id: &G,
        ) -> Result<(), StorageError> {
            self.delete(Kind::$kind, group_id)
        }
    };
}

/// A value under its own key.
macro_rules! of_key {
    ($kind:ident, $write:ident, $read:ident, $delete:ident, $key:ident, $entity:ident) => {
        fn $write<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
            value: &T,
        ) -> Result<(), StorageError> {
            self.put(Kind::$kind, key, value)
        }

        of_key!(@read $kind, $read, $key, $entity);

        fn $delete<K: traits::$key<CURRENT_VERSION>>(&self, key: &K) -> Result<(), StorageError> {
            self.delete(Kind::$kind, key)
        }
    };
    (@read SignatureKeyPair, $read:ident, $key:ident, $entity:ident) => {
        fn $read<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::SignatureKeyPair, key)
        }
    };
    (@read KeyPackage, $read:ident, $key:ident, $entity:ident) => {
        fn $read<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::KeyPackage, key)
        }
    };
    (@read $kind:ident, $read:ident, $key:ident, $entity:ident) => {
        fn $read<T: traits::$entity<CURRENT_VERSION>, K: traits::$key<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::$kind, key)
        }
    };
}

impl StorageProvider<CURRENT_VERSION> for Storage {
    type Error = StorageError;

    of_group!(
        JoinConfig,
        write_mls_join_config,
        mls_group_join_config,
        delete_group_config,
        MlsGroupJoinConfig
    );
    of_group!(Tree, write_tree, tree, delete_tree, TreeSync);
    of_group!(
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash,
        InterimTranscriptHash
    );
    of_group!(GroupContext, write_context, group_context, delete_context, GroupContext);
    of_group!(
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag,
        ConfirmationTag
    );
    of_group!(
        ResumptionPsks,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets,
        ResumptionPskStore
    );
    of_group!(
        OwnLeafIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index,
        LeafNodeIndex
    );
    of_group!(
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets,
        GroupEpochSecrets
    );

    of_key!(
        SignatureKeyPair,
        write_signature_key_pair,
        signature_key_pair,
        delete_signature_key_pair,
        SignaturePublicKey,
        SignatureKeyPair
    );
    of_key!(
        EncryptionKeyPair,
        write_encryption_key_pair,
        encryption_key_pair,
        delete_encryption_key_pair,
        EncryptionKey,
        HpkeKeyPair
    );
    of_key!(
        KeyPackage,
        write_key_package,
        key_package,
        delete_key_package,
        HashReference,
        KeyPackage
    );
    of_key!(Psk, write_psk, psk, delete_psk, PskId, PskBundle);

    fn write_group_state<
        S: traits::GroupState<CURRENT_VERSION>,
        G: traits::GroupId<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        group_state: &S,
    ) -> Result<(), StorageError> {
        self.put(Kind::GroupState, group_id, group_state)
    }

    fn group_state<S: traits::GroupState<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<Option<S>, StorageError> {
        self.get(Kind::GroupState, group_id)
    }

    fn delete_group_state<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete(Kind::GroupState, group_id)
    }

    fn write_message_secrets<
        G: traits::GroupId<CURRENT_VERSION>,
        M: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        message_secrets: &M,
    ) -> Result<(), StorageError> {
        if !self.state().writes_secrets {
            return Ok(());
        }
        self.put(Kind::MessageSecrets, group_id, message_secrets)
    }

    fn message_secrets<
        G: traits::GroupId<CURRENT_VERSION>,
        M: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Option<M>, StorageError> {
        self.get(Kind::MessageSecrets, group_id)
    }

    fn delete_message_secrets<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete(Kind::MessageSecrets, group_id)
    }

    fn append_own_leaf_node<
        G: traits::GroupId<CURRENT_VERSION>,
        L: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        leaf_node: &L,
    ) -> Result<(), StorageError> {
        let count = {
            let prefix = key(Kind::OwnLeafNode, group_id)?;
            self.state().keys(&prefix).len()
        };
        // Big endian, so that the list comes back in this order.
        let count = u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes();
        self.put(Kind::OwnLeafNode, &(group_id, count), leaf_node)
    }

    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, L: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<L>, StorageError> {
        self.list(Kind::OwnLeafNode, group_id)
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete_all(Kind::OwnLeafNode, group_id)
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        proposal_ref: &R,
        proposal: &Q,
    ) -> Result<(), StorageError> {
        self.put(Kind::QueuedProposal, &(group_id, proposal_ref), &(proposal_ref, proposal))
    }

    fn queued_proposal_refs<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Vec<R>, StorageError> {
        // The reference stands first in the value; postcard leaves the rest unread.
        self.list(Kind::QueuedProposal, group_id)
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Vec<(R, Q)>, StorageError> {
        self.list(Kind::QueuedProposal, group_id)
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        proposal_ref: &R,
    ) -> Result<(), StorageError> {
        self.delete(Kind::QueuedProposal, &(group_id, proposal_ref))
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete_all(Kind::QueuedProposal, group_id)
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[H],
    ) -> Result<(), StorageError> {
        self.put(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index), &key_pairs)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<H>, StorageError> {
        Ok(self.get(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), StorageError> {
        self.delete(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))
    }
}
