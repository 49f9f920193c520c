//! Building, changing and reporting on a stack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    Attachment, Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, DecodeError, Error, Incoming, Kind, StackProblem};
use cc_mls_layer::MlsLayer;
use common::{Follow as _, Tripwire, all_read_all, dh, group, joiner};

fn aes(byte: u8) -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[byte; 32]).unwrap())
}

fn problem(result: Result<CascadingCipherManager, Error>) -> StackProblem {
    match result {
        Err(Error::Stack(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn stacks_that_cannot_work_are_refused_with_advice() {
    let build = CascadingCipherManager::builder;
    assert_eq!(problem(build().build()), StackProblem::Empty);
    let inherited = build().layer(AesLayer::inherited()).build();
    assert_eq!(problem(inherited), StackProblem::NothingToInherit(0));
    let above = build().layer(aes(1)).layer(AesLayer::inherited()).layer(dh()).build();
    assert_eq!(problem(above), StackProblem::NothingToInherit(1));
    let shared = build().layer(aes(1)).layer(aes(2)).layer(aes(1)).build();
    assert_eq!(problem(shared), StackProblem::SharedKey(0, 2));
    let many = (0..17).fold(build(), |builder, i| builder.layer(aes(i))).build();
    assert_eq!(problem(many), StackProblem::TooManyLayers(17));
    assert!(StackProblem::NothingToInherit(1).to_string().contains("below it"));
}

#[test]
fn a_pairwise_layer_does_not_fit_a_group_of_three() {
    let peer = *DhKeyPair::generate(Curve::P256).unwrap().public_key();
    let stack = |name, founder| {
        let keys = DhKeyPair::generate(Curve::P256).unwrap();
        CascadingCipherManager::builder()
            .layer(DhLayer::pairwise(keys, peer).unwrap())
            .layer(common::mls(name, founder))
            .build()
            .unwrap()
    };
    let mut alice = stack("a", true);
    let (mut bob, mut charlie) = (stack("b", false), stack("c", false));
    let bundles = [bob.key_package().unwrap(), charlie.key_package().unwrap()];
    assert!(matches!(
        alice.add_members(bundles),
        Err(Error::PairwiseInGroup { position: 0, members: 3 })
    ));
}

#[test]
fn layers_are_added_inserted_replaced_and_removed() {
    let build = || CascadingCipherManager::builder().layer(aes(1)).build().unwrap();
    let (mut a, mut b) = (build(), build());
    let exchange = |a: &mut CascadingCipherManager, b: &mut CascadingCipherManager| {
        let wire = a.encrypt("text").unwrap();
        assert_eq!(b.decrypt(&wire).unwrap(), "text");
        wire
    };
    let before = exchange(&mut a, &mut b);
    a.add_layer(aes(2)).unwrap();
    let wire = a.encrypt("text").unwrap();
    assert!(b.decrypt(&wire).is_err());
    b.add_layer(aes(2)).unwrap();
    exchange(&mut a, &mut b);
    assert!(b.decrypt(&before).is_err());
    for manager in [&mut a, &mut b] {
        manager.insert_layer(0, aes(3)).unwrap();
        assert_eq!(manager.layer_count(), 3);
    }
    exchange(&mut a, &mut b);
    for manager in [&mut a, &mut b] {
        manager.replace_layer(1, aes(4)).unwrap();
        manager.remove_layer(0).unwrap();
    }
    exchange(&mut a, &mut b);
    // What cannot work leaves the stack as it was.
    assert!(matches!(a.add_layer(aes(4)), Err(Error::Stack(StackProblem::SharedKey(..)))));
    assert!(matches!(a.insert_layer(9, aes(9)), Err(Error::NoSuchLayer(9))));
    assert!(matches!(a.remove_layer(2), Err(Error::NoSuchLayer(2))));
    assert!(matches!(a.replace_layer(0, AesLayer::inherited()), Err(Error::Stack(_))));
    exchange(&mut a, &mut b);
    a.remove_layer(1).unwrap();
    assert!(matches!(a.remove_layer(0), Err(Error::Stack(StackProblem::Empty))));
    assert_eq!(a.layer_count(), 1);
}

#[test]
fn a_group_keeps_its_group_layers_and_takes_others() {
    let mut all = group(&["a", "b"]);
    assert!(matches!(all[0].add_layer(dh()), Err(Error::GroupExists)));
    assert!(matches!(all[0].remove_layer(0), Err(Error::GroupExists)));
    for member in &mut all {
        member.insert_layer(0, aes(7)).unwrap();
        member.add_layer(Tripwire::new().0).unwrap();
    }
    all_read_all(&mut all);
    let mut c = joiner("c");
    c.insert_layer(0, aes(7)).unwrap();
    c.add_layer(Tripwire::new().0).unwrap();
    let change = all[1].add_members([c.key_package().unwrap()]).unwrap();
    assert!(matches!(all[1].remove_layer(0), Err(Error::ChangeStaged(_))));
    let welcome = common::settle(&mut all, 1, &change, &[]).unwrap();
    c.join(&welcome).unwrap();
    all.push(c);
    all_read_all(&mut all);
}

#[test]
fn reports_and_typed_access() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("text").unwrap();
    let sealed = all[0].last_report().to_vec();
    assert_eq!(sealed.len(), 3);
    assert_eq!(sealed[0].bytes_in, 4);
    assert!(sealed.windows(2).all(|pair| pair[0].bytes_out == pair[1].bytes_in));
    assert!(sealed.iter().all(|layer| layer.elapsed.is_some()));
    assert!(sealed[2].bytes_out < wire.len());
    all[1].decrypt(&wire).unwrap();
    let opened = all[1].last_report();
    for (sealed, opened) in sealed.iter().zip(opened) {
        assert_eq!((sealed.bytes_in, sealed.bytes_out), (opened.bytes_out, opened.bytes_in));
    }
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    let texts = ["a", "text", "and another"];
    let wires = all[0].encrypt_all_reporting(texts, b"", |report| sealed.push(report.to_vec()));
    let wires = wires.unwrap();
    all[1].receive_all_reporting(&wires, b"", |report| opened.push(report.to_vec())).unwrap();
    for ((sealed, opened), text) in sealed.iter().zip(&opened).zip(texts) {
        assert_eq!((sealed[0].bytes_in, opened[0].bytes_out), (text.len(), text.len()));
    }
    assert_eq!((sealed.len(), opened.len()), (3, 3));
    let report = all[0].stack_report();
    assert!(report.refuses_replays && report.cascades_keys && !report.pairwise);
    assert!(report.to_string().contains("MLS"));
    assert!(all[0].find::<MlsLayer>().is_some());
    assert!(all[0].find::<Tripwire>().is_none());
    assert!(all[0].find_at::<MlsLayer>(1).is_some());
    assert!(all[0].find_at::<MlsLayer>(0).is_none());
    let plain = CascadingCipherManager::builder().layer(aes(1)).build().unwrap().stack_report();
    assert!(!plain.refuses_replays);
    assert!(plain.to_string().contains("number your messages"));
}

#[test]
fn group_calls_need_a_group_layer() {
    let mut plain = CascadingCipherManager::builder().layer(aes(1)).build().unwrap();
    assert!(matches!(plain.key_package(), Err(Error::NoGroupLayer)));
    assert!(matches!(plain.update(), Err(Error::NoGroupLayer)));
    assert!(matches!(plain.leave(), Err(Error::NoGroupLayer)));
    assert!(matches!(plain.receive_welcome([]), Err(Error::NoGroupLayer)));
    let mut commit = plain.encrypt("text").unwrap();
    commit[2] = Kind::Commit as u8;
    let incoming = plain.receive(commit).unwrap();
    assert!(matches!(incoming, Incoming::Foreign(DecodeError::Kind(Kind::Commit))));
    assert_eq!(plain.member_id(), None);
}

#[test]
fn a_dh_group_alone_is_a_group() {
    let build = || {
        CascadingCipherManager::builder().layer(dh()).layer(AesLayer::inherited()).build().unwrap()
    };
    let (mut alice, mut bob, mut charlie) = (build(), build(), build());
    let bundles = [bob.key_package().unwrap(), charlie.key_package().unwrap()];
    let change = alice.add_members(bundles).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    charlie.join(&welcome).unwrap();
    let wire = alice.encrypt("text").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), "text");
    assert_eq!(charlie.decrypt(&wire).unwrap(), "text");
    assert!(matches!(bob.leave(), Err(Error::SenderUnknown)));
    let change = bob.remove_members([charlie.member_id().unwrap()]).unwrap();
    bob.confirm(change.id()).unwrap();
    alice.process(&change.commit).unwrap();
    charlie.process(&change.commit).unwrap();
    let wire = bob.encrypt("without").unwrap();
    assert!(charlie.decrypt(&wire).is_err());
    assert_eq!(alice.decrypt(&wire).unwrap(), "without");
}

/// A layer that takes no place.
struct Homeless;

impl CipherLayer for Homeless {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.homeless", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("homeless")
    }

    fn attach(&mut self, _: &Attachment) -> Result<(), LayerError> {
        Err(LayerError::misuse("the test wants this"))
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        Ok(Opened::default())
    }
}

#[test]
fn a_layer_that_takes_no_place_leaves_the_stack_as_it_was() {
    let mut all = group(&["a", "b"]);
    for position in 0..=3 {
        let error = all[0].insert_layer(position, Homeless).unwrap_err();
        assert!(matches!(error, Error::Layer { position: at, .. } if at == position));
    }
    assert!(matches!(all[0].replace_layer(2, Homeless), Err(Error::Layer { position: 2, .. })));
    assert_eq!(all[0].layer_count(), 3);
    all_read_all(&mut all);
}
