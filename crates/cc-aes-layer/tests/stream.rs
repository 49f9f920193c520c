//! Streams: what crosses, and every way to damage one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{self, Read, Write};

use cc_aes_layer::{
    AesError, AesKey, Argon2Params, CHUNK_LEN, MAX_STREAM_LEN, Password, StreamError, StreamOpener,
    StreamSealer, decrypt_stream, encrypt_stream,
};
use proptest::prelude::*;

const HEADER_LEN: usize = 66;
const SEALED_LEN: usize = CHUNK_LEN + 16;

fn keys() -> [AesKey; 2] {
    [AesKey::generate().unwrap(), AesKey::generate_128().unwrap()]
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect()
}

fn seal(key: &AesKey, plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = vec![];
    let length = encrypt_stream(key, b"ad", plaintext, &mut sealed).unwrap();
    assert_eq!(length, plaintext.len() as u64);
    sealed
}

fn open(key: &AesKey, sealed: &[u8]) -> Result<Vec<u8>, AesError> {
    let mut plaintext = vec![];
    match decrypt_stream(key, b"ad", sealed, &mut plaintext) {
        Ok(length) => assert_eq!(length, plaintext.len() as u64),
        Err(StreamError::Aes(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    }
    Ok(plaintext)
}

fn parts(sealed: &[u8]) -> Vec<&[u8]> {
    let (header, chunks) = sealed.split_at(HEADER_LEN);
    std::iter::once(header).chain(chunks.chunks(SEALED_LEN)).collect()
}

#[test]
fn lengths_around_the_chunk_boundaries() {
    for key in keys() {
        for chunks in 0..=3 {
            for length in [
                (chunks * CHUNK_LEN).saturating_sub(1),
                chunks * CHUNK_LEN,
                chunks * CHUNK_LEN + 1,
                chunks * CHUNK_LEN + 16,
            ] {
                let sealed = seal(&key, &text(length));
                let count = length.div_ceil(CHUNK_LEN).max(1);
                assert_eq!(sealed.len(), HEADER_LEN + length + 16 * count);
                assert_eq!(open(&key, &sealed).unwrap(), text(length));
            }
        }
    }
}

#[test]
fn passwords_seal_streams() {
    let cheap = || Password::new("p").unwrap().with_params(Argon2Params::LEAST);
    let mut sealed = vec![];
    encrypt_stream(&mut cheap(), b"", &text(100_000)[..], &mut sealed).unwrap();
    let mut plaintext = vec![];
    decrypt_stream(&mut cheap(), b"", &sealed[..], &mut plaintext).unwrap();
    assert_eq!(plaintext, text(100_000));

    let mut other = Password::new("q").unwrap();
    assert!(decrypt_stream(&mut other, b"", &sealed[..], io::sink()).is_err());
    assert!(decrypt_stream(&keys()[0], b"", &sealed[..], io::sink()).is_err());
    assert!(decrypt_stream(&mut cheap(), b"x", &sealed[..], io::sink()).is_err());
    // Parameters beyond the bounds.
    sealed[2 + 20] = 255;
    assert!(decrypt_stream(&mut cheap(), b"", &sealed[..], io::sink()).is_err());
}

#[test]
fn another_key_or_associated_data_opens_nothing() {
    for key in keys() {
        let sealed = seal(&key, b"text");
        for other in keys() {
            assert_eq!(open(&other, &sealed), Err(AesError::Rejected));
        }
        assert!(decrypt_stream(&key, b"ae", &sealed[..], io::sink()).is_err());
        assert!(decrypt_stream(&key, b"", &sealed[..], io::sink()).is_err());
        assert_eq!(open(&key, &sealed).unwrap(), b"text");
    }
}

#[test]
fn every_bit_and_every_byte_of_a_short_stream_counts() {
    for key in keys() {
        let sealed = seal(&key, b"text");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, &changed), Err(AesError::Rejected), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&key, &sealed[..length]), Err(AesError::Rejected), "{length} bytes");
        }
    }
}

#[test]
fn truncation_at_and_around_every_boundary() {
    let key = &keys()[0];
    for length in [2 * CHUNK_LEN, 2 * CHUNK_LEN + 100] {
        let sealed = seal(key, &text(length));
        let mut cuts = vec![0, 1, 2, sealed.len() - 1];
        for boundary in (HEADER_LEN..sealed.len()).step_by(SEALED_LEN) {
            cuts.extend([boundary - 1, boundary, boundary + 1, boundary + 15, boundary + 16]);
            cuts.extend([boundary + 17, boundary + 100]);
        }
        for cut in cuts.into_iter().filter(|cut| *cut < sealed.len()) {
            assert_eq!(open(key, &sealed[..cut]), Err(AesError::Rejected), "{cut} bytes");
        }
    }
}

#[test]
fn chunks_stay_in_their_place_and_stream() {
    let key = &keys()[0];
    let plaintext = text(3 * CHUNK_LEN + 5);
    let (a, b) = (seal(key, &plaintext), seal(key, &plaintext));
    let (a, b) = (parts(&a), parts(&b));
    let good = [0, 1, 2, 3, 4];
    assert_eq!(open(key, &good.map(|i| a[i]).concat()).unwrap(), plaintext);

    let reordered: &[&[usize]] = &[
        &[0, 2, 1, 3, 4],
        &[0, 1, 3, 2, 4],
        &[0, 3, 2, 1, 4],
        &[0, 4, 1, 2, 3],
        &[0, 2, 3, 4],
        &[0, 1, 3, 4],
        &[0, 1, 2, 4],
        &[0, 1, 2, 3],
        &[0, 4],
        &[0, 1, 1, 2, 3, 4],
        &[0, 1, 2, 3, 3, 4],
        &[0, 1, 2, 3, 4, 4],
        &[0, 0, 1, 2, 3, 4],
        &[1, 2, 3, 4],
    ];
    for order in reordered {
        let sealed = order.iter().map(|i| a[*i]).collect::<Vec<_>>().concat();
        assert_eq!(open(key, &sealed), Err(AesError::Rejected), "{order:?}");
    }
    for i in 0..good.len() {
        let mut spliced = a.clone();
        spliced[i] = b[i];
        assert_eq!(open(key, &spliced.concat()), Err(AesError::Rejected), "part {i}");
    }
    for trailing in [&b"x"[..], &[0; 16], &[0; SEALED_LEN], a[0], &a.concat()] {
        let sealed = [&a.concat(), trailing].concat();
        assert_eq!(open(key, &sealed), Err(AesError::Rejected));
    }
}

