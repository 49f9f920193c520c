//! What each layer of a file is worth by itself: an attacker has all that opens the other one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};

use cc_aes_layer::{Argon2Params, Password};
use cc_file::{Encryptor, FileError, Header, Identity, KeyKind, VERSION};

const TEXT: &[u8] = b"attack at dawn";
const KINDS: [KeyKind; 3] = [KeyKind::X25519, KeyKind::P256, KeyKind::XWing];

fn password(text: &str) -> Password {
    Password::new(text).unwrap().with_params(Argon2Params::new(19_456, 2, 1).unwrap())
}

fn encrypt(identity: &Identity, passphrase: Option<&str>) -> Vec<u8> {
    let mut encryptor = Encryptor::new().recipient(identity.recipient().clone());
    if let Some(passphrase) = passphrase {
        encryptor = encryptor.passphrase(password(passphrase));
    }
    let mut writer = encryptor.writer(Vec::new()).unwrap();
    writer.write_all(TEXT).unwrap();
    writer.finish().unwrap()
}

fn open(file: &[u8], identity: &Identity, passphrase: Option<&str>) -> Result<Vec<u8>, FileError> {
    let mut reader = file;
    let passphrase = passphrase.map(password);
    let key =
        Header::read(&mut reader)?.unlock(std::slice::from_ref(identity), passphrase.as_ref())?;
    let mut text = Vec::new();
    key.reader(reader)?.read_to_end(&mut text)?;
    Ok(text)
}

#[test]
fn whoever_lacks_one_layer_reads_nothing_and_makes_nothing_that_opens() {
    for kind in KINDS {
        let [owner, eve] = [(); 2].map(|()| Identity::generate(kind).unwrap());
        let file = encrypt(&owner, Some("correct horse"));
        // The control: with both it opens.
        assert_eq!(open(&file, &owner, Some("correct horse")).unwrap(), TEXT);
        // The secret key alone, with a guess and with none.
        let guess = open(&file, &owner, Some("wrong horse"));
        assert!(matches!(guess, Err(FileError::WrongPassphrase)), "{kind}");
        assert!(matches!(open(&file, &owner, None), Err(FileError::NeedsPassphrase)), "{kind}");
        // The passphrase alone.
        let other = open(&file, &eve, Some("correct horse"));
        assert!(matches!(other, Err(FileError::NoMatch)), "{kind}");
        // The header says that there is no second layer.
        let mut lighter = file.clone();
        lighter[10] = 1;
        assert!(open(&lighter, &owner, None).is_err(), "{kind}");
        // What somebody without the passphrase makes does not pass for a file under it.
        for passphrase in [None, Some("wrong horse")] {
            let forged = encrypt(&owner, passphrase);
            assert!(open(&forged, &owner, Some("correct horse")).is_err(), "{kind}");
        }
    }
}

#[test]
fn hybrid_texts_and_files_have_their_lengths() {
    let identity = Identity::generate(KeyKind::XWing).unwrap();
    assert!(identity.recipient().kind().is_post_quantum());
    let text = identity.recipient().to_string();
    assert_eq!(text.len(), 1963);
    let again: Identity = identity.to_text().unwrap().parse().unwrap();
    assert_eq!(again.recipient(), identity.recipient());
    let classical = Identity::generate(KeyKind::X25519).unwrap();
    let more = encrypt(&identity, None).len() - encrypt(&classical, None).len();
    assert_eq!(more, 1168 - 80);
}

/// A typing error is found in long texts as well.
#[test]
fn a_changed_character_of_a_hybrid_key_is_found() {
    let text = Identity::generate(KeyKind::XWing).unwrap().recipient().to_string();
    for at in (0..text.len()).step_by(13) {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(changed.parse::<cc_file::Recipient>().is_err(), "{at}");
    }
}

/// A reader that does not know the kind of any recipient that it could be says so.
#[test]
fn a_file_for_recipients_of_another_version_says_so() {
    let identity = Identity::generate(KeyKind::X25519).unwrap();
    let file = encrypt(&Identity::generate(KeyKind::XWing).unwrap(), None);
    // As a version sees it that does not know this kind: another number.
    let mut later = file.clone();
    assert_eq!(later[8..10], VERSION.to_be_bytes());
    later[13..15].copy_from_slice(&0x1234_u16.to_be_bytes());
    let error = open(&later, &identity, None).unwrap_err();
    assert!(matches!(error, FileError::NoKnownMatch));
    assert!(error.to_string().contains("this version of the program does not know"));
    assert!(matches!(open(&file, &identity, None), Err(FileError::NoMatch)));
    let text = "cascade1".parse::<cc_file::Recipient>().unwrap_err();
    assert!(matches!(text, FileError::KeyText(_)));
}
