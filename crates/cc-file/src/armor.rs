//! Armour: a file as text, for where bytes do not go.
//!
//! ```text
//! -----BEGIN CASCADE FILE-----
//! base64 (RFC 4648 section 4), lines of 64 characters, the last one shorter where it must be
//! -----END CASCADE FILE-----
//! ```
//!
//! Lines end with LF or CR LF. The reader is strict: nothing in front, no other line length, the padding
//! that RFC 4648 demands and zero bits in front of it, and nothing but up to 1 024 bytes of white space
//! behind. A file has one armour, but for the line ends.

use std::{
    fmt,
    io::{self, BufRead, ErrorKind, Read, Write},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::FileError;

/// Writes bytes as armour. What is not [finished](ArmorWriter::finish) is not complete.
#[must_use = "armour that is not finished has no end"]
pub struct ArmorWriter<W> {
    writer: W,
    /// Fewer bytes than a line has.
    pending: Vec<u8>,
    text: String,
}

impl<W: Write> ArmorWriter<W> {
    /// Writes the first line.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(mut writer: W) -> io::Result<Self> {
        writer.write_all(BEGIN)?;
        writer.write_all(b"\n")?;
        Ok(Self { writer, pending: Vec::with_capacity(LINE_BYTES), text: String::new() })
    }

    /// Writes the last lines, flushes, and gives the inner writer back.
    ///
    /// # Errors
    /// Of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.write_lines(&pending)?;
        }
        self.writer.write_all(END)?;
        self.writer.write_all(b"\n")?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn write_lines(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.clear();
        for line in bytes.chunks(LINE_BYTES) {
            STANDARD.encode_string(line, &mut self.text);
            self.text.push('\n');
        }
        self.writer.write_all(self.text.as_bytes())
    }
}

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..bytes.len().min(MAX_PIECE)).unwrap_or_default();
        let mut rest = bytes;
        if !self.pending.is_empty() {
            let missing = LINE_BYTES.saturating_sub(self.pending.len()).min(rest.len());
            let (front, behind) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            self.pending.extend_from_slice(front);
            rest = behind;
            if self.pending.len() == LINE_BYTES {
                let line = std::mem::take(&mut self.pending);
                self.write_lines(&line)?;
            }
        }
        let whole = rest.len() - rest.len() % LINE_BYTES;
        let (lines, behind) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        if !lines.is_empty() {
            self.write_lines(lines)?;
        }
        self.pending.extend_from_slice(behind);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Reads armour and gives its bytes. Wrong armour is an error, [`FileError::Armor`] inside; armour that
/// ends before its last line is [`FileError::Incomplete`].
pub struct ArmorReader<R> {
    reader: R,
    place: Place,
    line: Vec<u8>,
    /// Bytes of the line that was read last, and how many of them were given out.
    bytes: [u8; LINE_BYTES],
    given: usize,
    filled: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    Body,
    /// After a line that is the last by its length or padding.
    LastLine,
    End,
    Failed,
}

impl<R: BufRead> ArmorReader<R> {
    /// Reads armour from here on.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            place: Place::Begin,
            line: Vec::with_capacity(MAX_LINE),
            bytes: [0; LINE_BYTES],
            given: 0,
            filled: 0,
        }
    }

    /// Reads lines until there are bytes, or the end.
    fn advance(&mut self) -> Result<(), FileError> {
        while self.given == self.filled && self.place != Place::End {
            self.read_line()?;
            let line = self.line.as_slice();
            match self.place {
                Place::Begin if line == BEGIN => self.place = Place::Body,
                Place::Begin => {
                    return Err(FileError::Armor("the first line is not that of a file"));
                }
                Place::Body | Place::LastLine if line == END => {
                    self.check_behind()?;
                    self.place = Place::End;
                }
                Place::Body => {
                    self.filled = STANDARD
                        .decode_slice(line, &mut self.bytes)
                        .map_err(|_| FileError::Armor("a line that is not base64"))?;
                    self.given = 0;
                    if self.filled == 0 {
                        return Err(FileError::Armor("an empty line"));
                    }
                    if self.filled < LINE_BYTES {
                        self.place = Place::LastLine;
                    }
                }
                Place::LastLine => {
                    return Err(FileError::Armor("a line after one that is not full"));
                }
                Place::End | Place::Failed => {
                    return Err(FileError::Armor("reading has failed before"));
                }
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    fn read_line(&mut self) -> Result<(), FileError> {
        self.line.clear();
        loop {
            let buffer = fill_buf(&mut self.reader)?;
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(buffer.len());
            if self.line.len() + taken > MAX_LINE {
                return Err(FileError::Armor("a line that is too long"));
            }
            self.line.extend_from_slice(buffer.get(..taken).unwrap_or_default());
            self.reader.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                return Ok(());
            }
        }
        // Only the last line may go without its end.
        if self.line == END { Ok(()) } else { Err(FileError::Incomplete) }
    }

    fn check_behind(&mut self) -> Result<(), FileError> {
        let mut total = 0usize;
        loop {
            let buffer = fill_buf(&mut self.reader)?;
            if buffer.is_empty() {
                return Ok(());
            }
            total = total.saturating_add(buffer.len());
            if total > MAX_BEHIND || !buffer.iter().all(u8::is_ascii_whitespace) {
                return Err(FileError::TrailingBytes);
            }
            let len = buffer.len();
            self.reader.consume(len);
        }
    }
}

fn fill_buf<R: BufRead>(reader: &mut R) -> Result<&[u8], FileError> {
    // Asked again, for the buffer cannot be given out of the loop.
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reader.fill_buf()?)
}

impl<R: BufRead> Read for ArmorReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if let Err(error) = self.advance() {
            self.place = Place::Failed;
            return Err(error.into_io());
        }
        let rest = self.bytes.get(self.given..self.filled).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        let (Some(to), Some(from)) = (bytes.get_mut(..count), rest.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.given += count;
        Ok(count)
    }
}

/// A file that may be armoured: told by its first byte.
#[derive(Debug)]
pub enum MaybeArmored<R> {
    /// As it is.
    Binary(R),
    /// Under armour.
    Armored(ArmorReader<R>),
}

impl<R: BufRead> MaybeArmored<R> {
    /// Looks at the first byte, and takes nothing from the reader.
    ///
    /// # Errors
    /// Of the reader.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let first = fill_buf(&mut reader).map_err(FileError::into_io)?.first().copied();
        Ok(if first == BEGIN.first().copied() {
            Self::Armored(ArmorReader::new(reader))
        } else {
            Self::Binary(reader)
        })
    }
}

impl<R: BufRead> Read for MaybeArmored<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Binary(reader) => reader.read(bytes),
            Self::Armored(reader) => reader.read(bytes),
        }
    }
}

impl<W> fmt::Debug for ArmorWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArmorWriter(..)")
    }
}

impl<R> fmt::Debug for ArmorReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArmorReader(..)")
    }
}

const BEGIN: &[u8] = b"-----BEGIN CASCADE FILE-----";
const END: &[u8] = b"-----END CASCADE FILE-----";
/// Bytes in a full line, of 64 characters.
const LINE_BYTES: usize = 48;
/// The longest line, with a CR.
const MAX_LINE: usize = 65;
/// White space behind the last line.
const MAX_BEHIND: usize = 1024;
/// Bytes that are turned into text at once.
const MAX_PIECE: usize = 64 << 10;
