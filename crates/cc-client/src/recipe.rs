//! Recipes: which layers the stack of a group or a pair is made of.

use cc_aes_layer::{AesLayer, AesPairKeys};
use cc_core::{CipherLayer, PairKeys};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer, DhPairKeys};
use cc_manager::{CascadingCipherManager, Catalog, ManagerBuilder};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, MlKemPairKeys, ParameterSet};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_signal_layer::{Account, IdentityKeyPair, SignalLayer, SignalPairKeys, SignalPairLayer};
use serde::{Deserialize, Serialize};

use crate::{Fault, Profile, identity::Identity};

/// The layers of the stacks that a person founds and joins groups with, bottom first. Members of a group
/// have equal recipes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    pub(crate) layers: Vec<LayerKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LayerKind {
    DhX25519,
    DhP256,
    MlKem768,
    Signal,
    Mls,
    AesInherited,
}

impl Recipe {
    /// `group`: DH (P-256), MLS and AES. Small and fast; a quantum computer that recorded everything reads it.
    #[must_use]
    pub fn group() -> Self {
        Self { layers: vec![LayerKind::DhP256, LayerKind::Mls, LayerKind::AesInherited] }
    }

    /// `post-quantum`: X25519 with ML-KEM-768, MLS and AES. What is recorded today stays closed to a quantum
    /// computer of tomorrow, for 1.2 KiB more in a key package.
    #[must_use]
    pub fn post_quantum() -> Self {
        Self { layers: vec![LayerKind::MlKem768, LayerKind::Mls, LayerKind::AesInherited] }
    }

    /// `paranoid`: DH (X25519), ML-KEM-768, Signal sender keys, MLS, and AES: all five. Slower to change members;
    /// a message opens only where key agreements and ratchets of different families agree, and after a theft
    /// a member's update shuts out a quantum computer as well.
    #[must_use]
    pub fn paranoid() -> Self {
        use LayerKind::{AesInherited, DhX25519, MlKem768, Mls, Signal};
        Self { layers: vec![DhX25519, MlKem768, Signal, Mls, AesInherited] }
    }

    /// The names of all recipes, as [`named`](Self::named) takes them.
    pub const NAMES: [&str; 3] = ["group", "post-quantum", "paranoid"];

    /// The recipe of this name; `None` where there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "group" => Some(Self::group()),
            "post-quantum" => Some(Self::post_quantum()),
            "paranoid" => Some(Self::paranoid()),
            _ => None,
        }
    }

    /// The name of this recipe; `None` for one of an earlier version.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Self::NAMES.into_iter().find(|name| Self::named(name).as_ref() == Some(self))
    }

    pub(crate) fn has(&self, kind: LayerKind) -> bool {
        self.layers.contains(&kind)
    }

    /// The types of layers and keys that recipes are made of, those for pairs included.
    #[must_use]
    pub fn catalog() -> Catalog {
        Catalog::new()
            .with::<AesLayer>()
            .with::<DhLayer>()
            .with::<MlKemLayer>()
            .with::<SignalLayer>()
            .with::<MlsLayer>()
            .with::<SignalPairLayer>()
            .with_pair_keys::<AesPairKeys>()
            .with_pair_keys::<DhPairKeys>()
            .with_pair_keys::<MlKemPairKeys>()
            .with_pair_keys::<SignalPairKeys>()
    }

    /// A stack of this recipe, for a group that this person founds or is to join.
    pub(crate) fn build(
        &self,
        identity: &Identity,
        role: Role<'_>,
    ) -> Result<ManagerBuilder, Fault> {
        Ok(CascadingCipherManager::builder().layers(self.layers_of(identity, role)?))
    }

    /// The layers of this recipe, bottom first, with fresh keys of a person of this name, which is in the clear of
    /// its MLS key packages: for a program that drives a [`ManagerBuilder`] itself. `founds` is the name of a group to found; without one the layers wait
    /// for an invitation.
    ///
    /// # Errors
    /// [`Fault::TooLong`] for a name, and where the random generator fails.
    pub fn layers(
        &self,
        person: &str,
        founds: Option<&str>,
    ) -> Result<Vec<Box<dyn CipherLayer>>, Fault> {
        let profile = Profile::new(person);
        let identity = Identity::with_credential(profile, self.clone(), person)?;
        self.layers_of(&identity, founds.map_or(Role::Invited, Role::Founder))
    }

    fn layers_of(
        &self,
        identity: &Identity,
        role: Role<'_>,
    ) -> Result<Vec<Box<dyn CipherLayer>>, Fault> {
        let layer = |kind: &LayerKind| -> Result<Box<dyn CipherLayer>, Fault> {
            Ok(match kind {
                LayerKind::DhX25519 => Box::new(DhLayer::group(identity.dh(Curve::X25519)?)),
                LayerKind::DhP256 => Box::new(DhLayer::group(identity.dh(Curve::P256)?)),
                LayerKind::MlKem768 => Box::new(MlKemLayer::group(identity.mlkem()?)),
                LayerKind::Signal => Box::new(SignalLayer::group(identity.account()?)),
                LayerKind::Mls => {
                    let mls = identity.mls()?;
                    Box::new(match role {
                        Role::Founder(name) => MlsLayer::create(name, mls)?,
                        Role::Invited => MlsLayer::member(mls)?,
                    })
                }
                LayerKind::AesInherited => Box::new(AesLayer::inherited()),
            })
        };
        self.layers.iter().map(layer).collect()
    }
}

