//! Secret bytes: zeroized on drop, redacted in `Debug`, compared in constant time.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes.
///
/// The bytes live on the heap, so that moving the value does not leave copies on the stack, and are
/// overwritten when it is dropped. There is no `Clone`: where a protocol needs a second copy,
/// [`Secret::duplicate`] says so in the source.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// All bytes zero, to be filled through [`Secret::expose_mut`].
    #[must_use]
    pub fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }

    /// Takes the bytes over and overwrites the caller's array.
    #[must_use]
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        bytes.as_mut_slice().zeroize();
        secret
    }

    /// Copies `bytes`, or gives `None` where there are not exactly `N` of them.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != N {
            return None;
        }
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// `N` bytes from the operating system's generator.
    ///
    /// # Errors
    /// [`RandomError`](crate::RandomError) when the generator fails.
    pub fn random() -> Result<Self, crate::RandomError> {
        let mut secret = Self::zeroed();
        crate::random::fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes themselves, to be written.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// A second copy, where the protocol needs one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        // Not a clone of the box, which may pass by the stack.
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(self.0.as_slice());
        secret
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        // As for an array, which takes a step for every byte.
        self.0.as_mut_slice().zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&*other.0)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

/// Secret bytes of any length. The same promises as [`Secret`].
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over. Spare capacity is overwritten on drop as well.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second copy, where the protocol needs one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // As `Vec::zeroize`, which takes a step for every byte.
        self.0.as_mut_slice().zeroize();
        self.0.spare_capacity_mut().zeroize();
    }
}

impl ZeroizeOnDrop for SecretBytes {}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes, ..)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn debug_shows_no_bytes() {
        let secret = Secret::<4>::copy_from(&[0xab; 4]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret<4>(..)");
        let bytes = SecretBytes::new(alloc::vec![0xab; 4]);
        assert_eq!(format!("{bytes:?}"), "SecretBytes(4 bytes, ..)");
    }

    #[test]
    fn take_overwrites_the_source() {
        let mut source = [7; 16];
        let secret = Secret::take(&mut source);
        assert_eq!(source, [0; 16]);
        assert_eq!(secret.expose(), &[7; 16]);
    }

    #[test]
    fn wrong_length_is_no_secret() {
        assert!(Secret::<32>::copy_from(&[0; 31]).is_none());
        assert!(Secret::<32>::copy_from(&[0; 33]).is_none());
    }

    #[test]
    fn equality_is_of_content() {
        let a = Secret::<32>::random().unwrap();
        assert_eq!(a, a.duplicate());
        assert_ne!(a, Secret::<32>::random().unwrap());
    }
}
