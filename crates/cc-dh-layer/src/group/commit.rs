//! The commit part: what those who are in the group get of a change.
//!
//! Where nobody is removed the next root is derived from the present generation, and the part is as short
//! for a thousand members as for two. Where somebody is removed it is random, and the part has a box for
//! every other member. Either way it shows a commitment to the root, and everything in it goes into the
//! history from which the next generation's secrets are derived.

use alloc::vec::Vec;

use cc_core::{MemberId, Secret, limits::MAX_MEMBERS};
use sha2::{Digest, Sha256};

use crate::{
    Curve, DhError, DhKeyPair,
    codec::{Reader, put_opaque},
    group::{
        generation::Generation,
        root::{Root, Step},
        roster::{Entry, Roster, read_entries, write_entries},
    },
    hpke::{self, Sealer, box_len},
};

/// The commit part without the [membership tag](append_tag) behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) change: CommittedChange,
    pub(crate) root: RootSource,
}

/// What happens, and to which generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedChange {
    /// The generation that the commit ends.
    pub(crate) ends: u64,
    /// In the order of ids.
    pub(crate) removed: Vec<MemberId>,
    /// In the order of ids.
    pub(crate) added: Vec<Entry>,
    /// To the next root: see [`Root::commitment`].
    pub(crate) commitment: [u8; 32],
}

/// How a member comes to the next root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootSource {
    /// Nobody is removed.
    Derived { salt: [u8; 32] },
    /// Somebody is.
    Sealed {
        /// Who sealed it, and so made the change.
        committer: MemberId,
        /// One box for every member before the change but the committer, in the order of ids: the root
        /// for those who stay, 32 zero bytes for those who leave.
        boxes: Vec<u8>,
    },
}

impl Commit {
    /// The commit of `committer` that takes `now` to `roster` and `root`.
    pub(crate) fn seal(
        keys: &DhKeyPair,
        committer: MemberId,
        now: &Generation,
        step: &Step,
        change: CommittedChange,
        root: &Root,
    ) -> Result<Self, DhError> {
        let associated_data = change.associated_data(step)?;
        let len = box_len(keys.curve(), Root::LEN);
        let mut boxes = Vec::with_capacity(len * now.roster.len().saturating_sub(1));
        let mut sealer = Sealer::new(keys)?;
        for entry in now.roster.entries().filter(|entry| entry.id != committer) {
            let info = info(keys.curve(), step, &committer, &entry.id);
            // A box without a root tells who leaves that it was a member who said so.
            let leaves = change.removed.binary_search(&entry.id).is_ok();
            let content = if leaves { &NO_ROOT } else { root.expose() };
            sealer.seal(&entry.key, &info, &associated_data, content, &mut boxes)?;
        }
        Ok(Self { change, root: RootSource::Sealed { committer, boxes } })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, DhError> {
        let mut bytes = self.change.encode()?;
        match &self.root {
            RootSource::Derived { salt } => bytes.extend_from_slice(salt),
            RootSource::Sealed { committer, boxes } => {
                bytes.extend_from_slice(committer.as_bytes());
                put_opaque(&mut bytes, boxes)?;
            }
        }
        Ok(bytes)
    }

    /// Reads the commit of a group on `curve`. Only the canonical encoding passes.
    pub(crate) fn decode(curve: Curve, bytes: &[u8]) -> Result<Self, DhError> {
        let mut reader = Reader::new(bytes);
        let ends = reader.number()?;
        let (ids, []) = reader.opaque()?.as_chunks() else { return Err(DhError::Rejected) };
        if ids.len() > MAX_MEMBERS {
            return Err(DhError::Rejected);
        }
        let removed: Vec<_> = ids.iter().copied().map(MemberId::from_bytes).collect();
        if !removed.is_sorted_by(|a, b| a < b) {
            return Err(DhError::Rejected);
        }
        let added = read_entries(curve, reader.opaque()?)?;
        let change = CommittedChange { ends, removed, added, commitment: reader.array()? };
        let root = if change.removed.is_empty() {
            RootSource::Derived { salt: reader.array()? }
        } else {
            let committer = MemberId::from_bytes(reader.array()?);
            RootSource::Sealed { committer, boxes: reader.opaque()?.to_vec() }
        };
        reader.end()?;
        Ok(Self { change, root })
    }

    /// What `reader` gets of the commit: the next root, or nothing where the change removes it. Checks
    /// that a box is the committer's, and that the root is the one that all see a commitment to.
    pub(crate) fn open(
        &self,
        keys: &DhKeyPair,
        reader: MemberId,
        now: &Generation,
        step: &Step,
    ) -> Result<Option<Root>, DhError> {
        let root = match &self.root {
            RootSource::Derived { salt } => Root::derived(&now.secrets.onward, &step.binding, salt),
            RootSource::Sealed { committer, boxes } => {
                let committer_key = now.roster.key(committer).ok_or(DhError::Rejected)?;
                let sealed = box_of(boxes, keys.curve(), &now.roster, committer, &reader)?;
                let opened = hpke::open(
                    sealed,
                    keys,
                    committer_key,
                    &info(keys.curve(), step, committer, &reader),
                    &self.change.associated_data(step)?,
                    Root::LEN,
                )?;
                if self.change.removed.binary_search(&reader).is_ok() {
                    return Ok(None);
                }
                Root::from_bytes(opened.expose()).ok_or(DhError::Rejected)?
            }
        };
        if root.commitment(step) == self.change.commitment {
            Ok(Some(root))
        } else {
            Err(DhError::Rejected)
        }
    }
}

impl CommittedChange {
    fn encode(&self) -> Result<Vec<u8>, DhError> {
        let mut bytes = self.ends.to_be_bytes().to_vec();
        let removed: Vec<u8> = self.removed.iter().flat_map(|id| *id.as_bytes()).collect();
        put_opaque(&mut bytes, &removed)?;
        put_opaque(&mut bytes, &write_entries(&self.added))?;
        bytes.extend_from_slice(&self.commitment);
        Ok(bytes)
    }

