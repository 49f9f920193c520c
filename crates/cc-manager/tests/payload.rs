//! A payload is copied once when it is sealed and once when it is opened, whatever the layers: into the one
//! allocation that leaves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use allocation_counter::{AllocationInfo, measure};
use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties};
use cc_manager::CascadingCipherManager;

const LEN: usize = 1 << 20;
/// What a message allocates beside its payload: hints, headers, records of a few bytes.
const SMALL: u64 = 4096;

/// Where the content of the buffer was, whenever the layer saw it.
type Places = Arc<Mutex<Vec<usize>>>;

/// Changes nothing, and takes note of where the payload is.
struct Probe(Places, &'static str);

impl Probe {
    fn note(&self, buffer: &Buffer) {
        self.0.lock().unwrap().push(buffer.as_slice().as_ptr() as usize);
    }
}

impl CipherLayer for Probe {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: self.1, version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("probe")
    }

    fn seal(&mut self, _: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        self.note(buffer);
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, buffer: &mut Buffer) -> Result<Opened, LayerError> {
        self.note(buffer);
        Ok(Opened::default())
    }
}

/// So many AES layers, and a probe below and above them.
fn stack(layers: u8) -> (CascadingCipherManager, Places) {
    let places = Places::default();
    let builder = CascadingCipherManager::builder().layer(Probe(places.clone(), "test.bottom"));
    let builder = (1..=layers).fold(builder, |builder, key| {
        builder.layer(AesLayer::new(AesKey::copy_from(&[key; 32]).unwrap()))
    });
    let manager = builder.layer(Probe(places.clone(), "test.top")).build().unwrap();
    (manager, places)
}

fn measured<T>(f: impl FnOnce() -> T) -> (T, AllocationInfo) {
    let mut result = None;
    let info = measure(|| result = Some(f()));
    (result.unwrap(), info)
}

/// One allocation has the length of the payload, and all others together are small.
fn allocates_one(info: &AllocationInfo, len: usize) {
    let rest = info.bytes_total.checked_sub(u64::try_from(len).unwrap()).unwrap();
    assert!(rest < SMALL, "{info:?}");
}

#[test]
fn a_stack_of_aead_layers_copies_a_payload_once() {
    let text = vec![7; LEN];
    for layers in 1..=5 {
        let (mut manager, places) = stack(layers);
        let nonces = usize::from(layers) * 24;
        // The first message finds out how much room the layers need.
        let header = {
            let wire = manager.encrypt(b"").unwrap();
            wire.len() - nonces - usize::from(layers) * 16
        };
        places.lock().unwrap().clear();

        let (wire, sealing) = measured(|| manager.encrypt(&text).unwrap());
        allocates_one(&sealing, wire.len());
        assert_eq!(wire.capacity(), wire.len());
        let start = wire.as_ptr() as usize;
        let seen = std::mem::take(&mut *places.lock().unwrap());
        assert_eq!(seen, [start + header + nonces, start + header]);

        let (message, opening) = measured(|| manager.decrypt(&wire).unwrap());
        allocates_one(&opening, wire.len());
        let start = message.as_bytes().as_ptr() as usize;
        let seen = std::mem::take(&mut *places.lock().unwrap());
        assert_eq!(seen, [start - nonces, start]);
        assert_eq!(message, text);

        // A vector of its own is in the same allocation.
        let (bytes, taking) = measured(|| message.into_bytes());
        assert_eq!(taking.count_total, 0);
        assert_eq!(bytes, text);
    }
}

/// What the layers need changes from message to message, and only the copies are more.
#[test]
fn a_message_after_one_of_another_kind_is_whole() {
    let (mut manager, _) = stack(2);
    for len in [0, 1, 100_000, 3, 70_000] {
        let text = vec![9; len];
        let wire = manager.encrypt(&text).unwrap();
        assert_eq!(manager.decrypt(&wire).unwrap(), text);
    }
}
