//! The primitives as the crate `hpke-rs` takes them, for HPKE (RFC 9180).

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use core::convert::Infallible;

use cc_core::{RandomError, Secret, random};
use hpke_rs_crypto::{
    HpkeCrypto, HpkeTestRng, TryCryptoRng, TryRng,
    error::Error,
    types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use zeroize::Zeroize;

use crate::{
    aes_gcm::{AesGcm, TAG_LEN},
    p256, x_wing, x25519,
};

/// AES-GCM, X25519, P-256 and X-Wing from here, and everything else from `hpke-rs-rust-crypto`.
#[derive(Debug)]
pub struct HpkePrimitives {}

/// What `hpke-rs` draws from: the generator of `cc_core::random`, as everything else here.
#[derive(Debug)]
pub struct HpkeRandom {}

/// A scalar that is drawn is out of range for P-256 once in 2^32.
const MAX_TRIES: usize = 16;

impl HpkeCrypto for HpkePrimitives {
    type HpkePrng = HpkeRandom;

    fn name() -> String {
        "cc-primitives".to_string()
    }

    fn supports_kdf(alg: KdfAlgorithm) -> Result<(), Error> {
        HpkeRustCrypto::supports_kdf(alg)
    }

    fn supports_kem(alg: KemAlgorithm) -> Result<(), Error> {
        match alg {
            KemAlgorithm::XWingDraft06 => Ok(()),
            _ => HpkeRustCrypto::supports_kem(alg),
        }
    }

    fn supports_aead(alg: AeadAlgorithm) -> Result<(), Error> {
        HpkeRustCrypto::supports_aead(alg)
    }

    fn prng() -> Self::HpkePrng {
        HpkeRandom {}
    }

    fn kdf_extract(alg: KdfAlgorithm, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, Error> {
        HpkeRustCrypto::kdf_extract(alg, salt, ikm)
    }

    fn kdf_expand(
        alg: KdfAlgorithm,
        prk: &[u8],
        info: &[u8],
        output_size: usize,
    ) -> Result<Vec<u8>, Error> {
        HpkeRustCrypto::kdf_expand(alg, prk, info, output_size)
    }

    fn dh(alg: KemAlgorithm, pk: &[u8], sk: &[u8]) -> Result<Vec<u8>, Error> {
        let shared = match alg {
            KemAlgorithm::DhKem25519 => {
                x25519::agree(&private(sk)?, pk.try_into().map_err(|_| Error::KemInvalidPublicKey)?)
            }
            // Only the uncompressed form (RFC 9180 section 7.1.1).
            KemAlgorithm::DhKemP256 => {
                p256::agree(&private(sk)?, pk.try_into().map_err(|_| Error::KemInvalidPublicKey)?)
            }
            _ => return HpkeRustCrypto::dh(alg, pk, sk),
        };
        shared.map(|shared| shared.expose().to_vec()).ok_or(Error::KemInvalidPublicKey)
    }

    fn secret_to_public(alg: KemAlgorithm, sk: &[u8]) -> Result<Vec<u8>, Error> {
        match alg {
            KemAlgorithm::DhKem25519 => Ok(x25519::public_key(&private(sk)?).to_vec()),
            KemAlgorithm::DhKemP256 => p256::public_key(&private(sk)?)
                .map(|public| public.to_vec())
                .ok_or(Error::KemInvalidSecretKey),
            _ => HpkeRustCrypto::secret_to_public(alg, sk),
        }
    }

    fn kem_key_gen(alg: KemAlgorithm, _: &mut Self::HpkePrng) -> Result<(Vec<u8>, Vec<u8>), Error> {
        if !matches!(alg, KemAlgorithm::DhKem25519 | KemAlgorithm::DhKemP256) {
            return HpkeRustCrypto::kem_key_gen(alg, &mut HpkeRustCrypto::prng());
        }
        for _ in 0..MAX_TRIES {
            let private = Secret::<32>::random().map_err(|_| Error::InsufficientRandomness)?;
            if let Ok(public) = Self::secret_to_public(alg, private.expose()) {
                return Ok((public, private.expose().to_vec()));
            }
        }
        Err(Error::InsufficientRandomness)
    }

    fn kem_key_gen_derand(alg: KemAlgorithm, seed: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        if alg == KemAlgorithm::XWingDraft06 {
            return Ok((x_wing::public_key(&private(seed)?), seed.to_vec()));
        }
        HpkeRustCrypto::kem_key_gen_derand(alg, seed)
    }

    fn kem_encaps(
        alg: KemAlgorithm,
        pk_r: &[u8],
        _: &mut Self::HpkePrng,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        if alg == KemAlgorithm::XWingDraft06 {
            let randomness = Secret::random().map_err(|_| Error::InsufficientRandomness)?;
            return x_wing::encapsulate(pk_r, &randomness)
                .map(|(secret, ciphertext)| (secret.expose().to_vec(), ciphertext))
                .ok_or(Error::KemInvalidPublicKey);
        }
        HpkeRustCrypto::kem_encaps(alg, pk_r, &mut HpkeRustCrypto::prng())
    }

    fn kem_decaps(alg: KemAlgorithm, ct: &[u8], sk_r: &[u8]) -> Result<Vec<u8>, Error> {
        if alg == KemAlgorithm::XWingDraft06 {
            return x_wing::decapsulate(ct, &private(sk_r)?)
                .map(|secret| secret.expose().to_vec())
                .ok_or(Error::KemInvalidCiphertext);
        }
        HpkeRustCrypto::kem_decaps(alg, ct, sk_r)
    }

    fn dh_validate_sk(alg: KemAlgorithm, sk: &[u8]) -> Result<Vec<u8>, Error> {
        HpkeRustCrypto::dh_validate_sk(alg, sk)
    }

    fn aead_seal(
        alg: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        msg: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let Some(cipher) = cipher(alg, key, msg.len())? else {
            return HpkeRustCrypto::aead_seal(alg, key, nonce, aad, msg);
        };
        let nonce = nonce.try_into().map_err(|_| Error::AeadInvalidNonce)?;
        let sealed = cipher.seal_to_vec(nonce, aad, msg);
        sealed.map_err(|_| Error::CryptoLibraryError("too long".to_string()))
    }

    fn aead_open(
        alg: AeadAlgorithm,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        msg: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let Some(cipher) = cipher(alg, key, msg.len())? else {
            return HpkeRustCrypto::aead_open(alg, key, nonce, aad, msg);
        };
        let nonce = nonce.try_into().map_err(|_| Error::AeadInvalidNonce)?;
        if msg.len() < TAG_LEN {
            return Err(Error::AeadInvalidCiphertext);
        }
        cipher.open_to_vec(nonce, aad, msg).map_err(|_| Error::AeadOpenError)
    }
}

impl TryRng for HpkeRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[expect(clippy::panic, reason = "`hpke-rs` takes no error here, and must not go on without")]
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match random::fill(bytes) {
            Ok(()) => Ok(()),
            Err(error) => panic!("{error}"),
        }
    }
}

