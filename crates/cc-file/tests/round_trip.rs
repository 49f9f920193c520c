//! What is encrypted is decrypted, in every way there is to do either.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::{
    collections::HashSet,
    io::{Cursor, Read, Seek, SeekFrom, Write},
    num::NonZeroUsize,
};

use cc_core::key_use;
use cc_file::{
    ArmorReader, ArmorWriter, Encryptor, FileError, Header, Identity, KeyKind, Layers,
    MaybeArmored, plaintext_len,
};
use common::{
    CHUNK_LEN, decrypt, encrypt, encrypt_to, header_len, identity, passphrase, plaintext,
};
use proptest::prelude::*;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn lengths() -> impl Strategy<Value = usize> {
    let chunks = prop_oneof![0..4usize, 7..10usize, 15..18usize];
    let more = prop_oneof![Just(0), Just(1), Just(CHUNK_LEN - 1), 0..CHUNK_LEN];
    (chunks, more).prop_map(|(chunks, more)| chunks * CHUNK_LEN + more)
}

/// A reader that gives a few bytes at a time.
struct Trickle<R>(R, usize);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let len = bytes.len().min(self.1);
        self.0.read(&mut bytes[..len])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_length_in_every_way(len in lengths(), piece in 1..100_000usize, n in 1..5usize) {
        let identity = identity();
        let content = plaintext(len);
        let encryptor = Encryptor::new().recipient(identity.recipient().clone());

        let mut written = encryptor.writer(Vec::new()).unwrap();
        content.chunks(piece).for_each(|piece| written.write_all(piece).unwrap());
        let written = written.finish().unwrap();
        let mut copied = Vec::new();
        let reader = Trickle(&content[..], piece);
        prop_assert_eq!(encryptor.copy(reader, &mut copied, threads(n)).unwrap(), len as u64);

        for file in [&written, &copied] {
            let mut rest = &file[..];
            let key = Header::read(&mut rest).unwrap().unlock(&[duplicate(&identity)], None).unwrap();
            prop_assert_eq!(plaintext_len(rest.len() as u64), Some(len as u64));
            let mut out = Vec::new();
            key.reader(rest).unwrap().read_to_end(&mut out).unwrap();
            prop_assert!(out == content);
            let mut out = Vec::new();
            let reader = Trickle(rest, piece);
            prop_assert_eq!(key.copy(reader, &mut out, threads(n)).unwrap(), len as u64);
            prop_assert!(out == content);
        }
    }

    #[test]
    fn any_range(len in lengths(), ranges in prop::collection::vec((any::<prop::sample::Index>(), 0..200_000usize), 1..6)) {
        let identity = identity();
        let content = plaintext(len);
        let mut file = Cursor::new(encrypt_to(&identity, &content));
        let key = Header::read(&mut file).unwrap().unlock(&[identity], None).unwrap();
        let mut reader = key.range_reader(file).unwrap();
        prop_assert_eq!(reader.plaintext_len(), len as u64);
        for (start, count) in ranges {
            let start = start.index(len + 1);
            let end = len.min(start + count);
            reader.seek(SeekFrom::Start(start as u64)).unwrap();
            let mut out = Vec::new();
            reader.by_ref().take(count as u64).read_to_end(&mut out).unwrap();
            prop_assert!(out == content[start..end]);
        }
        prop_assert_eq!(reader.seek(SeekFrom::End(9)).unwrap(), len as u64 + 9);
        prop_assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        prop_assert!(reader.seek(SeekFrom::End(-1 - len as i64)).is_err());
    }

    #[test]
    fn any_armour(content in prop::collection::vec(any::<u8>(), 0..1000), piece in 1..200usize, crlf: bool) {
        let mut writer = ArmorWriter::new(Vec::new()).unwrap();
        content.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        let mut text = writer.finish().unwrap();
        prop_assert!(text.is_ascii());
        if crlf {
            text = String::from_utf8(text).unwrap().replace('\n', "\r\n").into_bytes();
        }
        let mut out = Vec::new();
        Trickle(ArmorReader::new(&text[..]), piece).read_to_end(&mut out).unwrap();
        prop_assert_eq!(&out, &content);
        let armored = matches!(MaybeArmored::new(&text[..]).unwrap(), MaybeArmored::Armored(_));
        prop_assert!(armored);
        // One text for one content.
        let mut again = ArmorWriter::new(Vec::new()).unwrap();
        again.write_all(&out).unwrap();
        let lf = text.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>();
        prop_assert_eq!(again.finish().unwrap(), lf);
    }
}

fn duplicate(identity: &Identity) -> Identity {
    identity.to_text().unwrap().parse().unwrap()
}

