//! Key package bundles of others: a look at them before they are added, and which one an error is about.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::any::type_name;

use cc_core::{CipherLayer, MemberId};

use crate::{CascadingCipherManager, Error, change_parts::NewBundle, stack::Stack};

/// What a key package bundle says of who made it. The layers have verified that it was made by whoever
/// has the member's keys, as far as they can tell without a group. A name is whatever its owner chose, so
/// compare the id, or what a layer gives out for people to compare, with what the person says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct KeyPackageView {
    /// The member: the digest of all its long-lived keys in the bundle.
    pub id: MemberId,
    /// The names in the credentials, by layer from the bottom, each once. Two different ones are a
    /// reason to refuse.
    pub names: Vec<String>,
    /// The earliest expiry of all layers' parts in seconds since 1970, `None` where none expires.
    pub expires: Option<u64>,
    /// Whether a member with this id is in the group now.
    pub is_member: bool,
}

impl CascadingCipherManager {
    /// Looks at somebody's key package bundle before it is [added](Self::add_members), and lets each
    /// layer verify its part. Nothing is staged.
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`]; [`Error::KeyPackage`] with index 0 for bytes that are malformed, of
    /// another stack, or do not verify.
    pub fn inspect_key_package(&self, bundle: impl AsRef<[u8]>) -> Result<KeyPackageView, Error> {
        self.expect_group_layer()?;
        inspect(&self.stack, bundle.as_ref()).map_err(|error| Error::of_key_package(0, error))
    }

    /// Whose a key package bundle says it is. Nothing of it is verified, so that the answer for one that was
    /// [looked at](Self::inspect_key_package) before is the same whatever the time is.
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`]; [`Error::KeyPackage`] with index 0 for bytes that are malformed or of another
    /// stack.
    pub fn key_package_member(&self, bundle: impl AsRef<[u8]>) -> Result<MemberId, Error> {
        self.expect_group_layer()?;
        let read = NewBundle::read(&self.stack, bundle.as_ref());
        Ok(read.map_err(|error| Error::of_key_package(0, error))?.id)
    }

    /// What the layer of type `T` (of several, the bottommost) has in a key package bundle, for who knows how to
    /// read that. Nothing of it is verified: [look](Self::inspect_key_package) at the bundle first.
    ///
    /// # Errors
    /// [`Error::NoLayerOfType`] where the stack has no such layer, or it knows no groups; and as
    /// [`key_package_member`](Self::key_package_member).
    pub fn key_package_part<T: CipherLayer>(
        &self,
        bundle: impl AsRef<[u8]>,
    ) -> Result<Vec<u8>, Error> {
        self.expect_group_layer()?;
        let read = NewBundle::read(&self.stack, bundle.as_ref());
        let bundle = read.map_err(|error| Error::of_key_package(0, error))?;
        let position = self.position_of::<T>();
        let part = position.and_then(|position| bundle.into_part(position));
        part.ok_or(Error::NoLayerOfType(type_name::<T>()))
    }
}

fn inspect(stack: &Stack, bundle: &[u8]) -> Result<KeyPackageView, Error> {
    let bundle = NewBundle::read(stack, bundle)?;
    let (mut names, mut expires) = (Vec::new(), None::<u64>);
    for info in bundle.verify(stack)? {
        if let Some(name) = info.name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
        expires = match (expires, info.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    let is_member = stack.member_ids().contains(&bundle.id);
    Ok(KeyPackageView { id: bundle.id, names, expires, is_member })
}

/// Reads all bundles of a list.
///
/// # Errors
/// [`Error::KeyPackage`] for the first that is malformed.
pub(crate) fn read_all<'a>(
    stack: &Stack,
    bundles: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<NewBundle>, Error> {
    let read = |(index, bundle)| {
        NewBundle::read(stack, bundle).map_err(|error| Error::of_key_package(index, error))
    };
    bundles.enumerate().map(read).collect()
}

/// Which bundle an error of a layer is about: that of the member whom the layer names, or the only one.
pub(crate) fn blame(error: Error, bundles: &[NewBundle]) -> Error {
    let Error::Layer { source, .. } = &error else { return error };
    let index = match (source.member(), bundles) {
        (Some(member), _) => bundles.iter().position(|bundle| bundle.id == member),
        (None, [_]) if error.is_rejected() => Some(0),
        _ => None,
    };
    let Some((index, bundle)) = index.and_then(|index| Some((index, bundles.get(index)?))) else {
        return error;
    };
    Error::KeyPackage { index, member: Some(bundle.id), source: Box::new(error) }
}
