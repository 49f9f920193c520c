//! What opening a store says of records that are missing, damaged or from a later version.

use super::*;

#[test]
fn opening_says_what_is_wrong() {
    let store = Shared::default();
    full("Alice", true).create(Arc::clone(&store), NAME).unwrap();
    let open = |catalog: &Catalog| CascadingCipherManager::open(Arc::clone(&store), NAME, catalog);
    let some = Catalog::new().with::<AesLayer>().with::<DhLayer>();
    let Err(Error::UnknownLayer { position: 1, id }) = open(&some) else { panic!() };
    assert_eq!(id, "cc.mls");
    let root = Scope::new("cascade").child(NAME);
    let put = |key: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut value = root.of(&store).get(key.as_bytes()).unwrap().unwrap().expose().to_vec();
        edit(&mut value);
        let mut batch = Batch::new();
        batch.put(&root, key, SecretBytes::new(value));
        store.lock().unwrap().commit(&batch).unwrap();
    };
    put("shape", &|shape| shape[1] = 2);
    let error = open(&catalog()).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Newer { version: 2 })), "{error}");
    put("shape", &|shape| shape[1] = 1);
    open(&catalog()).unwrap();
    // Another version of a layer, by its last byte: the parameters of the topmost.
    put("shape", &|shape| *shape.last_mut().unwrap() ^= 1);
    let error = open(&catalog()).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Corrupt(_))), "{error}");
}

/// Whatever one record is changed to, opening gives an error or a manager that works.
#[test]
fn no_record_makes_opening_panic() {
    let [mut alice, mut bob, _] = three();
    let wire = alice.manager.encrypt("text").unwrap();
    bob.manager.decrypt(&wire).unwrap();
    let _staged = bob.manager.update().unwrap();
    bob.manager.leave().unwrap();
    let records = records_of(&bob.store);
    assert!(records.len() > 15, "{} records", records.len());
    for (scope, key, value) in &records {
        let mut damaged: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new())];
        let steps = value.len().div_ceil(40).max(1);
        for at in (0..value.len()).step_by(steps) {
            damaged.push(Some(value[..at].to_vec()));
            let mut flipped = value.clone();
            flipped[at] ^= 0x11;
            damaged.push(Some(flipped));
        }
        damaged.push(Some([value.as_slice(), &[0]].concat()));
        for value in damaged {
            let store = bob.copy();
            let mut batch = Batch::new();
            match value {
                Some(value) => batch.put(scope, key.as_slice(), SecretBytes::new(value)),
                None => batch.delete(scope, key.as_slice()),
            }
            store.lock().unwrap().commit(&batch).unwrap();
            if let Ok(mut opened) = CascadingCipherManager::open(store, NAME, &catalog()) {
                let _ = (opened.inbox(), opened.outbox(), opened.encrypt("x"), opened.update());
            }
        }
    }
}

/// All that a store has: each commit of a recorder goes to a memory store as well.
fn records_of(store: &Shared) -> Vec<(Scope, Vec<u8>, Vec<u8>)> {
    let root = Scope::new("cascade").child(NAME);
    let layers = (0..8).map(|slot| root.child("layer").indexed(slot));
    let scopes = [root.clone(), root.child("inbox"), root.child("outbox"), root.child("proposals")];
    let mut records = Vec::new();
    for scope in scopes.into_iter().chain(layers) {
        for (key, value) in scope.of(store).list(b"").unwrap() {
            records.push((scope.clone(), key, value.expose().to_vec()));
        }
    }
    records
}
