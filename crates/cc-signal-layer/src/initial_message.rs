//! The initial message (X3DH section 3.3, PQXDH section 3.3): a handshake, followed by a
//! message of the ratchet as the first ciphertext.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0x12 after X3DH, 0x13 after PQXDH |
//! | 128 | the initiator's identity |
//! | 32 | its ephemeral key |
//! | 8 | number of the session, masked with bytes that the agreement gives |
//! | 4 | id of the signed prekey |
//! | 1 (+ 4) | 0, or 1 and the id of the one-time prekey |
//! | 4 + 1568 | PQXDH only: id of the post-quantum prekey, KEM ciphertext |
//! | rest | the message of the ratchet |

use alloc::{boxed::Box, vec::Vec};

use crate::{
    Error, codec::Reader, curve::PublicKey, identity::IdentityKey, kem::CIPHERTEXT_LEN, wire,
};

/// The length of the longest handshake.
pub(crate) const MAX_LEN: usize = 1 + IdentityKey::LEN + 32 + 8 + 4 + 1 + 4 + 4 + CIPHERTEXT_LEN;

/// What the initiator tells the responder about its half of the agreement.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) identity: IdentityKey,
    pub(crate) ephemeral: PublicKey,
    /// Masked: when and how often somebody begins sessions is nobody else's business.
    pub(crate) number: [u8; 8],
    pub(crate) signed_prekey: u32,
    pub(crate) one_time_prekey: Option<u32>,
    pub(crate) kem: Option<(u32, Box<[u8; CIPHERTEXT_LEN]>)>,
}

impl Handshake {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_LEN);
        bytes.push(match self.kem {
            None => wire::INITIAL_X3DH,
            Some(_) => wire::INITIAL_PQXDH,
        });
        bytes.extend_from_slice(&self.identity.to_bytes());
        bytes.extend_from_slice(self.ephemeral.as_bytes());
        bytes.extend_from_slice(&self.number);
        bytes.extend_from_slice(&self.signed_prekey.to_be_bytes());
        match self.one_time_prekey {
            None => bytes.push(0),
            Some(id) => {
                bytes.push(1);
                bytes.extend_from_slice(&id.to_be_bytes());
            }
        }
        if let Some((id, ciphertext)) = &self.kem {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&ciphertext[..]);
        }
        bytes
    }

    /// Decodes what [`split`] has cut off, and verifies the identity.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let handshake = Self {
            identity: IdentityKey::read(&mut reader)?,
            ephemeral: PublicKey::from_bytes(reader.array()?)?,
            number: reader.array()?,
            signed_prekey: reader.u32()?,
            one_time_prekey: if reader.flag()? { Some(reader.u32()?) } else { None },
            kem: match kind {
                wire::INITIAL_X3DH => None,
                wire::INITIAL_PQXDH => Some((reader.u32()?, Box::new(reader.array()?))),
                _ => return Err(Error::Malformed),
            },
        };
        reader.finish()?;
        Ok(handshake)
    }
}

/// Cuts an initial message into handshake and first ciphertext, looking at lengths only.
pub(crate) fn split(message: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut reader = Reader::new(message);
    let kind = reader.u8()?;
    if kind != wire::INITIAL_X3DH && kind != wire::INITIAL_PQXDH {
        return Err(Error::Malformed);
    }
    reader.take(IdentityKey::LEN + 32 + 8 + 4)?;
    if reader.flag()? {
        reader.u32()?;
    }
    if kind == wire::INITIAL_PQXDH {
        reader.take(4 + CIPHERTEXT_LEN)?;
    }
    let len = message.len() - reader.remaining();
    message.split_at_checked(len).ok_or(Error::Malformed)
}

/// Who claims to have sent an initial message; `None` for a message of another kind.
///
/// The two keys of the identity are verified to belong together. That the sender owns them is
/// known only when the message has been opened.
///
/// # Errors
/// [`Error::Undecryptable`] when this is neither an initial message nor another message.
pub fn claimed_sender(message: &[u8]) -> Result<Option<IdentityKey>, Error> {
    if message.first() == Some(&wire::MESSAGE) {
        return Ok(None);
    }
    split(message)
        .and_then(|(handshake, _)| Handshake::decode(handshake))
        .map(|handshake| Some(handshake.identity))
        .map_err(|_| Error::Undecryptable)
}

/// Whose handshake this is, with nothing behind it. As [`claimed_sender`].
pub(crate) fn handshake_sender(handshake: &[u8]) -> Result<IdentityKey, Error> {
    match split(handshake) {
        Ok((handshake, [])) => Ok(Handshake::decode(handshake)?.identity),
        _ => Err(Error::Undecryptable),
    }
}
