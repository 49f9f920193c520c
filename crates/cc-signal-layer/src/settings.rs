//! What a program may change about a Signal layer while it is in a stack.

use alloc::vec::Vec;

use cc_core::{Configure, LayerError};

use crate::{Account, Bundle, SignalLayer};

/// The upkeep of a Signal layer, from [`Configure::settings`]. It is in force at once, whatever is
/// reverted; a store follows with the next `save`.
#[derive(Debug)]
pub struct SignalSettings<'a> {
    layer: &'a mut SignalLayer,
}

impl Configure for SignalLayer {
    type Settings<'a> = SignalSettings<'a>;

    fn settings(&mut self) -> SignalSettings<'_> {
        SignalSettings { layer: self }
    }
}

impl SignalSettings<'_> {
    /// This member's identity and prekeys.
    #[must_use]
    pub fn account(&self) -> &Account {
        self.layer.account()
    }

    /// As [`Account::rotate_prekeys`]; gives the new bundle.
    ///
    /// # Errors
    /// As [`Account::rotate_prekeys`].
    pub fn rotate_prekeys(&mut self) -> Result<Bundle, LayerError> {
        let account = self.layer.account_mut();
        account.rotate_prekeys()?;
        Ok(account.bundle())
    }

    /// As [`Account::replenish`].
    ///
    /// # Errors
    /// As [`Account::replenish`].
    pub fn replenish(&mut self, count: usize) -> Result<(), LayerError> {
        Ok(self.layer.account_mut().replenish(count)?)
    }

    /// As [`Account::one_time_bundles`].
    pub fn one_time_bundles(&mut self, max: usize) -> Vec<Bundle> {
        self.layer.account_mut().one_time_bundles(max)
    }

    /// As [`Account::accept_x3dh`].
    pub fn accept_x3dh(&mut self, accept: bool) {
        self.layer.account_mut().accept_x3dh(accept);
    }
}
