//! The layer as a store keeps it, and back.

use cc_core::{LayerError, LayerErrorKind, MemberId, Restore, store::ScopeReader};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider as _;
use serde::{Deserialize, Serialize};

use crate::{
    MlsConfig, MlsIdentity, MlsLayer,
    config::StoredConfig,
    error::storage as failed,
    group::Group,
    identity::StoredKeys,
    layer::State,
    provider::Provider,
    roster::{Ids, LAYER_ID},
    storage::{Kind, Storage, StorageError},
    transaction::Transaction,
};

/// What the layer is beside its group: the record [`Kind::Layer`].
#[derive(Serialize, Deserialize)]
struct Record<Text, Chain, Keys> {
    config: StoredConfig,
    name: Text,
    chain: Chain,
    keys: Keys,
    founds: Option<Text>,
    own_id: Option<[u8; 32]>,
}

/// What a group cannot be without.
const OF_A_GROUP: [Kind; 15] = [
    Kind::JoinConfig,
    Kind::Tree,
    Kind::InterimTranscriptHash,
    Kind::GroupContext,
    Kind::ConfirmationTag,
    Kind::GroupState,
    Kind::MessageSecrets,
    Kind::ResumptionPsks,
    Kind::OwnLeafIndex,
    Kind::GroupEpochSecrets,
    Kind::EpochKeyPairs,
    Kind::Group,
    Kind::Checkpoint,
    Kind::Renewed,
    Kind::Removal,
];

/// Generations that were used since the checkpoint, at most. A member that used more without a
/// message that was saved could not be understood by anybody any more, and to use them up again costs
/// some 30 us each.
const MAX_BEHIND: u32 = 1 << 16;

impl MlsLayer {
    /// Writes the record of what the layer is, for good. To be called when that changes.
    pub(crate) fn remember(&self) -> Result<(), StorageError> {
        self.provider.storage().put_for_good(Kind::Layer, &(), &self.record())
    }

    /// As [`remember`](Self::remember), but staged.
    pub(crate) fn stage_record(&self) -> Result<(), StorageError> {
        self.provider.storage().put(Kind::Layer, &(), &self.record())
    }

    fn record(&self) -> Record<&str, &[Vec<u8>], &SignatureKeyPair> {
        Record {
            config: self.config.to_stored(),
            name: self.identity.name(),
            chain: self.identity.chain(),
            keys: self.identity.keys(),
            founds: self.founds.as_deref(),
            own_id: self.own_id.map(|id| *id.as_bytes()),
        }
    }
}

impl Restore for MlsLayer {
    const ID: &'static str = LAYER_ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let storage = Storage::restore(from)?;
        let record: Record<String, Vec<Vec<u8>>, StoredKeys> = storage
            .get(Kind::Layer, &())
            .map_err(failed)?
            .ok_or_else(|| failed("the record of the layer is missing"))?;
        let Record { config, name, chain, keys, founds, own_id } = record;
        let config = MlsConfig::restore(config).map_err(failed)?;
        let identity =
            MlsIdentity::restore(name, chain, config.ciphersuite(), keys).map_err(failed)?;
        let own_id = own_id.map(MemberId::from_bytes);
        let provider = Provider::new(Ids::under(&config), storage);
        let state = match group(&provider, &identity, own_id) {
            Ok(Some(group)) => State::of(group),
            Ok(None) => State::Outside,
            Err(error) if error.kind() == LayerErrorKind::Storage => return Err(error),
            Err(_) => return Err(failed("the group's state is damaged")),
        };
        Ok(Self {
            identity,
            config,
            provider,
            state,
            founds,
            last_resort: false,
            new_name: None,
            leaf_data: None,
            own_id,
            transaction: Transaction::default(),
        })
    }
}

/// The group in the storage, if it is there in full and this member's; `None` where nothing of one is.
fn group(
    provider: &Provider,
    identity: &MlsIdentity,
    own_id: Option<MemberId>,
) -> Result<Option<Group>, LayerError> {
    let storage = provider.storage();
    match OF_A_GROUP.into_iter().filter(|kind| storage.count(*kind) == 0).count() {
        0 => {}
        missing if missing == OF_A_GROUP.len() => return Ok(None),
        _ => return Err(failed("a part of the group's state is missing")),
    }
    let Some(mut group) = Group::read(provider)? else {
        return Ok(None);
    };
    if group.removal.is_some() {
        return Ok(Some(group));
    }
    let own = group.mls.own_leaf_index().u32();
    let member = group.roster.members().iter().find(|member| member.leaf_index == own);
    let genuine = member.is_some_and(|member| {
        Some(member.id) == own_id && member.signature_key == identity.signature_key()
    });
    if !genuine {
        return Err(failed("the group's state is another member's"));
    }
    let behind = group.journal.to_burn(group.mls.epoch_authenticator().as_slice());
    if behind.application.max(behind.handshake) > MAX_BEHIND {
        return Err(failed("the record of what was sent is damaged"));
    }
    group.burn(provider, identity)?;
    Ok(Some(group))
}
