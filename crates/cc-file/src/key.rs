//! Recipients and identities: public and private keys, and their texts.
//!
//! A text is Bech32m (BIP 350) of the id of the HPKE KEM (RFC 9180 section 7.1) in 2 bytes, big-endian, and
//! the key. A hybrid public key is longer than the length for which BIP 350 promises to find every error of up
//! to four characters; beyond it one in 2^30 is missed, as anywhere. Recipients have the human-readable part `cascade`, identities `cascade-secret-key-` and capitals.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use bech32::{Bech32m, Checksum, Hrp, primitives::decode::CheckedHrpstring};
use cc_core::Secret;
use cc_dh_layer::{Curve, DhError, DhKeyPair, DhPublicKey};
use cc_mlkem_layer::HybridPublicKey;
use zeroize::Zeroizing;

use crate::{FileError, hpke};

/// The kind of a key, named by the KEM of HPKE that wraps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// DHKEM(X25519, HKDF-SHA256).
    X25519,
    /// DHKEM(P-256, HKDF-SHA256).
    P256,
    /// X-Wing (draft-connolly-cfrg-xwing-kem): X25519 and ML-KEM-768 together, against quantum computers.
    XWing,
    /// A KEM that is not known here, by its id.
    Unknown(u16),
}

impl KeyKind {
    /// The id of the KEM in the registry of RFC 9180 section 7.1.
    #[must_use]
    pub const fn kem_id(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::P256 => 0x0010,
            Self::XWing => 0x647a,
            Self::Unknown(id) => id,
        }
    }

    /// The kind with this id.
    #[must_use]
    pub const fn from_kem_id(id: u16) -> Self {
        match id {
            0x0020 => Self::X25519,
            0x0010 => Self::P256,
            0x647a => Self::XWing,
            id => Self::Unknown(id),
        }
    }

    const fn of(curve: Curve) -> Self {
        match curve {
            Curve::X25519 => Self::X25519,
            Curve::P256 => Self::P256,
        }
    }

    pub(crate) const fn curve(self) -> Option<Curve> {
        match self {
            Self::X25519 => Some(Curve::X25519),
            Self::P256 => Some(Curve::P256),
            Self::XWing | Self::Unknown(_) => None,
        }
    }

    /// Whether a quantum computer that breaks elliptic curves does not open what is wrapped to such a key.
    #[must_use]
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, Self::XWing)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X25519 => f.write_str("X25519"),
            Self::P256 => f.write_str("P-256"),
            Self::XWing => f.write_str("X25519 and ML-KEM-768"),
            Self::Unknown(id) => write!(f, "unknown (KEM {id:#06x})"),
        }
    }
}

/// A public key that files are encrypted to. Its text begins with `cascade1`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(PublicKey);

#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Dh(DhPublicKey),
    /// With ML-KEM-768. Its bytes are in the order of X-Wing.
    Hybrid(HybridPublicKey),
}

impl Recipient {
    /// The recipient with this key.
    #[must_use]
    pub const fn new(key: DhPublicKey) -> Self {
        Self(PublicKey::Dh(key))
    }

    /// The kind of the key.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match &self.0 {
            PublicKey::Dh(key) => KeyKind::of(key.curve()),
            PublicKey::Hybrid(_) => KeyKind::XWing,
        }
    }

    /// The key as HPKE has it: 32, 65 or 1216 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            PublicKey::Dh(key) => key.point().to_vec(),
            PublicKey::Hybrid(key) => {
                key.to_bytes().strip_prefix(&HYBRID_PREFIX).unwrap_or_default().to_vec()
            }
        }
    }

    /// Six groups of five digits for people to compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match &self.0 {
            PublicKey::Dh(key) => key.fingerprint().to_string(),
            PublicKey::Hybrid(key) => key.fingerprint().to_string(),
        }
    }

    fn from_bytes(kind: KeyKind, key: &[u8]) -> Result<Self, FileError> {
        let invalid = FileError::KeyText("the public key is not valid");
        match (kind, kind.curve()) {
            (KeyKind::XWing, _) => {
                let hybrid = HybridPublicKey::from_bytes(&[&HYBRID_PREFIX, key].concat());
                hybrid.map(|key| Self(PublicKey::Hybrid(key))).map_err(|_| invalid)
            }
            (_, Some(curve)) => {
                DhPublicKey::from_point(curve, key).map(Self::new).map_err(|_| invalid)
            }
            (_, None) => Err(FileError::KeyText(UNKNOWN_KIND)),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse(RECIPIENT_HRP).map_err(|_| fmt::Error)?;
        let data = [&self.kind().kem_id().to_be_bytes()[..], &self.to_bytes()].concat();
        bech32::encode_lower_to_fmt::<LongBech32m, _>(f, hrp, &data).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let (kind, key) = decode(text, RECIPIENT_HRP)?;
        Self::from_bytes(kind, &key)
    }
}

