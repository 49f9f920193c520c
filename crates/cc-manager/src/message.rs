//! A decrypted message.

use alloc::vec::Vec;
use core::{fmt, ops::Deref, str};

use cc_core::{Buffer, MemberId, Opened};

/// A decrypted message: its bytes, and who sent it. The bytes are overwritten when it is dropped and
/// do not show in `Debug`. It compares with byte strings and strings.
pub struct Message {
    /// As the layers left it, for a message may be large.
    bytes: Buffer,
    opened: Opened,
    id: Option<MessageId>,
}

/// The number of a message in a manager's inbox: the later it was received, the greater. It is never
/// given to another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MessageId(pub(crate) u64);

impl MessageId {
    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The message with this number, as [`as_u64`](Self::as_u64) gave it.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl Message {
    pub(crate) fn new(bytes: Buffer, opened: Opened) -> Self {
        Self { bytes, opened, id: None }
    }

    pub(crate) fn received(self, id: MessageId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same, not in the inbox.
    pub(crate) fn without_id(self) -> Self {
        Self { id: None, ..self }
    }

    /// Its number in the inbox, to be
    /// [acknowledged](crate::CascadingCipherManager::acknowledge); `None` without a store.
    #[must_use]
    pub const fn id(&self) -> Option<MessageId> {
        self.id
    }

    /// The plaintext.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The plaintext as text.
    ///
    /// # Errors
    /// [`Utf8Error`](str::Utf8Error) where the sender did not send UTF-8.
    pub fn as_str(&self) -> Result<&str, str::Utf8Error> {
        str::from_utf8(self.as_bytes())
    }

    /// Who sent it, where a layer authenticates senders.
    #[must_use]
    pub fn sender(&self) -> Option<MemberId> {
        self.opened.sender
    }

    /// The name in the sender's credential, where a layer has one. Names are not unique, and whoever
    /// added the member had to find out whether the name is theirs.
    #[must_use]
    pub fn sender_name(&self) -> Option<&str> {
        self.opened.sender_name.as_deref()
    }

    /// The epoch of the group whose keys opened the message; `None` in a stack without group layers.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.opened.epoch
    }

    /// The plaintext as a vector of its own, which nobody overwrites any more. It is moved to the front
    /// of the allocation that it is in: [`as_bytes`](Self::as_bytes) costs nothing.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_vec()
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
