//! The key packages that this member handed out and nobody has used yet (RFC 9420 section 10).

use cc_core::LayerError;
use openmls::prelude::{KeyPackageBundle, KeyPackageRef};
use openmls_traits::OpenMlsProvider as _;

use crate::{MlsError, MlsLayer, key_package::expires, provider::Provider, storage::Kind};

/// How long the private keys of an expired key package are kept, for the welcomes on their way: in seconds.
const GRACE: u64 = 7 * 24 * 3600;

/// A key package whose private keys are kept, so that a welcome for it can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlsKeyPackage {
    /// The KeyPackageRef of RFC 9420 section 5.2: as long as the ciphersuite's hash.
    pub reference: Vec<u8>,
    /// When it expires, in seconds since 1970.
    pub not_after: u64,
    /// Whether it stays after a welcome, see [`MlsLayer::set_last_resort`].
    pub last_resort: bool,
}

impl MlsLayer {
    /// The key packages that were handed out and are not used up, by reference. Expired ones are among
    /// them until a key package is made more than a week after, or they are forgotten.
    ///
    /// # Errors
    /// [`MlsError::Storage`] for a state that cannot be read.
    pub fn key_packages(&self) -> Result<Vec<MlsKeyPackage>, MlsError> {
        let list = outstanding(&self.provider)?.into_iter();
        list.map(|(reference, bundle)| {
            Ok(MlsKeyPackage {
                reference: reference.as_slice().to_vec(),
                not_after: expires(bundle.key_package()),
                last_resort: bundle.key_package().last_resort(),
            })
        })
        .collect()
    }

    /// Whether the key packages made from now on are of last resort: for a server to hand out again and
    /// again once it has no other (draft-ietf-mls-extensions, `last_resort`; see RFC 9420 section 16.8
    /// for what that costs: one private key opens all welcomes for it). Joining with one keeps its
    /// private keys, so replace and [forget](Self::forget_key_package) it after a while. Off at first,
    /// and in a layer that comes back from a store.
    ///
    /// The other group layers of a stack must allow their part to be used more than once, too.
    pub fn set_last_resort(&mut self, on: bool) {
        self.last_resort = on;
    }

    /// Forgets the private keys of a key package: one that was replaced, or that somebody may have
    /// stolen. A welcome for it is refused from then on. `false` where there is none. In force at once,
    /// whatever is reverted; a store follows with the next `save`.
    ///
    /// # Errors
    /// [`MlsError::Storage`] for a state that cannot be read.
    pub fn forget_key_package(&mut self, reference: &[u8]) -> Result<bool, MlsError> {
        let known = those(&self.provider, |known, _| known.as_slice() == reference)?;
        Ok(self.forget(&known)? > 0)
    }

    /// Forgets all that have expired, without the week that welcomes on their way have otherwise;
    /// gives how many. In force at once, whatever is reverted; a store follows with the next `save`.
    ///
    /// # Errors
    /// [`MlsError::Storage`] for a state that cannot be read.
    pub fn forget_expired_key_packages(&mut self) -> Result<usize, MlsError> {
        let expired = expired(&self.provider, self.provider.clock.now())?;
        self.forget(&expired)
    }

    fn forget(&mut self, references: &[KeyPackageRef]) -> Result<usize, MlsError> {
        for reference in references {
            let storage = self.provider.storage();
            storage.delete_for_good(Kind::KeyPackage, reference).map_err(unreadable)?;
        }
        Ok(references.len())
    }
}

/// Forgets those that no welcome can still be on its way for at `now`. Staged.
pub(crate) fn tidy(provider: &Provider, now: u64) -> Result<(), LayerError> {
    for reference in expired(provider, now.saturating_sub(GRACE))? {
        provider.storage().delete(Kind::KeyPackage, &reference).map_err(unreadable)?;
    }
    Ok(())
}

fn expired(provider: &Provider, now: u64) -> Result<Vec<KeyPackageRef>, MlsError> {
    those(provider, |_, bundle| expires(bundle.key_package()) <= now)
}

/// Those that `which` is true for.
fn those(
    provider: &Provider,
    which: impl Fn(&KeyPackageRef, &KeyPackageBundle) -> bool,
) -> Result<Vec<KeyPackageRef>, MlsError> {
    let all = outstanding(provider)?.into_iter();
    Ok(all.filter(|(known, bundle)| which(known, bundle)).map(|(known, _)| known).collect())
}

fn outstanding(provider: &Provider) -> Result<Vec<(KeyPackageRef, KeyPackageBundle)>, MlsError> {
    let bundles: Vec<KeyPackageBundle> =
        provider.storage().list(Kind::KeyPackage, &()).map_err(unreadable)?;
    bundles
        .into_iter()
        .map(|bundle| {
            let reference = bundle.key_package().hash_ref(provider.crypto()).map_err(library)?;
            Ok((reference, bundle))
        })
        .collect()
}

fn library(error: impl std::fmt::Display) -> MlsError {
    MlsError::Library(error.to_string())
}

fn unreadable(error: impl std::fmt::Display) -> MlsError {
    MlsError::Storage(error.to_string())
}

#[cfg(test)]
mod tests {
    use cc_core::{Attachment, CipherLayer as _, GroupLayer as _, MemberId, PartContext, StackId};

    use super::*;
    use crate::MlsIdentity;

    #[test]
    fn making_one_forgets_those_that_expired_a_week_ago() {
        let mut layer = MlsLayer::member(MlsIdentity::generate("Bob").unwrap()).unwrap();
        let member = Some(MemberId::from_bytes([1; 32]));
        let place = Attachment { stack: StackId::of(&[]), position: 0, member, founding: false };
        layer.attach(&place).unwrap();
        let context = PartContext {
            binding: [0; 32],
            position: 0,
            chain: None,
            group_below: false,
            now: None,
        };
        for lifetime in [0, 3600] {
            layer.config = layer.config.clone().with_key_package_lifetime(lifetime);
            let _ = layer.key_package(&context).unwrap();
        }
        layer.apply();
        // One is expired, but not long enough: it is still there although another was made after.
        assert_eq!(layer.key_packages().unwrap().len(), 2);
        let now = layer.provider.clock.now();
        assert_eq!(expired(&layer.provider, now).unwrap().len(), 1);
        assert_eq!(expired(&layer.provider, now + GRACE).unwrap().len(), 2);
    }
}
