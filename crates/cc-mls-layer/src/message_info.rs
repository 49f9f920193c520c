//! What an MLSMessage (RFC 9420 section 6) says of itself in the clear.

use cc_core::LayerError;

use crate::reader::Reader;

/// What is to be read of an MLSMessage without any key. **Nothing of it is verified**: a relay sorts by it, a
/// member hands the bytes to the call that is for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsMessageInfo<'a> {
    /// What kind of message it is.
    pub wire_format: MlsWireFormat,
    /// The ciphersuite (section 17.1) of a Welcome, GroupInfo or KeyPackage, whether it is known here or not.
    pub ciphersuite: Option<u16>,
    /// The group of a PublicMessage, PrivateMessage or GroupInfo.
    pub group_id: Option<&'a [u8]>,
    /// The epoch that it was made in: of those with a group.
    pub epoch: Option<u64>,
    /// What is in a PublicMessage or PrivateMessage.
    pub content_type: Option<MlsContentType>,
    /// The `authenticated_data` of a PublicMessage or PrivateMessage.
    pub authenticated_data: Option<&'a [u8]>,
}

/// `WireFormat` of section 17.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MlsWireFormat {
    /// A signed message (section 6.2): a handshake message of a group that does not encrypt them, or the commit
    /// of somebody who joins by it.
    PublicMessage,
    /// An encrypted message (section 6.3).
    PrivateMessage,
    /// An invitation (section 12.4.3.1).
    Welcome,
    /// A description of a group, to join it by (section 12.4.3).
    GroupInfo,
    /// What somebody is added by (section 10).
    KeyPackage,
}

/// `ContentType` of section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MlsContentType {
    /// A message of the application.
    Application,
    /// A proposal.
    Proposal,
    /// A commit.
    Commit,
}

/// Reads the front of an MLSMessage, in constant time and without allocation: what follows is not looked at, so
/// that a message may be whole or not.
///
/// ```
/// use cc_mls_layer::{MlsContentType, MlsWireFormat, inspect_message};
///
/// // MLS 1.0, PrivateMessage, group "dev", epoch 7, application data, no authenticated data.
/// let front = [0, 1, 0, 2, 3, b'd', b'e', b'v', 0, 0, 0, 0, 0, 0, 0, 7, 1, 0];
/// let info = inspect_message(&front).unwrap();
/// assert_eq!(info.wire_format, MlsWireFormat::PrivateMessage);
/// assert_eq!((info.group_id, info.epoch), (Some(&b"dev"[..]), Some(7)));
/// assert_eq!(info.content_type, Some(MlsContentType::Application));
/// ```
///
/// # Errors
/// [`Rejected`](cc_core::LayerErrorKind::Rejected) for what is no MLSMessage of MLS 1.0.
pub fn inspect_message(message: &[u8]) -> Result<MlsMessageInfo<'_>, LayerError> {
    read(Reader::new(message)).ok_or_else(LayerError::rejected)
}

/// The version of section 6, `ProtocolVersion`.
const MLS_1_0: u16 = 1;

fn read(mut reader: Reader<'_>) -> Option<MlsMessageInfo<'_>> {
    if reader.u16()? != MLS_1_0 {
        return None;
    }
    match reader.u16()? {
        1 => public_message(reader),
        2 => private_message(reader),
        3 => Some(of_suite(MlsWireFormat::Welcome, reader.u16()?)),
        4 => group_info(reader),
        5 => key_package(reader),
        _ => None,
    }
}

/// Section 6.2, up to the content.
fn public_message(mut reader: Reader<'_>) -> Option<MlsMessageInfo<'_>> {
    let (group_id, epoch) = (reader.vector()?, reader.u64()?);
    match reader.u8()? {
        // A member, or an external sender: an index.
        1 | 2 => drop(reader.u32()?),
        // Who proposes to join, or joins.
        3 | 4 => {}
        _ => return None,
    }
    let authenticated_data = reader.vector()?;
    let content_type = content_type(reader.u8()?)?;
    Some(framed(MlsWireFormat::PublicMessage, group_id, epoch, content_type, authenticated_data))
}

/// Section 6.3, up to the ciphertexts.
fn private_message(mut reader: Reader<'_>) -> Option<MlsMessageInfo<'_>> {
    let (group_id, epoch) = (reader.vector()?, reader.u64()?);
    let content_type = content_type(reader.u8()?)?;
    let authenticated_data = reader.vector()?;
    Some(framed(MlsWireFormat::PrivateMessage, group_id, epoch, content_type, authenticated_data))
}

/// Section 12.4.3, up to the epoch of its GroupContext.
fn group_info(mut reader: Reader<'_>) -> Option<MlsMessageInfo<'_>> {
    let (version, suite) = (reader.u16()?, reader.u16()?);
    let (group_id, epoch) = (reader.vector()?, reader.u64()?);
    (version == MLS_1_0).then(|| MlsMessageInfo {
        group_id: Some(group_id),
        epoch: Some(epoch),
        ..of_suite(MlsWireFormat::GroupInfo, suite)
    })
}

/// Section 10, up to the ciphersuite.
fn key_package(mut reader: Reader<'_>) -> Option<MlsMessageInfo<'_>> {
    let (version, suite) = (reader.u16()?, reader.u16()?);
    (version == MLS_1_0).then(|| of_suite(MlsWireFormat::KeyPackage, suite))
}

fn content_type(byte: u8) -> Option<MlsContentType> {
    match byte {
        1 => Some(MlsContentType::Application),
        2 => Some(MlsContentType::Proposal),
        3 => Some(MlsContentType::Commit),
        _ => None,
    }
}

fn of_suite<'a>(wire_format: MlsWireFormat, suite: u16) -> MlsMessageInfo<'a> {
    MlsMessageInfo {
        wire_format,
        ciphersuite: Some(suite),
        group_id: None,
        epoch: None,
        content_type: None,
        authenticated_data: None,
    }
}

fn framed<'a>(
    wire_format: MlsWireFormat,
    group_id: &'a [u8],
    epoch: u64,
    content_type: MlsContentType,
    authenticated_data: &'a [u8],
) -> MlsMessageInfo<'a> {
    MlsMessageInfo {
        wire_format,
        ciphersuite: None,
        group_id: Some(group_id),
        epoch: Some(epoch),
        content_type: Some(content_type),
        authenticated_data: Some(authenticated_data),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let private = [0, 1, 0, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 7, 3, 1, 8];
        for len in 0..private.len() {
            assert!(inspect_message(&private[..len]).is_err(), "{len}");
        }
        let info = inspect_message(&private).unwrap();
        assert_eq!(info.content_type, Some(MlsContentType::Commit));
        assert_eq!(info.authenticated_data, Some(&[8][..]));
        // Another version, wire format and content type; a sender of no type.
        for (at, byte) in [(1, 2), (3, 0), (3, 6), (14, 0), (14, 4)] {
            let mut bad = private;
            bad[at] = byte;
            assert!(inspect_message(&bad).is_err(), "{at} {byte}");
        }
        let public = [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 5, 0, 3];
        assert!(inspect_message(&public).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut message = vec![0, 1, 0];
            message.extend(bytes);
            let _ = inspect_message(&message);
        }
    }
}
