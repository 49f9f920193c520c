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
