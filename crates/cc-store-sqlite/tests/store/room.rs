//! Stores that are full, and logs that are cut.

use super::*;

#[test]
fn a_full_store_keeps_what_it_had() {
    let (_directory, path) = directory();
    sample(&path);
    let room = fs::metadata(&path).unwrap().len() + 16 * 4096;
    let mut store = SqliteStore::options().max_bytes(room).open(&path, key(1)).unwrap();
    let generation = store.generation();
    let mut batch = Batch::new();
    batch.put(&Scope::new("s"), "record 1", SecretBytes::new(b"new".to_vec()));
    batch.delete(&Scope::new("s"), "record 2");
    // More than there is room for, with the pages that the file has to spare: how many depends on where the random
    // names of records lie.
    batch.put(&Scope::new("s"), "too large", SecretBytes::new(vec![0; 40 * 4096]));
    for _ in 0..3 {
        assert!(matches!(store.commit(&batch), Err(StoreError::Full)));
        assert_eq!(get(&store, "record 1").unwrap(), "x".repeat(100));
        assert_eq!(get(&store, "record 2").unwrap(), "x".repeat(200));
        assert_eq!(get(&store, "too large"), None);
        assert_eq!(store.generation(), generation);
    }
    put(&mut store, "small", "fits").unwrap();
    store.verify().unwrap();
    drop(store);
    // The same batch, where there is room.
    let mut store = SqliteStore::open(&path, key(1)).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(get(&store, "record 1").unwrap(), "new");
    assert_eq!(get(&store, "record 2"), None);
    store.verify().unwrap();
}

/// Whatever a full store holds, it can be deleted, one record after another.
#[test]
fn a_full_store_lets_go_of_one_short_record_after_another() {
    fill_and_empty(&[(0, 0), (0, 8), (8, 4), (8, 14)]);
}

#[test]
fn a_full_store_lets_go_of_one_long_record_after_another() {
    fill_and_empty(&[(100, 0), (100, 50), (1000, 4), (1000, 60)]);
}

/// Stores with room for so many pages, full of records of so many bytes.
fn fill_and_empty(stores: &[(usize, u64)]) {
    let scope = Scope::new("s");
    for &(len, pages) in stores {
        let (_directory, path) = directory();
        drop(SqliteStore::create(&path, key(1)).unwrap());
        let room = fs::metadata(&path).unwrap().len() + pages * 4096;
        // Without a sync for each record, which takes no room.
        let options = SqliteStore::options().durability(Durability::ProcessEnd).max_bytes(room);
        let open = || options.clone().open(&path, key(1)).unwrap();
        let mut store = open();
        let mut left: BTreeMap<Vec<u8>, SecretBytes> = BTreeMap::new();
        let error = loop {
            let name = left.len().to_string();
            // As a manager, who counts.
            let mut batch = Batch::new();
            batch.put(&scope, name.as_str(), SecretBytes::new(vec![7; len]));
            batch.put(&scope, "count", SecretBytes::new(name.clone().into()));
            if let Err(error) = store.commit(&batch) {
                break error;
            }
            left.insert(name.into(), SecretBytes::new(vec![7; len]));
        };
        assert!(matches!(error, StoreError::Full), "{error}");
        let names: Vec<_> = left.keys().cloned().collect();
        for (at, name) in names.into_iter().enumerate() {
            let mut batch = Batch::new();
            batch.delete(&scope, name.as_slice());
            batch.put(&scope, "count", SecretBytes::new(b"9".to_vec()));
            let before = store.generation();
            store.commit(&batch).unwrap_or_else(|error| panic!("{len}, {pages}: {at}: {error}"));
            assert_eq!(store.generation(), before + 1);
            left.remove(&name);
            if at % 31 == 0 {
                match at % 3 {
                    0 => store.checkpoint().unwrap(),
                    1 => store.change_credential(key(1)).unwrap(),
                    _ => {
                        let before = store.generation();
                        drop(store);
                        store = open();
                        assert_eq!(store.generation(), before);
                    }
                }
                store.verify().unwrap();
                let mut all: BTreeMap<_, _> =
                    scope.of(&store).list(b"").unwrap().into_iter().collect();
                assert_eq!(all.remove(b"count".as_slice()).unwrap().expose(), b"9");
                assert!(all == left, "{len}, {pages}: {at}");
            }
        }
        put(&mut store, "again", "there is room").unwrap();
    }
}

#[test]
fn a_log_that_grew_is_cut() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    let log = || fs::metadata(path.with_extension("sqlite-wal")).unwrap().len();
    put(&mut store, "large", &"x".repeat(3 << 20)).unwrap();
    assert!(log() > 3 << 20);
    put(&mut store, "small", "x").unwrap();
    assert!(log() <= 1 << 20, "{}", log());
}
