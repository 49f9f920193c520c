//! A group in openmls alone, with the memory storage that comes with it.

use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, MlsGroup, MlsGroupCreateConfig,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsProvider,
    PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProtocolMessage, StagedWelcome,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

pub(crate) struct Bare {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    group: MlsGroup,
}

impl Bare {
    pub(crate) fn send(&mut self, text: &[u8]) -> Vec<u8> {
        let message = self.group.create_message(&self.provider, &self.signer, text).unwrap();
        message.tls_serialize_detached().unwrap()
    }

    pub(crate) fn receive(&mut self, wire: &[u8]) {
        let message = MlsMessageIn::tls_deserialize(&mut &*wire).unwrap();
        let message: ProtocolMessage = message.try_into_protocol_message().unwrap();
        self.group.process_message(&self.provider, message).unwrap();
    }
}

/// The same group in openmls alone.
pub(crate) fn bare(size: usize) -> (Bare, Bare) {
    let identity = |name: usize| {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.to_string().into_bytes()).into(),
            signature_key: signer.to_public_vec().into(),
        };
        (provider, signer, credential)
    };
    let (provider, signer, credential) = identity(0);
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(32)
        .use_ratchet_tree_extension(true)
        .build();
    let group = MlsGroup::new(&provider, &signer, &config, credential).unwrap();
    let mut founder = Bare { provider, signer, group };
    let joiners: Vec<_> = (1..size)
        .map(|i| {
            let (provider, signer, credential) = identity(i);
            let bundle =
                KeyPackage::builder().build(SUITE, &provider, &signer, credential).unwrap();
            (provider, signer, bundle.into_key_package())
        })
        .collect();
    let packages: Vec<_> = joiners.iter().map(|(.., package)| package.clone()).collect();
    let (_, welcome, _) =
        founder.group.add_members(&founder.provider, &founder.signer, &packages).unwrap();
    founder.group.merge_pending_commit(&founder.provider).unwrap();
    let welcome: MlsMessageOut = welcome;
    let welcome = welcome.tls_serialize_detached().unwrap();
    let join = MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(32)
        .use_ratchet_tree_extension(true)
        .build();
    let mut others: Vec<_> = joiners
        .into_iter()
        .map(|(provider, signer, _)| {
            let message = MlsMessageIn::tls_deserialize(&mut &*welcome).unwrap();
            let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { unreachable!() };
            let staged = StagedWelcome::new_from_welcome(&provider, &join, welcome, None).unwrap();
            let group = staged.into_group(&provider).unwrap();
            Bare { provider, signer, group }
        })
        .collect();
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
    let _ = founder.provider.storage();
    (founder, other)
}
