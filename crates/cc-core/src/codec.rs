//! The TLS presentation language as RFC 9420 section 2.1.2 uses it, on top of `tls_codec`.

use alloc::vec::Vec;

use tls_codec::{DeserializeBytes, Error, SerializeBytes, Size, TlsVarInt, VLByteSlice};

use crate::DecodeError;

/// `opaque value<V>`: bytes behind their length, a variable-size integer in the fewest bytes.
///
/// `tls_codec` has such a type, but its decoder asserts on truncated input in builds with debug
/// assertions. This one gives an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opaque(pub Vec<u8>);

impl Opaque {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Opaque {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Size for Opaque {
    fn tls_serialized_len(&self) -> usize {
        VLByteSlice(&self.0).tls_serialized_len()
    }
}

impl SerializeBytes for Opaque {
    fn tls_serialize_bytes(&self) -> Result<Vec<u8>, Error> {
        VLByteSlice(&self.0).tls_serialize_bytes()
    }
}

impl DeserializeBytes for Opaque {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (length, rest) = TlsVarInt::tls_deserialize_bytes(bytes)?;
        let length = usize::try_from(length.value()).map_err(|_| Error::InvalidVectorLength)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(Error::EndOfStream)?;
        Ok((Self(value.to_vec()), rest))
    }
}

/// Reads `T list<V>` of at most `max` elements off the front of `bytes`, and gives the rest.
///
/// The decoder that `tls_codec` has for vectors reads as many elements as there are bytes for, so that
/// a list of tiny ones takes many times its own size in memory before anybody counts them. This one
/// stops at the first element too many.
///
/// # Errors
/// [`DecodeError::TooLong`] for more than `max` elements, [`DecodeError::Malformed`] for anything else.
pub fn decode_list<T: DeserializeBytes>(
    bytes: &[u8],
    max: usize,
) -> Result<(Vec<T>, &[u8]), DecodeError> {
    let (length, rest) =
        TlsVarInt::tls_deserialize_bytes(bytes).map_err(|_| DecodeError::Malformed)?;
    let length = usize::try_from(length.value()).map_err(|_| DecodeError::Malformed)?;
    let (mut content, rest) = rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
    let mut list = Vec::new();
    while !content.is_empty() {
        if list.len() == max {
            return Err(DecodeError::TooLong);
        }
        let (element, after) =
            T::tls_deserialize_bytes(content).map_err(|_| DecodeError::Malformed)?;
        list.push(element);
        content = after;
    }
    Ok((list, rest))
}
