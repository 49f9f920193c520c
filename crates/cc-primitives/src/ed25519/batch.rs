//! Many signatures together, in about a third of the time. By ed25519-dalek alone.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey, verify_batch};

use super::{has_small_order_r, may_be_key};

/// Fewer than this many signatures are verified one by one.
const BATCH: usize = 4;

/// That the holder of a key signed a message.
pub struct Claim {
    message: Vec<u8>,
    key: VerifyingKey,
    signature: [u8; 64],
}

impl Claim {
    /// A claim to be verified. `None` where the bytes of the key are none: see
    /// [`VerifyingKey`](super::VerifyingKey::from_bytes).
    #[must_use]
    pub fn new(message: &[u8], key: &[u8; 32], signature: &[u8; 64]) -> Option<Self> {
        let key = may_be_key(key).then(|| VerifyingKey::from_bytes(key).ok())??;
        Some(Self { message: message.to_vec(), key, signature: *signature })
    }

    fn holds(&self) -> bool {
        !has_small_order_r(&self.signature)
            && self.key.verify(&self.message, &Signature::from_bytes(&self.signature)).is_ok()
    }
}

/// Whether all claims hold. What holds one by one holds together. The other way round there is one
/// difference: the holder of a key can make a signature that differs from a valid one by a point of
/// small order. That satisfies the equation of RFC 8032 section 5.1.7 but not the stricter one that it
/// also allows, and may be taken here.
#[must_use]
pub fn verify_all(claims: &[Claim]) -> bool {
    if claims.iter().any(|claim| has_small_order_r(&claim.signature)) {
        return false;
    }
    if claims.len() >= BATCH {
        let messages: Vec<&[u8]> = claims.iter().map(|claim| claim.message.as_slice()).collect();
        let signatures: Vec<Signature> =
            claims.iter().map(|claim| Signature::from_bytes(&claim.signature)).collect();
        let keys: Vec<VerifyingKey> = claims.iter().map(|claim| claim.key).collect();
        if verify_batch(&messages, &signatures, &keys).is_ok() {
            return true;
        }
    }
    claims.iter().all(Claim::holds)
}

impl core::fmt::Debug for Claim {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Claim({} bytes)", self.message.len())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::ed25519::SMALL_ORDER;

    fn claim(number: u8) -> Claim {
        let key = SigningKey::from_bytes(&[number; 32]);
        let message = vec![number; usize::from(number)];
        let signature = key.sign(&message).to_bytes();
        Claim::new(&message, &key.verifying_key().to_bytes(), &signature).unwrap()
    }

    fn claims(count: u8) -> Vec<Claim> {
        (0..count).map(claim).collect()
    }

    #[test]
    fn valid_claims_hold_alone_and_together() {
        for count in [0, 1, 3, 4, 5, 64] {
            let claims = claims(count);
            assert!(claims.iter().all(Claim::holds));
            assert!(verify_all(&claims));
        }
    }

    #[test]
    fn one_false_claim_is_found_wherever_it_is() {
        for count in [1, 3, 4, 9] {
            for at in 0..count {
                let mut claims = claims(count);
                claims[usize::from(at)].message.push(0);
                assert!(!claims[usize::from(at)].holds());
                assert!(!verify_all(&claims), "{at} of {count}");
            }
        }
        // Two that are valid for one another's message.
        let mut claims = claims(8);
        let other = core::mem::take(&mut claims[3].message);
        claims[3].message = core::mem::replace(&mut claims[4].message, other);
        assert!(!verify_all(&claims));
    }

    /// With the identity for a key and for R, and 0 for s, the equation holds for every message.
    #[test]
    fn points_of_small_order_are_refused_alone_and_together() {
        let identity = SMALL_ORDER[0];
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&identity);
        assert!(Claim::new(b"anything", &identity, &signature).is_none());
        let honest = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
        let forged = || Claim::new(b"anything", &honest, &signature).unwrap();
        assert!(!forged().holds());
        let mut claims = claims(8);
        claims.push(forged());
        assert!(!verify_all(&claims));
        // Without these checks both would have been taken, alone and together.
        let key = VerifyingKey::from_bytes(&identity).unwrap();
        let signature = Signature::from_bytes(&signature);
        assert!(key.verify(b"anything", &signature).is_ok());
        assert!(verify_batch(&[&b"anything"[..]], &[signature], &[key]).is_ok());
    }
}
