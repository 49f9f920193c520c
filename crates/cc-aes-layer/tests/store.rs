//! The layer's record in a store: written once, and enough to go on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cc_aes_layer::{AesKey, AesLayer, Argon2Params, Password};
use cc_core::{
    Buffer, ChainSecret, CipherLayer, Contribution, Header, Kind, LayerContext, LayerDescriptor,
    LayerError, LayerErrorKind, Restore, Secret, SecretBytes, StackId,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use proptest::prelude::*;

/// Records of version 1, and a message that each of them opens. A change here locks out whoever has a
/// store.
const RECORDED: [(&str, &str); 5] = [
    (
        "00010101000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "158f7a015ad6c9cf005b8862f6da10d776c3d819624642a1a2631ab7ec1ade159d7a533df6aac8d9\
         67c5949b975465eec14c51fb93dc",
    ),
    (
        "00010102000102030405060708090a0b0c0d0e0f",
        "8bc7826f1040407884688a0407dd26629547b35e0d3bdc89fac1eb036bc1478fdb0cd3704814a3e3\
         ee9f6c1547ba356d73610306c400",
    ),
    (
        "0001020100004c00020100004c000201636f727265637420686f727365206261747465727920737461706c65",
        "09344c2a14919e659ebe0b176603a0c200004c00020136cb3c2fe6350425cf3c33a7200e06d2466e\
         456f98716f3e50d16b9a5869992e72bbcdab511a69d4fdad221d47a37476c56d1b20fc8f8b875636\
         8211d670d00e6cdd9de3fc6fc7467e20a5908f56a21d990e0b98a98d",
    ),
    (
        "00010301",
        "4109d79d849faf0a1472100d3df2bb94183c50f1374a721e8b1175f7df07947a52a9648e9a454dc3\
         7ad16fff5708186c1b65b504287d",
    ),
    (
        "00010302",
        "0bb91bfa139152b464e4dc7fba999c7f40f66c75fae397fa6d4c1725e98b3e105fbdbc2918034957\
         083d3f29f13d5499ccfa778b2b2c",
    ),
];
const PLAINTEXT: &[u8] = b"attack at dawn";

fn scope() -> Scope {
    Scope::new("layer")
}

fn transact<T>(f: impl FnOnce(&LayerContext<'_>) -> T) -> T {
    let stack = StackId::of(&[]);
    let below = LayerDescriptor { id: "below", version: 1, parameters: vec![] };
    let contribution = Contribution { hint: vec![], secret: Secret::copy_from(&[9; 32]).unwrap() };
    let chain = ChainSecret::extend(None, &contribution, &stack, &below, 0);
    let binding = Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad");
    f(&LayerContext { binding: &binding, position: 1, chain: Some(&chain) })
}

fn seal(layer: &mut AesLayer) -> Vec<u8> {
    let mut buffer = Buffer::new(PLAINTEXT);
    transact(|context| layer.seal(context, &mut buffer)).unwrap();
    buffer.as_slice().to_vec()
}

fn open(layer: &mut AesLayer, message: &[u8]) -> Result<Vec<u8>, LayerError> {
    let mut buffer = Buffer::new(message);
    let _ = transact(|context| layer.open(context, &mut buffer))?;
    Ok(buffer.as_slice().to_vec())
}

fn layers() -> [AesLayer; 5] {
    let key = |length| AesKey::copy_from(&(0..length).collect::<Vec<_>>()).unwrap();
    let password = Password::new("correct horse battery staple").unwrap();
    let password = password.with_params(Argon2Params::LEAST).accept_at_most(Argon2Params::LEAST);
    [
        AesLayer::new(key(32)),
        AesLayer::new(key(16)),
        AesLayer::password(password),
        AesLayer::inherited(),
        AesLayer::inherited_128(),
    ]
}

fn save(layer: &mut AesLayer, new: bool) -> Batch {
    let mut batch = Batch::new();
    let mut to = if new { batch.new_scope(scope()) } else { batch.scope(scope()) };
    layer.save(&mut to).unwrap();
    batch
}

fn restore(record: Option<&[u8]>) -> Result<AesLayer, LayerError> {
    let mut batch = Batch::new();
    if let Some(record) = record {
        batch.put(&scope(), "layer", SecretBytes::new(record.to_vec()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    AesLayer::restore(&scope().of(&store))
}

#[test]
fn recorded_layers_open_recorded_messages() {
    for ((record, message), mut made) in RECORDED.into_iter().zip(layers()) {
        let record = hex::decode(record).unwrap();
        let mut layer = restore(Some(&record)).unwrap();
        assert_eq!(open(&mut layer, &hex::decode(message).unwrap()).unwrap(), PLAINTEXT);
        assert_eq!(layer.descriptor(), made.descriptor());
        assert_eq!(layer.key_commitment(), made.key_commitment());

        let batch = save(&mut made, true);
        let changes: Vec<_> = batch.changes().collect();
        let [(_, b"layer", Change::Put(saved))] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(saved.expose(), record);
    }
}

#[test]
fn a_message_writes_nothing_and_what_comes_back_goes_on() {
    for (made, mut other) in layers().into_iter().zip(layers()) {
        let mut layer = made;
        let mut store = MemoryStore::new();
        store.commit(&save(&mut layer, true)).unwrap();
        layer.apply();
        let mut sent = vec![];
        for _ in 0..3 {
            sent.push(seal(&mut layer));
            let message = seal(&mut other);
            assert_eq!(open(&mut layer, &message).unwrap(), PLAINTEXT);
            assert!(save(&mut layer, false).is_empty());
            layer.apply();

            // A crash, and a restart.
            layer = AesLayer::restore(&scope().of(&store.reopened())).unwrap();
            for message in &sent {
                assert_eq!(open(&mut layer, message).unwrap(), PLAINTEXT);
                assert_eq!(open(&mut other, message).unwrap(), PLAINTEXT);
            }
        }
    }
}

/// A commit that failed: the store is still new, and the layer is written then.
#[test]
fn a_layer_that_was_reverted_is_written_again() {
    for mut layer in layers() {
        let _ = save(&mut layer, true);
        layer.revert();
        let mut store = MemoryStore::new();
        store.commit(&save(&mut layer, true)).unwrap();
        let mut restored = AesLayer::restore(&scope().of(&store)).unwrap();
        assert_eq!(open(&mut restored, &seal(&mut layer)).unwrap(), PLAINTEXT);
    }
}

#[test]
fn a_restored_password_keeps_its_ceiling() {
    let dear = Argon2Params::new(20 << 10, 2, 1).unwrap();
    let password = Password::new("correct horse battery staple").unwrap();
    let mut other = AesLayer::password(password.with_params(dear));
    let message = seal(&mut other);
    let mut layer = restore(Some(&hex::decode(RECORDED[2].0).unwrap())).unwrap();
    assert_eq!(open(&mut layer, &message).unwrap_err().kind(), LayerErrorKind::Rejected);
}

#[test]
fn what_is_missing_newer_or_impossible_is_refused() {
    let refused = |record: Option<&str>| {
        let record = record.map(|hex| hex::decode(hex).unwrap());
        let error = restore(record.as_deref()).err().unwrap();
        assert_eq!(error.kind(), LayerErrorKind::Storage);
        cc_core::error_chain(&error).to_string()
    };
    assert!(refused(None).contains("missing"));
    assert!(refused(Some("000203017f")).contains("format 2"));
    let key = "000102030405060708090a0b0c0d0e0f";
    for malformed in [
        String::new(),
        "00000301".into(),
        "00010001".into(),
        "00010401".into(),
        "00010300".into(),
        "00010303".into(),
        "0001030100".into(),
        // The other algorithm's length.
        format!("00010101{key}"),
        format!("00010102{key}{key}"),
        // A password: AES-128, none at all, less than the least, more than is accepted.
        "0001020200004c00020100004c00020161".into(),
        "0001020100004c00020100004c000201".into(),
        "0001020100004bff020100004c00020161".into(),
        "0001020100004c00030100004c00020161".into(),
    ] {
        assert!(refused(Some(&malformed)).contains("malformed"), "{malformed}");
    }
}

#[test]
fn no_secret_shows() {
    let secrets = ["000102030405", "[0, 1, 2, 3", "correct horse"];
    for mut layer in layers() {
        let shown = format!("{layer:?} {:?}", save(&mut layer, true));
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}

proptest! {
    /// Damage that the store does not see gives an error or a layer that works, and nothing else.
    #[test]
    fn damaged_records_do_no_harm(
        which in 0..5usize,
        flip in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let record = hex::decode(RECORDED[which].0).unwrap();
        let mut flipped = record.clone();
        flipped[flip.index(record.len())] ^= 1 << bit;
        let cut = record[..cut.index(record.len())].to_vec();
        for damaged in [flipped, cut] {
            match restore(Some(&damaged)) {
                Ok(mut layer) => {
                    // What comes back is exactly what the record says.
                    let batch = save(&mut layer, true);
                    let Some(Change::Put(saved)) = batch.get(&scope(), b"layer") else { panic!() };
                    prop_assert_eq!(saved.expose(), &damaged[..]);
                }
                Err(error) => prop_assert_eq!(error.kind(), LayerErrorKind::Storage),
            }
        }
    }
}