    /// What every box authenticates besides its [`info`]: the change, where it starts and where it leads.
    fn associated_data(&self, step: &Step) -> Result<Vec<u8>, DhError> {
        Ok([step.before, step.roster, digest(&self.encode()?)].concat())
    }
}

/// The generation that a commit part says it ends. A claim until its tag is checked.
pub(crate) fn claimed_generation(part: &[u8]) -> Result<u64, DhError> {
    Reader::new(part).number()
}

/// A commit part: its body, and whether its tag is one of the members' of `now`.
pub(crate) fn split_tag(part: &[u8]) -> Result<(&[u8], Secret<TAG_LEN>), DhError> {
    let (body, tag) = part.split_last_chunk::<TAG_LEN>().ok_or(DhError::Rejected)?;
    Ok((body, Secret::copy_from(tag).ok_or(DhError::Internal)?))
}

/// Puts the tag of the members of `now` behind a commit's body, and gives the body's digest.
pub(crate) fn append_tag(body: &mut Vec<u8>, now: &Generation, binding: &[u8; 32]) -> [u8; 32] {
    let digest = digest(body);
    body.extend_from_slice(now.secrets.membership_tag(binding, &digest).expose());
    digest
}

/// The digest of some of a commit's bytes, for what authenticates them.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cascading-cipher/1 dh commit body")
        .chain_update(bytes)
        .finalize()
        .into()
}

/// The box for `reader` among those for every member but `committer`. All must be there.
fn box_of<'a>(
    boxes: &'a [u8],
    curve: Curve,
    roster: &Roster,
    committer: &MemberId,
    reader: &MemberId,
) -> Result<&'a [u8], DhError> {
    let boxes = boxes.chunks_exact(box_len(curve, Root::LEN));
    if !boxes.remainder().is_empty() || boxes.len() + 1 != roster.len() {
        return Err(DhError::Rejected);
    }
    let mut recipients = roster.entries().filter(|entry| entry.id != *committer);
    let at = recipients.position(|entry| entry.id == *reader).ok_or(DhError::Rejected)?;
    boxes.into_iter().nth(at).ok_or(DhError::Rejected)
}

/// HPKE's `info` of a box.
fn info(curve: Curve, step: &Step, committer: &MemberId, recipient: &MemberId) -> Vec<u8> {
    [
        b"cascading-cipher/1 dh commit".as_slice(),
        &curve.id().to_be_bytes(),
        &step.binding,
        &step.generation.to_be_bytes(),
        committer.as_bytes(),
        recipient.as_bytes(),
    ]
    .concat()
}

pub(crate) const TAG_LEN: usize = 32;
const NO_ROOT: [u8; Root::LEN] = [0; Root::LEN];
