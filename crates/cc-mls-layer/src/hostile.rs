//! Tests with commits that openmls takes and this layer must not: an insider's.

use std::sync::atomic::Ordering;

use cc_core::{
    Attachment, ChangeRequest, CipherLayer, GroupLayer, LayerErrorKind, MemberId, NewMember,
    PartContext, StackId, Standing,
};
use openmls::{
    messages::proposals::PreSharedKeyProposal,
    prelude::{
        BasicCredential, CredentialWithKey, Extension, ExtensionType, Extensions, ExternalSender,
        GroupContext, KeyPackage, LeafNodeParameters, MlsMessageOut, Proposal, ProtocolVersion,
        RequiredCapabilitiesExtension, UnknownExtension, tls_codec::Serialize as _,
    },
    schedule::{
        PreSharedKeyId, Psk,
        psk::{ResumptionPsk, ResumptionPskUsage},
    },
};
use openmls_traits::OpenMlsProvider as _;

use crate::{
    MlsIdentity, MlsLayer, config::NAME_EXTENSION, key_package::leaf_extensions, layer::Parts,
    psk::BindingPsk, transaction::Progress, welcome::WelcomePart, wire,
};

mod forged;
mod grease;
mod keys;
mod leaves;
mod validity;

const BINDING: [u8; 32] = [4; 32];

fn context(binding: [u8; 32], group_below: bool) -> PartContext<'static> {
    PartContext { binding, position: 0, chain: None, group_below, now: None }
}

fn attach(byte: u8, layer: &mut MlsLayer) {
    let member = Some(MemberId::from_bytes([byte; 32]));
    let founding = layer.founds();
    let stack = StackId::of(&[]);
    layer.attach(&Attachment { stack, position: 0, member, founding }).unwrap();
    layer.apply();
}

/// Mallory, who founded, and Bob.
fn pair() -> (MlsLayer, MlsLayer) {
    let identity = |name| MlsIdentity::generate(name).unwrap();
    let mut mallory = MlsLayer::create("", identity("Mallory")).unwrap();
    let mut bob = MlsLayer::member(identity("Bob")).unwrap();
    attach(1, &mut mallory);
    attach(2, &mut bob);
    let part = bob.key_package(&context([0; 32], false)).unwrap();
    let id = MemberId::from_bytes([2; 32]);
    let added = [NewMember { id, part: &part, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = mallory.stage_change(&request, &context(BINDING, false)).unwrap();
    mallory.confirm_change().unwrap();
    mallory.apply();
    bob.join(&change.welcome, &context(BINDING, false)).unwrap();
    bob.apply();
    (mallory, bob)
}

/// A commit with the right binding and whatever else Mallory likes.
fn forge(mallory: &mut MlsLayer, proposals: Vec<Proposal>, leaf: LeafNodeParameters) -> Vec<u8> {
    forge_with(mallory, proposals, leaf, None)
}

fn forge_with(
    mallory: &mut MlsLayer,
    proposals: Vec<Proposal>,
    leaf: LeafNodeParameters,
    extensions: Option<Extensions<GroupContext>>,
) -> Vec<u8> {
    let Parts { group, provider, identity, .. } = mallory.parts().unwrap();
    if let Some(psk) = BindingPsk::demanded(&context(BINDING, true)) {
        psk.put(provider).unwrap();
    }
    group.mls.set_aad(BINDING.to_vec());
    let mut builder = group.mls.commit_builder();
    if let Some(extensions) = extensions {
        builder = builder.propose_group_context_extensions(extensions).unwrap();
    }
    let bundle = builder
        .force_self_update(true)
        .add_proposals(proposals)
        .leaf_node_parameters(leaf)
        .load_psks(provider.storage())
        .unwrap()
        .build(provider.rand(), provider.crypto(), identity.keys(), |_| true)
        .unwrap()
        .stage_commit(provider)
        .unwrap();
    let commit: MlsMessageOut = bundle.into_commit();
    commit.tls_serialize_detached().unwrap()
}

fn verdict(bob: &mut MlsLayer, commit: &[u8], group_below: bool) -> Result<(), LayerErrorKind> {
    let result = bob.process_commit(commit, &context(BINDING, group_below));
    if result.is_ok() {
        bob.apply()
    } else {
        bob.revert()
    }
    result.map(|_| ()).map_err(|error| error.kind())
}

fn psk(mallory: &mut MlsLayer, psk: Psk) -> Proposal {
    let Parts { provider, config, .. } = mallory.parts().unwrap();
    let id = PreSharedKeyId::new(config.ciphersuite(), provider.rand(), psk).unwrap();
    Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))
}

