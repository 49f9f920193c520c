//! What begins an epoch, and what is in front of every message. The bytes are in the
//! [crate documentation](crate#formats).

use alloc::{borrow::Cow, vec::Vec};

use cc_core::Secret;
use cc_root_group::{Curve, DhPublicKey, KeyError, MemberPublicKey as _, Suite as _, label};
use sha2::{Digest, Sha256};

use super::{KIND, Pair, Role};
use crate::{HybridPublicKey, ParameterSet};

/// What begins an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    /// Which epoch of the other side it answers; 0 for none, and then it goes to the long-lived key.
    pub(crate) answers: u64,
    pub(crate) ephemeral: DhPublicKey,
    pub(crate) ciphertext: Cow<'a, [u8]>,
    /// The key that the other side's next epochs go to; the long-lived one where there is none.
    pub(crate) announced: Option<HybridPublicKey>,
}

impl<'a> Header<'a> {
    /// Reads the header of the other side's epoch `number`. Cheapest first: what nobody made who has one of
    /// the two X25519 keys costs a digest.
    pub(crate) fn parse(pair: &Pair, number: u64, bytes: &'a [u8]) -> Result<Self, KeyError> {
        let set = pair.set();
        let announces = match bytes.len() {
            len if len == len_of(set, false) => false,
            len if len == len_of(set, true) => true,
            _ => return Err(KeyError::Rejected),
        };
        let (body, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(KeyError::Rejected)?;
        let tag = Secret::copy_from(tag).ok_or(KeyError::Internal)?;
        if header_tag(pair, pair.role.peer(), number, body) != tag {
            return Err(KeyError::Rejected);
        }
        let (answers, rest) = body.split_first_chunk().ok_or(KeyError::Rejected)?;
        let (ephemeral, rest) = rest.split_at_checked(X25519_LEN).ok_or(KeyError::Rejected)?;
        let (ciphertext, key) =
            rest.split_at_checked(set.ciphertext_len()).ok_or(KeyError::Rejected)?;
        let answers = u64::from_be_bytes(*answers);
        if announces != (answers > 0) {
            return Err(KeyError::Rejected);
        }
        let announced = announces.then(|| HybridPublicKey::from_encoded(set, key)).transpose();
        Ok(Self {
            answers,
            ephemeral: DhPublicKey::from_point(Curve::X25519, ephemeral)
                .map_err(|_| KeyError::Rejected)?,
            ciphertext: Cow::Borrowed(ciphertext),
            announced: announced.map_err(|_| KeyError::Rejected)?,
        })
    }

    /// The bytes for the epoch `number` of the side in `role`.
    pub(crate) fn encode(&self, pair: &Pair, role: Role, number: u64) -> Vec<u8> {
        let key = self.announced.as_ref().map_or(&[][..], HybridPublicKey::encoded);
        let answers = self.answers.to_be_bytes();
        let mut bytes = [&answers, self.ephemeral.point(), &self.ciphertext, key].concat();
        let tag = header_tag(pair, role, number, &bytes);
        bytes.extend_from_slice(tag.expose());
        bytes
    }

    /// The key that epochs which answer this one go to.
    pub(crate) fn announced(&self, pair: &Pair) -> HybridPublicKey {
        self.announced.clone().unwrap_or_else(|| pair.peer.clone())
    }
}

/// The digest of a header, which everything derived in its epoch depends on.
pub(crate) fn digest(header: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(label(KIND, "pairwise header"))
        .chain_update(header)
        .finalize()
        .into()
}

/// What is in front of a message.
pub(crate) struct Front<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    /// The sender's epoch.
    pub(crate) number: u64,
    /// The latest epoch of the reader that the sender has; 0 for none.
    pub(crate) received: u64,
    /// As long as the sender does not know that the reader has it.
    pub(crate) header: Option<&'a [u8]>,
}

impl<'a> Front<'a> {
    pub(crate) fn encode(number: u64, received: u64, header: Option<&[u8]>) -> Vec<u8> {
        let form = match header {
            None => NO_HEADER,
            Some(header) if header.first_chunk::<8>() == Some(&[0; 8]) => HEADER,
            Some(_) => HEADER_WITH_KEY,
        };
        let (number, received) = (number.to_be_bytes(), received.to_be_bytes());
        [&[form][..], &number, &received, header.unwrap_or_default()].concat()
    }

    pub(crate) fn parse(pair: &Pair, message: &'a [u8]) -> Result<Self, KeyError> {
        let ([form], rest) = message.split_first_chunk().ok_or(KeyError::Rejected)?;
        let (number, rest) = rest.split_first_chunk().ok_or(KeyError::Rejected)?;
        let (received, rest) = rest.split_first_chunk().ok_or(KeyError::Rejected)?;
        let len = match *form {
            NO_HEADER => 0,
            HEADER => len_of(pair.set(), false),
            HEADER_WITH_KEY => len_of(pair.set(), true),
            _ => return Err(KeyError::Rejected),
        };
        let header = rest.get(..len).ok_or(KeyError::Rejected)?;
        let bytes = message.get(..FRONT_LEN + len).ok_or(KeyError::Rejected)?;
        let [number, received] = [number, received].map(|bytes| u64::from_be_bytes(*bytes));
        if number == 0 {
            return Err(KeyError::Rejected);
        }
        Ok(Self { bytes, number, received, header: (len > 0).then_some(header) })
    }
}

/// Bytes of a header.
pub(crate) fn len_of(set: ParameterSet, announces: bool) -> usize {
    let key = if announces { set.public_key_len() } else { 0 };
    8 + X25519_LEN + set.ciphertext_len() + key + TAG_LEN
}

/// By which a reader knows that a header is no stranger's before it does anything that costs.
fn header_tag(pair: &Pair, role: Role, number: u64, body: &[u8]) -> Secret<TAG_LEN> {
    pair.fixed.expand("pairwise header tag", &[&[role as u8], &number.to_be_bytes(), body])
}

const X25519_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// Form, number and received.
const FRONT_LEN: usize = 1 + 8 + 8;
const NO_HEADER: u8 = 0;
const HEADER: u8 = 1;
const HEADER_WITH_KEY: u8 = 2;
