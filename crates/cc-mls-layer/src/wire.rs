//! MLSMessage (RFC 9420 section 6) to and from bytes. Only the canonical encoding passes.
//!
//! A stranger's bytes are looked at before openmls decodes them: version and wire format first, then the
//! lengths, and how many there are of whatever becomes an object of its own. What is refused so costs a walk
//! over the lengths and no allocation.

use std::collections::HashSet;

use cc_core::{LayerError, limits::MAX_KEY_PACKAGE_LEN};
use openmls::prelude::{
    ContentType, DeserializeBytes as _, KeyPackageIn, KeyPackageRef, MlsMessageBodyIn,
    MlsMessageIn, PrivateMessageIn, PublicMessageIn, Welcome, group_info::VerifiableGroupInfo,
    tls_codec::Serialize as _,
};

use crate::{
    key_package_view::{KeyPackageView, extensions, leaf},
    reader::Reader,
    tree_nodes::check_nodes,
};

/// Bytes of an extension of a group that does not grow with its members, and of a GroupInfo with none that
/// does: 64 KiB. The name of a group has 4096.
const MAX_SHORT_LEN: usize = 64 << 10;

/// Bytes of a public commit, or of a GroupInfo with a tree.
const MAX_PUBLIC_LEN: usize = cc_core::limits::MAX_PART_LEN;

/// Nodes of an update path, one for each level of the tree (section 7.6): leaf indices have 32 bits.
const MAX_PATH_NODES: usize = 32;

/// Proposals that an external commit has: one that says so, one that removes who comes back.
const MAX_EXTERNAL_PROPOSALS_LEN: usize = 4096;

/// The extension of a GroupInfo with the ratchet tree.
const RATCHET_TREE: u16 = 2;

const VERSION: u16 = 1;

/// Section 6, `WireFormat`.
#[derive(Clone, Copy)]
enum Format {
    PublicMessage = 1,
    PrivateMessage = 2,
    Welcome = 3,
    GroupInfo = 4,
    KeyPackage = 5,
}

/// What stands in the clear in a PrivateMessage (section 6.3).
pub(crate) struct PrivateHead<'a> {
    pub(crate) group_id: &'a [u8],
    pub(crate) epoch: u64,
    pub(crate) authenticated_data: &'a [u8],
}

/// The head of a PrivateMessage of this content, whose encoding is canonical to its end.
pub(crate) fn private_head(
    bytes: &[u8],
    content: ContentType,
) -> Result<PrivateHead<'_>, LayerError> {
    let read = || {
        let mut reader = body(bytes, Format::PrivateMessage)?;
        let group_id = reader.vector()?;
        let epoch = reader.u64()?;
        if reader.u8()? != content as u8 {
            return None;
        }
        let authenticated_data = reader.vector()?;
        let _encrypted_sender_data = reader.vector()?;
        let _ciphertext = reader.vector()?;
        reader.end()?;
        Some(PrivateHead { group_id, epoch, authenticated_data })
    };
    read().ok_or_else(LayerError::rejected)
}

/// The PrivateMessage whose [head](private_head) was read.
pub(crate) fn private_message(bytes: &[u8]) -> Result<PrivateMessageIn, LayerError> {
    match decode(bytes)? {
        MlsMessageBodyIn::PrivateMessage(message) => Ok(message),
        _ => Err(LayerError::rejected()),
    }
}

/// A commit of somebody who joins by it (section 12.4.3.2).
pub(crate) fn external_commit(bytes: &[u8]) -> Result<PublicMessageIn, LayerError> {
    let look = || {
        const NEW_MEMBER_COMMIT: u8 = 4;
        let mut reader = body(bytes, Format::PublicMessage)?;
        let (_group_id, _epoch) = (reader.vector()?, reader.u64()?);
        if reader.u8()? != NEW_MEMBER_COMMIT {
            return None;
        }
        let _authenticated_data = reader.vector()?;
        if reader.u8()? != ContentType::Commit as u8 {
            return None;
        }
        let _proposals = reader.vector_within(MAX_EXTERNAL_PROPOSALS_LEN)?;
        if reader.u8()? != 1 {
            return None;
        }
        leaf(&mut reader)?;
        reader.elements(MAX_PATH_NODES, |node| {
            let _encryption_key = node.vector()?;
            node.elements(2 * cc_core::limits::MAX_MEMBERS, hpke_ciphertext)?;
            Some(())
        })?;
        let (_signature, _confirmation_tag) = (reader.vector()?, reader.vector()?);
        reader.end()
    };
    if bytes.len() > MAX_PUBLIC_LEN || look().is_none() {
        return Err(LayerError::rejected());
    }
    match canonical(bytes)? {
        MlsMessageBodyIn::PublicMessage(message) => Ok(message),
        _ => Err(LayerError::rejected()),
    }
}

