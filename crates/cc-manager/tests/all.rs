//! The tests of the manager: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;
mod contract;
mod copies;
mod epochs;
mod errors;
mod exporter;
mod fixture;
mod group;
mod key_uses;
mod mlkem;
mod pair;
mod properties;
mod proposals;
mod receive;
mod restack;
mod restage;
mod rollback;
mod signal_pair;
mod signal_stack;
mod signal_thief;
mod sqlite;
mod stack;
mod store;
mod tampering;
mod wire_format;

/// A file that is named nowhere would be a test that nobody runs.
#[test]
fn every_file_of_tests_is_run() {
    let (all, manifest) = (include_str!("all.rs"), include_str!("../Cargo.toml"));
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".rs") else { continue };
        let run = all.contains(&format!("\nmod {name};\n"))
            || manifest.contains(&format!("\nname = \"{name}\"\n"));
        assert!(run || name == "all", "{name}.rs");
    }
}
