//! Loops that block: the shortest way to send and read an attachment.

use std::{
    io::{ErrorKind, Read, Write},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{Attachment, AttachmentError, Download, DownloadStep, Upload, UploadStep};
use crate::{DeliveryService, Failure};

/// Answers that did not come, one after another, before the caller is told.
const ATTEMPTS: u32 = 8;

/// Milliseconds that are waited for the next attempt at the most.
const MAX_PAUSE: u64 = 2_000;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

impl Upload {
    /// Sends all that `reader` has, which stands at [`offset`](Self::offset), and gives what is to be sent
    /// in a message.
    ///
    /// # Errors
    /// [`AttachmentError`]. Where the service is to blame, or the reader, the upload can go on later:
    /// [`resume`](Self::resume) it.
    pub fn run<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
        mut reader: impl Read,
    ) -> Result<Attachment, AttachmentError> {
        loop {
            if let Some(attachment) = self.advance(service, &mut reader)? {
                return Ok(attachment);
            }
        }
    }

    /// Sends one more segment, for who keeps the state after each; gives the attachment after the last.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn advance<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
        mut reader: impl Read,
    ) -> Result<Option<Attachment>, AttachmentError> {
        let mut patience = Patience::default();
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let before = self.segments();
        loop {
            match self.poll()? {
                UploadStep::Done(attachment) => return Ok(Some(attachment)),
                _ if self.segments() > before => return Ok(None),
                UploadStep::Plaintext { at_most, .. } => {
                    let wanted = at_most.min(PIECE);
                    match reader.read(piece.get_mut(..wanted).unwrap_or_default()) {
                        Ok(0) => self.end()?,
                        Ok(count) => {
                            let _taken = self.push(piece.get(..count).unwrap_or_default())?;
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                UploadStep::Send(request) => {
                    let result = request.perform(service);
                    let failure = result.as_ref().err().copied();
                    match self.handle(request.id, result)? {
                        None => patience = Patience::default(),
                        Some(pause) => patience.wait(pause, failure)?,
                    }
                }
            }
        }
    }
}

impl Download {
    /// Writes the attachment from [`offset`](Self::offset) on into `writer`, and gives its length. Give a
    /// file its name only when this succeeds.
    ///
    /// # Errors
    /// [`AttachmentError`]. Where the service is to blame, or the writer, the download can go on later, with a
    /// writer that stands at [`offset`](Self::offset).
    pub fn run<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
        mut writer: impl Write,
    ) -> Result<u64, AttachmentError> {
        while self.advance(service, &mut writer)? {}
        writer.flush()?;
        Ok(self.offset())
    }

    /// Reads a few more segments, for who keeps the state in between; `false` at the end.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn advance<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
        mut writer: impl Write,
    ) -> Result<bool, AttachmentError> {
        let mut patience = Patience::default();
        let mut out = Zeroizing::new(Vec::new());
        loop {
            let DownloadStep::Send(request) = self.poll()? else { return Ok(false) };
            let before = self.place();
            let result = request.perform(service);
            let failure = result.as_ref().err().copied();
            match self.handle(request.id, result, &mut out)? {
                None => {
                    if let Err(error) = writer.write_all(&out) {
                        self.rewind(before);
                        return Err(error.into());
                    }
                    return Ok(true);
                }
                Some(pause) => patience.wait(pause, failure)?,
            }
        }
    }
}

#[derive(Default)]
struct Patience {
    attempts: u32,
}

impl Patience {
    fn wait(&mut self, pause: u64, failure: Option<Failure>) -> Result<(), AttachmentError> {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            return Err(AttachmentError::Service(failure.unwrap_or(Failure::Unknown)));
        }
        // A thread of a browser cannot sleep.
        if cfg!(not(all(target_family = "wasm", target_os = "unknown"))) {
            std::thread::sleep(Duration::from_millis(pause.min(MAX_PAUSE)));
        }
        Ok(())
    }
}
