//! GREASE (RFC 9420 section 13.5): values that mean nothing, which other libraries sprinkle in, so that nobody
//! comes to refuse what they do not know.

use super::{
    BINDING, attach, context,
    forged::{Forged, bound, extension},
    pair,
};
use cc_core::{
    ChangeRequest, CipherLayer as _, GroupLayer as _, LayerErrorKind, MemberId, NewMember,
};

use crate::{MlsConfig, MlsIdentity, MlsLayer, config::BINDING_EXTENSION};

/// Whether a key package is taken whose owner knows this extension type and has one of it in the key package
/// or in the leaf.
fn is_taken(kind: u16, in_leaf: bool) -> bool {
    let (mut alice, _) = pair();
    let config = MlsConfig::default().with_extension_types(vec![kind]);
    let mut bob = MlsLayer::member_with(MlsIdentity::generate("Bob").unwrap(), config).unwrap();
    attach(9, &mut bob);
    let part = bob.key_package(&context([0; 32], false)).unwrap();
    let id = MemberId::from_bytes([9; 32]);
    let meaningless = extension(kind, b"anything");
    let forged = if in_leaf {
        let leaf = [extension(1, &crate::hostile::forged::vector(id.as_bytes())), meaningless];
        Forged { leaf_extensions: Some(leaf.concat()), ..Default::default() }
    } else {
        let all = [extension(BINDING_EXTENSION, &bound(&part)), meaningless].concat();
        Forged { extensions: Some(all), ..Default::default() }
    };
    let part = forged.sign(&bob, &part);
    // The layer itself looks past it.
    assert!(alice.inspect_key_package(&part).is_ok());
    let added = [NewMember { id, part: &part, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    match alice.stage_change(&request, &context(BINDING, false)) {
        Ok(_) => true,
        Err(error) => {
            // Of a leaf, openmls says so only when it makes the commit.
            let kinds = [LayerErrorKind::Rejected, LayerErrorKind::Misuse];
            assert!(kinds.contains(&error.kind()), "{error}");
            alice.revert();
            false
        }
    }
}

#[test]
fn an_extension_that_only_its_owner_knows_is_taken() {
    assert!(is_taken(0xf0aa, false));
    assert!(is_taken(0xf0aa, true));
}

/// A fault of openmls 0.9.2, mended in its repository and not released: it reads the type among the capabilities
/// as GREASE, the extension itself as unknown, and finds that the two are not the same. When this test fails, a
/// release has brought the mending: turn it, and take the sentence out of the README.
#[test]
fn grease_in_an_extension_is_refused_until_openmls_is_mended() {
    assert!(!is_taken(0x0a0a, false));
    assert!(!is_taken(0x0a0a, true));
}

/// Among the capabilities it is ignored, as it should be.
#[test]
fn grease_among_the_capabilities_is_taken() {
    let (mut alice, _) = pair();
    let config = MlsConfig::default().with_extension_types(vec![0x0a0a, 0xeaea]);
    let mut bob = MlsLayer::member_with(MlsIdentity::generate("Bob").unwrap(), config).unwrap();
    attach(9, &mut bob);
    let part = bob.key_package(&context([0; 32], false)).unwrap();
    let id = MemberId::from_bytes([9; 32]);
    let added = [NewMember { id, part: &part, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    assert!(alice.stage_change(&request, &context(BINDING, false)).is_ok());
}
