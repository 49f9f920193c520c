//! Errors: their numbers are those of `docs/errors.md`, and none repeats the text of its source.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cc_aes_layer::{AesError, StreamError};
use cc_core::{
    DecodeError, Kind, LayerError, LayerErrorKind, MemberId, RandomError, error_chain,
    store::StoreError,
};
use cc_dh_layer::DhError;
use cc_manager::{CascadingCipherManager, Error, StackProblem};
use cc_mls_layer::MlsError;
use common::{
    founder, group, joiner, mls,
    wrapped::{Wishes, Wrapped},
};

/// Code and name of each row.
fn documented() -> BTreeSet<(u16, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let code = cells.next()?.parse().ok()?;
        Some((code, cells.next()?.trim_matches('`').to_string()))
    });
    rows.collect()
}

/// Code and name of each arm of `code()`, which has to have one for every error there is.
fn in_the_code() -> BTreeSet<(u16, String)> {
    let files = [
        ("../cc-core/src/envelope.rs", "DecodeError"),
        ("../cc-core/src/error.rs", "LayerErrorKind"),
        ("../cc-core/src/store.rs", "StoreError"),
        ("src/validate.rs", "StackProblem"),
        ("src/error.rs", "Error"),
    ];
    let mut found = BTreeSet::new();
    for (file, name) in files {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        for line in text.lines() {
            let Some((pattern, code)) = line.trim().split_once(" => ") else { continue };
            let variant = pattern
                .strip_prefix("Self::")
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>());
            let code = code.trim_end_matches(',').parse();
            if let (Some(variant), Ok(code)) = (variant, code) {
                found.insert((code, format!("{name}::{variant}")));
            }
        }
    }
    found
}

#[test]
fn the_table_lists_what_the_code_gives() {
    assert_eq!(documented(), in_the_code());
    let mut names = BTreeMap::<u16, Vec<String>>::new();
    for (code, name) in documented() {
        names.entry(code).or_default().push(name);
    }
    for (code, names) in names {
        // The random generator is one thing, whoever asked it.
        assert!(names.len() == 1 || code == LayerErrorKind::Random.code(), "{code}: {names:?}");
    }
}

#[test]
fn an_error_has_the_number_of_what_it_wraps() {
    assert_eq!(Error::from(DecodeError::Stack).code(), 103);
    assert_eq!(layer(LayerError::early(None)).code(), 205);
    assert_eq!(Error::from(StackProblem::Empty).code(), 301);
    assert_eq!(Error::from(StoreError::Full).code(), 410);
    assert_eq!(Error::from(RandomError).code(), 209);
    assert_eq!(Error::Disagreement.code(), 501);
    let source = Box::new(layer(LayerError::rejected()));
    assert_eq!(Error::KeyPackage { index: 3, member: None, source }.code(), 201);
}

fn layer(source: LayerError) -> Error {
    Error::Layer { position: 1, layer: "MLS", source }
}

#[test]
fn no_error_repeats_its_source() {
    let member = MemberId::from_bytes([7; 32]);
    let local = || LayerError::misuse("put a layer below it").about(member);
    let stores = [
        StoreError::corrupt("a record is malformed"),
        StoreError::io("no such table"),
        StoreError::in_doubt("fsync failed"),
        StoreError::TooCostly { memory_kib: 1, passes: 1 },
        StoreError::Random(RandomError),
        StoreError::Newer { version: 9 },
    ];
    let mut errors: Vec<Box<dyn std::error::Error>> = vec![
        Box::new(Error::from(DecodeError::Kind(Kind::Welcome))),
        Box::new(Error::from(DecodeError::Version(2))),
        Box::new(layer(local())),
        Box::new(layer(LayerError::rejected())),
        Box::new(layer(LayerError::from(RandomError))),
        Box::new(layer(LayerError::from(StoreError::io("no such table")))),
        Box::new(layer(LayerError::from(AesError::NothingInherited))),
        Box::new(layer(LayerError::from(DhError::OwnKey))),
        Box::new(layer(LayerError::from(MlsError::NoGroup))),
        Box::new(layer(LayerError::from(MlsError::Library("a library failed".into())))),
        Box::new(Error::KeyPackage {
            index: 0,
            member: Some(member),
            source: Box::new(layer(local())),
        }),
        Box::new(Error::from(StackProblem::NothingToInherit(1))),
        Box::new(Error::from(RandomError)),
        Box::new(Error::NoSuchMember(member)),
        Box::new(local()),
        Box::new(AesError::Random(RandomError)),
        Box::new(StreamError::Aes(AesError::Random(RandomError))),
        Box::new(StreamError::Io(std::io::Error::other("the disk is full"))),
        Box::new(DhError::Random(RandomError)),
        Box::new(cc_signal_layer::Error::Random(RandomError)),
        Box::new(MlsError::Storage("a record is missing".into())),
    ];
    for store in stores {
        errors.push(Box::new(Error::from(store)));
    }
    for error in &errors {
        let mut outer = error.to_string();
        assert!(!outer.is_empty());
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            assert!(!outer.contains(&text), "{outer:?} repeats {text:?}");
            (outer, source) = (text, inner.source());
        }
    }
    assert_eq!(
        error_chain(&layer(local())).to_string(),
        "layer 1 (MLS) failed: the layer does not allow this (member 0707070707070707): \
         put a layer below it"
    );
}

