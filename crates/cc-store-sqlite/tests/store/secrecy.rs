//! What the files tell whoever has no key, and what is left in them of what was deleted.

use super::*;

#[test]
fn nothing_in_the_files_tells_names_or_values() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(0x42)).unwrap();
    let mut batch = Batch::new();
    let scope = Scope::new("the group of friends").child("the ratchet with bob");
    batch.put(&scope, "the key of bob", SecretBytes::new(b"the value of bob".to_vec()));
    store.commit(&batch).unwrap();
    assert_eq!(scope.of(&store).list(b"the key").unwrap().len(), 1);
    let open = contents(&path);
    drop(store);
    for (file, bytes) in open.into_iter().chain(contents(&path)) {
        for needle in ["friends", "ratchet", "of bob", "the ", "BBBBBBBB"] {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{needle:?} in {}", file.display());
        }
    }
}

#[test]
fn nothing_deleted_is_left_in_the_database() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    put(&mut store, "a", &"secret".repeat(20)).unwrap();
    put(&mut store, "large", &"secret".repeat(5000)).unwrap();
    store.checkpoint().unwrap();
    let sealed: Vec<Vec<u8>> = {
        let (_elsewhere, copy) = directory_with_copy(&path);
        let file = rusqlite::Connection::open(&copy).unwrap();
        let mut statement = file.prepare("SELECT sealed FROM record").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let left = |path: &Path| {
        let all: Vec<u8> = contents(path).into_iter().flat_map(|(_, bytes)| bytes).collect();
        sealed
            .iter()
            .flat_map(|sealed| [&sealed[..32], &sealed[sealed.len() - 32..]])
            .filter(|part| all.windows(32).any(|window| window == *part))
            .count()
    };
    assert_eq!(left(&path), 4);
    let mut batch = Batch::new();
    batch.put(&Scope::new("s"), "a", SecretBytes::new(b"other".to_vec()));
    batch.delete(&Scope::new("s"), "large");
    store.commit(&batch).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(left(&path), 0);
}
