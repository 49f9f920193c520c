//! What others wrote, without what could do something to a terminal or to the order of what is read.

use std::fmt::Write as _;

/// The text with every character made visible that is none to be seen: control characters (escape sequences begin
/// with one), marks that turn the direction of text, and the invisible ones of Unicode. They are shown as `\u{1b}`.
/// One line comes of one line: a line break is shown too.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\t' {
            shown.push_str("    ");
        } else if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The text in one line for the output of a command: what [`clean`] shows as what it is, is `\u{fffd}` here, and so is
/// the joiner U+200D.
pub(crate) fn harmless(text: &str) -> String {
    let safe = |character: char| match character {
        '\n' | '\t' => ' ',
        '\u{200d}' => '\u{fffd}',
        character if is_hidden(character) => '\u{fffd}',
        character => character,
    };
    text.chars().map(safe).collect()
}

/// A name that somebody has chosen, in a line for people. One that could be taken for more of the line than a name,
/// as "Alice: yes" or "Bob passes on, as written by Alice", is in quotes.
pub(crate) fn called(name: &str) -> String {
    let name = harmless(name);
    let plain = !name.is_empty() && name.trim() == name && !name.contains(OF_LINES);
    if plain { name } else { format!("\"{}\"", name.replace('"', "'")) }
}

/// What stands between the parts of a line.
const OF_LINES: [char; 9] = [':', ',', ';', '"', '(', ')', '[', ']', '#'];

/// What a command prints or says of an error, for which texts of others may have been put together: what is hidden
/// is escaped as in JSON, line breaks aside. A line of JSON stays the same JSON.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || !is_hidden(character) {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// The lines of a text, each [`clean`].
pub(crate) fn clean_lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(clean)
}

/// The name for a file that somebody sent: its last part only, and none that is hidden or means a folder. `None`
/// where nothing is left.
pub(crate) fn file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String =
        last.chars().filter(|c| !is_hidden(*c) && !":*?\"<>|".contains(*c)).collect();
    let kept = kept.trim().trim_start_matches(['.', '-']).trim_end_matches(['.', ' ']);
    (!kept.is_empty() && kept.len() <= 200).then(|| kept.to_owned())
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width, direction marks, line and paragraph separator, embeddings and isolates; the joiner U+200D
            // is part of emoji and stays.
            | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_command_has_nothing_hidden() {
        assert_eq!(harmless("a\x1b]0;t\x07\n\tb"), "a\u{fffd}]0;t\u{fffd}  b");
        assert_eq!(
            harmless("x\u{202e}y\u{200d}\u{ad}\u{e0041}z"),
            "x\u{fffd}y\u{fffd}\u{fffd}\u{fffd}z"
        );
        assert_eq!(harmless("grüße 日本"), "grüße 日本");
    }

    #[test]
    fn what_is_printed_is_harmless_and_the_same_json() {
        let value = serde_json::json!({ "text": "a\u{9b}2J\u{202e}b\n\x1b[2J\u{e0041}\u{7f}\tgrüße 👩\u{200d}💻" });
        let line = printable(&value.to_string());
        assert!(!line.contains(is_hidden), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
        assert_eq!(printable("a\x1bb\nc"), "a\\u001bb\nc");
    }

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(clean("a\x1b]0;title\x07b"), "a\\u{1b}]0;title\\u{7}b");
        assert_eq!(clean("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(clean("file\u{202e}gpj.exe"), "file\\u{202e}gpj.exe");
        assert_eq!(clean("a\nb\r"), "a\\u{a}b\\u{d}");
        assert_eq!(clean("grüße 👩\u{200d}💻 日本"), "grüße 👩\u{200d}💻 日本");
        assert_eq!(clean_lines("a\r\nb\x1b").collect::<Vec<_>>(), ["a", "b\\u{1b}"]);
    }

    #[test]
    fn a_file_goes_nowhere_else() {
        for (sent, saved) in [
            ("notes.txt", Some("notes.txt")),
            ("../../.ssh/authorized_keys", Some("authorized_keys")),
            ("C:\\Windows\\x.dll", Some("x.dll")),
            (".bashrc", Some("bashrc")),
            ("..", None),
            ("", None),
            ("a\x1b[2Jb", Some("a[2Jb")),
            ("--help", Some("help")),
        ] {
            assert_eq!(file_name(sent).as_deref(), saved, "{sent:?}");
        }
    }
}
