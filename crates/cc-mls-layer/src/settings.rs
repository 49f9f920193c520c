//! What a program may change about an MLS layer while it is in a stack.

use cc_core::{Configure, LayerError};

use crate::MlsLayer;

/// The upkeep of an MLS layer, from [`Configure::settings`].
#[derive(Debug)]
pub struct MlsSettings<'a> {
    layer: &'a mut MlsLayer,
}

impl Configure for MlsLayer {
    type Settings<'a> = MlsSettings<'a>;

    fn settings(&mut self) -> MlsSettings<'_> {
        MlsSettings { layer: self }
    }
}

impl MlsSettings<'_> {
    /// As [`MlsLayer::set_last_resort`].
    pub fn set_last_resort(&mut self, on: bool) {
        self.layer.set_last_resort(on);
    }

    /// As [`MlsLayer::set_leaf_data`].
    ///
    /// # Errors
    /// As [`MlsLayer::set_leaf_data`].
    pub fn set_leaf_data(&mut self, data: impl Into<Vec<u8>>) -> Result<(), LayerError> {
        Ok(self.layer.set_leaf_data(data)?)
    }

    /// As [`MlsLayer::forget_key_package`].
    ///
    /// # Errors
    /// As [`MlsLayer::forget_key_package`].
    pub fn forget_key_package(&mut self, reference: &[u8]) -> Result<bool, LayerError> {
        Ok(self.layer.forget_key_package(reference)?)
    }

    /// As [`MlsLayer::forget_expired_key_packages`].
    ///
    /// # Errors
    /// As [`MlsLayer::forget_expired_key_packages`].
    pub fn forget_expired_key_packages(&mut self) -> Result<usize, LayerError> {
        Ok(self.layer.forget_expired_key_packages()?)
    }

    /// As [`MlsLayer::rename_group`].
    ///
    /// # Errors
    /// As [`MlsLayer::rename_group`].
    pub fn rename_group(&mut self, name: &str) -> Result<(), LayerError> {
        Ok(self.layer.rename_group(name)?)
    }
}
