//! The worked example of `docs/wire-format.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{CipherLayer as _, Header, Kind, StackId};
use cc_manager::CascadingCipherManager;

fn layer() -> AesLayer {
    let key: Vec<u8> = (0..32).collect();
    AesLayer::new(AesKey::copy_from(&key).unwrap())
}

fn documented(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire-format.md");
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}    "))).unwrap();
    hex::decode(line.split_whitespace().last().unwrap()).unwrap()
}

#[test]
fn worked_example() {
    let stack = StackId::of(&[layer().descriptor()]);
    assert_eq!(documented("stack id"), stack.as_bytes());
    let message = documented("message ");
    let header = Header::new(Kind::Application, &stack, vec![]).encode().unwrap();
    assert_eq!(message[..header.len()], header);
    assert_eq!(message.len(), header.len() + 24 + 7 + 16);
    let mut manager = CascadingCipherManager::builder().layer(layer()).build().unwrap();
    assert_eq!(manager.decrypt(&message).unwrap(), "cascade");
    let again = manager.encrypt("cascade").unwrap();
    assert_eq!(again.len(), message.len());
    assert_eq!(again[..header.len()], header);
}
