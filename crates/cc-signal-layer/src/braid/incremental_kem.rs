//! ML-KEM-768 in steps (section 1.2 of the ML-KEM Braid specification): the ciphertext is made in two parts, the
//! first from a header of 64 bytes, the second from the rest of the encapsulation key.
//!
//! What is saved is what was drawn, 64 and 32 bytes; the 2400 and 2080 that are computed from it are kept in
//! memory and computed again when it is loaded. So any bytes that come from a store are a valid secret.

use alloc::{sync::Arc, vec};

use cc_core::{Secret, SecretBytes};
use libcrux_ml_kem::mlkem768::incremental as kem;
use zeroize::Zeroizing;

use crate::{Error, entropy::Entropy, scrub::scrubbed_deep};

/// `ek_seed || SHA3-256(ek)`.
pub(super) const HEADER_LEN: usize = kem::pk1_len();
/// `ek_vector`, the rest of the encapsulation key.
pub(super) const VECTOR_LEN: usize = kem::pk2_len();
pub(super) const CT1_LEN: usize = kem::Ciphertext1::len();
pub(super) const CT2_LEN: usize = kem::Ciphertext2::len();

/// A key pair, as the seed (d || z) of FIPS 203 section 7.1, with its public half.
#[derive(Debug)]
pub(super) struct KeyPair {
    seed: Secret<64>,
    /// The decapsulation key of FIPS 203.
    expanded: Arc<SecretBytes>,
    header: [u8; HEADER_LEN],
    vector: Arc<[u8]>,
}

impl KeyPair {
    pub(super) fn generate(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self::from_seed(entropy.secret()?))
    }

    pub(super) fn from_seed(seed: Secret<64>) -> Self {
        let (expanded, header, vector) = scrubbed_deep(|| {
            let keys = kem::KeyPairCompressedBytes::from_seed(*seed.expose());
            let expanded = Arc::new(SecretBytes::new(keys.sk().to_vec()));
            (expanded, *keys.pk1(), Arc::from(&keys.pk2()[..]))
        });
        Self { seed, expanded, header, vector }
    }

    pub(super) fn seed(&self) -> &Secret<64> {
        &self.seed
    }

    pub(super) fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    pub(super) fn vector(&self) -> &Arc<[u8]> {
        &self.vector
    }

    /// The shared secret; for a damaged ciphertext one that nobody else knows.
    pub(super) fn decapsulate(
        &self,
        ct1: &[u8; CT1_LEN],
        ct2: &[u8; CT2_LEN],
    ) -> Result<Secret<32>, Error> {
        let (ct1, ct2) = (kem::Ciphertext1 { value: *ct1 }, kem::Ciphertext2 { value: *ct2 });
        let key = self.expanded.expose().try_into().map_err(|_| Error::Primitive)?;
        Ok(scrubbed_deep(|| {
            let mut shared = kem::decapsulate_compressed_key(key, &ct1, &ct2);
            Secret::take(&mut shared)
        }))
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            seed: self.seed.duplicate(),
            expanded: self.expanded.clone(),
            header: self.header,
            vector: self.vector.clone(),
        }
    }
}

/// An encapsulation of which the first part is made: the 32 bytes that were drawn for it (`m` of FIPS 203
/// algorithm 20), and `ct1`.
#[derive(Debug)]
pub(super) struct Encapsulation {
    randomness: Secret<32>,
    /// `encaps_secret`.
    state: Arc<SecretBytes>,
    header: [u8; HEADER_LEN],
    ct1: Arc<[u8]>,
}

impl Encapsulation {
    /// `Encaps1(ek_seed, hek)`, and the shared secret.
    pub(super) fn new(
        header: [u8; HEADER_LEN],
        randomness: Secret<32>,
    ) -> Result<(Self, Secret<32>), Error> {
        let mut state = Zeroizing::new(vec![0; kem::encaps_state_len()]);
        let mut shared = Secret::zeroed();
        let ct1 = scrubbed_deep(|| {
            let shared: &mut [u8; 32] = shared.expose_mut();
            kem::encapsulate1(&header, *randomness.expose(), &mut state, shared)
                .map(|ct1| Arc::from(&ct1.value[..]))
                .map_err(|_| Error::Primitive)
        })?;
        let state = Arc::new(SecretBytes::new(core::mem::take(&mut *state)));
        Ok((Self { randomness, state, header, ct1 }, shared))
    }

    /// `Encaps2(encaps_secret, ek_seed, ek_vector)`.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when `vector` is not what the header was made of, or a coefficient is not
    /// reduced (FIPS 203 section 7.2).
    pub(super) fn finish(&self, vector: &[u8; VECTOR_LEN]) -> Result<[u8; CT2_LEN], Error> {
        self.check(vector)?;
        let state = self.state.expose().try_into().map_err(|_| Error::Primitive)?;
        Ok(scrubbed_deep(|| kem::encapsulate2(state, vector).value))
    }

    /// Refuses what [`Encapsulation::finish`] would refuse.
    pub(super) fn check(&self, vector: &[u8; VECTOR_LEN]) -> Result<(), Error> {
        kem::validate_pk_bytes(&self.header, vector).map_err(|_| Error::Undecryptable)
    }

    pub(super) fn randomness(&self) -> &Secret<32> {
        &self.randomness
    }

    pub(super) fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    pub(super) fn ct1(&self) -> &Arc<[u8]> {
        &self.ct1
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            randomness: self.randomness.duplicate(),
            state: self.state.clone(),
            header: self.header,
            ct1: self.ct1.clone(),
        }
    }
}