pub(crate) fn group_info(bytes: &[u8]) -> Result<VerifiableGroupInfo, LayerError> {
    let look = || {
        let mut reader = body(bytes, Format::GroupInfo)?;
        // The GroupContext (section 8.1).
        let (_version, _suite) = (reader.u16()?, reader.u16()?);
        let (_group_id, _epoch) = (reader.vector()?, reader.u64()?);
        let (_tree_hash, _transcript_hash) = (reader.vector()?, reader.vector()?);
        extensions(&mut reader, |_, data| data.len() <= MAX_SHORT_LEN)?;
        // And what else is in a GroupInfo (section 12.4.3).
        extensions(&mut reader, |kind, data| match kind {
            RATCHET_TREE => check_nodes(data).is_some(),
            _ => data.len() <= MAX_SHORT_LEN,
        })?;
        let (_confirmation_tag, _signer) = (reader.vector()?, reader.u32()?);
        let _signature = reader.vector()?;
        reader.end()
    };
    if bytes.len() > MAX_PUBLIC_LEN || look().is_none() {
        return Err(LayerError::rejected());
    }
    match canonical(bytes)? {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        _ => Err(LayerError::rejected()),
    }
}

/// A Welcome (section 12.4.3.1) that is for one of the key packages of these `references`. Nobody else's
/// entry is decoded, and it is not in what this gives.
pub(crate) fn welcome(
    bytes: &[u8],
    references: impl FnOnce() -> Result<Vec<KeyPackageRef>, LayerError>,
) -> Result<Welcome, LayerError> {
    body(bytes, Format::Welcome).ok_or_else(LayerError::rejected)?;
    let references = references()?;
    let known: HashSet<&[u8]> = references.iter().map(KeyPackageRef::as_slice).collect();
    let entry = || {
        let mut reader = body(bytes, Format::Welcome)?;
        let suite = reader.u16()?;
        let mut secrets = Reader::new(reader.vector()?);
        let group_info = reader.vector()?;
        reader.end()?;
        let mut found = None;
        while !secrets.is_empty() {
            let (new_member, kem_output, ciphertext) = group_secrets(&mut secrets)?;
            if known.contains(new_member) {
                // Two entries for one key package, or for two of this member's: no committer makes that.
                found = match found {
                    None => Some((new_member, kem_output, ciphertext)),
                    Some(_) => return None,
                };
            }
        }
        found.map(|entry| (suite, entry, group_info))
    };
    let (suite, (new_member, kem_output, ciphertext), group_info) =
        entry().ok_or_else(LayerError::rejected)?;
    let secrets = [opaque(new_member)?, opaque(kem_output)?, opaque(ciphertext)?].concat();
    let front = [VERSION, Format::Welcome as u16, suite].map(u16::to_be_bytes).concat();
    match decode(&[front, opaque(&secrets)?, opaque(group_info)?].concat())? {
        MlsMessageBodyIn::Welcome(welcome) => Ok(welcome),
        _ => Err(LayerError::rejected()),
    }
}

/// What a Welcome has for one joiner: the hash of their key package, and what HPKE makes. Shorter ones would be
/// many in few bytes. In a longer one whoever has the key package could hide pre-shared keys without number: each
/// has three bytes there and is an object of its own once it is decrypted.
fn group_secrets<'a>(secrets: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    let new_member = secrets.vector().filter(|hash| hash.len() >= 32)?;
    let kem_output = secrets.vector_within(MAX_SHORT_LEN).filter(|output| output.len() >= 32)?;
    let ciphertext = secrets.vector_within(MAX_SHORT_LEN).filter(|sealed| sealed.len() >= 16)?;
    Some((new_member, kem_output, ciphertext))
}

/// Whether a Welcome names one of these key packages; `None` for what is no Welcome.
pub(crate) fn welcome_names(bytes: &[u8], references: &[KeyPackageRef]) -> Option<bool> {
    let known: HashSet<&[u8]> = references.iter().map(KeyPackageRef::as_slice).collect();
    let mut reader = body(bytes, Format::Welcome)?;
    let _suite = reader.u16()?;
    let mut secrets = Reader::new(reader.vector()?);
    let mut found = false;
    while !secrets.is_empty() {
        let (new_member, _kem_output, _ciphertext) = group_secrets(&mut secrets)?;
        found |= known.contains(new_member);
    }
    Some(found)
}

