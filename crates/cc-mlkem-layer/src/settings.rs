//! The upkeep of a pair that a program does while the layer is in a stack.

use cc_core::{Configure, LayerError};

use crate::{MlKemLayer, Schedule};

/// The upkeep of a pairwise layer, from [`Configure::settings`]. It is in force at once, whatever is
/// applied or reverted later, and in the store with the next save. In group mode, where a change of the
/// group renews the keys, each of these is [`Misuse`](cc_core::LayerErrorKind::Misuse).
#[derive(Debug)]
pub struct MlKemSettings<'a>(&'a mut MlKemLayer);

impl Configure for MlKemLayer {
    type Settings<'a> = MlKemSettings<'a>;

    fn settings(&mut self) -> MlKemSettings<'_> {
        MlKemSettings(self)
    }
}

impl MlKemSettings<'_> {
    /// Begins a new epoch with the next message, whatever the schedule says.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) in group mode.
    pub fn renew(&mut self) -> Result<(), LayerError> {
        self.0.as_pair_mut()?.configure(|state| state.progress.requested = true);
        Ok(())
    }

    /// Tells the time, in seconds since 1970: what [`Schedule::seconds`] goes by. A layer asks no clock.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) in group mode.
    pub fn set_time(&mut self, now: u64) -> Result<(), LayerError> {
        self.0.as_pair_mut()?.configure(|state| state.progress.set_time(now));
        Ok(())
    }

    /// When this side begins new epochs.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) in group mode.
    pub fn set_schedule(&mut self, schedule: Schedule) -> Result<(), LayerError> {
        self.0.as_pair_mut()?.configure(|state| state.schedule = schedule);
        Ok(())
    }
}
