//! ML-KEM (FIPS 203) through libcrux-ml-kem, which is formally verified and finds out at run time what the
//! processor has.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{Secret, with_clean_stack};
use cc_root_group::{Encapsulated, KeyError, Suite as _};

use crate::ParameterSet;

/// Runs `$work` with the library's module for the parameter set.
macro_rules! with {
    ($set:expr, $module:ident => $work:expr) => {
        match $set {
            ParameterSet::MlKem768 => {
                use libcrux_ml_kem::mlkem768 as $module;
                $work
            }
            ParameterSet::MlKem1024 => {
                use libcrux_ml_kem::mlkem1024 as $module;
                $work
            }
        }
    };
}

/// A decapsulation key as the 64 bytes `d ‖ z` that FIPS 203 section 7.1 expands: that takes some
/// microseconds, and no checks of section 7.3 on keys from outside.
pub(crate) struct DecapsulationKey {
    set: ParameterSet,
    seed: Secret<SEED_LEN>,
}

impl DecapsulationKey {
    pub(crate) const fn from_seed(set: ParameterSet, seed: Secret<SEED_LEN>) -> Self {
        Self { set, seed }
    }

    pub(crate) const fn seed(&self) -> &Secret<SEED_LEN> {
        &self.seed
    }

    /// FIPS 203 algorithm 16.
    pub(crate) fn encapsulation_key(&self) -> Vec<u8> {
        with_clean_stack::<STACK, _>(|| {
            with!(self.set, mlkem => {
                mlkem::generate_key_pair(*self.seed.expose()).pk().to_vec()
            })
        })
    }

    /// FIPS 203 algorithm 21: the secret of a ciphertext, and of one that was not made for this key the
    /// pseudorandom value of implicit rejection.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] for a ciphertext of another length (section 7.3).
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret<32>, KeyError> {
        if ciphertext.len() != self.set.ciphertext_len() {
            return Err(KeyError::Rejected);
        }
        with_clean_stack::<STACK, _>(|| {
            with!(self.set, mlkem => {
                let ciphertext = ciphertext.try_into().map_err(|_| KeyError::Rejected)?;
                let keys = mlkem::generate_key_pair(*self.seed.expose());
                let mut secret = mlkem::decapsulate(keys.private_key(), &ciphertext);
                Ok(Secret::take(&mut secret))
            })
        })
    }
}

/// Checks an encapsulation key, FIPS 203 section 7.2: its length, and that its coefficients are reduced.
pub(crate) fn is_encapsulation_key(set: ParameterSet, key: &[u8]) -> bool {
    key.len() == set.encapsulation_key_len()
        && with!(set, mlkem => {
            key.try_into().is_ok_and(|key| mlkem::validate_public_key(&Box::new(key)))
        })
}

/// FIPS 203 algorithm 20, for a key that was checked.
///
/// # Errors
/// [`KeyError::Random`] when the generator fails.
pub(crate) fn encapsulate(set: ParameterSet, key: &[u8]) -> Result<Encapsulated, KeyError> {
    encapsulate_with(set, key, &Secret::random()?)
}

/// FIPS 203 algorithm 17.
fn encapsulate_with(
    set: ParameterSet,
    key: &[u8],
    randomness: &Secret<32>,
) -> Result<Encapsulated, KeyError> {
    with_clean_stack::<STACK, _>(|| {
        with!(set, mlkem => {
            let key = key.try_into().map_err(|_| KeyError::PublicKey)?;
            let (ciphertext, mut secret) = mlkem::encapsulate(&key, *randomness.expose());
            let secret = Secret::take(&mut secret);
            Ok(Encapsulated { secret, ciphertext: ciphertext.as_slice().to_vec() })
        })
    })
}

pub(crate) const SEED_LEN: usize = 64;
/// What the library leaves on the stack, expanded keys among it, is within this.
const STACK: usize = 64 << 10;

#[cfg(test)]
mod acvp;
#[cfg(test)]
mod tests;
