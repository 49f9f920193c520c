//! `cascade inspect`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use cc_file::{FileError, Header, Layers, MaybeArmored, VERSION, plaintext_len};
use clap::Args;
use serde_json::json;

use super::input::Input;
use crate::error::CliError;

/// Show what can be seen of a file without any key.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing of it is checked: that takes a key.

Examples:
  cascade inspect report.pdf.cascade
  cascade inspect --json < report.pdf.cascade")]
pub(crate) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// What to look at; - for standard input, which is also what is read without this.
    input: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let input = Input::open(arguments.input.as_deref())?;
    let name = input.name().to_owned();
    let length = input.len();
    let read = move || {
        let reader = io::BufReader::new(input.into_reader());
        let mut reader = MaybeArmored::new(reader)?;
        let header = Header::read(&mut reader)?;
        let header_len = header.to_bytes().len() as u64;
        let behind_header = match (&reader, length) {
            (MaybeArmored::Binary(_), Some(length)) => length.saturating_sub(header_len),
            _ => io::copy(&mut reader, &mut io::sink())?,
        };
        let armored = matches!(reader, MaybeArmored::Armored(_));
        Ok(View { armored, header, header_len, plaintext: plaintext_len(behind_header) })
    };
    let view = read().map_err(|error: FileError| CliError::copy(&name, error))?;
    let text = if arguments.json { view.json() } else { view.text() };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| CliError::Write { name: "standard output".into(), source })
}

struct View {
    armored: bool,
    header: Header,
    header_len: u64,
    plaintext: Option<u64>,
}

impl View {
    fn json(&self) -> String {
        let recipients: Vec<_> = self
            .header
            .recipients()
            .map(|kind| json!({ "kind": kind.to_string(), "kem_id": kind.kem_id() }))
            .collect();
        let argon2 = self.header.argon2().map(|params| {
            json!({
                "memory_kib": params.memory_kib(),
                "passes": params.passes(),
                "lanes": params.lanes(),
            })
        });
        let layers = self.header.layers();
        let value = json!({
            "version": VERSION,
            "armored": self.armored,
            "needs": { "secret_key": layers.recipients(), "passphrase": layers.passphrase() },
            "recipients": recipients,
            "argon2": argon2,
            "header_bytes": self.header_len,
            "plaintext_bytes": self.plaintext,
        });
        format!("{value:#}\n")
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let armored = if self.armored { ", armoured" } else { "" };
        writeln!(text, "cascade file, version {VERSION}{armored}")?;
        writeln!(
            text,
            "opens with:   {}",
            match self.header.layers() {
                Layers::Recipients => "the secret key of any one recipient",
                Layers::Passphrase => "the passphrase",
                Layers::Both => "the secret key of any one recipient, and the passphrase",
            }
        )?;
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for kind in self.header.recipients().map(|kind| kind.to_string()) {
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        if !kinds.is_empty() {
            let kinds: Vec<_> =
                kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            writeln!(text, "recipients:   {}", kinds.join(", "))?;
        }
        if let Some(params) = self.header.argon2() {
            let (memory, passes) = (params.memory_kib() >> 10, params.passes());
            let lanes = params.lanes();
            writeln!(text, "passphrase:   Argon2id, {memory} MiB, {passes} passes, {lanes} lanes")?;
        }
        writeln!(text, "header:       {} bytes", self.header_len)?;
        match self.plaintext {
            Some(len) => writeln!(text, "content:      {len} bytes"),
            None => writeln!(text, "content:      incomplete: no file has this length"),
        }
    }
}
