//! The layer in pairs that begin from a bundle: it has no keys of its own there.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{
    CipherLayer, Initiated, LayerDescriptor, LayerError, PairKeys, PairKeysOf, Restore as _,
    RestorePairKeys,
    store::{ScopeReader, ScopeWriter, StoreError},
};

use crate::{AesLayer, mode::Mode};

/// Makes an [`AesLayer`] that inherits its key, in every pair. There are no keys here, so the identity is
/// empty.
#[derive(Debug)]
pub struct AesPairKeys(AesLayer);

impl AesPairKeys {
    /// Layers as [`AesLayer::inherited`].
    #[must_use]
    pub fn inherited() -> Self {
        Self(AesLayer::inherited())
    }

    fn layer(&self, peer: &PairKeysOf<'_>) -> Result<AesLayer, LayerError> {
        if peer.identity.is_empty() && peer.setup.is_empty() {
            Ok(AesLayer(Mode::inherited(self.0.algorithm())))
        } else {
            Err(LayerError::rejected())
        }
    }
}

impl PairKeys for AesPairKeys {
    fn descriptor(&self) -> LayerDescriptor {
        self.0.descriptor()
    }

    fn identity(&self) -> Vec<u8> {
        Vec::new()
    }

    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError> {
        if identity.is_empty() { Ok(None) } else { Err(LayerError::rejected()) }
    }

    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError> {
        Ok(Initiated { layer: Box::new(self.layer(bundle)?), setup: Vec::new() })
    }

    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError> {
        Ok(Box::new(self.layer(peer)?))
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.0.save(to)
    }
}

impl RestorePairKeys for AesPairKeys {
    const ID: &'static str = AesLayer::ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let layer = AesLayer::restore(from)?;
        match &layer.0 {
            Mode::Inherited(_) => Ok(Self(layer)),
            Mode::Key(_) | Mode::Password(_) => {
                Err(StoreError::corrupt("pairs inherit the keys of their AES layers").into())
            }
        }
    }
}
