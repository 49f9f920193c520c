//! X.509 credentials, and the policy that decides who is let in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::{
    authority::{Authority, SUITE, key_pair, peer},
    common,
};

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use cc_core::{GroupLayer as _, LayerErrorKind, SecretBytes, Standing};
use cc_mls_layer::{Ciphersuite, MlsConfig, MlsCredential, MlsError, MlsIdentity, MlsLayer};
use common::{Peer, all_read_all, assemble, settle};
use openmls_traits::types::SignatureScheme;
use x509_cert::{Certificate, der::Decode as _};

/// X.509 credentials that nobody verifies.
fn lax() -> MlsConfig {
    MlsConfig::default().with_credential_policy(|_, _| true)
}

fn unverified(chain: Vec<Vec<u8>>) -> MlsIdentity {
    let (private, public) = key_pair(SignatureScheme::ED25519);
    MlsIdentity::x509(chain, SUITE, &private, &public).unwrap()
}

#[test]
fn a_group_of_certified_members_lives() {
    let authority = Authority::new();
    let alice = authority.peer("CN=Alice", true);
    let joiners = vec![authority.peer("CN=Bob", false), authority.peer("CN=Charlie", false)];
    let mut peers = assemble(alice, joiners);
    for who in 0..3 {
        let staged = peers[who].stage(&[], &[]).unwrap();
        settle(&mut peers, who, &staged, &[]);
        let wire = peers[who].seal(b"certified");
        let id = peers[who].id;
        for at in (0..3).filter(|at| *at != who) {
            assert_eq!(peers[at].open(&wire).unwrap().0.sender, Some(id));
        }
    }
    for (peer, subject) in peers.iter().zip(["CN=Alice", "CN=Bob", "CN=Charlie"]) {
        let members = peers[1].layer.mls_members();
        let member = members.iter().find(|member| member.id == peer.id).unwrap();
        assert_eq!(member.credential, peer.layer.identity().credential());
        assert_eq!((member.name.as_deref(), peer.layer.own_name()), (None, ""));
        let MlsCredential::X509 { chain } = &member.credential else {
            panic!("{:?}", member.credential);
        };
        let certificate = Certificate::from_der(&chain[0]).unwrap();
        assert_eq!(certificate.tbs_certificate.subject.to_string(), subject);
    }
}

#[test]
fn another_key_another_authority_and_no_certificate_are_refused() {
    let authority = Authority::new();
    let mut alice = authority.peer("CN=Alice", true);
    let stranger = Authority::new();
    let bobs = authority.certify("CN=Bob", &key_pair(SignatureScheme::ED25519).1);
    let forged = {
        let (private, public) = key_pair(SignatureScheme::ED25519);
        let chain = vec![stranger.certify("CN=Bob", &public)];
        MlsIdentity::x509(chain, SUITE, &private, &public).unwrap()
    };
    for identity in [
        unverified(vec![bobs]),
        forged,
        unverified(vec![b"no certificate".to_vec()]),
        MlsIdentity::generate("Bob").unwrap(),
    ] {
        let package = peer(identity, false, lax()).key_package();
        assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));
    }
    let mut bob = authority.peer("CN=Bob", false);
    let staged = alice.stage(&[bob.key_package()], &[]).unwrap();
    alice.confirm();
    assert_eq!(bob.join(&staged), Ok(Some(alice.id)));
}

#[test]
fn without_a_policy_certificates_are_refused() {
    let identity = || unverified(vec![vec![1]]);
    assert!(matches!(MlsLayer::member(identity()), Err(MlsError::Config(_))));
    assert!(matches!(MlsLayer::create("", identity()), Err(MlsError::Config(_))));

    // In a key package.
    let mut alice = Peer::founder("Alice");
    let package = peer(identity(), false, lax()).key_package();
    assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));

    // On joining.
    let mut founder = peer(identity(), true, lax());
    let package = Peer::joiner("Bob").key_package();
    assert!(founder.stage(&[package], &[]).is_err(), "Bob cannot read the founder's credential");
}

