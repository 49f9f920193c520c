//! Pre-shared keys of the caller's own (RFC 9420 section 8.4), in groups that are plain RFC 9420.
//!
//! Whoever is to follow a commit with such a key, or to join by it, registers the key first. It is part of the
//! epoch's secrets from then on.

use cc_core::{LayerError, SecretBytes};
use openmls::{
    messages::proposals::PreSharedKeyProposal,
    prelude::Proposal,
    schedule::{ExternalPsk, PreSharedKeyId, Psk},
};
use openmls_traits::{OpenMlsProvider as _, storage::StorageProvider as _};

use crate::{
    MlsLayer,
    error::{internal, storage as failed},
    layer::Parts,
    provider::Provider,
    psk::{self, LAYER_PSK_PREFIX},
    storage::Kind,
};

/// Bytes of an id, and of a secret.
const MAX_LEN: usize = 1024;

impl MlsLayer {
    /// Keeps the secret of an external pre-shared key, in place of one that had the same id. Staged, as
    /// everything that a `revert` takes back.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) without a [plain
    /// group](crate::MlsConfig::with_plain_group), for an id or secret that is empty or over 1024 bytes, and for
    /// an id that begins with `"cc psk"`.
    pub fn register_psk(&mut self, id: &[u8], secret: &SecretBytes) -> Result<(), LayerError> {
        self.check_plain_group()?;
        check_id(id)?;
        if secret.expose().is_empty() || secret.expose().len() > MAX_LEN {
            return Err(LayerError::misuse("a pre-shared key has 1 to 1024 bytes"));
        }
        PreSharedKeyId::external(id.to_vec(), Vec::new())
            .store(&self.provider, secret.expose())
            .map_err(internal)
    }

    /// Forgets the secret of an external pre-shared key; `false` where there is none. Staged. The epochs that it
    /// went into stay what they are.
    ///
    /// # Errors
    /// [`Storage`](cc_core::LayerErrorKind::Storage).
    pub fn forget_psk(&mut self, id: &[u8]) -> Result<bool, LayerError> {
        let psk = external(id);
        let known = check_id(id).is_ok() && is_registered(&self.provider, &psk)?;
        if known {
            self.provider.storage().delete_psk(&psk).map_err(failed)?;
        }
        Ok(known)
    }

    /// Proposes that the next commit takes an external pre-shared key in. Otherwise as
    /// [`propose_addition`](Self::propose_addition).
    ///
    /// # Errors
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady) for a key that is not
    /// [registered](Self::register_psk) or without a group, [`Misuse`](cc_core::LayerErrorKind::Misuse) without
    /// a plain group or while a change is staged.
    pub fn propose_psk(&mut self, id: &[u8]) -> Result<Vec<u8>, LayerError> {
        self.check_plain_group()?;
        self.propose(|Parts { group, provider, identity, config, .. }| {
            let id = with_nonce(provider, config.ciphersuite(), id)?;
            let proposed = group.mls.propose_pre_shared_key(*provider, identity.keys(), id);
            Ok(proposed.map_err(internal)?.0)
        })
    }
}

/// Proposals of these keys, for a commit that has them by value.
///
/// # Errors
/// `NotReady` for one that is not registered.
pub(crate) fn proposals(
    provider: &Provider,
    suite: crate::Ciphersuite,
    ids: &[&[u8]],
) -> Result<Vec<Proposal>, LayerError> {
    let proposal = |id: &&[u8]| {
        let id = with_nonce(provider, suite, id)?;
        Ok(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id))))
    };
    ids.iter().map(proposal).collect()
}

/// Whether a commit or a welcome of a plain group may name this key: an external one, and not one of those that
/// bind a stack.
pub(crate) fn is_callers(id: &PreSharedKeyId) -> bool {
    match id.psk() {
        Psk::External(external) => check_id(external.psk_id()).is_ok(),
        _ => false,
    }
}

/// The id of the key that a proposal is about; `None` for one that no plain group takes.
pub(crate) fn proposed(proposal: &PreSharedKeyProposal) -> Option<Vec<u8>> {
    let id = psk::proposed(proposal).ok()?;
    match id.psk() {
        Psk::External(external) if is_callers(&id) => Some(external.psk_id().to_vec()),
        _ => None,
    }
}

/// The refusal of what names a key that is not here.
pub(crate) fn not_registered() -> LayerError {
    LayerError::not_ready("an external pre-shared key is used that is not registered")
}

fn with_nonce(
    provider: &Provider,
    suite: crate::Ciphersuite,
    id: &[u8],
) -> Result<PreSharedKeyId, LayerError> {
    check_id(id)?;
    let psk = external(id);
    if !is_registered(provider, &psk)? {
        return Err(not_registered());
    }
    PreSharedKeyId::new(suite, provider.rand(), psk).map_err(internal)
}

fn external(id: &[u8]) -> Psk {
    Psk::External(ExternalPsk::new(id.to_vec()))
}

fn is_registered(provider: &Provider, psk: &Psk) -> Result<bool, LayerError> {
    provider.storage().contains(Kind::Psk, psk).map_err(failed)
}

fn check_id(id: &[u8]) -> Result<(), LayerError> {
    if id.is_empty() || id.len() > MAX_LEN {
        return Err(LayerError::misuse("the id of a pre-shared key has 1 to 1024 bytes"));
    }
    if id.starts_with(LAYER_PSK_PREFIX) {
        return Err(LayerError::misuse("ids that begin with \"cc psk\" are this layer's own"));
    }
    Ok(())
}
