//! What each layer is and what it did.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

/// One layer's share of the last message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LayerReport {
    /// The layer's position, 0 at the bottom.
    pub position: usize,
    /// Its name.
    pub name: &'static str,
    /// The version of its wire format.
    pub version: u16,
    /// Bytes that came in.
    pub bytes_in: usize,
    /// Bytes that went out.
    pub bytes_out: usize,
    /// Time that the layer took to seal or open; `None` without a clock (see `ManagerBuilder::clock`).
    pub elapsed: Option<Duration>,
}

/// What a stack is and promises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StackReport {
    /// The first 16 bytes of the stack id, as on the wire, in hexadecimal.
    pub stack_id: String,
    /// Each layer's name and version, bottom first.
    pub layers: Vec<(&'static str, u16)>,
    /// Whether some layer refuses a message that was opened before. Where none does, an attacker can
    /// deliver a message twice, and the application has to number its messages.
    pub refuses_replays: bool,
    /// Whether some layer hands a secret upwards that another layer takes its key from.
    pub cascades_keys: bool,
    /// Whether only two parties can share it.
    pub pairwise: bool,
}

impl fmt::Display for StackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stack {}", self.stack_id)?;
        for (position, (name, version)) in self.layers.iter().enumerate().rev() {
            writeln!(f, "  {position}  {name}, version {version}")?;
        }
        if !self.refuses_replays {
            writeln!(f, "  no layer refuses replays: number your messages")?;
        }
        Ok(())
    }
}
