//! The one buffer a message travels through the stack in.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use crate::random::{self, RandomError};

/// Bytes that grow at both ends.
///
/// A layer seals and opens in place: it puts its header in front with [`Buffer::prepend`] and its tag
/// behind with [`Buffer::append`], and takes them off again. As long as the headroom suffices nothing
/// is moved. The bytes are overwritten when the buffer grows and when it is dropped, for it held the
/// plaintext.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// The room in front that was asked for.
    front: usize,
    /// See [`Buffer::prepended`].
    prepended: usize,
    /// The room in front with which no random bytes would have been lost.
    for_random: usize,
    random: Random,
}

/// Random bytes that wait in the room in front, at its beginning.
#[derive(Clone, Copy, Default)]
struct Random {
    /// How many, of which nobody has one yet.
    waiting: usize,
    taken: usize,
    expected: usize,
}

/// Room in front and behind that suffices for a stack of plain AEAD layers.
const ROOM: usize = 256;

impl Buffer {
    /// A buffer that holds a copy of `content`, with room in front and behind.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        Self::with_room(content, ROOM, ROOM)
    }

    /// A buffer that holds a copy of `content`, with `front` and `back` bytes of room.
    #[must_use]
    pub fn with_room(content: &[u8], front: usize, back: usize) -> Self {
        let mut bytes = Vec::with_capacity(front + content.len() + back);
        bytes.resize(front, 0);
        bytes.extend_from_slice(content);
        Self { bytes, start: front, front, prepended: 0, for_random: 0, random: Random::default() }
    }

    /// The same buffer, whose layers will take so many [random bytes](Buffer::take_random) in all: one call of the
    /// system's generator gives as many of them as there is room in front.
    #[must_use]
    pub fn expecting_random(mut self, bytes: usize) -> Self {
        self.random.expected = bytes;
        self
    }

    /// `N` fresh random bytes that are no secret, for the nonce or salt of what is sealed in this buffer. They
    /// come from the system's generator, and are given once; those of one call are as independent of one another
    /// as those of several, so the nonces of a stack's layers may come from one.
    ///
    /// # Errors
    /// [`RandomError`] when the generator fails.
    pub fn take_random<const N: usize>(&mut self) -> Result<[u8; N], RandomError> {
        let expected = self.random.expected.saturating_sub(self.random.taken);
        self.random.taken += N;
        if self.random.waiting < N {
            let room = expected.min(self.start);
            if room <= N {
                return random::array();
            }
            self.random.waiting = 0;
            random::fill(self.bytes.get_mut(..room).ok_or(RandomError)?)?;
            self.random.waiting = room;
        }
        let waiting = self.bytes.get(..self.random.waiting);
        let taken = *waiting.and_then(<[u8]>::last_chunk).ok_or(RandomError)?;
        self.random.waiting -= N;
        Ok(taken)
    }

    /// How many random bytes were [taken](Buffer::take_random).
    #[must_use]
    pub fn taken_random(&self) -> usize {
        self.random.taken
    }

    /// Bytes that were put in front and not taken off again, since the buffer was made or its content
    /// replaced.
    #[must_use]
    pub fn prepended(&self) -> usize {
        self.prepended
    }

    /// The room in front with which nothing would have had to move, and no random bytes would have been lost.
    #[must_use]
    pub fn room_taken(&self) -> usize {
        self.prepended.max(self.for_random)
    }

    /// The content.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The content, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    /// Bytes of content.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether there is no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `header` in front of the content.
    pub fn prepend(&mut self, header: &[u8]) {
        if self.start < header.len() {
            let room = header.len() + ROOM;
            let mut grown = Self::with_room(&[], room, self.len() + ROOM);
            grown.bytes.extend_from_slice(self.as_slice());
            self.take_over(grown);
        }
        self.start -= header.len();
        self.prepended += header.len();
        if self.random.waiting > 0 {
            self.for_random = self.for_random.max(self.prepended + self.random.waiting);
        }
        self.random.waiting = self.random.waiting.min(self.start);
        if let Some(front) = self.bytes.get_mut(self.start..self.start + header.len()) {
            front.copy_from_slice(header);
        }
    }

    /// Puts `trailer` behind the content.
    pub fn append(&mut self, trailer: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < trailer.len() {
            // Not left to `Vec`: its old block would keep the content.
            let room = self.len().max(ROOM);
            let mut grown = Self::with_room(&[], self.start, self.len() + trailer.len() + room);
            grown.bytes.extend_from_slice(self.as_slice());
            self.take_over(grown);
        }
        self.bytes.extend_from_slice(trailer);
    }

    /// Takes `N` bytes off the front, or leaves the content as it is and gives `None` where there are
    /// fewer.
    pub fn take_front<const N: usize>(&mut self) -> Option<[u8; N]> {
        let front = *self.as_slice().first_chunk::<N>()?;
        self.skip(N);
        Some(front)
    }

    /// Takes `N` bytes off the end, or leaves the content as it is and gives `None` where there are
    /// fewer.
    pub fn take_back<const N: usize>(&mut self) -> Option<[u8; N]> {
        let back = *self.as_slice().last_chunk::<N>()?;
        self.bytes.truncate(self.bytes.len() - N);
        Some(back)
    }

    /// Takes `count` bytes off the front; `false`, with the content as it was, where there are fewer.
    #[must_use]
    pub fn drop_front(&mut self, count: usize) -> bool {
        let enough = count <= self.len();
        if enough {
            self.skip(count);
        }
        enough
    }

    /// The content as a vector of its own: the same allocation, in which the content is moved to the
    /// front unless it is there already. Nobody overwrites it any more.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        let mut bytes = core::mem::take(&mut self.bytes);
        if self.start > 0 {
            let len = bytes.len() - self.start;
            bytes.copy_within(self.start.., 0);
            if let Some(rest) = bytes.get_mut(len..) {
                rest.zeroize();
            }
            bytes.truncate(len);
        }
        self.start = 0;
        bytes
    }

    /// Replaces the content, for a layer whose library cannot work in place. As much room is in front as the buffer was
    /// made with, where its allocation has it, and the rest behind.
    pub fn replace(&mut self, content: &[u8]) {
        self.prepended = 0;
        let Some(spare) = self.bytes.capacity().checked_sub(content.len()) else {
            self.take_over(Self::new(content));
            return;
        };
        let start = spare.min(self.front);
        let waiting = self.random.waiting.min(start);
        wipe_from(&mut self.bytes, waiting);
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(content);
        self.start = start;
        self.random.waiting = waiting;
    }

    /// `grown` has the same content, in a larger allocation.
    fn take_over(&mut self, mut grown: Self) {
        (grown.prepended, grown.for_random) = (self.prepended, self.for_random);
        grown.random = Random { waiting: 0, ..self.random };
        *self = grown;
    }

    fn skip(&mut self, count: usize) {
        self.start += count;
        self.prepended = self.prepended.saturating_sub(count);
    }
}

