//! Changing the layers of a stack, with layers that panic on the way: the old stack stays in place until
//! the new one is in force, and there is never an empty one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    Attachment, Buffer, CipherLayer, Configure, LayerContext, LayerDescriptor, LayerError, Opened,
    Properties, Restore,
    store::{Failure, MemoryStore, ScopeReader, ScopeWriter, StoreError},
};
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error, LayerErrorKind};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, SignalLayer};
use common::{all_read_all, group};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Attach,
    Save,
    Apply,
    Revert,
    Seal,
}

/// A layer that encrypts nothing, and panics where it is told to.
#[derive(Clone, Default)]
struct Fragile {
    panics: Arc<Mutex<Option<Call>>>,
    applied: Arc<Mutex<u32>>,
    value: u32,
    staged: Option<u32>,
}

impl Fragile {
    fn reach(&self, call: Call) {
        let panics = *self.panics.lock().unwrap() == Some(call);
        if panics {
            resume_unwind(Box::new("the test wants this"));
        }
    }

    fn panic_in(&self, call: Option<Call>) {
        *self.panics.lock().unwrap() = call;
    }
}

impl CipherLayer for Fragile {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: Self::ID, version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("fragile")
    }

    fn attach(&mut self, _: &Attachment) -> Result<(), LayerError> {
        self.reach(Call::Attach);
        Ok(())
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        self.reach(Call::Seal);
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        Ok(Opened::default())
    }

    fn apply(&mut self) {
        *self.applied.lock().unwrap() += 1;
        self.value = self.staged.take().unwrap_or(self.value);
        self.reach(Call::Apply);
    }

    fn revert(&mut self) {
        self.staged = None;
        self.reach(Call::Revert);
    }

    fn save(&mut self, _: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.reach(Call::Save);
        Ok(())
    }
}

impl Configure for Fragile {
    type Settings<'a> = &'a mut Option<u32>;

    fn settings(&mut self) -> &mut Option<u32> {
        &mut self.staged
    }
}

impl Restore for Fragile {
    const ID: &'static str = "test.fragile";

    fn restore(_: &ScopeReader<'_>) -> Result<Self, LayerError> {
        Ok(Self::default())
    }
}

fn aes(byte: u8) -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[byte; 32]).unwrap())
}

fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

fn catalog() -> Catalog {
    Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>().with::<Fragile>()
}

#[test]
fn a_layer_that_panics_on_its_way_in_leaves_the_stack_as_it_was() {
    let mut all = group(&["a", "b"]);
    let before = all[0].stack_report();
    let fragile = Fragile::default();
    fragile.panic_in(Some(Call::Attach));
    for position in 0..=3 {
        panics(|| all[0].insert_layer(position, fragile.clone()));
        assert_eq!(all[0].stack_report(), before);
        // What it encrypts still opens only with the keys.
        let wire = all[0].encrypt("not in the clear").unwrap();
        assert!(!wire.windows(16).any(|bytes| bytes == b"not in the clear"));
        assert_eq!(all[1].decrypt(&wire).unwrap(), "not in the clear");
    }
    panics(|| all[0].replace_layer(2, fragile.clone()));
    assert_eq!(all[0].stack_report(), before);
    all_read_all(&mut all);
    // A lone layer, too.
    let mut plain = CascadingCipherManager::builder().layer(aes(1)).build().unwrap();
    panics(|| plain.replace_layer(0, fragile.clone()));
    panics(|| plain.insert_layer(0, fragile.clone()));
    assert_eq!(plain.layer_count(), 1);
    let wire = plain.encrypt("not in the clear").unwrap();
    assert!(!wire.windows(16).any(|bytes| bytes == b"not in the clear"));
}

#[test]
fn a_layer_that_panics_while_it_is_saved_leaves_store_and_stack_as_they_were() {
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice = CascadingCipherManager::builder()
        .layer(aes(1))
        .layer(aes(2))
        .create(Arc::clone(&store), "name")
        .unwrap();
    let before = alice.stack_report();
    let fragile = Fragile::default();
    for call in [Call::Attach, Call::Save] {
        fragile.panic_in(Some(call));
        panics(|| alice.add_layer(fragile.clone()));
        panics(|| alice.replace_layer(0, fragile.clone()));
        assert_eq!(alice.stack_report(), before);
        let reopened = store.lock().unwrap().reopened();
        let mut reopened = CascadingCipherManager::open(reopened, "name", &catalog()).unwrap();
        let wire = alice.encrypt("text").unwrap();
        assert_eq!(reopened.decrypt(&wire).unwrap(), "text");
    }
    fragile.panic_in(None);
    alice.add_layer(fragile).unwrap();
    assert_eq!(alice.layer_count(), 3);
}

