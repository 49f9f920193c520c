//! `cascade decrypt`.

use std::{
    fmt,
    io::{self, IsTerminal as _, Read as _, SeekFrom, Write as _},
    path::PathBuf,
    str::FromStr,
};

use cc_file::{FileError, FileKey, Header, MaybeArmored};
use clap::Args;

use super::{
    encrypt::threads,
    input::Input,
    keys,
    output::Output,
    passphrase::{self, Source},
    progress,
    terminal::TextOnly,
};
use crate::error::CliError;

/// Decrypt a file or standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
What you give is demanded: with -i and -p, a file that needs only one of them is refused.

The output gets its name only when all of the input has been checked. In a pipe, what comes out is
genuine, but it may be the beginning only: look at the exit status.

Examples:
  cascade decrypt -i key.txt -o report.pdf report.pdf.cascade
  cascade decrypt -i key.txt < backup.cascade | tar x
  cascade decrypt -i key.txt --range 1000000..1000100 disk.img.cascade")]
pub(crate) struct Arguments {
    /// A file with your secret keys, as cascade keygen makes it; may be repeated.
    #[arg(short, long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// Demand that the input is under a passphrase. You are asked for it in any case.
    #[arg(short, long)]
    passphrase: bool,
    /// Take the passphrase from the first line of this file (- for standard input).
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Take the passphrase of key files from the first line of this file.
    #[arg(long, value_name = "FILE")]
    key_passphrase_file: Option<PathBuf>,
    /// Accept passphrases that take up to 1 GiB of memory and 16 passes to check.
    #[arg(long)]
    accept_cost: bool,
    /// Decrypt these bytes only, without reading what is before them: START..END, START.. or ..END.
    #[arg(long, value_name = "START..END")]
    range: Option<Range>,
    /// Where to write; - for standard output, which is also where it goes without this.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    /// What to decrypt; - for standard input, which is also what is read without this.
    input: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let input = Input::open(arguments.input.as_deref())?;
    let name = input.name().to_owned();
    let (length, seekable) = (input.len(), input.is_seekable());
    // The content itself is shown, where there is no other place for it.
    let shows = arguments.output.is_none() && io::stdout().is_terminal();
    let bar = progress::bar(length, arguments.quiet || arguments.range.is_some() || shows);
    let reader = io::BufReader::new(bar.wrap_read(input.into_reader()));
    let mut reader =
        MaybeArmored::new(reader).map_err(|error| CliError::copy(&name, error.into()))?;
    let file_error = |source| CliError::copy(&name, source);
    let header = Header::read(&mut reader).map_err(file_error)?;
    let key = bar.suspend(|| unlock(arguments, &header, &name))?;
    let mut output = Output::open(arguments.output.as_deref())?;
    let result = match (&arguments.range, reader) {
        (None, reader) if output.is_terminal() => {
            let mut text = TextOnly::new(&mut output);
            key.copy(reader, &mut text, threads()).and_then(|_| Ok(text.finish()?))
        }
        (None, reader) => key.copy(reader, &mut output, threads()).map(drop),
        (Some(range), MaybeArmored::Binary(reader)) if seekable => {
            let mut reader = key.range_reader(reader).map_err(file_error)?;
            let (start, len) = range.within(reader.plaintext_len())?;
            copy_range(&mut reader, start, len, &mut output)
        }
        (Some(_), _) => return Err(CliError::NotSeekable { name }),
    };
    bar.finish_and_clear();
    result.and_then(|()| Ok(output.flush()?)).map_err(file_error)?;
    output.commit()
}

fn unlock(arguments: &Arguments, header: &Header, name: &str) -> Result<FileKey, CliError> {
    let refuse = |source| Err(CliError::File { name: name.into(), source });
    let source = Source::of(arguments.passphrase, arguments.passphrase_file.as_deref());
    // Before anybody types anything.
    if header.layers().recipients() && arguments.identities.is_empty() {
        return refuse(FileError::NeedsIdentity);
    }
    if !header.layers().recipients() && !arguments.identities.is_empty() {
        return refuse(FileError::NoRecipients);
    }
    if !header.layers().passphrase() && source.is_some() {
        return refuse(FileError::NoPassphrase);
    }
    let mut identities = Vec::new();
    for path in &arguments.identities {
        identities.extend(keys::identities(path, arguments.key_passphrase_file.as_deref())?);
    }
    let passphrase = if header.layers().passphrase() {
        let source = source.unwrap_or(Source::Prompt);
        Some(passphrase::existing(
            &source,
            &format!("Passphrase of {name}"),
            arguments.accept_cost,
        )?)
    } else {
        None
    };
    header
        .unlock(&identities, passphrase.as_ref())
        .map_err(|source| CliError::File { name: name.into(), source })
}

fn copy_range(
    reader: &mut (impl io::Read + io::Seek),
    start: u64,
    len: u64,
    output: &mut Output,
) -> Result<(), FileError> {
    reader.seek(SeekFrom::Start(start))?;
    let mut reader = reader.take(len);
    if output.is_terminal() {
        let mut text = TextOnly::new(output);
        io::copy(&mut reader, &mut text)?;
        text.finish()?;
    } else {
        io::copy(&mut reader, output)?;
    }
    Ok(())
}

/// A range of bytes: the first, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u64,
    end: Option<u64>,
}

impl Range {
    /// Where it starts and how long it is, in so many bytes.
    fn within(self, len: u64) -> Result<(u64, u64), CliError> {
        let end = self.end.unwrap_or(len);
        if self.start > len || end > len {
            return Err(CliError::Range(format!(
                "the range {self} is not within the {len} bytes of the content"
            )));
        }
        Ok((self.start, end.saturating_sub(self.start)))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once("..").ok_or("it is START..END, START.. or ..END")?;
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| format!("{text:?} is not a number of bytes"))
        };
        let start = if start.is_empty() { 0 } else { number(start)? };
        let end = if end.is_empty() { None } else { Some(number(end)?) };
        if end.is_some_and(|end| end < start) {
            return Err("it ends before it starts".into());
        }
        Ok(Self { start, end })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.start)?;
        self.end.map_or(Ok(()), |end| write!(f, "{end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, within) in [
            ("..", Some((0, 10))),
            ("3..", Some((3, 7))),
            ("..4", Some((0, 4))),
            ("3..4", Some((3, 1))),
            ("10..10", Some((10, 0))),
            ("3..11", None),
            ("11..", None),
        ] {
            let range: Range = text.parse().unwrap();
            assert_eq!(range.within(10).ok(), within, "{text}");
        }
        for text in ["", "3", "4..3", "-1..3", "a..b", "1..2..3", "18446744073709551616.."] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
