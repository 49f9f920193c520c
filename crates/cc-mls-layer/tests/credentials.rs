//! X.509 credentials, and the policy that decides who is let in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::{common, foreign};

use std::{
    convert::Infallible,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cc_core::{GroupLayer as _, LayerErrorKind, SecretBytes, Standing};
use cc_mls_layer::{Ciphersuite, MlsConfig, MlsCredential, MlsError, MlsIdentity, MlsLayer};
use common::{Peer, all_read_all, assemble, settle};
use foreign::foreign_as;
use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, CryptoProvider as _,
    crypto::SignaturePublicKey,
    group::ReceivedMessage,
    identity::{
        Credential,
        x509::{
            CertificateChain, DerCertificate, X509CredentialValidator, X509IdentityExtractor,
            X509IdentityProvider,
        },
    },
    time::MlsTime,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{crypto::OpenMlsCrypto as _, signatures::Signer as _, types::SignatureScheme};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    der::{
        Decode as _, Encode as _,
        asn1::{BitString, ObjectIdentifier},
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifier, SubjectPublicKeyInfo},
    time::Validity,
};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// RFC 8410 section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// An authority that certifies Ed25519 keys.
struct Authority {
    keys: SignatureKeyPair,
}

impl Authority {
    fn new() -> Self {
        Self { keys: SignatureKeyPair::new(SignatureScheme::ED25519).unwrap() }
    }

    /// A certificate of this authority, in DER.
    fn certify(&self, subject: &str, key: &[u8]) -> Vec<u8> {
        let algorithm = AlgorithmIdentifier { oid: ED25519, parameters: None };
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&[1]).unwrap(),
            signature: algorithm.clone(),
            issuer: Name::from_str("CN=Authority").unwrap(),
            validity: Validity::from_now(Duration::from_secs(3600)).unwrap(),
            subject: Name::from_str(subject).unwrap(),
            subject_public_key_info: SubjectPublicKeyInfo {
                algorithm: algorithm.clone(),
                subject_public_key: BitString::from_bytes(key).unwrap(),
            },
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: None,
        };
        let signature = self.keys.sign(&tbs.to_der().unwrap()).unwrap();
        let signature = BitString::from_bytes(&signature).unwrap();
        Certificate { tbs_certificate: tbs, signature_algorithm: algorithm, signature }
            .to_der()
            .unwrap()
    }

    /// Lets in whom this authority certified directly, and nobody else.
    fn policy(&self) -> impl Fn(&MlsCredential, &[u8]) -> bool + Send + Sync + 'static {
        let authority = self.keys.to_public_vec();
        move |credential, signature_key| {
            let MlsCredential::X509 { chain } = credential else {
                return false;
            };
            let [certificate] = &chain[..] else {
                return false;
            };
            let Ok(certificate) = Certificate::from_der(certificate) else {
                return false;
            };
            let tbs = &certificate.tbs_certificate;
            let key = &tbs.subject_public_key_info;
            let valid = tbs.validity.not_after.to_system_time() > std::time::SystemTime::now();
            key.algorithm.oid == ED25519
                && key.subject_public_key.as_bytes() == Some(signature_key)
                && valid
                && tbs.to_der().is_ok_and(|tbs| {
                    let signature = certificate.signature.raw_bytes();
                    RustCrypto::default()
                        .verify_signature(SignatureScheme::ED25519, &tbs, &authority, signature)
                        .is_ok()
                })
        }
    }

    fn config(&self) -> MlsConfig {
        MlsConfig::default().with_credential_policy(self.policy())
    }

    fn identity(&self, subject: &str) -> MlsIdentity {
        let (private, public) = key_pair(CipherSuite::CURVE25519_AES128);
        MlsIdentity::x509(vec![self.certify(subject, &public)], SUITE, &private, &public).unwrap()
    }

    fn peer(&self, subject: &str, founds: bool) -> Peer {
        peer(self.identity(subject), founds, self.config())
    }
}

fn peer(identity: MlsIdentity, founds: bool, config: MlsConfig) -> Peer {
    Peer::new(if founds {
        MlsLayer::create_with("Dev Team", identity, config).unwrap()
    } else {
        MlsLayer::member_with(identity, config).unwrap()
    })
}

