//! The list.

use alloc::vec::Vec;
use core::cell::RefCell;

use sha2::{Digest as _, Sha256};

std::thread_local! {
    static USES: RefCell<Option<Vec<KeyUse>>> = const { RefCell::new(None) };
}

/// A key and nonce that encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyUse {
    what: &'static str,
    digest: [u8; 32],
}

impl KeyUse {
    /// The cipher, or what it is for.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// 32 bytes that are equal where the cipher, the key and the nonce are.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Records the uses of this thread from here on. What it recorded before and nobody took is gone.
pub fn start() {
    USES.set(Some(Vec::new()));
}

/// The uses of this thread since `start`, in their order; records no more. Empty without `start`.
pub fn take() -> Vec<KeyUse> {
    USES.take().unwrap_or_default()
}

/// `None` where it was made without anybody recording.
pub(super) struct Name(Option<[u8; 32]>);

impl Name {
    pub(super) fn of(key: &[u8]) -> Self {
        Self(USES.with_borrow(Option::is_some).then(|| Sha256::digest(key).into()))
    }

    pub(super) fn record(&self, what: &'static str, nonce: &[u8]) {
        let Some(name) = &self.0 else { return };
        USES.with_borrow_mut(|uses| {
            if let Some(uses) = uses {
                let digest = Sha256::new()
                    .chain_update((what.len() as u64).to_be_bytes())
                    .chain_update(what)
                    .chain_update(name)
                    .chain_update((nonce.len() as u64).to_be_bytes())
                    .chain_update(nonce)
                    .finalize();
                uses.push(KeyUse { what, digest: digest.into() });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{format, thread};

    use super::{super::*, *};

    #[test]
    fn equal_uses_are_equal_and_others_are_not() {
        let all = [
            ("a", &b"key"[..], &b"nonce"[..]),
            ("b", b"key", b"nonce"),
            ("a", b"kez", b"nonce"),
            ("a", b"key", b"noncf"),
            // What is in one field is not taken for what is in the next.
            ("ak", b"ey", b"nonce"),
            ("a", b"keyn", b"once"),
            ("a", b"keynonce", b""),
            ("a", b"key", b""),
            ("a", b"", b"nonce"),
        ];
        start();
        for (what, key, nonce) in all {
            record(what, key, nonce);
        }
        let first = take();
        start();
        for (what, key, nonce) in all {
            KeyName::of(key).record(what, nonce);
        }
        assert_eq!(take(), first);
        assert!(first.iter().zip(all).all(|(use_of, (what, ..))| use_of.what() == what));
        for (i, a) in first.iter().enumerate() {
            assert_eq!(first.iter().filter(|b| *b == a).count(), 1, "{i}");
            assert_eq!(first.iter().filter(|b| b.digest() == a.digest()).count(), 1, "{i}");
        }
    }

    #[test]
    fn nothing_is_recorded_but_from_start_to_take() {
        record("a", b"early", b"");
        assert!(take().is_empty());
        let early = KeyName::of(b"early");
        start();
        early.record("a", b"");
        record("a", b"key", b"");
        let late = KeyName::of(b"late");
        let taken = take();
        assert_eq!(taken.len(), 1);
        late.record("a", b"");
        record("a", b"key", b"");
        assert!(take().is_empty());
        start();
        record("a", b"untaken", b"");
        start();
        record("a", b"key", b"");
        assert_eq!(take(), taken);
    }

    #[test]
    fn threads_do_not_see_each_other() {
        start();
        record("a", b"here", b"");
        let there = thread::spawn(|| {
            record("a", b"unheard", b"");
            start();
            record("a", b"there", b"");
            record("a", b"there", b"");
            take()
        });
        let there = there.join().unwrap();
        let here = take();
        assert_eq!((here.len(), there.len()), (1, 2));
        assert_eq!(there[0], there[1]);
        assert_ne!(here[0], there[0]);
    }

    #[test]
    fn the_name_of_a_key_shows_nothing() {
        start();
        assert_eq!(format!("{:?}", KeyName::of(b"key")), "KeyName(..)");
        assert!(take().is_empty());
    }
}
