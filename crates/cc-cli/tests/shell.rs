//! Help, completions and manual pages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use common::{Folder, text};

const COMMANDS: [&str; 36] = [
    "encrypt",
    "decrypt",
    "keygen",
    "fingerprint",
    "inspect",
    "init",
    "me",
    "rename",
    "link",
    "groups",
    "found",
    "invite",
    "join",
    "requests",
    "accept",
    "decline",
    "withdraw",
    "device",
    "export",
    "restore",
    "members",
    "verify",
    "remove",
    "leave",
    "send",
    "receive",
    "history",
    "save",
    "share",
    "report",
    "tree",
    "relay",
    "chat",
    "demo",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_with_examples() {
    let folder = Folder::new();
    let help = text(&folder.succeed(&["--help"], b""));
    assert!(help.contains("Exit status"), "{help}");
    for command in COMMANDS {
        assert!(help.contains(command));
        let help = text(&folder.succeed(&[command, "--help"], b""));
        assert!(
            help.contains("Examples:") && help.contains(&format!("cascade {command}")),
            "{help}"
        );
    }
    assert!(text(&folder.succeed(&["--version"], b"")).starts_with("cascade "));
}

#[test]
fn completions_for_every_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&folder.succeed(&["completions", shell], b""));
        assert!(script.contains("cascade") && script.contains("fingerprint"), "{shell}");
    }
    folder.fail(2, &["completions", "tcsh"], b"");
}

#[test]
fn manual_pages() {
    let folder = Folder::new();
    assert!(text(&folder.succeed(&["man"], b"")).contains(".TH cascade 1"));
    folder.succeed(&["man", "--dir", "."], b"");
    for command in COMMANDS {
        let page = text(&folder.read(&format!("cascade-{command}.1")));
        assert!(page.contains("Examples"), "{command}");
    }
}
