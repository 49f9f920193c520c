//! Where the layer reads the time.
//!
//! Time decides about what is made: how long a key package is valid, whether somebody else's still is when its
//! owner is added, which of this member's own are to be forgotten, whether an update is due. It never decides
//! about what is received.

use std::sync::Arc;
#[cfg(not(feature = "js"))]
use std::time::{SystemTime, UNIX_EPOCH};

// The same as the standard library's everywhere but in a browser, where that one panics.
#[cfg(feature = "js")]
use web_time::{SystemTime, UNIX_EPOCH};

/// The system's clock, or one of the application's.
#[derive(Clone, Default)]
pub(crate) struct Clock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Clock {
    pub(crate) fn new(seconds: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(seconds)))
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            Some(seconds) => seconds(),
            // A system whose clock stands before 1970 knows no time: everything is still to come.
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        }
    }
}
