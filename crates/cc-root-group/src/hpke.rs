//! How the root of a group gets to a member: HPKE (RFC 9180). Only the holder of the sender's private key
//! makes a box that opens under its public key.
//!
//! Suites: DHKEM(X25519, HKDF-SHA256) or DHKEM(P-256, HKDF-SHA256), with HKDF-SHA256 and AES-256-GCM. With
//! member keys that are Diffie-Hellman keys alone, in Auth mode (section 5.1.3). With a KEM beside them, in
//! AuthPSK mode (section 5.1.4): the pre-shared key is the secret that the KEM encapsulates, so that a box
//! stays closed unless both are broken, and `info` binds its ciphertext and both public keys.

use alloc::vec::Vec;

use cc_core::{Secret, SecretBytes, key_use, random, with_clean_stack};
use cc_primitives::hpke::HpkePrimitives;
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};

use crate::{
    Curve, DhKeyPair, DhPublicKey, Encapsulated, KeyError, MemberKeyPair, MemberPublicKey, Suite,
    label::label,
    member::{Sender, SuiteOf, digest},
};

/// Bytes of a box with `content` bytes in it: the KEM's ciphertext, if there is a KEM, HPKE's encapsulated
/// key, and the ciphertext with its tag.
pub(crate) fn box_len(suite: impl Suite, content: usize) -> usize {
    suite.ciphertext_len() + suite.curve().public_key_len() + content + TAG_LEN
}

/// Seals boxes in the name of one sender.
pub(crate) struct Sealer {
    hpke: Hpke<HpkePrimitives>,
    key: HpkePrivateKey,
    sender: Sender,
}

impl Sealer {
    pub(crate) fn new<K: MemberKeyPair>(keys: &K) -> Result<Self, KeyError> {
        let suite = keys.public_key().suite();
        let hpke = hpke(mode(suite), suite.curve(), AeadAlgorithm::Aes256Gcm)?;
        let sender = Sender::of(keys.public_key());
        Ok(Self { hpke, key: private(keys.diffie_hellman_keys()), sender })
    }

    /// Appends the box to `to`: [`box_len`] bytes. `encapsulated` is from
    /// [`MemberPublicKey::encapsulate`] of `recipient`, and used once.
    pub(crate) fn seal<P: MemberPublicKey>(
        &mut self,
        recipient: &P,
        encapsulated: Option<&Encapsulated>,
        info: &[u8],
        associated_data: &[u8],
        content: &[u8],
        to: &mut Vec<u8>,
    ) -> Result<(), KeyError> {
        let suite = recipient.suite();
        let start = to.len();
        let kem_ciphertext = encapsulated.map_or(&[][..], |it| it.ciphertext.as_slice());
        let psk = encapsulated.map(|it| psk(P::LABEL, &it.secret));
        let info = full_info(info, recipient, &self.sender, kem_ciphertext);
        let recipient_key = public(recipient.diffie_hellman_key());
        let sender = Some(&self.key);
        let (psk, psk_id) = psk_fields(psk.as_ref());
        let (key, ciphertext) = with_clean_stack::<STACK, _>(|| {
            self.hpke.seal(&recipient_key, &info, associated_data, content, psk, psk_id, sender)
        })
        .map_err(|error| match error {
            HpkeError::InsufficientRandomness => KeyError::Random(cc_core::RandomError),
            _ => KeyError::Internal,
        })?;
        // The library does not show the key and nonce. An encapsulated key that comes only once is of a
        // private key that was drawn only once, and so are they.
        key_use::record("root hpke", &key, recipient.encoded());
        for field in [kem_ciphertext, &key, &ciphertext] {
            to.extend_from_slice(field);
        }
        if to.len() - start == box_len(suite, content.len()) {
            Ok(())
        } else {
            Err(KeyError::Internal)
        }
    }
}

/// Opens a box that holds exactly `len` bytes.
pub(crate) fn open<K: MemberKeyPair>(
    sealed: &[u8],
    recipient: &K,
    sender: &Sender,
    info: &[u8],
    associated_data: &[u8],
    len: usize,
) -> Result<SecretBytes, KeyError> {
    let (kem_ciphertext, _) = split::<K>(recipient.public_key().suite(), sealed, len)?;
    let secret = recipient.decapsulate(kem_ciphertext)?;
    open_with(sealed, recipient, secret.as_ref(), sender, info, associated_data, len)
}