/// A key pair from elsewhere: the 32 bytes of the private key, and the public key.
fn key_pair(suite: CipherSuite) -> (SecretBytes, Vec<u8>) {
    let provider = RustCryptoProvider::default().cipher_suite_provider(suite).unwrap();
    let (secret, public) = provider.signature_key_generate().unwrap();
    (SecretBytes::new(secret.as_bytes()[..32].to_vec()), public.as_bytes().to_vec())
}

/// X.509 credentials that nobody verifies.
fn lax() -> MlsConfig {
    MlsConfig::default().with_credential_policy(|_, _| true)
}

fn unverified(chain: Vec<Vec<u8>>) -> MlsIdentity {
    let (private, public) = key_pair(CipherSuite::CURVE25519_AES128);
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

/// What mls-rs asks of its application about certificates.
#[derive(Clone)]
struct Reader;

impl X509IdentityExtractor for Reader {
    type Error = Infallible;

    fn identity(&self, chain: &CertificateChain) -> Result<Vec<u8>, Self::Error> {
        Ok(chain[0].to_vec())
    }

    fn valid_successor(
        &self,
        old: &CertificateChain,
        new: &CertificateChain,
    ) -> Result<bool, Self::Error> {
        Ok(old == new)
    }
}

impl X509CredentialValidator for Reader {
    type Error = Infallible;

    fn validate_chain(
        &self,
        chain: &CertificateChain,
        _: Option<MlsTime>,
    ) -> Result<SignaturePublicKey, Self::Error> {
        let certificate = Certificate::from_der(&chain[0]).unwrap();
        let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key;
        Ok(key.raw_bytes().to_vec().into())
    }
}

#[test]
fn mls_rs_reads_the_certificates_and_its_own_are_read() {
    let authority = Authority::new();
    let config = authority.config().with_plain_peers(true);
    let mut alice = peer(authority.identity("CN=Alice"), true, config).alone();
    let suite = CipherSuite::CURVE25519_AES128;
    let chain = |authority: &Authority, key: &[u8]| {
        Credential::X509(CertificateChain::from(vec![DerCertificate::new(
            authority.certify("CN=Xenia", key),
        )]))
    };
    let reader = || X509IdentityProvider::new(Reader, Reader);
    let stranger = foreign_as(suite, reader(), &|key| chain(&Authority::new(), key)).key_package();
    assert_eq!(alice.stage(&[stranger], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));

    let mut xenia = foreign_as(suite, reader(), &|key| chain(&authority, key));
    let staged = alice.stage(&[xenia.key_package()], &[]).unwrap();
    alice.confirm();
    xenia.join(&staged);
    for at in 0..2 {
        let ours = &alice.layer.mls_members()[at as usize];
        let theirs = xenia.group().roster().member_with_index(at).unwrap();
        let Credential::X509(theirs) = theirs.signing_identity.credential else {
            panic!("another kind of credential");
        };
        let theirs = theirs.iter().map(|certificate| certificate.to_vec()).collect();
        assert_eq!(ours.credential, MlsCredential::X509 { chain: theirs });
    }
    let wire = xenia.seal(&alice.stack);
    assert_eq!(alice.open(&wire).unwrap().0.sender, Some(xenia.id));
    let wire = alice.seal(b"certified");
    assert!(matches!(xenia.process(&wire.body), ReceivedMessage::ApplicationMessage(_)));

    // And an update of hers, for which the policy is asked again.
    let staged = xenia.commit(&[], None, [1; 32], false);
    xenia.group().apply_pending_commit().unwrap();
    assert_eq!(alice.process(&staged).unwrap().committer, Some(xenia.id));
}

#[test]
fn another_key_another_authority_and_no_certificate_are_refused() {
    let authority = Authority::new();
    let mut alice = authority.peer("CN=Alice", true);
    let stranger = Authority::new();
    let bobs = authority.certify("CN=Bob", &key_pair(CipherSuite::CURVE25519_AES128).1);
    let forged = {
        let (private, public) = key_pair(CipherSuite::CURVE25519_AES128);
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
        (SUITE, CipherSuite::CURVE25519_AES128),
        (Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256, CipherSuite::P256_AES128),
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
