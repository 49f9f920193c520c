//! Reading an attachment.

use tls_codec::{DeserializeBytes as _, TlsDeserializeBytes, TlsSize};

use super::{
    Attachment, AttachmentError, Keys, SEGMENT_LEN,
    segment::{self, Layout},
    upload::{RETRY, refused},
};
use crate::{
    Call, Failure, MAX_PAGE_LEN, Page, Position, Read, ReadAccess, Reply, Request, RequestId,
};

/// The version of saved states.
const VERSION: u8 = 1;

/// What a [`Download`] wants.
#[derive(Debug)]
pub enum DownloadStep {
    /// This of the delivery service; the answer goes to [`Download::handle`].
    Send(Request),
    /// Nothing more: all that was given out is the attachment.
    Done,
}

/// An attachment under way from the delivery service: a state machine without I/O, in constant memory (a
/// page). [`run`](Self::run) drives it.
///
/// It gives out no byte that was not made with the attachment's key, for its place. That it is what the
/// *sender* made, and all of it, is known when the last segment comes, which is not given out otherwise:
/// what was given out before an error is to be thrown away.
#[derive(Debug)]
#[must_use = "a download does nothing by itself"]
pub struct Download {
    attachment: Attachment,
    layout: Layout,
    /// The segments that were given out.
    segments: u64,
    chain: [u8; 32],
    waiting: Option<RequestId>,
}

/// A state as it is saved.
#[derive(TlsSize, TlsDeserializeBytes)]
struct Saved {
    /// Of which attachment.
    digest: [u8; 32],
    segments: u64,
    chain: [u8; 32],
}

impl Download {
    /// Begins.
    pub fn new(attachment: Attachment) -> Self {
        let layout = Layout::of(attachment.length);
        let chain = segment::chain_start(&attachment.log);
        Self { attachment, layout, segments: 0, chain, waiting: None }
    }

    /// Goes on from what [`to_bytes`](Self::to_bytes) gave for this attachment: what comes is from
    /// [`offset`](Self::offset) on.
    ///
    /// # Errors
    /// [`AttachmentError::State`] for other bytes.
    pub fn resume(attachment: Attachment, state: &[u8]) -> Result<Self, AttachmentError> {
        let Some((&VERSION, body)) = state.split_first() else {
            return Err(AttachmentError::State);
        };
        let saved = Saved::tls_deserialize_exact_bytes(body).map_err(|_| AttachmentError::State)?;
        let download = Self::new(attachment);
        let finished = saved.segments >= download.layout.segments();
        if saved.digest != download.attachment.digest
            || saved.segments > download.layout.segments()
            || (finished && saved.chain != saved.digest)
        {
            return Err(AttachmentError::State);
        }
        Ok(Self { segments: saved.segments, chain: saved.chain, ..download })
    }

    /// How far it is, 73 bytes. Nothing in it is secret, but who could change it could have another beginning
    /// taken for the attachment's own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let segments = self.segments.to_be_bytes();
        [&[VERSION][..], &self.attachment.digest, &segments, &self.chain].concat()
    }

    /// Bytes that were given out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.segments.saturating_mul(SEGMENT_LEN as u64).min(self.attachment.length)
    }

    /// What is to be done next.
    ///
    /// # Errors
    /// [`AttachmentError::Random`].
    pub fn poll(&mut self) -> Result<DownloadStep, AttachmentError> {
        if self.segments >= self.layout.segments() {
            return Ok(DownloadStep::Done);
        }
        let id = match self.waiting {
            Some(id) => id,
            None => *self.waiting.insert(RequestId::random()?),
        };
        let access = ReadAccess::Token(self.keys().token());
        let (log, after) = (self.attachment.log, Position(self.segments));
        Ok(DownloadStep::Send(Request { id, call: Call::Read(Read { log, after, access }) }))
    }

    /// Takes the service's answer, and appends what it brought to `out`: whole segments, at most 4 MiB.
    /// `Some` gives how many milliseconds to wait before the request is made again.
    ///
    /// # Errors
    /// [`AttachmentError::Rejected`], [`AttachmentError::Incomplete`], and [`AttachmentError::Service`] for a
    /// refusal. The download is as it was, nothing was appended, and a better answer is taken.
    pub fn handle(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        out: &mut Vec<u8>,
    ) -> Result<Option<u64>, AttachmentError> {
        if self.waiting != Some(id) {
            return Ok(None);
        }
        self.waiting = None;
        match result {
            Ok(Reply::Page(page)) => self.page(&page, out),
            Err(Failure::Refused(refusal)) => refused(refusal),
            Ok(_) | Err(Failure::Unknown) => Ok(Some(RETRY)),
        }
    }

    fn page(&mut self, page: &Page, out: &mut Vec<u8>) -> Result<Option<u64>, AttachmentError> {
        let before = self.segments;
        let mut room = MAX_PAGE_LEN;
        for item in &page.items {
            let next = Position(self.segments.saturating_add(1));
            if item.position != next || self.segments >= self.layout.segments() {
                continue;
            }
            if room < SEGMENT_LEN {
                break;
            }
            match self.segment(next, &item.bytes, out) {
                Ok(()) => room -= SEGMENT_LEN,
                // What was good is kept; the bad one is asked for again, and told then.
                Err(_) if self.segments > before => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        if self.segments > before {
            return Ok(None);
        }
        let next = Position(self.segments.saturating_add(1));
        if page.head < next || page.forgotten >= next {
            return Err(AttachmentError::Incomplete);
        }
        // It is said to be there, and was not shown.
        Ok(Some(RETRY))
    }

    fn segment(
        &mut self,
        at: Position,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AttachmentError> {
        let plaintext = self.keys().open(at, self.layout.segment_len(self.segments), sealed)?;
        let chain = segment::chain(&self.chain, sealed);
        if at.0 == self.layout.segments() && chain != self.attachment.digest {
            return Err(AttachmentError::Rejected);
        }
        let left = self.attachment.length.saturating_sub(self.offset());
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        out.extend_from_slice(plaintext.get(..left).unwrap_or(&plaintext));
        (self.segments, self.chain) = (at.0, chain);
        Ok(())
    }

    fn keys(&self) -> Keys {
        Keys { log: self.attachment.log, key: self.attachment.key.duplicate() }
    }

    /// Puts back what [`handle`](Self::handle) gave out, where it could not be written.
    pub(super) fn rewind(&mut self, to: (u64, [u8; 32])) {
        (self.segments, self.chain) = to;
    }

    pub(super) const fn place(&self) -> (u64, [u8; 32]) {
        (self.segments, self.chain)
    }
}
