//! A member with another library: mls-rs.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::time::Duration;

use cc_core::{Header, Hint, Kind, LayerDescriptor, MemberId, StackId};
use cc_mls_layer::Ciphersuite;
use mls_rs::{
    CipherSuite, CipherSuiteProvider as _, Client, CryptoProvider as _, ExtensionList, Group,
    IdentityProvider, MlsMessage,
    client_builder::{MlsConfig, PaddingMode},
    extension::ExtensionType,
    group::ReceivedMessage,
    identity::{
        Credential, SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
    psk::{ExternalPskId, PreSharedKey},
    storage_provider::in_memory::InMemoryPreSharedKeyStorage,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;
use sha2::{Digest as _, Sha256};

use crate::common::{KeyPackage, POSITION, Staged, Wire, message_context};

pub(crate) const NAME_EXTENSION: u16 = 0xf0cd;

pub(crate) const SUITES: [(Ciphersuite, CipherSuite); 3] = [
    (Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, CipherSuite::CURVE25519_AES128),
    (
        Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        CipherSuite::CURVE25519_CHACHA,
    ),
    (Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256, CipherSuite::P256_AES128),
];

/// A member with mls-rs.
pub(crate) struct Foreign<C: MlsConfig> {
    pub(crate) client: Client<C>,
    pub(crate) group: Option<Group<C>>,
    pub(crate) psks: InMemoryPreSharedKeyStorage,
    pub(crate) id: MemberId,
}

pub(crate) fn foreign(name: &str, suite: CipherSuite) -> Foreign<impl MlsConfig + use<>> {
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    foreign_as(suite, BasicIdentityProvider, &|_| credential.clone())
}

/// A member whose welcomes have no ratchet tree.
pub(crate) fn foreign_without_tree(
    name: &str,
    suite: CipherSuite,
) -> Foreign<impl MlsConfig + use<>> {
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    foreign_with(suite, BasicIdentityProvider, &|_| credential.clone(), false)
}

/// A member with the credential for its signature key.
pub(crate) fn foreign_as<P: IdentityProvider + Clone>(
    suite: CipherSuite,
    identity_provider: P,
    credential: &dyn Fn(&[u8]) -> Credential,
) -> Foreign<impl MlsConfig + use<P>> {
    foreign_with(suite, identity_provider, credential, true)
}

fn foreign_with<P: IdentityProvider + Clone>(
    suite: CipherSuite,
    identity_provider: P,
    credential: &dyn Fn(&[u8]) -> Credential,
    tree_in_welcome: bool,
) -> Foreign<impl MlsConfig + use<P>> {
    let crypto = RustCryptoProvider::default();
    let provider = crypto.cipher_suite_provider(suite).unwrap();
    let (secret, public) = provider.signature_key_generate().unwrap();
    // What a stack of only this layer calls the owner of this key.
    let mut commitment = Sha256::new();
    commitment.update(b"cascading-cipher/1 mls member");
    commitment.update(u16::from(suite).to_be_bytes());
    commitment.update(public.as_ref() as &[u8]);
    let parameters = u16::from(suite).to_be_bytes().to_vec();
    let layer = LayerDescriptor { id: "cc.mls", version: 1, parameters };
    let id = MemberId::of([(&layer, commitment.finalize().into())]);
    let credential = credential(public.as_bytes());
    let rules = DefaultMlsRules::new()
        .with_commit_options(
            CommitOptions::new()
                .with_path_required(true)
                .with_ratchet_tree_extension(tree_in_welcome),
        )
        .with_encryption_options(EncryptionOptions::new(true, PaddingMode::StepFunction));
    let psks = InMemoryPreSharedKeyStorage::default();
    let client = Client::builder()
        .psk_store(psks.clone())
        .identity_provider(identity_provider)
        .crypto_provider(crypto)
        .mls_rules(rules)
        .extension_types([ExtensionType::from(NAME_EXTENSION)])
        .key_package_lifetime(Duration::from_secs(28 * 24 * 3600))
        .signing_identity(SigningIdentity::new(credential, public), secret, suite)
        .build();
    Foreign { client, group: None, psks, id }
}

impl<C: MlsConfig> Foreign<C> {
    pub(crate) fn found(&mut self) {
        let group =
            self.client.create_group(ExtensionList::default(), ExtensionList::default(), None);
        self.group = Some(group.unwrap());
    }

    pub(crate) fn key_package(&self) -> KeyPackage {
        let none = ExtensionList::default;
        let message = self.client.generate_key_package_message(none(), none(), None).unwrap();
        let binding = [0; 32];
        KeyPackage { id: self.id, part: message.to_bytes().unwrap(), binding }
    }

    pub(crate) fn group(&mut self) -> &mut Group<C> {
        self.group.as_mut().unwrap()
    }

    /// A commit, not yet in force.
    pub(crate) fn commit(
        &mut self,
        added: &[KeyPackage],
        removed: Option<u32>,
        binding: [u8; 32],
        psk: bool,
    ) -> Staged {
        let mut commit = self.group().commit_builder().authenticated_data(binding.to_vec());
        for package in added {
            commit = commit.add_member(MlsMessage::from_bytes(&package.part).unwrap()).unwrap();
        }
        if let Some(leaf) = removed {
            commit = commit.remove_member(leaf).unwrap();
        }
        if psk {
            commit = commit.add_external_psk(psk_id(&binding)).unwrap();
        }
        let output = commit.build().unwrap();
        let welcome = output.welcome_messages.first();
        let parts = cc_core::ChangeParts {
            commit: output.commit_message.to_bytes().unwrap(),
            welcome: welcome.map_or_else(Vec::new, |welcome| welcome.to_bytes().unwrap()),
        };
        Staged { parts, binding }
    }

    pub(crate) fn process(&mut self, bytes: &[u8]) -> ReceivedMessage {
        let message = MlsMessage::from_bytes(bytes).unwrap();
        self.group().process_incoming_message(message).unwrap()
    }

    pub(crate) fn join(&mut self, staged: &Staged) {
        let welcome = MlsMessage::from_bytes(&staged.parts.welcome).unwrap();
        self.group = Some(self.client.join_group(None, &welcome, None).unwrap().0);
    }
}

impl<C: MlsConfig> Foreign<C> {
    /// A message with the envelope that the layer expects around it.
    pub(crate) fn seal(&mut self, stack: &StackId) -> Wire {
        let hint = self.group().current_epoch().to_be_bytes();
        let hint = Hint { position: POSITION, value: hint.as_slice().into() };
        let header = Header::new(Kind::Application, stack, vec![hint]);
        let binding = header.binding(stack, b"");
        let data = message_context(&binding).associated_data().to_vec();
        let message = self.group().encrypt_application_message(b"from mls-rs", data).unwrap();
        Wire { header, body: message.to_bytes().unwrap() }
    }
}

/// What the layer's external PSK is called, and what it is where only group layers are below.
pub(crate) fn psk_id(binding: &[u8; 32]) -> ExternalPskId {
    ExternalPskId::new([b"cc psk".as_slice(), binding].concat())
}

pub(crate) fn psk_secret(binding: &[u8; 32]) -> PreSharedKey {
    let hkdf = hkdf::Hkdf::<sha2::Sha256>::new(Some(binding), &[0; 32]);
    let mut secret = [0; 32];
    hkdf.expand(b"cascading-cipher/1 mls external psk", &mut secret).unwrap();
    PreSharedKey::new(secret.to_vec())
}
