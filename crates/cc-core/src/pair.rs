//! The contract of a layer whose stacks for two begin from one bundle and one message.

use alloc::{boxed::Box, vec::Vec};
use core::{any::Any, fmt};

use crate::{
    CipherLayer, LayerDescriptor, LayerError,
    store::{ScopeReader, ScopeWriter},
};

/// One person's long-lived keys in one layer, of which layers for two are made: one with each person that
/// begins with this one, or that this one begins with.
///
/// # How a pair begins
/// The owner gives out bundles: for each layer its [`identity`](Self::identity) and its
/// [`prekeys`](Self::prekeys), [signed](Self::sign) as a whole. Who has one makes each layer by
/// [`initiate`](Self::initiate), which gives a *setup*. The identities and setups of all layers go before the
/// first messages, and the owner of the bundle makes its layers of them by [`accept`](Self::accept). All
/// messages of the pair authenticate both sides' identities and the setups in every layer, so that a part of
/// another bundle or opening leads to no message.
///
/// # What an implementation must keep
/// - A change is staged until [`apply`](Self::apply) or [`revert`](Self::revert). What a setup uses up is gone
///   with the `apply` that follows `accept`, and the same setup is refused from then on.
/// - What a remote attacker can cause is [`LayerError::rejected`] or another kind that a message can have,
///   never a panic.
pub trait PairKeys: Any + Send {
    /// What [`CipherLayer::descriptor`] gives of the layers that are made of these keys.
    fn descriptor(&self) -> LayerDescriptor;

    /// The long-lived public keys. Empty in a layer that has none.
    fn identity(&self) -> Vec<u8>;

    /// A digest of the long-lived public keys in an identity that was received, which is checked. `None` where
    /// the layer has none; the identity must be empty then.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected).
    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError>;

    /// What a new bundle has besides the identity: with keys that are used for one pair only where `one_time`
    /// asks for them. Staged.
    ///
    /// # Errors
    /// [`Random`](crate::LayerErrorKind::Random), [`Limit`](crate::LayerErrorKind::Limit).
    fn prekeys(&mut self, one_time: bool) -> Result<Vec<u8>, LayerError> {
        let _ = one_time;
        Ok(Vec::new())
    }

    /// Signs the digest of a whole bundle with a key of the identity; `None` in a layer that does not sign.
    ///
    /// # Errors
    /// [`Internal`](crate::LayerErrorKind::Internal).
    fn sign(&self, bundle: &[u8; 32]) -> Result<Option<Vec<u8>>, LayerError> {
        let _ = bundle;
        Ok(None)
    }

    /// Verifies what [`sign`](Self::sign) of the owner of `identity` gave. Gives whether the layer signs at all:
    /// if it does not, the signature must be empty.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected).
    fn verify(
        &self,
        identity: &[u8],
        bundle: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, LayerError> {
        let _ = (identity, bundle);
        if signature.is_empty() { Ok(false) } else { Err(LayerError::rejected()) }
    }

    /// A layer with the owner of a bundle, and the setup that the other side needs.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for keys that are not acceptable, one's own included.
    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError>;

    /// The other side of [`initiate`](Self::initiate): `peer` has the identity of who began, and its setup.
    /// Whether the setup was made by the owner of that identity is known when a message opened. Staged.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for what was not made for these keys, or for keys that
    /// were used up; [`Stale`](crate::LayerErrorKind::Stale) for what was accepted before.
    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError>;

    /// Keeps everything staged since the last `apply` or `revert`. Cannot fail.
    fn apply(&mut self) {}

    /// Drops everything staged since the last `apply` or `revert`. Cannot fail.
    fn revert(&mut self) {}

    /// As [`CipherLayer::save`].
    ///
    /// # Errors
    /// As there.
    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError>;
}

/// What one layer has of the other person.
#[derive(Debug, Clone, Copy)]
pub struct PairKeysOf<'a> {
    /// The long-lived public keys, as [`PairKeys::identity`] gave them.
    pub identity: &'a [u8],
    /// From a bundle what [`PairKeys::prekeys`] gave, from an opening the setup.
    pub setup: &'a [u8],
}

/// One layer of a pair that begins.
pub struct Initiated {
    /// The layer.
    pub layer: Box<dyn CipherLayer>,
    /// What the other side needs; not secret.
    pub setup: Vec<u8>,
}

impl fmt::Debug for Initiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiated").field("setup", &self.setup.len()).finish_non_exhaustive()
    }
}

/// Keys that a store can bring back.
pub trait RestorePairKeys: PairKeys + Sized {
    /// The [`id`](LayerDescriptor::id) of the descriptor, by which the store knows the type.
    const ID: &'static str;

    /// The keys as [`PairKeys::save`] wrote them.
    ///
    /// # Errors
    /// [`Storage`](crate::LayerErrorKind::Storage) for records that are missing, malformed or of a newer
    /// version.
    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError>;
}
