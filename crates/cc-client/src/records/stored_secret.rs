//! Secrets within records.

use core::fmt;

use cc_core::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 32 secret bytes of a record. They stay where they are when the record is moved, as in a list that grows.
#[derive(PartialEq, Eq)]
pub(crate) struct StoredSecret(pub(crate) Secret<32>);

impl Clone for StoredSecret {
    fn clone(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl Serialize for StoredSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expose().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = <[u8; 32]>::deserialize(deserializer)?;
        Ok(Self(Secret::take(&mut bytes)))
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSecret(..)")
    }
}
