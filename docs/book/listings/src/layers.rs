//! One message on its way through DH, MLS and AES to the wire, field by field.

use std::{error::Error, fmt::Write as _};

use cc_aes_layer::AesLayer;
use cc_core::Envelope;
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::CascadingCipherManager;
use cc_mls_layer::{MlsIdentity, MlsLayer};

use crate::tap::{Passed, Tap};

const TEXT: &str = "Team, deploy at midnight";

pub(crate) fn draw() -> Result<String, Box<dyn Error>> {
    let (mut alice, passed) = person("Alice", true)?;
    let (mut bob, _) = person("Bob", false)?;
    let change = alice.add_members([bob.key_package()?])?;
    let welcome = alice.confirm(change.id())?.welcome.unwrap_or_default();
    bob.receive_welcome(welcome)?;
    let wire = alice.encrypt(TEXT)?;
    // What is drawn is what somebody can read.
    if bob.decrypt(&wire)? != *TEXT {
        return Err("the message does not open".into());
    }
    let [dh, mls, aes] = passed.map(|passed| passed.bytes());
    let stages = [
        Stage { name: "what Alice writes", ink: "#5b5b5b", fields: vec![field(TEXT, TEXT.len())] },
        Stage { name: "after the DH layer", ink: "#2e7031", fields: dh_fields(&dh)? },
        Stage { name: "after the MLS layer", ink: "#4a6785", fields: mls_fields(&mls, dh.len())? },
        Stage { name: "after the AES layer", ink: "#7a4a85", fields: aes_fields(&aes)? },
        Stage { name: "on the wire", ink: "#b3470f", fields: envelope_fields(&wire, aes.len())? },
    ];
    for (stage, bytes) in stages.iter().zip([TEXT.as_bytes(), &dh, &mls, &aes, &wire]) {
        if stage.len() != bytes.len() {
            return Err(format!("{}: {} of {} bytes", stage.name, stage.len(), bytes.len()).into());
        }
    }
    Ok(picture(&stages))
}

/// A stack with a tap above each layer.
fn person(
    name: &str,
    founds: bool,
) -> Result<(CascadingCipherManager, [Passed; 3]), Box<dyn Error>> {
    let identity = MlsIdentity::generate(name)?;
    let mls =
        if founds { MlsLayer::create("Dev Team", identity)? } else { MlsLayer::member(identity)? };
    let (above_dh, dh) = Tap::new(0);
    let (above_mls, mls_passed) = Tap::new(1);
    let (above_aes, aes) = Tap::new(2);
    let stack = CascadingCipherManager::builder()
        .layer(DhLayer::group(DhKeyPair::generate(Curve::X25519)?))
        .layer(above_dh)
        .layer(mls)
        .layer(above_mls)
        .layer(AesLayer::inherited())
        .layer(above_aes)
        .build()?;
    Ok((stack, [dh, mls_passed, aes]))
}

struct Stage {
    name: &'static str,
    ink: &'static str,
    fields: Vec<Field>,
}

impl Stage {
    fn len(&self) -> usize {
        self.fields.iter().map(|field| field.len).sum()
    }
}

struct Field {
    name: String,
    len: usize,
}

fn field(name: impl Into<String>, len: usize) -> Field {
    Field { name: name.into(), len }
}

/// The rest of `bytes` behind the fields, and 16 bytes of tag.
fn body(bytes: &[u8], mut fields: Vec<Field>, name: &str) -> Result<Vec<Field>, Box<dyn Error>> {
    let before: usize = fields.iter().map(|field| field.len).sum();
    let rest = bytes.len().checked_sub(before + 16).ok_or("a message that is too short")?;
    fields.extend([field(name, rest), field("tag", 16)]);
    Ok(fields)
}

fn dh_fields(bytes: &[u8]) -> Result<Vec<Field>, Box<dyn Error>> {
    body(bytes, vec![field("generation", 8), field("salt", 32)], "the text, encrypted")
}

fn aes_fields(bytes: &[u8]) -> Result<Vec<Field>, Box<dyn Error>> {
    body(bytes, vec![field("nonce", 24)], "all of the MLS message, encrypted")
}

