//! History for newcomers: what was said before they joined, as a member chooses to tell it.
//!
//! MLS gives a newcomer no keys of the past, and that is a promise. A member who was there may pass on what
//! it read: [`Command::ShareHistory`](crate::Command::ShareHistory). Nothing but the word of that member
//! says that the others ever wrote so; [`Event::Forwarded`](crate::Event::Forwarded) says who passed it on, and
//! [`Timeline`](crate::Timeline) never mixes it with messages that were read first-hand.

use std::io::{self, Read, Write};

use cc_core::{MemberId, Opaque, decode_list, limits::MAX_MESSAGE_LEN};
use tls_codec::{
    DeserializeBytes, Error as CodecError, SerializeBytes, Size as _, TlsDeserializeBytes,
    TlsSerializeBytes, TlsSize,
};

use crate::{Attachment, ContentError, OperationId, content};

/// The media type of an attachment that [`write_history`] made.
pub const HISTORY_MEDIA_TYPE: &str = "application/vnd.cascading-cipher.history";

/// Entries in one message: more are several messages, or an attachment.
pub(crate) const MAX_ENTRIES: usize = 1024;

/// Bytes of a history in one message.
pub(crate) const MAX_LEN: usize = 4 << 20;

/// Members that a history names.
const MAX_MEMBERS: usize = 4096;

/// Bytes of a name.
const MAX_NAME: usize = 255;

/// Earlier messages, passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// For which members, at most 4096; empty for everybody. The others were there themselves, and are not told.
    pub to: Vec<MemberId>,
    /// What.
    pub entries: HistoryEntries,
}

/// Where the messages of a [`History`] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryEntries {
    /// In the message itself: at most 1024, of 4 MiB in all.
    Here(Vec<Forwarded>),
    /// In an attachment, as [`write_history`] makes it.
    Attached(Attachment),
}

/// One message of somebody else's, as whoever passes it on says it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Who is said to have sent it.
    pub sender: MemberId,
    /// What that person is said to have called itself, at most 255 bytes. In an event it is what the person's own
    /// certificate says, where this client has that.
    pub sender_name: String,
    /// The sender's own name for it.
    pub message: OperationId,
    /// When, in milliseconds since 1970.
    pub wall: u64,
    /// The bytes of a [`Content`](crate::Content), or whatever the application sends.
    pub content: Vec<u8>,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct WireForwarded {
    sender: [u8; 32],
    sender_name: Opaque,
    message: OperationId,
    wall: u64,
    content: Opaque,
}

const HERE: u8 = 1;
const ATTACHED: u8 = 2;

impl History {
    /// The bytes that travel, in a frame of their own.
    ///
    /// # Errors
    /// [`ContentError::TooLong`] past a bound.
    pub fn encode(&self) -> Result<Vec<u8>, ContentError> {
        let bytes = self.wire().map_err(|_| ContentError::TooLong)?;
        if bytes.len() > MAX_LEN { Err(ContentError::TooLong) } else { Ok(bytes) }
    }

    fn wire(&self) -> Result<Vec<u8>, CodecError> {
        let to: Vec<[u8; 32]> = self.to.iter().map(|id| *id.as_bytes()).collect();
        if to.len() > MAX_MEMBERS {
            return Err(CodecError::InvalidVectorLength);
        }
        let mut bytes = to.tls_serialize_bytes()?;
        match &self.entries {
            HistoryEntries::Here(entries) => {
                let long = |entry: &Forwarded| entry.sender_name.len() > MAX_NAME;
                if entries.len() > MAX_ENTRIES || entries.iter().any(long) {
                    return Err(CodecError::InvalidVectorLength);
                }
                let entries: Vec<WireForwarded> = entries.iter().map(Forwarded::wire).collect();
                bytes.push(HERE);
                bytes.extend(entries.tls_serialize_bytes()?);
            }
            HistoryEntries::Attached(attachment) => {
                bytes.push(ATTACHED);
                bytes.extend(attachment.tls_serialize_bytes()?);
            }
        }
        Ok(bytes)
    }

