//! The keys of which layers for two are made in pairs that begin from a bundle.
//!
//! The identity is [`HybridPublicKey::to_bytes`], and the setup that of [`MlKemLayer::initiate`]. There are no
//! prekeys and no signature: the first epoch of who begins goes to the long-lived key.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{
    CipherLayer, Initiated, LayerDescriptor, LayerError, PairKeys, PairKeysOf, RestorePairKeys,
    store::{ScopeReader, ScopeWriter},
};
use cc_root_group::{
    MemberPublicKey as _, Suite as _,
    records::{Records, malformed, record},
};

use crate::{
    HybridKeyPair, HybridPublicKey, MlKemError, MlKemLayer, ParameterSet, layer::descriptor_of,
};

/// One person's key pair, of which [`MlKemLayer`]s for two are made. A store keeps the private key.
#[derive(Debug)]
pub struct MlKemPairKeys(HybridKeyPair);

impl MlKemPairKeys {
    /// The keys of somebody.
    #[must_use]
    pub const fn new(keys: HybridKeyPair) -> Self {
        Self(keys)
    }

    fn set(&self) -> ParameterSet {
        self.0.public_key().parameter_set()
    }

    fn keys(&self) -> Result<HybridKeyPair, LayerError> {
        Ok(HybridKeyPair::from_private_key(self.set(), self.0.private_key().expose())?)
    }
}

/// Of a key that somebody else chose.
fn chosen_by_others(error: MlKemError) -> LayerError {
    match error {
        MlKemError::OwnKey | MlKemError::SuiteMismatch => LayerError::rejected(),
        error => error.into(),
    }
}

impl PairKeys for MlKemPairKeys {
    fn descriptor(&self) -> LayerDescriptor {
        descriptor_of(self.set(), true)
    }

    fn identity(&self) -> Vec<u8> {
        self.0.public_key().to_bytes()
    }

    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError> {
        let public = HybridPublicKey::from_bytes(identity)?;
        if public.parameter_set() != self.set() {
            return Err(LayerError::rejected());
        }
        Ok(Some(public.commitment()))
    }

    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError> {
        if !bundle.setup.is_empty() {
            return Err(LayerError::rejected());
        }
        let peer = HybridPublicKey::from_bytes(bundle.identity)?;
        let (layer, setup) = MlKemLayer::initiate(self.keys()?, peer).map_err(chosen_by_others)?;
        Ok(Initiated { layer: Box::new(layer), setup })
    }

    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError> {
        let public = HybridPublicKey::from_bytes(peer.identity)?;
        let layer = MlKemLayer::accept(self.keys()?, public, peer.setup);
        Ok(Box::new(layer.map_err(chosen_by_others)?))
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            let set = self.set().id().to_be_bytes();
            to.put(KEYS, record(&[&set, self.0.private_key().expose()]));
        }
        Ok(())
    }
}

impl RestorePairKeys for MlKemPairKeys {
    const ID: &'static str = <MlKemLayer as cc_core::Restore>::ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut records = Records::read(from)?;
        let record = records.take(KEYS)?;
        let mut fields = record.fields()?;
        let set = u16::from_be_bytes(fields.array()?);
        let set = ParameterSet::from_id(set).ok_or_else(malformed)?;
        let keys = HybridKeyPair::from_private_key(set, fields.rest()).map_err(|_| malformed())?;
        fields.end()?;
        records.end()?;
        Ok(Self(keys))
    }
}

const KEYS: &[u8] = b"pair-keys";

#[cfg(test)]
mod tests;