impl TryCryptoRng for HpkeRandom {}

/// For `hpke-rs` with its feature `hpke-test-prng`, whose own tests choose what is drawn.
impl HpkeTestRng for HpkeRandom {
    type Error = RandomError;

    fn try_fill_test_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        random::fill(bytes)
    }

    fn seed(&mut self, _: &[u8]) {}
}

/// It holds nothing.
impl Zeroize for HpkeRandom {
    fn zeroize(&mut self) {}
}

fn private(bytes: &[u8]) -> Result<Secret<32>, Error> {
    Secret::copy_from(bytes).ok_or(Error::KemInvalidSecretKey)
}

/// `None` for a cipher that is not from here.
fn cipher(alg: AeadAlgorithm, key: &[u8], message_len: usize) -> Result<Option<AesGcm>, Error> {
    let cipher = match alg {
        AeadAlgorithm::Aes128Gcm => key.try_into().map(|key| AesGcm::aes128_once(key, message_len)),
        AeadAlgorithm::Aes256Gcm => key.try_into().map(|key| AesGcm::aes256_once(key, message_len)),
        _ => return Ok(None),
    };
    cipher.map(Some).map_err(|_| Error::CryptoLibraryError("key length".to_string()))
}

#[cfg(test)]
mod tests {
    use hpke_rs::{
        Hpke, HpkePrivateKey, HpkePublicKey, Mode,
        hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
    };

    use super::*;

    const KEMS: [KemAlgorithm; 3] =
        [KemAlgorithm::DhKem25519, KemAlgorithm::DhKemP256, KemAlgorithm::DhKemP384];
    const AEADS: [AeadAlgorithm; 3] =
        [AeadAlgorithm::Aes128Gcm, AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305];

    fn suite<C: HpkeCrypto>(kem: KemAlgorithm, aead: AeadAlgorithm) -> Hpke<C> {
        Hpke::new(Mode::Base, kem, KdfAlgorithm::HkdfSha256, aead)
    }

    fn crosses<From: HpkeCrypto + 'static, To: HpkeCrypto + 'static>() {
        for kem in KEMS {
            let (private, public) =
                suite::<To>(kem, AEADS[0]).generate_key_pair().unwrap().into_keys();
            for aead in AEADS {
                for len in [0, 5, 1000] {
                    let text = std::vec![7; len];
                    let (encapsulated, mut sealed) = suite::<From>(kem, aead)
                        .seal(&public, b"info", b"ad", &text, None, None, None)
                        .unwrap();
                    let open = |sealed: &[u8]| {
                        let private: &HpkePrivateKey = &private;
                        suite::<To>(kem, aead).open(
                            &encapsulated,
                            private,
                            b"info",
                            b"ad",
                            sealed,
                            None,
                            None,
                            None,
                        )
                    };
                    assert_eq!(open(&sealed).unwrap(), text);
                    sealed[len / 2] ^= 1;
                    assert!(open(&sealed).is_err());
                }
            }
        }
    }

    #[test]
    fn crosses_to_the_other_library_and_back() {
        crosses::<HpkePrimitives, HpkePrimitives>();
        crosses::<HpkePrimitives, HpkeRustCrypto>();
        crosses::<HpkeRustCrypto, HpkePrimitives>();
    }

    #[test]
    fn a_key_pair_that_is_derived_is_that_of_the_other_library() {
        for kem in KEMS {
            for seed in 0..4 {
                let ikm = [seed; 64];
                let ours = suite::<HpkePrimitives>(kem, AEADS[0]).derive_key_pair(&ikm).unwrap();
                let theirs = suite::<HpkeRustCrypto>(kem, AEADS[0]).derive_key_pair(&ikm).unwrap();
                assert_eq!(ours.public_key().as_slice(), theirs.public_key().as_slice());
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (kem, len) in [(KemAlgorithm::DhKem25519, 32), (KemAlgorithm::DhKemP256, 65)] {
            for bad in [&std::vec![0; len][..], &std::vec![2; len - 1], &[]] {
                let public = HpkePublicKey::new(bad.to_vec());
                let mut suite = suite::<HpkePrimitives>(kem, AEADS[0]);
                assert!(suite.seal(&public, b"", b"", b"", None, None, None).is_err());
                assert!(HpkePrimitives::dh(kem, bad, &[1; 32]).is_err());
            }
            assert!(HpkePrimitives::secret_to_public(kem, &[1; 31]).is_err());
        }
    }
}
