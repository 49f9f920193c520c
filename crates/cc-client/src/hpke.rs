//! HPKE (RFC 9180), as all that this client seals to one reader uses it: HKDF-SHA256 and AES-256-GCM, with a KEM that the
//! reader's key names.

use cc_core::{Opaque, RandomError, Secret, SecretBytes, key_use, random, with_clean_stack};
use cc_primitives::hpke::HpkePrimitives;
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};

use crate::Fault;

/// Room on the stack that HPKE uses, and X-Wing with it.
const STACK: usize = 96 << 10;

/// How a key is agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kem {
    /// DHKEM(X25519, HKDF-SHA256), RFC 9180 section 7.1.
    X25519,
    /// X25519 with ML-KEM-768, draft-connolly-cfrg-xwing-kem-06.
    XWing,
}

impl Kem {
    /// Its number in the registry of HPKE.
    pub(crate) const fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::XWing => 0x647a,
        }
    }

    pub(crate) fn of_id(id: u16) -> Option<Self> {
        [Self::X25519, Self::XWing].into_iter().find(|kem| kem.id() == id)
    }

    /// Bytes of a public key.
    pub(crate) const fn public_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    const fn algorithm(self) -> KemAlgorithm {
        match self {
            Self::X25519 => KemAlgorithm::DhKem25519,
            Self::XWing => KemAlgorithm::XWingDraft06,
        }
    }
}

/// What both sides have beside the reader's key: with it, only who has it can seal (RFC 9180 section 5.1.2).
#[derive(Clone, Copy)]
pub(crate) struct Psk<'a> {
    pub(crate) secret: &'a [u8],
    pub(crate) id: &'a [u8],
}

/// What is sealed is bound to this.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) kem: Kem,
    pub(crate) info: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) psk: Option<Psk<'a>>,
}

/// What was sealed.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) encapsulated: Opaque,
    pub(crate) ciphertext: Opaque,
}

/// A new key pair: the private key, and the public one.
pub(crate) fn generate(kem: Kem) -> Result<(Secret<32>, Vec<u8>), Fault> {
    // RFC 9180 section 7.1.3. The key comes of a seed, so tests whose seed decides everything decide it too.
    let seed = Secret::<32>::random()?;
    let pair = with_clean_stack::<STACK, _>(|| suite(kem, None).derive_key_pair(seed.expose()));
    let pair = pair.map_err(|_| RandomError)?;
    let private = Secret::copy_from(pair.private_key().as_slice()).ok_or(RandomError)?;
    Ok((private, pair.public_key().as_slice().to_vec()))
}

/// Seals to a public key; `None` where that is none.
pub(crate) fn seal(
    context: &Context<'_>,
    to: &[u8],
    plain: &[u8],
) -> Result<Option<Sealed>, Fault> {
    // The library does not tell that the system's generator failed.
    let _: [u8; 32] = random::array()?;
    let Context { kem, info, aad, psk } = *context;
    let key = HpkePublicKey::new(to.to_vec());
    let (secret, id) = (psk.map(|psk| psk.secret), psk.map(|psk| psk.id));
    let sealed = with_clean_stack::<STACK, _>(|| {
        suite(kem, psk).seal(&key, info, aad, plain, secret, id, None)
    });
    match sealed {
        Ok((encapsulated, ciphertext)) => {
            // The library does not show the key and nonce: both come of what was drawn for this.
            key_use::record("hpke", &encapsulated, to);
            let (encapsulated, ciphertext) = (Opaque(encapsulated), Opaque(ciphertext));
            Ok(Some(Sealed { encapsulated, ciphertext }))
        }
        Err(HpkeError::InsufficientRandomness) => Err(RandomError.into()),
        Err(_) => Ok(None),
    }
}

/// Opens what was sealed to the public key of this private one; `None` for anything else.
pub(crate) fn open(
    context: &Context<'_>,
    private: &[u8; 32],
    encapsulated: &[u8],
    ciphertext: &[u8],
) -> Option<SecretBytes> {
    let Context { kem, info, aad, psk } = *context;
    let private = HpkePrivateKey::new(private.to_vec());
    let (secret, id) = (psk.map(|psk| psk.secret), psk.map(|psk| psk.id));
    let plain = with_clean_stack::<STACK, _>(|| {
        suite(kem, psk).open(encapsulated, &private, info, aad, ciphertext, secret, id, None)
    });
    plain.ok().map(SecretBytes::new)
}

fn suite(kem: Kem, psk: Option<Psk<'_>>) -> Hpke<HpkePrimitives> {
    let mode = if psk.is_some() { Mode::Psk } else { Mode::Base };
    let (kdf, aead) = (KdfAlgorithm::HkdfSha256, AeadAlgorithm::Aes256Gcm);
    Hpke::new(mode, kem.algorithm(), kdf, aead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_one_key_opens_with_it_alone() {
        for kem in [Kem::X25519, Kem::XWing] {
            assert_eq!(Kem::of_id(kem.id()), Some(kem));
            let context = Context { kem, info: b"info", aad: b"aad", psk: None };
            let (private, public) = generate(kem).unwrap();
            let (other, _) = generate(kem).unwrap();
            assert_eq!(public.len(), kem.public_len());
            let sealed = seal(&context, &public, b"text").unwrap().unwrap();
            let (enc, text) = (sealed.encapsulated.as_slice(), sealed.ciphertext.as_slice());
            let opened = open(&context, private.expose(), enc, text);
            assert_eq!(opened.unwrap().expose(), b"text");
            assert!(open(&context, other.expose(), enc, text).is_none());
            let psk = Some(Psk { secret: &[1; 32], id: b"id" });
            for context in [
                Context { info: b"other", ..context },
                Context { aad: b"other", ..context },
                Context { psk, ..context },
            ] {
                assert!(open(&context, private.expose(), enc, text).is_none());
            }
            // No keys: of another length, and of low order.
            assert!(seal(&context, &public[1..], b"text").unwrap().is_none());
            assert!(seal(&context, &vec![0; kem.public_len()], b"text").unwrap().is_none());
            assert!(open(&context, private.expose(), &[0; 32], text).is_none());
            assert!(open(&context, private.expose(), b"", b"").is_none());
        }
    }
}
