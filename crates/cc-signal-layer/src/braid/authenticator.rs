//! The authenticator of ML-KEM Braid (section 2.3 of its specification): a key that every agreed secret
//! renews, under which headers and ciphertexts are authenticated.

use alloc::vec::Vec;

use cc_core::Secret;

use super::PROTOCOL_INFO;
use crate::{
    Error,
    kdf::{self, Prf},
};

/// The length of a MAC: HMAC-SHA256, not truncated.
pub(super) const MAC_LEN: usize = 32;

/// `auth`: 32 bytes root key, 32 bytes MAC key.
#[derive(Debug)]
pub(super) struct Authenticator {
    root: Secret<32>,
    mac_key: Secret<32>,
}

impl Authenticator {
    /// `Authenticator.Init(epoch, key)`.
    pub(super) fn new(key: &Secret<32>, epoch: u32) -> Result<Self, Error> {
        Self::derive(&Secret::zeroed(), key, epoch)
    }

    /// `Authenticator.Update(epoch, key)`.
    pub(super) fn update(&self, key: &Secret<32>, epoch: u32) -> Result<Self, Error> {
        Self::derive(&self.root, key, epoch)
    }

    /// `MacHdr(epoch, header)`.
    pub(super) fn header_mac(&self, epoch: u32, header: &[u8]) -> Secret<32> {
        self.mac(b":ekheader", epoch, &[header])
    }

    /// `MacCt(epoch, ct1 || ct2)`.
    pub(super) fn ciphertext_mac(&self, epoch: u32, ct1: &[u8], ct2: &[u8]) -> Secret<32> {
        self.mac(b":ciphertext", epoch, &[ct1, ct2])
    }

    pub(super) fn secrets(&self) -> [&Secret<32>; 2] {
        [&self.root, &self.mac_key]
    }

    pub(super) fn from_secrets(root: Secret<32>, mac_key: Secret<32>) -> Self {
        Self { root, mac_key }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { root: self.root.duplicate(), mac_key: self.mac_key.duplicate() }
    }

    /// `KDF_AUTH(root, key, epoch)`.
    fn derive(root: &Secret<32>, key: &Secret<32>, epoch: u32) -> Result<Self, Error> {
        let info =
            [PROTOCOL_INFO, b":Authenticator Update", &u64::from(epoch).to_be_bytes()].concat();
        let okm = kdf::hkdf::<64>(root.expose(), key.expose(), &info)?;
        Ok(Self { root: kdf::part(okm.expose(), 0)?, mac_key: kdf::part(okm.expose(), 1)? })
    }

    /// The parts have fixed lengths, so the concatenation is unambiguous.
    fn mac(&self, label: &[u8], epoch: u32, parts: &[&[u8]]) -> Secret<32> {
        let mut input: Vec<u8> = [PROTOCOL_INFO, label, &u64::from(epoch).to_be_bytes()].concat();
        parts.iter().for_each(|part| input.extend_from_slice(part));
        Prf::new(&self.mac_key).finish(&input)
    }
}
