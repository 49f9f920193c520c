//! Keys that nobody can encrypt to: they come in by no way, and whose they are is said.

use proptest::prelude::*;

use super::{
    BINDING, attach, context, forge,
    forged::{Forged, vector},
    unverified,
};
use cc_core::{
    ChangeRequest, CipherLayer as _, GroupLayer as _, LayerError, LayerErrorKind, MemberId,
    NewMember, Standing,
};
use openmls::prelude::{LeafNodeParameters, MlsMessageOut, tls_codec::Serialize as _};
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};

use crate::{
    Ciphersuite, MlsConfig, MlsIdentity, MlsLayer, layer::Parts, roster::Ids,
    transaction::Progress, welcome::WelcomePart,
};

const P256: Ciphersuite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;

fn id(byte: u8) -> MemberId {
    MemberId::from_bytes([byte; 32])
}

/// A member by its id; the first founds.
fn member(byte: u8, config: &MlsConfig) -> MlsLayer {
    let identity = MlsIdentity::generate_with(byte.to_string(), config.ciphersuite()).unwrap();
    let mut layer = if byte == 1 {
        MlsLayer::create_with("", identity, config.clone()).unwrap()
    } else {
        MlsLayer::member_with(identity, config.clone()).unwrap()
    };
    attach(byte, &mut layer);
    layer
}

fn key_package(layer: &mut MlsLayer) -> Vec<u8> {
    let part = layer.key_package(&context([0; 32], false)).unwrap();
    layer.apply();
    part
}

fn new(byte: u8, part: &[u8]) -> NewMember<'_> {
    NewMember { id: id(byte), part, binding: [0; 32] }
}

/// All of `members` are in the group of the first.
fn group(config: &MlsConfig, size: u8) -> Vec<MlsLayer> {
    let mut members: Vec<_> = (1..=size).map(|byte| member(byte, config)).collect();
    let (founder, joiners) = members.split_first_mut().unwrap();
    let parts: Vec<_> = joiners.iter_mut().map(key_package).collect();
    let added: Vec<_> = (2..).zip(&parts).map(|(byte, part)| new(byte, part)).collect();
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = founder.stage_change(&request, &context(BINDING, false)).unwrap();
    founder.confirm_change().unwrap();
    founder.apply();
    for joiner in joiners {
        joiner.join(&change.welcome, &context(BINDING, false)).unwrap();
        joiner.apply();
    }
    members
}

/// Nobody's update fails, and everybody follows each.
fn everybody_can_update(members: &mut [MlsLayer]) {
    for at in 0..members.len() {
        let update = members[at].stage_change(&ChangeRequest::default(), &context(BINDING, false));
        let commit = update.unwrap().commit;
        for (other, member) in members.iter_mut().enumerate() {
            if other == at {
                member.confirm_change().unwrap();
            } else {
                let _ = member.process_commit(&commit, &context(BINDING, false)).unwrap();
            }
            member.apply();
        }
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, LayerError>, who: u8) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.member()), (LayerErrorKind::Rejected, Some(id(who))));
}

/// Keys that nothing can be encrypted to, and one that works.
fn bad_keys(suite: Ciphersuite) -> Vec<Vec<u8>> {
    let mut bad = vec![vec![], vec![0], vec![0; 31], vec![0; 32], vec![0; 65], vec![7; 33]];
    let mut one = vec![0; 32];
    one[0] = 1;
    bad.push(one);
    if suite == P256 {
        bad.push([&[4][..], &[7; 64]].concat());
        bad.push(vec![9; 32]);
    }
    bad
}

#[test]
fn a_key_package_with_a_key_that_nobody_can_encrypt_to_is_refused() {
    for suite in [MlsConfig::default().ciphersuite(), P256] {
        let config = MlsConfig::default().with_ciphersuite(suite);
        let mut members = group(&config, 3);
        let mut eve = member(9, &config);
        let part = key_package(&mut eve);
        let other = part_with_other_keys(&mut eve, &part);
        for key in bad_keys(suite) {
            let key = Some(key);
            for forged in [
                Forged { leaf_key: key.clone(), ..Default::default() },
                Forged { init_key: key, ..Default::default() },
            ] {
                let forged = forged.sign(&eve, &part);
                let added = [new(9, &forged)];
                let request = ChangeRequest { added: &added, removed: &[] };
                refused(members[0].stage_change(&request, &context(BINDING, false)), 9);
                members[0].revert();
            }
        }
        everybody_can_update(&mut members);
        // It is the key alone that was wrong.
        let added = [new(9, &other)];
        let request = ChangeRequest { added: &added, removed: &[] };
        let _ = members[0].stage_change(&request, &context(BINDING, false)).unwrap();
    }
}

