//! Decrypted bytes on a terminal.

use std::io::{self, Write};

use crate::error::OutputError;

/// Lets through text alone: UTF-8 without control characters but tab and line ends. Anything else could
/// change what the terminal shows, or do more than that.
pub(crate) struct TextOnly<W> {
    writer: W,
    /// The beginning of a character whose end has not come: at most 3 bytes.
    begun: Vec<u8>,
}

impl<W: Write> TextOnly<W> {
    pub(crate) const fn new(writer: W) -> Self {
        Self { writer, begun: Vec::new() }
    }

    /// Says that there is no more, by which a character that has begun is incomplete.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.begun.is_empty() { Ok(()) } else { Err(no_text()) }
    }
}

impl<W: Write> Write for TextOnly<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let valid = match std::str::from_utf8(&text) {
            Ok(valid) => valid,
            // The end is missing, and nothing is wrong.
            Err(error) if error.error_len().is_none() => {
                let (front, begun) =
                    text.split_at_checked(error.valid_up_to()).ok_or_else(no_text)?;
                self.begun = begun.to_vec();
                std::str::from_utf8(front).map_err(|_| no_text())?
            }
            Err(_) => return Err(no_text()),
        };
        if valid.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r')) {
            return Err(no_text());
        }
        self.writer.write_all(valid.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn no_text() -> io::Error {
    io::Error::other(OutputError::NoText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_in_any_pieces_and_nothing_else_does() {
        let text = "Grüße, 🌍!\n\tπ\r\n";
        for piece in 1..8 {
            let mut out = Vec::new();
            let mut writer = TextOnly::new(&mut out);
            text.as_bytes().chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
            writer.finish().unwrap();
            assert_eq!(out, text.as_bytes());
        }
        for bytes in
            [&b"\x1b[2J"[..], b"\0", b"a\x07", b"\xff", b"\xc3x", b"\x7f", "\u{9b}".as_bytes()]
        {
            assert!(TextOnly::new(Vec::new()).write_all(bytes).is_err(), "{bytes:?}");
        }
        let mut writer = TextOnly::new(Vec::new());
        writer.write_all(b"a\xf0\x9f").unwrap();
        assert!(writer.finish().is_err());
    }
}
