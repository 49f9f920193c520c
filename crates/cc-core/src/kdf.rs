//! HKDF-SHA-256 (RFC 5869) into secrets whose length the compiler checks, so that a derivation cannot
//! fail and nothing has to stand in for its result.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Secret, with_clean_stack};

/// `N` bytes of HKDF-SHA-256: Extract (RFC 5869 section 2.2), then Expand with the concatenation of
/// `info`. An empty salt is the same as none. More than 8160 bytes do not compile.
#[must_use]
pub fn hkdf<const N: usize>(salt: &[u8], key: &[u8], info: &[&[u8]]) -> Secret<N> {
    with_clean_stack::<STACK, _>(|| {
        let mut mac = keyed(salt);
        mac.update(key);
        expand(&Zeroizing::new(mac.finalize().into_bytes().into()), info)
    })
}

/// `N` bytes of HKDF-SHA-256's Expand (RFC 5869 section 2.3) from a uniformly random key. More than
/// 8160 bytes do not compile.
#[must_use]
pub fn hkdf_expand<const N: usize>(key: &Secret<32>, info: &[&[u8]]) -> Secret<N> {
    with_clean_stack::<STACK, _>(|| expand(key.expose(), info))
}

/// What a derivation leaves on the stack is within this.
const STACK: usize = 2048;

const HASH_LEN: usize = 32;

fn expand<const N: usize>(key: &[u8; HASH_LEN], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * HASH_LEN, "HKDF gives at most 255 hashes (RFC 5869 section 2.3)") };
    let mut derived = Secret::zeroed();
    let mut previous = Zeroizing::new([0; HASH_LEN]);
    for (chunk, number) in derived.expose_mut().chunks_mut(HASH_LEN).zip(1..=u8::MAX) {
        let mut mac = keyed(key);
        if number > 1 {
            mac.update(&*previous);
        }
        info.iter().for_each(|part| mac.update(part));
        mac.update(&[number]);
        *previous = mac.finalize().into_bytes().into();
        chunk.iter_mut().zip(previous.iter()).for_each(|(to, from)| *to = *from);
    }
    derived
}

/// HMAC under a key of any length (RFC 2104 section 2): one that fills a block as it is, a shorter one
/// with zeros behind it, a longer one hashed.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    match block.get_mut(..key.len()) {
        Some(front) => front.copy_from_slice(key),
        None => {
            let mut hash: [u8; HASH_LEN] = Sha256::digest(key).into();
            block.iter_mut().zip(&hash).for_each(|(to, from)| *to = *from);
            hash.zeroize();
        }
    }
    Hmac::new((&*block).into())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// RFC 5869, appendix A.1 to A.3.
    #[test]
    fn rfc_5869() {
        let counting = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let okm = hkdf::<42>(&counting(0, 12), &[0x0b; 22], &[&counting(0xf0, 0xf9)]);
        assert_eq!(
            hex::encode(okm.expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        let (salt, key) = (counting(0x60, 0xaf), counting(0, 0x4f));
        let okm = hkdf::<82>(&salt, &key, &[&counting(0xb0, 0xff)]);
        assert_eq!(
            hex::encode(okm.expose()),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41\
             c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        );
        let okm = hkdf::<42>(&[], &[0x0b; 22], &[]);
        assert_eq!(
            hex::encode(okm.expose()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_library(
            salt in proptest::collection::vec(any::<u8>(), 0..130),
            key in proptest::collection::vec(any::<u8>(), 0..130),
            info in proptest::collection::vec(any::<u8>(), 0..130),
            cut in any::<prop::sample::Index>(),
        ) {
            let (front, back) = info.split_at(cut.index(info.len() + 1));
            let (prk, theirs) = ::hkdf::Hkdf::<Sha256>::extract(Some(&salt), &key);
            let mut expected = [0; 200];
            theirs.expand(&info, &mut expected).unwrap();
            let derived = hkdf::<200>(&salt, &key, &[front, back]);
            prop_assert_eq!(derived.expose(), &expected);
            let prk = Secret::copy_from(&prk).unwrap();
            let derived = hkdf_expand::<200>(&prk, &[&info]);
            prop_assert_eq!(derived.expose(), &expected);
        }
    }
}
