//! How ids are serialized: hexadecimal digits in formats for people, such as JSON, and bytes in others.
//! For `#[serde(with = "cc_core::serde_array")]` on arrays of bytes.

use alloc::string::String;
use core::fmt::{self, Write as _};

use serde::{Deserializer, Serializer, de};

/// # Errors
/// Those of `serializer`.
pub fn serialize<S: Serializer, const N: usize>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(bytes);
    }
    let mut digits = String::with_capacity(2 * N);
    for byte in bytes {
        write!(digits, "{byte:02x}").map_err(serde::ser::Error::custom)?;
    }
    serializer.serialize_str(&digits)
}

/// # Errors
/// Those of `deserializer`, and for anything but `N` bytes.
pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Visitor)
    } else {
        deserializer.deserialize_bytes(Visitor)
    }
}

struct Visitor<const N: usize>;

impl<'de, const N: usize> de::Visitor<'de> for Visitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes, or {} hexadecimal digits", 2 * N)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: de::Error>(self, digits: &str) -> Result<[u8; N], E> {
        let mut bytes = [0; N];
        let digits = digits.as_bytes();
        if digits.len() != 2 * N {
            return Err(E::invalid_length(digits.len(), &self));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = core::str::from_utf8(pair).map_err(E::custom)?;
            // Or else a sign would count as a digit.
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(E::custom("not a hexadecimal digit"));
            }
            *byte = u8::from_str_radix(pair, 16).map_err(E::custom)?;
        }
        Ok(bytes)
    }
}
