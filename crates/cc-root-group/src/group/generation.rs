//! One membership generation: an epoch of the group, as this layer knows it.

use alloc::sync::Arc;

use cc_core::{Contribution, MemberId, Secret, membership::Epoch, random};

use crate::{
    KeyError, MemberPublicKey, Prk,
    group::{
        root::{Root, Step},
        roster::{Entry, Roster},
    },
    message::MessageKey,
};

#[derive(Debug, Clone)]
pub(crate) struct Generation<P: MemberPublicKey> {
    /// The number of changes since the group was founded.
    pub(crate) number: u64,
    /// The running digest of everything that happened: see [`Step::history`].
    pub(crate) history: [u8; 32],
    /// The digest of the body of the commit that made it; zero where it was founded.
    pub(crate) commit: [u8; 32],
    pub(crate) roster: Arc<Roster<P>>,
    pub(crate) secrets: Arc<Secrets>,
}

/// What all members of a generation share, and nobody else.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) messages: Arc<MessageSecrets>,
    /// For the tag by which members know that a commit comes from one of them.
    membership: Prk,
    /// For the root of the next generation, where it is derived.
    pub(crate) onward: Prk,
    /// Not secret: for people to compare.
    pub(crate) authenticator: [u8; 32],
}

/// What is left of the secrets once the generation is over.
#[derive(Debug)]
pub(crate) struct MessageSecrets {
    /// For the layers above.
    pub(crate) contribution: Secret<32>,
    pub(crate) key: MessageKey,
}

impl<P: MemberPublicKey> Generation<P> {
    /// The first generation of a group with one member.
    pub(crate) fn founded_by(id: MemberId, key: P, binding: &[u8; 32]) -> Result<Self, KeyError> {
        let roster = Roster::new(key.suite(), &[Entry { id, key }]);
        let step = Step {
            kind: P::LABEL,
            generation: 0,
            binding: *binding,
            before: NO_HISTORY,
            roster: roster.digest(),
        };
        let root = Root::random(P::LABEL)?;
        let commitment = root.commitment(&step);
        Ok(Self::new(&root, &step, &commitment, NO_COMMIT, roster))
    }

    /// The generation of this root, after a change that made it.
    pub(crate) fn new(
        root: &Root,
        step: &Step,
        commitment: &[u8; 32],
        commit: [u8; 32],
        roster: Roster<P>,
    ) -> Self {
        let history = step.history(commitment, &commit);
        let secrets = Secrets::derive(P::LABEL, &root.generation_secret(&history));
        let (roster, secrets) = (Arc::new(roster), Arc::new(secrets));
        Self { number: step.generation, history, commit, roster, secrets }
    }

    /// The change from this generation to one with this roster.
    pub(crate) fn step(&self, roster: &Roster<P>, binding: &[u8; 32]) -> Result<Step, KeyError> {
        let generation = self.number.checked_add(1).ok_or(KeyError::Internal)?;
        Ok(Step {
            kind: P::LABEL,
            generation,
            binding: *binding,
            before: self.history,
            roster: roster.digest(),
        })
    }

    pub(crate) fn contribution(&self) -> Contribution {
        Contribution {
            hint: self.number.to_be_bytes().to_vec(),
            secret: self.secrets.messages.contribution.duplicate(),
        }
    }
}

impl<P: MemberPublicKey> Epoch for Generation<P> {
    type Past = Arc<MessageSecrets>;

    fn number(&self) -> u64 {
        self.number
    }

    fn members(&self) -> usize {
        self.roster.len()
    }

    fn to_past(&self) -> Self::Past {
        Arc::clone(&self.secrets.messages)
    }
}

impl Secrets {
    fn derive(kind: &'static str, generation: &Prk) -> Self {
        let messages = MessageSecrets::new(
            kind,
            generation.expand("contribution", &[]),
            generation.expand("messages", &[]),
        );
        Self::from_parts(
            kind,
            messages,
            generation.expand("membership", &[]),
            generation.expand("onward", &[]),
            *generation.expand("authenticator", &[]).expose(),
        )
    }

    /// The secrets that [`expose`](Self::expose) gave.
    pub(crate) fn from_parts(
        kind: &'static str,
        messages: MessageSecrets,
        membership: Secret<32>,
        onward: Secret<32>,
        authenticator: [u8; 32],
    ) -> Self {
        let messages = Arc::new(messages);
        let [membership, onward] = [membership, onward].map(|key| Prk::new(kind, key));
        Self { messages, membership, onward, authenticator }
    }

    /// All of them, to be stored, in the order in which [`from_parts`](Self::from_parts) takes them.
    pub(crate) fn expose(&self) -> [&[u8; 32]; 5] {
        let [contribution, key] = self.messages.expose();
        [contribution, key, self.membership.expose(), self.onward.expose(), &self.authenticator]
    }

    /// The tag by which the members of a generation know that the commit that ends it comes from one of
    /// them: checked before anything that costs.
    pub(crate) fn membership_tag(&self, binding: &[u8; 32], commit: &[u8; 32]) -> Secret<32> {
        self.membership.expand("membership tag", &[binding, commit])
    }

    /// For a use outside the layer. Only the label tells it from the root of the next generation, and
    /// neither leads to the other (HKDF-Expand is a pseudorandom function).
    pub(crate) fn export(&self, label: &[u8]) -> Secret<32> {
        self.onward.expand("exporter", &[label])
    }

    /// The root of the next generation, where nobody is removed, with the public salt that it takes.
    pub(crate) fn next_root(&self, binding: &[u8; 32]) -> Result<(Root, [u8; 32]), KeyError> {
        let salt = random::array()?;
        Ok((Root::derived(&self.onward, binding, &salt), salt))
    }
}

impl MessageSecrets {
    pub(crate) fn new(kind: &'static str, contribution: Secret<32>, key: Secret<32>) -> Self {
        Self { contribution, key: MessageKey::new(kind, key) }
    }

    /// To be stored, in the order in which [`new`](Self::new) takes them.
    pub(crate) fn expose(&self) -> [&[u8; 32]; 2] {
        [self.contribution.expose(), self.key.expose()]
    }
}

/// The history before a group is founded.
const NO_HISTORY: [u8; 32] = [0; 32];
/// No commit makes the first generation.
const NO_COMMIT: [u8; 32] = [0; 32];