/// A private key that opens what was encrypted to its [recipient](Self::recipient). Zeroized on drop and
/// never printed but by [`to_text`](Self::to_text).
pub struct Identity {
    recipient: Recipient,
    /// As HPKE has it; of X-Wing the seed, and of curves the scalar.
    private: Secret<32>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// [`FileError::Random`] when the operating system has no randomness, [`FileError::KeyText`] for
    /// [`KeyKind::Unknown`].
    pub fn generate(kind: KeyKind) -> Result<Self, FileError> {
        if kind == KeyKind::XWing {
            return Self::from_private(kind, Secret::random()?);
        }
        let curve = kind.curve().ok_or(FileError::KeyText(UNKNOWN_KIND))?;
        let keys = DhKeyPair::generate(curve).map_err(|error| match error {
            DhError::Random(error) => FileError::Random(error),
            _ => FileError::Internal("key generation"),
        })?;
        Ok(Self::new(&keys))
    }

    /// The identity with these keys.
    #[must_use]
    pub fn new(keys: &DhKeyPair) -> Self {
        let recipient = Recipient::new(*keys.public_key());
        Self { recipient, private: keys.private_key().duplicate() }
    }

    fn from_private(kind: KeyKind, private: Secret<32>) -> Result<Self, FileError> {
        if kind == KeyKind::XWing {
            let recipient = Recipient::from_bytes(kind, &hpke::hybrid_public_key(&private)?)?;
            return Ok(Self { recipient, private });
        }
        let curve = kind.curve().ok_or(FileError::KeyText(UNKNOWN_KIND))?;
        let keys = DhKeyPair::from_private_key(curve, private)
            .map_err(|_| FileError::KeyText("the private key is not valid"))?;
        Ok(Self::new(&keys))
    }

    /// Whom to encrypt to, so that this identity can open it.
    #[must_use]
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// The secret text, which begins with `CASCADE-SECRET-KEY-1`.
    ///
    /// # Errors
    /// [`FileError::Internal`] never, as far as is known.
    pub fn to_text(&self) -> Result<Zeroizing<String>, FileError> {
        const ERROR: FileError = FileError::Internal("Bech32m");
        let hrp = Hrp::parse(IDENTITY_HRP).map_err(|_| ERROR)?;
        let mut data = Zeroizing::new(Vec::with_capacity(2 + 32));
        data.extend_from_slice(&self.recipient.kind().kem_id().to_be_bytes());
        data.extend_from_slice(self.private.expose());
        // Room for all of it, so that nothing is left behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT_LEN));
        bech32::encode_upper_to_fmt::<LongBech32m, _>(&mut *text, hrp, &data).map_err(|_| ERROR)?;
        Ok(text)
    }

    pub(crate) const fn private_key(&self) -> &Secret<32> {
        &self.private
    }
}

impl FromStr for Identity {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let (kind, key) = decode(text, IDENTITY_HRP)?;
        let key = Secret::copy_from(&key)
            .ok_or(FileError::KeyText("the private key has another length"))?;
        Self::from_private(kind, key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

/// Whether a text is meant to be an identity, even where it is not a valid one.
pub(crate) fn looks_like_identity(text: &str) -> bool {
    let prefix = text.as_bytes().get(..IDENTITY_HRP.len()).unwrap_or_default();
    prefix.eq_ignore_ascii_case(IDENTITY_HRP.as_bytes())
}

/// The kind and the bytes of the key.
fn decode(text: &str, hrp: &'static str) -> Result<(KeyKind, Zeroizing<Vec<u8>>), FileError> {
    if hrp == RECIPIENT_HRP && looks_like_identity(text) {
        return Err(FileError::KeyText(
            "this is a secret key where a public one is expected; keep it to yourself",
        ));
    }
    if text.len() > MAX_TEXT_LEN {
        return Err(FileError::KeyText("the text is too long"));
    }
    let checked = CheckedHrpstring::new::<LongBech32m>(text).map_err(|_| {
        FileError::KeyText("the text is incomplete or has a typing error (Bech32m checksum)")
    })?;
    if !checked.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return Err(FileError::KeyText(match hrp {
            RECIPIENT_HRP => "a public key begins with cascade1",
            _ => "a secret key begins with CASCADE-SECRET-KEY-1",
        }));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TEXT_LEN));
    bytes.extend(checked.byte_iter());
    let id = bytes.first_chunk().ok_or(FileError::KeyText("the key is empty"))?;
    let kind = KeyKind::from_kem_id(u16::from_be_bytes(*id));
    bytes.drain(..2);
    Ok((kind, bytes))
}

