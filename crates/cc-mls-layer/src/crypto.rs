//! The cryptography that openmls works with: that of `cc-primitives`, and RustCrypto's for what is not there, with
//! Ed25519 signatures that can be verified together and hashes of the ratchet tree's nodes that are kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cc_core::{LayerError, Secret, key_use, random::Source};
use cc_primitives::{
    aes_gcm::AesGcm,
    ed25519::{Claim, SigningKey, verify_all},
    hpke::HpkePrimitives,
};
use hpke_rs::{Hpke, HpkeError, Mode, hpke_types};
use openmls::prelude::tls_codec::SecretVLBytes;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext,
        HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
    },
};

use crate::{
    ed25519::Keys,
    tree_hash::{self, TreeHashes},
};

pub(crate) struct Crypto {
    rust_crypto: RustCrypto,
    /// openmls seals the secrets of a path in several threads.
    source: Source,
    /// Signatures that were not verified yet; `None` where each is verified at once.
    unverified: Mutex<Option<Vec<Claim>>>,
    keys: Mutex<Keys>,
    tree: Mutex<TreeHashes>,
    /// In tests of what others can do: how many more key pairs are genuine, and the public key of the one
    /// that comes after them.
    #[cfg(test)]
    pub(crate) spoiled: Mutex<Option<(usize, Vec<u8>)>>,
    /// And whether what is sealed next to one member is damaged.
    #[cfg(test)]
    pub(crate) spoiled_box: std::sync::atomic::AtomicBool,
}

impl Crypto {
    pub(crate) fn new() -> Self {
        Self {
            rust_crypto: RustCrypto::default(),
            source: Source::of_this_thread(),
            unverified: Mutex::default(),
            keys: Mutex::default(),
            tree: Mutex::default(),
            #[cfg(test)]
            spoiled: Mutex::default(),
            #[cfg(test)]
            spoiled_box: std::sync::atomic::AtomicBool::default(),
        }
    }

    /// What `work` gives, where all Ed25519 signatures that were verified in it are valid. They are
    /// verified together after it, in about a third of the time. Until then `work` acts on data that
    /// nobody vouched for, so it must have no effect that its error does not undo.
    ///
    /// # Errors
    /// Those of `work`, and `Rejected` for an invalid signature.
    pub(crate) fn verify_together<T>(
        &self,
        work: impl FnOnce() -> Result<T, LayerError>,
    ) -> Result<T, LayerError> {
        let collecting = Collecting::start(self);
        let value = work()?;
        if verify_all(&collecting.claims()) { Ok(value) } else { Err(LayerError::rejected()) }
    }

    #[cfg(test)]
    fn spoil(&self, mut pair: HpkeKeyPair) -> HpkeKeyPair {
        let mut spoiled = self.spoiled.lock().unwrap();
        *spoiled = match spoiled.take() {
            Some((0, key)) => {
                pair.public = key;
                None
            }
            Some((genuine, key)) => Some((genuine - 1, key)),
            None => None,
        };
        pair
    }

    #[cfg(test)]
    fn spoil_box(&self, mut ciphertext: Vec<u8>) -> Vec<u8> {
        if self.spoiled_box.swap(false, std::sync::atomic::Ordering::Relaxed) {
            ciphertext[0] ^= 1;
        }
        ciphertext
    }

    fn unverified(&self) -> MutexGuard<'_, Option<Vec<Claim>>> {
        self.unverified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, signatures are collected; afterwards each is verified at once, however it ends.
struct Collecting<'a>(&'a Crypto);

impl<'a> Collecting<'a> {
    fn start(crypto: &'a Crypto) -> Self {
        *crypto.unverified() = Some(Vec::new());
        Self(crypto)
    }

    fn claims(&self) -> Vec<Claim> {
        self.0.unverified().take().unwrap_or_default()
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        *self.0.unverified() = None;
    }
}

