//! Chunks of a value, by a Reed-Solomon code: any as many chunks as the value has pieces give the value back
//! (`Encode`, `Decoder` of the ML-KEM Braid specification).
//!
//! A value of `k` pieces of [`CHUNK_LEN`] bytes is, byte by byte, the polynomial of degree below `k` that has
//! the pieces at 0, 1, .. `k` - 1; a chunk is that polynomial at its index, one of 256 elements of GF(2^8). So
//! the first `k` chunks are the pieces themselves, and a transfer without loss computes nothing. It is the
//! systematic code of the crate `reed-solomon-erasure`, which the tests compare it with. That crate inverts a
//! matrix for every length it is used with, and `reed-solomon-simd` fills tables of 8 MiB and takes 0.6 ms
//! for a value of which a chunk was lost; interpolation takes microseconds and 768 bytes.
//!
//! The values are public (keys and ciphertexts), so nothing here needs to take constant time.

use alloc::{sync::Arc, vec::Vec};

/// The length of a chunk, in bytes.
pub(crate) const CHUNK_LEN: usize = 32;

/// One chunk of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) index: u8,
    pub(crate) data: [u8; CHUNK_LEN],
}

/// Gives chunk after chunk of one value; after 256 it begins anew.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    value: Arc<[u8]>,
    /// Of the pieces, for the chunks after them.
    divisors: Arc<[u8]>,
    next: u8,
}

impl Encoder {
    /// `value`: a whole number of pieces, 1 to 255.
    pub(super) fn new(value: Arc<[u8]>) -> Self {
        Self::at(value, 0)
    }

    /// An encoder whose next chunk has the index `next`.
    pub(super) fn at(value: Arc<[u8]>, next: u8) -> Self {
        let (pieces, _) = value.as_chunks::<CHUNK_LEN>();
        let places: Vec<u8> = (0..=u8::MAX).zip(pieces).map(|(place, _)| place).collect();
        let divisors = divisors(&places).collect();
        Self { value, divisors, next }
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    pub(super) fn next(&self) -> u8 {
        self.next
    }

    pub(super) fn next_chunk(&mut self) -> Chunk {
        let index = self.next;
        self.next = index.wrapping_add(1);
        let (pieces, _) = self.value.as_chunks();
        let data = match pieces.get(usize::from(index)) {
            Some(piece) => *piece,
            None => interpolate((0..=u8::MAX).zip(pieces).zip(&*self.divisors), index),
        };
        Chunk { index, data }
    }
}

/// Collects the chunks of a value of `pieces` pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoder {
    pieces: usize,
    /// In ascending order of index, fewer than `pieces`.
    chunks: Vec<Chunk>,
}

impl Decoder {
    /// For a value of `len` bytes, a whole number of pieces.
    pub(super) fn new(len: usize) -> Self {
        Self { pieces: len / CHUNK_LEN, chunks: Vec::new() }
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Keeps a chunk that does not complete the value. The second one of an index is ignored.
    pub(super) fn insert(&mut self, chunk: Chunk) {
        if let Err(place) = self.place(&chunk)
            && self.chunks.len() + 1 < self.pieces
        {
            self.chunks.insert(place, chunk);
        }
    }

    /// The value, if `chunk` completes it.
    pub(super) fn complete(&self, chunk: &Chunk) -> Option<Vec<u8>> {
        let place = self.place(chunk).err()?;
        if self.chunks.len() + 1 < self.pieces {
            return None;
        }
        let mut points: Vec<_> = self.chunks.iter().map(|c| (c.index, &c.data)).collect();
        points.insert(place, (chunk.index, &chunk.data));
        let places: Vec<u8> = points.iter().map(|(x, _)| *x).collect();
        let divisors: Vec<u8> = divisors(&places).collect();
        let mut value = Vec::with_capacity(self.pieces * CHUNK_LEN);
        for index in (0..=u8::MAX).take(self.pieces) {
            match points.binary_search_by_key(&index, |(x, _)| *x).ok().and_then(|i| points.get(i))
            {
                Some((_, data)) => value.extend_from_slice(&data[..]),
                None => {
                    let points = points.iter().copied().zip(&divisors);
                    value.extend_from_slice(&interpolate(points, index));
                }
            }
        }
        Some(value)
    }

    fn place(&self, chunk: &Chunk) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&chunk.index, |c| c.index)
    }
}

/// For each of these places, which differ, the logarithm of the product of its differences from the others.
fn divisors(places: &[u8]) -> impl Iterator<Item = u8> {
    places.iter().map(|x| {
        // The logarithm of 0, which stands for the place itself, is 0 in the table.
        let sum: usize = places.iter().map(|other| log(x ^ other)).sum();
        u8::try_from(sum % 255).unwrap_or(u8::MAX)
    })
}