/// The key package with the keys of another of the same owner.
fn part_with_other_keys(owner: &mut MlsLayer, part: &[u8]) -> Vec<u8> {
    let other = key_package(owner);
    let mut reader = crate::reader::Reader::new(&other[8..]);
    let (init_key, leaf_key) = (reader.vector().unwrap(), reader.vector().unwrap());
    let (init_key, leaf_key) = (Some(init_key.to_vec()), Some(leaf_key.to_vec()));
    Forged { init_key, leaf_key, ..Default::default() }.sign(owner, part)
}

/// A commit of a member who looks at nothing: it adds by these parts.
fn add_unchecked(mallory: &mut MlsLayer, parts: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let added: Vec<_> = parts.iter().map(|part| unverified(mallory, part)).collect();
    let Parts { group, provider, identity, .. } = mallory.parts().unwrap();
    group.mls.set_aad(BINDING.to_vec());
    let bundle = group
        .mls
        .commit_builder()
        .force_self_update(true)
        .propose_adds(added)
        .load_psks(provider.storage())
        .unwrap()
        .build(provider.rand(), provider.crypto(), identity.keys(), |_| true)
        .unwrap()
        .stage_commit(provider)
        .unwrap();
    let welcome = bundle.to_welcome_msg().unwrap().tls_serialize_detached().unwrap();
    let welcome = WelcomePart::write(welcome, &group.mls, provider, Some(&BINDING)).unwrap();
    let commit: MlsMessageOut = bundle.into_commit();
    let commit = commit.tls_serialize_detached().unwrap();
    group.own_commit = Some(Sha256::digest(&commit).into());
    (commit, welcome)
}

#[test]
fn nobody_follows_who_adds_such_a_key_and_nobody_joins_beside_it() {
    for suite in [MlsConfig::default().ciphersuite(), P256] {
        let config = MlsConfig::default().with_ciphersuite(suite);
        let mut members = group(&config, 2);
        let (mut eve, mut carol) = (member(9, &config), member(8, &config));
        let part = key_package(&mut eve);
        for key in [vec![], vec![0; 32], vec![0; 65]] {
            let forged = Forged { leaf_key: Some(key), ..Default::default() }.sign(&eve, &part);
            let parts = [forged, key_package(&mut carol)];
            let (commit, welcome) = add_unchecked(&mut members[0], &parts);
            refused(members[1].process_commit(&commit, &context(BINDING, false)), 9);
            members[1].revert();
            refused(carol.join(&welcome, &context(BINDING, false)), 9);
            carol.revert();
            assert_eq!(carol.standing(), Standing::Outside);
            members[0].discard_change().unwrap();
            members[0].apply();
        }
        everybody_can_update(&mut members);
    }
}

/// Of five members the first commits: the parents above it are four leaves' and two leaves' common ones and the
/// root. Who sits far from it can compute the root alone, and sees the others' keys for what they are.
#[test]
fn nobody_follows_a_path_with_such_a_key() {
    for spoiled_at in 0..3 {
        let config = MlsConfig::default();
        let mut members = group(&config, 5);
        everybody_can_update(&mut members);
        let crypto = members[0].provider.crypto();
        *crypto.spoiled.lock().unwrap() = Some((spoiled_at, vec![0; 32]));
        let commit = forge(&mut members[0], vec![], LeafNodeParameters::default());
        assert!(members[0].provider.crypto().spoiled.lock().unwrap().is_none());
        let mut named = 0;
        for member in &mut members[1..] {
            let error = member.process_commit(&commit, &context(BINDING, false)).unwrap_err();
            assert_eq!(error.kind(), LayerErrorKind::Rejected, "{spoiled_at}");
            named += usize::from(error.member() == Some(id(1)));
            member.revert();
        }
        // Whoever can compute the key itself refuses it for not being that.
        assert!(named > 0 || spoiled_at > 1, "{spoiled_at}");
        members[0].transaction.reach(Progress::Ahead);
        members[0].revert();
        everybody_can_update(&mut members);
    }
}

