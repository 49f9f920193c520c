//! A decrypted message.

use alloc::vec::Vec;
use core::{fmt, ops::Deref, str};

use cc_core::MemberId;
use zeroize::Zeroizing;

/// A decrypted message: its bytes, and who sent it. The bytes are overwritten when it is dropped and
/// do not show in `Debug`. It compares with byte strings and strings.
pub struct Message {
    bytes: Zeroizing<Vec<u8>>,
    sender: Option<MemberId>,
}

impl Message {
    pub(crate) fn new(bytes: Vec<u8>, sender: Option<MemberId>) -> Self {
        Self { bytes: Zeroizing::new(bytes), sender }
    }

    /// The plaintext.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The plaintext as text.
    ///
    /// # Errors
    /// [`Utf8Error`](str::Utf8Error) where the sender did not send UTF-8.
    pub fn as_str(&self) -> Result<&str, str::Utf8Error> {
        str::from_utf8(&self.bytes)
    }

    /// Who sent it, where a layer authenticates senders.
    #[must_use]
    pub fn sender(&self) -> Option<MemberId> {
        self.sender
    }

    /// The plaintext as a vector of its own, which nobody overwrites any more.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        core::mem::take(&mut *self.bytes)
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Message {
    fn eq(&self, other: &T) -> bool {
        self.as_bytes() == other.as_ref()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes, ..)", self.bytes.len())
    }
}
