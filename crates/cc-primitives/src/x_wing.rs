//! X-Wing, the hybrid of X25519 and ML-KEM-768 (draft-connolly-cfrg-xwing-kem-06), over libcrux-ml-kem, which is
//! formally verified, and the X25519 of this crate.

use alloc::vec::Vec;

use cc_core::Secret;
use libcrux_ml_kem::mlkem768;

use crate::x25519;

/// The public key, 1216 bytes, of a private key, which is a seed (section 5.2).
pub(crate) fn public_key(seed: &Secret<32>) -> Vec<u8> {
    expand(seed).public_key()
}

/// The shared secret for a public key and its ciphertext, 1120 bytes (section 5.4.1, `EncapsulateDerand`), or `None` for
/// what is no public key: another length, coefficients of ML-KEM that are not reduced (FIPS 203 section 7.2), or a point of
/// low order, which the draft lets pass.
pub(crate) fn encapsulate(
    public_key: &[u8],
    randomness: &Secret<64>,
) -> Option<(Secret<32>, Vec<u8>)> {
    let (ml_kem, peer) = public_key.split_at_checked(ML_KEM_KEY_LEN)?;
    let (ml_kem, peer): (_, [u8; 32]) = (ml_kem.try_into().ok()?, peer.try_into().ok()?);
    if !mlkem768::validate_public_key(&ml_kem) {
        return None;
    }
    let (for_ml_kem, for_x25519) = randomness.expose().split_first_chunk::<32>()?;
    let ephemeral = Secret::copy_from(for_x25519)?;
    let (ciphertext, mut ml_kem_secret) = mlkem768::encapsulate(&ml_kem, *for_ml_kem);
    let ml_kem_secret = Secret::take(&mut ml_kem_secret);
    let x25519_secret = x25519::agree(&ephemeral, &peer)?;
    let point = x25519::public_key(&ephemeral);
    let secret = combine(&ml_kem_secret, &x25519_secret, &point, &peer);
    Some((secret, [ciphertext.as_slice().as_slice(), &point].concat()))
}

/// The shared secret of a ciphertext (section 5.5), or `None` for one of another length or with a point of low order. One
/// that was made for another key has a secret that nobody knows.
pub(crate) fn decapsulate(ciphertext: &[u8], seed: &Secret<32>) -> Option<Secret<32>> {
    let (ml_kem, point) = ciphertext.split_at_checked(ML_KEM_CIPHERTEXT_LEN)?;
    let (ml_kem, point): (_, [u8; 32]) = (ml_kem.try_into().ok()?, point.try_into().ok()?);
    let keys = expand(seed);
    let mut ml_kem_secret = mlkem768::decapsulate(keys.ml_kem.private_key(), &ml_kem);
    let ml_kem_secret = Secret::take(&mut ml_kem_secret);
    let x25519_secret = x25519::agree(&keys.x25519, &point)?;
    let own = x25519::public_key(&keys.x25519);
    Some(combine(&ml_kem_secret, &x25519_secret, &point, &own))
}

struct Keys {
    ml_kem: mlkem768::MlKem768KeyPair,
    x25519: Secret<32>,
}

impl Keys {
    fn public_key(&self) -> Vec<u8> {
        [self.ml_kem.pk().as_slice(), &x25519::public_key(&self.x25519)].concat()
    }
}

/// `expandDecapsulationKey`, section 5.2.
fn expand(seed: &Secret<32>) -> Keys {
    let mut expanded: [u8; 96] = libcrux_sha3::shake256(seed.expose());
    let expanded = Secret::take(&mut expanded);
    let (mut for_ml_kem, mut for_x25519) = (Secret::<64>::zeroed(), Secret::<32>::zeroed());
    let (front, back) = expanded.expose().split_at(64);
    for_ml_kem.expose_mut().copy_from_slice(front);
    for_x25519.expose_mut().copy_from_slice(back);
    Keys { ml_kem: mlkem768::generate_key_pair(*for_ml_kem.expose()), x25519: for_x25519 }
}

