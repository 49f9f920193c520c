//! What the book points to is there: chapters, pictures, files of the repository, and the tests that hold its
//! claims.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../src"))
}

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

/// The chapters by file name, with their text outside of code blocks.
fn chapters() -> Vec<(String, String)> {
    let files = fs::read_dir(sources()).unwrap().map(|file| file.unwrap().path());
    let mut chapters = Vec::new();
    for path in files.filter(|path| path.extension().is_some_and(|ext| ext == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        let mut prose = String::new();
        let mut in_code = false;
        for line in text.lines() {
            if line.starts_with("```") {
                in_code = !in_code;
            } else if !in_code {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        assert!(!in_code, "{}: a code block without end", path.display());
        chapters.push((path.file_name().unwrap().to_str().unwrap().to_owned(), prose));
    }
    chapters.sort();
    chapters
}

/// Every `](target)`.
fn links(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target.to_owned()).collect()
}

/// As mdbook makes them.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for (name, text) in chapters() {
        for link in links(&text) {
            checked += 1;
            if link.starts_with("https://") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let file = if file.is_empty() { name.as_str() } else { file };
            let path = sources().join(file);
            assert!(path.is_file(), "{name}: {link} leads nowhere");
            if !fragment.is_empty() {
                let text = fs::read_to_string(path).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.into_iter().any(|h| h == fragment), "{name}: no {fragment}");
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
}

#[test]
fn every_chapter_is_in_the_summary_and_is_tested() {
    let summary = fs::read_to_string(sources().join("SUMMARY.md")).unwrap();
    let listings = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    for (name, _) in chapters() {
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(summary.contains(&format!("({name})")), "{name} is not in the summary");
        let chapter = format!("chapter!({});", name.trim_end_matches(".md"));
        assert!(listings.contains(&chapter), "the code of {name} is not tested");
    }
}

/// A code block that is neither Rust that runs nor plain text would be shown and not tested.
#[test]
fn every_code_block_is_run_or_is_text() {
    for file in fs::read_dir(sources()).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (at, fence) in text.lines().filter(|line| line.starts_with("```")).enumerate() {
            let known = if at % 2 == 0 { &["```rust", "```text", "```sh"][..] } else { &["```"] };
            assert!(known.contains(&fence), "{}: {fence}", file.display());
        }
    }
}

/// `path/to/file.rs` in a code span is a file under `crates` (or of the repository), and a name of a test behind
/// it, as in `` `cc-manager/tests/group.rs` (`the_conversation_of_three`) ``, is a function in it.
#[test]
fn every_test_that_is_named_is_there() {
    let mut named = 0;
    for (name, text) in chapters() {
        let spans: Vec<&str> = text.split('`').collect();
        let mut file: Option<(PathBuf, String)> = None;
        for (at, span) in spans.iter().enumerate() {
            if at % 2 == 0 {
                // The names of tests stand in brackets right behind their file.
                let behind = span.trim_start();
                if !behind.is_empty() && !behind.starts_with(['(', ',']) {
                    file = None;
                }
            } else if span.contains('/') && span.ends_with(".rs") {
                file = source(span);
                assert!(file.is_some(), "{name}: there is no {span}");
            } else if let Some((path, text)) = &file {
                named += 1;
                let is_there =
                    ["(", "<"].iter().any(|end| text.contains(&format!("fn {span}{end}")));
                assert!(is_there, "{name}: {span} in {path:?}");
            }
        }
    }
    assert!(named > 25, "only {named} tests are named");
}

fn source(path: &str) -> Option<(PathBuf, String)> {
    let places = [repository().join("crates").join(path), repository().join(path)];
    let found = places.into_iter().find(|path| Path::is_file(path))?;
    let text = fs::read_to_string(&found).ok()?;
    Some((found, text))
}
