//! Ed25519 keys (RFC 8032) that are kept from one signature to the next.

use std::collections::HashMap;

use cc_primitives::ed25519::VerifyingKey;

/// The points of keys of which messages came, for a key comes as bytes each time, and to find its point
/// takes a tenth of a verification.
#[derive(Default)]
pub(crate) struct Keys(HashMap<[u8; 32], VerifyingKey>);

/// Keys that are kept: half a megabyte.
const MOST_KEYS: usize = 1024;

impl Keys {
    /// `None` where the bytes are no key.
    pub(crate) fn get(&mut self, bytes: &[u8; 32]) -> Option<VerifyingKey> {
        if let Some(known) = self.0.get(bytes) {
            return Some(known.clone());
        }
        let key = VerifyingKey::from_bytes(bytes)?;
        if self.0.len() == MOST_KEYS {
            self.0.clear();
        }
        self.0.insert(*bytes, key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use cc_core::Secret;
    use cc_primitives::ed25519::SigningKey;

    use super::*;

    fn public(seed: [u8; 32]) -> [u8; 32] {
        SigningKey::from_seed(&Secret::copy_from(&seed).unwrap()).public_key()
    }

    #[test]
    fn a_key_is_the_same_however_often_it_comes() {
        let mut keys = Keys::default();
        for round in 0..2 {
            for number in 0..=255 {
                let public = public([number; 32]);
                assert_eq!(keys.get(&public).unwrap().as_bytes(), &public, "{round}");
            }
        }
        assert_eq!(keys.0.len(), 256);
        assert!(keys.get(&[2; 32]).is_none());
        for number in 0..2 * MOST_KEYS {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            let public = public(seed);
            assert_eq!(keys.get(&public).unwrap().as_bytes(), &public);
            assert!(keys.0.len() <= MOST_KEYS);
        }
    }
}
