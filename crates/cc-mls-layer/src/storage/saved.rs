//! The records as a store keeps them: the keys as they are here, and each value behind the version of
//! its format, one byte.
//!
//! openmls's message secrets stand there in pieces: they grow with the group, and a message changes
//! little of them. Under their key is their length (8 bytes, big-endian) and their SHA-256, so that what
//! is put together from pieces of two times is noticed. The key of a piece is that key, of the kind
//! [`Kind::SecretsPiece`], and the piece's position (8 bytes, big-endian).

use std::collections::{BTreeMap, BTreeSet};

use cc_core::{
    LayerError, SecretBytes,
    store::{ScopeReader, ScopeWriter},
};
use openmls_traits::storage::CURRENT_VERSION;
use sha2::{Digest as _, Sha256};

use super::{Key, Kind, State, Storage, Value, pieces::Piece, stored::Stored};
use crate::error::storage as failed;

/// The version of every record that is written. It goes up with any change of what a value holds,
/// this crate's or openmls's.
const FORMAT: u8 = 1;

// openmls's own format went up: so must this one.
const _: () = assert!(CURRENT_VERSION == 1);

impl Kind {
    const ALL: [Self; 27] = [
        Self::JoinConfig,
        Self::OwnLeafNode,
        Self::QueuedProposal,
        Self::Tree,
        Self::InterimTranscriptHash,
        Self::GroupContext,
        Self::ConfirmationTag,
        Self::GroupState,
        Self::MessageSecrets,
        Self::ResumptionPsks,
        Self::OwnLeafIndex,
        Self::GroupEpochSecrets,
        Self::SignatureKeyPair,
        Self::EncryptionKeyPair,
        Self::EpochKeyPairs,
        Self::KeyPackage,
        Self::Psk,
        Self::Group,
        Self::OwnCommit,
        Self::PastEpoch,
        Self::Sent,
        Self::Checkpoint,
        Self::Received,
        Self::Layer,
        Self::Renewed,
        Self::Removal,
        Self::SecretsPiece,
    ];

    fn of(key: &[u8]) -> Option<Self> {
        let byte = *key.first()?;
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl Storage {
    /// Writes what the store does not have yet, what is staged included; everything to a new store.
    /// The next [`apply`](Self::apply) takes it as saved, unless more is written before.
    pub(crate) fn save(&self, to: &mut ScopeWriter<'_>) {
        let mut state = self.state();
        let mut in_pieces = std::mem::take(&mut state.in_pieces);
        let State { applied, staged, unsaved, .. } = &*state;
        let known = unsaved.as_ref().filter(|_| !to.is_new());
        let changed: BTreeSet<&Key> = match known {
            Some(unsaved) => unsaved.iter().chain(staged.keys()).collect(),
            None => applied.keys().chain(staged.keys()).collect(),
        };
        // The store has what is applied, for sure.
        let sure = |key: &Key| known.is_some_and(|unsaved| !unsaved.contains(key));
        for key in changed {
            let before = applied.get(key).filter(|_| sure(key));
            let value = state.value(key);
            if Kind::of(key) == Some(Kind::MessageSecrets) {
                save_in_pieces(in_pieces.entry(key.clone()).or_default(), key, before, value, to);
                continue;
            }
            match value {
                Some(value) => to.put(key.clone(), record(value)),
                None if to.is_new() => {}
                // Written and deleted within one transaction: the store never had it.
                None if sure(key) && before.is_none() => {}
                None => to.delete(key.clone()),
            }
        }
        state.in_pieces = in_pieces;
        state.saved = true;
    }

    /// All records of a store.
    ///
    /// # Errors
    /// `Storage` where a record is none of this crate's, or of a newer format, and where pieces do not
    /// make the value they were cut from.
    pub(crate) fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut state = State { unsaved: Some(BTreeSet::new()), ..State::default() };
        let mut pieces = Pieces::default();
        for (key, record) in from.list(b"")? {
            let kind = Kind::of(&key).ok_or_else(|| failed("a record of an unknown kind"))?;
            let value = value(kind, &record)?;
            if kind == Kind::SecretsPiece {
                pieces.add(key, value)?;
            } else {
                state.applied.insert(key, value);
            }
        }
        let State { applied, in_pieces, .. } = &mut state;
        for (key, value) in &mut *applied {
            if Kind::of(key) == Some(Kind::MessageSecrets) {
                let (whole, stored) = pieces.take(key, value)?;
                *value = whole;
                in_pieces.insert(key.clone(), stored);
            }
        }
        if !pieces.0.is_empty() {
            return Err(damaged(Kind::SecretsPiece));
        }
        Ok(Self { state: state.into() })
    }

    /// How many values of `kind` there are.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let state = self.state();
        state.keys(&[kind as u8]).iter().filter(|key| state.value(key).is_some()).count()
    }
}

