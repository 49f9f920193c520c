//! The tests of groups, with hybrid keys, and what one broken half of the keys opens of a group.

use alloc::vec;

use cc_core::{
    Attachment, ChangeRequest, CipherLayer, GroupLayer, LayerErrorKind, MemberId, NewMember,
    PartContext, StackId, Standing,
    store::{Batch, MemoryStore, Scope, Store},
};
use cc_root_group::{Group, group_tests, records::Records};

use crate::{HybridKeyPair, MlKemLayer, ParameterSet};

group_tests!(mlkem768, HybridKeyPair, ParameterSet::MlKem768);
group_tests!(mlkem1024, HybridKeyPair, ParameterSet::MlKem1024);

#[test]
fn a_box_is_of_one_ciphertext_and_of_whole_keys() {
    for set in [ParameterSet::MlKem768, ParameterSet::MlKem1024] {
        cc_root_group::group_tests::hostile::a_box_is_of_one_ciphertext_and_of_whole_keys::<
            HybridKeyPair,
        >(set);
    }
}

const ID: [MemberId; 3] =
    [MemberId::from_bytes([1; 32]), MemberId::from_bytes([2; 32]), MemberId::from_bytes([3; 32])];

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

fn place(number: usize) -> Attachment {
    let stack = StackId::of(&[]);
    Attachment { stack, position: 0, member: Some(ID[number]), founding: number == 0 }
}

fn duplicate(keys: &HybridKeyPair) -> HybridKeyPair {
    let set = keys.public_key().parameter_set();
    HybridKeyPair::from_private_key(set, keys.private_key().expose()).unwrap()
}

/// Whoever has one half of a member's private key, all that is public, and for a removal even all secrets of
/// the generation before: the invitation and the box stay closed. With both halves they open.
#[test]
fn one_broken_half_opens_neither_an_invitation_nor_a_box() {
    for set in [ParameterSet::MlKem768, ParameterSet::MlKem1024] {
        let [a, b, c] = [(); 3].map(|()| HybridKeyPair::generate(set).unwrap());
        let stolen = duplicate(&b);
        let mut people = [a, b, c].map(MlKemLayer::group);
        for (number, layer) in people.iter_mut().enumerate() {
            layer.attach(&place(number)).unwrap();
            layer.apply();
        }
        let [mut alice, mut bob, mut charlie] = people;
        let packages = [&mut bob, &mut charlie].map(|it| it.key_package(&parts(0)).unwrap());
        let new = |number: usize| {
            let part = &packages[number - 1];
            NewMember { id: ID[number], part, binding: [0; 32] }
        };
        let added = [new(1), new(2)];
        let request = ChangeRequest { added: &added, removed: &[] };
        let change = alice.stage_change(&request, &parts(1)).unwrap();
        alice.confirm_change().unwrap();
        alice.apply();

        let x25519 = stolen.x25519().private_key().duplicate();
        let halves = || {
            [
                HybridKeyPair::with_broken_x25519(x25519.duplicate(), stolen.public_key()),
                stolen.with_broken_mlkem(),
            ]
        };
        for (keys, finds_it) in halves().into_iter().zip([true, false]) {
            let mut thief = MlKemLayer::group(keys);
            thief.attach(&place(1)).unwrap();
            // The tags are of X25519 alone.
            assert_eq!(thief.is_invited(&change.welcome), Some(finds_it));
            let kind = thief.join(&change.welcome, &parts(1)).unwrap_err().kind();
            let expected = if finds_it { LayerErrorKind::Rejected } else { LayerErrorKind::Stale };
            assert_eq!(kind, expected);
        }
        for layer in [&mut bob, &mut charlie] {
            assert_eq!(layer.join(&change.welcome, &parts(1)).unwrap(), Some(ID[0]));
            layer.apply();
        }

        let scope = Scope::new("layer");
        let mut batch = Batch::new();
        bob.save(&mut batch.new_scope(scope.clone())).unwrap();
        bob.apply();
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let removed = [ID[2]];
        let request = ChangeRequest { added: &[], removed: &removed };
        let change = alice.stage_change(&request, &parts(2)).unwrap();
        let copy_with = |keys| {
            let mut records = Records::read(&scope.of(&store)).unwrap();
            records.take(b"layer").unwrap();
            Group::restore(keys, &mut records).unwrap()
        };
        for keys in halves() {
            let mut thief = copy_with(keys);
            let error = thief.process_commit(&change.commit, &parts(2)).unwrap_err();
            assert_eq!(error.kind(), LayerErrorKind::Rejected);
            assert_eq!(thief.standing(), Standing::Member { epoch: 1 });
        }
        let mut whole = copy_with(stolen);
        let outcome = whole.process_commit(&change.commit, &parts(2)).unwrap();
        assert_eq!(outcome.removed, vec![ID[2]]);
    }
}
