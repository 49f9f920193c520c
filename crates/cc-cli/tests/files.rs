//! Encrypting and decrypting with the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::fs;

use common::{CHUNK_LEN, Folder, SEALED_LEN, body, content, text};

#[test]
fn pipes_and_files_of_any_length() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 20 * CHUNK_LEN, 3_000_000] {
        let content = content(len);
        let piped = folder.succeed(&["encrypt", "-r", &key], &content);
        assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt"], &piped), content);
        folder.write("in", &content);
        assert!(folder.succeed(&["encrypt", "-r", &key, "-o", "sealed", "in"], b"").is_empty());
        folder.succeed(&["decrypt", "-i", "key.txt", "-o", "out", "sealed"], b"");
        assert_eq!(folder.read("out"), content);
        assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt", "sealed"], b""), content);
        assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt", "-"], &piped), content);
    }
    assert!(folder.others(&["key.txt", "in", "sealed", "out"]).is_empty());
}

#[test]
fn any_recipient_opens_and_nobody_else() {
    let folder = Folder::new();
    let a = folder.keygen("a.txt", &[]);
    let b = folder.keygen("b.txt", &["--p256"]);
    let c = folder.keygen("c.txt", &[]);
    folder.keygen("d.txt", &[]);
    folder.write("team.txt", format!("# team\n{b}\n\n{c}\n"));
    let sealed = folder.succeed(&["encrypt", "-r", &a, "-R", "team.txt"], b"content");
    for key in ["a.txt", "b.txt", "c.txt"] {
        assert_eq!(folder.succeed(&["decrypt", "-i", "d.txt", "-i", key], &sealed), b"content");
    }
    let error = folder.fail(4, &["decrypt", "-i", "d.txt"], &sealed);
    assert!(error.contains("none of the identities") && error.contains("-i"), "{error}");
    let error = folder.fail(4, &["decrypt"], &sealed);
    assert!(error.contains("-i key.txt"), "{error}");
    let error = folder.fail(4, &["decrypt", "-p", "-i", "a.txt"], &sealed);
    assert!(error.contains("leave -p away"), "{error}");
    // One file of several keys.
    folder.write("all.txt", [folder.read("d.txt"), folder.read("b.txt")].concat());
    assert_eq!(folder.succeed(&["decrypt", "-i", "all.txt"], &sealed), b"content");
}

#[test]
fn post_quantum_keys() {
    let folder = Folder::new();
    let hybrid = folder.keygen("hybrid.txt", &["--post-quantum"]);
    let other = folder.keygen("other.txt", &["--post-quantum"]);
    let classical = folder.keygen("classical.txt", &[]);
    assert_eq!(hybrid.len(), 1963);
    let arguments = ["encrypt", "-r", &hybrid, "-r", &other];
    let output = folder.run_on(&arguments, b"content");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let sealed = output.stdout;
    for key in ["hybrid.txt", "other.txt"] {
        assert_eq!(folder.succeed(&["decrypt", "-i", key], &sealed), b"content");
    }
    let error = folder.fail(4, &["decrypt", "-i", "classical.txt"], &sealed);
    assert!(error.contains("none of the identities"), "{error}");
    let shown = text(&folder.succeed(&["inspect"], &sealed));
    assert!(shown.contains("2 X25519 and ML-KEM-768"), "{shown}");
    // A weaker way in is said, and nothing else changes.
    let arguments = ["encrypt", "-r", &hybrid, "-r", &classical];
    let output = folder.run_on(&arguments, b"content");
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("not all recipients have post-quantum keys"));
    assert_eq!(folder.succeed(&["decrypt", "-i", "hybrid.txt"], &output.stdout), b"content");
    // As a program sees the file that does not know such keys.
    let mut later = sealed;
    for at in [13, 13 + 4 + 1168] {
        later[at..at + 2].copy_from_slice(&[0x12, 0x34]);
    }
    let error = folder.fail(4, &["decrypt", "-i", "classical.txt"], &later);
    assert!(error.contains("kinds that this version"), "{error}");
    folder.fail(2, &["keygen", "--post-quantum", "--p256"], b"");
}

