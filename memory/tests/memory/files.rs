//! Files, to recipients and under a passphrase, as streams, from anywhere and on several threads.

use std::{
    io::{Cursor, Read as _, Write as _},
    num::NonZeroUsize,
};

use cc_aes_layer::{Argon2Params, Password};
use cc_core::Secret;
use cc_file::{Encryptor, Header, Identity, KeyKind, parse_identities};
use cc_memory::Log;

pub(crate) fn run(log: &Log) {
    let plaintext = vec![7; 200_000];
    for kind in [KeyKind::X25519, KeyKind::P256, KeyKind::XWing] {
        let identity = Identity::generate(kind).unwrap();
        let text = identity.to_text().unwrap();
        log.public(&identity.recipient().to_bytes());
        log.text("identity", text.trim());
        let identity = parse_identities(&text).unwrap().remove(0);
        let passphrase = Secret::<24>::random().unwrap();
        log.secret("passphrase", passphrase.expose());
        let password = || {
            let password = Password::new(passphrase.expose()).unwrap();
            password.with_params(Argon2Params::LEAST)
        };
        // Once, because Argon2id takes 19 MiB every time, all of which are searched.
        let is_both = kind == KeyKind::X25519;
        let mut encryptor = Encryptor::new().recipient(identity.recipient().clone());
        if is_both {
            encryptor = encryptor.passphrase(password());
        }
        let mut writer = encryptor.writer(Vec::new()).unwrap();
        writer.write_all(&plaintext).unwrap();
        let file = writer.finish().unwrap();
        let mut rest = &file[..];
        let header = Header::read(&mut rest).unwrap();
        let start = file.len() - rest.len();
        let password = is_both.then(password);
        let key = header.unlock(std::slice::from_ref(&identity), password.as_ref()).unwrap();
        let mut opened = Vec::new();
        key.reader(rest).unwrap().read_to_end(&mut opened).unwrap();
        assert_eq!(opened, plaintext);
        opened.clear();
        let threads = NonZeroUsize::new(2).unwrap();
        key.copy(rest, &mut opened, threads).unwrap();
        assert_eq!(opened, plaintext);
        let mut ranged = key.range_reader(Cursor::new(&file[start..])).unwrap();
        let mut part = [0; 100];
        ranged.read_exact(&mut part).unwrap();
        assert_eq!(part[..], plaintext[..100]);
        if !is_both {
            encryptor.copy(&plaintext[..], Vec::new(), threads).unwrap();
        }
    }
}
