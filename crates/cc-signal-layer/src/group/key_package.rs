//! A member's part of its key package bundle: a bundle for sessions with anybody, one for a single
//! session with whoever adds the member, and a signature that ties both to the member's id and to
//! the parts below.
//!
//! | bytes | what |
//! |---|---|
//! | 4 + n | the reusable [`Bundle`] |
//! | 4 + n | the one-time [`Bundle`], or nothing |
//! | 64 | signature over id, binding, reusable bundle, SHA-256 of the one-time bundle |

use alloc::vec::Vec;

use cc_core::{MemberId, NewMember};
use sha2::{Digest, Sha256};

use super::{commitment, message::put_len};
use crate::{Account, Bundle, Error, codec::Reader};

/// The part, taken apart.
pub(super) struct KeyPackage<'a> {
    reusable: &'a [u8],
    one_time: &'a [u8],
    signature: [u8; 64],
}

/// A member that comes, with what everybody needs to verify that it said so itself.
pub(super) struct Newcomer {
    pub(super) id: MemberId,
    pub(super) binding: [u8; 32],
    pub(super) one_time: [u8; 32],
    pub(super) signature: [u8; 64],
    pub(super) bundle: Bundle,
}

impl<'a> KeyPackage<'a> {
    pub(super) fn sign(
        account: &Account,
        id: &MemberId,
        binding: &[u8; 32],
        one_time: Option<&Bundle>,
    ) -> Vec<u8> {
        let reusable = account.bundle().to_bytes();
        let one_time = one_time.map(Bundle::to_bytes).unwrap_or_default();
        let message: [&[u8]; 4] = [id.as_bytes(), binding, &reusable, &digest(&one_time)];
        let signature = account.identity_pair().sign(KEY_PACKAGE, &message);
        let mut part = Vec::with_capacity(4 + reusable.len() + 4 + one_time.len() + 64);
        for bundle in [&reusable, &one_time] {
            put_len(&mut part, bundle.len());
            part.extend_from_slice(bundle);
        }
        part.extend_from_slice(&signature);
        part
    }

    /// Every signature in the part, and that it is for this member and binding.
    pub(super) fn verify(new: &NewMember<'_>) -> Result<(Newcomer, Option<Bundle>), Error> {
        let part = KeyPackage::decode(new.part)?;
        let newcomer = Newcomer {
            id: new.id,
            binding: new.binding,
            one_time: digest(part.one_time),
            signature: part.signature,
            bundle: Bundle::from_bytes(part.reusable)?,
        };
        newcomer.verify()?;
        if part.one_time.is_empty() {
            return Ok((newcomer, None));
        }
        let one_time = Bundle::from_bytes(part.one_time)?;
        if one_time.identity() != newcomer.bundle.identity()
            || !one_time.is_one_time()
            || !one_time.is_post_quantum()
        {
            return Err(Error::WrongIdentity);
        }
        Ok((newcomer, Some(one_time)))
    }

    fn decode(part: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(part);
        let package = Self {
            reusable: reader.bytes(Bundle::MAX_LEN)?,
            one_time: reader.bytes(Bundle::MAX_LEN)?,
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(package)
    }
}

impl Newcomer {
    pub(super) fn verify(&self) -> Result<(), Error> {
        if self.bundle.is_one_time() || !self.bundle.is_post_quantum() {
            return Err(Error::Malformed);
        }
        let reusable = self.bundle.to_bytes();
        let message: [&[u8]; 4] = [self.id.as_bytes(), &self.binding, &reusable, &self.one_time];
        self.bundle.identity().verify(KEY_PACKAGE, &message, &self.signature)
    }
}

/// As [`KeyPackage::verify`], for who keeps nothing of it.
pub(crate) fn verify_part(new: &NewMember<'_>) -> Result<(), Error> {
    KeyPackage::verify(new).map(drop)
}

/// The commitment in a part, of which nothing is verified yet.
pub(crate) fn commitment_in(part: &[u8]) -> Result<[u8; 32], cc_core::LayerError> {
    let reusable = KeyPackage::decode(part)?.reusable;
    // The identity's keys stand behind the kind of the encoding.
    let keys = reusable.get(1..).and_then(<[u8]>::first_chunk::<64>).ok_or(Error::Malformed)?;
    Ok(commitment(keys))
}

fn digest(one_time: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 one-time").chain_update(one_time).finalize().into()
}

const KEY_PACKAGE: &[u8] = b"key package";
