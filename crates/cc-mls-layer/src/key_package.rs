//! Key packages: making this member's, and verifying somebody else's (RFC 9420 section 10).

use cc_core::{LayerError, MemberId, NewMember};
use openmls::prelude::{
    ApplicationIdExtension, Extension, Extensions, KeyPackage, LeafNode, MlsMessageOut,
    ProtocolVersion, UnknownExtension, tls_codec::Serialize as _,
};
use openmls_traits::OpenMlsProvider as _;

use crate::{
    MlsLayer,
    config::{BINDING_EXTENSION, Ciphersuite},
    error::internal,
    identity::commitment,
    provider::Provider,
    roster::Ids,
    wire,
};

/// A new key package whose leaf names `id`, bound to the parts below it. Its private keys are staged
/// in the storage.
pub(crate) fn create(
    layer: &MlsLayer,
    id: &MemberId,
    binding: &[u8; 32],
) -> Result<Vec<u8>, LayerError> {
    let MlsLayer { provider, identity, config, last_resort, .. } = layer;
    let binding = Extension::Unknown(BINDING_EXTENSION, UnknownExtension(binding.to_vec()));
    let mut builder = KeyPackage::builder();
    if *last_resort {
        builder = builder.mark_as_last_resort();
    }
    let bundle = builder
        .key_package_lifetime(config.lifetime())
        .key_package_extensions(Extensions::single(binding).map_err(internal)?)
        .leaf_node_capabilities(config.capabilities())
        .leaf_node_extensions(leaf_extensions(id, provider.ids)?)
        .build(config.ciphersuite(), provider, identity.keys(), identity.credential_with_key())
        .map_err(internal)?;
    MlsMessageOut::from(bundle.into_key_package()).tls_serialize_detached().map_err(internal)
}

/// The extensions of every leaf of this crate: the member id as `application_id`, so that the leaf's
/// signature covers it; none where the signature key names the member.
pub(crate) fn leaf_extensions(id: &MemberId, ids: Ids) -> Result<Extensions<LeafNode>, LayerError> {
    if let Ids::SignatureKey(_) = ids {
        return Ok(Extensions::empty());
    }
    let id = ApplicationIdExtension::new(id.as_bytes());
    Extensions::single(Extension::ApplicationId(id)).map_err(internal)
}

/// The commitment in a key package. Nothing is verified.
pub(crate) fn peek_commitment(
    part: &[u8],
    ciphersuite: Ciphersuite,
) -> Result<[u8; 32], LayerError> {
    let credential = wire::key_package(part)?.unverified_credential();
    Ok(commitment(ciphersuite, credential.signature_key.as_slice()))
}

/// A key package that is valid (RFC 9420 section 10.1), of this ciphersuite, of this member, and
/// bound to the parts below it.
pub(crate) fn verify(
    provider: &Provider,
    ciphersuite: Ciphersuite,
    new: &NewMember<'_>,
) -> Result<KeyPackage, LayerError> {
    let key_package = wire::key_package(new.part)?
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|_| LayerError::rejected())?;
    let bound = match (binding(&key_package), provider.ids) {
        (Some(binding), _) => binding == new.binding,
        (None, Ids::SignatureKey(_)) => true,
        (None, Ids::ApplicationId) => false,
    };
    let genuine = key_package.ciphersuite() == ciphersuite
        && provider.ids.of(key_package.leaf_node()) == Some(new.id)
        && bound;
    if genuine { Ok(key_package) } else { Err(LayerError::rejected()) }
}

fn binding(key_package: &KeyPackage) -> Option<&[u8]> {
    key_package.extensions().unknown(BINDING_EXTENSION).map(|extension| extension.0.as_slice())
}