#[test]
fn passphrases_from_files() {
    let folder = Folder::new();
    folder.write("pass", "correct horse\nbattery\n");
    folder.write("crlf", "correct horse\r\n");
    folder.write("wrong", "correct horse ");
    folder.write("empty", "\nx");
    folder.write("long", "x".repeat(5000));
    let sealed = folder.succeed(&["encrypt", "--passphrase-file", "pass"], b"content");
    for file in ["pass", "crlf"] {
        let opened = folder.succeed(&["decrypt", "--passphrase-file", file], &sealed);
        assert_eq!(opened, b"content");
    }
    let error = folder.fail(4, &["decrypt", "--passphrase-file", "wrong"], &sealed);
    assert!(error.contains("wrong passphrase"), "{error}");
    folder.fail(1, &["decrypt", "--passphrase-file", "empty"], &sealed);
    folder.fail(1, &["decrypt", "--passphrase-file", "long"], &sealed);
    folder.fail(1, &["decrypt", "--passphrase-file", "absent"], &sealed);
    folder.write("sealed", &sealed);
    let opened = folder.succeed(&["decrypt", "--passphrase-file", "-", "sealed"], b"correct horse");
    assert_eq!(opened, b"content");
    let error = folder.fail(2, &["decrypt", "--passphrase-file", "-"], &sealed);
    assert!(error.contains("standard input is asked for twice"), "{error}");
    // Nothing in the arguments is a passphrase.
    folder.fail(2, &["decrypt", "--passphrase=correct horse"], &sealed);
}

#[test]
fn both_layers_at_once() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    folder.keygen("other.txt", &[]);
    folder.write("pass", "correct");
    folder.write("wrong", "horse");
    let sealed = folder.succeed(&["encrypt", "-r", &key, "--passphrase-file", "pass"], b"content");
    let decrypt = |identity: &'static str, passphrase: &'static str| {
        ["decrypt", "-i", identity, "--passphrase-file", passphrase]
    };
    assert_eq!(folder.succeed(&decrypt("key.txt", "pass"), &sealed), b"content");
    folder.fail(4, &decrypt("key.txt", "wrong"), &sealed);
    folder.fail(4, &decrypt("other.txt", "pass"), &sealed);
    folder.fail(4, &["decrypt", "--passphrase-file", "pass"], &sealed);
    // Whoever demands both is not content with one.
    let one = folder.succeed(&["encrypt", "-r", &key], b"content");
    let error = folder.fail(4, &decrypt("key.txt", "pass"), &one);
    assert!(error.contains("not encrypted under a passphrase"), "{error}");
    let one = folder.succeed(&["encrypt", "--passphrase-file", "pass"], b"content");
    let error = folder.fail(4, &decrypt("key.txt", "pass"), &one);
    assert!(error.contains("not encrypted to recipients"), "{error}");
}

#[test]
fn key_files_under_a_passphrase() {
    let folder = Folder::new();
    folder.write("pass", "correct");
    folder.write("wrong", "horse");
    let arguments = ["keygen", "-o", "key.txt", "--passphrase-file", "pass"];
    let error = text(&folder.cascade(&arguments).output().unwrap().stderr);
    let key = error.trim().strip_prefix("Public key: ").unwrap().to_owned();
    let file = text(&folder.read("key.txt"));
    assert!(file.starts_with("-----BEGIN CASCADE FILE-----") && !file.contains("SECRET"));
    let public =
        folder.succeed(&["keygen", "--public", "key.txt", "--passphrase-file", "pass"], b"");
    assert_eq!(text(&public).trim(), key);
    let sealed = folder.succeed(&["encrypt", "-r", &key], b"content");
    let decrypt = |file| ["decrypt", "-i", "key.txt", "--key-passphrase-file", file];
    assert_eq!(folder.succeed(&decrypt("pass"), &sealed), b"content");
    let error = folder.fail(4, &decrypt("wrong"), &sealed);
    assert!(error.contains("key.txt: wrong passphrase"), "{error}");
}

