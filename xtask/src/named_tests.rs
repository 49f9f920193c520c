//! A promise in a document names the test that holds it, and a test that was renamed or removed would leave a promise
//! that nothing holds.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// What is named in documents like a test, and is none.
const OTHERS: [&str; 5] = [
    "out_of_order_tolerance",
    "relay_storage_forgotten_total",
    "relay_storage_limit_bytes",
    "relay_storage_refused_total",
    "submit_all_and_poll",
];

/// These name functions of other libraries.
const OF_OTHERS: [&str; 3] = ["CHANGELOG.md", "docs/benchmarks.md", "docs/performance.md"];

/// Names of four words and more in documents are those of tests, in the file or crate that is named behind them; and
/// files that are named are there.
#[test]
fn tests_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    files_in(root, &mut files);
    let read = |extension: &str| -> Vec<(String, String)> {
        let of_kind =
            files.iter().filter(|path| path.extension().is_some_and(|it| it == extension));
        let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        of_kind.map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
    };
    let sources = read("rs");
    let mut functions = HashMap::<&str, Vec<&(String, String)>>::new();
    for source in &sources {
        for after in source.1.split("fn ").skip(1) {
            let end = after.find(|it: char| !it.is_alphanumeric() && it != '_');
            functions.entry(&after[..end.unwrap_or(0)]).or_default().push(source);
        }
    }
    let mut wrong = Vec::new();
    let mut named = 0;
    for (document, text) in read("md") {
        if OF_OTHERS.contains(&document.as_str()) {
            continue;
        }
        // What is between backticks is at the odd places; a listing is empty, text, empty.
        let pieces: Vec<_> = text.split('`').collect();
        for (at, piece) in pieces.iter().enumerate().skip(1).step_by(2) {
            if piece.ends_with(".rs") && piece.contains('/') && !piece.contains(char::is_whitespace)
            {
                let path = format!("/{piece}");
                if !sources.iter().any(|(name, _)| format!("/{name}").ends_with(&path)) {
                    wrong.push(format!("{document}: no file {piece}"));
                }
            }
            if !is_test_name(piece) || OTHERS.contains(piece) {
                continue;
            }
            named += 1;
            let link = pieces.get(at + 1).map_or("", |between| between.trim());
            let place = pieces.get(at + 2).filter(|_| link == "in" || link == "of");
            let place = place.map_or("", |place| place.trim_end_matches(".rs"));
            let all = functions.get(piece).into_iter().flatten();
            let defined: Vec<_> = all.filter(|(name, _)| name.contains(place)).collect();
            // One without the attribute is called by a macro, which names it as well.
            let is_run = |(_, source): &&&(String, String)| has_attribute(source, piece);
            let mentions = sources.iter().map(|(_, source)| source.matches(*piece).count());
            if defined.is_empty() || !defined.iter().any(is_run) && mentions.sum::<usize>() < 2 {
                wrong.push(format!("{document}: no test {piece} in \"{place}\""));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 300, "{named}");
}

fn is_test_name(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    text.split('_').count() > 3 && text.split('_').all(word)
}

/// Whether an attribute of tests is among the lines in front of the function.
fn has_attribute(source: &str, name: &str) -> bool {
    let Some((front, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    let attributes = front.rsplit("\n\n").next().unwrap_or_default();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let kind = entry.file_type().unwrap();
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            files_in(&entry.path(), files);
        }
    }
}