#[test]
fn any_one_recipient_opens() {
    let identities = [KeyKind::X25519, KeyKind::P256, KeyKind::X25519]
        .map(|kind| Identity::generate(kind).unwrap());
    let encryptor = identities.iter().fold(Encryptor::new(), |encryptor, identity| {
        encryptor.recipient(identity.recipient().clone())
    });
    let file = encrypt(&encryptor, b"content");
    let header = Header::read(&mut &file[..]).unwrap();
    assert_eq!(header.layers(), Layers::Recipients);
    let kinds: Vec<_> = header.recipients().collect();
    assert_eq!(kinds, [KeyKind::X25519, KeyKind::P256, KeyKind::X25519]);
    for identity in identities {
        let (out, result) = decrypt(&file, &[self::identity(), identity], None);
        result.unwrap();
        assert_eq!(out, b"content");
    }
    let (out, result) = decrypt(&file, &[identity()], None);
    assert!(matches!(result, Err(FileError::NoMatch)) && out.is_empty());
}

/// Who knows all public keys cannot tell whom a file is for: nothing of a key is in it, files for one have no more in
/// common than files for two, and their lengths are the same.
#[test]
fn recipients_do_not_show() {
    for kind in [KeyKind::X25519, KeyKind::P256, KeyKind::XWing] {
        let people = [(); 2].map(|()| Identity::generate(kind).unwrap());
        let of = |person: usize| {
            // Each of them twice, and once, so that also within a file nothing tells who is there twice.
            let recipients = [person, person, 1 - person];
            let recipients = recipients.map(|one| people[one].recipient().clone());
            let file =
                encrypt(&recipients.into_iter().fold(Encryptor::new(), Encryptor::recipient), b"");
            file[..header_len(&file)].to_vec()
        };
        let headers = [of(0), of(0), of(1)];
        // Behind magic, version, layers and count, and in each stanza behind type and length.
        let bodies = |header: &[u8]| {
            let stanzas = &header[13..header.len() - 32];
            let stanzas: Vec<_> = stanzas.chunks(stanzas.len() / 3).map(<[u8]>::to_vec).collect();
            assert!(stanzas.iter().all(|stanza| stanza[..4] == header[13..17]));
            stanzas.into_iter().map(|stanza| stanza[4..].to_vec()).collect::<Vec<_>>()
        };
        let mut seen = HashSet::new();
        for header in &headers {
            assert_eq!((header.len(), &header[..17]), (headers[0].len(), &headers[0][..17]));
            let shown = format!("{:?}", Header::read(&mut &header[..]).unwrap());
            assert_eq!(shown, format!("{:?}", Header::read(&mut &headers[0][..]).unwrap()));
            for part in bodies(header).iter().flat_map(|body| body.windows(8)) {
                assert!(seen.insert(part.to_vec()), "{kind}: {part:?} is there twice");
            }
        }
        for person in &people {
            let key = person.recipient().to_bytes();
            for part in key.windows(8) {
                assert!(!seen.contains(part), "{kind}: {part:?} is of a key");
            }
        }
    }
}

#[test]
fn both_layers_are_needed_where_both_were_asked_for() {
    let [alice, bob] = [identity(), identity()];
    let encryptor =
        Encryptor::new().recipient(alice.recipient().clone()).passphrase(passphrase("correct"));
    let file = encrypt(&encryptor, b"content");
    let header = Header::read(&mut &file[..]).unwrap();
    assert_eq!(header.layers(), Layers::Both);
    let (right, wrong) = (passphrase("correct"), passphrase("horse"));
    let (alice, bob) = (&[alice], &[bob]);
    let refused = |identities: &[Identity], passphrase| {
        let (out, result) = decrypt(&file, identities, passphrase);
        assert!(out.is_empty());
        result.unwrap_err()
    };
    assert!(matches!(refused(alice, None), FileError::NeedsPassphrase));
    assert!(matches!(refused(&[], Some(&right)), FileError::NeedsIdentity));
    assert!(matches!(refused(alice, Some(&wrong)), FileError::WrongPassphrase));
    assert!(matches!(refused(bob, Some(&right)), FileError::NoMatch));
    let (out, result) = decrypt(&file, alice, Some(&right));
    result.unwrap();
    assert_eq!(out, b"content");
}

#[test]
fn what_is_demanded_is_not_less() {
    let identity = identity();
    let secret = passphrase("correct");
    let file = encrypt_to(&identity, b"content");
    let identities = &[identity];
    let (_, result) = decrypt(&file, identities, Some(&secret));
    assert!(matches!(result, Err(FileError::NoPassphrase)));
    let file = encrypt(&Encryptor::new().passphrase(passphrase("correct")), b"content");
    let (_, result) = decrypt(&file, identities, Some(&secret));
    assert!(matches!(result, Err(FileError::NoRecipients)));
    let (out, result) = decrypt(&file, &[], Some(&secret));
    result.unwrap();
    assert_eq!(out, b"content");
}

#[test]
fn nobody_and_too_many_are_refused() {
    let result = Encryptor::new().writer(Vec::new());
    assert!(matches!(result.err(), Some(FileError::NobodyToOpen)));
    let recipient = identity().recipient().clone();
    let encryptor =
        |count| (0..count).fold(Encryptor::new(), |all, _| all.recipient(recipient.clone()));
    let result = encryptor(256).writer(Vec::new());
    assert!(matches!(result.err(), Some(FileError::TooManyRecipients(256))));
    let most = encryptor(255).passphrase(passphrase("x"));
    let file = encrypt(&most, b"");
    assert_eq!(Header::read(&mut &file[..]).unwrap().recipients().count(), 255);
}

