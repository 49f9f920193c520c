//! Key packages: making this member's, and verifying somebody else's (RFC 9420 section 10).

use cc_core::{KeyPackageInfo, LayerError, MemberId, NewMember};
use openmls::prelude::{
    ApplicationIdExtension, Extension, Extensions, KeyPackage, LeafNode, MlsMessageOut,
    ProtocolVersion, UnknownExtension, tls_codec::Serialize as _,
};
use openmls_traits::OpenMlsProvider as _;

use crate::{
    MlsConfig, MlsLayer,
    config::{BINDING_EXTENSION, Ciphersuite},
    error::internal,
    hpke_key,
    identity::commitment,
    key_package_view::KeyPackageView,
    provider::Provider,
    reader::Reader,
    roster::Ids,
    validity::Validity,
    wire,
};

/// A new key package whose leaf names `id`, bound to the parts below it, valid from `now` on. Its private keys
/// are staged in the storage.
pub(crate) fn create(
    layer: &MlsLayer,
    id: &MemberId,
    binding: &[u8; 32],
    now: u64,
) -> Result<Vec<u8>, LayerError> {
    let MlsLayer { provider, identity, config, last_resort, .. } = layer;
    let extensions = if config.plain_group() {
        Extensions::empty()
    } else {
        let bound = Bound { binding: *binding, validity: config.validity(now) }.to_bytes();
        let bound = Extension::Unknown(BINDING_EXTENSION, UnknownExtension(bound.to_vec()));
        Extensions::single(bound).map_err(internal)?
    };
    let mut builder = KeyPackage::builder();
    if *last_resort {
        builder = builder.mark_as_last_resort();
    }
    let bundle = builder
        .key_package_lifetime(config.lifetime(now))
        .key_package_extensions(extensions)
        .leaf_node_capabilities(config.capabilities())
        .leaf_node_extensions(layer.leaf_extensions(id)?)
        .build(config.ciphersuite(), provider, identity.keys(), identity.credential_with_key())
        .map_err(internal)?;
    MlsMessageOut::from(bundle.into_key_package()).tls_serialize_detached().map_err(internal)
}

/// What the extension of a key package says that its signature is to cover.
#[derive(Clone, Copy)]
struct Bound {
    /// The digest of the parts below.
    binding: [u8; 32],
    validity: Validity,
}

impl Bound {
    fn to_bytes(self) -> [u8; 48] {
        let Validity { not_before, not_after } = self.validity;
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&self.binding);
        bytes[32..40].copy_from_slice(&not_before.to_be_bytes());
        bytes[40..].copy_from_slice(&not_after.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let binding = reader.array()?;
        let validity = Validity { not_before: reader.u64()?, not_after: reader.u64()? };
        reader.end()?;
        Some(Self { binding, validity })
    }
}

/// The extensions that every leaf of this crate has: the member id as `application_id`, so that the leaf's
/// signature covers it; none where the signature key names the member.
pub(crate) fn leaf_extensions(id: &MemberId, ids: Ids) -> Result<Extensions<LeafNode>, LayerError> {
    if let Ids::SignatureKey(_) = ids {
        return Ok(Extensions::empty());
    }
    let id = ApplicationIdExtension::new(id.as_bytes());
    Extensions::single(Extension::ApplicationId(id)).map_err(internal)
}

/// What a key package says. Nothing is verified.
pub(crate) fn inspect(part: &[u8], ciphersuite: Ciphersuite) -> Result<KeyPackageInfo, LayerError> {
    let KeyPackageView { leaf, binding, .. } = wire::key_package_view(part)?;
    let mut info = KeyPackageInfo::new(commitment(ciphersuite, leaf.signature_key));
    info.name = leaf.name.map(|name| String::from_utf8_lossy(name).into_owned());
    info.expires = match binding {
        Some(bound) => {
            Some(Bound::read(bound).ok_or_else(LayerError::rejected)?.validity.not_after)
        }
        None => leaf.lifetime.map(|(_, not_after)| not_after),
    };
    Ok(info)
}

/// The key with which the maker of a key package signs: of the bytes that an `MlsLayer` put into a bundle, or of
/// an MLSMessage with a key package. `None` where they are malformed. Nothing is verified.
#[must_use]
pub fn key_package_signature_key(key_package: &[u8]) -> Option<&[u8]> {
    Some(wire::key_package_view(key_package).ok()?.leaf.signature_key)
}

/// What the leaf in a key package [says](MlsLayer::set_leaf_data) of its maker; `None` where it says nothing. Otherwise as
/// [`key_package_signature_key`].
#[must_use]
pub fn key_package_leaf_data(key_package: &[u8]) -> Option<&[u8]> {
    wire::key_package_view(key_package).ok()?.leaf.data
}

/// Who a key package is of, in a group where the signature key says so. Nothing is verified.
pub(crate) fn member(part: &[u8], ciphersuite: Ciphersuite) -> Result<MemberId, LayerError> {
    let KeyPackageView { leaf, .. } = wire::key_package_view(part)?;
    Ok(Ids::by_key(ciphersuite, leaf.signature_key))
}

/// When a key package of this member's own expires, in seconds since 1970.
pub(crate) fn expires(key_package: &KeyPackage) -> u64 {
    let bound = bound(key_package).and_then(Bound::read);
    bound.map_or(key_package.life_time().not_after(), |bound| bound.validity.not_after)
}

/// A key package that is valid (RFC 9420 section 10.1) and will be for a while after `now`, of this ciphersuite,
/// of this member, and bound to the parts below it; with keys that can be encrypted to.
///
/// # Errors
/// `Rejected` about the member.
pub(crate) fn verify(
    provider: &Provider,
    config: &MlsConfig,
    new: &NewMember<'_>,
    now: u64,
) -> Result<KeyPackage, LayerError> {
    let rejected = || LayerError::rejected().about(new.id);
    let suite = config.ciphersuite();
    let key_package = wire::key_package(new.part)
        .map_err(|_| rejected())?
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|_| rejected())?;
    let bound = bound(&key_package).map(|bytes| Bound::read(bytes).ok_or_else(rejected));
    let (bound, validity) = match (bound.transpose()?, provider.ids) {
        (Some(bound), _) => (bound.binding == new.binding, bound.validity),
        (None, Ids::SignatureKey(_)) => (true, Validity::of_leaf(&key_package)),
        (None, Ids::ApplicationId) => return Err(rejected()),
    };
    let leaf = key_package.leaf_node();
    let genuine = key_package.ciphersuite() == suite
        && provider.ids.of(leaf) == Some(new.id)
        && bound
        && config.accepts(validity, now)
        && config.accepts_lifetime(&key_package)
        && hpke_key::is_usable(provider, suite, key_package.hpke_init_key().as_slice())
        && hpke_key::leaf_is_usable(provider, suite, leaf);
    if genuine { Ok(key_package) } else { Err(rejected()) }
}

fn bound(key_package: &KeyPackage) -> Option<&[u8]> {
    key_package.extensions().unknown(BINDING_EXTENSION).map(|extension| extension.0.as_slice())
}
