//! What travels: items of logs and mailboxes, invitations, and the frame around what people say. In the
//! TLS presentation language (RFC 8446 section 3), as the wire format of the stack; see
//! `docs/client-wire-format.md`.

use cc_core::Opaque;
use sha2::{Digest as _, Sha256};
use tls_codec::{
    DeserializeBytes, SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{Fault, LogId, OperationId, Position};

/// The version of everything in this file, the first byte of each.
const VERSION: u8 = 1;

/// An item of a group's log.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum GroupItem {
    /// What a stack sealed.
    #[tls_codec(discriminant = 1)]
    Sealed(Opaque),
    /// A member that fell out of step asks to be added anew.
    #[tls_codec(discriminant = 2)]
    Rejoin(KeyPackageOffer),
}

/// An item of a mailbox.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum MailItem {
    /// A welcome.
    #[tls_codec(discriminant = 1)]
    Invitation(Invitation),
}

/// What a person publishes, and what a group needs of it to invite them.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct KeyPackageOffer {
    /// Where the welcome is to go.
    pub(crate) mailbox: LogId,
    /// The key package bundle.
    pub(crate) bundle: Opaque,
}

/// A welcome, and where the group is.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Invitation {
    /// The digest of the key package bundle that the welcome is for.
    pub(crate) package: [u8; 32],
    /// The log of the group.
    pub(crate) log: LogId,
    /// Where the commit is that added this member: what follows is for it.
    pub(crate) position: Position,
    /// The welcome.
    pub(crate) welcome: Opaque,
}

/// What a stack seals for the client.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Frame {
    /// What somebody says, with the sender's own name for it.
    #[tls_codec(discriminant = 1)]
    Content(Content),
    /// What the group is called, for newcomers.
    #[tls_codec(discriminant = 2)]
    Title(Opaque),
}

/// The content of one message.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Content {
    /// The sender's messages in a group are numbered: a second copy of one is known by its number.
    pub(crate) number: u64,
    pub(crate) id: OperationId,
    pub(crate) bytes: Opaque,
}

/// The bytes of an object of this file.
pub(crate) fn encode(object: &impl SerializeBytes) -> Result<Vec<u8>, Fault> {
    let body = object.tls_serialize_bytes().map_err(|_| Fault::TooLong)?;
    Ok([&[VERSION][..], &body].concat())
}

/// Why bytes are no object of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Of a later version.
    Unsupported,
    /// Of none.
    Malformed,
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: DeserializeBytes>(bytes: &[u8]) -> Result<T, FrameError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            T::tls_deserialize_exact_bytes(body).map_err(|_| FrameError::Malformed)
        }
        Some((0, _)) | None => Err(FrameError::Malformed),
        Some(_) => Err(FrameError::Unsupported),
    }
}

/// By which a welcome finds its key package.
pub(crate) fn package_digest(bundle: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-client/1 key package").chain_update(bundle).finalize().into()
}

/// By which an item of one's own is known again.
pub(crate) fn item_digest(item: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-client/1 item").chain_update(item).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_lengths_are_checked() {
        let item = GroupItem::Sealed(Opaque(vec![1, 2, 3]));
        let bytes = encode(&item).unwrap();
        assert_eq!(decode::<GroupItem>(&bytes), Ok(item));
        for len in 0..bytes.len() {
            assert_eq!(decode::<GroupItem>(&bytes[..len]), Err(FrameError::Malformed));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode::<GroupItem>(&longer), Err(FrameError::Malformed));
        let mut later = bytes.clone();
        later[0] = 2;
        assert_eq!(decode::<GroupItem>(&later), Err(FrameError::Unsupported));
        let mut unknown = bytes;
        unknown[1] = 9;
        assert_eq!(decode::<GroupItem>(&unknown), Err(FrameError::Malformed));
    }
}