#[test]
fn every_file_has_keys_and_nonces_of_its_own() {
    key_use::start();
    let identity = identity();
    let encryptor = Encryptor::new()
        .recipient(identity.recipient().clone())
        .recipient(identity.recipient().clone())
        .passphrase(passphrase("correct"));
    let files = [(); 2].map(|()| encrypt(&encryptor, &plaintext(CHUNK_LEN + 1)));
    let mut uses = key_use::take();
    assert_eq!(uses.len(), 2 * (2 + 2));
    uses.sort();
    uses.dedup();
    assert_eq!(uses.len(), 2 * (2 + 2));
    assert_eq!(files[0].len(), files[1].len());
    assert_ne!(files[0][header_len(&files[0])..], files[1][header_len(&files[1])..]);
}

/// A writer that fails after some bytes, and a file that was not finished.
#[test]
fn a_file_that_was_not_finished_does_not_open() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let identity = identity();
    let encryptor = Encryptor::new().recipient(identity.recipient().clone());
    let mut writer = encryptor.writer(Full(100_000)).unwrap();
    let error = writer.write_all(&plaintext(200_000)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(writer.write_all(b"x").is_err());
    assert!(writer.finish().is_err());
    let result = encryptor.copy(&plaintext(5_000_000)[..], Full(1_000_000), threads(3));
    assert!(matches!(result, Err(FileError::Io(_))));

    let mut bytes = Vec::new();
    let mut writer = encryptor.writer(&mut bytes).unwrap();
    writer.write_all(&plaintext(3 * CHUNK_LEN)).unwrap();
    drop(writer);
    let (out, result) = decrypt(&bytes, &[identity], None);
    assert!(matches!(result, Err(FileError::Incomplete)));
    assert!(plaintext(3 * CHUNK_LEN).starts_with(&out));
}

/// Who tries again after an error is not told that this was all.
#[test]
fn a_reader_that_has_failed_goes_on_failing() {
    let identity = identity();
    let mut file = encrypt_to(&identity, &plaintext(CHUNK_LEN + 1));
    let last = file.len() - 1;
    file[last] ^= 1;
    let mut rest = &file[..];
    let key = Header::read(&mut rest).unwrap().unlock(&[identity], None).unwrap();
    let mut reader = key.reader(rest).unwrap();
    let mut out = Vec::new();
    for _ in 0..3 {
        assert!(reader.read_to_end(&mut out).is_err());
        assert_eq!(out.len(), CHUNK_LEN);
    }
}

#[test]
fn a_file_that_is_finished_is_flushed() {
    /// What was flushed, and what was not.
    #[derive(Default)]
    struct Buffered(Vec<u8>, Vec<u8>);
    impl Write for Buffered {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.append(&mut self.1);
            Ok(())
        }
    }
    let identity = identity();
    let encryptor = Encryptor::new().recipient(identity.recipient().clone());
    let mut writer = encryptor.writer(ArmorWriter::new(Buffered::default()).unwrap()).unwrap();
    writer.write_all(b"content").unwrap();
    let written = writer.finish().unwrap().finish().unwrap();
    assert!(!written.0.is_empty() && written.1.is_empty());
    let mut writer = encryptor.writer(Buffered::default()).unwrap();
    writer.write_all(b"content").unwrap();
    let Buffered(flushed, rest) = writer.finish().unwrap();
    assert!(rest.is_empty());
    let (out, result) = decrypt(&flushed, &[identity], None);
    result.unwrap();
    assert_eq!(out, b"content");
}

/// Writing nothing behind a full chunk does not make it one that another one follows.
#[test]
fn nothing_is_written_for_nothing() {
    let identity = identity();
    let encryptor = Encryptor::new().recipient(identity.recipient().clone());
    let content = plaintext(CHUNK_LEN);
    let mut writer = encryptor.writer(Vec::new()).unwrap();
    writer.write_all(&content).unwrap();
    assert_eq!(writer.write(b"").unwrap(), 0);
    let file = writer.finish().unwrap();
    let mut seekable = Cursor::new(&file);
    let header = Header::read(&mut seekable).unwrap();
    let key = header.unlock(&[identity], None).unwrap();
    let mut reader = key.range_reader(seekable).unwrap();
    assert_eq!(reader.plaintext_len(), content.len() as u64);
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert!(out == content);
    // And before its beginning is nowhere.
    assert!(reader.seek(SeekFrom::Start(3)).is_ok());
    assert!(reader.seek(SeekFrom::Current(-4)).is_err());
    assert!(reader.seek(SeekFrom::End(-(content.len() as i64) - 1)).is_err());
    assert_eq!(reader.stream_position().unwrap(), 3, "and it is where it was");
}

/// Equal passphrases do not show, and are not guessed for two files at once.
#[test]
fn every_file_has_a_salt_of_its_own() {
    let encryptor = Encryptor::new().passphrase(passphrase("correct"));
    let salts: HashSet<_> = (0..4).map(|_| encrypt(&encryptor, b"")[17..33].to_vec()).collect();
    assert_eq!(salts.len(), 4);
}
