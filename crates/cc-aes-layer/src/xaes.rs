//! XAES-256-GCM as <https://c2sp.org/XAES-256-GCM> specifies it. Names follow the specification.

use core::fmt;

use aes::{
    Aes256Enc,
    cipher::{Array, BlockCipherEncrypt, KeyInit},
};
use cc_core::Secret;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    AesError,
    gcm::{Gcm, TAG_LEN},
};

/// XAES-256-GCM: AES-256-GCM under a key that is derived afresh for every nonce.
///
/// The nonce has 24 bytes, so that a random one is safe: after 2^80 messages under one key the
/// chance that two nonces were ever equal is 2^-32. It is not key-committing: whoever chooses two
/// keys can make bytes that open under both.
///
/// This is the bare construction, for those who interoperate with another implementation. To seal a
/// message, use [`AesKey::seal`](crate::AesKey::seal), which chooses the nonce.
pub struct Xaes256Gcm {
    cipher: Aes256Enc,
    /// The CMAC subkey, computed once per key (steps 1 and 2).
    k1: [u8; 16],
}

impl Xaes256Gcm {
    /// Bytes of a key.
    pub const KEY_LEN: usize = 32;
    /// Bytes of a nonce.
    pub const NONCE_LEN: usize = 24;
    /// Bytes of a tag.
    pub const TAG_LEN: usize = TAG_LEN;

    /// Expands the key and computes the CMAC subkey: two thirds of the derivation's work that need
    /// not be done per message.
    #[must_use]
    pub fn new(key: &Secret<32>) -> Self {
        let cipher = Aes256Enc::new(key.expose().into());
        let mut l = [0; 16];
        cipher.encrypt_block((&mut l).into());
        let k1 = double(&l);
        l.zeroize();
        Self { cipher, k1 }
    }

    /// Encrypts `bytes` in place and gives their tag. A nonce must never be used twice.
    ///
    /// # Errors
    /// [`AesError::TooLong`] beyond 2^36 - 32 bytes (64 GiB).
    pub fn seal(
        &self,
        nonce: &[u8; Self::NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        let (gcm, nx) = self.derive(nonce, bytes.len());
        gcm.seal(&nx, associated_data, bytes)
    }

    /// Decrypts `bytes` in place.
    ///
    /// # Errors
    /// [`AesError::Rejected`] when the tag is not that of these bytes; they are then all zeros.
    pub fn open(
        &self,
        nonce: &[u8; Self::NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AesError> {
        let (gcm, nx) = self.derive(nonce, bytes.len());
        gcm.open(&nx, associated_data, bytes, tag)
    }

    /// AES-256-GCM under Kx for a message of this length, and Nx (steps 3 to 6).
    #[inline]
    fn derive(&self, nonce: &[u8; Self::NONCE_LEN], message_len: usize) -> (Gcm, [u8; 12]) {
        let (context, nx) = halves(nonce);
        let mut kx = Zeroizing::new([0; 32]);
        for (half, counter) in kx.as_chunks_mut::<16>().0.iter_mut().zip(1u8..) {
            let (prefix, rest) = half.split_at_mut(4);
            prefix.copy_from_slice(&[0, counter, b'X', 0]);
            rest.copy_from_slice(&context);
            half.iter_mut().zip(&self.k1).for_each(|(m, k)| *m ^= k);
        }
        // In one call, for with AVX-512 each one spreads all round keys over wide registers first.
        self.cipher.encrypt_blocks(Array::cast_slice_from_core_mut(kx.as_chunks_mut().0));
        (Gcm::aes256_once(&kx, message_len), nx)
    }
}

/// Doubling in GF(2^128) as CMAC does it (NIST SP 800-38B section 6.1), in constant time.
fn double(block: &[u8; 16]) -> [u8; 16] {
    let l = u128::from_be_bytes(*block);
    ((l << 1) ^ ((l >> 127) * 0b1000_0111)).to_be_bytes()
}

fn halves(nonce: &[u8; 24]) -> ([u8; 12], [u8; 12]) {
    let mut halves = ([0; 12], [0; 12]);
    halves.0.copy_from_slice(&nonce[..12]);
    halves.1.copy_from_slice(&nonce[12..]);
    halves
}

impl Drop for Xaes256Gcm {
    fn drop(&mut self) {
        // The cipher wipes itself.
        self.k1.zeroize();
    }
}

impl fmt::Debug for Xaes256Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xaes256Gcm(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use shake::{ExtendableOutput, Shake128, Shake128Reader, XofReader, digest::Update};

    use super::*;

    fn xaes(key: [u8; 32]) -> Xaes256Gcm {
        Xaes256Gcm::new(&Secret::copy_from(&key).unwrap())
    }

    fn check(key: u8, k1: &str, aad: &[u8], sealed: &str) {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let xaes = xaes([key; 32]);
        assert_eq!(hex::encode(xaes.k1), k1);
        let mut bytes = b"XAES-256-GCM".to_vec();
        let tag = xaes.seal(nonce, aad, &mut bytes).unwrap();
        assert_eq!(hex::encode([&bytes[..], &tag].concat()), sealed);
        xaes.open(nonce, aad, &mut bytes, &tag).unwrap();
        assert_eq!(bytes, b"XAES-256-GCM");
    }

    #[test]
    fn c2sp_vectors() {
        check(
            1,
            "e531954aca063d5b8d9c47a47d4cc6f0",
            b"",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        );
        check(
            3,
            "23810ec50edb99f374409466ed1f4b7b",
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        );
    }

    fn fixed<const N: usize>(rng: &mut Shake128Reader) -> [u8; N] {
        let mut bytes = [0; N];
        rng.read(&mut bytes);
        bytes
    }

    fn opaque(rng: &mut Shake128Reader) -> Vec<u8> {
        let [length] = fixed(rng);
        let mut bytes = vec![0; usize::from(length)];
        rng.read(&mut bytes);
        bytes
    }

    /// "Accumulated randomized tests" of the specification.
    fn accumulated(iterations: usize) -> alloc::string::String {
        let mut rng = Shake128::default().finalize_xof();
        let mut hash = Shake128::default();
        for _ in 0..iterations {
            let (key, nonce) = (fixed(&mut rng), fixed(&mut rng));
            let (plaintext, aad) = (opaque(&mut rng), opaque(&mut rng));
            let xaes = xaes(key);
            let mut bytes = plaintext.clone();
            let tag = xaes.seal(&nonce, &aad, &mut bytes).unwrap();
            hash.update(&bytes);
            hash.update(&tag);
            xaes.open(&nonce, &aad, &mut bytes, &tag).unwrap();
            assert_eq!(bytes, plaintext);
        }
        hex::encode(fixed::<32>(&mut hash.finalize_xof()))
    }

    #[test]
    fn c2sp_accumulated_10_000() {
        assert_eq!(
            accumulated(10_000),
            "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
        );
    }

    #[test]
    #[ignore = "slow: run with --ignored in a release build"]
    fn c2sp_accumulated_1_000_000() {
        assert_eq!(
            accumulated(1_000_000),
            "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"
        );
    }
}
