//! The records as a store keeps them: the keys as they are here, and each value behind the version of
//! its format, one byte.

use std::collections::BTreeSet;

use cc_core::{
    LayerError, SecretBytes,
    store::{ScopeReader, ScopeWriter},
};
use openmls_traits::storage::CURRENT_VERSION;

use super::{Key, Kind, State, Storage, Value};
use crate::error::storage as failed;

/// The version of every record that is written. It goes up with any change of what a value holds,
/// this crate's or openmls's.
const FORMAT: u8 = 1;

// openmls's own format went up: so must this one.
const _: () = assert!(CURRENT_VERSION == 1);

impl Kind {
    const ALL: [Self; 25] = [
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
        match &state.unsaved {
            Some(unsaved) if !to.is_new() => {
                let changed: BTreeSet<&Key> = unsaved.iter().chain(state.staged.keys()).collect();
                for key in changed {
                    match state.value(key) {
                        Some(value) => to.put(key.clone(), record(value)),
                        // Written and deleted within one transaction: the store never had it.
                        None if !state.applied.contains_key(key) && !unsaved.contains(key) => {}
                        None => to.delete(key.clone()),
                    }
                }
            }
            _ => {
                for key in state.keys(b"") {
                    match state.value(&key) {
                        Some(value) => to.put(key.clone(), record(value)),
                        None if to.is_new() => {}
                        None => to.delete(key),
                    }
                }
            }
        }
        state.saved = true;
    }

    /// All records of a store.
    ///
    /// # Errors
    /// `Storage` where a record is none of this crate's, or of a newer format.
    pub(crate) fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut state = State { unsaved: Some(BTreeSet::new()), ..State::default() };
        for (key, record) in from.list(b"")? {
            let kind = Kind::of(&key).ok_or_else(|| failed("a record of an unknown kind"))?;
            let value = value(kind, &record)?;
            state.applied.insert(key, value);
        }
        Ok(Self { state: state.into() })
    }

    /// How many values of `kind` there are.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let state = self.state();
        state.keys(&[kind as u8]).iter().filter(|key| state.value(key).is_some()).count()
    }
}

fn record(value: &Value) -> SecretBytes {
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
        Some(_) | None => Err(failed(format!("the record {kind:?} is damaged"))),
    }
}
