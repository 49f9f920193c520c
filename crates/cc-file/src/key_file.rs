//! Files of keys: one key in a line, empty lines, and comments that begin with `#`.

use crate::{FileError, Identity, Recipient, key::looks_like_identity};

/// The identities in a text, at least one and at most 256.
///
/// # Errors
/// [`FileError::KeyFile`] with the number of the first line that is not one, or of the last line where
/// there are none or too many.
pub fn parse_identities(text: &str) -> Result<Vec<Identity>, FileError> {
    parse(text, "there is no identity in this file", |line| {
        if line.starts_with("cascade1") {
            let reason = "a public key where a secret one is expected: encrypt to it with -r";
            return Err(FileError::KeyText(reason));
        }
        line.parse()
    })
}

/// The recipients in a text, at least one and at most 256.
///
/// # Errors
/// As [`parse_identities`].
pub fn parse_recipients(text: &str) -> Result<Vec<Recipient>, FileError> {
    parse(text, "there is no recipient in this file", |line| {
        if looks_like_identity(line) {
            let reason = "a secret key where a public one is expected; keep it to yourself";
            return Err(FileError::KeyText(reason));
        }
        line.parse()
    })
}

fn parse<T>(
    text: &str,
    empty: &'static str,
    read: impl Fn(&str) -> Result<T, FileError>,
) -> Result<Vec<T>, FileError> {
    let mut keys = Vec::new();
    let mut last = 0;
    for (line, content) in (1..).zip(text.lines()) {
        last = line;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if keys.len() == MAX_KEYS {
            return Err(FileError::KeyFile { line, reason: "more than 256 keys" });
        }
        keys.push(read(content).map_err(|error| match error {
            FileError::KeyText(reason) => FileError::KeyFile { line, reason },
            error => error,
        })?);
    }
    if keys.is_empty() {
        return Err(FileError::KeyFile { line: last, reason: empty });
    }
    Ok(keys)
}

const MAX_KEYS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyKind;

    #[test]
    fn comments_and_line_ends_are_skipped() {
        let [a, b] = [KeyKind::X25519, KeyKind::P256].map(|kind| Identity::generate(kind).unwrap());
        let (secret_a, secret_b) = (a.to_text().unwrap(), b.to_text().unwrap());
        let text = format!("# mine\r\n\r\n  {}\r\n{}", *secret_a, *secret_b);
        let identities = parse_identities(&text).unwrap();
        assert_eq!(identities.len(), 2);
        assert_eq!(identities[1].recipient(), b.recipient());
        let text = format!("{}\n#x\n{}\n", a.recipient(), b.recipient());
        assert_eq!(
            parse_recipients(&text).unwrap(),
            [a.recipient().clone(), b.recipient().clone()]
        );
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let identity = Identity::generate(KeyKind::X25519).unwrap();
        let (secret, public) = (identity.to_text().unwrap(), identity.recipient().to_string());
        for (text, line) in [
            (String::new(), 0),
            ("# nothing\n".into(), 1),
            (format!("{}\nnonsense", *secret), 2),
            (format!("#\n\n{public}"), 3),
            (format!("{}\n", *secret).repeat(257), 257),
        ] {
            let error = parse_identities(&text).unwrap_err();
            assert!(matches!(error, FileError::KeyFile { line: at, .. } if at == line), "{error}");
        }
        let error = parse_recipients(&secret).unwrap_err();
        assert!(error.to_string().contains("keep it to yourself"), "{error}");
    }
}