impl OpenMlsCrypto for Crypto {
    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if alg != SignatureScheme::ED25519 {
            return self.rust_crypto.verify_signature(alg, data, pk, signature);
        }
        let no_key = CryptoError::CryptoLibraryError;
        let pk: &[u8; 32] = pk.try_into().map_err(|_| no_key)?;
        let signature: &[u8; 64] = signature.try_into().map_err(|_| no_key)?;
        if let Some(unverified) = self.unverified().as_mut() {
            unverified.push(Claim::new(data, pk, signature).ok_or(no_key)?);
            return Ok(());
        }
        let key = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(pk);
        key.ok_or(no_key)?.verify(data, signature).map_err(|_| CryptoError::InvalidSignature)
    }

    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        self.rust_crypto.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.rust_crypto.supported_ciphersuites()
    }

    fn hkdf_extract(
        &self,
        hash_type: HashType,
        salt: &[u8],
        ikm: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        self.rust_crypto.hkdf_extract(hash_type, salt, ikm)
    }

    fn hmac(
        &self,
        hash_type: HashType,
        key: &[u8],
        message: &[u8],
    ) -> Result<SecretVLBytes, CryptoError> {
        self.rust_crypto.hmac(hash_type, key, message)
    }

    fn hkdf_expand(
        &self,
        hash_type: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        self.rust_crypto.hkdf_expand(hash_type, prk, info, okm_len)
    }

    fn hash(&self, hash_type: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let compute = || self.rust_crypto.hash(hash_type, data);
        if !tree_hash::is_node(data) {
            return compute();
        }
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        tree.hash(hash_type, data, compute)
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        // Each key is for one message (RFC 9420 section 9.1), or comes from a sample of one or from a fresh
        // secret, so that none is to come again, whatever the reuse guard made of its nonce.
        key_use::record("mls", key, &[]);
        let Some(cipher) = cipher(alg, key, data.len())? else {
            return self.rust_crypto.aead_encrypt(alg, key, data, nonce, aad);
        };
        let nonce = nonce.try_into().map_err(|_| CryptoError::InvalidLength)?;
        cipher.seal_to_vec(nonce, aad, data).map_err(|_| CryptoError::CryptoLibraryError)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let Some(cipher) = cipher(alg, key, ct_tag.len())? else {
            return self.rust_crypto.aead_decrypt(alg, key, ct_tag, nonce, aad);
        };
        let nonce = nonce.try_into().map_err(|_| CryptoError::InvalidLength)?;
        cipher.open_to_vec(nonce, aad, ct_tag).map_err(|_| CryptoError::AeadDecryptionError)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        self.rust_crypto.signature_key_gen(alg)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match (alg, Secret::copy_from(key)) {
            (SignatureScheme::ED25519, Some(seed)) => {
                Ok(SigningKey::from_seed(&seed).sign(data).to_vec())
            }
            _ => self.rust_crypto.sign(alg, data, key),
        }
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let Some(mut hpke) = hpke(&config) else {
            return self.rust_crypto.hpke_seal(config, pk_r, info, aad, ptxt);
        };
        let seal = || hpke.seal(&pk_r.into(), info, aad, ptxt, None, None, None);
        let sealed = self.source.draw_for(&[pk_r, info, aad, ptxt], seal);
        let (kem_output, ciphertext) = sealed.map_err(of_hpke)?;
        #[cfg(test)]
        let ciphertext = self.spoil_box(ciphertext);
        Ok(HpkeCiphertext { kem_output: kem_output.into(), ciphertext: ciphertext.into() })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let Some(hpke) = hpke(&config) else {
            return self.rust_crypto.hpke_open(config, input, sk_r, info, aad);
        };
        let (kem_output, ciphertext) = (input.kem_output.as_slice(), input.ciphertext.as_slice());
        hpke.open(kem_output, &sk_r.into(), info, aad, ciphertext, None, None, None)
            .map_err(|_| CryptoError::HpkeDecryptionError)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        let Some(mut hpke) = hpke(&config) else {
            let context = exporter_context;
            return self.rust_crypto.hpke_setup_sender_and_export(
                config,
                pk_r,
                info,
                context,
                exporter_length,
            );
        };
        let setup = || hpke.setup_sender(&pk_r.into(), info, None, None, None);
        let set_up = self.source.draw_for(&[pk_r, info, exporter_context], setup);
        let (kem_output, context) = set_up.map_err(of_hpke)?;
        let exported = context.export(exporter_context, exporter_length).map_err(of_hpke)?;
        Ok((kem_output, exported.into()))
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        self.rust_crypto.hpke_setup_receiver_and_export(
            config,
            enc,
            sk_r,
            info,
            exporter_context,
            exporter_length,
        )
    }

    fn derive_hpke_keypair(
        &self,
        config: HpkeConfig,
        ikm: &[u8],
    ) -> Result<HpkeKeyPair, CryptoError> {
        let pair = match hpke(&config) {
            Some(hpke) => hpke.derive_key_pair(ikm).map_err(of_hpke).map(|pair| {
                let (private, public) = pair.into_keys();
                HpkeKeyPair { private: private.as_slice().into(), public: public.as_slice().into() }
            }),
            None => self.rust_crypto.derive_hpke_keypair(config, ikm),
        };
        #[cfg(test)]
        let pair = pair.map(|pair| self.spoil(pair));
        pair
    }
}