fn due(mallory: &mut MlsLayer) -> Proposal {
    let binding = BindingPsk::demanded(&context(BINDING, true)).unwrap();
    let Parts { provider, config, .. } = mallory.parts().unwrap();
    let id = binding.id(provider, config.ciphersuite()).unwrap();
    Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))
}

#[test]
fn a_commit_of_this_kind_is_taken_when_nothing_is_wrong_with_it() {
    let (mut mallory, mut bob) = pair();
    let due = due(&mut mallory);
    let commit = forge(&mut mallory, vec![due], LeafNodeParameters::default());
    assert_eq!(verdict(&mut bob, &commit, true), Ok(()));
    assert_eq!(bob.standing(), Standing::Member { epoch: 2 });
}

#[test]
fn the_psk_that_is_due_cannot_be_left_out_or_replaced() {
    let (mut mallory, mut bob) = pair();
    let resumption = {
        let Parts { group, .. } = mallory.parts().unwrap();
        let (id, epoch) = (group.mls.group_id().clone(), group.mls.epoch());
        Psk::Resumption(ResumptionPsk::new(ResumptionPskUsage::Application, id, epoch))
    };
    let resumption = psk(&mut mallory, resumption);
    let due = due(&mut mallory);
    for proposals in [vec![], vec![resumption.clone()], vec![due, resumption]] {
        let commit = forge(&mut mallory, proposals, LeafNodeParameters::default());
        assert_eq!(verdict(&mut bob, &commit, true), Err(LayerErrorKind::Rejected));
        assert_eq!(bob.standing(), Standing::Member { epoch: 1 });
        mallory.revert();
        mallory.discard_change().unwrap();
        mallory.apply();
    }
}

#[test]
fn nobody_becomes_somebody_else() {
    let (mut mallory, mut bob) = pair();
    let stranger = LeafNodeParameters::builder()
        .with_extensions(
            leaf_extensions(&MemberId::from_bytes([9; 32]), crate::roster::Ids::ApplicationId)
                .unwrap(),
        )
        .build();
    let nobody = LeafNodeParameters::builder().with_extensions(Extensions::empty()).build();
    let renamed = LeafNodeParameters::builder()
        .with_credential_with_key(CredentialWithKey {
            credential: BasicCredential::new(b"Alice".to_vec()).into(),
            signature_key: mallory.identity().signature_key().into(),
        })
        .build();
    for leaf in [stranger, nobody, renamed] {
        let due = due(&mut mallory);
        let commit = forge(&mut mallory, vec![due], leaf);
        assert_eq!(verdict(&mut bob, &commit, true), Err(LayerErrorKind::Rejected));
        mallory.transaction.reach(Progress::Ahead);
        mallory.revert();
    }
}

#[test]
fn of_the_group_context_only_the_name_changes() {
    let (mut mallory, mut bob) = pair();
    let key = mallory.identity().signature_key().to_vec();
    let outsider = BasicCredential::new(b"Trudy".to_vec()).into();
    let name = |name: &[u8]| {
        let kind = ExtensionType::Unknown(NAME_EXTENSION);
        vec![
            Extension::Unknown(NAME_EXTENSION, UnknownExtension(name.to_vec())),
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(&[kind], &[], &[])),
        ]
    };
    let required = RequiredCapabilitiesExtension::new(&[ExtensionType::LastResort], &[], &[]);
    let senders = Extension::ExternalSenders(vec![ExternalSender::new(key.into(), outsider)]);
    let named_and = |other: &Extension| [name(b"Name"), vec![other.clone()]].concat();
    for extensions in [
        vec![Extension::RequiredCapabilities(required)],
        vec![senders.clone()],
        named_and(&senders),
        name(b""),
        name(b"\xff"),
        name(&[b'x'; 4097]),
    ] {
        let extensions = Extensions::from_vec(extensions).unwrap();
        let (due, leaf) = (due(&mut mallory), LeafNodeParameters::default());
        let commit = forge_with(&mut mallory, vec![due], leaf, Some(extensions));
        assert_eq!(verdict(&mut bob, &commit, true), Err(LayerErrorKind::Rejected));
        mallory.transaction.reach(Progress::Ahead);
        mallory.revert();
    }
    let (due, leaf) = (due(&mut mallory), LeafNodeParameters::default());
    let extensions = Extensions::from_vec(name(b"Name")).unwrap();
    let commit = forge_with(&mut mallory, vec![due], leaf, Some(extensions));
    assert_eq!(verdict(&mut bob, &commit, true), Ok(()));
    assert_eq!(bob.group_name().as_deref(), Some("Name"));
}

