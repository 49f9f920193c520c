//! Key package bundles, welcomes and commits: one object each, with one part per
//! group layer. Byte by byte in `docs/wire-format.md`.

use alloc::{format, vec::Vec};

use tls_codec::{SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    DecodeError, Kind, Opaque, StackId, WIRE_VERSION, decode_list,
    envelope::read_preamble,
    limits::{MAX_LAYERS, MAX_MESSAGE_LEN, MAX_PART_LEN},
};

/// One layer's part.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub struct Part {
    /// The layer's position, 0 at the bottom.
    pub position: u16,
    /// The layer's own bytes, at most 64 MiB.
    pub value: Opaque,
    /// In a commit the digest of the layer's welcome part, in a welcome that of its commit part: with
    /// both, members and joiners compute one transcript. Zero in the topmost part and elsewhere.
    pub counterpart: [u8; 32],
}

/// A key package bundle or a welcome, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub struct Bundle {
    version: u16,
    kind: u8,
    stack: [u8; StackId::WIRE_LEN],
    parts: PartList,
}

/// The parts of one object. A commit is this alone, sealed by the stack.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub struct PartList {
    /// Random, the same in a commit and its welcome; zero in a key package bundle.
    pub change: [u8; 16],
    /// Bottom first.
    pub parts: Vec<Part>,
}

impl Bundle {
    /// A bundle of this version.
    #[must_use]
    pub fn new(kind: Kind, stack: &StackId, parts: PartList) -> Self {
        Self { version: WIRE_VERSION, kind: kind as u8, stack: stack.wire(), parts }
    }

    /// The parts.
    #[must_use]
    pub fn into_parts(self) -> PartList {
        self.parts
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] when a part or the whole is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        self.parts.check()?;
        encode(self)
    }

    /// Reads a bundle of this kind and stack.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, kind or stack, and for an encoding that is truncated, not
    /// canonical, over a limit, or has bytes left over.
    pub fn decode(wire: &[u8], kind: Kind, stack: &StackId) -> Result<Self, DecodeError> {
        let (kind, rest) = read_preamble(wire, stack, |found| found == kind)?;
        let bundle = Self::new(kind, stack, PartList::parse(rest)?);
        bundle.parts.check()?;
        // One encoding for one object.
        if encode(&bundle)? == wire { Ok(bundle) } else { Err(DecodeError::Malformed) }
    }
}

impl PartList {
    /// The bytes that the stack seals.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] when a part or the whole is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        self.check()?;
        encode(self)
    }

    /// Reads the parts of a commit that the stack opened.
    ///
    /// # Errors
    /// [`DecodeError`] for an encoding that is truncated, not canonical, over a limit, or has bytes
    /// left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let list = Self::parse(bytes)?;
        list.check()?;
        // One encoding for one object.
        if encode(&list)? == bytes { Ok(list) } else { Err(DecodeError::Malformed) }
    }

    /// Never more parts than there may be, whatever the bytes say.
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (change, rest) = bytes.split_first_chunk().ok_or(DecodeError::Malformed)?;
        let (parts, rest) = decode_list(rest, MAX_LAYERS)?;
        if rest.is_empty() {
            Ok(Self { change: *change, parts })
        } else {
            Err(DecodeError::Malformed)
        }
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.parts.len() > MAX_LAYERS {
            return Err(DecodeError::TooLong);
        }
        if self.parts.iter().any(|part| part.value.as_slice().len() > MAX_PART_LEN) {
            return Err(DecodeError::TooLong);
        }
        let ascending = self.parts.windows(2).all(|pair| match pair {
            [a, b] => a.position < b.position,
            _ => true,
        });
        if ascending { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}

fn encode(object: &impl SerializeBytes) -> Result<Vec<u8>, DecodeError> {
    let bytes = object.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)?;
    if bytes.len() > MAX_MESSAGE_LEN { Err(DecodeError::TooLong) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn list(values: &[Vec<u8>]) -> PartList {
        let parts = (0u16..)
            .zip(values)
            .map(|(position, value)| Part {
                position,
                value: value.as_slice().into(),
                counterpart: [7; 32],
            })
            .collect();
        PartList { change: [9; 16], parts }
    }

    proptest! {
        #[test]
        fn bundles_round_trip(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..=MAX_LAYERS)) {
            let stack = StackId::of(&[]);
            let bundle = Bundle::new(Kind::Welcome, &stack, list(&values));
            let bytes = bundle.encode().unwrap();
            prop_assert_eq!(Bundle::decode(&bytes, Kind::Welcome, &stack), Ok(bundle));
            for len in 0..bytes.len() {
                prop_assert!(Bundle::decode(&bytes[..len], Kind::Welcome, &stack).is_err());
            }
            let mut longer = bytes;
            longer.push(0);
            prop_assert!(Bundle::decode(&longer, Kind::Welcome, &stack).is_err());
        }

        #[test]
        fn any_bytes_are_a_list_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(list) = PartList::decode(&bytes) {
                prop_assert_eq!(list.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn limits_order_and_kind_are_checked() {
        let stack = StackId::of(&[]);
        assert_eq!(list(&vec![vec![]; MAX_LAYERS + 1]).encode(), Err(DecodeError::TooLong));
        let mut unordered = list(&[vec![], vec![]]);
        unordered.parts.swap(0, 1);
        assert_eq!(unordered.encode(), Err(DecodeError::Malformed));
        let bytes = Bundle::new(Kind::Welcome, &stack, list(&[])).encode().unwrap();
        assert_eq!(
            Bundle::decode(&bytes, Kind::KeyPackage, &stack),
            Err(DecodeError::Kind(Kind::Welcome))
        );
        // The reader stops at the first part too many: what comes behind it is not even looked at.
        let good = list(&vec![vec![]; MAX_LAYERS + 1]).parts;
        let mut content: Vec<u8> =
            good.iter().flat_map(|part| part.tls_serialize_bytes().unwrap()).collect();
        content.extend([0xff; 40]);
        let mut many = vec![0; 16];
        many.extend(Opaque(content).tls_serialize_bytes().unwrap());
        assert_eq!(PartList::decode(&many), Err(DecodeError::TooLong));
        // A length of 2^30 - 1 with nothing behind it allocates nothing.
        let mut huge = vec![0; 16];
        huge.extend([0xbf, 0xff, 0xff, 0xff]);
        assert_eq!(PartList::decode(&huge), Err(DecodeError::Malformed));
    }
}
