//! The tests of this layer: each file says what it is about.
//! One program, because each takes as long to build as all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod clocks;
mod comeback;
mod common;
mod context;
mod credentials;
#[path = "common/foreign.rs"]
mod foreign;
mod format;
mod interop;
mod key_packages;
mod key_uses;
mod life;
mod matrix;
mod model;
mod network;
mod plain;
mod plain_group;
mod rejection;
mod removed;
mod restart;
mod rollback;
mod stored;
mod update;
mod welcome;

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