/// A key package, without a look at its signatures.
fn unverified(mallory: &mut MlsLayer, part: &[u8]) -> KeyPackage {
    let Parts { provider, .. } = mallory.parts().unwrap();
    let mut taken = None;
    let _ = provider.crypto().verify_together(|| {
        let package = wire::key_package(part).unwrap();
        taken = package.validate(provider.crypto(), ProtocolVersion::Mls10).ok();
        Ok(())
    });
    taken.unwrap()
}

#[test]
fn nobody_takes_a_leaf_with_a_false_signature() {
    for forged in [false, true] {
        let (mut mallory, mut bob) = pair();
        let mut parts = Vec::new();
        let mut joiners: Vec<_> = (3..12)
            .map(|byte| {
                let identity = MlsIdentity::generate(byte.to_string()).unwrap();
                let mut joiner = MlsLayer::member(identity).unwrap();
                attach(byte, &mut joiner);
                parts.push(joiner.key_package(&context([0; 32], false)).unwrap());
                joiner.apply();
                joiner
            })
            .collect();
        if forged {
            // A leaf ends with its signature, and so does what stands around it.
            let leaf = unverified(&mut mallory, &parts[7]).leaf_node().clone();
            let leaf = leaf.tls_serialize_detached().unwrap();
            let at = parts[7].windows(leaf.len()).position(|part| part == leaf).unwrap();
            parts[7][at + leaf.len() - 40] ^= 1;
        }
        let added: Vec<_> = parts.iter().map(|part| unverified(&mut mallory, part)).collect();
        let Parts { group, provider, identity, .. } = mallory.parts().unwrap();
        group.mls.set_aad(BINDING.to_vec());
        let bundle = group
            .mls
            .commit_builder()
            .propose_adds(added)
            .load_psks(provider.storage())
            .unwrap()
            .create_group_info(false)
            .build(provider.rand(), provider.crypto(), identity.keys(), |_| true)
            .unwrap()
            .stage_commit(provider)
            .unwrap();
        let welcome = bundle.to_welcome_msg().unwrap().tls_serialize_detached().unwrap();
        let welcome = WelcomePart::write(welcome, &group.mls, provider, Some(&BINDING)).unwrap();
        let commit = bundle.into_commit().tls_serialize_detached().unwrap();

        let expected = if forged { Err(LayerErrorKind::Rejected) } else { Ok(()) };
        assert_eq!(verdict(&mut bob, &commit, false), expected);
        let joined = joiners[0].join(&welcome, &context(BINDING, false));
        assert_eq!(joined.map(|_| ()).map_err(|error| error.kind()), expected);
        if forged {
            joiners[0].revert();
            assert_eq!(joiners[0].standing(), Standing::Outside);
            assert_eq!(bob.standing(), Standing::Member { epoch: 1 });
        }
    }
}

/// What a commit seals to one member alone may be damaged by who makes it. That member refuses the commit and is as it
/// was, the others follow, and one of them readmits it.
#[test]
fn a_damaged_path_keeps_one_member_out_until_it_comes_back() {
    let mut members = keys::group(&crate::MlsConfig::default(), 3);
    let spoiled = &members[0].provider.crypto().spoiled_box;
    spoiled.store(true, Ordering::Relaxed);
    let commit = forge(&mut members[0], vec![], LeafNodeParameters::default());
    assert!(!members[0].provider.crypto().spoiled_box.load(Ordering::Relaxed));
    let (mut out, mut others) = (Vec::new(), Vec::new());
    for (byte, mut member) in (1..).zip(members).skip(1) {
        match verdict(&mut member, &commit, false) {
            Ok(()) => others.push(member),
            Err(kind) => {
                assert_eq!(kind, LayerErrorKind::Rejected);
                assert_eq!(member.standing(), Standing::Member { epoch: 1 });
                out.push((byte, member));
            }
        }
    }
    let ([(byte, out)], [other]) = (&mut out[..], &mut others[..]) else { panic!("one of each") };
    assert_eq!(other.standing(), Standing::Member { epoch: 2 });

    let part = keys::key_package(out);
    let removed = [keys::id(*byte)];
    let request = ChangeRequest { added: &[keys::new(*byte, &part)], removed: &removed };
    let change = other.stage_change(&request, &context(BINDING, false)).unwrap();
    other.confirm_change().unwrap();
    other.apply();
    out.join(&change.welcome, &context(BINDING, false)).unwrap();
    out.apply();
    assert_eq!(out.epoch_authenticator(), other.epoch_authenticator());
    assert_eq!(out.standing(), Standing::Member { epoch: 3 });
}