#[test]
fn key_files_are_for_their_owner_and_never_overwritten() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path("key.txt")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = folder.read("key.txt");
    assert!(text(&before).contains(&format!("# public key: {key}\nCASCADE-SECRET-KEY-1")));
    let error = folder.fail(1, &["keygen", "-o", "key.txt"], b"");
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(folder.read("key.txt"), before);
    assert!(folder.others(&["key.txt"]).is_empty());
    // A secret key in the wrong place is not shown again.
    let secret = text(&before).lines().last().unwrap().to_owned();
    let error = folder.fail(2, &["encrypt", "-r", &secret], b"");
    assert!(error.contains("keep it to yourself") && !error.contains(&secret[24..]), "{error}");
    let error = folder.fail(1, &["encrypt", "-R", "key.txt"], b"");
    assert!(error.contains("line 2") && !error.contains(&secret[24..]), "{error}");
    folder.write("public.txt", &key);
    let error = folder.fail(
        1,
        &["decrypt", "-i", "public.txt"],
        &folder.succeed(&["encrypt", "-r", &key], b""),
    );
    assert!(error.contains("line 1") && error.contains("public key"), "{error}");
}

#[test]
fn armour() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let content = content(200_000);
    let sealed = folder.succeed(&["encrypt", "-a", "-r", &key], &content);
    let lines = text(&sealed);
    assert!(lines.starts_with("-----BEGIN CASCADE FILE-----\n"));
    assert!(
        lines.ends_with("\n-----END CASCADE FILE-----\n")
            && lines.lines().all(|line| line.len() <= 64)
    );
    assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt"], &sealed), content);
    let crlf = lines.replace('\n', "\r\n");
    assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt"], crlf.as_bytes()), content);
    for wrong in [
        lines[..lines.len() / 2].to_owned(),
        lines.trim_end().trim_end_matches('-').to_owned(),
        lines.replacen("\nA", "\n A", 1).replacen('\n', "\n ", 1),
        format!("{lines}more"),
        format!("{lines}{lines}"),
    ] {
        folder.fail(3, &["decrypt", "-i", "key.txt"], wrong.as_bytes());
    }
}

#[test]
fn what_is_not_genuine_is_refused_and_leaves_no_file() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let content = content(20 * CHUNK_LEN + 5);
    let sealed = folder.succeed(&["encrypt", "-r", &key], &content);
    let body = body(&sealed, content.len());
    let flipped = |at: usize| {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        changed
    };
    let cut = |len: usize| sealed[..len].to_vec();
    let swapped = {
        let mut swapped = sealed.clone();
        swapped.copy_within(body..body + SEALED_LEN, body + SEALED_LEN);
        swapped
    };
    let cases = [
        ("nothing", 3, Vec::new()),
        ("text", 3, b"hello".to_vec()),
        ("a file of age", 3, b"age-encryption.org/v1\n-> X25519 ...".to_vec()),
        ("in the magic", 3, cut(5)),
        ("in the header", 3, cut(60)),
        ("in the MAC", 3, cut(body - 70)),
        ("in the header of the stream", 3, cut(body - 1)),
        ("no chunk", 3, cut(body)),
        ("in the first chunk", 3, cut(body + 100)),
        ("after the first chunk", 3, cut(body + SEALED_LEN)),
        ("in a chunk in the middle", 3, cut(body + 12 * SEALED_LEN + 10)),
        ("after a chunk in the middle", 3, cut(body + 12 * SEALED_LEN)),
        ("before the last byte", 3, cut(sealed.len() - 1)),
        ("one byte more", 3, [&sealed[..], b"x"].concat()),
        ("twice", 3, sealed.repeat(2)),
        ("the version", 5, flipped(9)),
        ("the layers", 3, [&sealed[..10], &[3], &sealed[11..]].concat()),
        ("layers that are not known", 5, [&sealed[..10], &[8], &sealed[11..]].concat()),
        ("the number of stanzas", 3, flipped(12)),
        ("a stanza", 4, flipped(40)),
        ("the MAC", 3, flipped(body - 90)),
        ("the salt of the stream", 3, flipped(body - 50)),
        ("the first chunk", 3, flipped(body)),
        ("a chunk in the middle", 3, flipped(body + 15 * SEALED_LEN)),
        ("the last tag", 3, flipped(sealed.len() - 1)),
        ("chunks in another order", 3, swapped),
    ];
    for (name, status, input) in cases {
        let output = folder.run_on(&["decrypt", "-i", "key.txt"], &input);
        assert_eq!(output.status.code(), Some(status), "{name}: {}", text(&output.stderr));
        assert!(content.starts_with(&output.stdout), "{name}: only authentic bytes");
        assert!(text(&output.stderr).lines().count() == 2, "{name}: what to do next");
        folder.write("changed", &input);
        folder.fail(status, &["decrypt", "-i", "key.txt", "-o", "out", "changed"], b"");
        assert!(folder.others(&["key.txt", "changed"]).is_empty(), "{name}");
    }
}

