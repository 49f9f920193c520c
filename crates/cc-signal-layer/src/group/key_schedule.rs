//! The secrets of an epoch, and the transcript that they are bound to.
//!
//! ```text
//!              init secret of the epoch before
//!                           |
//!   commit secret --> joiner secret        (an addition alone: without a commit secret)
//!                           |
//!   transcript -----> epoch secret
//!                           |
//!          +-----------+----+-----+---------------+
//!     init secret  header key   chains      authenticator
//!          |
//!  exported secrets
//! ```
//!
//! Every arrow is HKDF-SHA256. Whoever holds the init secret of one epoch cannot compute that of the
//! one before; whoever lacks the commit secret cannot compute what comes after. A newcomer gets the
//! joiner secret and with it nothing older.
//!
//! The transcript of an epoch is SHA-256 over that of the epoch before, the committer's id, the whole
//! commit part, and then a commitment to the mask of the epoch numbers and the ids and keys of all
//! members. Two members to whom somebody showed two different histories, masks or rosters share no key.

use alloc::{collections::BTreeMap, sync::Arc};

use cc_core::{MemberId, Secret};
use sha2::{Digest, Sha256};

use super::{header::EpochMask, member_keys::MemberKeys};
use crate::{Error, kdf};

/// The members of an epoch in the order of their ids; the place of a member is its index.
pub(super) type Roster = BTreeMap<MemberId, Arc<MemberKeys>>;

/// What a newcomer is given.
pub(super) struct JoinerSecret(Secret<32>);

/// What all members of an epoch share.
pub(super) struct EpochSecrets {
    pub(super) init: Secret<32>,
    pub(super) header: Secret<32>,
    /// Makes the first key of every sender's chain, and is then forgotten.
    pub(super) chains: Secret<32>,
    /// Tells nothing about the others, for people to compare.
    pub(super) authenticator: [u8; 32],
}

impl JoinerSecret {
    /// Of a group that is founded.
    pub(super) fn random() -> Result<Self, Error> {
        Ok(Self(Secret::random()?))
    }

    /// With a fresh secret from the committer, which nobody has who was removed or whose state was
    /// stolen before its own latest commit.
    pub(super) fn renewed(init: &Secret<32>, fresh: &Secret<32>) -> Result<Self, Error> {
        Ok(Self(kdf::hkdf(init.expose(), fresh.expose(), b"cc-signal/1 renewed joiner")?))
    }

    /// Derived onward, which keeps out nobody: for additions alone.
    pub(super) fn onward(init: &Secret<32>) -> Result<Self, Error> {
        Ok(Self(expand(init, b"cc-signal/1 onward joiner", &[])?))
    }

    pub(super) fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// 32 bytes that every member compares with its own, so that a committer cannot give two members
    /// two secrets and have both accept.
    pub(super) fn commitment(&self) -> Result<[u8; 32], Error> {
        Ok(*expand(&self.0, b"cc-signal/1 joiner commitment", &[])?.expose())
    }

    pub(super) fn epoch(&self, transcript: &[u8; 32]) -> Result<EpochSecrets, Error> {
        let epoch = expand(&self.0, b"cc-signal/1 epoch", transcript)?;
        Ok(EpochSecrets {
            init: expand(&epoch, b"cc-signal/1 init", &[])?,
            header: expand(&epoch, b"cc-signal/1 header key", &[])?,
            chains: expand(&epoch, b"cc-signal/1 chains", &[])?,
            authenticator: *expand(&epoch, b"cc-signal/1 authenticator", &[])?.expose(),
        })
    }
}

/// A secret of the epoch with this init secret for a use outside the layer. It tells nothing about the
/// init secret, nor about what else comes from it.
pub(super) fn export(init: &Secret<32>, label: &[u8]) -> Result<Secret<32>, Error> {
    expand(init, b"cc-signal/1 exporter", label)
}

/// The history of a group that is founded.
pub(super) fn founding() -> [u8; 32] {
    Sha256::digest(b"cc-signal/1 founding").into()
}

/// The history after a commit part of `committer`.
pub(super) fn history(transcript: &[u8; 32], committer: &MemberId, part: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cc-signal/1 history")
        .chain_update(transcript)
        .chain_update(committer.as_bytes())
        .chain_update(part)
        .finalize()
        .into()
}

/// The transcript of the epoch that this history led to, with these members and this mask of its
/// number.
pub(super) fn transcript(
    history: &[u8; 32],
    epoch: u64,
    mask: &EpochMask,
    roster: &Roster,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"cc-signal/1 transcript");
    hash.update(history);
    hash.update(epoch.to_be_bytes());
    hash.update(mask.commitment());
    for (id, keys) in roster {
        hash.update(id.as_bytes());
        hash.update(keys.digest());
    }
    hash.finalize().into()
}

fn expand(secret: &Secret<32>, label: &[u8], context: &[u8]) -> Result<Secret<32>, Error> {
    kdf::hkdf_expand(secret, &[label, context])
}