/// `None` for a cipher that `cc-primitives` does not have.
fn cipher(alg: AeadType, key: &[u8], message_len: usize) -> Result<Option<AesGcm>, CryptoError> {
    let cipher = match alg {
        AeadType::Aes128Gcm => key.try_into().map(|key| AesGcm::aes128_once(key, message_len)),
        AeadType::Aes256Gcm => key.try_into().map(|key| AesGcm::aes256_once(key, message_len)),
        AeadType::ChaCha20Poly1305 => return Ok(None),
    };
    cipher.map(Some).map_err(|_| CryptoError::CryptoLibraryError)
}

/// HPKE in base mode (RFC 9420 section 5.1.3), or `None` for a KEM that `cc-primitives` does not have.
fn hpke(HpkeConfig(kem, kdf, aead): &HpkeConfig) -> Option<Hpke<HpkePrimitives>> {
    let kem = match kem {
        HpkeKemType::DhKem25519 => hpke_types::KemAlgorithm::DhKem25519,
        HpkeKemType::DhKemP256 => hpke_types::KemAlgorithm::DhKemP256,
        _ => return None,
    };
    let kdf = match kdf {
        HpkeKdfType::HkdfSha256 => hpke_types::KdfAlgorithm::HkdfSha256,
        HpkeKdfType::HkdfSha384 => hpke_types::KdfAlgorithm::HkdfSha384,
        HpkeKdfType::HkdfSha512 => hpke_types::KdfAlgorithm::HkdfSha512,
    };
    let aead = match aead {
        HpkeAeadType::AesGcm128 => hpke_types::AeadAlgorithm::Aes128Gcm,
        HpkeAeadType::AesGcm256 => hpke_types::AeadAlgorithm::Aes256Gcm,
        HpkeAeadType::ChaCha20Poly1305 => hpke_types::AeadAlgorithm::ChaCha20Poly1305,
        HpkeAeadType::Export => hpke_types::AeadAlgorithm::HpkeExport,
    };
    Some(Hpke::new(Mode::Base, kem, kdf, aead))
}

fn of_hpke(error: HpkeError) -> CryptoError {
    match error {
        HpkeError::InvalidInput => CryptoError::InvalidLength,
        HpkeError::InsufficientRandomness => CryptoError::InsufficientRandomness,
        _ => CryptoError::CryptoLibraryError,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn verify(crypto: &Crypto, signed: &[u8], claimed: &[u8]) -> Result<(), CryptoError> {
        let (secret, public) = crypto.signature_key_gen(SignatureScheme::ED25519).unwrap();
        let signature = crypto.sign(SignatureScheme::ED25519, signed, &secret).unwrap();
        crypto.verify_signature(SignatureScheme::ED25519, claimed, &public, &signature)
    }

    #[test]
    fn work_that_saw_a_false_signature_gives_nothing() {
        let crypto = Crypto::new();
        for (claimed, expected) in [(b"data", true), (b"datA", false)] {
            let worked = crypto.verify_together(|| {
                for _ in 0..10 {
                    verify(&crypto, b"data", b"data").unwrap();
                }
                verify(&crypto, b"data", claimed).unwrap();
                Ok(7)
            });
            assert_eq!(worked.ok(), expected.then_some(7));
        }
    }

    #[test]
    fn signatures_are_verified_at_once_again_however_the_work_ended() {
        let crypto = Crypto::new();
        let collect = || verify(&crypto, b"data", b"other");
        assert!(crypto.verify_together(|| collect().map_err(crate::error::internal)).is_err());
        assert!(verify(&crypto, b"data", b"other").is_err());
        let failed = crypto.verify_together(|| {
            collect().unwrap();
            Err::<(), _>(LayerError::early(None))
        });
        assert_eq!(failed.map_err(|error| error.kind()), Err(LayerError::early(None).kind()));
        assert!(verify(&crypto, b"data", b"other").is_err());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            crypto.verify_together::<()>(|| {
                collect().unwrap();
                panic!("in the middle of it")
            })
        }));
        assert!(panicked.is_err());
        assert!(verify(&crypto, b"data", b"other").is_err());
        assert!(verify(&crypto, b"data", b"data").is_ok());
    }
}
