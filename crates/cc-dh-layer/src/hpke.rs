//! HPKE (RFC 9180) in Auth mode, section 5.1.3: only the holder of the sender's private key makes a
//! box that opens under its public key.
//!
//! Suites: DHKEM(X25519, HKDF-SHA256) or DHKEM(P-256, HKDF-SHA256), with HKDF-SHA256 and AES-256-GCM.
//!
//! This is how the root of a group gets to a member, and the only thing in this crate that would be
//! another one over other keys: [`group`](crate::group) knows boxes of a fixed length and nothing else of
//! it.

use alloc::vec::Vec;

use cc_core::{SecretBytes, key_use, random, with_clean_stack};
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_rust_crypto::HpkeRustCrypto;

use crate::{Curve, DhError, DhKeyPair, DhPublicKey};

/// Bytes of a box with `content` bytes in it: the encapsulated key, and the ciphertext with its tag.
pub(crate) const fn box_len(curve: Curve, content: usize) -> usize {
    curve.public_key_len() + content + TAG_LEN
}

/// Seals boxes in the name of one sender.
pub(crate) struct Sealer {
    hpke: Hpke<HpkeRustCrypto>,
    sender: HpkePrivateKey,
}

impl Sealer {
    pub(crate) fn new(sender: &DhKeyPair) -> Result<Self, DhError> {
        let hpke = suite(sender.curve(), AeadAlgorithm::Aes256Gcm)?;
        Ok(Self { hpke, sender: private(sender) })
    }

    /// Appends the box to `to`: [`box_len`] bytes.
    pub(crate) fn seal(
        &mut self,
        recipient: &DhPublicKey,
        info: &[u8],
        associated_data: &[u8],
        content: &[u8],
        to: &mut Vec<u8>,
    ) -> Result<(), DhError> {
        let (sender, recipient_key) = (Some(&self.sender), public(recipient));
        let (encapsulated, ciphertext) = with_clean_stack::<STACK, _>(|| {
            self.hpke.seal(&recipient_key, info, associated_data, content, None, None, sender)
        })
        .map_err(|error| match error {
            HpkeError::InsufficientRandomness => DhError::Random(cc_core::RandomError),
            _ => DhError::Internal,
        })?;
        // The library does not show the key and nonce. An encapsulated key that comes only once is of a
        // private key that was drawn only once, and so are they.
        key_use::record("dh hpke", &encapsulated, recipient.point());
        if encapsulated.len() + ciphertext.len() != box_len(recipient.curve(), content.len()) {
            return Err(DhError::Internal);
        }
        to.extend_from_slice(&encapsulated);
        to.extend_from_slice(&ciphertext);
        Ok(())
    }
}

/// Opens a box that holds exactly `len` bytes.
pub(crate) fn open(
    sealed: &[u8],
    recipient: &DhKeyPair,
    sender: &DhPublicKey,
    info: &[u8],
    associated_data: &[u8],
    len: usize,
) -> Result<SecretBytes, DhError> {
    let curve = recipient.curve();
    if sealed.len() != box_len(curve, len) || sender.curve() != curve {
        return Err(DhError::Rejected);
    }
    let (encapsulated, ciphertext) =
        sealed.split_at_checked(curve.public_key_len()).ok_or(DhError::Rejected)?;
    // Stricter than the library: the canonical encoding, and no point of low order.
    let encapsulated =
        DhPublicKey::from_point(curve, encapsulated).map_err(|_| DhError::Rejected)?;
    let hpke = suite(curve, AeadAlgorithm::Aes256Gcm)?;
    let (recipient, sender) = (private(recipient), public(sender));
    let encapsulated = encapsulated.point();
    let opened = with_clean_stack::<STACK, _>(|| {
        hpke.open(
            encapsulated,
            &recipient,
            info,
            associated_data,
            ciphertext,
            None,
            None,
            Some(&sender),
        )
    });
    opened.map(SecretBytes::new).map_err(|_| DhError::Rejected)
}

/// The library seeds a generator of its own for every suite it makes, also to open, and panics when
/// the operating system refuses. Asking first turns a generator that fails into an error.
fn suite(curve: Curve, aead: AeadAlgorithm) -> Result<Hpke<HpkeRustCrypto>, DhError> {
    let _: [u8; 32] = random::array()?;
    let kem = match curve {
        Curve::X25519 => KemAlgorithm::DhKem25519,
        Curve::P256 => KemAlgorithm::DhKemP256,
    };
    Ok(Hpke::new(Mode::Auth, kem, KdfAlgorithm::HkdfSha256, aead))
}

