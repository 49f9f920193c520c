//! Ed25519 (RFC 8032): verifying one signature, and many together.

use std::collections::HashMap;

use ed25519_dalek::{PUBLIC_KEY_LENGTH, Signature, Verifier as _, VerifyingKey, verify_batch};
use openmls_traits::types::CryptoError;

/// Fewer than this many signatures are verified one by one.
const BATCH: usize = 4;

/// The encodings of the points of small order. A signature with one of them for R, or a key that is
/// one, can be valid for more than what was signed.
const SMALL_ORDER: [[u8; 32]; 8] = small_order();

/// That the holder of a key signed some data.
pub(crate) struct Claim<D = Vec<u8>> {
    data: D,
    key: VerifyingKey,
    signature: Signature,
}

/// The points of keys of which messages came, for a key comes as bytes each time, and to find its point
/// takes an eighth of a verification.
#[derive(Default)]
pub(crate) struct Keys(HashMap<[u8; PUBLIC_KEY_LENGTH], VerifyingKey>);

/// Keys that are kept: half a megabyte.
const MOST_KEYS: usize = 1024;

impl Keys {
    /// # Errors
    /// As [`key`].
    pub(crate) fn get(&mut self, bytes: &[u8]) -> Result<VerifyingKey, CryptoError> {
        if let Some(known) = self.0.get(bytes) {
            return Ok(*known);
        }
        let key = key(bytes)?;
        if self.0.len() == MOST_KEYS {
            self.0.clear();
        }
        self.0.insert(key.to_bytes(), key);
        Ok(key)
    }
}

/// # Errors
/// `CryptoLibraryError` where the bytes are no key.
pub(crate) fn key(bytes: &[u8]) -> Result<VerifyingKey, CryptoError> {
    VerifyingKey::try_from(bytes).map_err(|_| CryptoError::CryptoLibraryError)
}

impl<'a> Claim<&'a [u8]> {
    /// # Errors
    /// `CryptoLibraryError` where the signature has another length.
    pub(crate) fn new(
        data: &'a [u8],
        key: VerifyingKey,
        signature: &[u8],
    ) -> Result<Self, CryptoError> {
        let signature =
            Signature::from_slice(signature).map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(Self { data, key, signature })
    }

    pub(crate) fn kept(self) -> Claim {
        Claim { data: self.data.to_vec(), key: self.key, signature: self.signature }
    }
}

