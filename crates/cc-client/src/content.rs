//! What messengers send: texts, edits, deletions, reactions, replies, attachments, and what an application
//! adds of its own. The client carries bytes and does not look at them; this is one meaning for
//! them that different applications can share. `docs/client-wire-format.md` has it byte by byte.

use cc_core::{MemberId, Opaque};
use tls_codec::{
    DeserializeBytes as _, SerializeBytes as _, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{Attachment, OperationId};

/// The first byte of every content.
const VERSION: u8 = 1;

/// Bytes of a reaction, and of the name of a custom content.
const MAX_REACTION: usize = 64;
const MAX_NAME: usize = 255;

/// The content of one message.
///
/// ```
/// use cc_client::{Body, Content};
///
/// let content = Content::text("See you at seven").disappearing_after(3600);
/// let bytes = content.encode()?;
/// assert_eq!(Content::decode(&bytes)?, content);
/// # Ok::<(), cc_client::ContentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Seconds after it was read until it is to be forgotten by all who have it; `None` for never. A wish:
    /// nobody can be made to forget.
    pub disappears_after: Option<u32>,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A text.
    Text(String),
    /// Another text for an earlier message of the same sender.
    Edit {
        /// Which.
        of: MessageRef,
        /// The new text.
        text: String,
    },
    /// An earlier message of the same sender is to be forgotten.
    Deletion {
        /// Which.
        of: MessageRef,
    },
    /// What somebody thinks of a message.
    Reaction {
        /// Which.
        to: MessageRef,
        /// An emoji or a word, at most 64 bytes.
        reaction: String,
        /// It is taken back.
        withdrawn: bool,
    },
    /// A text that answers a message.
    Reply {
        /// Which.
        to: MessageRef,
        /// The text.
        text: String,
    },
    /// Data in a log of its own, with a text.
    Attachment {
        /// Where it is.
        attachment: Attachment,
        /// What is said with it.
        text: String,
    },
    /// Something of the application's own.
    Custom {
        /// What it is, in the application's own names; at most 255 bytes.
        name: String,
        /// It.
        bytes: Vec<u8>,
    },
    /// Of a kind that this version does not know: to be shown as such, and kept for one that does.
    Unsupported {
        /// The number of the kind.
        kind: u16,
        /// It.
        bytes: Vec<u8>,
    },
}

/// One message of a group: the sender's own name for it is the sender's, so both name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// Who sent it.
    pub sender: MemberId,
    /// As [`Event::Message`](crate::Event::Message) tells, and for one's own the id of the command.
    pub message: OperationId,
}

/// Why bytes are no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Of a later version: to be shown as unsupported, and kept.
    #[error("content of a later version")]
    Unsupported,
    /// Of none.
    #[error("not content")]
    Malformed,
    /// A reaction of more than 64 bytes, or a name of more than 255.
    #[error("too long")]
    TooLong,
}

impl Content {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Body::Text(text.into()))
    }

    /// What does not disappear.
    #[must_use]
    pub const fn new(body: Body) -> Self {
        Self { disappears_after: None, body }
    }

    /// The same, to be forgotten so many seconds after it was read.
    #[must_use]
    pub fn disappearing_after(self, seconds: u32) -> Self {
        Self { disappears_after: Some(seconds), ..self }
    }

    /// The bytes for [`Command::Send`](crate::Command::Send).
    ///
    /// # Errors
    /// [`ContentError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, ContentError> {
        let too_long = |_| ContentError::TooLong;
        let (kind, body) = self.body.encode()?;
        let wire = Wire { disappears_after: self.disappears_after, kind, body: Opaque(body) };
        let wire = wire.tls_serialize_bytes().map_err(too_long)?;
        Ok([&[VERSION][..], &wire].concat())
    }

    /// What [`encode`](Self::encode) made. Kinds of a later version are [`Body::Unsupported`].
    ///
    /// # Errors
    /// [`ContentError::Unsupported`], [`ContentError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let malformed = |_| ContentError::Malformed;
        match bytes.split_first() {
            Some((&VERSION, wire)) => {
                let wire = Wire::tls_deserialize_exact_bytes(wire).map_err(malformed)?;
                let body = Body::decode(wire.kind, wire.body.0)?;
                Ok(Self { disappears_after: wire.disappears_after, body })
            }
            Some((0, _)) | None => Err(ContentError::Malformed),
            Some(_) => Err(ContentError::Unsupported),
        }
    }
}

