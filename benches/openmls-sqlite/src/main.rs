//! openmls with its own SQLite storage, told over standard input what to do by the benchmark `store` of
//! `cc-benches`, so that both take turns in one run:
//!
//! | line | answer |
//! |---|---|
//! | `group SIZE DIRECTORY` | an empty line; every member has spoken |
//! | `synchronous FULL` or `NORMAL` | an empty line |
//! | `send COUNT` | bytes written, then the nanoseconds of each |
//! | `receive COUNT` | likewise; they are sent first, which does not count |
//!
//! A message is one transaction, which for one write makes no difference.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, stdin},
    path::Path,
    rc::Rc,
};

use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, MlsGroup, MlsGroupCreateConfig,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider,
    PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, ProtocolMessage, StagedWelcome,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::{OpenMlsRustCrypto, RustCrypto};
use openmls_sqlite_storage::{Codec, Connection, SqliteStorageProvider};

#[path = "../../benches/measure/mod.rs"]
mod measure;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const TEXT: [u8; 100] = [7; 100];

/// As in the tests of openmls_sqlite_storage.
#[derive(Default)]
struct Json;

impl Codec for Json {
    type Error = serde_json::Error;

    fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Self::Error> {
        serde_json::to_vec(value)
    }

    fn from_slice<T: serde::de::DeserializeOwned>(slice: &[u8]) -> Result<T, Self::Error> {
        serde_json::from_slice(slice)
    }
}

struct Durable {
    crypto: RustCrypto,
    storage: SqliteStorageProvider<Json, Rc<Connection>>,
    connection: Rc<Connection>,
}

impl OpenMlsProvider for Durable {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = SqliteStorageProvider<Json, Rc<Connection>>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

impl Durable {
    /// With the settings of `cc-store-sqlite` that decide what a commit costs.
    fn create(path: &Path) -> Self {
        let mut connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON; PRAGMA temp_store=MEMORY;",
            )
            .unwrap();
        SqliteStorageProvider::<Json, _>::new(&mut connection).run_migrations().unwrap();
        let connection = Rc::new(connection);
        let storage = SqliteStorageProvider::new(Rc::clone(&connection));
        Self { crypto: RustCrypto::default(), storage, connection }
    }
}

struct Member<P> {
    provider: P,
    signer: SignatureKeyPair,
    group: MlsGroup,
}

impl<P: OpenMlsProvider> Member<P> {
    fn send(&mut self) -> Vec<u8> {
        let message = self.group.create_message(&self.provider, &self.signer, &TEXT).unwrap();
        message.tls_serialize_detached().unwrap()
    }

    fn receive(&mut self, wire: &[u8]) {
        let message = MlsMessageIn::tls_deserialize_exact(wire).unwrap();
        let message: ProtocolMessage = message.try_into_protocol_message().unwrap();
        let message = self.group.process_message(&self.provider, message).unwrap();
        let ProcessedMessageContent::ApplicationMessage(message) = message.into_content() else {
            unreachable!("nothing else was sent")
        };
        assert_eq!(message.into_bytes(), TEXT);
    }
}

impl Member<Durable> {
    fn send_durably(&mut self) -> Vec<u8> {
        let connection = Rc::clone(&self.provider.connection);
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let wire = self.send();
        connection.execute_batch("COMMIT").unwrap();
        wire
    }

    fn receive_durably(&mut self, wire: &[u8]) {
        let connection = Rc::clone(&self.provider.connection);
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.receive(wire);
        connection.execute_batch("COMMIT").unwrap();
    }
}

/// A key package, and what it takes to join with it.
struct Joiner<P> {
    provider: P,
    signer: SignatureKeyPair,
    package: KeyPackage,
}

impl<P: OpenMlsProvider> Joiner<P> {
    fn new(provider: P, name: &str) -> Self {
        let (signer, credential) = identity(name);
        let bundle = KeyPackage::builder().build(SUITE, &provider, &signer, credential).unwrap();
        Self { provider, signer, package: bundle.into_key_package() }
    }

    fn join(self, welcome: &[u8]) -> Member<P> {
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(32)
            .use_ratchet_tree_extension(true)
            .build();
        let message = MlsMessageIn::tls_deserialize_exact(welcome).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
            unreachable!("it is a welcome")
        };
        let Self { provider, signer, .. } = self;
        let staged = StagedWelcome::new_from_welcome(&provider, &config, welcome, None).unwrap();
        let group = staged.into_group(&provider).unwrap();
        Member { provider, signer, group }
    }
}

fn identity(name: &str) -> (SignatureKeyPair, CredentialWithKey) {
    let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.into()).into(),
        signature_key: signer.to_public_vec().into(),
    };
    (signer, credential)
}

/// The founder and one other of a group of `size`, both with a database. The others have their state in
/// memory, say one thing, and are gone.
fn group(size: usize, directory: &Path) -> (Member<Durable>, Member<Durable>) {
    fs::create_dir_all(directory).unwrap();
    let provider = Durable::create(&directory.join("founder.sqlite"));
    let (signer, credential) = identity("0");
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(32)
        .use_ratchet_tree_extension(true)
        .build();
    let group = MlsGroup::new(&provider, &signer, &config, credential).unwrap();
    let mut founder = Member { provider, signer, group };
    let other = Joiner::new(Durable::create(&directory.join("other.sqlite")), "1");
    let joiners: Vec<_> =
        (2..size).map(|i| Joiner::new(OpenMlsRustCrypto::default(), &i.to_string())).collect();
    let mut packages = vec![other.package.clone()];
    packages.extend(joiners.iter().map(|joiner| joiner.package.clone()));
    let Member { provider, signer, group } = &mut founder;
    let (_, welcome, _) = group.add_members(&*provider, signer, &packages).unwrap();
    group.merge_pending_commit(&*provider).unwrap();
    let welcome = welcome.tls_serialize_detached().unwrap();
    let mut other = other.join(&welcome);
    let hellos: Vec<_> = joiners.into_iter().map(|joiner| joiner.join(&welcome).send()).collect();
    let connections = [&founder, &other].map(|member| Rc::clone(&member.provider.connection));
    connections.iter().for_each(|it| it.execute_batch("BEGIN IMMEDIATE").unwrap());
    for hello in &hellos {
        founder.receive(hello);
        other.receive(hello);
    }
    let hello = other.send();
    founder.receive(&hello);
    let hello = founder.send();
    other.receive(&hello);
    connections.iter().for_each(|it| it.execute_batch("COMMIT").unwrap());
    (founder, other)
}

fn main() {
    let mut members = None;
    for line in stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match (&words[..], &mut members) {
            (["group", size, directory], members) => {
                *members = Some(group(size.parse().unwrap(), Path::new(directory)));
                println!();
            }
            (["synchronous", mode], Some((founder, other))) => {
                for member in [founder, other] {
                    let pragma = format!("PRAGMA synchronous={mode}");
                    member.provider.connection.execute_batch(&pragma).unwrap();
                }
                println!();
            }
            (["send", count], Some((founder, other))) => {
                let count = count.parse().unwrap();
                let (measured, wires) = measure::each(0..count, |_| founder.send_durably());
                wires.iter().for_each(|wire| other.receive_durably(wire));
                println!("{measured}");
            }
            (["receive", count], Some((founder, other))) => {
                let wires: Vec<_> =
                    (0..count.parse().unwrap()).map(|_: usize| founder.send_durably()).collect();
                let (measured, _) = measure::each(wires, |wire| other.receive_durably(&wire));
                println!("{measured}");
            }
            _ => unreachable!("the benchmark says nothing else: {line}"),
        }
    }
}