/// Whether the GroupInfo in a Welcome is as short as one without a ratchet tree. It is encrypted for whoever has
/// this member's key package, so what is in it can only be bounded as a whole.
pub(crate) fn has_short_group_info(welcome: &[u8]) -> bool {
    let read = || {
        let mut reader = body(welcome, Format::Welcome)?;
        let (_suite, _secrets) = (reader.u16()?, reader.vector()?);
        reader.vector_within(MAX_SHORT_LEN)
    };
    read().is_some()
}

/// A KeyPackage (section 10) whose lengths and counts are within the bounds.
pub(crate) fn key_package(bytes: &[u8]) -> Result<KeyPackageIn, LayerError> {
    key_package_view(bytes)?;
    match canonical(bytes)? {
        MlsMessageBodyIn::KeyPackage(key_package) => Ok(key_package),
        _ => Err(LayerError::rejected()),
    }
}

/// What a KeyPackage says, without decoding it. Nothing is verified.
pub(crate) fn key_package_view(bytes: &[u8]) -> Result<KeyPackageView<'_>, LayerError> {
    let read = || {
        if bytes.len() > MAX_KEY_PACKAGE_LEN {
            return None;
        }
        KeyPackageView::read(body(bytes, Format::KeyPackage)?)
    };
    read().ok_or_else(LayerError::rejected)
}

/// What follows the version and this wire format.
fn body(bytes: &[u8], format: Format) -> Option<Reader<'_>> {
    let mut reader = Reader::new(bytes);
    let known = reader.u16()? == VERSION && reader.u16()? == format as u16;
    known.then_some(reader)
}

fn hpke_ciphertext(reader: &mut Reader<'_>) -> Option<()> {
    /// Bytes of a KEM output and of a sealed path secret, at least.
    const LEAST: usize = 16;
    let long = reader.vector()?.len() >= LEAST && reader.vector()?.len() >= LEAST;
    long.then_some(())
}

/// `opaque vector<V>`.
fn opaque(content: &[u8]) -> Result<Vec<u8>, LayerError> {
    openmls::prelude::tls_codec::VLByteSlice(content)
        .tls_serialize_detached()
        .map_err(|_| LayerError::rejected())
}

fn decode(bytes: &[u8]) -> Result<MlsMessageBodyIn, LayerError> {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes)
        .map(MlsMessageIn::extract)
        .map_err(|_| LayerError::rejected())
}

fn canonical(bytes: &[u8]) -> Result<MlsMessageBodyIn, LayerError> {
    let message =
        MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| LayerError::rejected())?;
    let canonical = message.tls_serialize_detached().map_err(|_| LayerError::rejected())?;
    if canonical == bytes { Ok(message.extract()) } else { Err(LayerError::rejected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_secrets_of_any_length_are_not_decrypted() {
        let reference = vec![7; 32];
        let welcome = |kem_output: usize, ciphertext: usize| {
            let front = [VERSION, Format::Welcome as u16, 1].map(u16::to_be_bytes).concat();
            let entry = [reference.clone(), vec![1; kem_output], vec![2; ciphertext]];
            let entry: Vec<u8> = entry.iter().flat_map(|part| opaque(part).unwrap()).collect();
            [front, opaque(&entry).unwrap(), opaque(&[3; 32]).unwrap()].concat()
        };
        let known = [KeyPackageRef::tls_deserialize_exact_bytes(&opaque(&reference).unwrap())];
        let known = known.map(Result::unwrap);
        for (kem_output, ciphertext, short) in [
            (32, MAX_SHORT_LEN, true),
            (32, MAX_SHORT_LEN + 1, false),
            (MAX_SHORT_LEN + 1, 16, false),
        ] {
            let bytes = welcome(kem_output, ciphertext);
            assert_eq!(super::welcome(&bytes, || Ok(known.to_vec())).is_ok(), short);
            assert_eq!(welcome_names(&bytes, &known), short.then_some(true));
        }
    }

    #[test]
    fn a_group_info_of_any_length_is_not_decrypted() {
        let welcome = |len| {
            let front = [VERSION, Format::Welcome as u16, 1].map(u16::to_be_bytes).concat();
            [front, vec![0], opaque(&vec![7; len]).unwrap()].concat()
        };
        assert!(has_short_group_info(&welcome(MAX_SHORT_LEN)));
        assert!(!has_short_group_info(&welcome(MAX_SHORT_LEN + 1)));
        assert!(!has_short_group_info(&welcome(10)[..12]));
    }
}
