//! The test vectors, which `cascade_file.py` made: an implementation that shares nothing with this one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::Read;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cc_aes_layer::Password;
use cc_core::kdf::hkdf;
use cc_file::{FileError, Header, Identity, MaybeArmored, Recipient};
use serde_json::Value;

#[test]
fn every_vector_does_what_it_must() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/files.json")).unwrap();
    assert_eq!(vectors.len(), 40);
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        let identities: Vec<Identity> =
            texts(&vector["identities"]).iter().map(|text| text.parse().unwrap()).collect();
        let recipients: Vec<Recipient> =
            texts(&vector["recipients"]).iter().map(|text| text.parse().unwrap()).collect();
        for (identity, (recipient, text)) in
            identities.iter().zip(recipients.iter().zip(texts(&vector["recipients"])))
        {
            assert_eq!(identity.recipient(), recipient, "{name}");
            assert_eq!(recipient.to_string(), text, "{name}");
        }
        let passphrase = vector["passphrase"].as_str().map(|text| Password::new(text).unwrap());
        let file = match (&vector["file_text"], &vector["file_base64"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, base64) => STANDARD.decode(base64.as_str().unwrap()).unwrap(),
        };
        let mut out = Vec::new();
        let result = open(&file, &identities, passphrase.as_ref(), &mut out);
        let expected = vector["expect"].as_str().unwrap();
        match result {
            Ok(()) => {
                assert_eq!(expected, "opens", "{name}");
                assert_eq!(out.len() as u64, vector["plaintext_len"], "{name}");
                let plaintext = (0..out.len()).map(|i| (i % 251).to_le_bytes()[0]);
                let right = out == b"attack at dawn" || out.iter().copied().eq(plaintext);
                assert!(right, "{name}");
            }
            Err(error) => assert_eq!(word(&error), expected, "{name}: {error}"),
        }
    }
}

fn open(
    file: &[u8],
    identities: &[Identity],
    passphrase: Option<&Password>,
    out: &mut Vec<u8>,
) -> Result<(), FileError> {
    let mut reader = MaybeArmored::new(file)?;
    let key = Header::read(&mut reader)?.unlock(identities, passphrase)?;
    key.reader(reader)?.read_to_end(out)?;
    Ok(())
}

/// As the vectors name it.
fn word(error: &FileError) -> &'static str {
    match error {
        FileError::NotAFile => "not a file",
        FileError::Version(_) | FileError::UnknownProtection => "newer",
        FileError::Header(_) => "header",
        FileError::Armor(_) => "armour",
        FileError::Incomplete => "incomplete",
        FileError::TrailingBytes => "trailing bytes",
        FileError::Changed | FileError::HeaderChanged => "changed",
        FileError::NeedsIdentity
        | FileError::NeedsPassphrase
        | FileError::NoRecipients
        | FileError::NoPassphrase
        | FileError::NoMatch
        | FileError::NoKnownMatch
        | FileError::WrongPassphrase => "no key",
        error => panic!("{error}"),
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The worked example of docs/file-format.md is the first vector.
#[test]
fn the_worked_example_is_the_first_vector() {
    let document = include_str!("../../../docs/file-format.md");
    let (_, example) = document.split_once("## Worked example").unwrap();
    let shown: String = example
        .split("```")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(bytes, _)| bytes))
        .flat_map(|bytes| bytes.chars().filter(char::is_ascii_hexdigit))
        .collect();
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/files.json")).unwrap();
    let file = STANDARD.decode(vectors[0]["file_base64"].as_str().unwrap()).unwrap();
    assert_eq!(shown, hex::encode(&file));
    assert!(example.contains(vectors[0]["identities"][0].as_str().unwrap()));
    // The derivation of the document, from the share that it shows.
    let share = example.split("Its share is").nth(1).unwrap();
    let share: String = share.chars().filter(char::is_ascii_hexdigit).take(64).collect();
    let root = hkdf::<32>(&[], &hex::decode(share).unwrap(), &[b"cascading-cipher/1 file", &[1]]);
    let mac =
        cc_core::kdf::hkdf_expand::<32>(&root, &[b"cascading-cipher/1 file header", &file[..97]]);
    assert_eq!(mac.expose(), &file[97..129]);
}
