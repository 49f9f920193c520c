//! The keys of which layers for two are made in pairs that begin from a bundle.
//!
//! The identity is [`DhPublicKey::to_bytes`]. There are no prekeys, no setup and no signature: the two
//! long-lived keys are all that the layer has.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{
    CipherLayer, Initiated, LayerDescriptor, LayerError, PairKeys, PairKeysOf, RestorePairKeys,
    store::{ScopeReader, ScopeWriter},
};
use cc_root_group::{
    MemberPublicKey as _,
    records::{Records, malformed, record},
};

use crate::{Curve, DhError, DhKeyPair, DhLayer, DhPublicKey, layer::descriptor_of};

/// One person's key pair, of which [`DhLayer`]s for two are made. A store keeps the private key.
#[derive(Debug)]
pub struct DhPairKeys(DhKeyPair);

impl DhPairKeys {
    /// The keys of somebody.
    #[must_use]
    pub const fn new(keys: DhKeyPair) -> Self {
        Self(keys)
    }

    fn pairwise(&self, peer: &PairKeysOf<'_>) -> Result<DhLayer, LayerError> {
        if !peer.setup.is_empty() {
            return Err(LayerError::rejected());
        }
        let public = DhPublicKey::from_bytes(peer.identity)?;
        let private = self.0.private_key().duplicate();
        let keys = DhKeyPair::from_private_key(self.0.curve(), private)?;
        DhLayer::pairwise(keys, public).map_err(|error| match error {
            // Of a key that somebody else chose.
            DhError::OwnKey | DhError::SuiteMismatch => LayerError::rejected(),
            error => error.into(),
        })
    }
}

impl PairKeys for DhPairKeys {
    fn descriptor(&self) -> LayerDescriptor {
        descriptor_of(self.0.curve(), true)
    }

    fn identity(&self) -> Vec<u8> {
        self.0.public_key().to_bytes()
    }

    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError> {
        let public = DhPublicKey::from_bytes(identity)?;
        if public.curve() != self.0.curve() {
            return Err(LayerError::rejected());
        }
        Ok(Some(public.commitment()))
    }

    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError> {
        Ok(Initiated { layer: Box::new(self.pairwise(bundle)?), setup: Vec::new() })
    }

    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError> {
        Ok(Box::new(self.pairwise(peer)?))
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            let curve = self.0.curve().id().to_be_bytes();
            to.put(KEYS, record(&[&curve, self.0.private_key().expose()]));
        }
        Ok(())
    }
}

impl RestorePairKeys for DhPairKeys {
    const ID: &'static str = <DhLayer as cc_core::Restore>::ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut records = Records::read(from)?;
        let record = records.take(KEYS)?;
        let mut fields = record.fields()?;
        let curve = Curve::from_id(u16::from_be_bytes(fields.array()?)).ok_or_else(malformed)?;
        let keys = DhKeyPair::from_private_key(curve, fields.secret()?).map_err(|_| malformed())?;
        fields.end()?;
        records.end()?;
        Ok(Self(keys))
    }
}

const KEYS: &[u8] = b"pair-keys";

#[cfg(test)]
mod tests;