/// A policy with a switch, and how often it was asked.
#[derive(Clone, Default)]
struct Switch {
    refuses: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Switch {
    fn config(&self) -> MlsConfig {
        let Self { refuses, asked } = self.clone();
        MlsConfig::default().with_credential_policy(move |_, signature_key| {
            assert_eq!(signature_key.len(), 32);
            asked.fetch_add(1, Ordering::Relaxed);
            !refuses.load(Ordering::Relaxed)
        })
    }

    fn refuse(&self, on: bool) {
        self.refuses.store(on, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn a_refusal_changes_nothing_on_add_commit_update_and_join() {
    let switch = Switch::default();
    let peer = |name, founds| Peer::with(name, founds, switch.config());
    let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false)]);
    let mut charlie = peer("Charlie", false);
    let refused = LayerErrorKind::Rejected;
    switch.asked();

    // Alice adds.
    let package = charlie.key_package();
    switch.refuse(true);
    assert_eq!(peers[0].stage(std::slice::from_ref(&package), &[]).map(|_| ()), Err(refused));
    assert_eq!((peers[0].epoch(), switch.asked()), (1, 1));
    switch.refuse(false);
    let staged = peers[0].stage(&[package], &[]).unwrap();
    assert_eq!(switch.asked(), 1);

    // Bob learns of it: the newcomer and the committer.
    switch.refuse(true);
    assert_eq!(peers[1].process(&staged).map(|_| ()), Err(refused));
    assert_eq!((peers[1].epoch(), switch.asked()), (1, 1));
    switch.refuse(false);
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(switch.asked(), 2);

    // Charlie joins: everyone.
    switch.refuse(true);
    assert_eq!(charlie.join(&staged), Err(refused));
    assert_eq!((charlie.layer.standing(), switch.asked()), (Standing::Outside, 1));
    switch.refuse(false);
    assert_eq!(charlie.join(&staged), Ok(Some(peers[0].id)));
    assert_eq!(switch.asked(), 3);
    peers.push(charlie);

    // An update.
    let staged = peers[2].stage(&[], &[]).unwrap();
    switch.refuse(true);
    assert_eq!(peers[0].process(&staged).map(|_| ()), Err(refused));
    switch.refuse(false);
    switch.asked();
    settle(&mut peers, 2, &staged, &[]);
    assert_eq!(switch.asked(), 2);
    all_read_all(&mut peers);
}

#[test]
fn a_member_without_a_policy_keeps_certificates_out_of_the_group() {
    let authority = Authority::new();
    let open = || MlsConfig::default().with_credential_policy(|_, _| true);
    let identity = MlsIdentity::generate("Alice").unwrap();
    let mut peers = assemble(peer(identity, true, open()), vec![Peer::joiner("Bob")]);
    let mut carol = peer(authority.identity("CN=Carol"), false, open());
    // Bob could not read Carol's credential (RFC 9420 section 7.3).
    assert!(peers[0].stage(&[carol.key_package()], &[]).is_err());
    all_read_all(&mut peers);
    let bob = peers[1].id;
    let staged = peers[0].stage(&[], &[bob]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    let staged = peers[0].stage(&[carol.key_package()], &[]).unwrap();
    peers[0].confirm();
    assert_eq!(carol.join(&staged), Ok(Some(peers[0].id)));
}

#[test]
fn the_halves_of_a_key_pair_belong_together() {
    for (suite, theirs) in [
        (SUITE, SignatureScheme::ED25519),
        (
            Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
            SignatureScheme::ECDSA_SECP256R1_SHA256,
        ),
    ] {
        let chain = || vec![vec![1]];
        let ((private, public), (other, _)) = (key_pair(theirs), key_pair(theirs));
        let identity = MlsIdentity::x509(chain(), suite, &private, &public).unwrap();
        assert_eq!((identity.signature_key(), identity.name()), (&public[..], ""));
        assert_eq!(identity.credential(), MlsCredential::X509 { chain: chain() });
        assert!(!format!("{identity:?}").contains(&format!("{:?}", private.expose())));
        let short = SecretBytes::new(private.expose()[..31].to_vec());
        let none = SecretBytes::new(Vec::new());
        let zero = SecretBytes::new(vec![0; 32]);
        for (private, public) in [
            (&other, &public[..]),
            (&short, &public[..]),
            (&none, &public[..]),
            (&zero, &public[..]),
            (&private, &public[1..]),
            (&private, &[][..]),
        ] {
            let made = MlsIdentity::x509(chain(), suite, private, public);
            assert!(matches!(made, Err(MlsError::KeyPair)));
        }
        for chain in [vec![], vec![vec![]], vec![vec![1], vec![]], vec![vec![1; 1 << 20], vec![1]]]
        {
            let made = MlsIdentity::x509(chain, suite, &private, &public);
            assert!(matches!(made, Err(MlsError::Chain)));
        }
    }
}

#[test]
fn a_policy_is_set_again_after_a_restart() {
    let authority = Authority::new();
    let joiners = vec![authority.peer("CN=Bob", false).stored()];
    let mut peers = assemble(authority.peer("CN=Alice", true), joiners);
    peers[1].restart();
    assert_eq!(peers[1].layer.identity().credential(), {
        let members = peers[0].layer.mls_members();
        members.iter().find(|member| member.id == peers[1].id).unwrap().credential.clone()
    });
    // It reads and writes, but nobody gets in unseen: neither by this member nor by another's change.
    let wire = peers[0].seal(b"hello");
    peers[1].open(&wire).unwrap();
    let package = authority.peer("CN=Charlie", false).key_package();
    let refused = Err(LayerErrorKind::NotReady);
    assert_eq!(peers[1].stage(std::slice::from_ref(&package), &[]).map(|_| ()), refused);
    let staged = peers[0].stage(&[package], &[]).unwrap();
    assert_eq!(peers[1].process(&staged).map(|_| ()), refused);

    peers[1].layer.set_credential_policy(authority.policy()).unwrap();
    peers[1].keep().unwrap();
    settle(&mut peers, 0, &staged, &[]);

    // Set on a layer that had none, it is remembered to have been there.
    let mut dora = Peer::joiner("Dora").stored();
    dora.layer.set_credential_policy(|_, _| true).unwrap();
    dora.keep().unwrap();
    dora.restart();
    assert!(format!("{:?}", dora.layer.config()).contains("to be set again"));
}
