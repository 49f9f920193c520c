//! What the figures were measured on and with.

use std::{fs, process::Command};

/// Peers and backends whose versions are told, as `Cargo.lock` has them.
const LIBRARIES: [&str; 18] = [
    "aes-gcm",
    "graviola",
    "aws-lc-rs",
    "openmls",
    "mls-rs",
    "vodozemac",
    "openmls_sqlite_storage",
    "libcrux-ml-kem",
    "ml-kem",
    "hpke-rs",
    "aes",
    "sha2",
    "curve25519-dalek",
    "ed25519-dalek",
    "x25519-dalek",
    "p256",
    "rusqlite",
    "argon2",
];

/// Features of processors that decide how fast the ciphers are.
const FEATURES: [&str; 9] =
    ["aes", "pclmulqdq", "sha_ni", "avx2", "bmi2", "adx", "vaes", "vpclmulqdq", "avx512f"];

pub(super) fn describe(quick: bool) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    let flags = field("flags");
    let flags: Vec<_> = flags.split_whitespace().filter(|flag| FEATURES.contains(flag)).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown").to_owned();
    let rows = [
        ("processor", format!("{}, {cores} cores ({})", field("model name"), flags.join(", "))),
        ("load when it began", load),
        ("system", first_line("uname", &["-sr"])),
        ("compiler", first_line("rustc", &["--version"])),
        ("commit", first_line("git", &["describe", "--always", "--dirty"])),
        ("libraries", libraries()),
        ("programs", programs()),
        ("run", if quick { "--quick".into() } else { "full".into() }),
    ];
    let mut text = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        text += &format!("| {name} | {} |\n", value.replace('|', "/"));
    }
    text
}

fn libraries() -> String {
    let locks = ["Cargo.lock", "benches/openmls-sqlite/Cargo.lock"];
    let [lock, of_peer] = locks.map(|path| fs::read_to_string(path).unwrap_or_default());
    let mut found: Vec<String> = Vec::new();
    for name in LIBRARIES {
        let here = versions(&lock, name);
        // A peer that is built apart is in no other lock file.
        let versions = if here.is_empty() { versions(&of_peer, name) } else { here };
        if !versions.is_empty() {
            found.push(format!("{name} {}", versions.join(" and ")));
        }
    }
    found.join(", ")
}

/// All versions of a package in a lock file.
fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("name = \"{name}\"\n");
    lock.split("[[package]]")
        .filter(|package| package.contains(&name))
        .filter_map(|package| package.split("version = \"").nth(1)?.split('"').next())
        .collect()
}

fn programs() -> String {
    let programs = [
        ("age", first_line("age", &["--version"])),
        ("rage", first_line("rage", &["--version"])),
        ("openssl", first_line("openssl", &["version"])),
    ];
    let told =
        programs.map(|(name, version)| match version.trim_start_matches(&format!("{name} ")) {
            "" => format!("{name}: not there"),
            version => version
                .strip_prefix("OpenSSL")
                .map_or_else(|| format!("{name} {version}"), |version| format!("openssl{version}")),
        });
    told.join(", ")
}

/// Whether a program is installed.
pub(super) fn has(program: &str) -> bool {
    !first_line(program, &["--version"]).is_empty()
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}