/// The layers of the stacks that two people begin from a bundle, bottom first. Both have equal recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairRecipe {
    /// `pair`: DH (P-256), Signal and AES. A quantum computer must break the ML-KEM of Signal alone.
    Classical,
    /// `pair-post-quantum`: X25519 with ML-KEM-768, Signal and AES. A quantum computer must break ML-KEM in two
    /// layers, whose keys are independent and renewed on schedules of their own.
    PostQuantum,
}

impl PairRecipe {
    /// The names of all recipes for pairs, as [`named`](Self::named) takes them.
    pub const NAMES: [&str; 2] = ["pair", "pair-post-quantum"];

    /// The recipe of this name; `None` where there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "pair" => Some(Self::Classical),
            "pair-post-quantum" => Some(Self::PostQuantum),
            _ => None,
        }
    }

    /// The name of this recipe.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classical => "pair",
            Self::PostQuantum => "pair-post-quantum",
        }
    }

    /// Fresh keys for all layers, bottom first: for
    /// [`PairAccountBuilder::all_keys`](cc_manager::PairAccountBuilder::all_keys).
    ///
    /// # Errors
    /// Where the random generator fails.
    pub fn keys(self) -> Result<Vec<Box<dyn PairKeys>>, Fault> {
        let bottom: Box<dyn PairKeys> = match self {
            Self::Classical => Box::new(DhPairKeys::new(DhKeyPair::generate(Curve::P256)?)),
            Self::PostQuantum => {
                Box::new(MlKemPairKeys::new(HybridKeyPair::generate(ParameterSet::MlKem768)?))
            }
        };
        let signal = SignalPairKeys::new(Account::generate()?);
        Ok(vec![bottom, Box::new(signal), Box::new(AesPairKeys::inherited())])
    }
}

/// For what a stack is made.
#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    /// A new group of this name.
    Founder(&'a str),
    /// A group that this person is still to be invited to.
    Invited,
}

/// Long-lived keys, as many as a recipe takes.
pub(crate) struct Keys {
    pub(crate) dh: Option<DhKeyPair>,
    pub(crate) mlkem: Option<HybridKeyPair>,
    pub(crate) signal: Option<IdentityKeyPair>,
    pub(crate) mls: Option<MlsIdentity>,
}

impl Keys {
    pub(crate) fn generate(recipe: &Recipe, credential: &str) -> Result<Self, Fault> {
        let curve = recipe.layers.iter().find_map(|kind| match kind {
            LayerKind::DhX25519 => Some(Curve::X25519),
            LayerKind::DhP256 => Some(Curve::P256),
            _ => None,
        });
        Ok(Self {
            dh: curve.map(DhKeyPair::generate).transpose()?,
            mlkem: recipe
                .has(LayerKind::MlKem768)
                .then(|| HybridKeyPair::generate(ParameterSet::MlKem768))
                .transpose()?,
            signal: recipe.has(LayerKind::Signal).then(IdentityKeyPair::generate).transpose()?,
            mls: recipe
                .has(LayerKind::Mls)
                .then(|| MlsIdentity::generate(credential))
                .transpose()?,
        })
    }
}
