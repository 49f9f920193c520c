//! Public test vectors of the MLS working group (see `vectors/README.md`), driven through what this
//! crate puts below openmls: its storage, its cryptography and its way of reading messages.

use cc_core::LayerError;
use openmls::prelude::{
    Ciphersuite, ContentType, KeyPackageBundle, KeyPackageRef, MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY,
    MlsGroup, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    ProtocolMessage, RatchetTreeIn, StagedWelcome, tls_codec::Deserialize as _,
};
use openmls::schedule::PreSharedKeyId;
use openmls_traits::{
    OpenMlsProvider as _, crypto::OpenMlsCrypto as _, storage::StorageProvider as _,
};
use serde_json::Value;

use crate::{
    provider::Provider,
    reader::Reader,
    roster::Ids,
    storage::{Kind, Storage},
    wire,
};

/// One passive client: joins, and follows. `false` for a ciphersuite that does not work here.
fn follow(vector: &Value) -> Result<bool, String> {
    let suite = vector["cipher_suite"].as_u64().and_then(|suite| u16::try_from(suite).ok());
    let suite =
        Ciphersuite::try_from(suite.ok_or("no suite")?).map_err(|error| error.to_string())?;
    let provider = Provider::new(Ids::ApplicationId, Storage::default());
    if provider.crypto().supports(suite).is_err() {
        return Ok(false);
    }
    for psk in vector["external_psks"].as_array().ok_or("no psks")? {
        PreSharedKeyId::external(bytes(&psk["psk_id"]), Vec::new())
            .store(&provider, &bytes(&psk["psk"]))
            .map_err(|error| error.to_string())?;
    }
    inject(&provider, vector)?;

    let config = MlsGroupJoinConfig::builder()
        .use_ratchet_tree_extension(true)
        .wire_format_policy(MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build();
    let references = || provider.storage().ids(Kind::KeyPackage).map_err(crate::error::storage);
    let welcome = wire::welcome(&bytes(&vector["welcome"]), references).map_err(told)?;
    let mut builder = StagedWelcome::build_from_welcome(&provider, &config, welcome)
        .map_err(|error| error.to_string())?
        .skip_lifetime_validation();
    if !vector["ratchet_tree"].is_null() {
        let tree = bytes(&vector["ratchet_tree"]);
        let tree = RatchetTreeIn::tls_deserialize_exact(tree).map_err(|error| error.to_string())?;
        builder = builder.with_ratchet_tree(tree);
    }
    let collected =
        provider.crypto().verify_together(|| builder.build().map_err(crate::error::internal));
    let group = collected.map_err(told)?.into_group(&provider);
    let mut group = group.map_err(|error| error.to_string())?;
    agrees(&group, &vector["initial_epoch_authenticator"])?;

    for epoch in vector["epochs"].as_array().ok_or("no epochs")? {
        for message in epoch["proposals"].as_array().ok_or("no proposals")? {
            process(&mut group, &provider, &bytes(message))?;
        }
        process(&mut group, &provider, &bytes(&epoch["commit"]))?;
        agrees(&group, &epoch["epoch_authenticator"])?;

        // The same epoch again, as the storage has it.
        provider.storage().apply();
        let id = group.group_id().clone();
        let loaded = MlsGroup::load(provider.storage(), &id).map_err(|error| error.to_string())?;
        group = loaded.ok_or("a part of the group's state is missing")?;
        agrees(&group, &epoch["epoch_authenticator"])?;
    }
    Ok(true)
}

/// Puts the vector's key package into the storage as if it had been made here.
fn inject(provider: &Provider, vector: &Value) -> Result<(), String> {
    let package = bytes(&vector["key_package"]);
    wire::key_package(&package).map_err(told)?;
    let MlsMessageBodyIn::KeyPackage(package) =
        MlsMessageIn::tls_deserialize_exact(package).map_err(|error| error.to_string())?.extract()
    else {
        return Err("no key package".into());
    };
    // openmls makes a bundle of given keys only for its own tests, but reads one that was written.
    let secret = |name: &str| serde_json::json!({ "vec": bytes(&vector[name]) });
    let bundle = serde_json::json!({
        "key_package": package,
        "private_init_key": secret("init_priv"),
        "private_encryption_key": { "key": secret("encryption_priv") },
    });
    let bundle: KeyPackageBundle =
        serde_json::from_value(bundle).map_err(|error| error.to_string())?;
    let reference =
        bundle.key_package().hash_ref(provider.crypto()).map_err(|error| error.to_string())?;
    provider.storage().write_key_package(&reference, &bundle).map_err(|error| error.to_string())
}

fn process(group: &mut MlsGroup, provider: &Provider, message: &[u8]) -> Result<(), String> {
    let message: ProtocolMessage = match MlsMessageIn::tls_deserialize_exact(message)
        .map_err(|error| error.to_string())?
        .extract()
    {
        MlsMessageBodyIn::PublicMessage(message) => message.into(),
        MlsMessageBodyIn::PrivateMessage(message) => message.into(),
        _ => return Err("neither a PublicMessage nor a PrivateMessage".into()),
    };
    provider.storage().write_secrets(true);
    let processed = provider.crypto().verify_together(|| {
        group
            .process_message(provider, message)
            .map_err(|error| crate::error::internal(format!("{error:?}")))
    });
    match processed.map_err(told)?.into_content() {
        ProcessedMessageContent::ProposalMessage(proposal) => group
            .store_pending_proposal(provider.storage(), *proposal)
            .map_err(|error| error.to_string()),
        ProcessedMessageContent::StagedCommitMessage(staged) => {
            group.merge_staged_commit(provider, *staged).map_err(|error| error.to_string())
        }
        _ => Err("neither a proposal nor a commit".into()),
    }
}

fn agrees(group: &MlsGroup, authenticator: &Value) -> Result<(), String> {
    if group.epoch_authenticator().as_slice() == bytes(authenticator) {
        Ok(())
    } else {
        Err(format!("another epoch authenticator in epoch {}", group.epoch()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: LayerError) -> String {
    format!("{error:?}")
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap_or_default();
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn read(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

/// The first key package that a welcome is for.
fn joiner(welcome: &[u8]) -> KeyPackageRef {
    let mut reader = Reader::new(welcome);
    let (_message, _suite) = (reader.u32().unwrap(), reader.u16().unwrap());
    let secrets = reader.vector().unwrap();
    // A KeyPackageRef is the vector that the entry begins with.
    let len = 1 + Reader::new(secrets).vector().unwrap().len();
    KeyPackageRef::tls_deserialize_exact(&secrets[..len]).unwrap()
}

/// Each message reads as what it is, and as nothing else.
fn check_messages(vector: &Value) {
    let message = |name: &str| {
        let message = bytes(&vector[name]);
        assert!(!message.is_empty(), "{name}");
        message
    };
    let private = |message: &[u8], content| {
        wire::private_head(message, content).is_ok() && wire::private_message(message).is_ok()
    };
    let (welcome, info) = (message("mls_welcome"), message("mls_group_info"));
    let package = message("mls_key_package");
    let read_welcome = |message: &[u8]| wire::welcome(message, || Ok(vec![joiner(&welcome)]));
    assert!(read_welcome(&welcome).is_ok() && wire::group_info(&welcome).is_err());
    let none = wire::welcome(&welcome, || Ok(Vec::new()));
    assert!(none.is_err(), "a welcome for somebody else");
    assert!(wire::group_info(&info).is_ok() && wire::key_package(&info).is_err());
    assert!(wire::key_package(&package).is_ok() && read_welcome(&package).is_err());
    let kinds = [ContentType::Application, ContentType::Proposal, ContentType::Commit];
    // Nothing public is read but the commit of somebody who joins by it.
    for name in ["public_message_application", "public_message_proposal", "public_message_commit"] {
        let message = message(name);
        assert!(wire::external_commit(&message).is_err(), "{name}");
        assert!(kinds.iter().all(|kind| !private(&message, *kind)), "{name}");
    }
    let message = message("private_message");
    assert_eq!(kinds.into_iter().filter(|kind| private(&message, *kind)).count(), 1);
    for message in [&welcome, &info, &package, &message] {
        for len in 0..message.len() {
            let cut = &message[..len];
            assert!(read_welcome(cut).is_err() && wire::group_info(cut).is_err());
            assert!(wire::key_package(cut).is_err());
            assert!(kinds.iter().all(|kind| !private(cut, *kind)));
        }
    }
}

#[test]
fn the_messages_of_the_vectors_are_read() {
    read(include_str!("../vectors/messages.json")).iter().for_each(check_messages);
}

#[test]
fn the_passive_clients_of_the_vectors_are_followed() {
    let vectors = read(include_str!("../vectors/passive-client.json"));
    assert_eq!(vectors.len(), 6);
    for (at, vector) in vectors.iter().enumerate() {
        assert_eq!(follow(vector), Ok(true), "{at}");
    }
}

#[test]
fn a_wrong_vector_is_noticed() {
    let mut vector = read(include_str!("../vectors/passive-client.json")).swap_remove(3);
    vector["epochs"][1]["epoch_authenticator"] = Value::from("00");
    assert!(follow(&vector).unwrap_err().contains("epoch authenticator"));
    vector["init_priv"] = vector["encryption_priv"].clone();
    assert!(follow(&vector).is_err());
}

#[test]
#[ignore = "needs the whole files: MLS_VECTORS names their directory"]
fn all_vectors() {
    let directory = std::env::var("MLS_VECTORS").unwrap();
    let file = |name: &str| read(&std::fs::read_to_string(format!("{directory}/{name}")).unwrap());
    file("messages.json").iter().for_each(check_messages);
    for name in ["welcome", "handling-commit", "random"] {
        let vectors = file(&format!("passive-client-{name}.json"));
        let results: Vec<_> = vectors.iter().map(follow).collect();
        let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        let followed = results.iter().filter(|result| **result == Ok(true)).count();
        println!("{name}: {followed} of {} followed", vectors.len());
    }
}
