//! The commit part: what those who are in the group get of a change.
//!
//! Where nobody is removed the next root is derived from the present generation, and the part is as short
//! for a thousand members as for two. Where somebody is removed it is random, and the part has a box for
//! every other member. Either way it shows a commitment to the root, and everything in it goes into the
//! history from which the next generation's secrets are derived.

use alloc::vec::Vec;

use cc_core::{MemberId, Secret};
use sha2::{Digest, Sha256};

use crate::{
    KeyError, MemberKeyPair, MemberPublicKey, Suite,
    codec::{Reader, put_opaque},
    group::{
        generation::Generation,
        root::{Root, Step},
        roster::{Entry, Roster, read_entries, write_entries},
    },
    hpke::{self, Sealer, box_len},
    label::label,
    member::Sender,
};

/// The commit part without the [membership tag](append_tag) behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit<P> {
    pub(crate) change: CommittedChange<P>,
    pub(crate) root: RootSource,
}

/// What happens, and to which generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedChange<P> {
    /// The generation that the commit ends.
    pub(crate) ends: u64,
    /// In the order of ids.
    pub(crate) removed: Vec<MemberId>,
    /// In the order of ids.
    pub(crate) added: Vec<Entry<P>>,
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

impl<P: MemberPublicKey> Commit<P> {
    /// The commit of `committer` that takes `now` to `roster` and `root`.
    pub(crate) fn seal<K: MemberKeyPair<PublicKey = P>>(
        keys: &K,
        committer: MemberId,
        now: &Generation<P>,
        step: &Step,
        change: CommittedChange<P>,
        root: &Root,
    ) -> Result<Self, KeyError> {
        let associated_data = change.associated_data(step)?;
        let suite = keys.public_key().suite();
        let len = box_len(suite, Root::LEN);
        let mut boxes = Vec::with_capacity(len * now.roster.len().saturating_sub(1));
        let mut sealer = Sealer::new(keys)?;
        for entry in now.roster.entries().filter(|entry| entry.id != committer) {
            let info = info(suite, step, &committer, &entry.id);
            // A box without a root tells who leaves that it was a member who said so.
            let leaves = change.removed.binary_search(&entry.id).is_ok();
            let content = if leaves { &NO_ROOT } else { root.expose() };
            let encapsulated = entry.key.encapsulate()?;
            let (key, encapsulated) = (&entry.key, encapsulated.as_ref());
            sealer.seal(key, encapsulated, &info, &associated_data, content, &mut boxes)?;
        }
        Ok(Self { change, root: RootSource::Sealed { committer, boxes } })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, KeyError> {
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

    /// Reads the commit of a group with keys of `suite`. Only the canonical encoding passes.
    pub(crate) fn decode(suite: P::Suite, bytes: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(bytes);
        let ends = reader.number()?;
        let (ids, []) = reader.opaque()?.as_chunks() else { return Err(KeyError::Rejected) };
        if ids.len() > P::MAX_MEMBERS {
            return Err(KeyError::Rejected);
        }
        let removed: Vec<_> = ids.iter().copied().map(MemberId::from_bytes).collect();
        if !removed.is_sorted_by(|a, b| a < b) {
            return Err(KeyError::Rejected);
        }
        let added = read_entries(suite, reader.opaque()?)?;
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
    pub(crate) fn open<K: MemberKeyPair<PublicKey = P>>(
        &self,
        keys: &K,
        reader: MemberId,
        now: &Generation<P>,
        step: &Step,
    ) -> Result<Option<Root>, KeyError> {
        let root = match &self.root {
            RootSource::Derived { salt } => Root::derived(&now.secrets.onward, &step.binding, salt),
            RootSource::Sealed { committer, boxes } => {
                let committer_key = now.roster.key(committer).ok_or(KeyError::Rejected)?;
                let suite = keys.public_key().suite();
                let sealed = box_of(boxes, suite, &now.roster, committer, &reader)?;
                let opened = hpke::open(
                    sealed,
                    keys,
                    &Sender::of(committer_key),
                    &info(suite, step, committer, &reader),
                    &self.change.associated_data(step)?,
                    Root::LEN,
                )?;
                if self.change.removed.binary_search(&reader).is_ok() {
                    return Ok(None);
                }
                Root::from_bytes(P::LABEL, opened.expose()).ok_or(KeyError::Rejected)?
            }
        };
        if root.commitment(step) == self.change.commitment {
            Ok(Some(root))
        } else {
            Err(KeyError::Rejected)
        }
    }
}

impl<P: MemberPublicKey> CommittedChange<P> {
    fn encode(&self) -> Result<Vec<u8>, KeyError> {
        let mut bytes = self.ends.to_be_bytes().to_vec();
        let removed: Vec<u8> = self.removed.iter().flat_map(|id| *id.as_bytes()).collect();
        put_opaque(&mut bytes, &removed)?;
        put_opaque(&mut bytes, &write_entries(&self.added))?;
        bytes.extend_from_slice(&self.commitment);
        Ok(bytes)
    }

    /// What every box authenticates besides its [`info`]: the change, where it starts and where it leads.
    fn associated_data(&self, step: &Step) -> Result<Vec<u8>, KeyError> {
        Ok([step.before, step.roster, digest::<P>(&self.encode()?)].concat())
    }
}

/// The generation that a commit part says it ends. A claim until its tag is checked.
pub(crate) fn claimed_generation(part: &[u8]) -> Result<u64, KeyError> {
    Reader::new(part).number()
}

/// A commit part: its body, and whether its tag is one of the members' of `now`.
pub(crate) fn split_tag(part: &[u8]) -> Result<(&[u8], Secret<TAG_LEN>), KeyError> {
    let (body, tag) = part.split_last_chunk::<TAG_LEN>().ok_or(KeyError::Rejected)?;
    Ok((body, Secret::copy_from(tag).ok_or(KeyError::Internal)?))
}

/// Puts the tag of the members of `now` behind a commit's body, and gives the body's digest.
pub(crate) fn append_tag<P: MemberPublicKey>(
    body: &mut Vec<u8>,
    now: &Generation<P>,
    binding: &[u8; 32],
) -> [u8; 32] {
    let digest = digest::<P>(body);
    body.extend_from_slice(now.secrets.membership_tag(binding, &digest).expose());
    digest
}

/// The digest of some of a commit's bytes, for what authenticates them.
pub(crate) fn digest<P: MemberPublicKey>(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(label(P::LABEL, "commit body")).chain_update(bytes).finalize().into()
}

/// The box for `reader` among those for every member but `committer`. All must be there.
fn box_of<'a, P: MemberPublicKey>(
    boxes: &'a [u8],
    suite: P::Suite,
    roster: &Roster<P>,
    committer: &MemberId,
    reader: &MemberId,
) -> Result<&'a [u8], KeyError> {
    let boxes = boxes.chunks_exact(box_len(suite, Root::LEN));
    if !boxes.remainder().is_empty() || boxes.len() + 1 != roster.len() {
        return Err(KeyError::Rejected);
    }
    let mut recipients = roster.entries().filter(|entry| entry.id != *committer);
    let at = recipients.position(|entry| entry.id == *reader).ok_or(KeyError::Rejected)?;
    boxes.into_iter().nth(at).ok_or(KeyError::Rejected)
}

/// HPKE's `info` of a box.
fn info(suite: impl Suite, step: &Step, committer: &MemberId, recipient: &MemberId) -> Vec<u8> {
    [
        label(step.kind, "commit").as_slice(),
        &suite.id().to_be_bytes(),
        &step.binding,
        &step.generation.to_be_bytes(),
        committer.as_bytes(),
        recipient.as_bytes(),
    ]
    .concat()
}

pub(crate) const TAG_LEN: usize = 32;
const NO_ROOT: [u8; Root::LEN] = [0; Root::LEN];

#[cfg(any(test, feature = "group-tests"))]
impl<P: MemberPublicKey> Commit<P> {
    /// Whether somebody with these keys and `now` comes to the next root by this commit, in whatever way: by any
    /// of the boxes, whoever it is for and whether or not the commit removes that member, or onward from `now`.
    pub(crate) fn gives_root_to<K: MemberKeyPair<PublicKey = P>>(
        &self,
        keys: &K,
        now: &Generation<P>,
        step: &Step,
    ) -> Result<bool, KeyError> {
        let (onward, mut roots) = (&now.secrets.onward, Vec::new());
        match &self.root {
            RootSource::Derived { salt } => roots.push(Root::derived(onward, &step.binding, salt)),
            RootSource::Sealed { committer, boxes } => {
                roots.push(Root::derived(onward, &step.binding, &[0; 32]));
                let suite = keys.public_key().suite();
                let sender = Sender::of(now.roster.key(committer).ok_or(KeyError::Rejected)?);
                let associated_data = self.change.associated_data(step)?;
                for sealed in boxes.chunks_exact(box_len(suite, Root::LEN)) {
                    for entry in now.roster.entries() {
                        let info = info(suite, step, committer, &entry.id);
                        let ad = &associated_data;
                        let opened = hpke::open(sealed, keys, &sender, &info, ad, Root::LEN);
                        let root =
                            opened.ok().and_then(|it| Root::from_bytes(P::LABEL, it.expose()));
                        roots.extend(root);
                    }
                }
            }
        }
        Ok(roots.iter().any(|root| root.commitment(step) == self.change.commitment))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Curve, DhKeyPair, DhPublicKey};

