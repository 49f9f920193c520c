//! Names that look like one another.

use unicode_security::skeleton;

/// Whether people may take one of these names for the other: letters of other scripts that look the same, capitals,
/// accents, spaces and invisible characters do not tell names apart (Unicode Technical Standard 39, section 4).
pub(super) fn are_alike(a: &str, b: &str) -> bool {
    // An "I" looks like an "l", and an "i" does not: so both orders.
    looks(a) == looks(b) || looks(&a.to_lowercase()) == looks(&b.to_lowercase())
}

fn looks(name: &str) -> String {
    let skeleton: String = skeleton(name).collect::<String>().to_lowercase();
    let letters: String = skeleton.chars().filter(|letter| letter.is_alphanumeric()).collect();
    // A name of pictures alone.
    if letters.is_empty() { skeleton } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imitations_are_found_and_others_are_not() {
        for imitation in [
            "Alice",
            "alice",
            "ALICE",
            " Alice ",
            "A\u{200b}lice",
            "\u{410}lice", // a Cyrillic capital
            "\u{391}lice", // a Greek one
            "AIice",       // a capital I
            "Al\u{456}ce", // a Cyrillic i
            "Àlice",
            "Alice\u{2800}",
            "\u{202e}Alice",
        ] {
            assert!(are_alike("Alice", imitation), "{imitation:?}");
            assert!(are_alike(imitation, "Alice"), "{imitation:?}");
        }
        for other in ["Alise", "Bob", "", "Al", "Alice B", "🦊"] {
            assert!(!are_alike("Alice", other), "{other:?}");
        }
        assert!(are_alike("🦊", "🦊") && !are_alike("🦊", "🐻"));
    }
}
