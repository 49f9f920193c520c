//! Recipes: which layers a group's stack is made of.

use cc_aes_layer::AesLayer;
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Catalog, ManagerBuilder};
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
    Signal,
    Mls,
    AesInherited,
}

impl Recipe {
    /// DH (P-256), MLS and AES: what most groups want.
    #[must_use]
    pub fn group() -> Self {
        Self { layers: vec![LayerKind::DhP256, LayerKind::Mls, LayerKind::AesInherited] }
    }

    /// DH (X25519), Signal sender keys, MLS, and AES: slower to change members, and a message opens only
    /// where two ratchets of different families agree.
    #[must_use]
    pub fn paranoid() -> Self {
        use LayerKind::{AesInherited, DhX25519, Mls, Signal};
        Self { layers: vec![DhX25519, Signal, Mls, AesInherited] }
    }

    pub(crate) fn has(&self, kind: LayerKind) -> bool {
        self.layers.contains(&kind)
    }

    /// The types of layers that recipes are made of.
    pub(crate) fn catalog() -> Catalog {
        Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<SignalLayer>().with::<MlsLayer>()
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
            signal: recipe.has(LayerKind::Signal).then(IdentityKeyPair::generate).transpose()?,
            mls: recipe.has(LayerKind::Mls).then(|| MlsIdentity::generate(name)).transpose()?,
        })
    }
}
