//! Secrets within records.

use core::fmt;

use cc_core::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tls_codec::{DeserializeBytes, Error, SerializeBytes, Size};

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

/// As it travels, in sealed mail alone.
impl Size for StoredSecret {
    fn tls_serialized_len(&self) -> usize {
        self.0.expose().tls_serialized_len()
    }
}

impl SerializeBytes for StoredSecret {
    fn tls_serialize_bytes(&self) -> Result<Vec<u8>, Error> {
        self.0.expose().tls_serialize_bytes()
    }
}

impl DeserializeBytes for StoredSecret {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (mut secret, rest) = <[u8; 32]>::tls_deserialize_bytes(bytes)?;
        Ok((Self(Secret::take(&mut secret)), rest))
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSecret(..)")
    }
}
