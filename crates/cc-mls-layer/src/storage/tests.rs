//! What is staged, kept and undone.

use super::*;

#[test]
fn a_revert_undoes_all_but_what_is_for_good() {
    let storage = Storage::default();
    storage.put(Kind::PastEpoch, &1u8, &1u32).unwrap();
    storage.apply();
    storage.put(Kind::PastEpoch, &1u8, &2u32).unwrap();
    storage.put(Kind::PastEpoch, &2u8, &2u32).unwrap();
    storage.put_for_good(Kind::Sent, &(), &7u32).unwrap();
    assert_eq!(storage.list::<u32>(Kind::PastEpoch, &()).unwrap(), [2, 2]);
    storage.revert();
    assert_eq!(storage.list::<u32>(Kind::PastEpoch, &()).unwrap(), [1]);
    assert_eq!(storage.get(Kind::Sent, &()).unwrap(), Some(7u32));
}

#[test]
fn a_deletion_is_staged_too() {
    let storage = Storage::default();
    storage.put(Kind::PastEpoch, &1u8, &1u32).unwrap();
    storage.apply();
    storage.delete_all(Kind::PastEpoch, &()).unwrap();
    assert_eq!(storage.get::<u32>(Kind::PastEpoch, &1u8).unwrap(), None);
    assert!(storage.list::<u32>(Kind::PastEpoch, &()).unwrap().is_empty());
    storage.revert();
    assert_eq!(storage.get(Kind::PastEpoch, &1u8).unwrap(), Some(1u32));
    storage.delete(Kind::PastEpoch, &1u8).unwrap();
    storage.apply();
    assert_eq!(storage.get::<u32>(Kind::PastEpoch, &1u8).unwrap(), None);
}

#[test]
fn a_wiped_value_is_all_zeros() {
    let mut bytes = Vec::with_capacity(300);
    bytes.extend_from_slice(&[7; 201]);
    wipe(&mut bytes);
    assert_eq!(bytes, [0; 201]);
}

mod saving {
    use cc_core::store::{Batch, Change, MemoryStore, Scope, Store as _};

    use super::*;

    /// What a save puts and deletes, by the numbers of the past epochs.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Saved {
        put: Vec<u8>,
        deleted: Vec<u8>,
    }

    fn save(storage: &Storage, new: bool) -> Saved {
        let mut batch = Batch::new();
        let scope = Scope::new("layer");
        storage.save(&mut if new { batch.new_scope(scope) } else { batch.scope(scope) });
        let mut saved = Saved::default();
        for (_, key, change) in batch.changes() {
            match change {
                Change::Put(_) => saved.put.push(key[1]),
                Change::Delete => saved.deleted.push(key[1]),
            }
        }
        saved
    }

    fn put(storage: &Storage, id: u8) {
        storage.put(Kind::PastEpoch, &id, &id).unwrap();
    }

    fn saved(put: &[u8], deleted: &[u8]) -> Saved {
        Saved { put: put.to_vec(), deleted: deleted.to_vec() }
    }

    #[test]
    fn a_save_has_what_changed_since_the_last_one_that_was_applied() {
        let storage = Storage::default();
        put(&storage, 1);
        storage.apply();
        put(&storage, 2);
        assert_eq!(save(&storage, true), saved(&[1, 2], &[]));
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[], &[]));

        put(&storage, 3);
        storage.apply();
        put(&storage, 4);
        storage.delete(Kind::PastEpoch, &1u8).unwrap();
        assert_eq!(save(&storage, false), saved(&[3, 4], &[1]));
        storage.revert();
        assert_eq!(save(&storage, false), saved(&[3], &[]));
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[], &[]));
    }

    #[test]
    fn what_was_written_for_good_is_saved_after_a_revert() {
        let storage = Storage::default();
        save(&storage, true);
        storage.apply();
        storage.put_for_good(Kind::Sent, &7u8, &1u8).unwrap();
        assert_eq!(save(&storage, false), saved(&[7], &[]));
        storage.revert();
        assert_eq!(save(&storage, false), saved(&[7], &[]));
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[], &[]));
    }

    #[test]
    fn what_was_deleted_for_good_is_saved_after_a_revert() {
        let storage = Storage::default();
        put(&storage, 1);
        save(&storage, true);
        storage.apply();
        put(&storage, 1);
        put(&storage, 2);
        storage.delete_for_good(Kind::PastEpoch, &1u8).unwrap();
        storage.delete_for_good(Kind::PastEpoch, &2u8).unwrap();
        storage.revert();
        assert!(storage.list::<u8>(Kind::PastEpoch, &()).unwrap().is_empty());
        assert_eq!(save(&storage, false), saved(&[], &[1, 2]));
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[], &[]));
    }

    #[test]
    fn what_is_written_after_a_save_is_for_the_next_one() {
        let storage = Storage::default();
        save(&storage, true);
        storage.apply();
        put(&storage, 1);
        save(&storage, false);
        put(&storage, 2);
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[1, 2], &[]));
    }

    #[test]
    fn what_came_and_went_is_not_written() {
        let storage = Storage::default();
        save(&storage, true);
        storage.apply();
        put(&storage, 1);
        storage.delete(Kind::PastEpoch, &1u8).unwrap();
        assert_eq!(save(&storage, false), saved(&[], &[]));
        storage.apply();
        // Deleted after an apply that was not saved: the store may have it.
        put(&storage, 1);
        storage.apply();
        storage.delete(Kind::PastEpoch, &1u8).unwrap();
        storage.apply();
        assert_eq!(save(&storage, false), saved(&[], &[1]));
    }

    #[test]
    fn a_new_scope_gets_everything_again() {
        let storage = Storage::default();
        put(&storage, 1);
        save(&storage, true);
        storage.revert();
        put(&storage, 2);
        save(&storage, true);
        storage.apply();
        put(&storage, 3);
        storage.delete(Kind::PastEpoch, &2u8).unwrap();
        put(&storage, 1);
        assert_eq!(save(&storage, true), saved(&[1, 3], &[]));
    }

    #[test]
    fn what_was_saved_comes_back() {
        let storage = Storage::default();
        put(&storage, 1);
        put(&storage, 2);
        let mut batch = Batch::new();
        let scope = Scope::new("layer");
        storage.save(&mut batch.new_scope(scope.clone()));
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let again = Storage::restore(&scope.of(&store)).unwrap();
        assert_eq!(again.list::<u8>(Kind::PastEpoch, &()).unwrap(), [1, 2]);
        assert_eq!(save(&again, false), saved(&[], &[]));
        put(&again, 3);
        assert_eq!(save(&again, false), saved(&[3], &[]));
    }
}
