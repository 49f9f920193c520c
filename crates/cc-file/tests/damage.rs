//! Somebody else has written to the file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::{
    io::{Cursor, Read, Seek, SeekFrom},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use cc_aes_layer::Argon2Params;
use cc_file::{ArmorReader, Encryptor, FileError, Header, Identity, MaybeArmored};
use common::{
    CHUNK_LEN, SEALED_LEN, decrypt, encrypt, encrypt_to, header_len, identity, passphrase,
    plaintext,
};
use proptest::prelude::*;

const STREAM_HEADER_LEN: usize = 66;

/// As often as this, Argon2id with 1 GiB and 16 passes would take several times as long as `NOT_RUN`, on any machine.
const TIMES: usize = 12;
const NOT_RUN: Duration = Duration::from_secs(30);

/// The same answer and the same bytes from every way to decrypt.
fn refused(file: &[u8], identity: &Identity, content: &[u8]) -> FileError {
    let identities = [identity.to_text().unwrap().parse().unwrap()];
    let (out, result) = decrypt(file, &identities, None);
    assert!(content.starts_with(&out), "only authentic bytes");
    assert_eq!(out.len() % CHUNK_LEN, 0);
    let error = result.unwrap_err();
    let mut rest = file;
    if let Ok(key) = Header::read(&mut rest).and_then(|header| header.unlock(&identities, None)) {
        let mut copied = Vec::new();
        let result = key.copy(rest, &mut copied, NonZeroUsize::new(3).unwrap());
        assert_eq!(result.unwrap_err().to_string(), error.to_string());
        assert!(copied == out);
        // From anywhere, the length is checked first, and every chunk that is read.
        let mut seekable = Cursor::new(file);
        Header::read(&mut seekable).unwrap();
        let mut out = Vec::new();
        let result = key.range_reader(seekable).and_then(|mut reader| {
            reader.read_to_end(&mut out)?;
            Ok(())
        });
        assert!(result.is_err() && content.starts_with(&out));
    }
    error
}

#[test]
fn every_bit_and_every_byte_of_a_short_file_counts() {
    let identity = identity();
    let content = b"content";
    let file = encrypt_to(&identity, content);
    for bit in 0..file.len() * 8 {
        let mut changed = file.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        refused(&changed, &identity, content);
    }
    for len in 0..file.len() {
        let error = refused(&file[..len], &identity, content);
        let chunk = header_len(&file) + STREAM_HEADER_LEN;
        match len {
            0..8 => assert!(matches!(error, FileError::NotAFile), "{len}: {error}"),
            _ if len < chunk + 16 => {
                assert!(matches!(error, FileError::Incomplete), "{len}: {error}")
            }
            // Inside of the last chunk, a cut is a change.
            _ => assert!(matches!(error, FileError::Changed), "{len}: {error}"),
        }
    }
    refused(&[&file[..], b"x"].concat(), &identity, content);
    refused(&[&file[..], &file[..]].concat(), &identity, content);
}

#[test]
fn cuts_and_joints_of_a_long_file_are_named() {
    let identity = identity();
    let content = plaintext(20 * CHUNK_LEN + 100);
    let file = encrypt_to(&identity, &content);
    let body = header_len(&file) + STREAM_HEADER_LEN;
    for chunks in 1..=20 {
        let error = refused(&file[..body + chunks * SEALED_LEN], &identity, &content);
        assert!(matches!(error, FileError::Incomplete), "{chunks}: {error}");
    }
    let error = refused(&file[..body], &identity, &content);
    assert!(matches!(error, FileError::Incomplete), "{error}");
    let error = refused(&file[..body + 5 * SEALED_LEN + 3], &identity, &content);
    assert!(matches!(error, FileError::Incomplete), "{error}");
    let error = refused(&file[..body + 5 * SEALED_LEN + 300], &identity, &content);
    assert!(matches!(error, FileError::Changed), "{error}");
    // A file that ends with a full chunk goes on.
    let whole = encrypt_to(&identity, &content[..2 * CHUNK_LEN]);
    for more in [1, 16, SEALED_LEN, 10 * SEALED_LEN] {
        let longer = [&whole[..], &vec![7; more]].concat();
        let error = refused(&longer, &identity, &content[..2 * CHUNK_LEN]);
        assert!(matches!(error, FileError::TrailingBytes), "{more}: {error}");
    }
}

