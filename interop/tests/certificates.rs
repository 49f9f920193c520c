//! Certificates that mls-rs and the layer show one another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::convert::Infallible;

use cc_core::LayerErrorKind;
use cc_mls_layer::MlsCredential;
use mls_rs::{
    CipherSuite,
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
use x509_cert::{Certificate, der::Decode as _};

use crate::{
    authority::{Authority, peer},
    foreign::foreign_as,
};

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