/// Section 5.3.
fn combine(
    ml_kem: &Secret<32>,
    x25519: &Secret<32>,
    point: &[u8; 32],
    public_key: &[u8; 32],
) -> Secret<32> {
    let mut input = Secret::<{ 4 * 32 + LABEL.len() }>::zeroed();
    let parts: [&[u8]; 5] = [ml_kem.expose(), x25519.expose(), point, public_key, LABEL];
    for (to, from) in input.expose_mut().iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    let mut secret = libcrux_sha3::sha256(input.expose());
    Secret::take(&mut secret)
}

const ML_KEM_KEY_LEN: usize = 1184;
const ML_KEM_CIPHERTEXT_LEN: usize = 1088;
const LABEL: &[u8; 6] = br"\.//^\";

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    /// The draft's test vectors, appendix C: seed, randomness of the encapsulation, shared secret, and SHA3-256 of the
    /// public key and of the ciphertext, which are long.
    const VECTORS: [[&str; 5]; 3] = [
        [
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e235b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
            "5121745904643ad9dfacca7869292c19a8a69533b53e60666b7db910b4ad6367",
            "c0abd149f83f45324ac3a7ddc7606c71f257e5ea86113522834a0ee1bcb34e3e",
        ],
        [
            "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
            "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdefaee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
            "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
            "799b6016e5daa56ffa1b5e79f7caf73413ceecd6df428642404cac41ddee4853",
            "7680b7ba47ae09bac4b43001edcef9d98e50df20026e70ba6a424447e1f2b961",
        ],
        [
            "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
            "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
            "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
            "1ef0c99a06026450564957a5402a788feffbbefdcce55d25de254d0a49eb095a",
            "3088688d63201d5d844170b79f148b2791c15f346ff6f8bd559807fbd442f91f",
        ],
    ];

    #[test]
    fn vectors_of_the_draft() {
        for [seed, randomness, secret, public, ciphertext] in VECTORS {
            let seed = Secret::copy_from(&hex::decode(seed).unwrap()).unwrap();
            let randomness = Secret::copy_from(&hex::decode(randomness).unwrap()).unwrap();
            let key = public_key(&seed);
            assert_eq!(hex::encode(libcrux_sha3::sha256(&key)), public);
            let (shared, sealed) = encapsulate(&key, &randomness).unwrap();
            assert_eq!(hex::encode(libcrux_sha3::sha256(&sealed)), ciphertext);
            assert_eq!(hex::encode(shared.expose()), secret);
            assert_eq!(decapsulate(&sealed, &seed), Some(shared));
        }
    }

    #[test]
    fn what_is_no_key_or_ciphertext_is_refused() {
        let seed = Secret::copy_from(&[7; 32]).unwrap();
        let randomness = Secret::copy_from(&[8; 64]).unwrap();
        let key = public_key(&seed);
        let (secret, sealed) = encapsulate(&key, &randomness).unwrap();
        for bad in [&[][..], &key[1..], &[&key[..], &[0]].concat()] {
            assert!(encapsulate(bad, &randomness).is_none());
        }
        let low_order = [&key[..ML_KEM_KEY_LEN], &[0; 32]].concat();
        assert!(encapsulate(&low_order, &randomness).is_none());
        let not_reduced = [&vec![0xff; 3][..], &key[3..]].concat();
        assert!(encapsulate(&not_reduced, &randomness).is_none());
        for bad in [&[][..], &sealed[1..], &[&sealed[..], &[0]].concat()] {
            assert!(decapsulate(bad, &seed).is_none());
        }
        let low_order = [&sealed[..ML_KEM_CIPHERTEXT_LEN], &[0; 32]].concat();
        assert!(decapsulate(&low_order, &seed).is_none());
        for at in [0, ML_KEM_CIPHERTEXT_LEN - 1, ML_KEM_CIPHERTEXT_LEN] {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert_ne!(decapsulate(&other, &seed).as_ref(), Some(&secret));
        }
    }
}