/// The same, with the secret of the box's KEM ciphertext.
pub(crate) fn open_with<K: MemberKeyPair>(
    sealed: &[u8],
    recipient: &K,
    secret: Option<&Secret<32>>,
    sender: &Sender,
    info: &[u8],
    associated_data: &[u8],
    len: usize,
) -> Result<SecretBytes, KeyError> {
    let suite = recipient.public_key().suite();
    let curve = suite.curve();
    let (kem_ciphertext, sealed) = split::<K>(suite, sealed, len)?;
    if sender.key.curve() != curve || secret.is_some() != (suite.ciphertext_len() > 0) {
        return Err(KeyError::Rejected);
    }
    let psk = secret.map(|secret| psk(K::PublicKey::LABEL, secret));
    let info = full_info(info, recipient.public_key(), sender, kem_ciphertext);
    let (key, ciphertext) =
        sealed.split_at_checked(curve.public_key_len()).ok_or(KeyError::Rejected)?;
    // Stricter than the library: the canonical encoding, and no point of low order.
    let key = DhPublicKey::from_point(curve, key).map_err(|_| KeyError::Rejected)?;
    let hpke = hpke(mode(suite), curve, AeadAlgorithm::Aes256Gcm)?;
    let (recipient, sender) = (private(recipient.diffie_hellman_keys()), public(&sender.key));
    let key = key.point();
    let (psk, psk_id) = psk_fields(psk.as_ref());
    let opened = with_clean_stack::<STACK, _>(|| {
        let sender = Some(&sender);
        hpke.open(key, &recipient, &info, associated_data, ciphertext, psk, psk_id, sender)
    });
    opened.map(SecretBytes::new).map_err(|_| KeyError::Rejected)
}

/// The KEM's ciphertext in front of a box that holds `len` bytes, and the rest.
pub(crate) fn split<K: MemberKeyPair>(
    suite: SuiteOf<K>,
    sealed: &[u8],
    len: usize,
) -> Result<(&[u8], &[u8]), KeyError> {
    if sealed.len() != box_len(suite, len) {
        return Err(KeyError::Rejected);
    }
    sealed.split_at_checked(suite.ciphertext_len()).ok_or(KeyError::Rejected)
}

/// HPKE binds the Diffie-Hellman keys itself, and knows nothing of a KEM beside them.
fn full_info<P: MemberPublicKey>(
    info: &[u8],
    recipient: &P,
    sender: &Sender,
    kem_ciphertext: &[u8],
) -> Vec<u8> {
    match &sender.digest {
        None => info.to_vec(),
        Some(sender) => [info, sender, &digest(recipient), kem_ciphertext].concat(),
    }
}

/// The secret of the KEM is for other purposes as well: the pre-shared key is derived from it.
fn psk(kind: &'static str, secret: &Secret<32>) -> Secret<32> {
    cc_core::kdf::hkdf_expand(secret, &[&label(kind, "hpke psk")])
}

fn psk_fields(psk: Option<&Secret<32>>) -> (Option<&[u8]>, Option<&[u8]>) {
    (psk.map(|psk| psk.expose().as_slice()), psk.map(|_| PSK_ID))
}

fn mode(suite: impl Suite) -> Mode {
    if suite.ciphertext_len() > 0 { Mode::AuthPsk } else { Mode::Auth }
}

/// The library seeds a generator of its own for every suite it makes, also to open, and panics when
/// the operating system refuses. Asking first turns a generator that fails into an error.
fn hpke(mode: Mode, curve: Curve, aead: AeadAlgorithm) -> Result<Hpke<HpkePrimitives>, KeyError> {
    let _: [u8; 32] = random::array()?;
    let kem = match curve {
        Curve::X25519 => KemAlgorithm::DhKem25519,
        Curve::P256 => KemAlgorithm::DhKemP256,
    };
    Ok(Hpke::new(mode, kem, KdfAlgorithm::HkdfSha256, aead))
}

fn private(keys: &DhKeyPair) -> HpkePrivateKey {
    HpkePrivateKey::new(keys.private_key().expose().to_vec())
}

fn public(key: &DhPublicKey) -> HpkePublicKey {
    HpkePublicKey::new(Vec::from(key.point()))
}

const PSK_ID: &[u8] = b"cascading-cipher/1 kem secret";
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
            let plaintext = hpke(Mode::Auth, curve, AeadAlgorithm::Aes128Gcm)
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
            sealer.seal(b.public_key(), None, b"i", b"ad", b"content", &mut sealed).unwrap();
            let opened = open(&sealed, &b, &Sender::of(a.public_key()), b"i", b"ad", 7).unwrap();
            assert_eq!(opened.expose(), b"content");
            for (recipient, sender, info, associated_data, len) in [
                (&c, &a, b"i", b"ad", 7),
                (&b, &c, b"i", b"ad", 7),
                (&b, &b, b"i", b"ad", 7),
                (&b, &a, b"j", b"ad", 7),
                (&b, &a, b"i", b"ae", 7),
                (&b, &a, b"i", b"ad", 6),
            ] {
                let result = open(
                    &sealed,
                    recipient,
                    &Sender::of(sender.public_key()),
                    info,
                    associated_data,
                    len,
                );
                assert_eq!(result.err(), Some(KeyError::Rejected));
            }
        }
    }
}