#[test]
fn a_failure_leaves_the_old_file_as_it_was() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let sealed = folder.succeed(&["encrypt", "-r", &key], &content(300_000));
    folder.write("out", "old");
    folder.write("cut", &sealed[..sealed.len() - 1]);
    folder.fail(3, &["decrypt", "-i", "key.txt", "-o", "out", "cut"], b"");
    assert_eq!(folder.read("out"), b"old");
    folder.fail(1, &["encrypt", "-r", &key, "-o", "out", "absent"], b"");
    assert_eq!(folder.read("out"), b"old");
    assert!(folder.others(&["key.txt", "out", "cut"]).is_empty());
    // A file may become its own encryption.
    folder.succeed(&["encrypt", "-r", &key, "-o", "out", "out"], b"");
    assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt", "out"], b""), b"old");
}

#[test]
fn ranges() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let content = content(10 * CHUNK_LEN + 7);
    folder.write("in", &content);
    folder.succeed(&["encrypt", "-r", &key, "-o", "sealed", "in"], b"");
    let decrypt = |range: &str| {
        folder.succeed(&["decrypt", "-i", "key.txt", "--range", range, "sealed"], b"")
    };
    assert_eq!(decrypt("..10"), content[..10]);
    assert_eq!(decrypt("65530..65540"), content[65530..65540]);
    assert_eq!(decrypt("100000..500000"), content[100_000..500_000]);
    assert_eq!(decrypt("655360.."), content[655_360..]);
    assert_eq!(decrypt("655367.."), b"");
    let error =
        folder.fail(2, &["decrypt", "-i", "key.txt", "--range", "1..655368", "sealed"], b"");
    assert!(error.contains("655367 bytes"), "{error}");
    let sealed = folder.read("sealed");
    let error = folder.fail(2, &["decrypt", "-i", "key.txt", "--range", "1..2"], &sealed);
    assert!(error.contains("path of a file"), "{error}");
    folder.succeed(&["encrypt", "-a", "-r", &key, "-o", "armored", "in"], b"");
    folder.fail(2, &["decrypt", "-i", "key.txt", "--range", "1..2", "armored"], b"");
    // What is before it may be missing its sense; what is cut off is noticed.
    let at = body(&sealed, content.len());
    let mut damaged = sealed.clone();
    damaged[at] ^= 1;
    folder.write("damaged", &damaged);
    let range = ["decrypt", "-i", "key.txt", "--range", "100000..100010", "damaged"];
    assert_eq!(folder.succeed(&range, b""), content[100_000..100_010]);
    folder.write("damaged", &sealed[..at + 9 * SEALED_LEN]);
    folder.fail(3, &range, b"");
}

#[test]
fn fingerprints() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let line = text(&folder.succeed(&["fingerprint", &key], b""));
    let (digits, shown) = line.trim().split_once("  ").unwrap();
    assert_eq!(shown, key);
    assert_eq!(digits.split(' ').map(str::len).collect::<Vec<_>>(), [5; 6]);
    assert_eq!(text(&folder.succeed(&["fingerprint", "-i", "key.txt"], b"")), line);
    folder.fail(2, &["fingerprint"], b"");
    let error = folder.fail(2, &["fingerprint", "cascade1qqqq"], b"");
    assert!(error.contains("cascade1qqqq"), "{error}");
}

