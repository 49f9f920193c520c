//! Every ciphersuite that openmls names: a whole life with those that the cryptography in use implements,
//! a refusal of the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;

use cc_core::{GroupLayer as _, LayerErrorKind, Standing};
use cc_mls_layer::{Ciphersuite, MlsConfig, MlsError, MlsIdentity};
use common::{Peer, all_read_all, assemble, settle};

/// RFC 9420 section 17.1, and whether the suite works here.
const RFC: [(Ciphersuite, bool); 7] = [
    (Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, true),
    (Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256, true),
    (Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519, true),
    (Ciphersuite::MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448, false),
    (Ciphersuite::MLS_256_DHKEMP521_AES256GCM_SHA512_P521, false),
    (Ciphersuite::MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448, false),
    (Ciphersuite::MLS_256_DHKEMP384_AES256GCM_SHA384_P384, false),
];

#[cfg(not(feature = "draft-pq"))]
const DRAFT: [(Ciphersuite, bool); 0] = [];

/// draft-ietf-mls-pq-ciphersuites, and the X-Wing suite of an older draft.
#[cfg(feature = "draft-pq")]
const DRAFT: [(Ciphersuite, bool); 10] = [
    (Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519, false),
    (Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519, true),
    (Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519, true),
    (Ciphersuite::MLS_128_MLKEM768_AES256GCM_SHA384_Ed25519, true),
    (Ciphersuite::MLS_128_MLKEM768_AES256GCM_SHA384_P256, true),
    (Ciphersuite::MLS_192_MLKEM1024_AES256GCM_SHA384_P384, true),
    (Ciphersuite::MLS_128_MLKEM768X25519_CHACHA20POLY1305_SHA384_MLDSA44, true),
    (Ciphersuite::MLS_192_MLKEM768_AES256GCM_SHA384_MLDSA65, true),
    (Ciphersuite::MLS_256_MLKEM1024_AES256GCM_SHA384_MLDSA87, true),
    (Ciphersuite::MLS_256_MLKEM1024_AES256GCM_SHA512_MLDSA87, true),
];

fn named() -> impl Iterator<Item = (Ciphersuite, bool)> {
    RFC.into_iter().chain(DRAFT)
}

#[test]
fn the_list_says_what_works() {
    let mut works: Vec<_> = named().filter(|(_, works)| *works).map(|(suite, _)| suite).collect();
    let mut listed = MlsConfig::ciphersuites();
    assert_eq!(listed[0], MlsConfig::default().ciphersuite());
    works.sort_by_key(|suite| *suite as u16);
    listed.sort_by_key(|suite| *suite as u16);
    assert_eq!(works, listed);
}

#[test]
fn the_others_are_refused_by_name() {
    for (suite, _) in named().filter(|(_, works)| !works) {
        let error = MlsIdentity::generate_with("Alice", suite).unwrap_err();
        assert!(matches!(error, MlsError::Ciphersuite(named) if named == suite), "{error}");
    }
}

#[test]
fn every_ciphersuite_lives_a_whole_life() {
    for suite in MlsConfig::ciphersuites() {
        let config = MlsConfig::default().with_ciphersuite(suite);
        let peer = |name, founds| Peer::with(name, founds, config.clone()).stored();
        let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false)]);
        all_read_all(&mut peers);

        let mut joiner = peer("Charlie", false);
        let staged = peers[1].stage(&[joiner.key_package()], &[]).unwrap();
        settle(&mut peers, 1, &staged, &[]);
        assert_eq!(joiner.join(&staged), Ok(Some(peers[1].id)), "{suite:?}");
        peers.push(joiner);
        all_read_all(&mut peers);

        for who in 0..3 {
            let staged = peers[who].stage(&[], &[]).unwrap();
            settle(&mut peers, who, &staged, &[]);
            peers[who].restart();
            all_read_all(&mut peers);
        }

        let bob = peers[1].id;
        let staged = peers[2].stage(&[], &[bob]).unwrap();
        settle(&mut peers, 2, &staged, &[]);
        let mut removed = peers.remove(1);
        assert_eq!(removed.layer.standing(), Standing::Removed, "{suite:?}");
        assert!(removed.open(&peers[0].seal(b"not for Bob")).is_err(), "{suite:?}");
        all_read_all(&mut peers);
    }
}

#[test]
fn a_key_package_of_any_other_suite_is_refused() {
    let with = |name, founds, suite| {
        Peer::with(name, founds, MlsConfig::default().with_ciphersuite(suite))
    };
    let packages: Vec<_> = MlsConfig::ciphersuites()
        .into_iter()
        .map(|suite| (suite, with("Bob", false, suite).key_package()))
        .collect();
    for suite in MlsConfig::ciphersuites() {
        let mut alice = with("Alice", true, suite);
        for (other, package) in &packages {
            let staged = alice.stage(std::slice::from_ref(package), &[]).map(|_| ());
            if *other == suite {
                assert_eq!(staged, Ok(()));
                alice.transact(cc_core::GroupLayer::discard_change).unwrap();
            } else {
                assert_eq!(staged, Err(LayerErrorKind::Rejected), "{other:?} in {suite:?}");
            }
        }
    }
}
