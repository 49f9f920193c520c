//! The layer itself: one type over both modes.

use alloc::boxed::Box;
use core::fmt;

use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, GroupLayer, LayerContext, LayerDescriptor,
    LayerError, Opened, Properties, Recalled, Restore, Secret, key_commitment, store::ScopeWriter,
};

use cc_root_group::Group;

use crate::{Curve, DhError, DhKeyPair, DhPublicKey, pairwise::Pairwise};

mod restore;

/// A Diffie-Hellman layer, for two people or for a group.
///
/// A store keeps a pair's derived keys (not the private key), and a group's member key with the
/// generations that are readable and the staged change. Only what changes the group writes anything: a
/// message writes nothing.
pub struct DhLayer {
    public: DhPublicKey,
    mode: Mode,
}

enum Mode {
    Pairwise(Pairwise),
    Group(Box<Group<DhKeyPair>>),
}

impl DhLayer {
    /// A layer between the owner of `keys` and the owner of `peer`; the other side makes it with the
    /// two exchanged. Compare [fingerprints](DhPublicKey::fingerprint_with) first: whoever can swap
    /// public keys on their way can read everything.
    ///
    /// # Errors
    /// [`DhError::SuiteMismatch`], [`DhError::OwnKey`], or [`DhError::PublicKey`] when the shared
    /// secret would not depend on `keys`.
    pub fn pairwise(keys: DhKeyPair, peer: DhPublicKey) -> Result<Self, DhError> {
        let mode = Mode::Pairwise(Pairwise::new(&keys, &peer)?);
        Ok(Self { public: *keys.public_key(), mode })
    }

    /// A layer for a group of up to [`MAX_MEMBERS`](cc_core::limits::MAX_MEMBERS). It founds a group
    /// when another layer of the stack does, or when it adds the first member; otherwise it joins one
    /// by a welcome.
    #[must_use]
    pub fn group(keys: DhKeyPair) -> Self {
        Self { public: *keys.public_key(), mode: Mode::Group(Box::new(Group::new(keys))) }
    }

    /// One side of a pair with these keys, whoever has them.
    #[cfg(test)]
    pub(crate) const fn from_pairwise(public: DhPublicKey, pairwise: Pairwise) -> Self {
        Self { public, mode: Mode::Pairwise(pairwise) }
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

    /// This side's public key, to be given to others.
    #[must_use]
    pub const fn public_key(&self) -> &DhPublicKey {
        &self.public
    }

    /// The curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.public.curve()
    }

    fn as_group(&self) -> Result<&Group<DhKeyPair>, LayerError> {
        match &self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }

    fn as_group_mut(&mut self) -> Result<&mut Group<DhKeyPair>, LayerError> {
        match &mut self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }
}

impl fmt::Debug for DhLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            Mode::Pairwise(_) => "pairwise",
            Mode::Group(_) => "group",
        };
        f.debug_struct("DhLayer")
            .field("mode", &mode)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl CipherLayer for DhLayer {
    fn descriptor(&self) -> LayerDescriptor {
        descriptor_of(self.curve(), matches!(self.mode, Mode::Pairwise(_)))
    }

    fn properties(&self) -> Properties {
        let (name, pairwise) = match (&self.mode, self.curve() == Curve::P256) {
            (Mode::Pairwise(_), false) => ("ECDH X25519, pairwise", true),
            (Mode::Pairwise(_), true) => ("ECDH P-256, pairwise", true),
            (Mode::Group(_), false) => ("ECDH X25519, group", false),
            (Mode::Group(_), true) => ("ECDH P-256, group", false),
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
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.seal(context, buffer),
            Mode::Group(group) => group.seal(context, buffer),
        }
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.open(context, buffer),
            Mode::Group(group) => group.open(context, buffer),
        }
    }

    fn apply(&mut self) {
        if let Mode::Group(group) = &mut self.mode {
            group.apply();
        }
    }

    fn revert(&mut self) {
        if let Mode::Group(group) = &mut self.mode {
            group.revert();
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            to.put(restore::LAYER, restore::encode(&self.public, &self.mode));
        }
        match &mut self.mode {
            Mode::Group(group) => group.save(to),
            Mode::Pairwise(_) => Ok(()),
        }
    }

    fn key_commitment(&self) -> Option<Secret<32>> {
        match &self.mode {
            Mode::Pairwise(pairwise) => Some(pairwise.commitment()),
            Mode::Group(_) => Some(key_commitment(&self.public.to_bytes())),
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

cc_root_group::group_layer!(DhLayer);

pub(crate) fn descriptor_of(curve: Curve, pairwise: bool) -> LayerDescriptor {
    let mode = if pairwise { 1 } else { 2 };
    let [high, low] = curve.id().to_be_bytes();
    LayerDescriptor { id: DhLayer::ID, version: 1, parameters: alloc::vec![mode, high, low] }
}

fn not_a_group() -> LayerError {
    LayerError::misuse("a pairwise layer has no group: make it with DhLayer::group")
}
