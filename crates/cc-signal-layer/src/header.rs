//! Message headers and their encryption (Double Ratchet section 4).
//!
//! `HENCRYPT` is AES-256-GCM with a random 128-bit nonce, the second of the two choices of section
//! 4.2: a header key is used for a whole chain, and a counter in the clear would tell an observer
//! what the encryption is there to hide.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | nonce |
//! | 32 + 4 + 4 | encrypted: ratchet key, length of the previous chain, number in this chain |
//! | 40 | encrypted: number in the chain of the epoch, and the message of ML-KEM Braid (`braid/message.rs`) |
//! | 16 | tag |
//!
//! What is encrypted are five blocks of AES: the library takes longer for a length that is no multiple of a block.
//!
//! The nonce is the salt of the message's own key as well, so that this needs no bytes of its own.

use core::fmt;

use alloc::sync::Arc;
use cc_core::{Secret, key_use};
use cc_primitives::aes_gcm::LongNonceAesGcm;

use crate::{
    Error,
    codec::{Reader, fill},
    curve::PublicKey,
    entropy::Entropy,
    scrub::scrubbed,
    spqr,
};

/// The length of an encrypted header.
pub(crate) const ENCRYPTED_LEN: usize = NONCE_LEN + PLAIN_LEN + TAG_LEN;

/// What a message says about its place: `HEADER(dh_pair, pn, n)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The sender's ratchet key.
    pub(crate) ratchet_key: PublicKey,
    /// `PN`: how many messages the sender's previous chain had.
    pub(crate) previous: u32,
    /// `N`: the number of this message in its chain, from 0.
    pub(crate) number: u32,
    /// What it says of the post-quantum ratchet, as [`spqr::Header::encode`] gives it.
    pub(crate) spqr: [u8; spqr::Header::LEN],
}

/// A header key with its AES key schedule, which is used for a whole chain.
pub(crate) struct HeaderKey {
    key: Secret<32>,
    /// Shared, so that a copy does not pass through the stack.
    aead: Arc<LongNonceAesGcm>,
}

impl HeaderKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        let aead = scrubbed(|| Arc::new(LongNonceAesGcm::new(key.expose())));
        Self { key, aead }
    }

    /// `HENCRYPT(hk, header)`.
    pub(crate) fn encrypt(
        &self,
        header: &Header,
        entropy: &mut impl Entropy,
    ) -> Result<[u8; ENCRYPTED_LEN], Error> {
        let nonce: [u8; NONCE_LEN] = entropy.array()?;
        key_use::record("signal header", self.key.expose(), &nonce);
        let mut plain = [0; PLAIN_LEN];
        let (previous, number) = (header.previous.to_be_bytes(), header.number.to_be_bytes());
        let parts = [&header.ratchet_key.as_bytes()[..], &previous, &number, &header.spqr];
        fill(&mut plain, &parts);
        let tag = self.aead.seal(&nonce, &[], &mut plain).map_err(|_| Error::Primitive)?;
        let mut encrypted = [0; ENCRYPTED_LEN];
        fill(&mut encrypted, &[&nonce, &plain, &tag]);
        Ok(encrypted)
    }

    /// `HDECRYPT(hk, ciphertext)`: the header, or `None` when this is not its key.
    pub(crate) fn decrypt(&self, encrypted: &[u8; ENCRYPTED_LEN]) -> Option<Header> {
        let mut reader = Reader::new(encrypted);
        let nonce: [u8; NONCE_LEN] = reader.array().ok()?;
        let mut plain: [u8; PLAIN_LEN] = reader.array().ok()?;
        let tag: [u8; TAG_LEN] = reader.array().ok()?;
        self.aead.open(&nonce, &[], &mut plain, &tag).ok()?;
        let mut reader = Reader::new(&plain);
        Some(Header {
            ratchet_key: PublicKey::from_bytes(reader.array().ok()?).ok()?,
            previous: reader.u32().ok()?,
            number: reader.u32().ok()?,
            spqr: reader.array().ok()?,
        })
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.key
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self { key: self.key.duplicate(), aead: self.aead.clone() }
    }
}

/// The random bytes of an encrypted header.
pub(crate) fn salt(encrypted: &[u8; ENCRYPTED_LEN]) -> &[u8] {
    encrypted.split_at(NONCE_LEN).0
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey(..)")
    }
}

const NONCE_LEN: usize = 16;
const PLAIN_LEN: usize = 32 + 4 + 4 + spqr::Header::LEN;
const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        braid::{Chunk, Message, Payload},
        curve::KeyPair,
        entropy::System,
    };

    #[test]
    fn a_header_opens_under_its_key_only_and_hides_its_number() {
        let key = HeaderKey::new(Secret::random().unwrap());
        let header = Header {
            ratchet_key: *KeyPair::generate().unwrap().public(),
            previous: 7,
            number: u32::MAX,
            spqr: [8; spqr::Header::LEN],
        };
        let encrypted = key.encrypt(&header, &mut System).unwrap();
        assert_eq!(key.decrypt(&encrypted), Some(header));
        assert_ne!(encrypted, key.encrypt(&header, &mut System).unwrap());
        let other = HeaderKey::new(Secret::random().unwrap());
        assert_eq!(other.decrypt(&encrypted), None);
        for bit in 0..ENCRYPTED_LEN * 8 {
            let mut flipped = encrypted;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.decrypt(&flipped), None, "bit {bit}");
        }
    }

    /// `docs/wire-format.md`.
    #[test]
    fn the_fields_are_where_the_wire_format_says() {
        let key = HeaderKey::new(Secret::random().unwrap());
        let chunk = Chunk { index: 4, data: [5; 32] };
        let spqr = spqr::Header {
            message: Message { epoch: 0xffff_0d0e, payload: Payload::Ct1(chunk) },
            number: 0x090a_0b0c,
        };
        let header = Header {
            ratchet_key: *KeyPair::generate().unwrap().public(),
            previous: 0x0102_0304,
            number: 0x0506_0708,
            spqr: spqr.encode(),
        };
        let encrypted = key.encrypt(&header, &mut System).unwrap();
        assert_eq!(encrypted.len(), 16 + 80 + 16);
        let nonce = encrypted[..16].try_into().unwrap();
        let mut plain = encrypted[16..96].to_vec();
        let tag = encrypted[96..].try_into().unwrap();
        key.aead.open(&nonce, &[], &mut plain, &tag).unwrap();
        let mut expected = header.ratchet_key.as_bytes().to_vec();
        expected.extend(1..=14);
        expected.extend([4, 4]);
        expected.extend([5; 32]);
        assert_eq!(plain, expected);
        assert_eq!(key.decrypt(&encrypted), Some(header));
    }
}
