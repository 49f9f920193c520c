//! Names that look like one another.

use unicode_security::skeleton;

/// Whether people may take one of these names for the other: letters of other scripts that look the same, capitals,
/// accents, spaces and invisible characters do not tell names apart (Unicode Technical Standard 39, section 4).
pub(super) fn are_alike(a: &Look, b: &Look) -> bool {
    a.as_it_is == b.as_it_is || a.in_small == b.in_small
}

/// What a name looks like.
pub(super) struct Look {
    // An "I" looks like an "l", and an "i" does not: so both orders.
    as_it_is: String,
    in_small: String,
}

impl Look {
    pub(super) fn of(name: &str) -> Self {
        Self { as_it_is: looks(name), in_small: looks(&name.to_lowercase()) }
    }
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

    fn alike(a: &str, b: &str) -> bool {
        are_alike(&Look::of(a), &Look::of(b))
    }

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
            assert!(alike("Alice", imitation), "{imitation:?}");
            assert!(alike(imitation, "Alice"), "{imitation:?}");
        }
        for other in ["Alise", "Bob", "", "Al", "Alice B", "🦊"] {
            assert!(!alike("Alice", other), "{other:?}");
        }
        assert!(alike("🦊", "🦊") && !alike("🦊", "🐻"));
    }
}
