//! The TLS presentation language (RFC 9420 section 2.1) as the parts of commits and welcomes use it: fields
//! written one behind the other, and read back where they are the canonical encoding.

use alloc::vec::Vec;

use tls_codec::{DeserializeBytes as _, SerializeBytes as _, Size as _, TlsVarInt, VLByteSlice};

use crate::{Curve, DhPublicKey, KeyError};

/// Appends `opaque value<V>`.
///
/// # Errors
/// [`KeyError::Internal`] for a value of 2^30 bytes or more.
pub(crate) fn put_opaque(to: &mut Vec<u8>, value: &[u8]) -> Result<(), KeyError> {
    let encoded = VLByteSlice(value).tls_serialize_bytes().map_err(|_| KeyError::Internal)?;
    to.extend_from_slice(&encoded);
    Ok(())
}

/// A length below 2^14 as RFC 9420 section 2.1.2 has it, in the first 1 or 2 of these bytes.
pub(crate) const fn short_len(len: usize) -> ([u8; 2], usize) {
    let [.., high, low] = len.to_be_bytes();
    if len < 64 { ([low, 0], 1) } else { ([0x40 | high, low], 2) }
}

/// The rest of a part. Each method reads something off its front, or fails with [`KeyError::Rejected`]. It
/// copies nothing.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], KeyError> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or(KeyError::Rejected)?;
        self.0 = rest;
        Ok(slice)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(KeyError::Rejected)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn number(&mut self) -> Result<u64, KeyError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `opaque value<V>`, its length in the fewest bytes.
    pub(crate) fn opaque(&mut self) -> Result<&'a [u8], KeyError> {
        let (len, rest) =
            TlsVarInt::tls_deserialize_bytes(self.0).map_err(|_| KeyError::Rejected)?;
        if self.0.len() - rest.len() != len.tls_serialized_len() {
            return Err(KeyError::Rejected);
        }
        self.0 = rest;
        self.slice(usize::try_from(len.value()).map_err(|_| KeyError::Rejected)?)
    }

    /// A public key with its curve in front, as [`DhPublicKey::to_bytes`] writes it.
    pub(crate) fn key(&mut self) -> Result<DhPublicKey, KeyError> {
        let curve = self.0.first_chunk().ok_or(KeyError::Rejected)?;
        let curve = Curve::from_id(u16::from_be_bytes(*curve)).ok_or(KeyError::Rejected)?;
        DhPublicKey::from_bytes(self.slice(DhPublicKey::encoded_len(curve))?)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), KeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyError::Rejected) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::DhKeyPair;

    #[test]
    fn only_the_shortest_form_of_a_length_is_read() {
        for len in [0, 1, 63, 64, 16_383, 16_384] {
            let mut bytes = vec![];
            put_opaque(&mut bytes, &vec![7; len]).unwrap();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.opaque().unwrap(), vec![7; len]);
            reader.end().unwrap();
            assert!(Reader::new(&bytes[..bytes.len() - 1]).opaque().is_err());
        }
        for longer in [&[0x40, 1, 7][..], &[0x80, 0, 0, 1, 7], &[0xc0, 0, 0, 0, 0, 0, 0, 1, 7]] {
            assert_eq!(Reader::new(longer).opaque(), Err(KeyError::Rejected));
        }
        // A length of 2^30 - 1 with nothing behind it.
        assert_eq!(Reader::new(&[0xbf, 0xff, 0xff, 0xff]).opaque(), Err(KeyError::Rejected));
    }

    #[test]
    fn a_key_is_read_with_its_curve() {
        for curve in [Curve::X25519, Curve::P256] {
            let key = *DhKeyPair::generate(curve).unwrap().public_key();
            let bytes = [key.to_bytes(), vec![9]].concat();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.key().unwrap(), key);
            assert_eq!(reader.rest(), [9]);
        }
        assert!(Reader::new(&[0, 0x1e, 32]).key().is_err());
        assert!(Reader::new(&[0]).key().is_err());
    }
}
