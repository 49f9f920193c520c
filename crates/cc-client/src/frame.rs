//! What travels: items of logs and mailboxes, invitations, and the frame around what people say. In the
//! TLS presentation language (RFC 8446 section 3), as the wire format of the stack; see
//! `docs/client-wire-format.md`.

use cc_core::{Opaque, SecretBytes, decode_list};
use sha2::{Digest as _, Sha256};
use tls_codec::{
    DeserializeBytes, SerializeBytes, Size, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{
    Fault, LogId, OperationId, Position,
    introduction::PeopleUpdate,
    join::{HostNews, SealedJoin, SealedReply},
    mail::{MailAddress, SealedMail},
    rejoin::offer::RejoinOffer,
};

/// The version of everything in this file, the first byte of each.
const VERSION: u8 = 1;

/// An item of a group's log.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum GroupItem {
    /// What a stack sealed.
    #[tls_codec(discriminant = 1)]
    Sealed(Opaque),
}

/// An item of a mailbox, as the delivery service sees it.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum MailItem {
    /// A [`Mail`], sealed to the key of the mailbox's owner.
    #[tls_codec(discriminant = 1)]
    Sealed(SealedMail),
    /// Somebody asks to join a group, sealed to the key of a link.
    #[tls_codec(discriminant = 2)]
    Join(SealedJoin),
    /// Who asked to join has withdrawn that, sealed under a key that was in the request.
    #[tls_codec(discriminant = 3)]
    JoinWithdrawn(SealedReply),
}

/// What is sealed to the owner of a mailbox.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
pub(crate) enum Mail {
    /// A welcome.
    #[tls_codec(discriminant = 1)]
    Invitation(Invitation),
    /// A member that fell out of step asks to be added anew.
    #[tls_codec(discriminant = 2)]
    Rejoin(RejoinRequest),
    /// To a new device: it is one of the sender's, sealed to the key in its offer.
    #[tls_codec(discriminant = 3)]
    Link(Opaque),
    /// What becomes of a request to join, sealed under a key that was in it.
    #[tls_codec(discriminant = 4)]
    JoinAnswer(SealedReply),
    /// A member offers to add another one anew, of which nothing is heard.
    #[tls_codec(discriminant = 5)]
    RejoinOffer(RejoinOffer),
    /// What a device says of a link to the other ones of its person.
    #[tls_codec(discriminant = 6)]
    JoinHosts(HostNews),
}

/// What a person publishes, and what a group needs of it to invite them.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct KeyPackageOffer {
    /// Where the welcome is to go.
    pub(crate) address: MailAddress,
    /// The key package bundle.
    pub(crate) bundle: Opaque,
}

/// Asks one member to add this one anew.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct RejoinRequest {
    pub(crate) body: RejoinBody,
    /// Ed25519 by the device key of who asks, over a label and the body.
    pub(crate) signature: [u8; 64],
}

/// What is signed of a [`RejoinRequest`].
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct RejoinBody {
    pub(crate) group: LogId,
    /// Whom this copy is for: the mailbox.
    pub(crate) to: LogId,
    /// How many others are to have tried before.
    pub(crate) turn: u8,
    /// Where the commit is by which the member was last added, as far as it knows.
    pub(crate) joined_at: Position,
    /// Milliseconds since 1970 by the clock of who asks; each request has a greater one.
    pub(crate) time: u64,
    /// Made for this request.
    pub(crate) offer: KeyPackageOffer,
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
    /// The address of who invites: a newcomer that cannot open the welcome asks there.
    pub(crate) inviter: MailAddress,
    /// Who the members are, sealed for the welcome's epoch and bound to what else is here
    /// ([`seal_roster`](crate::seat::seal_roster)).
    pub(crate) roster: Opaque,
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
    /// Who members are, and which devices are theirs.
    #[tls_codec(discriminant = 3)]
    People(PeopleUpdate),
    /// What somebody passes on: a [`History`](crate::History), in the place of what it says.
    #[tls_codec(discriminant = 4)]
    History(Content),
}

/// The content of one message.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Content {
    /// The sender's messages in a group are numbered: a second copy of one is known by its number.
    pub(crate) number: u64,
    pub(crate) id: OperationId,
    pub(crate) bytes: Opaque,
}

/// The bytes of an object of this file. Some are secret: no copy is left behind.
pub(crate) fn encode(object: &impl SerializeBytes) -> Result<Vec<u8>, Fault> {
    let body = object.tls_serialize_bytes().map_err(|_| Fault::TooLong)?;
    let body = SecretBytes::new(body);
    Ok([&[VERSION][..], body.expose()].concat())
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

/// `T list<V>` of at most `MAX` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Size, const MAX: usize> Size for List<T, MAX> {
    fn tls_serialized_len(&self) -> usize {
        let content = self.0.iter().map(Size::tls_serialized_len).sum();
        // A variable-length integer of RFC 9000 section 16.
        let length = match content {
            0..0x40 => 1,
            0x40..0x4000 => 2,
            _ => 4,
        };
        length + content
    }
}

impl<T: SerializeBytes, const MAX: usize> SerializeBytes for List<T, MAX> {
    fn tls_serialize_bytes(&self) -> Result<Vec<u8>, tls_codec::Error> {
        if self.0.len() > MAX {
            return Err(tls_codec::Error::InvalidVectorLength);
        }
        let elements = self.0.iter().map(SerializeBytes::tls_serialize_bytes);
        let elements: Vec<Vec<u8>> = elements.collect::<Result<_, _>>()?;
        Opaque(elements.concat()).tls_serialize_bytes()
    }
}

impl<T: DeserializeBytes, const MAX: usize> DeserializeBytes for List<T, MAX>
where
    Self: Size,
{
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), tls_codec::Error> {
        let (list, rest) =
            decode_list(bytes, MAX).map_err(|_| tls_codec::Error::InvalidVectorLength)?;
        Ok((Self(list), rest))
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