#[test]
fn chunks_stay_in_their_place_and_their_file() {
    let identity = identity();
    let content = plaintext(4 * CHUNK_LEN);
    let [file, other] = [(); 2].map(|()| encrypt_to(&identity, &content));
    let body = header_len(&file) + STREAM_HEADER_LEN;
    let chunk = |number: usize| body + number * SEALED_LEN..body + (number + 1) * SEALED_LEN;
    for (from, to) in [(0, 1), (2, 1), (3, 0), (0, 3)] {
        let mut changed = file.clone();
        changed.copy_within(chunk(from), chunk(to).start);
        refused(&changed, &identity, &content);
    }
    let mut changed = file.clone();
    changed.drain(chunk(1));
    refused(&changed, &identity, &content);
    for number in 0..4 {
        let mut changed = file.clone();
        changed[chunk(number)].copy_from_slice(&other[chunk(number)]);
        refused(&changed, &identity, &content);
    }
    // The header of one file in front of the stream of another.
    let joined = [&file[..header_len(&file)], &other[header_len(&other)..]].concat();
    refused(&joined, &identity, &content);
}

#[test]
fn a_damaged_chunk_does_not_hide_the_others_from_who_seeks() {
    let identity = identity();
    let content = plaintext(4 * CHUNK_LEN);
    let mut file = encrypt_to(&identity, &content);
    let body = header_len(&file) + STREAM_HEADER_LEN;
    file[body + SEALED_LEN] ^= 1;
    let mut file = Cursor::new(file);
    let key = Header::read(&mut file).unwrap().unlock(&[identity], None).unwrap();
    let mut reader = key.range_reader(file).unwrap();
    let mut read = |at: usize| {
        let mut out = [0; 100];
        reader.seek(SeekFrom::Start(at as u64))?;
        reader.read_exact(&mut out).map(|()| out)
    };
    assert_eq!(read(2 * CHUNK_LEN).unwrap(), content[2 * CHUNK_LEN..][..100]);
    assert!(read(CHUNK_LEN).is_err());
    assert_eq!(read(0).unwrap(), content[..100]);
}

/// A reader that counts what is read.
struct Counting<R>(R, u64);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(bytes)?;
        self.1 += count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for Counting<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_range_does_not_read_what_is_before_it() {
    let identity = identity();
    let content = plaintext(200 * CHUNK_LEN);
    let mut file = Counting(Cursor::new(encrypt_to(&identity, &content)), 0);
    let key = Header::read(&mut file).unwrap().unlock(&[identity], None).unwrap();
    let mut reader = key.range_reader(&mut file).unwrap();
    reader.seek(SeekFrom::Start(150 * CHUNK_LEN as u64 - 5)).unwrap();
    let mut out = [0; 10];
    reader.read_exact(&mut out).unwrap();
    assert_eq!(out, content[150 * CHUNK_LEN - 5..][..10]);
    // The headers, the last chunk, and the two that the range is in.
    assert!(file.1 < 3 * SEALED_LEN as u64 + 500, "{}", file.1);
}

#[test]
fn recipients_are_not_swapped_and_layers_not_taken_away() {
    let [alice, eve] = [identity(), identity()];
    let content = b"content";
    let file = encrypt_to(&alice, content);
    // Eve's own stanza in the place of Alice's, or after it.
    let eves = encrypt_to(&eve, content);
    let (start, len) = (13, 84);
    let mut swapped = file.clone();
    swapped[start..start + len].copy_from_slice(&eves[start..start + len]);
    assert!(matches!(refused(&swapped, &eve, content), FileError::HeaderChanged));
    let mut added = file;
    added[12] = 2;
    added.splice(start + len..start + len, eves[start..start + len].iter().copied());
    assert!(matches!(refused(&added, &eve, content), FileError::HeaderChanged));
    assert!(matches!(refused(&added, &alice, content), FileError::HeaderChanged));

    // Both layers, without the passphrase.
    let both =
        Encryptor::new().recipient(alice.recipient().clone()).passphrase(passphrase("correct"));
    let mut stripped = encrypt(&both, content);
    stripped[10] = 1;
    stripped[12] = 1;
    stripped.drain(13..13 + 26);
    // Not even the share of the recipients is found, for it was wrapped for both layers.
    assert!(matches!(refused(&stripped, &alice, content), FileError::NoMatch));
}