    const fn id(byte: u8) -> MemberId {
        MemberId::from_bytes([byte; 32])
    }

    /// A box opens nowhere but in its place: for its member, in the commit that it was made for, in a group
    /// with this history and roster.
    #[test]
    fn what_a_box_is_bound_to_depends_on_everything() {
        let key = *DhKeyPair::generate(Curve::X25519).unwrap().public_key();
        let added = vec![Entry { id: id(8), key }];
        let step = || Step {
            kind: "dh",
            generation: 3,
            binding: [1; 32],
            before: [2; 32],
            roster: [3; 32],
        };
        let change = || CommittedChange::<DhPublicKey> {
            ends: 2,
            removed: vec![id(7)],
            added: added.clone(),
            commitment: [4; 32],
        };
        let bound = |step: &Step, committer, recipient, change: &CommittedChange<DhPublicKey>| {
            let info = info(Curve::X25519, step, &id(committer), &id(recipient));
            [info, change.associated_data(step).unwrap()].concat()
        };
        let steps = [
            step(),
            Step { generation: 4, ..step() },
            Step { binding: [9; 32], ..step() },
            Step { before: [9; 32], ..step() },
            Step { roster: [9; 32], ..step() },
        ];
        let changes = [
            CommittedChange { ends: 3, ..change() },
            CommittedChange { removed: vec![id(9)], ..change() },
            CommittedChange { added: vec![], ..change() },
            CommittedChange { commitment: [9; 32], ..change() },
        ];
        let mut seen: Vec<_> = steps.iter().map(|step| bound(step, 5, 6, &change())).collect();
        seen.extend(changes.iter().map(|change| bound(&step(), 5, 6, change)));
        seen.extend([bound(&step(), 9, 6, &change()), bound(&step(), 5, 9, &change())]);
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
