//! Recipes: which layers a group's stack is made of.

use cc_aes_layer::AesLayer;
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Catalog, ManagerBuilder};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, ParameterSet};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_signal_layer::{IdentityKeyPair, SignalLayer};
use serde::{Deserialize, Serialize};

use crate::{Fault, identity::Identity};

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

    /// The types of layers that recipes are made of.
    pub(crate) fn catalog() -> Catalog {
        Catalog::new()
            .with::<AesLayer>()
            .with::<DhLayer>()
            .with::<MlKemLayer>()
            .with::<SignalLayer>()
            .with::<MlsLayer>()
    }

    /// A stack of this recipe, for a group that this person founds or is to join.
    pub(crate) fn build(
        &self,
        identity: &Identity,
        role: Role<'_>,
    ) -> Result<ManagerBuilder, Fault> {
        let mut builder = CascadingCipherManager::builder();
        for kind in &self.layers {
            builder = match kind {
                LayerKind::DhX25519 => builder.layer(DhLayer::group(identity.dh(Curve::X25519)?)),
                LayerKind::DhP256 => builder.layer(DhLayer::group(identity.dh(Curve::P256)?)),
                LayerKind::MlKem768 => builder.layer(MlKemLayer::group(identity.mlkem()?)),
                LayerKind::Signal => builder.layer(SignalLayer::group(identity.account()?)),
                LayerKind::Mls => {
                    let mls = identity.mls()?;
                    builder.layer(match role {
                        Role::Founder(name) => MlsLayer::create(name, mls)?,
                        Role::Invited => MlsLayer::member(mls)?,
                    })
                }
                LayerKind::AesInherited => builder.layer(AesLayer::inherited()),
            };
        }
        Ok(builder)
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
    pub(crate) fn generate(recipe: &Recipe, name: &str) -> Result<Self, Fault> {
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
            mls: recipe.has(LayerKind::Mls).then(|| MlsIdentity::generate(name)).transpose()?,
        })
    }
}