#[test]
fn what_is_not_known_is_refused_or_skipped() {
    let identity = identity();
    let content = b"content";
    let file = encrypt_to(&identity, content);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let error = |file: &[u8]| Header::read(&mut &file[..]).unwrap_err();
    assert!(matches!(error(b"age-encryption.org/v1\n"), FileError::NotAFile));
    assert!(matches!(error(&with(4, b"\n\n")), FileError::NotAFile));
    assert!(matches!(error(&with(8, &[0, 2])), FileError::Version(2)));
    assert!(matches!(error(&with(8, &[0, 0])), FileError::Version(0)));
    assert!(matches!(error(&with(10, &[4])), FileError::UnknownProtection));
    assert!(matches!(error(&with(10, &[0])), FileError::UnknownProtection));
    assert!(matches!(error(&with(11, &[0, 0])), FileError::Header(_)));
    assert!(matches!(error(&with(11, &[1, 1])), FileError::Header(_)));
    assert!(matches!(error(&with(13, &[0xff, 0x00])), FileError::UnknownProtection));
    assert!(matches!(error(&with(13, &[0xff, 0xff])), FileError::UnknownProtection));
    assert!(matches!(error(&with(13, &[0xff, 0x01])), FileError::Header(_)));
    assert!(matches!(error(&with(10, &[3])), FileError::Header(_)));
    // A stanza of a KEM of the future in front: skipped on the way to ours, and then missed by the MAC.
    let mut future = with(12, &[2]);
    future.splice(13..13, [0x12, 0x34, 0x10, 0x00].into_iter().chain([7; 4096]));
    let header = Header::read(&mut &future[..]).unwrap();
    assert_eq!(header.recipients().count(), 2);
    assert_eq!(header.to_bytes(), future[..header.to_bytes().len()]);
    assert!(matches!(header.unlock(&[identity], None), Err(FileError::HeaderChanged)));
    future[15..17].copy_from_slice(&[0x10, 0x01]);
    assert!(matches!(error(&future), FileError::Header(_)), "a stanza over 4096 bytes");
}

/// Which stanzas there are follows from the layers: other ones are refused as they are read, whoever made them.
#[test]
fn stanzas_that_do_not_fit_the_layers_are_refused() {
    let recipient = [&[0, 0x20, 0, 80][..], &[7; 80]].concat();
    let unknown = vec![0x12, 0x34, 0, 0];
    let passphrase = [&[0xff, 0x01, 0, 22][..], &[7; 16], &[0, 0, 0x4c, 0, 2, 1]].concat();
    let (r, u, p) = (&recipient, &unknown, &passphrase);
    let read = |layers: u8, stanzas: &[&Vec<u8>]| {
        let mut file = [&cc_file::MAGIC[..], &cc_file::VERSION.to_be_bytes()].concat();
        file.push(layers);
        file.extend(u16::try_from(stanzas.len()).unwrap().to_be_bytes());
        stanzas.iter().for_each(|stanza| file.extend_from_slice(stanza));
        file.extend([0; 32]);
        Header::read(&mut &file[..]).map(drop)
    };
    for (layers, stanzas) in
        [(1, &[r][..]), (1, &[u]), (1, &[r, u, r]), (2, &[p]), (3, &[p, r]), (3, &[p, u, r])]
    {
        assert!(read(layers, stanzas).is_ok(), "{layers} {}", stanzas.len());
    }
    for (layers, stanzas) in [
        (1, &[p][..]),
        (1, &[p, r]),
        (1, &[r, p]),
        (2, &[r]),
        (2, &[u]),
        (2, &[p, r]),
        (2, &[p, u]),
        (2, &[p, p]),
        (3, &[r]),
        (3, &[p]),
        (3, &[r, p]),
        (3, &[p, p]),
        (3, &[p, r, p]),
        (3, &[p, p, r]),
    ] {
        let result = read(layers, stanzas);
        assert!(matches!(result, Err(FileError::Header(_))), "{layers} {}", stanzas.len());
    }
    assert!(read(1, &[u; 256]).is_ok());
    assert!(matches!(read(1, &[u; 257]), Err(FileError::Header(_))));
}

#[test]
fn argon2_is_bounded_before_it_runs() {
    let file = encrypt(&Encryptor::new().passphrase(passphrase("correct")), b"content");
    // Type and length (4), salt (16), then memory, passes, lanes.
    let with = |memory_kib: u32, passes: u8, lanes: u8| {
        let mut changed = file.clone();
        changed[33..37].copy_from_slice(&memory_kib.to_be_bytes());
        changed[37..39].copy_from_slice(&[passes, lanes]);
        changed
    };
    assert_eq!(with(19 << 10, 2, 1), file);
    for (memory, passes, lanes) in
        [(u32::MAX, 2, 1), (0, 2, 1), (19 << 10, 255, 1), (19 << 10, 0, 1), (19 << 10, 2, 17)]
    {
        let error = Header::read(&mut &with(memory, passes, lanes)[..]).unwrap_err();
        assert!(matches!(error, FileError::Header(_)), "{error}");
    }
    let start = Instant::now();
    for _ in 0..TIMES {
        let (_, result) = decrypt(&with(1 << 20, 16, 16), &[], Some(&passphrase("correct")));
        assert!(matches!(result, Err(FileError::Argon2Ceiling { .. })));
    }
    assert!(start.elapsed() < NOT_RUN, "nothing was run");
    // A file for somebody else's key, even where the cost is accepted, does not make us run it either.
    let willing = passphrase("x").accept_at_most(Argon2Params::MOST);
    let mut header = encrypt(&Encryptor::new().recipient(identity().recipient().clone()), b"");
    header[10] = 3;
    header[12] = 2;
    let mut stanza = vec![0xff, 0x01, 0, 22];
    stanza.extend([7; 16]);
    stanza.extend([0, 0x10, 0, 0, 16, 16]);
    header.splice(13..13, stanza);
    let start = Instant::now();
    for _ in 0..TIMES {
        let (_, result) = decrypt(&header, &[identity()], Some(&willing));
        assert!(matches!(result, Err(FileError::NoMatch)));
    }
    assert!(start.elapsed() < NOT_RUN, "nothing was run");
}

