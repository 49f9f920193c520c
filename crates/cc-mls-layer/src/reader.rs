//! Reading the presentation language of TLS as MLS uses it (RFC 9420 section 2.1) without taking anything out
//! of the bytes: what openmls decodes is looked at first, so that a stranger's bytes cost no more than a walk
//! over their lengths.

/// What is left to read. `None` from any method: the bytes are malformed.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    #[cfg(test)]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// `opaque vector<V>` (section 2.1.2): its content. Only the shortest form of the length passes.
    pub(crate) fn vector(&mut self) -> Option<&'a [u8]> {
        let first = self.u8()?;
        let low = usize::from(first & 0x3f);
        let (len, least) = match first >> 6 {
            0 => (low, 0),
            1 => (low << 8 | usize::from(self.u8()?), 1 << 6),
            2 => {
                let [a, b, c] = self.array()?;
                let rest = u32::from_be_bytes([0, a, b, c]);
                (low << 24 | usize::try_from(rest).ok()?, 1 << 14)
            }
            _ => return None,
        };
        if len < least {
            return None;
        }
        let (content, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(content)
    }

    /// A vector of at most `max` bytes.
    pub(crate) fn vector_within(&mut self, max: usize) -> Option<&'a [u8]> {
        self.vector().filter(|content| content.len() <= max)
    }

    /// A vector of elements, each of which `element` reads, at most `max` of them. Gives how many.
    pub(crate) fn elements(
        &mut self,
        max: usize,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<usize> {
        let mut content = Self(self.vector()?);
        let mut count = 0;
        while !content.is_empty() {
            if count == max {
                return None;
            }
            element(&mut content)?;
            count += 1;
        }
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _, VLBytes};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn vectors_are_read_as_the_library_reads_them(
            front in prop::collection::vec(any::<u8>(), 0..6),
            len in 0usize..20_000,
        ) {
            let mut bytes = front;
            bytes.resize(bytes.len() + len, 7);
            let library = VLBytes::tls_deserialize_bytes(&bytes)
                .ok()
                // It takes lengths of eight bytes or in a longer form, and this layer takes none.
                .filter(|(vector, rest)| {
                    vector.tls_serialize_detached().unwrap().len() + rest.len() == bytes.len()
                        && bytes[0] >> 6 != 3
                })
                .map(|(vector, rest)| (Vec::from(vector), rest.to_vec()));
            let mut reader = Reader::new(&bytes);
            let read = reader.vector().map(|content| (content.to_vec(), reader.0.to_vec()));
            prop_assert_eq!(read, library);
        }

        #[test]
        fn what_is_written_is_read(len in prop_oneof![0usize..200, 16_300usize..16_400]) {
            let bytes = VLBytes::new(vec![3; len]).tls_serialize_detached().unwrap();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.vector(), Some(&vec![3; len][..]));
            prop_assert_eq!(reader.end(), Some(()));
            prop_assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).vector().is_some(), false);
        }
    }

    #[test]
    fn elements_are_counted_before_there_are_too_many() {
        let bytes = [6, 0, 1, 0, 2, 0, 3];
        let count = |max| Reader::new(&bytes).elements(max, |element| element.u16().map(drop));
        assert_eq!((count(3), count(2)), (Some(3), None));
        // Half an element.
        let odd = [3, 0, 1, 0];
        assert_eq!(Reader::new(&odd).elements(9, |element| element.u16().map(drop)), None);
    }
}
