//! The layer itself: one type over both modes.

use alloc::boxed::Box;
use core::fmt;

use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, GroupLayer, LayerContext, LayerDescriptor,
    LayerError, Opened, Properties, Recalled, Restore, Secret, key_commitment, store::ScopeWriter,
};
use cc_root_group::{Group, KeyError, Suite as _};

use crate::{
    HybridKeyPair, HybridPublicKey, MAX_PAST_EPOCHS, ParameterSet, Schedule, Setup,
    pairwise::Pairwise,
};

mod restore;

/// A layer of X25519 and ML-KEM together, for two people or for a group.
///
/// A store keeps a pair's or a member's long-lived keys, and the epochs or generations that are readable.
pub struct MlKemLayer {
    mode: Mode,
}

enum Mode {
    Pairwise(Box<Pairwise>),
    Group(Box<Group<HybridKeyPair>>),
}

impl MlKemLayer {
    /// A layer between the owner of `keys`, who begins, and the owner of `peer`, who
    /// [accepts](Self::accept) with the setup that comes out: 1144 bytes with ML-KEM-768, not secret.
    /// Compare [fingerprints](HybridPublicKey::fingerprint_with) first: whoever can swap public keys on
    /// their way can read everything.
    ///
    /// # Errors
    /// [`MlKemError::SuiteMismatch`](KeyError::SuiteMismatch), [`MlKemError::OwnKey`](KeyError::OwnKey),
    /// or [`MlKemError::Random`](KeyError::Random) when the generator fails.
    pub fn initiate(keys: HybridKeyPair, peer: HybridPublicKey) -> Result<(Self, Setup), KeyError> {
        let (pairwise, setup) = Pairwise::initiate(keys, peer)?;
        Ok((Self { mode: Mode::Pairwise(Box::new(pairwise)) }, setup))
    }

    /// The other side of [`initiate`](Self::initiate), with the setup that came out there. The same setup
    /// makes a layer again: keep the first.
    ///
    /// # Errors
    /// [`MlKemError::Rejected`](KeyError::Rejected) for a setup that the owner of `peer` did not make for
    /// the owner of `keys`; otherwise as there.
    pub fn accept(
        keys: HybridKeyPair,
        peer: HybridPublicKey,
        setup: &[u8],
    ) -> Result<Self, KeyError> {
        let pairwise = Pairwise::accept(keys, peer, setup)?;
        Ok(Self { mode: Mode::Pairwise(Box::new(pairwise)) })
    }

    /// A layer for a group of up to 32768 members. It founds a group when another layer of the stack does,
    /// or when it adds the first member; otherwise it joins one by a welcome.
    #[must_use]
    pub fn group(keys: HybridKeyPair) -> Self {
        Self { mode: Mode::Group(Box::new(Group::new(keys))) }
    }

    /// How many past generations stay readable for late messages: 3 unless set, at most
    /// [`MAX_PAST_GENERATIONS`](crate::MAX_PAST_GENERATIONS), to which a greater number is lowered.
    /// Fewer give forward secrecy sooner. No meaning in pairwise mode.
    #[must_use]
    pub fn keep_past_generations(mut self, generations: usize) -> Self {
        if let Mode::Group(group) = &mut self.mode {
            group.set_window(generations);
        }
        self
    }

    /// How many past epochs of each side stay readable for late messages: 3 unless set, at most
    /// [`MAX_PAST_EPOCHS`], to which a greater number is lowered. Fewer give forward secrecy sooner. No
    /// meaning in group mode.
    #[must_use]
    pub fn keep_past_epochs(mut self, epochs: usize) -> Self {
        if let Mode::Pairwise(pairwise) = &mut self.mode {
            pairwise.configure(|state| state.set_past(epochs.min(MAX_PAST_EPOCHS)));
        }
        self
    }