const RECIPIENT_HRP: &str = "cascade";
const IDENTITY_HRP: &str = "cascade-secret-key-";
const UNKNOWN_KIND: &str = "a kind of key that this version does not know";
/// The longest text: that of a hybrid public key has 1963 characters.
const MAX_TEXT_LEN: usize = 2048;
/// The suite and the length, with which a key of the ML-KEM layer begins where it says what it is.
const HYBRID_PREFIX: [u8; 4] = [0x03, 0x00, 0x44, 0xc0];

/// Bech32m, for longer texts as well.
#[derive(Clone, Copy)]
enum LongBech32m {}

impl Checksum for LongBech32m {
    type MidstateRepr = <Bech32m as Checksum>::MidstateRepr;
    type CorrectionField = <Bech32m as Checksum>::CorrectionField;

    const CHECKSUM_LENGTH: usize = Bech32m::CHECKSUM_LENGTH;
    const CODE_LENGTH: usize = MAX_TEXT_LEN;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32m::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32m::TARGET_RESIDUE;
    const ROOT_GENERATOR: Self::CorrectionField = Bech32m::ROOT_GENERATOR;
    const ROOT_EXPONENTS: RangeInclusive<usize> = Bech32m::ROOT_EXPONENTS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cross_and_show_nothing() {
        for kind in [KeyKind::X25519, KeyKind::P256, KeyKind::XWing] {
            let identity = Identity::generate(kind).unwrap();
            let text = identity.to_text().unwrap();
            assert!(text.starts_with("CASCADE-SECRET-KEY-1"), "{}", *text);
            let again: Identity = text.parse().unwrap();
            assert_eq!(again.recipient(), identity.recipient());
            assert_eq!(again.private, identity.private);
            assert_eq!(text.len(), 20 + 55 + 6, "{}", *text);
            let public = identity.recipient().to_string();
            assert!(public.starts_with("cascade1"));
            assert_eq!(public.parse::<Recipient>().unwrap(), identity.recipient().clone());
            assert_eq!(
                public.to_uppercase().parse::<Recipient>().unwrap(),
                identity.recipient().clone()
            );
            let shown = format!("Identity {{ recipient: Recipient({public}), .. }}");
            assert_eq!(format!("{identity:?}"), shown);
        }
    }

    /// The checksum finds little in what is much longer, and nobody's key is.
    #[test]
    fn a_text_that_is_too_long_is_not_read() {
        let long = format!("cascade1{}", "q".repeat(MAX_TEXT_LEN - 7));
        for result in [long.parse::<Recipient>().map(drop), long.parse::<Identity>().map(drop)] {
            assert!(matches!(result, Err(FileError::KeyText("the text is too long"))));
        }
    }

    #[test]
    fn a_typing_error_is_found() {
        let text = Identity::generate(KeyKind::X25519).unwrap().recipient().to_string();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed.parse::<Recipient>().is_err(), "{at}");
            assert!(text[..at].parse::<Recipient>().is_err(), "{at}");
        }
    }

    #[test]
    fn a_secret_key_is_no_recipient_and_the_error_does_not_show_it() {
        let identity = Identity::generate(KeyKind::X25519).unwrap();
        let text = identity.to_text().unwrap();
        let error = text.parse::<Recipient>().unwrap_err().to_string();
        assert!(error.contains("secret key where a public one"), "{error}");
        assert!(!error.contains(&text[20..]));
        let error = identity.recipient().to_string().parse::<Identity>().unwrap_err();
        assert!(error.to_string().contains("CASCADE-SECRET-KEY-1"), "{error}");
    }

    #[test]
    fn keys_that_are_none() {
        let encode = |hrp, data: &[u8]| {
            bech32::encode::<LongBech32m>(Hrp::parse(hrp).unwrap(), data).unwrap()
        };
        let of = |kem: u16, key: &[u8]| [&kem.to_be_bytes()[..], key].concat();
        for data in [
            Vec::new(),
            vec![0],
            of(0x20, &[]),
            of(0x20, &[0; 32]),
            of(0x20, &[9; 31]),
            of(0x20, &[9; 33]),
            of(0x10, &[4; 65]),
            of(0x647a, &[9; 32]),
            of(0x647a, &[0xff; 1216]),
            of(0x0123, &[9; 32]),
        ] {
            assert!(encode(RECIPIENT_HRP, &data).parse::<Recipient>().is_err(), "{data:?}");
        }
        for data in [of(0x20, &[9; 31]), of(0x20, &[9; 33]), of(0x10, &[0; 32]), of(1, &[9; 32])] {
            assert!(encode(IDENTITY_HRP, &data).parse::<Identity>().is_err(), "{data:?}");
        }
        // The older checksum, which Bech32m replaces.
        let old = bech32::encode::<bech32::Bech32>(
            Hrp::parse(RECIPIENT_HRP).unwrap(),
            &of(0x20, &[9; 32]),
        );
        assert!(old.unwrap().parse::<Recipient>().is_err());
        assert!("q".repeat(5000).parse::<Recipient>().is_err());
    }
}
