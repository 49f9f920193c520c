//! Sending an attachment.

use core::fmt;

use cc_core::{Opaque, Secret, SecretBytes};
use tls_codec::{DeserializeBytes as _, SerializeBytes as _, TlsDeserializeBytes, TlsSize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Attachment, AttachmentError, Keys, MAX_ATTACHMENT_LEN, MAX_TEXT, SEGMENT_LEN,
    segment::{self, Layout},
};
use crate::{
    Append, Call, Failure, Follows, LogId, Page, Position, Read, ReadAccess, Refusal, Reply,
    Request, RequestId,
};

/// The version of saved states.
const VERSION: u8 = 1;

/// Milliseconds until a request is tried again that was not answered.
pub(super) const RETRY: u64 = 500;

/// What an [`Upload`] wants.
#[derive(Debug)]
pub enum UploadStep {
    /// The plaintext from this offset on, at most so many bytes at once, by [`Upload::push`]; or
    /// [`Upload::end`], where there is no more.
    Plaintext {
        /// Bytes from the beginning.
        offset: u64,
        /// Bytes that are taken.
        at_most: usize,
    },
    /// This of the delivery service; the answer goes to [`Upload::handle`]. It is the same request, with the
    /// same id, until an answer came.
    Send(Request),
    /// Nothing more: this is to be sent in a message.
    Done(Attachment),
}

/// An attachment under way to the delivery service: a state machine without I/O, in constant memory (about
/// 3 MiB). [`run`](Self::run) drives it.
///
/// [`to_bytes`](Self::to_bytes) gives its state after each segment; an upload that is
/// [resumed](Self::resume) from any of them, in whatever state the log is, comes to the same end.
#[must_use = "an upload does nothing by itself"]
pub struct Upload {
    keys: Keys,
    name: String,
    media_type: String,
    /// The segments that the log has.
    segments: u64,
    chain: [u8; 32],
    /// Bytes of the plaintext, once they are known.
    length: Option<u64>,
    /// The plaintext of the next segment.
    plaintext: Zeroizing<Vec<u8>>,
    waiting: Option<Waiting>,
    /// All of it was sent, and the service has said that it has it from the beginning on.
    kept: bool,
}

/// What is asked of the service.
enum Waiting {
    Append {
        id: RequestId,
        sealed: Vec<u8>,
    },
    /// What the log has: the segment of this place, which an earlier run may have sent, or, behind the last
    /// one, all of them.
    Look {
        id: RequestId,
    },
}

