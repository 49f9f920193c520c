//! The stanzas of a header: one for each way to a share of the file's key.

use cc_aes_layer::{Argon2Params, PASSWORD_SALT_LEN};
use cc_core::random;

use crate::{FileError, KeyKind, hpke, layout::MAX_STANZA_LEN};

/// A stanza: its type (2 bytes), the length of its body (2 bytes), and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stanza {
    /// The share of the recipients, wrapped to one of them. The type is the id of its KEM.
    Recipient { kind: KeyKind, body: Vec<u8> },
    /// How the share of the passphrase is made.
    Passphrase { salt: [u8; PASSWORD_SALT_LEN], params: Argon2Params },
}

impl Stanza {
    /// Bytes in front of a body.
    pub(crate) const PREFIX_LEN: usize = 4;

    /// Of a passphrase: a new salt.
    pub(crate) fn passphrase(params: Argon2Params) -> Result<Self, FileError> {
        Ok(Self::Passphrase { salt: random::array()?, params })
    }

    /// The type and the length of the body, checked against what the type allows.
    pub(crate) fn decode_prefix(prefix: [u8; Self::PREFIX_LEN]) -> Result<(u16, usize), FileError> {
        let [a, b, c, d] = prefix;
        let (id, len) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        if id >= FIRST_RESERVED && id != PASSPHRASE {
            return Err(FileError::UnknownProtection);
        }
        let expected = if id == PASSPHRASE {
            Some(PASSPHRASE_LEN)
        } else {
            hpke::body_len(KeyKind::from_kem_id(id))
        };
        if len > MAX_STANZA_LEN || expected.is_some_and(|expected| expected != len) {
            return Err(FileError::Header("a stanza of a wrong length"));
        }
        Ok((id, len))
    }

    /// The stanza of a type that [`decode_prefix`](Self::decode_prefix) accepted, and its body.
    pub(crate) fn decode(id: u16, body: Vec<u8>) -> Result<Self, FileError> {
        if id != PASSPHRASE {
            return Ok(Self::Recipient { kind: KeyKind::from_kem_id(id), body });
        }
        const LEN: FileError = FileError::Header("a stanza of a wrong length");
        let (salt, params) = body.split_first_chunk().ok_or(LEN)?;
        let [a, b, c, d, passes, lanes] = *params.first_chunk().ok_or(LEN)?;
        let params = Argon2Params::new(u32::from_be_bytes([a, b, c, d]), passes, lanes)
            .map_err(|_| FileError::Header("parameters of Argon2id out of bounds"))?;
        Ok(Self::Passphrase { salt: *salt, params })
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) -> Result<(), FileError> {
        let (id, body) = match self {
            Self::Recipient { kind, body } => (kind.kem_id(), body.as_slice()),
            Self::Passphrase { salt, params } => {
                let params =
                    [&params.memory_kib().to_be_bytes()[..], &[params.passes(), params.lanes()]]
                        .concat();
                return Self::encode_parts(PASSPHRASE, &[&salt[..], &params].concat(), to);
            }
        };
        Self::encode_parts(id, body, to)
    }

    fn encode_parts(id: u16, body: &[u8], to: &mut Vec<u8>) -> Result<(), FileError> {
        let len = u16::try_from(body.len()).map_err(|_| FileError::Internal("a stanza"))?;
        to.extend_from_slice(&id.to_be_bytes());
        to.extend_from_slice(&len.to_be_bytes());
        to.extend_from_slice(body);
        Ok(())
    }
}

/// Types from here on are no recipients, and not to be skipped.
const FIRST_RESERVED: u16 = 0xff00;
const PASSPHRASE: u16 = 0xff01;
const PASSPHRASE_LEN: usize = PASSWORD_SALT_LEN + 4 + 1 + 1;
