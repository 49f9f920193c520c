//! The root of a generation, how the next one comes of it, and what all see of it.

use cc_core::Secret;
use sha2::{Digest, Sha256};

use crate::{KeyError, Prk, label::label, message::MessageKey};

/// 32 bytes from which all secrets of one generation are derived.
///
/// Where somebody is removed it is random, and sealed to everyone who stays. Otherwise it is derived from
/// the generation before it, which goes one way: those who join by it cannot tell that generation's
/// secrets.
pub(crate) struct Root {
    /// As [`MemberPublicKey::LABEL`](crate::MemberPublicKey::LABEL).
    kind: &'static str,
    secret: Secret<32>,
}

/// What everyone who follows a change knows of it, besides the root.
pub(crate) struct Step {
    /// As [`MemberPublicKey::LABEL`](crate::MemberPublicKey::LABEL).
    pub(crate) kind: &'static str,
    /// The generation that the change makes.
    pub(crate) generation: u64,
    /// [`PartContext::binding`](cc_core::PartContext::binding); for a founded group that of its stack or
    /// first change.
    pub(crate) binding: [u8; 32],
    /// The history before the change; zero where the group is founded.
    pub(crate) before: [u8; 32],
    /// The digest of the roster after the change.
    pub(crate) roster: [u8; 32],
}

impl Root {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn random(kind: &'static str) -> Result<Self, KeyError> {
        Ok(Self { kind, secret: Secret::random()? })
    }

    pub(crate) fn from_bytes(kind: &'static str, bytes: &[u8]) -> Option<Self> {
        Secret::copy_from(bytes).map(|secret| Self { kind, secret })
    }

    /// The root of the next generation, from the secret of the present one for that purpose. `salt` is
    /// public and random, so that two changes never come to the same root, whichever is taken in the end.
    pub(crate) fn derived(onward: &Prk, binding: &[u8; 32], salt: &[u8; 32]) -> Self {
        Self { kind: onward.kind(), secret: onward.expand("next root", &[binding, salt]) }
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// The commitment to this root that all see: two roots never have the same one, and it tells nothing
    /// about the root (HKDF-SHA-256 is collision-resistant and a pseudorandom function).
    pub(crate) fn commitment(&self, step: &Step) -> [u8; 32] {
        let Step { generation, binding, before, roster, .. } = step;
        let fields: [&[u8]; 4] = [&generation.to_be_bytes(), binding, before, roster];
        *self.prk().expand("root commitment", &fields).expose()
    }

    /// The secret of the generation with this history: members who were shown two histories have no key
    /// in common.
    pub(crate) fn generation_secret(&self, history: &[u8; 32]) -> Prk {
        Prk::new(self.kind, self.prk().expand("generation", &[history]))
    }

    /// The key under which a welcome tells of the group; `binding` and the root make it fresh for each.
    pub(crate) fn welcome_key(&self, binding: &[u8; 32]) -> MessageKey {
        MessageKey::new(self.kind, self.prk().expand("welcome group", &[binding]))
    }

    fn prk(&self) -> Prk {
        Prk::extract(self.kind, "root", self.secret.expose())
    }
}

impl Step {
    /// The history after the change: a running digest of all commits, rosters and commitments since the
    /// group was founded. `commit` is the digest of the commit's body, zero where the group is founded.
    pub(crate) fn history(&self, commitment: &[u8; 32], commit: &[u8; 32]) -> [u8; 32] {
        Sha256::new()
            .chain_update(label(self.kind, "history"))
            .chain_update(self.generation.to_be_bytes())
            .chain_update(self.binding)
            .chain_update(self.before)
            .chain_update(self.roster)
            .chain_update(commitment)
            .chain_update(commit)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn step() -> Step {
        Step { kind: "dh", generation: 3, binding: [1; 32], before: [2; 32], roster: [3; 32] }
    }

    #[test]
    fn commitment_and_history_depend_on_everything() {
        let [one, other] = [1, 2].map(|byte| Root::from_bytes("dh", &[byte; 32]).unwrap());
        let steps = [
            step(),
            Step { generation: 4, ..step() },
            Step { binding: [9; 32], ..step() },
            Step { before: [9; 32], ..step() },
            Step { roster: [9; 32], ..step() },
        ];
        let mut seen = vec![];
        for step in &steps {
            for root in [&one, &other] {
                let commitment = root.commitment(step);
                seen.extend([commitment, step.history(&commitment, &[7; 32])]);
            }
        }
        seen.extend([step().history(&[0; 32], &[7; 32]), step().history(&[0; 32], &[8; 32])]);
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn what_is_derived_depends_on_its_inputs() {
        let root = Root::from_bytes("dh", &[1; 32]).unwrap();
        let secret = |history| *root.generation_secret(&[history; 32]).expose();
        assert_ne!(secret(1), secret(2));
        let onward = Prk::extract("dh", "salt", b"secret");
        let next = |binding, salt| *Root::derived(&onward, &[binding; 32], &[salt; 32]).expose();
        assert_eq!(next(1, 1), next(1, 1));
        assert_ne!(next(1, 1), next(1, 2));
        assert_ne!(next(1, 1), next(2, 1));
    }
}