/// With plain peers, where the keys name the members.
fn plain_group() -> Vec<MlsLayer> {
    let config = MlsConfig::default().with_plain_peers(true);
    let suite = config.ciphersuite();
    let mut layers: Vec<_> = (0..2)
        .map(|at| {
            let identity = MlsIdentity::generate(at.to_string()).unwrap();
            let mut layer = match at {
                0 => MlsLayer::create_with("", identity, config.clone()).unwrap(),
                _ => MlsLayer::member_with(identity, config.clone()).unwrap(),
            };
            let member = Some(Ids::by_key(suite, layer.identity.signature_key()));
            let founding = layer.founds();
            let stack = cc_core::StackId::of(&[]);
            let place = cc_core::Attachment { stack, position: 0, member, founding };
            layer.attach(&place).unwrap();
            layer.apply();
            layer
        })
        .collect();
    let part = key_package(&mut layers[1]);
    let added = [NewMember { id: layers[1].own_id.unwrap(), part: &part, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = layers[0].stage_change(&request, &context(BINDING, false)).unwrap();
    layers[0].confirm_change().unwrap();
    layers[0].apply();
    layers[1].join(&change.welcome, &context(BINDING, false)).unwrap();
    layers[1].apply();
    layers
}

#[test]
fn no_such_key_comes_in_by_a_proposal_or_from_outside() {
    let mut members = plain_group();
    let spoil = |layer: &MlsLayer| {
        *layer.provider.crypto().spoiled.lock().unwrap() = Some((0, vec![0; 32]));
    };
    spoil(&members[0]);
    let proposal = members[0].propose_update().unwrap();
    let error = members[1].process_proposal(&proposal).unwrap_err();
    assert_eq!((error.kind(), error.member()), (LayerErrorKind::Rejected, members[0].own_id));
    members.iter_mut().for_each(|member| member.revert());

    let info = members[0].group_info().unwrap();
    let config = MlsConfig::default().with_plain_peers(true);
    let suite = config.ciphersuite();
    let mut eve = MlsLayer::member_with(MlsIdentity::generate("Eve").unwrap(), config).unwrap();
    let place = cc_core::Attachment {
        stack: cc_core::StackId::of(&[]),
        position: 0,
        member: Some(Ids::by_key(suite, eve.identity.signature_key())),
        founding: false,
    };
    eve.attach(&place).unwrap();
    eve.apply();
    // She may look at nothing, but her own layer refuses the group that she makes.
    let mut named = 0;
    for spoiled_at in 0..4 {
        *eve.provider.crypto().spoiled.lock().unwrap() = Some((spoiled_at, vec![0; 32]));
        if let Err(refused) = eve.join_from_outside(&info, &BINDING) {
            assert_eq!(refused.kind(), LayerErrorKind::Rejected);
            named += usize::from(refused.member() == eve.own_id);
        }
        eve.revert();
        assert_eq!(eve.standing(), Standing::Outside);
    }
    assert!(named > 0);
    *eve.provider.crypto().spoiled.lock().unwrap() = None;
    everybody_can_update(&mut members);
}

fn any_key() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(bad_keys(MlsConfig::default().ciphersuite())).prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 32).prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was let in, the next update of every member succeeds.
    #[test]
    fn after_any_change_that_was_accepted_everybody_can_update(
        keys in prop::collection::vec((any_key(), any_key(), any::<bool>()), 1..4),
    ) {
        let config = MlsConfig::default();
        let mut members = group(&config, 3);
        for (byte, (init_key, leaf_key, checked)) in (20..).zip(keys) {
            let mut joiner = member(byte, &config);
            let part = key_package(&mut joiner);
            let forged = Forged { init_key, leaf_key, ..Default::default() }.sign(&joiner, &part);
            let commit = if checked {
                let added = [new(byte, &forged)];
                let request = ChangeRequest { added: &added, removed: &[] };
                match members[0].stage_change(&request, &context(BINDING, false)) {
                    Ok(change) => change.commit,
                    Err(_) => {
                        members[0].revert();
                        continue;
                    }
                }
            } else {
                let unchanged = vector(&part) == vector(&forged);
                if !unchanged && !encryptable(&forged) {
                    continue;
                }
                add_unchecked(&mut members[0], std::slice::from_ref(&forged)).0
            };
            let accepted = members[1].process_commit(&commit, &context(BINDING, false)).is_ok();
            members[1].revert();
            if accepted {
                for member in &mut members[1..] {
                    let _ = member.process_commit(&commit, &context(BINDING, false)).unwrap();
                    member.apply();
                }
                members[0].confirm_change().unwrap();
                members[0].apply();
            } else {
                members[0].transaction.reach(Progress::Ahead);
                members[0].discard_change().unwrap();
                members[0].apply();
            }
            everybody_can_update(&mut members);
        }
    }
}

/// Whether a welcome can be made for a key package: its init key is one.
fn encryptable(part: &[u8]) -> bool {
    let init_key = crate::reader::Reader::new(&part[8..]).vector().unwrap();
    let provider = crate::provider::Provider::new(Ids::ApplicationId, Default::default());
    crate::hpke_key::is_usable(&provider, MlsConfig::default().ciphersuite(), init_key)
}