/// The store has the new stack by then, so it is in force, and the other layers hear of it.
#[test]
fn a_layer_that_panics_when_it_is_told_keeps_no_other_from_hearing_of_it() {
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let fragile = Fragile::default();
    let above = Fragile::default();
    let mut alice = CascadingCipherManager::builder()
        .layer(aes(1))
        .layer(fragile.clone())
        .layer(above.clone())
        .create(Arc::clone(&store), "name")
        .unwrap();
    let applied = *above.applied.lock().unwrap();
    fragile.panic_in(Some(Call::Apply));
    panics(|| alice.add_layer(aes(2)));
    fragile.panic_in(None);
    assert_eq!(*above.applied.lock().unwrap(), applied + 1);
    assert_eq!(alice.layer_count(), 4);
    let reopened = store.lock().unwrap().reopened();
    let mut reopened = CascadingCipherManager::open(reopened, "name", &catalog()).unwrap();
    let wire = alice.encrypt("text").unwrap();
    assert_eq!(reopened.decrypt(&wire).unwrap(), "text");
    // With a message it is the same.
    fragile.panic_in(Some(Call::Apply));
    panics(|| alice.encrypt("text"));
    fragile.panic_in(Some(Call::Seal));
    panics(|| alice.encrypt("text"));
    fragile.panic_in(None);
    alice.encrypt("text").unwrap();
}

#[test]
fn layers_are_found_by_their_types() {
    let mut all = group(&["a", "b"]);
    assert!(all[0].find::<MlsLayer>().is_some());
    assert!(all[0].find::<Fragile>().is_none());
    let plain = CascadingCipherManager::builder().layer(aes(1)).layer(aes(2)).build().unwrap();
    let found = plain.find::<AesLayer>().unwrap();
    assert!(std::ptr::eq(found, plain.find_at::<AesLayer>(0).unwrap()), "the bottommost");
    assert!(plain.find_at::<AesLayer>(1).is_some() && plain.find_at::<AesLayer>(2).is_none());
    let error = all[0].configure::<SignalLayer, ()>(|_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::NoLayerOfType(name) if name.contains("SignalLayer")), "{error}");
    let error = all[0].configure_at::<MlsLayer, ()>(2, |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::NoLayerOfType(_)), "{error}");
    let error = all[0].configure_at::<MlsLayer, ()>(3, |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::NoSuchLayer(3)), "{error}");
    all_read_all(&mut all);
}

/// Prekeys that are rotated are uploaded: they must not be gone after a restart.
#[test]
fn what_is_configured_is_saved_before_it_is_handed_out() {
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let (bob, alice) = (Account::generate().unwrap(), Account::generate().unwrap());
    let layer = SignalLayer::respond(bob, *alice.identity(), cc_signal_layer::Limits::default());
    let mut bob =
        CascadingCipherManager::builder().layer(layer).create(Arc::clone(&store), "name").unwrap();
    let before = bob.find::<SignalLayer>().unwrap().account().bundle();
    let uploaded = bob.configure::<SignalLayer, _>(|mut signal| signal.rotate_prekeys()).unwrap();
    assert_ne!(before.to_bytes(), uploaded.to_bytes());
    // The program is killed here.
    let catalog = Catalog::new().with::<SignalLayer>();
    let reopened = store.lock().unwrap().reopened();
    let reopened = CascadingCipherManager::open(reopened, "name", &catalog).unwrap();
    let account = reopened.find::<SignalLayer>().unwrap().account().bundle();
    assert_eq!(account.to_bytes(), uploaded.to_bytes());
    // And where the store fails, nothing is handed out.
    store.lock().unwrap().fail_after(0, Failure::Full);
    let result = bob.configure::<SignalLayer, _>(|mut signal| signal.rotate_prekeys());
    assert!(matches!(result, Err(Error::Store(StoreError::Full))));
}

#[test]
fn a_configuration_that_fails_or_panics_is_reverted() {
    let fragile = Fragile::default();
    let mut alice = CascadingCipherManager::builder().layer(aes(1)).layer(fragile).build().unwrap();
    let value = |alice: &CascadingCipherManager| alice.find::<Fragile>().unwrap().value;
    alice
        .configure::<Fragile, _>(|set| {
            *set = Some(7);
            Ok(())
        })
        .unwrap();
    assert_eq!(value(&alice), 7);
    let refused = alice.configure::<Fragile, ()>(|set| {
        *set = Some(8);
        Err(LayerError::misuse("the test wants this"))
    });
    let Err(Error::Layer { position: 1, layer: "fragile", source }) = refused else { panic!() };
    assert_eq!(source.kind(), LayerErrorKind::Misuse);
    panics(|| {
        alice.configure::<Fragile, ()>(|set| {
            *set = Some(9);
            resume_unwind(Box::new("the test wants this"))
        })
    });
    alice.encrypt("text").unwrap();
    assert_eq!(value(&alice), 7);
}