/// A chunk that does not verify gives out nothing, and the ones before it are genuine.
#[test]
fn only_authentic_bytes_come_out() {
    let key = &keys()[0];
    let plaintext = text(3 * CHUNK_LEN);
    let mut sealed = seal(key, &plaintext);
    sealed[HEADER_LEN + SEALED_LEN + 10] ^= 1;
    let mut opener = StreamOpener::new(key, b"ad");
    let mut out = vec![];
    assert_eq!(opener.push(&sealed, &mut out), Err(AesError::Rejected));
    assert_eq!(out, &plaintext[..CHUNK_LEN]);
    // And then it stays shut.
    assert_eq!(opener.push(&sealed, &mut out), Err(AesError::Rejected));
    assert_eq!(out.len(), CHUNK_LEN);
    assert_eq!(opener.finish(&mut out), Err(AesError::Rejected));
    assert_eq!(out.len(), CHUNK_LEN);
}

#[test]
fn a_stream_that_is_not_finished_does_not_open() {
    let key = &keys()[0];
    let mut sealed = vec![];
    let mut sealer = StreamSealer::new(key, b"ad", &mut sealed).unwrap();
    sealer.push(&text(3 * CHUNK_LEN), &mut sealed).unwrap();
    drop(sealer);
    assert_eq!(open(key, &sealed), Err(AesError::Rejected));
}

#[test]
fn ten_gigabytes_fit() {
    assert_eq!(MAX_STREAM_LEN, 1 << 48);
    let ten = 10_000_000_000u64;
    assert!(ten.div_ceil(CHUNK_LEN as u64) < u64::from(u32::MAX));
    assert!(ten < MAX_STREAM_LEN);
}

/// Gives a byte or a few at a time, is interrupted, and fails where it is told to.
struct Trickle<'a> {
    bytes: &'a [u8],
    calls: usize,
    fails: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.bytes.is_empty() && self.fails {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = (self.calls * 37 % 5000 + 1).min(out.len()).min(self.bytes.len());
        out[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn readers_and_writers_of_all_kinds() {
    let key = &keys()[0];
    let plaintext = text(200_000);
    let trickle = |bytes, fails| Trickle { bytes, calls: 0, fails };
    let mut sealed = vec![];
    encrypt_stream(key, b"", trickle(&plaintext, false), &mut sealed).unwrap();
    let mut opened = vec![];
    decrypt_stream(key, b"", trickle(&sealed, false), &mut opened).unwrap();
    assert_eq!(opened, plaintext);

    let failures = [
        encrypt_stream(key, b"", trickle(&plaintext, true), io::sink()),
        decrypt_stream(key, b"", trickle(&sealed, true), io::sink()),
        encrypt_stream(key, b"", &plaintext[..], Full),
        decrypt_stream(key, b"", &sealed[..], Full),
    ];
    for failure in failures {
        assert!(matches!(failure, Err(StreamError::Io(_))), "{failure:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the bytes are cut into pieces, they cross.
    #[test]
    fn any_pieces_cross(
        chunks in 0usize..3,
        around in -20isize..20,
        pieces in proptest::collection::vec(1usize..100_000, 1..8),
    ) {
        let key = &keys()[1];
        let plaintext = text((chunks * CHUNK_LEN).saturating_add_signed(around));
        let mut sizes = pieces.iter().copied().cycle();
        let mut sealed = vec![];
        let mut sealer = StreamSealer::new(key, b"ad", &mut sealed).unwrap();
        let mut rest = &plaintext[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            sealer.push(piece, &mut sealed).unwrap();
            rest = left;
        }
        sealer.finish(&mut sealed).unwrap();

        let mut opened = vec![];
        let mut opener = StreamOpener::new(key, b"ad");
        let mut rest = &sealed[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            opener.push(piece, &mut opened).unwrap();
            opener.push(b"", &mut opened).unwrap();
            rest = left;
        }
        opener.finish(&mut opened).unwrap();
        prop_assert_eq!(opened, plaintext);
    }

    #[test]
    fn any_damage_is_noticed(
        length in 0usize..150_000,
        at in any::<prop::sample::Index>(),
        damage in 0u8..4,
        bit in 0u8..8,
    ) {
        let key = &keys()[0];
        let mut sealed = seal(key, &text(length));
        let at = at.index(sealed.len());
        match damage {
            0 => sealed[at] ^= 1 << bit,
            1 => sealed.truncate(at),
            2 => { sealed.remove(at); }
            _ => sealed.insert(at, bit),
        }
        prop_assert_eq!(open(key, &sealed), Err(AesError::Rejected));
    }

    #[test]
    fn any_bytes_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..300), mode in 0u8..5) {
        let key = &keys()[0];
        prop_assert_eq!(open(key, &bytes), Err(AesError::Rejected));
        prop_assert_eq!(open(key, &[&[1, mode], &bytes[..]].concat()), Err(AesError::Rejected));
    }
}