fn private(keys: &DhKeyPair) -> HpkePrivateKey {
    HpkePrivateKey::new(keys.private_key().expose().to_vec())
}

fn public(key: &DhPublicKey) -> HpkePublicKey {
    HpkePublicKey::new(Vec::from(key.point()))
}

const TAG_LEN: usize = 16;
/// What an encapsulation and the AEAD behind it leave on the stack is within this.
const STACK: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use cc_core::Secret;

    use super::*;

    /// RFC 9180 appendices A.1.3 and A.3.3, first encryption. The RFC has no Auth mode vectors with
    /// AES-256-GCM on these curves; with AES-128-GCM they show the KEM, the key schedule and the AEAD
    /// call of the library, and the round trip below shows the rest. Sealing has no vectors here: the
    /// library takes its randomness from outside only in a test build of its own.
    #[test]
    fn rfc_9180_auth_mode() {
        let vectors = [
            (
                Curve::X25519,
                "8b0c70873dc5aecb7f9ee4e62406a397b350e57012be45cf53b7105ae731790b",
                "fdea67cf831f1ca98d8e27b1f6abeb5b7745e9d35348b80fa407ff6958f9137e",
                "23fb952571a14a25e3d678140cd0e5eb47a0961bb18afcf85896e5453c312e76",
                concat!(
                    "5fd92cc9d46dbf8943e72a07e42f363ed5f721212cd90bcfd072bfd9f44e06b8",
                    "0fd17824947496e21b680c141b"
                ),
            ),
            (
                Curve::P256,
                concat!(
                    "04a817a0902bf28e036d66add5d544cc3a0457eab150f104285df1e293b5c10e",
                    "ef8651213e43d9cd9086c80b309df22cf37609f58c1127f7607e85f210b2804f",
                    "73"
                ),
                "d929ab4be2e59f6954d6bedd93e638f02d4046cef21115b00cdda2acb2a4440e",
                concat!(
                    "042224f3ea800f7ec55c03f29fc9865f6ee27004f818fcbdc6dc68932c1e52e1",
                    "5b79e264a98f2c535ef06745f3d308624414153b22c7332bc1e691cb4af4d534",
                    "54"
                ),
                concat!(
                    "82ffc8c44760db691a07c5627e5fc2c08e7a86979ee79b494a17cc3405446ac2",
                    "bdb8f265db4a099ed3289ffe19"
                ),
            ),
        ];
        for (curve, sender, recipient, encapsulated, ciphertext) in vectors {
            let bytes = |text: &str| hex::decode(text).unwrap();
            let recipient = Secret::copy_from(&bytes(recipient)).unwrap();
            let recipient = DhKeyPair::from_private_key(curve, recipient).unwrap();
            let sender = DhPublicKey::from_point(curve, &bytes(sender)).unwrap();
            let plaintext = suite(curve, AeadAlgorithm::Aes128Gcm)
                .unwrap()
                .open(
                    &bytes(encapsulated),
                    &private(&recipient),
                    b"Ode on a Grecian Urn",
                    b"Count-0",
                    &bytes(ciphertext),
                    None,
                    None,
                    Some(&public(&sender)),
                )
                .unwrap();
            assert_eq!(plaintext, b"Beauty is truth, truth beauty");
        }
    }

    #[test]
    fn only_the_named_sender_and_recipient_share_a_box() {
        for curve in [Curve::X25519, Curve::P256] {
            let [a, b, c] = [(); 3].map(|()| DhKeyPair::generate(curve).unwrap());
            let mut sealed = Vec::new();
            let mut sealer = Sealer::new(&a).unwrap();
            sealer.seal(b.public_key(), b"i", b"ad", b"content", &mut sealed).unwrap();
            let opened = open(&sealed, &b, a.public_key(), b"i", b"ad", 7).unwrap();
            assert_eq!(opened.expose(), b"content");
            for (recipient, sender, info, associated_data, len) in [
                (&c, &a, b"i", b"ad", 7),
                (&b, &c, b"i", b"ad", 7),
                (&b, &b, b"i", b"ad", 7),
                (&b, &a, b"j", b"ad", 7),
                (&b, &a, b"i", b"ae", 7),
                (&b, &a, b"i", b"ad", 6),
            ] {
                let result =
                    open(&sealed, recipient, sender.public_key(), info, associated_data, len);
                assert_eq!(result.err(), Some(DhError::Rejected));
            }
        }
    }
}
