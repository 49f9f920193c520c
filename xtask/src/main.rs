//! Maintainers' commands: `cargo xtask ci|bench|book|bot-kills|crash|fuzz|no-std|publish-check|simulate|wasm`.

use std::{
    env,
    process::{Command, ExitCode},
};

/// In the order in which they are published: each depends on those before it only.
const CRATES: [&str; 13] = [
    "cc-core",
    "cc-aes-layer",
    "cc-root-group",
    "cc-dh-layer",
    "cc-mlkem-layer",
    "cc-file",
    "cc-signal-layer",
    "cc-mls-layer",
    "cc-store-sqlite",
    "cc-manager",
    "cc-client",
    "cc-relay",
    "cc-cli",
];

/// Crates that build without the standard library.
const NO_STD: [&str; 7] = [
    "cc-core",
    "cc-aes-layer",
    "cc-root-group",
    "cc-dh-layer",
    "cc-mlkem-layer",
    "cc-signal-layer",
    "cc-manager",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let result = match command {
        "ci" => ci(),
        "bench" => bench(rest),
        "book" => book(),
        "bot-kills" => bot_kills(rest),
        "crash" => crash(rest),
        "fuzz" => fuzz(rest),
        "publish-check" => publish_check(),
        "no-std" => no_std(),
        "simulate" => simulate(rest),
        "wasm" => wasm(rest),
        _ => Err(
            "usage: cargo xtask ci | bench [NAME] | book | bot-kills [KILLS] | crash [KILLS] | \
             fuzz TARGET [SECONDS] | no-std | publish-check | simulate [--people N] [--groups N] \
             [--steps N] [--seed N] | wasm [check | build]"
                .into(),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), String>;

/// What must pass before a change lands.
fn ci() -> Outcome {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // With what is off by default, in one build; the benchmarks have no tests, and are compiled above.
    let features = "cc-client/tokio,cc-manager/serde,cc-manager/tracing";
    cargo(&["test", "--workspace", "--exclude", "cc-benches", "--features", features])?;
    // The same tests on the other backend, and the ciphersuites that are off by default.
    cargo(&["test", "--package", "cc-signal-layer", "--features", "graviola"])?;
    cargo(&["test", "--package", "cc-mls-layer", "--features", "draft-pq", "--test", "suites"])?;
    no_std()?;
    run(Command::new("cargo")
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// All benchmarks, or those that are named. The peer of `store` is a program of its own: see its manifest.
fn bench(names: &[String]) -> Outcome {
    let mut command = Command::new("cargo");
    command.args(["bench", "--package", "cc-benches"]);
    for name in names {
        command.args(["--bench", name]);
    }
    if names.is_empty() || names.iter().any(|name| name == "store") {
        let target = env::current_dir().map_err(|error| error.to_string())?.join("target/openmls");
        run(Command::new("cargo")
            .args(["build", "--release", "--manifest-path", "benches/openmls-sqlite/Cargo.toml"])
            .arg("--target-dir")
            .arg(&target))?;
        command.env("CC_BENCH_OPENMLS", target.join("release/cc-bench-openmls-sqlite"));
    }
    run(&mut command)
}

/// Draws the pictures of the book anew, runs its code, checks its links, and builds it into `target/book` where
/// mdbook is installed (`cargo install mdbook`).
fn book() -> Outcome {
    cargo(&["run", "--package", "cc-book"])?;
    cargo(&["test", "--package", "cc-book"])?;
    match Command::new("mdbook").arg("--version").output() {
        Ok(_) => run(Command::new("mdbook").args(["build", "docs/book"])),
        Err(_) => {
            eprintln!("xtask: mdbook is not installed, so no pages were made");
            Ok(())
        }
    }
}

/// Kills members at random moments, 2000 times for each stack unless told otherwise. The tests do it 50
/// times.
fn crash(arguments: &[String]) -> Outcome {
    let kills = match arguments {
        [] => "2000",
        [kills] => kills.as_str(),
        _ => return Err("usage: cargo xtask crash [KILLS]".into()),
    };
    run(Command::new("cargo")
        .args(["test", "--release", "--package", "cc-manager", "--test", "crash"])
        .args(["--", "--nocapture", "--test-threads", "1"])
        .env("CC_CRASH_KILLS", kills))
}

/// Kills the bot of the examples 1000 times unless told otherwise, while ten messages come between two kills, and
/// members come, go and renew their keys. The test does it 12 times.
fn bot_kills(arguments: &[String]) -> Outcome {
    let kills = match arguments {
        [] => "1000",
        [kills] => kills.as_str(),
        _ => return Err("usage: cargo xtask bot-kills [KILLS]".into()),
    };
    cargo(&["build", "--release", "--package", "cc-client", "--example", "durable_bot"])?;
    run(Command::new("cargo")
        .args(["test", "--release", "--package", "cc-client", "--test", "bot"])
        .args(["--", "--nocapture"])
        .env("CC_BOT_KILLS", kills)
        .env("CC_BOT_MESSAGES", "10"))
}

/// A network of 100 people in 30 groups for 100,000 steps, unless told otherwise; and one thing that goes wrong in
/// the life of a group, at every place at which it can. The tests do less of both.
fn simulate(arguments: &[String]) -> Outcome {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--package", "cc-client", "--test", "simulation"])
        .args(["--", "--nocapture"])
        .env("CC_SIMULATE_PEOPLE", "100")
        .env("CC_SIMULATE_GROUPS", "30")
        .env("CC_SIMULATE_STEPS", "100000")
        .env("CC_SIMULATE_SEED", "1")
        .env("CC_SIMULATE_STRIDE", "1");
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return Err(format!("{pair:?} has no value")) };
        match option.as_str() {
            "--people" => command.env("CC_SIMULATE_PEOPLE", value),
            "--groups" => command.env("CC_SIMULATE_GROUPS", value),
            "--steps" => command.env("CC_SIMULATE_STEPS", value),
            "--seed" => command.env("CC_SIMULATE_SEED", value),
            _ => return Err(format!("simulate knows no {option}")),
        };
    }
    run(&mut command)
}

/// One target under libFuzzer, for an hour unless told otherwise. Needs cargo-fuzz and a C++ compiler; the
/// address sanitizer needs a nightly toolchain, and there is no unsafe code here for it to look at.
fn fuzz(arguments: &[String]) -> Outcome {
    let (target, seconds) = match arguments {
        [target] => (target, "3600"),
        [target, seconds] => (target, seconds.as_str()),
        _ => return Err("usage: cargo xtask fuzz TARGET [SECONDS]".into()),
    };
    let limit = format!("-max_total_time={seconds}");
    cargo(&[
        "fuzz",
        "run",
        "--fuzz-dir",
        "fuzz/libfuzzer",
        "--sanitizer",
        "none",
        target,
        "--",
        &limit,
    ])
}

/// The crates that promise it compile without their `std` feature.
fn no_std() -> Outcome {
    NO_STD
        .iter()
        .try_for_each(|name| cargo(&["check", "--package", name, "--no-default-features", "--lib"]))
}

/// The client for browsers. Needs a compiler with the target and its standard library: `CC_WASM_CARGO`,
/// `CC_WASM_RUSTC` and `CC_WASM_LINKER` name another one than Debian's (packages `cargo-web`, `rustc-web`,
/// `rust-web-src` and `lld-22`). Only checks it, unless told to build.
fn wasm(arguments: &[String]) -> Outcome {
    let command = match arguments {
        [] => "check",
        [command] if matches!(command.as_str(), "check" | "build") => command.as_str(),
        _ => return Err("usage: cargo xtask wasm [check | build]".into()),
    };
    let program = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.into());
    run(Command::new(program("CC_WASM_CARGO", "/usr/bin/cargo"))
        .args([command, "--release", "--package", "cc-client", "--features", "js", "--lib"])
        .args(["--target", "wasm32-unknown-unknown", "-Z", "build-std=std,panic_abort"])
        .env("RUSTC", program("CC_WASM_RUSTC", "/usr/bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            program("CC_WASM_LINKER", "/usr/bin/wasm-ld-22"),
        )
        // The caller's cargo tells its own compiler to those that it starts.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO"))
}

/// Each crate packages by itself, and its package lists what it needs.
fn publish_check() -> Outcome {
    let mut arguments = vec!["package", "--allow-dirty", "--no-verify"];
    for name in CRATES {
        arguments.extend(["--package", name]);
    }
    cargo(&arguments)
}

fn cargo(arguments: &[&str]) -> Outcome {
    run(Command::new("cargo").args(arguments))
}

fn run(command: &mut Command) -> Outcome {
    eprintln!("xtask: {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