/// A state as it is saved.
#[derive(TlsSize, TlsDeserializeBytes)]
struct Saved {
    log: LogId,
    key: [u8; 32],
    segments: u64,
    chain: [u8; 32],
    length: Option<u64>,
    name: Opaque,
    media_type: Opaque,
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Upload {
    /// Begins an upload, in a log and under a key of its own. The name and the media type are for who reads
    /// it.
    ///
    /// # Errors
    /// [`AttachmentError::TooLong`] for a name or media type of more than 255 bytes,
    /// [`AttachmentError::Random`].
    pub fn new(
        name: impl Into<String>,
        media_type: impl Into<String>,
    ) -> Result<Self, AttachmentError> {
        let (name, media_type) = (name.into(), media_type.into());
        if name.len() > MAX_TEXT || media_type.len() > MAX_TEXT {
            return Err(AttachmentError::TooLong);
        }
        let keys = Keys { log: LogId::random()?, key: Secret::random()? };
        let chain = segment::chain_start(&keys.log);
        Ok(Self::at(keys, name, media_type, 0, chain, None))
    }

    /// Goes on from what [`to_bytes`](Self::to_bytes) gave. The plaintext is wanted again from
    /// [`offset`](Self::offset) on.
    ///
    /// # Errors
    /// [`AttachmentError::State`] for other bytes.
    pub fn resume(state: &SecretBytes) -> Result<Self, AttachmentError> {
        let Some((&VERSION, body)) = state.expose().split_first() else {
            return Err(AttachmentError::State);
        };
        let saved = Saved::tls_deserialize_exact_bytes(body).map_err(|_| AttachmentError::State)?;
        let text = |text: &Opaque| String::from_utf8(text.0.clone());
        let name = text(&saved.name).map_err(|_| AttachmentError::State)?;
        let media_type = text(&saved.media_type).map_err(|_| AttachmentError::State)?;
        let most = MAX_ATTACHMENT_LEN.div_ceil(SEGMENT_LEN as u64) * 2;
        if saved.segments > most || saved.length.is_some_and(|length| length > MAX_ATTACHMENT_LEN) {
            return Err(AttachmentError::State);
        }
        let keys = Keys { log: saved.log, key: Secret::take(&mut { saved.key }) };
        Ok(Self::at(keys, name, media_type, saved.segments, saved.chain, saved.length))
    }

    fn at(
        keys: Keys,
        name: String,
        media_type: String,
        segments: u64,
        chain: [u8; 32],
        length: Option<u64>,
    ) -> Self {
        // All of it at once, so that growing leaves no copy behind.
        let plaintext = Zeroizing::new(Vec::with_capacity(SEGMENT_LEN));
        let (waiting, kept) = (None, false);
        Self { keys, name, media_type, segments, chain, length, plaintext, waiting, kept }
    }

    /// The state after the last segment that the log has. It holds the key: keep it where keys are kept.
    ///
    /// # Errors
    /// [`AttachmentError::TooLong`], which the checks of [`new`](Self::new) exclude.
    pub fn to_bytes(&self) -> Result<SecretBytes, AttachmentError> {
        // What `Saved` reads, in one allocation: those of fields of their own would leave the key behind.
        let [name, media_type] = [&self.name, &self.media_type]
            .map(|text| Opaque::from(text.as_bytes()).tls_serialize_bytes());
        let length = self.length.tls_serialize_bytes();
        let too_long = |_| AttachmentError::TooLong;
        let (name, media_type) = (name.map_err(too_long)?, media_type.map_err(too_long)?);
        let bytes = [
            &[VERSION][..],
            self.keys.log.as_bytes(),
            self.keys.key.expose(),
            &self.segments.to_be_bytes(),
            &self.chain,
            &length.map_err(too_long)?,
            &name,
            &media_type,
        ]
        .concat();
        Ok(SecretBytes::new(bytes))
    }

    /// Where in the plaintext the next [`push`](Self::push) belongs, in bytes from the beginning.
    #[must_use]
    pub fn offset(&self) -> u64 {
        let sent = self.segments.saturating_mul(SEGMENT_LEN as u64);
        let here = sent.saturating_add(u64::try_from(self.plaintext.len()).unwrap_or(u64::MAX));
        self.length.map_or(here, |length| here.min(length))
    }

    pub(super) const fn segments(&self) -> u64 {
        self.segments
    }

    /// What is to be done next.
    ///
    /// # Errors
    /// [`AttachmentError::Random`], [`AttachmentError::Cipher`].
    pub fn poll(&mut self) -> Result<UploadStep, AttachmentError> {
        if let Some(length) = self.length {
            if self.kept {
                return Ok(UploadStep::Done(self.attachment(length)));
            }
            if self.waiting.is_none() && self.segments >= Layout::of(length).segments() {
                self.waiting = Some(Waiting::Look { id: RequestId::random()? });
            }
            if self.waiting.is_none() && self.offset() == length {
                // What is left is padding.
                self.seal()?;
            }
        }
        Ok(match &self.waiting {
            Some(waiting) => UploadStep::Send(self.request(waiting)),
            None => UploadStep::Plaintext { offset: self.offset(), at_most: self.room() },
        })
    }

    /// Takes plaintext from the [offset](Self::offset) on, and gives how many bytes of it were taken: fewer
    /// where a segment is full, none while the service is waited for.
    ///
    /// # Errors
    /// [`AttachmentError::TooLong`] beyond [`MAX_ATTACHMENT_LEN`], [`AttachmentError::Random`],
    /// [`AttachmentError::Cipher`].
    pub fn push(&mut self, plaintext: &[u8]) -> Result<usize, AttachmentError> {
        let taken = plaintext.get(..self.room()).unwrap_or(plaintext);
        let after = self.offset().saturating_add(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        if after > MAX_ATTACHMENT_LEN {
            return Err(AttachmentError::TooLong);
        }
        self.plaintext.extend_from_slice(taken);
        if !taken.is_empty() && (self.room() == 0) {
            self.seal()?;
        }
        Ok(taken.len())
    }

    /// There is no more plaintext.
    ///
    /// # Errors
    /// [`AttachmentError::Changed`] where an earlier run had more, [`AttachmentError::Random`],
    /// [`AttachmentError::Cipher`].
    pub fn end(&mut self) -> Result<(), AttachmentError> {
        if self.waiting.is_some() {
            return Ok(());
        }
        let length = self.offset();
        match self.length {
            Some(known) if known != length => return Err(AttachmentError::Changed),
            _ => self.length = Some(length),
        }
        if self.segments < Layout::of(length).segments() { self.seal() } else { Ok(()) }
    }

    /// Takes the service's answer. `Some` gives how many milliseconds to wait before the request is made
    /// again.
    ///
    /// # Errors
    /// [`AttachmentError::Service`] for a refusal; [`AttachmentError::Changed`] where the log has something
    /// else in the place of the next segment than the plaintext that was pushed;
    /// [`AttachmentError::Incomplete`] where the log lost what it had, and [`AttachmentError::NotKept`] where it
    /// has forgotten the beginning. The upload is as it was.
    pub fn handle(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
    ) -> Result<Option<u64>, AttachmentError> {
        let next = Position(self.segments.saturating_add(1));
        match (self.waiting.take(), result) {
            (Some(Waiting::Append { id: of, sealed }), Ok(Reply::Appended(at))) if of == id => {
                if at != next {
                    self.waiting = Some(Waiting::Append { id: of, sealed });
                    return Err(AttachmentError::Rejected);
                }
                self.sent(&sealed);
                Ok(None)
            }
            (Some(Waiting::Append { id: of, sealed }), Err(Failure::Refused(refusal)))
                if of == id =>
            {
                match refusal {
                    Refusal::Conflict { head } if head >= next => {
                        self.waiting = Some(Waiting::Look { id: RequestId::random()? });
                        Ok(None)
                    }
                    refusal => {
                        self.waiting = Some(Waiting::Append { id: of, sealed });
                        refused(refusal)
                    }
                }
            }
            (Some(Waiting::Look { id: of }), Ok(Reply::Page(page))) if of == id => {
                self.waiting = Some(Waiting::Look { id: of });
                self.looked(&page, next)
            }
            (Some(Waiting::Look { id: of }), Err(Failure::Refused(refusal))) if of == id => {
                self.waiting = Some(Waiting::Look { id: of });
                refused(refusal)
            }
            // No answer, one of another kind, or to a request that is over.
            (waiting, _) => {
                self.waiting = waiting;
                Ok(self.waiting.is_some().then_some(RETRY))
            }
        }
    }

    /// The log has a segment where the next one is to go. It is taken for ours if it is the plaintext that
    /// we have; then an earlier run sent it. Behind the last one it is enough that nothing is missing.
    fn looked(&mut self, page: &Page, next: Position) -> Result<Option<u64>, AttachmentError> {
        // Nobody could read it, whatever else is there.
        if page.forgotten > Position::START {
            return Err(AttachmentError::NotKept);
        }
        if self.length.is_some_and(|length| self.segments >= Layout::of(length).segments()) {
            if page.head < Position(self.segments) {
                return Err(AttachmentError::Incomplete);
            }
            (self.kept, self.waiting) = (true, None);
            return Ok(None);
        }
        let Some(item) = page.items.iter().find(|item| item.position == next) else {
            return Ok(Some(RETRY));
        };
        let opened = self.keys.open(next, self.plaintext.len(), &item.bytes);
        match opened {
            Ok(opened) if opened == self.plaintext => {
                self.sent(&item.bytes);
                Ok(None)
            }
            Ok(_) | Err(AttachmentError::Rejected) => Err(AttachmentError::Changed),
            Err(error) => Err(error),
        }
    }

    fn sent(&mut self, sealed: &[u8]) {
        self.chain = segment::chain(&self.chain, sealed);
        self.segments = self.segments.saturating_add(1);
        self.plaintext.clear();
        self.waiting = None;
    }

    /// Bytes that the next segment still takes.
    fn room(&self) -> usize {
        if self.waiting.is_some() {
            return 0;
        }
        let segment = SEGMENT_LEN.saturating_sub(self.plaintext.len());
        let left = self.length.map(|length| length.saturating_sub(self.offset()));
        left.and_then(|left| usize::try_from(left).ok()).map_or(segment, |left| left.min(segment))
    }

    fn seal(&mut self) -> Result<(), AttachmentError> {
        if let Some(length) = self.length {
            self.plaintext.resize(Layout::of(length).segment_len(self.segments), 0);
        }
        let id = RequestId::random()?;
        let at = Position(self.segments.saturating_add(1));
        let sealed = self.keys.seal(at, &self.plaintext)?;
        self.waiting = Some(Waiting::Append { id, sealed });
        Ok(())
    }

    fn request(&self, waiting: &Waiting) -> Request {
        let (log, after) = (self.keys.log, Position(self.segments));
        match waiting {
            Waiting::Append { id, sealed } => Request {
                id: *id,
                call: Call::Append(Append {
                    log,
                    access: Some(self.keys.token()),
                    commit: Some(Follows { after, next: None }),
                    items: vec![sealed.clone()],
                }),
            },
            Waiting::Look { id } => {
                let access = ReadAccess::Token(self.keys.token());
                Request { id: *id, call: Call::Read(Read { log, after, access }) }
            }
        }
    }

    fn attachment(&self, length: u64) -> Attachment {
        Attachment {
            log: self.keys.log,
            key: self.keys.key.duplicate(),
            length,
            digest: self.chain,
            name: self.name.clone(),
            media_type: self.media_type.clone(),
        }
    }
}

/// What a refusal means to who asks for an attachment's log.
pub(super) fn refused(refusal: Refusal) -> Result<Option<u64>, AttachmentError> {
    match refusal {
        Refusal::Busy { retry_after } => Ok(Some(retry_after)),
        // An earlier place is the last one: the log lost what it had.
        Refusal::Conflict { .. } | Refusal::Gone => Err(AttachmentError::Incomplete),
        refusal => Err(Failure::Refused(refusal).into()),
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("log", &self.keys.log)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}
