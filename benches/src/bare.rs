//! A group in openmls alone: with its own cryptography and the memory storage that comes with it, or with what a
//! benchmark gives it.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    clippy::missing_panics_doc,
    reason = "a benchmark fails by panicking"
)]

use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, KeyPackageIn, MlsGroup,
    MlsGroupCreateConfig, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider,
    PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProtocolMessage, ProtocolVersion, StagedWelcome,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::Signer;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// A member.
#[derive(Debug)]
pub struct Bare<P = OpenMlsRustCrypto, S = SignatureKeyPair> {
    provider: P,
    signer: S,
    group: MlsGroup,
}

/// Who sends and receives.
pub trait Member {
    fn send(&mut self, text: &[u8]) -> Vec<u8>;
    fn receive(&mut self, wire: &[u8]);
}

impl<P: OpenMlsProvider, S: Signer> Member for Bare<P, S> {
    fn send(&mut self, text: &[u8]) -> Vec<u8> {
        let message = self.group.create_message(&self.provider, &self.signer, text).unwrap();
        message.tls_serialize_detached().unwrap()
    }

    fn receive(&mut self, wire: &[u8]) {
        let message = MlsMessageIn::tls_deserialize(&mut &*wire).unwrap();
        let message: ProtocolMessage = message.try_into_protocol_message().unwrap();
        self.group.process_message(&self.provider, message).unwrap();
    }
}

/// Who has a key package and is in no group yet.
#[derive(Debug)]
pub struct Joiner<P = OpenMlsRustCrypto, S = SignatureKeyPair> {
    provider: P,
    signer: S,
    package: KeyPackage,
}

/// A group of one.
pub fn founder<P: OpenMlsProvider + Default, S: Signer + From<SignatureKeyPair>>(
    name: &str,
) -> Bare<P, S> {
    let (provider, signer, credential) = identity(name);
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(32)
        .use_ratchet_tree_extension(true)
        .build();
    let group = MlsGroup::new(&provider, &signer, &config, credential).unwrap();
    Bare { provider, signer, group }
}

pub fn joiner<P: OpenMlsProvider + Default, S: Signer + From<SignatureKeyPair>>(
    name: &str,
) -> Joiner<P, S> {
    let (provider, signer, credential) = identity(name);
    let bundle = KeyPackage::builder().build(SUITE, &provider, &signer, credential).unwrap();
    Joiner { provider, signer, package: bundle.into_key_package() }
}

fn identity<P: Default, S: From<SignatureKeyPair>>(name: &str) -> (P, S, CredentialWithKey) {
    let provider = P::default();
    let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
        signature_key: signer.to_public_vec().into(),
    };
    (provider, signer.into(), credential)
}

impl<P: OpenMlsProvider, S: Signer> Bare<P, S> {
    /// Adds the owners of these key packages by one commit, which comes into force; gives the welcome.
    pub fn add(&mut self, packages: &[Vec<u8>]) -> Vec<u8> {
        let packages: Vec<_> = packages
            .iter()
            .map(|package| {
                KeyPackageIn::tls_deserialize(&mut package.as_slice())
                    .unwrap()
                    .validate(self.provider.crypto(), ProtocolVersion::Mls10)
                    .unwrap()
            })
            .collect();
        let (_, welcome, _) =
            self.group.add_members(&self.provider, &self.signer, &packages).unwrap();
        self.group.merge_pending_commit(&self.provider).unwrap();
        welcome.tls_serialize_detached().unwrap()
    }
}

impl<P: OpenMlsProvider, S: Signer> Joiner<P, S> {
    pub fn package(&self) -> Vec<u8> {
        self.package.tls_serialize_detached().unwrap()
    }

    pub fn join(self, mut welcome: &[u8]) -> Bare<P, S> {
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(32)
            .use_ratchet_tree_extension(true)
            .build();
        let Self { provider, signer, .. } = self;
        let message = MlsMessageIn::tls_deserialize(&mut welcome).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { unreachable!() };
        let staged = StagedWelcome::new_from_welcome(&provider, &config, welcome, None).unwrap();
        let group = staged.into_group(&provider).unwrap();
        Bare { provider, signer, group }
    }
}

/// Two members of a group of `size`, all of whom have spoken.
pub fn bare<P: OpenMlsProvider + Default, S: Signer + From<SignatureKeyPair>>(
    size: usize,
) -> (Bare<P, S>, Bare<P, S>) {
    let mut founder = founder("0");
    let joiners: Vec<Joiner<P, S>> = (1..size).map(|i| joiner(&i.to_string())).collect();
    let packages: Vec<_> = joiners.iter().map(Joiner::package).collect();
    let welcome = founder.add(&packages);
    let mut others: Vec<_> = joiners.into_iter().map(|joiner| joiner.join(&welcome)).collect();
    let hellos: Vec<_> = others.iter_mut().map(|other| other.send(b"hello")).collect();
    let mut other = others.swap_remove(0);
    for (i, hello) in hellos.iter().enumerate() {
        founder.receive(hello);
        if i > 0 {
            other.receive(hello);
        }
    }
    let hello = founder.send(b"hello");
    other.receive(&hello);
    (founder, other)
}