impl<D: AsRef<[u8]>> Claim<D> {
    /// Takes what `verify_strict` takes, without decompressing R: the plain equation compares R in its
    /// one encoding, and what is left is that neither R nor the key has small order.
    pub(crate) fn verify(&self) -> Result<(), CryptoError> {
        if self.is_weak() {
            return Err(CryptoError::InvalidSignature);
        }
        self.key
            .verify(self.data.as_ref(), &self.signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    fn is_weak(&self) -> bool {
        SMALL_ORDER.contains(self.signature.r_bytes()) || self.key.is_weak()
    }
}

/// Whether all claims hold. What holds one by one holds together. The other way round there is one
/// difference: the holder of a key can make a signature that differs from a valid one by a point of
/// small order. That satisfies the equation of RFC 8032 section 5.1.7 but not the stricter one that it
/// also allows, and may be taken here.
pub(crate) fn verify_all(claims: &[Claim]) -> bool {
    if claims.iter().any(Claim::is_weak) {
        return false;
    }
    if claims.len() >= BATCH {
        let data: Vec<&[u8]> = claims.iter().map(|claim| claim.data.as_slice()).collect();
        let signatures: Vec<Signature> = claims.iter().map(|claim| claim.signature).collect();
        let keys: Vec<VerifyingKey> = claims.iter().map(|claim| claim.key).collect();
        if verify_batch(&data, &signatures, &keys).is_ok() {
            return true;
        }
    }
    claims.iter().all(|claim| claim.verify().is_ok())
}

/// Orders 1, 2, 4, 4, and four of order 8: two y coordinates with either sign.
const fn small_order() -> [[u8; 32]; 8] {
    let mut points = [[0; 32]; 8];
    points[0][0] = 1;
    points[1] = [0xff; 32];
    points[1][0] = 0xec;
    points[1][31] = 0x7f;
    points[3][31] = 0x80;
    points[4] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    points[5] = points[4];
    points[5][31] = 0x85;
    points[6] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    points[7] = points[6];
    points[7][31] = 0xfa;
    points
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn claim(number: u8) -> Claim {
        let key = SigningKey::from_bytes(&[number; 32]);
        let data = vec![number; usize::from(number)];
        let signature = key.sign(&data).to_bytes();
        Claim::new(&data, key.verifying_key(), &signature).unwrap().kept()
    }

    fn claims(count: u8) -> Vec<Claim> {
        (0..count).map(claim).collect()
    }

    #[test]
    fn valid_claims_hold_alone_and_together() {
        for count in [0, 1, 3, 4, 5, 64] {
            let claims = claims(count);
            assert!(claims.iter().all(|claim| claim.verify().is_ok()));
            assert!(verify_all(&claims));
        }
    }

    #[test]
    fn one_false_claim_is_found_wherever_it_is() {
        for count in [1, 3, 4, 9] {
            for at in 0..count {
                let mut claims = claims(count);
                claims[usize::from(at)].data.push(0);
                assert!(claims[usize::from(at)].verify().is_err());
                assert!(!verify_all(&claims), "{at} of {count}");
            }
        }
        // Two that are valid for one another's data.
        let mut claims = claims(8);
        let other = std::mem::take(&mut claims[3].data);
        claims[3].data = std::mem::replace(&mut claims[4].data, other);
        assert!(!verify_all(&claims));
    }

    #[test]
    fn the_listed_points_are_all_points_of_small_order() {
        let all: std::collections::HashSet<_> = SMALL_ORDER.into_iter().collect();
        assert_eq!(all.len(), 8);
        for point in SMALL_ORDER {
            assert!(VerifyingKey::from_bytes(&point).unwrap().is_weak(), "{point:02x?}");
        }
    }

    /// With the identity for a key and for R, and 0 for s, the equation holds for all data.
    #[test]
    fn points_of_small_order_are_refused_alone_and_together() {
        let identity = SMALL_ORDER[0];
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&identity);
        let forged = |key: &[u8; 32]| {
            Claim::new(b"anything", super::key(key).unwrap(), &signature).unwrap().kept()
        };
        assert!(forged(&identity).key.verify(b"anything", &forged(&identity).signature).is_ok());
        let honest = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
        for key in [identity, honest] {
            assert!(forged(&key).verify().is_err());
            let mut claims = claims(8);
            claims.push(forged(&key));
            assert!(!verify_all(&claims));
        }
        // Together with others, the batch equation alone would have taken it.
        let forged = forged(&identity);
        let data: [&[u8]; 1] = [b"anything"];
        assert!(verify_batch(&data, &[forged.signature], &[forged.key]).is_ok());
    }

    #[test]
    fn a_key_is_the_same_however_often_it_comes() {
        let mut keys = Keys::default();
        for round in 0..2 {
            for number in 0..=255 {
                let public = SigningKey::from_bytes(&[number; 32]).verifying_key();
                assert_eq!(keys.get(public.as_bytes()).unwrap(), public, "{round}");
            }
        }
        assert_eq!(keys.0.len(), 256);
        assert!(keys.get(&[2; 32]).is_err());
        for number in 0..2 * MOST_KEYS {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            let public = SigningKey::from_bytes(&seed).verifying_key();
            assert_eq!(keys.get(public.as_bytes()).unwrap(), public);
            assert!(keys.0.len() <= MOST_KEYS);
        }
    }

    #[test]
    fn what_is_no_key_or_no_signature_is_no_claim() {
        assert!(key(&[0; 31]).is_err());
        assert!(key(&[2; 32]).is_err(), "no point has this y");
        assert!(Claim::new(b"", claim(1).key, &[0; 63]).is_err());
    }
}