#[test]
fn inspect_shows_what_is_not_secret() {
    let folder = Folder::new();
    let a = folder.keygen("a.txt", &[]);
    let b = folder.keygen("b.txt", &["--p256"]);
    folder.write("pass", "correct");
    let arguments = ["encrypt", "-r", &a, "-r", &b, "--passphrase-file", "pass"];
    let sealed = folder.succeed(&arguments, &content(100_000));
    folder.write("sealed", &sealed);
    let shown = text(&folder.succeed(&["inspect", "sealed"], b""));
    for part in ["and the passphrase", "1 X25519, 1 P-256", "Argon2id, 64 MiB", "100000 bytes"] {
        assert!(shown.contains(part), "{shown}");
    }
    for (arguments, input) in
        [(&["inspect", "--json", "sealed"][..], &b""[..]), (&["inspect", "--json"], &sealed)]
    {
        let json: serde_json::Value =
            serde_json::from_slice(&folder.succeed(arguments, input)).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["armored"], false);
        assert_eq!(json["needs"], serde_json::json!({ "secret_key": true, "passphrase": true }));
        assert_eq!(json["recipients"][1]["kem_id"], 16);
        assert_eq!(json["argon2"]["memory_kib"], 65536);
        assert_eq!(json["plaintext_bytes"], 100_000);
    }
    let armored = folder.succeed(&[&["encrypt", "-a"], &arguments[1..]].concat(), b"12345");
    let json: serde_json::Value =
        serde_json::from_slice(&folder.succeed(&["inspect", "--json"], &armored)).unwrap();
    assert_eq!((&json["armored"], &json["plaintext_bytes"]), (&true.into(), &5.into()));
    folder.fail(3, &["inspect"], b"hello");
    folder.fail(5, &["inspect"], &[&sealed[..8], &[0, 2], &sealed[10..]].concat());
    let shown = text(&folder.succeed(&["inspect"], &sealed[..sealed.len() - 40_000]));
    assert!(!shown.contains("100000"), "{shown}");
}

#[test]
fn wrong_arguments_say_what_to_do() {
    let folder = Folder::new();
    let error = folder.fail(2, &["encrypt"], b"x");
    assert!(error.contains("-r cascade1...") && error.contains("-p"), "{error}");
    folder.fail(2, &[], b"");
    folder.fail(2, &["decrypt", "--range", "5..1"], b"");
    let error = folder.fail(2, &["encrypt", "-r", "nobody"], b"x");
    assert!(error.contains("nobody") && error.contains("cascade1"), "{error}");
    let error = folder.fail(1, &["decrypt", "absent"], b"");
    assert!(error.contains("cannot read absent"), "{error}");
    let key = folder.keygen("key.txt", &[]);
    let error = folder.fail(1, &["encrypt", "-r", &key, "-o", "absent/out"], b"x");
    assert!(error.contains("cannot write absent/out"), "{error}");
    // Without a terminal there is nobody to ask.
    #[cfg(target_os = "linux")]
    {
        let mut command = std::process::Command::new("setsid");
        let output =
            command.arg("-w").arg(common::program()).args(["encrypt", "-p"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("--passphrase-file"), "{}", text(&output.stderr));
    }
}

#[cfg(unix)]
#[test]
fn links_stay_links_and_modes_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    folder.write("real", "old");
    fs::set_permissions(folder.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real", folder.path("link")).unwrap();
    folder.succeed(&["encrypt", "-r", &key, "-o", "link"], b"content");
    assert!(fs::symlink_metadata(folder.path("link")).unwrap().is_symlink());
    assert_eq!(fs::metadata(folder.path("real")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(folder.succeed(&["decrypt", "-i", "key.txt", "real"], b""), b"content");
    // A device is written to and not replaced.
    folder.succeed(&["encrypt", "-r", &key, "-o", "/dev/null"], b"content");
}