fn save_in_pieces(
    stored: &mut Stored,
    key: &Key,
    before: Option<&Value>,
    value: Option<&Value>,
    to: &mut ScopeWriter<'_>,
) {
    if value.is_none() && stored.is_empty() {
        return;
    }
    match value {
        Some(value) => to.put(key.clone(), record(&summary(value))),
        None => to.delete(key.clone()),
    }
    let changes =
        stored.save(before.map(|value| &**value), value.map(|value| &**value), to.is_new());
    let prefix = pieces_of(key);
    let key = |position: u64| [prefix.as_slice(), &position.to_be_bytes()].concat();
    for (position, piece) in changes.put {
        to.put(key(position), record(piece));
    }
    for position in changes.delete {
        to.delete(key(position));
    }
}

/// What the keys of the pieces of the value under `key` begin with.
fn pieces_of(key: &[u8]) -> Key {
    let id = key.get(1..).unwrap_or_default();
    [&[Kind::SecretsPiece as u8], id].concat()
}

/// Tells whether pieces make the value.
fn summary(value: &[u8]) -> Value {
    let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
    Value([len.to_be_bytes().as_slice(), &Sha256::digest(value)].concat())
}

/// The pieces of values that were read, by what their keys begin with, in the order of their positions.
#[derive(Default)]
struct Pieces(BTreeMap<Key, Vec<(u64, Value)>>);

impl Pieces {
    fn add(&mut self, mut key: Key, piece: Value) -> Result<(), LayerError> {
        let position = key.last_chunk().copied().map(u64::from_be_bytes);
        let position = position.filter(|_| key.len() > size_of::<u64>() && !piece.is_empty());
        let position = position.ok_or_else(|| damaged(Kind::SecretsPiece))?;
        key.truncate(key.len() - size_of::<u64>());
        self.0.entry(key).or_default().push((position, piece));
        Ok(())
    }

    /// The value under `key`, of which the store has this summary.
    fn take(&mut self, key: &[u8], expected: &[u8]) -> Result<(Value, Stored), LayerError> {
        let pieces = self.0.remove(&pieces_of(key)).unwrap_or_default();
        let len = pieces.iter().map(|(_, piece)| piece.len()).sum();
        let mut whole = Value(Vec::with_capacity(len));
        let mut stored = Vec::with_capacity(pieces.len());
        for (position, piece) in pieces {
            whole.0.extend_from_slice(&piece);
            stored.push(Piece { position, len: piece.len() });
        }
        if *summary(&whole) != *expected {
            return Err(damaged(Kind::MessageSecrets));
        }
        Ok((whole, Stored::of(stored)))
    }
}

fn damaged(kind: Kind) -> LayerError {
    failed(format!("the record {kind:?} is damaged"))
}

fn record(value: &[u8]) -> SecretBytes {
    let mut record = Vec::with_capacity(1 + value.len());
    record.push(FORMAT);
    record.extend_from_slice(value);
    SecretBytes::new(record)
}

fn value(kind: Kind, record: &SecretBytes) -> Result<Value, LayerError> {
    match record.expose().split_first() {
        Some((&FORMAT, value)) => Ok(Value(value.to_vec())),
        Some((&newer, _)) if newer > FORMAT => Err(failed(format!(
            "the record {kind:?} has format {newer}, newer than {FORMAT}, which this version knows"
        ))),
        Some(_) | None => Err(damaged(kind)),
    }
}