#[test]
fn armour_is_strict() {
    let line = "A".repeat(64);
    let begin = "-----BEGIN CASCADE FILE-----\n";
    let end = "-----END CASCADE FILE-----\n";
    let read = |text: &str| {
        let mut out = Vec::new();
        ArmorReader::new(text.as_bytes()).read_to_end(&mut out).map(|_| out)
    };
    assert_eq!(read(&format!("{begin}{line}\nAAAA\n{end}")).unwrap(), [0; 51]);
    assert_eq!(read(&format!("{begin}{line}\n{}", end.trim_end())).unwrap(), [0; 48]);
    assert_eq!(read(&format!("{begin}{line}\n{end}\r\n \t\n")).unwrap(), [0; 48]);
    for wrong in [
        String::new(),
        begin.into(),
        end.into(),
        format!("\n{begin}{line}\n{end}"),
        format!(" {begin}{line}\n{end}"),
        format!("{begin}{line}"),
        format!("{begin}{line}\n"),
        format!("{begin}{line}\n-----END CASCADE FILE----"),
        format!("{begin}\n{line}\n{end}"),
        format!("{begin}{line}\n\n{end}"),
        format!("{begin}AAAA\n{line}\n{end}"),
        format!("{begin}{line}A\n{end}"),
        format!("{begin}{}\n{end}", "A".repeat(68)),
        format!("{begin}{}\n{end}", "A".repeat(1 << 20)),
        format!("{begin}{}\nAAA\n{end}", &line[1..]),
        format!("{begin}AAA\n{end}"),
        format!("{begin}AB==\n{end}"),
        format!("{begin}AA==\nAAAA\n{end}"),
        format!("{begin}A A=\n{end}"),
        format!("{begin}AA=A\n{end}"),
        format!("{begin}A-_A\n{end}"),
        format!("{begin}{line} \n{end}"),
        format!("{begin}{line}\n{end}x"),
        format!("{begin}{line}\n{end}{}", " ".repeat(1025)),
        format!("{begin}{line}\n{end}{begin}{line}\n{end}"),
        format!("{begin}{begin}{line}\n{end}"),
    ] {
        assert!(read(&wrong).is_err(), "{wrong:?}");
    }
    // Who tries again after an error gets no more, also where the next line would be one.
    let text = format!("{begin}{line}\n!\n{line}\n{end}");
    let mut reader = ArmorReader::new(text.as_bytes());
    let mut out = Vec::new();
    for _ in 0..3 {
        assert!(reader.read_to_end(&mut out).is_err());
        assert_eq!(out.len(), 48);
    }
    // Of a line without end no more is read than a line may have.
    let text = format!("{begin}{}", "A".repeat(1 << 20));
    let mut rest = text.as_bytes();
    let result = ArmorReader::new(std::io::BufReader::with_capacity(64, &mut rest)).read(&mut [0]);
    assert!(result.is_err());
    assert!(text.len() - rest.len() < 1024, "{}", text.len() - rest.len());
    let text = format!("{begin}{line}\n{end}");
    for at in 0..text.len() - 1 {
        assert!(read(&text[..at]).is_err() || at == text.len() - 1, "{at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..200usize) {
        let identity = identity();
        refused(&bytes, &identity, b"");
        let mut out = Vec::new();
        let armored = MaybeArmored::new(&bytes[..]).unwrap().read_to_end(&mut out);
        prop_assert!(armored.is_err() || out == bytes);
        let file = encrypt_to(&identity, b"content");
        let joined = [&file[..cut], &bytes].concat();
        if joined != file {
            refused(&joined, &identity, b"content");
        }
    }
}
