//! A key package (RFC 9420 section 10) as its bytes have it, before anything is decoded or verified.
//!
//! Whoever wants to be added sends one, and so does a stranger. Its size is bounded as a whole, and here are
//! bounds on what is kept for as long as the member is in the group, and on all that openmls makes an object
//! of its own of.

use crate::{
    config::{BINDING_EXTENSION, LEAF_DATA_EXTENSION},
    credential::MAX_CHAIN_LEN,
    leaf_data::MAX_LEAF_DATA_LEN,
    reader::Reader,
};

/// Bytes of the name in a basic credential.
pub(crate) const MAX_MEMBER_NAME_LEN: usize = 1024;

/// Values in each list of a leaf's capabilities (section 7.2).
const MAX_CAPABILITIES: usize = 256;

/// Extensions in one place.
const MAX_EXTENSIONS: usize = 64;

/// Extension types that no leaf and no key package has (section 17.3): of a ratchet tree or of many parts.
const OF_A_GROUP: std::ops::RangeInclusive<u16> = 2..=5;

const BASIC: u16 = 1;
const X509: u16 = 2;

/// What a key package says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPackageView<'a> {
    pub(crate) ciphersuite: u16,
    pub(crate) leaf: LeafView<'a>,
    /// The content of the extension that binds it.
    pub(crate) binding: Option<&'a [u8]>,
}

/// What the leaf in a key package says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafView<'a> {
    pub(crate) signature_key: &'a [u8],
    /// The content of a basic credential.
    pub(crate) name: Option<&'a [u8]>,
    /// From when and until when it is valid, in seconds since 1970.
    pub(crate) lifetime: Option<(u64, u64)>,
    /// What the program says of the member.
    pub(crate) data: Option<&'a [u8]>,
}

impl<'a> KeyPackageView<'a> {
    /// What follows version and wire format of an MLSMessage. `None` where it is malformed, or over a bound.
    pub(crate) fn read(mut reader: Reader<'a>) -> Option<Self> {
        let (_version, ciphersuite) = (reader.u16()?, reader.u16()?);
        let _init_key = reader.vector()?;
        let leaf = leaf(&mut reader)?;
        let binding = own_extensions(&mut reader)?.binding;
        let _signature = reader.vector()?;
        reader.end()?;
        Some(Self { ciphersuite, leaf, binding })
    }
}

/// A LeafNode (section 7.2).
pub(crate) fn leaf<'a>(reader: &mut Reader<'a>) -> Option<LeafView<'a>> {
    let _encryption_key = reader.vector()?;
    let signature_key = reader.vector()?;
    let name = credential(reader)?;
    for _ in 0..5 {
        reader.elements(MAX_CAPABILITIES, |value| value.u16().map(drop))?;
    }
    let lifetime = match reader.u8()? {
        1 => Some((reader.u64()?, reader.u64()?)),
        2 => None,
        3 => {
            let _parent_hash = reader.vector()?;
            None
        }
        _ => return None,
    };
    let data = own_extensions(reader)?.data;
    let _signature = reader.vector()?;
    Some(LeafView { signature_key, name, lifetime, data })
}

/// Whether this is a LeafNode and nothing else, within the bounds.
pub(crate) fn is_leaf(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    leaf(&mut reader).is_some() && reader.is_empty()
}

/// A credential (section 5.3): the name, where it is a basic one.
fn credential<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    match reader.u16()? {
        BASIC => reader.vector_within(MAX_MEMBER_NAME_LEN).map(Some),
        X509 => {
            let chain = reader.vector_within(MAX_CHAIN_LEN)?;
            let mut certificates = Reader::new(chain);
            while !certificates.is_empty() {
                let _certificate = certificates.vector().filter(|one| !one.is_empty())?;
            }
            Some(None)
        }
        _ => None,
    }
}

/// The extensions of this crate.
#[derive(Default)]
struct OwnExtensions<'a> {
    binding: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
}

/// The extensions of a leaf or a key package (section 13.1).
fn own_extensions<'a>(reader: &mut Reader<'a>) -> Option<OwnExtensions<'a>> {
    let mut own = OwnExtensions::default();
    extensions(reader, |kind, content| match kind {
        BINDING_EXTENSION => {
            own.binding = Some(content);
            true
        }
        LEAF_DATA_EXTENSION => {
            own.data = Some(content);
            (1..=MAX_LEAF_DATA_LEN).contains(&content.len())
        }
        kind => !OF_A_GROUP.contains(&kind),
    })?;
    Some(own)
}

/// A list of extensions, as far as `each` takes them by their type and content.
pub(crate) fn extensions<'a>(
    reader: &mut Reader<'a>,
    mut each: impl FnMut(u16, &'a [u8]) -> bool,
) -> Option<()> {
    let mut content = Reader::new(reader.vector()?);
    let mut count = 0;
    while !content.is_empty() {
        let (kind, data) = (content.u16()?, content.vector()?);
        count += 1;
        if count > MAX_EXTENSIONS || !each(kind, data) {
            return None;
        }
    }
    Some(())
}
