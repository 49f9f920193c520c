//! Names that travel and are stored: logs, groups, operations, requests, and places in a log.

use core::fmt;

use cc_core::{RandomError, random};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TlsSize,
            TlsSerializeBytes, TlsDeserializeBytes,
        )]
        pub struct $name([u8; $len]);

        impl $name {
            /// A new one from the system's generator.
            ///
            /// # Errors
            /// [`RandomError`] when the generator fails.
            pub fn random() -> Result<Self, RandomError> {
                Ok(Self(random::array()?))
            }

            /// The one with these bytes, as [`as_bytes`](Self::as_bytes) gave them.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// All bytes in hexadecimal.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id! {
    /// The random address of a log at the delivery service: a group's, or a mailbox. 32 bytes.
    LogId, 32
}

id! {
    /// What the application calls one thing that it asks for: asking twice with one id does it once.
    /// 16 bytes.
    OperationId, 16
}

id! {
    /// The name of a request to the delivery service, which does it once however often it arrives.
    /// 16 bytes.
    RequestId, 16
}

id! {
    /// A person: the digest of its first key, the same for all its devices, in every group, and for ever.
    /// 32 bytes.
    PersonId, 32
}

id! {
    /// A [link](crate::JoinLink) by which others ask to join a group: a digest of its public key. 32 bytes.
    JoinLinkId, 32
}

id! {
    /// The request of one device to join by one link: a digest of both. 32 bytes.
    JoinRequestId, 32
}

impl OperationId {
    /// The id of what follows from another: an answer that is made again after a crash is the same one.
    /// `purpose` tells several from one another.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> Self {
        let hash = Sha256::new()
            .chain_update(b"cc-client/1 derived operation")
            .chain_update(self.0)
            .chain_update(purpose.as_bytes())
            .finalize();
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(byte, from)| *byte = from);
        Self(id)
    }
}

/// A group is known by the address of its log.
pub type GroupId = LogId;

/// A place in a log: 1 for its first item, each following one more. 0 is before the first.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    TlsSize,
    TlsSerializeBytes,
    TlsDeserializeBytes,
)]
pub struct Position(pub u64);

impl Position {
    /// Before the first item.
    pub const START: Self = Self(0);

    /// The place behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The number of an event: the later it happened, the greater.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EventId(pub u64);