    /// When this side begins new epochs. No meaning in group mode.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        if let Mode::Pairwise(pairwise) = &mut self.mode {
            pairwise.configure(|state| state.schedule = schedule);
        }
        self
    }

    /// This side's public key, to be given to others.
    #[must_use]
    pub fn public_key(&self) -> &HybridPublicKey {
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.public_key(),
            Mode::Group(group) => group.keys().public_key(),
        }
    }

    /// The parameter set.
    #[must_use]
    pub fn parameter_set(&self) -> ParameterSet {
        self.public_key().parameter_set()
    }

    /// Whether the other side of a pair has shown that it holds its ML-KEM key, and not only its X25519
    /// key: after the first message that answers one of this side's. `false` in group mode.
    #[must_use]
    pub fn is_peer_confirmed(&self) -> bool {
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.is_peer_confirmed(),
            Mode::Group(_) => false,
        }
    }

    pub(crate) fn as_pair_mut(&mut self) -> Result<&mut Pairwise, LayerError> {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => Ok(pairwise),
            Mode::Group(_) => Err(LayerError::misuse(
                "a group has no schedule: a change of the group renews its keys",
            )),
        }
    }

    #[cfg(test)]
    pub(crate) fn mode_for_tests(&self) -> Option<&Pairwise> {
        match &self.mode {
            Mode::Pairwise(pairwise) => Some(pairwise),
            Mode::Group(_) => None,
        }
    }

    fn as_group(&self) -> Result<&Group<HybridKeyPair>, LayerError> {
        match &self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }

    fn as_group_mut(&mut self) -> Result<&mut Group<HybridKeyPair>, LayerError> {
        match &mut self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }
}

impl fmt::Debug for MlKemLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            Mode::Pairwise(_) => "pairwise",
            Mode::Group(_) => "group",
        };
        f.debug_struct("MlKemLayer")
            .field("mode", &mode)
            .field("public", self.public_key())
            .finish_non_exhaustive()
    }
}

impl CipherLayer for MlKemLayer {
    fn descriptor(&self) -> LayerDescriptor {
        descriptor_of(self.parameter_set(), matches!(self.mode, Mode::Pairwise(_)))
    }

    fn properties(&self) -> Properties {
        use ParameterSet::{MlKem768, MlKem1024};
        let (name, pairwise) = match (&self.mode, self.parameter_set()) {
            (Mode::Pairwise(_), MlKem768) => ("X25519 and ML-KEM-768, pairwise", true),
            (Mode::Pairwise(_), MlKem1024) => ("X25519 and ML-KEM-1024, pairwise", true),
            (Mode::Group(_), MlKem768) => ("X25519 and ML-KEM-768, group", false),
            (Mode::Group(_), MlKem1024) => ("X25519 and ML-KEM-1024, group", false),
        };
        Properties { contributes: true, pairwise, ..Properties::plain(name) }
    }

    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        match &mut self.mode {
            Mode::Group(group) => group.attach(place),
            Mode::Pairwise(_) => Ok(()),
        }
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        match &self.mode {
            Mode::Pairwise(pairwise) => Ok(Some(pairwise.contribute())),
            Mode::Group(group) => group.contribute().map(Some),
        }
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.recall(hint),
            Mode::Group(group) => group.recall(hint),
        }
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.seal(context, buffer),
            Mode::Group(group) => group.seal(context, buffer),
        }
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.open(context, buffer),
            Mode::Group(group) => group.open(context, buffer),
        }
    }

    fn apply(&mut self) {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.apply(),
            Mode::Group(group) => group.apply(),
        }
    }

    fn revert(&mut self) {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.revert(),
            Mode::Group(group) => group.revert(),
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            to.put(restore::LAYER, restore::encode(&self.mode));
        }
        match &mut self.mode {
            Mode::Group(group) => group.save(to),
            Mode::Pairwise(pairwise) => pairwise.save(to),
        }
    }

    fn key_commitment(&self) -> Option<Secret<32>> {
        match &self.mode {
            Mode::Pairwise(pairwise) => Some(pairwise.commitment()),
            Mode::Group(_) => Some(key_commitment(&self.public_key().to_bytes())),
        }
    }

    fn group(&self) -> Option<&dyn GroupLayer> {
        match &self.mode {
            Mode::Group(_) => Some(self),
            Mode::Pairwise(_) => None,
        }
    }

    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        match &self.mode {
            Mode::Group(_) => Some(self),
            Mode::Pairwise(_) => None,
        }
    }
}

cc_root_group::group_layer!(MlKemLayer);

pub(crate) fn descriptor_of(set: ParameterSet, pairwise: bool) -> LayerDescriptor {
    let mode = if pairwise { 1 } else { 2 };
    let [high, low] = set.id().to_be_bytes();
    LayerDescriptor { id: MlKemLayer::ID, version: 1, parameters: alloc::vec![mode, high, low] }
}

fn not_a_group() -> LayerError {
    LayerError::misuse("a pairwise layer has no group: make it with MlKemLayer::group")
}
