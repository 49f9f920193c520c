//! The layer itself: one type over both modes.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CipherLayer, CommitOutcome, Contribution,
    GroupLayer, KeyPackageInfo, LayerContext, LayerDescriptor, LayerError, Member, MemberId,
    Opened, PartContext, Properties, Recalled, Restore, Secret, Standing, key_commitment,
    store::ScopeWriter,
};

use cc_root_group::{Group, MemberPublicKey as _};

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
        let mode = match &self.mode {
            Mode::Pairwise(_) => 1,
            Mode::Group(_) => 2,
        };
        let [high, low] = self.curve().id().to_be_bytes();
        LayerDescriptor { id: Self::ID, version: 1, parameters: alloc::vec![mode, high, low] }
    }

    fn properties(&self) -> Properties {
        let (name, pairwise) = match (&self.mode, self.curve()) {
            (Mode::Pairwise(_), Curve::X25519) => ("ECDH X25519, pairwise", true),
            (Mode::Pairwise(_), Curve::P256) => ("ECDH P-256, pairwise", true),
            (Mode::Group(_), Curve::X25519) => ("ECDH X25519, group", false),
            (Mode::Group(_), Curve::P256) => ("ECDH P-256, group", false),
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

/// Everything here fails with [`Misuse`](cc_core::LayerErrorKind::Misuse) in pairwise mode, which
/// [`CipherLayer::group`] does not offer as a group layer.
impl GroupLayer for DhLayer {
    fn commitment(&self) -> [u8; 32] {
        self.public.commitment()
    }

    fn standing(&self) -> Standing {
        self.as_group().map_or(Standing::Outside, Group::standing)
    }

    fn members(&self) -> Vec<Member> {
        self.as_group().map_or_else(|_| Vec::new(), Group::members)
    }

    /// The public key as [`DhPublicKey::to_bytes`] gives it. It is the same in every bundle and is
    /// not signed here: the signature is that of a layer above, over the member id, which the
    /// [`commitment`](GroupLayer::commitment) goes into.
    fn key_package(&mut self, _: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        self.as_group()?.key_package()
    }

    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        Ok(KeyPackageInfo::new(DhPublicKey::from_bytes(part)?.commitment()))
    }

    fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        self.as_group().ok()?.epoch_authenticator()
    }

    fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        Ok(self.as_group()?.export_secret(label))
    }

    fn export_next_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        Ok(self.as_group()?.export_next_secret(label))
    }

    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        self.as_group_mut()?.stage_change(request, context)
    }

    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError> {
        self.as_group()?.next_contribution()
    }

    fn confirm_change(&mut self) -> Result<(), LayerError> {
        self.as_group_mut()?.confirm_change()
    }

    fn discard_change(&mut self) -> Result<(), LayerError> {
        self.as_group_mut()?.discard_change();
        Ok(())
    }

    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        self.as_group_mut()?.process_commit(part, context)
    }

    fn is_invited(&self, part: &[u8]) -> Option<bool> {
        self.as_group().ok()?.is_invited(part)
    }

    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.as_group_mut()?.join(part, context).map(Some)
    }
}

fn not_a_group() -> LayerError {
    LayerError::misuse("a pairwise layer has no group: make it with DhLayer::group")
}