/// Overwrites all that was ever in it but the first bytes, so many, and leaves those in it. As `Vec::zeroize`, which takes a
/// step for every byte.
fn wipe_from(bytes: &mut Vec<u8>, first: usize) {
    if let Some(rest) = bytes.get_mut(first..) {
        rest.zeroize();
    }
    bytes.spare_capacity_mut().zeroize();
    bytes.truncate(first);
}

impl Drop for Buffer {
    fn drop(&mut self) {
        wipe_from(&mut self.bytes, 0);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes, ..)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A buffer is a byte string with two open ends, whatever its room.
        #[test]
        fn behaves_as_a_byte_string(
            content in proptest::collection::vec(any::<u8>(), 0..600),
            steps in proptest::collection::vec((0u8..5, proptest::collection::vec(any::<u8>(), 0..400)), 0..20),
        ) {
            let mut buffer = Buffer::with_room(&content, 8, 8);
            let mut model = content;
            for (step, bytes) in steps {
                match step {
                    0 => { buffer.prepend(&bytes); model.splice(0..0, bytes); }
                    1 => { buffer.append(&bytes); model.extend(bytes); }
                    2 => {
                        let expected = (model.len() >= 7).then(|| model.drain(..7).collect::<Vec<_>>());
                        prop_assert_eq!(buffer.take_front::<7>().map(|b| b.to_vec()), expected);
                    }
                    3 => {
                        let expected = (model.len() >= 7).then(|| model.split_off(model.len() - 7));
                        prop_assert_eq!(buffer.take_back::<7>().map(|b| b.to_vec()), expected);
                    }
                    _ => { buffer.replace(&bytes); model = bytes; }
                }
                prop_assert_eq!(buffer.as_slice(), &model[..]);
            }
            prop_assert_eq!(buffer.into_vec(), model);
        }
    }

    #[test]
    fn plain_headers_and_tags_move_nothing() {
        let mut buffer = Buffer::new(&vec![1; 1000]);
        let before = buffer.as_slice().as_ptr();
        for _ in 0..6 {
            buffer.prepend(&[0; 24]);
            buffer.append(&[0; 16]);
        }
        assert_eq!(before, buffer.as_slice().get(6 * 24..).unwrap().as_ptr());
    }

    #[test]
    fn with_the_room_that_was_prepended_a_vector_takes_no_move() {
        let content = [7; 100];
        let mut buffer = Buffer::with_room(&content, 3, 0);
        buffer.prepend(&[1; 40]);
        buffer.prepend(&[2; 30]);
        buffer.append(&[3; 16]);
        assert!(buffer.drop_front(10));
        assert_eq!(buffer.prepended(), 60);
        let mut fitting = Buffer::with_room(&content, buffer.room_taken(), 16);
        let before = fitting.as_slice().as_ptr();
        fitting.prepend(&[1; 40]);
        fitting.prepend(&[2; 20]);
        fitting.append(&[3; 16]);
        let bytes = fitting.into_vec();
        assert_eq!(bytes, buffer.as_slice());
        assert_eq!(bytes[60..].as_ptr(), before);
        assert_eq!(bytes.capacity(), bytes.len());
        // Below what there was at first, nothing is counted.
        assert!(buffer.drop_front(100));
        assert_eq!(buffer.prepended(), 0);
        buffer.replace(&content);
        buffer.prepend(b"x");
        assert_eq!(buffer.prepended(), 1);
    }

    /// Whatever is expected, and whatever happens between: nothing random is given twice, and none of it that is
    /// not put in front gets into the content.
    #[test]
    fn random_bytes_are_given_once() {
        let mut seen = alloc::collections::BTreeSet::new();
        for expected in [0, 1, 24, 40, 48, 72, 100, 500] {
            for front in [0, 24, 60, 72, 300] {
                let mut buffer = Buffer::with_room(b"text", front, 16).expecting_random(expected);
                let mut model = b"text".to_vec();
                for step in 0..6 {
                    let nonce: [u8; 24] = buffer.take_random().unwrap();
                    let salt: [u8; 16] = buffer.take_random().unwrap();
                    assert!(seen.insert(nonce.to_vec()) && seen.insert(salt.to_vec()));
                    assert!(nonce != [0; 24] && salt != [0; 16]);
                    if step == 3 {
                        model = vec![9; 2000];
                        buffer.replace(&model);
                    }
                    model.splice(0..0, nonce);
                    buffer.prepend(&nonce);
                    buffer.append(&salt);
                    model.extend(salt);
                    assert_eq!(buffer.as_slice(), model);
                }
                assert_eq!(buffer.taken_random(), 6 * 40);
                assert_eq!(buffer.into_vec(), model);
            }
        }
    }

    /// As layers do between which one has to replace the content.
    #[test]
    fn a_replaced_content_takes_no_other_allocation_and_no_other_call_of_the_generator() {
        let mut buffer = Buffer::with_room(&[7; 100], 66, 200).expecting_random(60);
        let block = buffer.bytes.as_ptr();
        let salt: [u8; 32] = buffer.take_random().unwrap();
        buffer.prepend(&salt);
        let guard: [u8; 4] = buffer.take_random().unwrap();
        assert_eq!(buffer.random.waiting, 24);
        let waiting = buffer.bytes[..24].to_vec();
        let content = vec![9; 100 + 200 - 16];
        buffer.replace(&content);
        assert_eq!((buffer.as_slice(), buffer.start), (&content[..], 66));
        assert_eq!(buffer.random.waiting, 24);
        // Nothing is left of what was there.
        assert_eq!(buffer.bytes[24..66], [0; 42]);
        let nonce: [u8; 24] = buffer.take_random().unwrap();
        assert_eq!(waiting, nonce);
        assert!(nonce != [0; 24] && !nonce.starts_with(&guard));
        buffer.prepend(&nonce);
        buffer.append(&[1; 16]);
        buffer.prepend(&[2; 42]);
        assert_eq!(buffer.prepended(), 66);
        let bytes = buffer.into_vec();
        assert_eq!((bytes.as_ptr(), bytes.len(), bytes.capacity()), (block, 366, 366));
    }

    /// A layer may put more in front than its random bytes: there has to be room for those that wait as well.
    #[test]
    fn random_bytes_find_room_beside_what_is_put_in_front() {
        let mut room = 66;
        for (expected, waiting) in [(0, 0), (60, 22), (60, 24)] {
            let mut buffer = Buffer::with_room(b"text", room, 300).expecting_random(expected);
            let salt: [u8; 32] = buffer.take_random().unwrap();
            buffer.prepend(&salt);
            buffer.prepend(&[0; 8]);
            let _: [u8; 4] = buffer.take_random().unwrap();
            assert_eq!(buffer.random.waiting, waiting);
            buffer.replace(&[0; 100]);
            let nonce: [u8; 24] = buffer.take_random().unwrap();
            buffer.prepend(&nonce);
            buffer.prepend(&[0; 42]);
            assert_eq!((buffer.prepended(), buffer.taken_random()), (66, 60));
            room = buffer.room_taken();
        }
        assert_eq!(room, 68);
    }

    #[test]
    fn one_call_of_the_generator_serves_all_layers() {
        let mut buffer = Buffer::with_room(b"text", 72, 0).expecting_random(72);
        let first: [u8; 24] = buffer.take_random().unwrap();
        assert_eq!(buffer.random.waiting, 48);
        buffer.prepend(&first);
        let second: [u8; 24] = buffer.take_random().unwrap();
        assert_eq!(buffer.random.waiting, 24);
        buffer.prepend(&second);
        let _: [u8; 24] = buffer.take_random().unwrap();
        assert_eq!(buffer.random.waiting, 0);
    }
}