/// PrivateMessage of RFC 9420 section 6.3.
fn mls_fields(bytes: &[u8], content: usize) -> Result<Vec<Field>, Box<dyn Error>> {
    let mut rest = bytes;
    let mut fields = vec![
        fixed(&mut rest, "MLS version", 2)?,
        fixed(&mut rest, "wire format", 2)?,
        vector(&mut rest, "group id")?,
        fixed(&mut rest, "epoch", 8)?,
        fixed(&mut rest, "kind of content", 1)?,
        vector(&mut rest, "bound to: envelope and position")?,
        vector(&mut rest, "sender, encrypted")?,
    ];
    let ciphertext = vector(&mut rest, "")?;
    let inside = format!("the {content} bytes above, signature and padding, encrypted, with a tag");
    fields.push(field(inside, ciphertext.len));
    if rest.is_empty() { Ok(fields) } else { Err("bytes behind the MLS message".into()) }
}

fn fixed(rest: &mut &[u8], name: &str, len: usize) -> Result<Field, Box<dyn Error>> {
    *rest = rest.get(len..).ok_or("a message that is too short")?;
    Ok(field(name, len))
}

/// A vector and its length (section 2.1.2): the first two bits say in how many bytes.
fn vector(rest: &mut &[u8], name: &str) -> Result<Field, Box<dyn Error>> {
    let first = *rest.first().ok_or("a message that is too short")?;
    let prefix = 1usize << (first >> 6);
    let length = rest.get(..prefix).ok_or("a message that is too short")?;
    let value = length.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
    let len = prefix + (value & ((1 << (8 * prefix - 2)) - 1));
    fixed(rest, name, len)
}

/// The envelope of docs/wire-format.md.
fn envelope_fields(wire: &[u8], body: usize) -> Result<Vec<Field>, Box<dyn Error>> {
    let hints: Vec<_> = Envelope::peek(wire)?.hints().map(|(_, hint)| hint.len()).collect();
    let [generation, epoch] = hints[..] else { return Err("another number of hints".into()) };
    Ok(vec![
        field("version", 2),
        field("kind", 1),
        field("stack id", 16),
        field("length of the hints", 1),
        field("hint of DH: the generation", 3 + generation),
        field("hint of MLS: the epoch", 3 + epoch),
        field("all of the above, encrypted", body),
    ])
}

/// In pixels.
const WIDTH: usize = 860;
const BAR: usize = 26;
const LINE: usize = 15;
const MARGIN: usize = 10;
/// The least width of a field.
const LEAST: usize = 18;

fn picture(stages: &[Stage]) -> String {
    let most = stages.iter().map(Stage::len).max().unwrap_or(1);
    let mut out = String::new();
    let mut y = MARGIN;
    for stage in stages {
        let _ = writeln!(
            out,
            "<text x=\"{MARGIN}\" y=\"{}\" font-size=\"13\" fill=\"#808080\">{}: {} bytes</text>",
            y + 13,
            stage.name,
            stage.len()
        );
        y += 20;
        let room = WIDTH - 2 * MARGIN - LEAST * stage.fields.len();
        let (mut x, mut at) = (MARGIN, 0);
        for (letter, field) in ('a'..='z').zip(&stage.fields) {
            let width = LEAST + room * field.len / most;
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" rx=\"3\" fill=\"{}\"/>\
                 <text x=\"{}\" y=\"{}\" fill=\"#fff\" text-anchor=\"middle\">{letter}</text>",
                width - 2,
                stage.ink,
                x + width / 2 - 1,
                y + 17
            );
            x += width;
        }
        y += BAR;
        for (letter, field) in ('a'..='z').zip(&stage.fields) {
            y += LINE;
            let last = at + field.len - 1;
            let bytes =
                if field.len == 1 { format!("byte {at}") } else { format!("bytes {at} to {last}") };
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{y}\" fill=\"#808080\">{letter}  {bytes}: {}</text>",
                2 * MARGIN,
                field.name
            );
            at += field.len;
        }
        y += 20;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {WIDTH} {y}\" \
         width=\"{WIDTH}\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>One message through the layers</title>\n{out}</svg>\n"
    )
}
