//! The external pre-shared key that ties an epoch to the layers below.
//!
//! Its id names the binding (the digest of the parts below), its secret comes from what the layers
//! below contribute. Whoever has another commit or welcome of a layer below has another key, and gets
//! no epoch (RFC 9420 section 8.4).

use cc_core::{ChainSecret, LayerError, PartContext, Secret};
use hkdf::Hkdf;
use openmls::{
    prelude::{
        PreSharedKeyProposal,
        tls_codec::{DeserializeBytes as _, Serialize as _},
    },
    schedule::{ExternalPsk, PreSharedKeyId, Psk},
};
use openmls_traits::{OpenMlsProvider as _, storage::StorageProvider as _};
use sha2::Sha256;

use crate::{config::Ciphersuite, error::internal, provider::Provider};

/// How the ids of this layer's own pre-shared keys begin.
pub(crate) const LAYER_PSK_PREFIX: &[u8] = b"cc psk";

/// The PSK that `context` demands, if it demands one.
pub(crate) struct BindingPsk {
    psk: Psk,
    secret: Secret<32>,
}

impl BindingPsk {
    /// `Some` where there is something below to be bound to.
    pub(crate) fn demanded(context: &PartContext<'_>) -> Option<Self> {
        if !context.group_below && context.chain.is_none() {
            return None;
        }
        let mut id = LAYER_PSK_PREFIX.to_vec();
        id.extend_from_slice(&context.binding);
        Some(Self {
            psk: Psk::External(ExternalPsk::new(id)),
            secret: secret(context.chain, context.position, &context.binding),
        })
    }

    /// A fresh id with a random nonce, for a proposal.
    pub(crate) fn id(
        &self,
        provider: &Provider,
        ciphersuite: Ciphersuite,
    ) -> Result<PreSharedKeyId, LayerError> {
        PreSharedKeyId::new(ciphersuite, provider.rand(), self.psk.clone()).map_err(internal)
    }

    pub(crate) fn matches(&self, id: &PreSharedKeyId) -> bool {
        *id.psk() == self.psk
    }

    /// Lets openmls find the secret.
    pub(crate) fn put(&self, provider: &Provider) -> Result<(), LayerError> {
        let Psk::External(external) = &self.psk else {
            return Err(LayerError::rejected());
        };
        PreSharedKeyId::external(external.psk_id().to_vec(), Vec::new())
            .store(provider, self.secret.expose())
            .map_err(internal)
    }

    /// Takes it away again.
    pub(crate) fn take(&self, provider: &Provider) -> Result<(), LayerError> {
        provider.storage().delete_psk(&self.psk).map_err(crate::error::storage)
    }
}

/// The key that a proposal is about.
pub(crate) fn proposed(proposal: &PreSharedKeyProposal) -> Result<PreSharedKeyId, LayerError> {
    let id = proposal.tls_serialize_detached().map_err(internal)?;
    PreSharedKeyId::tls_deserialize_exact_bytes(&id).map_err(internal)
}

fn secret(chain: Option<&ChainSecret>, position: u16, binding: &[u8; 32]) -> Secret<32> {
    let inherited =
        chain.map_or_else(Secret::zeroed, |chain| chain.derive(position, b"mls external psk"));
    let hkdf = Hkdf::<Sha256>::new(Some(binding), inherited.expose());
    let mut secret = Secret::zeroed();
    let expanded = hkdf.expand(b"cascading-cipher/1 mls external psk", secret.expose_mut());
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's reach");
    secret
}
