//! Chunks in any order are the stream that is sealed and opened from the beginning.
#![allow(clippy::unwrap_used, reason = "a test")]

use cc_aes_layer::{
    AesError, AesKey, CHUNK_LEN, CHUNK_TAG_LEN, ChunkOpener, ChunkSealer, SEALED_CHUNK_LEN,
    STREAM_HEADER_LEN, decrypt_stream, encrypt_stream,
};
use cc_core::key_use;
use proptest::prelude::*;

/// The plaintext, sealed by chunks that are sealed in the order of their reverse.
fn seal_backwards(key: &AesKey, plaintext: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut sealer = ChunkSealer::new(key, b"ad", &mut stream).unwrap();
    let mut chunks: Vec<Vec<u8>> = plaintext.chunks(CHUNK_LEN).map(<[u8]>::to_vec).collect();
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let mut places: Vec<_> = (1..chunks.len()).map(|_| sealer.next_chunk().unwrap()).collect();
    places.push(sealer.last_chunk());
    for (place, chunk) in places.into_iter().zip(&mut chunks).rev() {
        chunk.extend([0; CHUNK_TAG_LEN]);
        place.seal(chunk).unwrap();
    }
    stream.extend(chunks.concat());
    stream
}

fn open_backwards(key: &AesKey, stream: &[u8]) -> Result<Vec<u8>, AesError> {
    let (header, body) = stream.split_first_chunk::<STREAM_HEADER_LEN>().unwrap();
    let opener = ChunkOpener::new(key, b"ad", header)?;
    let mut chunks: Vec<_> = body.chunks(SEALED_CHUNK_LEN).map(<[u8]>::to_vec).collect();
    let last = chunks.len() - 1;
    let mut plaintext = Vec::new();
    for (position, chunk) in chunks.iter_mut().enumerate().rev() {
        let opened = opener.open(position.try_into().unwrap(), position == last, chunk)?;
        plaintext.splice(0..0, opened.iter().copied());
    }
    Ok(plaintext)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_ways_make_and_open_the_same_stream(
        chunks in 0..3usize,
        more in prop_oneof![Just(0), Just(1), Just(CHUNK_LEN - 1), 0..CHUNK_LEN],
        seed in any::<u8>(),
    ) {
        let plaintext: Vec<u8> =
            (0..chunks * CHUNK_LEN + more).map(|i| (i % 251).to_le_bytes()[0] ^ seed).collect();
        let key = AesKey::generate().unwrap();
        let mut out = Vec::new();
        decrypt_stream(&key, b"ad", &seal_backwards(&key, &plaintext)[..], &mut out).unwrap();
        prop_assert_eq!(&out, &plaintext);
        let mut sealed = Vec::new();
        encrypt_stream(&key, b"ad", &plaintext[..], &mut sealed).unwrap();
        prop_assert_eq!(open_backwards(&key, &sealed).unwrap(), plaintext);
    }
}

#[test]
fn a_chunk_opens_only_in_its_place() {
    let key = AesKey::generate().unwrap();
    let sealed = seal_backwards(&key, &vec![7; 3 * CHUNK_LEN]);
    let (header, body) = sealed.split_first_chunk().unwrap();
    let opener = ChunkOpener::new(&key, b"ad", header).unwrap();
    for (of, chunk) in (0u32..).zip(body.chunks(SEALED_CHUNK_LEN)) {
        for position in 0..4 {
            for last in [false, true] {
                let opened = opener.open(position, last, &mut chunk.to_vec()).is_ok();
                assert_eq!(opened, position == of && last == (of == 2), "{of} {position} {last}");
            }
        }
    }
    for (key, associated_data) in [(&key, &b"ae"[..]), (&AesKey::generate().unwrap(), b"ad")] {
        let result = ChunkOpener::new(key, associated_data, header);
        assert_eq!(result.err(), Some(AesError::Rejected));
    }
    let mut changed = body[..SEALED_CHUNK_LEN].to_vec();
    changed[CHUNK_LEN] ^= 1;
    assert_eq!(opener.open(0, false, &mut changed).err(), Some(AesError::Rejected));
    // Nothing that was not authenticated is left.
    assert!(changed[..CHUNK_LEN].iter().all(|byte| *byte == 0));
}

#[test]
fn a_plaintext_has_one_length_of_stream() {
    let key = AesKey::generate().unwrap();
    let sealer = || ChunkSealer::new(&key, b"", &mut Vec::new()).unwrap();
    for len in [0, 1, CHUNK_TAG_LEN, SEALED_CHUNK_LEN - 1, SEALED_CHUNK_LEN + 1] {
        let place = sealer().next_chunk().unwrap();
        assert_eq!(place.seal(&mut vec![0; len]), Err(AesError::ChunkLength(len)));
    }
    for len in [0, CHUNK_TAG_LEN - 1, SEALED_CHUNK_LEN + 1] {
        assert_eq!(sealer().last_chunk().seal(&mut vec![0; len]), Err(AesError::ChunkLength(len)));
    }
    let mut second = sealer();
    let _ = second.next_chunk().unwrap();
    let result = second.last_chunk().seal(&mut [0; CHUNK_TAG_LEN]);
    assert_eq!(result, Err(AesError::ChunkLength(CHUNK_TAG_LEN)));
}

#[test]
fn no_nonce_is_used_twice() {
    key_use::start();
    seal_backwards(&AesKey::generate().unwrap(), &vec![7; 3 * CHUNK_LEN + 1]);
    let mut uses = key_use::take();
    assert_eq!(uses.len(), 4);
    uses.sort();
    uses.dedup();
    assert_eq!(uses.len(), 4);
}
