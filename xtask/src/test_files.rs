//! A file of tests that is named nowhere would be a test that nobody runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{fs, path::Path};

/// Where cargo does not look for test programs by itself, each file is a module of `tests/all.rs` or a program in
/// Cargo.toml.
#[test]
fn every_file_of_tests_is_run() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut looked_at = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        if !manifest.contains("\nautotests = false\n") {
            continue;
        }
        let tests = folder.join("tests");
        let all = fs::read_to_string(tests.join("all.rs")).unwrap();
        for entry in fs::read_dir(&tests).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if name == "all" || !(is_rust(&path) || path.join("main.rs").exists()) {
                continue;
            }
            let run = all.contains(&format!("\nmod {name};\n"))
                || manifest.contains(&format!("\nname = \"{name}\"\n"));
            assert!(run, "{}", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 80, "{looked_at}");
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}
