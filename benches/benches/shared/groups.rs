//! The same group in this layer, in mls-rs and in openmls alone.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::time::{Duration, Instant};

use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, Group, MlsMessage,
    client_builder::{MlsConfig, PaddingMode},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::common::Peer;

pub(crate) const TEXT: [u8; 100] = [7; 100];

pub(crate) fn client(name: &str) -> Client<impl MlsConfig + use<>> {
    let crypto = RustCryptoProvider::default();
    let suite = crypto.cipher_suite_provider(CipherSuite::CURVE25519_AES128).unwrap();
    let (secret, public) = suite.signature_key_generate().unwrap();
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    let rules = DefaultMlsRules::new()
        .with_commit_options(CommitOptions::new().with_path_required(true))
        .with_encryption_options(EncryptionOptions::new(true, PaddingMode::StepFunction));
    Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .mls_rules(rules)
        .signing_identity(
            SigningIdentity::new(credential, public),
            secret,
            CipherSuite::CURVE25519_AES128,
        )
        .build()
}

pub(crate) fn key_package<C: MlsConfig>(client: &Client<C>) -> MlsMessage {
    client
        .generate_key_package_message(
            mls_rs::ExtensionList::default(),
            mls_rs::ExtensionList::default(),
            None,
        )
        .unwrap()
}

/// Two members of a group of `size`; all have spoken where `speak` says so.
pub(crate) fn ours(size: usize, speak: bool) -> (Peer, Peer) {
    let mut founder = Peer::founder("0").alone();
    let mut joiners: Vec<_> = (1..size).map(|i| Peer::joiner(&i.to_string()).alone()).collect();
    let packages: Vec<_> = joiners.iter_mut().map(Peer::key_package).collect();
    let staged = founder.stage(&packages, &[]).unwrap();
    founder.confirm();
    let mut joiners = joiners.into_iter();
    let mut other = joiners.next().unwrap();
    other.join(&staged).unwrap();
    if speak {
        let hello = other.seal(b"hello");
        founder.open(&hello).unwrap();
        let hello = founder.seal(b"hello");
        other.open(&hello).unwrap();
        for mut joiner in joiners {
            joiner.join(&staged).unwrap();
            let hello = joiner.seal(b"hello");
            founder.open(&hello).unwrap();
            other.open(&hello).unwrap();
        }
    }
    (founder, other)
}

/// The same in mls-rs.
pub(crate) fn theirs(size: usize, speak: bool) -> (Group<impl MlsConfig>, Group<impl MlsConfig>) {
    let mut founder = client("0").group_builder().unwrap().build().unwrap();
    let joiners: Vec<_> = (1..size).map(|i| client(&i.to_string())).collect();
    let mut commit = founder.commit_builder();
    for joiner in &joiners {
        commit = commit.add_member(key_package(joiner)).unwrap();
    }
    let commit = commit.build().unwrap();
    founder.apply_pending_commit().unwrap();
    let welcome = &commit.welcome_messages[0];
    let (mut other, _) = joiners[0].join_group(None, welcome, None).unwrap();
    if speak {
        let hello = other.encrypt_application_message(b"hello", vec![]).unwrap();
        founder.process_incoming_message(hello).unwrap();
        let hello = founder.encrypt_application_message(b"hello", vec![]).unwrap();
        other.process_incoming_message(hello).unwrap();
        for joiner in &joiners[1..] {
            let (mut joiner, _) = joiner.join_group(None, welcome, None).unwrap();
            let hello = joiner.encrypt_application_message(b"hello", vec![]).unwrap();
            founder.process_incoming_message(hello.clone()).unwrap();
            other.process_incoming_message(hello).unwrap();
        }
    }
    founder.write_to_storage().unwrap();
    other.write_to_storage().unwrap();
    (founder, other)
}

/// The time that `f` spends within what it returns.
pub(crate) fn sum(count: u64, mut f: impl FnMut() -> Duration) -> Duration {
    (0..count).map(|_| f()).sum()
}

pub(crate) fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed(), value)
}
