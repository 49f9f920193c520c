//! Expiry: what is added has to be valid, and who follows looks at no clock.

use super::{
    BINDING, attach, context,
    forged::{Forged, bound, extension},
    pair, unverified,
};
use cc_core::{
    ChangeRequest, CipherLayer as _, GroupLayer as _, LayerErrorKind, MemberId, NewMember,
    PartContext,
};
use openmls::prelude::{LeafNodeParameters, Proposal};

use crate::{MlsConfig, MlsIdentity, MlsLayer, config::BINDING_EXTENSION, layer::Parts};

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(now: u64, binding: [u8; 32]) -> PartContext<'static> {
    PartContext { now: Some(now), ..context(binding, false) }
}

fn joiner(byte: u8) -> MlsLayer {
    let mut layer = MlsLayer::member(MlsIdentity::generate(byte.to_string()).unwrap()).unwrap();
    attach(byte, &mut layer);
    layer
}

/// What Mallory says to a key package of this validity at `NOW`.
fn verdict(mallory: &mut MlsLayer, not_before: u64, not_after: u64) -> Result<(), LayerErrorKind> {
    let mut eve = joiner(9);
    let part = eve.key_package(&at(NOW, [0; 32])).unwrap();
    eve.apply();
    let mut content = bound(&part);
    content[32..40].copy_from_slice(&not_before.to_be_bytes());
    content[40..].copy_from_slice(&not_after.to_be_bytes());
    let extensions = Some(extension(BINDING_EXTENSION, &content));
    let part = Forged { extensions, ..Default::default() }.sign(&eve, &part);
    assert_eq!(mallory.inspect_key_package(&part).unwrap().expires, Some(not_after));
    let id = MemberId::from_bytes([9; 32]);
    let added = [NewMember { id, part: &part, binding: [0; 32] }];
    let staged =
        mallory.stage_change(&ChangeRequest { added: &added, removed: &[] }, &at(NOW, BINDING));
    mallory.revert();
    if let Err(error) = &staged {
        assert_eq!(error.member(), Some(id));
    } else {
        mallory.discard_change().unwrap();
        mallory.apply();
    }
    staged.map(drop).map_err(|error| error.kind())
}

#[test]
fn what_is_added_has_to_be_valid_for_a_while_and_not_for_ever() {
    let (mut mallory, _) = pair();
    let refused = Err(LayerErrorKind::Rejected);
    for (from, until, expected) in [
        (NOW - DAY, NOW + 84 * DAY, Ok(())),
        (NOW, NOW + HOUR, Ok(())),
        (NOW, NOW + HOUR - 1, refused),
        (NOW - DAY, NOW, refused),
        (NOW - 2 * DAY, NOW - DAY, refused),
        (NOW + 1, NOW + DAY, refused),
        (NOW - DAY, NOW + 84 * DAY + 1, refused),
        (0, NOW + DAY, refused),
        (0, u64::MAX, refused),
        (NOW, u64::MAX, refused),
        (NOW + DAY, NOW - DAY, refused),
        (u64::MAX, 0, refused),
    ] {
        assert_eq!(verdict(&mut mallory, from, until), expected, "{from} {until}");
    }
    mallory.config =
        MlsConfig::default().with_min_remaining_lifetime(2 * HOUR).with_max_lifetime(3 * HOUR);
    assert_eq!(verdict(&mut mallory, NOW, NOW + 2 * HOUR), Ok(()));
    assert_eq!(verdict(&mut mallory, NOW, NOW + 2 * HOUR - 1), refused);
    assert_eq!(verdict(&mut mallory, NOW, NOW + 3 * HOUR), Ok(()));
    assert_eq!(verdict(&mut mallory, NOW, NOW + 3 * HOUR + 1), refused);
}

#[test]
fn a_binding_of_another_length_is_refused() {
    let (mut mallory, _) = pair();
    let mut eve = joiner(9);
    let part = eve.key_package(&context([0; 32], false)).unwrap();
    let content = bound(&part);
    for content in [&content[..32], &content[..47], &[&content[..], &[0]].concat(), &[]] {
        let extensions = Some(extension(BINDING_EXTENSION, content));
        let part = Forged { extensions, ..Default::default() }.sign(&eve, &part);
        assert!(mallory.inspect_key_package(&part).is_err());
        let id = MemberId::from_bytes([9; 32]);
        let added = [NewMember { id, part: &part, binding: [0; 32] }];
        let request = ChangeRequest { added: &added, removed: &[] };
        let refused = mallory.stage_change(&request, &context(BINDING, false)).unwrap_err();
        assert_eq!(refused.kind(), LayerErrorKind::Rejected);
        mallory.revert();
    }
}

/// A lifetime in the leaf would make a commit stand or fall by the clock of who follows it.
#[test]
fn a_leaf_that_ends_is_refused_by_who_adds_and_by_who_follows() {
    let (mut mallory, mut bob) = pair();
    let mut eve = joiner(9);
    let now = eve.provider.clock.now();
    let part = eve.key_package(&context([0; 32], false)).unwrap();
    eve.apply();
    let lifetime = Some((now - HOUR, now + 10 * DAY));
    let part = Forged { lifetime, ..Default::default() }.sign(&eve, &part);
    let id = MemberId::from_bytes([9; 32]);
    let added = [NewMember { id, part: &part, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    let refused = mallory.stage_change(&request, &context(BINDING, false)).unwrap_err();
    assert_eq!((refused.kind(), refused.member()), (LayerErrorKind::Rejected, Some(id)));
    mallory.revert();

    let package = unverified(&mut mallory, &part);
    let Parts { group, provider, identity, .. } = mallory.parts().unwrap();
    let add = {
        group.mls.set_aad(BINDING.to_vec());
        let (proposal, _) =
            group.mls.propose_add_member(provider, identity.keys(), &package).unwrap();
        drop(proposal);
        let queued = group.mls.pending_proposals().next().unwrap().proposal().clone();
        group
            .mls
            .clear_pending_proposals(openmls_traits::OpenMlsProvider::storage(provider))
            .unwrap();
        queued
    };
    assert!(matches!(add, Proposal::Add(_)));
    let commit = super::forge(&mut mallory, vec![add], LeafNodeParameters::default());
    let refused = bob.process_commit(&commit, &context(BINDING, false)).unwrap_err();
    assert_eq!((refused.kind(), refused.member()), (LayerErrorKind::Rejected, Some(id)));
}