/// A content behind its version.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct Wire {
    disappears_after: Option<u32>,
    kind: u16,
    body: Opaque,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireRef {
    sender: [u8; 32],
    message: OperationId,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireTextOn {
    message: WireRef,
    text: Opaque,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireReaction {
    message: WireRef,
    withdrawn: u8,
    reaction: Opaque,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireAttachment {
    attachment: Attachment,
    text: Opaque,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireCustom {
    name: Opaque,
    bytes: Opaque,
}

const TEXT: u16 = 1;
const EDIT: u16 = 2;
const DELETION: u16 = 3;
const REACTION: u16 = 4;
const REPLY: u16 = 5;
const ATTACHMENT: u16 = 6;
const CUSTOM: u16 = 7;

impl Body {
    fn encode(&self) -> Result<(u16, Vec<u8>), ContentError> {
        let opaque = |text: &str| Opaque::from(text.as_bytes());
        let text_on = |on: &MessageRef, text: &str| {
            WireTextOn { message: on.into(), text: opaque(text) }.tls_serialize_bytes()
        };
        let (kind, bytes) = match self {
            Self::Text(text) => (TEXT, Ok(text.clone().into_bytes())),
            Self::Edit { of, text } => (EDIT, text_on(of, text)),
            Self::Deletion { of } => (DELETION, WireRef::from(of).tls_serialize_bytes()),
            Self::Reaction { to, reaction, withdrawn } => {
                if reaction.len() > MAX_REACTION {
                    return Err(ContentError::TooLong);
                }
                let (message, reaction) = (to.into(), opaque(reaction));
                let wire = WireReaction { message, withdrawn: u8::from(*withdrawn), reaction };
                (REACTION, wire.tls_serialize_bytes())
            }
            Self::Reply { to, text } => (REPLY, text_on(to, text)),
            Self::Attachment { attachment, text } => {
                let (attachment, text) = (attachment.clone(), opaque(text));
                (ATTACHMENT, WireAttachment { attachment, text }.tls_serialize_bytes())
            }
            Self::Custom { name, bytes } => {
                if name.len() > MAX_NAME {
                    return Err(ContentError::TooLong);
                }
                let wire = WireCustom { name: opaque(name), bytes: Opaque(bytes.clone()) };
                (CUSTOM, wire.tls_serialize_bytes())
            }
            Self::Unsupported { kind, bytes } => (*kind, Ok(bytes.clone())),
        };
        Ok((kind, bytes.map_err(|_| ContentError::TooLong)?))
    }

    fn decode(kind: u16, bytes: Vec<u8>) -> Result<Self, ContentError> {
        let malformed = |_| ContentError::Malformed;
        Ok(match kind {
            TEXT => Self::Text(text(bytes)?),
            EDIT | REPLY => {
                let wire = WireTextOn::tls_deserialize_exact_bytes(&bytes).map_err(malformed)?;
                let (message, text) = (wire.message.into(), text(wire.text.0)?);
                if kind == EDIT {
                    Self::Edit { of: message, text }
                } else {
                    Self::Reply { to: message, text }
                }
            }
            DELETION => {
                let wire = WireRef::tls_deserialize_exact_bytes(&bytes).map_err(malformed)?;
                Self::Deletion { of: wire.into() }
            }
            REACTION => {
                let wire = WireReaction::tls_deserialize_exact_bytes(&bytes).map_err(malformed)?;
                let withdrawn = match wire.withdrawn {
                    0 => false,
                    1 => true,
                    _ => return Err(ContentError::Malformed),
                };
                if wire.reaction.0.len() > MAX_REACTION {
                    return Err(ContentError::Malformed);
                }
                let (to, reaction) = (wire.message.into(), text(wire.reaction.0)?);
                Self::Reaction { to, reaction, withdrawn }
            }
            ATTACHMENT => {
                let wire = WireAttachment::tls_deserialize_exact_bytes(&bytes);
                let wire = wire.map_err(malformed)?;
                Self::Attachment { attachment: wire.attachment, text: text(wire.text.0)? }
            }
            CUSTOM => {
                let wire = WireCustom::tls_deserialize_exact_bytes(&bytes).map_err(malformed)?;
                if wire.name.0.len() > MAX_NAME {
                    return Err(ContentError::Malformed);
                }
                Self::Custom { name: text(wire.name.0)?, bytes: wire.bytes.0 }
            }
            kind => Self::Unsupported { kind, bytes },
        })
    }
}

pub(crate) fn text(bytes: Vec<u8>) -> Result<String, ContentError> {
    String::from_utf8(bytes).map_err(|_| ContentError::Malformed)
}

impl From<&MessageRef> for WireRef {
    fn from(message: &MessageRef) -> Self {
        Self { sender: *message.sender.as_bytes(), message: message.message }
    }
}

impl From<WireRef> for MessageRef {
    fn from(wire: WireRef) -> Self {
        Self { sender: MemberId::from_bytes(wire.sender), message: wire.message }
    }
}