#[test]
fn a_refusal_names_the_bundle_and_the_member() {
    let mut all = group(&["a", "b"]);
    let mut packages: Vec<_> =
        ["c", "d", "e"].map(|name| joiner(name).key_package().unwrap()).into();
    let id = all[0].inspect_key_package(&packages[1]).unwrap().id;
    // Malformed, in the middle of a list.
    let good = packages[1].clone();
    packages[1].pop();
    let error = all[0].add_members(&packages).unwrap_err();
    let Error::KeyPackage { index: 1, member: None, source } = error else { panic!("{error}") };
    assert!(matches!(*source, Error::Decode(DecodeError::Malformed)));
    let error = all[0].readmit_members(&packages).unwrap_err();
    assert!(matches!(error, Error::KeyPackage { index: 1, .. }), "{error}");
    // Twice, and of a member.
    packages[1] = good;
    packages.push(packages[1].clone());
    let error = all[0].add_members(&packages).unwrap_err();
    assert!(
        matches!(error, Error::KeyPackage { index: 3, member: Some(twice), .. } if twice == id),
        "{error}"
    );
    packages.pop();
    let package = all[1].rejoin_package().unwrap();
    packages.insert(0, package);
    let error = all[0].add_members(&packages).unwrap_err();
    let of_b = all[1].member_id();
    assert!(
        matches!(error, Error::KeyPackage { index: 0, member, .. } if member == of_b),
        "{error}"
    );
    // A layer refuses one of several, and says whose.
    let wishes = Wishes::default();
    let person = |name, founder| {
        let layer = Wrapped::new(mls(name, founder), &wishes);
        CascadingCipherManager::builder().layer(layer).build().unwrap()
    };
    let mut founder = person("a", true);
    let mut others = ["b", "c", "d"].map(|name| person(name, false));
    let bad = others[1].member_id();
    *wishes.refuses.lock().unwrap() = bad;
    let several = others.each_mut().map(|other| other.key_package().unwrap());
    let error = founder.add_members(&several).unwrap_err();
    let Error::KeyPackage { index: 1, member, source } = error else { panic!("{error}") };
    assert_eq!(member, bad);
    assert!(matches!(*source, Error::Layer { position: 0, .. }));
    // It does not verify: the layer refuses it where the change is staged.
    let mut alone = joiner("f").key_package().unwrap();
    let id = all[0].inspect_key_package(&alone).unwrap().id;
    for at in (alone.len() - 200..alone.len() - 40).step_by(8) {
        alone[at] ^= 1;
        let error = all[0].add_members([&alone]).unwrap_err();
        let Error::KeyPackage { index: 0, member, .. } = error else { panic!("{error}") };
        assert!(member.is_none_or(|member| member == id));
        alone[at] ^= 1;
    }
    assert_eq!(all[0].staged_change(), None);
}

#[test]
fn a_key_package_can_be_looked_at_first() {
    let mut alice = founder("alice");
    let mut bob = joiner("Bob");
    let package = bob.key_package().unwrap();
    let view = alice.inspect_key_package(&package).unwrap();
    assert_eq!(Some(view.id), bob.member_id());
    // What one layer has in it, and what none has.
    let part = alice.key_package_part::<cc_mls_layer::MlsLayer>(&package).unwrap();
    let key = cc_mls_layer::key_package_signature_key(&part).unwrap();
    let layer = bob.find::<cc_mls_layer::MlsLayer>().unwrap();
    assert_eq!(key, layer.identity().signature_key());
    assert_eq!(cc_mls_layer::key_package_signature_key(&part[1..]), None);
    let none = alice.key_package_part::<cc_mlkem_layer::MlKemLayer>(&package);
    assert!(matches!(none, Err(Error::NoLayerOfType(_))), "{none:?}");
    let cut = alice.key_package_part::<cc_dh_layer::DhLayer>(&package[1..]).unwrap_err();
    assert!(matches!(cut, Error::KeyPackage { index: 0, .. }));
    assert!(!view.is_member);
    assert!(view.names.len() <= 1);
    let change = alice.add_members([&package]).unwrap();
    alice.confirm(change.id()).unwrap();
    assert!(alice.inspect_key_package(&package).unwrap().is_member);
    let error = alice.inspect_key_package(&package[1..]).unwrap_err();
    assert!(matches!(error, Error::KeyPackage { index: 0, .. }));
    let key = cc_aes_layer::AesKey::copy_from(&[1; 32]).unwrap();
    let aes = cc_aes_layer::AesLayer::new(key);
    let plain = CascadingCipherManager::builder().layer(aes).build().unwrap();
    assert!(matches!(plain.inspect_key_package(&package), Err(Error::NoGroupLayer)));
}
