//! An authority that certifies members with X.509.
#![allow(dead_code, reason = "each program of tests uses some of it")]

use std::{str::FromStr as _, time::Duration};

use cc_core::SecretBytes;
use cc_mls_layer::{Ciphersuite, MlsConfig, MlsCredential, MlsIdentity, MlsLayer};
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

use crate::common::Peer;

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// RFC 8410 section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// An authority that certifies Ed25519 keys.
pub(crate) struct Authority {
    keys: SignatureKeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self { keys: SignatureKeyPair::new(SignatureScheme::ED25519).unwrap() }
    }

    /// A certificate of this authority, in DER.
    pub(crate) fn certify(&self, subject: &str, key: &[u8]) -> Vec<u8> {
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
    pub(crate) fn policy(&self) -> impl Fn(&MlsCredential, &[u8]) -> bool + Send + Sync + 'static {
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

    pub(crate) fn config(&self) -> MlsConfig {
        MlsConfig::default().with_credential_policy(self.policy())
    }

    pub(crate) fn identity(&self, subject: &str) -> MlsIdentity {
        let (private, public) = key_pair(SignatureScheme::ED25519);
        MlsIdentity::x509(vec![self.certify(subject, &public)], SUITE, &private, &public).unwrap()
    }

    pub(crate) fn peer(&self, subject: &str, founds: bool) -> Peer {
        peer(self.identity(subject), founds, self.config())
    }
}

pub(crate) fn peer(identity: MlsIdentity, founds: bool, config: MlsConfig) -> Peer {
    Peer::new(if founds {
        MlsLayer::create_with("Dev Team", identity, config).unwrap()
    } else {
        MlsLayer::member_with(identity, config).unwrap()
    })
}

/// A key pair from elsewhere: the 32 bytes of the private key, and the public key.
pub(crate) fn key_pair(scheme: SignatureScheme) -> (SecretBytes, Vec<u8>) {
    let (private, public) = RustCrypto::default().signature_key_gen(scheme).unwrap();
    (SecretBytes::new(private), public)
}