/// The polynomial through `points`, each with its [divisor](divisors), at `at`, which is none of them.
/// (Lagrange; the products of differences are sums of logarithms.)
fn interpolate<'p>(
    points: impl Iterator<Item = ((u8, &'p [u8; CHUNK_LEN]), &'p u8)> + Clone,
    at: u8,
) -> [u8; CHUNK_LEN] {
    let product: usize = points.clone().map(|((x, _), _)| log(at ^ x)).sum::<usize>() % 255;
    // The sum of weight times point. First the sums of the points whose weights have the same four low bits, and
    // the same four high ones; then of these sums, from the highest bit of the weights to the lowest, so that twice
    // the value so far is a doubling of 32 bytes at once.
    let (mut low, mut high) = ([[0; CHUNK_LEN]; 16], [[0; CHUNK_LEN]; 16]);
    for ((x, y), divisor) in points {
        let weight = EXP[(product + 510 - log(at ^ x) - usize::from(*divisor)) % 255];
        add(&mut low[usize::from(weight & 15)], y);
        add(&mut high[usize::from(weight >> 4)], y);
    }
    let mut value = [0; CHUNK_LEN];
    for sums in [&high, &low] {
        for bit in (0..4).rev() {
            double(&mut value);
            for (nibble, sum) in sums.iter().enumerate() {
                if (nibble >> bit) & 1 == 1 {
                    add(&mut value, sum);
                }
            }
        }
    }
    value
}

fn add(value: &mut [u8; CHUNK_LEN], addend: &[u8; CHUNK_LEN]) {
    value.iter_mut().zip(addend).for_each(|(byte, addend)| *byte ^= addend);
}

fn double(value: &mut [u8; CHUNK_LEN]) {
    for byte in value {
        *byte = (*byte << 1) ^ ((*byte >> 7).wrapping_neg() & 0x1d);
    }
}

fn log(a: u8) -> usize {
    usize::from(LOG[usize::from(a)])
}

/// Powers of 2 in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, and logarithms.
const TABLES: ([u8; 512], [u8; 256]) = {
    let (mut exp, mut log) = ([0; 512], [0; 256]);
    let (mut power, mut exponent) = (1_u8, 0_u8);
    while exponent < 255 {
        exp[exponent as usize] = power;
        exp[exponent as usize + 255] = power;
        log[power as usize] = exponent;
        power = (power << 1) ^ if power & 0x80 == 0 { 0 } else { 0x1d };
        exponent += 1;
    }
    (exp, log)
};
static EXP: [u8; 512] = TABLES.0;
static LOG: [u8; 256] = TABLES.1;

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::*;

    fn chunks(value: &[u8]) -> Vec<Chunk> {
        let mut encoder = Encoder::new(value.into());
        (0..256).map(|_| encoder.next_chunk()).collect()
    }

    fn decode(len: usize, chunks: &[Chunk]) -> Option<Vec<u8>> {
        let mut decoder = Decoder::new(len);
        for chunk in chunks {
            let value = decoder.complete(chunk);
            if value.is_some() {
                return value;
            }
            decoder.insert(*chunk);
        }
        None
    }

    #[test]
    fn the_chunks_are_the_shards_of_reed_solomon_erasure() {
        for pieces in [1, 3, 5, 30, 36, 255] {
            let value: Vec<u8> =
                (0..pieces * CHUNK_LEN).map(|n| u8::try_from(n * n % 251).unwrap()).collect();
            let code = ReedSolomon::new(pieces, 256 - pieces).unwrap();
            let mut shards: Vec<Vec<u8>> = value.chunks(CHUNK_LEN).map(Vec::from).collect();
            shards.resize(256, alloc::vec![0; CHUNK_LEN]);
            code.encode(&mut shards).unwrap();
            for (chunk, shard) in chunks(&value).iter().zip(&shards) {
                assert_eq!(chunk.data[..], shard[..], "{pieces} pieces, chunk {}", chunk.index);
            }
        }
    }

    #[test]
    fn after_256_chunks_it_begins_anew() {
        let mut encoder = Encoder::new(alloc::vec![7; 3 * CHUNK_LEN].into());
        let first = encoder.next_chunk();
        for _ in 1..256 {
            let _ = encoder.next_chunk();
        }
        assert_eq!(encoder.next_chunk(), first);
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_second_chunk_of_an_index_is_ignored() {
        let value: Vec<u8> = (0..96).collect();
        let all = chunks(&value);
        let mut decoder = Decoder::new(96);
        for _ in 0..3 {
            decoder.insert(all[9]);
        }
        let other = Chunk { data: [0; CHUNK_LEN], ..all[9] };
        assert!(decoder.complete(&other).is_none());
        all.iter().for_each(|chunk| decoder.insert(*chunk));
        assert_eq!(decoder.chunks().len(), 2);
        assert_eq!(decoder.complete(&all[200]), Some(value));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_large_enough_subset_in_any_order(
            (value, places) in (1..37_usize).prop_flat_map(|pieces| (
                prop::collection::vec(any::<u8>(), pieces * CHUNK_LEN),
                subsequence((0..256).collect::<Vec<usize>>(), pieces).prop_shuffle(),
            )),
        ) {
            let all = chunks(&value);
            let some: Vec<_> = places.iter().map(|place| all[*place]).collect();
            prop_assert_eq!(decode(value.len(), &some), Some(value.clone()));
            prop_assert_eq!(decode(value.len(), &some[1..]), None);
        }
    }
}
