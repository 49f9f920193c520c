//! A strict reader and a plain writer for the fixed binary encodings of this crate.
//!
//! Integers are big-endian. Lengths are checked against what is there before anything is
//! allocated, and [`Reader::finish`] refuses trailing bytes, so every value has one encoding.

use alloc::vec::Vec;

use cc_core::{Secret, SecretBytes};

use crate::Error;

/// Reads from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Error::Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Error::Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn secret<const N: usize>(&mut self) -> Result<Secret<N>, Error> {
        Secret::copy_from(self.take(N)?).ok_or(Error::Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A flag: 0 or 1, nothing else.
    pub(crate) fn flag(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Malformed),
        }
    }

    /// A count of elements of `size` bytes each, all of which must be there and at most `max`.
    pub(crate) fn count(&mut self, size: usize, max: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.u32()?).map_err(|_| Error::Malformed)?;
        if count > max || count.saturating_mul(size) > self.rest.len() {
            return Err(Error::Malformed);
        }
        Ok(count)
    }

    /// Bytes with a 32-bit length before them, at most `max`.
    pub(crate) fn bytes(&mut self, max: usize) -> Result<&'a [u8], Error> {
        let len = self.count(1, max)?;
        self.take(len)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Malformed) }
    }
}

/// Writes `parts` one behind the other to the front of `to`, which has room for them.
pub(crate) fn fill(mut to: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let Some((place, rest)) = to.split_at_mut_checked(part.len()) else { return };
        place.copy_from_slice(part);
        to = rest;
    }
}

/// Writes state to a buffer that is overwritten when it grows and when it is dropped.
pub(crate) struct Writer {
    bytes: zeroize::Zeroizing<Vec<u8>>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { bytes: zeroize::Zeroizing::new(Vec::with_capacity(256)) }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        // A plain reallocation would leave a copy of the secrets behind.
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let mut grown = zeroize::Zeroizing::new(Vec::with_capacity(needed * 2));
            grown.extend_from_slice(&self.bytes);
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A count, which the limits keep far below 2^32. One beyond that would be written as a number that
    /// contradicts what follows, and be refused when it is read.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.put(bytes);
    }

    pub(crate) fn finish(mut self) -> SecretBytes {
        SecretBytes::new(core::mem::take(&mut *self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_checked_before_it_is_believed() {
        assert_eq!(Reader::new(&[0xff; 8]).count(1, usize::MAX), Err(Error::Malformed));
        assert_eq!(Reader::new(&[0, 0, 0, 2, 1, 1]).count(1, 1), Err(Error::Malformed));
        assert_eq!(Reader::new(&[0, 0, 0, 2, 1, 1]).count(1, 2), Ok(2));
    }

    #[test]
    fn trailing_bytes_and_odd_flags_are_refused() {
        assert_eq!(Reader::new(&[0]).finish(), Err(Error::Malformed));
        assert_eq!(Reader::new(&[2]).flag(), Err(Error::Malformed));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        writer.u8(1);
        writer.u32(3);
        writer.u64(4);
        writer.flag(true);
        writer.bytes(&[9; 3000]);
        let bytes = writer.finish();
        let mut reader = Reader::new(bytes.expose());
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.bytes(3000), Ok(&[9; 3000][..]));
        assert_eq!(reader.finish(), Ok(()));
    }
}