    /// What [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`ContentError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        if bytes.len() > MAX_LEN {
            return Err(ContentError::Malformed);
        }
        let (to, rest) =
            decode_list::<[u8; 32]>(bytes, MAX_MEMBERS).map_err(|_| ContentError::Malformed)?;
        let to = to.into_iter().map(MemberId::from_bytes).collect();
        let entries = match rest.split_first() {
            Some((&HERE, rest)) => {
                let entries = decode_list::<WireForwarded>(rest, MAX_ENTRIES);
                let (entries, []) = entries.map_err(|_| ContentError::Malformed)? else {
                    return Err(ContentError::Malformed);
                };
                let entries = entries.into_iter().map(Forwarded::of).collect::<Result<_, _>>();
                HistoryEntries::Here(entries?)
            }
            Some((&ATTACHED, rest)) => HistoryEntries::Attached(
                Attachment::tls_deserialize_exact_bytes(rest)
                    .map_err(|_| ContentError::Malformed)?,
            ),
            _ => return Err(ContentError::Malformed),
        };
        Ok(Self { to, entries })
    }
}

impl Forwarded {
    fn wire(&self) -> WireForwarded {
        WireForwarded {
            sender: *self.sender.as_bytes(),
            sender_name: Opaque::from(self.sender_name.as_bytes()),
            message: self.message,
            wall: self.wall,
            content: Opaque(self.content.clone()),
        }
    }

    fn of(wire: WireForwarded) -> Result<Self, ContentError> {
        if wire.sender_name.0.len() > MAX_NAME {
            return Err(ContentError::Malformed);
        }
        Ok(Self {
            sender: MemberId::from_bytes(wire.sender),
            sender_name: content::text(wire.sender_name.0)?,
            message: wire.message,
            wall: wire.wall,
            content: wire.content.0,
        })
    }
}

/// Writes a history of any length for an [`Upload`](crate::Upload): each entry behind its length, 4 bytes
/// big-endian.
///
/// # Errors
/// Of the writer; [`io::ErrorKind::InvalidInput`] for an entry of more than 256 MiB, or a name of more than
/// 255 bytes.
pub fn write_history<'a>(
    entries: impl IntoIterator<Item = &'a Forwarded>,
    mut writer: impl Write,
) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "too long for a history");
    for entry in entries {
        let wire = entry.wire();
        if wire.tls_serialized_len() > MAX_MESSAGE_LEN || entry.sender_name.len() > MAX_NAME {
            return Err(invalid());
        }
        let bytes = wire.tls_serialize_bytes().map_err(|_| invalid())?;
        let length = u32::try_from(bytes.len()).map_err(|_| invalid())?;
        writer.write_all(&length.to_be_bytes())?;
        writer.write_all(&bytes)?;
    }
    writer.flush()
}

/// Reads what [`write_history`] wrote, one entry after another, in the memory of one entry. After an error
/// there is nothing more.
pub fn read_history(reader: impl Read) -> impl Iterator<Item = io::Result<Forwarded>> {
    HistoryReader { reader, done: false }
}

struct HistoryReader<R> {
    reader: R,
    done: bool,
}

impl<R: Read> HistoryReader<R> {
    fn entry(&mut self) -> io::Result<Option<Forwarded>> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a history");
        let mut length = Vec::new();
        self.reader.by_ref().take(4).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(None);
        }
        let length: [u8; 4] = length.try_into().map_err(|_| malformed())?;
        let length = u32::from_be_bytes(length);
        if usize::try_from(length).map_or(true, |length| length > MAX_MESSAGE_LEN) {
            return Err(malformed());
        }
        // Grows with what is there, not with what is said to be.
        let mut bytes = Vec::new();
        self.reader.by_ref().take(u64::from(length)).read_to_end(&mut bytes)?;
        let wire = WireForwarded::tls_deserialize_exact_bytes(&bytes).map_err(|_| malformed())?;
        Forwarded::of(wire).map(Some).map_err(|_| malformed())
    }
}

impl<R: Read> Iterator for HistoryReader<R> {
    type Item = io::Result<Forwarded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = self.entry().transpose();
        self.done = !matches!(entry, Some(Ok(_)));
        entry
    }
}
