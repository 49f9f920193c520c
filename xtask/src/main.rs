//! Maintainers' commands: `cargo xtask
//! ci|bench|book|bot-kills|crash|fuzz|no-std|old-processor|publish-check|simulate|wasm`.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

mod bench;
#[cfg(test)]
mod named_tests;
#[cfg(test)]
mod test_files;

/// In the order in which they are published: each depends on those before it only.
const CRATES: [&str; 14] = [
    "cc-core",
    "cc-primitives",
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
const NO_STD: [&str; 8] = [
    "cc-core",
    "cc-primitives",
    "cc-aes-layer",
    "cc-root-group",
    "cc-dh-layer",
    "cc-mlkem-layer",
    "cc-signal-layer",
    "cc-manager",
];

/// Crates whose tests do not compute with `cc-primitives`, or not only.
const OTHERS: [&str; 3] = ["cc-core", "cc-relay", "cc-cli"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let result = match command {
        "ci" => ci(),
        "bench" => bench::bench(rest),
        "book" => book(),
        "bot-kills" => bot_kills(rest),
        "crash" => crash(rest),
        "fuzz" => fuzz(rest),
        "publish-check" => publish_check(),
        "no-std" => no_std(),
        "old-processor" => old_processor(rest),
        "simulate" => simulate(rest),
        "wasm" => wasm(rest),
        _ => Err(
            "usage: cargo xtask ci | bench [--quick] [NAME] | book | bot-kills [KILLS] | crash [KILLS] | \
             fuzz TARGET [SECONDS] | no-std | old-processor [--required] | publish-check | \
             simulate [--people N] [--groups N] [--steps N] [--seed N] | wasm [check | build | test]"
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

/// What is tested, always with the same features, so that nothing is built twice.
const TESTED: [&str; 5] = [
    "--workspace",
    "--exclude",
    "cc-benches",
    "--features",
    "cc-client/tokio,cc-manager/serde,cc-manager/tracing",
];

type Outcome = Result<(), String>;

/// What must pass before a change lands.
fn ci() -> Outcome {
    cargo(&["fmt", "--all", "--check"])?;
    locks()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // With what is off by default, in one build; the benchmarks have no tests, and are compiled above.
    run(Command::new("cargo").arg("test").args(TESTED))?;
    // What takes long in it.
    run(Command::new("cargo").arg("test").args(TESTED).args([
        "--lib",
        "accumulated",
        "--",
        "--include-ignored",
    ]))?;
    on_portable_primitives()?;
    // The ciphersuites that are off by default.
    cargo(&["test", "--package", "cc-mls-layer", "--features", "draft-pq", "--test", "suites"])?;
    no_std()?;
    run(Command::new("cargo")
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// What is apart from the workspace, with a lock file of its own.
const APART: [&str; 3] =
    ["benches/openmls-sqlite/Cargo.toml", "fuzz/libfuzzer/Cargo.toml", "wasm/bindings/Cargo.toml"];

/// The lock files that no other command looks at follow their manifests, and those of this workspace.
fn locks() -> Outcome {
    APART.iter().try_for_each(|manifest| {
        run(Command::new("cargo")
            .args(["metadata", "--locked", "--format-version=1", "--manifest-path", manifest])
            .stdout(Stdio::null()))
    })
}

/// The same test programs once more, with the primitives that other processors have. Not by `cargo test` for some
/// packages, which would build them anew with other features.
fn on_portable_primitives() -> Outcome {
    let mut build = Command::new("cargo");
    build.arg("test").args(TESTED).args(["--no-run", "--quiet", "--message-format=json"]);
    let programs = test_programs(&mut build)?;
    for program in programs.iter().filter(|it| it.kind == "lib" || it.kind == "test") {
        run(Command::new(&program.path)
            .arg("--quiet")
            .current_dir(&program.directory)
            .env("CC_PRIMITIVES", "portable"))?;
    }
    emulate(&programs, false)
}

/// The vectors on processors that lack what the fast libraries need. Emulated by `qemu-x86_64` (Debian's package
/// `qemu-user`); where that is not installed nothing is done, unless it is required.
fn old_processor(arguments: &[String]) -> Outcome {
    let required = match arguments {
        [] => false,
        [option] if option == "--required" => true,
        _ => return Err("usage: cargo xtask old-processor [--required]".into()),
    };
    let mut build = Command::new("cargo");
    build.args(["test", "--no-run", "--quiet", "--message-format=json"]);
    build.args(["--package", "cc-primitives", "--package", "cc-aes-layer", "--package", "cc-file"]);
    build.args(["--features", "cc-primitives/batch,cc-primitives/hpke"]);
    emulate(&test_programs(&mut build)?, required)
}

/// Processors without, in this order, AES; AVX; AVX2; ADX. And one that has all of it, as far as it can be emulated.
const PROCESSORS: [&str; 5] = ["Nehalem", "Westmere", "SandyBridge", "Haswell", "max"];

/// Which of the tests are emulated: those with vectors that others published or that are kept.
const EMULATED: [(&str, &str, &[&str]); 3] = [
    // All but the comparisons of two libraries, where there is one.
    ("cc-primitives", "lib", &["--skip", "backends_agree"]),
    ("cc-aes-layer", "lib", &["c2sp_vectors"]),
    ("cc-file", "test", &["every_vector_does_what_it_must"]),
];

fn emulate(programs: &[TestProgram], required: bool) -> Outcome {
    let emulator = "qemu-x86_64";
    if !cfg!(target_arch = "x86_64") || Command::new(emulator).arg("-version").output().is_err() {
        let message =
            "old processors are not emulated here: qemu-x86_64 (Debian's qemu-user) is missing";
        if required {
            return Err(message.into());
        }
        eprintln!("xtask: {message}");
        return Ok(());
    }
    for processor in PROCESSORS {
        for (package, kind, filter) in EMULATED {
            let of_package = |program: &&TestProgram| {
                program.directory.ends_with(package) && program.kind == kind
            };
            let programs: Vec<_> = programs.iter().filter(of_package).collect();
            if programs.is_empty() {
                return Err(format!("{package} has no tests to emulate"));
            }
            for program in programs {
                run(Command::new(emulator)
                    .args(["-cpu", processor, &program.path, "--quiet"])
                    .args(filter)
                    .current_dir(&program.directory))?;
            }
        }
    }
    Ok(())
}

/// A test program of one of our crates that compute with `cc-primitives`.
struct TestProgram {
    path: String,
    /// That of its package, in which `cargo test` runs it.
    directory: PathBuf,
    kind: String,
}

/// What a build of tests made, by the messages that it prints.
fn test_programs(build: &mut Command) -> Result<Vec<TestProgram>, String> {
    eprintln!("xtask: {build:?}");
    let output = build.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{build:?}: {}", output.status));
    }
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let text = |pointer| message.pointer(pointer).and_then(serde_json::Value::as_str);
        let (Some(path), Some(manifest), Some(kind)) =
            (text("/executable"), text("/manifest_path"), text("/target/kind/0"))
        else {
            continue;
        };
        let directory = Path::new(manifest).parent().unwrap_or(Path::new("."));
        let name = directory.file_name().unwrap_or_default();
        let mut with_primitives = CRATES.iter().filter(|of_ours| !OTHERS.contains(of_ours));
        if with_primitives.any(|of_ours| name == *of_ours) {
            let (path, directory, kind) = (path.into(), directory.into(), kind.into());
            programs.push(TestProgram { path, directory, kind });
        }
    }
    if programs.is_empty() { Err("no test programs were built".into()) } else { Ok(programs) }
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
/// `rust-web-src` and `lld-22`). Only checks it, unless told to build; `test` has two clients talk in Node.
fn wasm(arguments: &[String]) -> Outcome {
    const PAGE: &str = "cc-wasm-conversation";
    let command = arguments.first().map_or("check", String::as_str);
    match (command, arguments.len()) {
        ("check" | "build", 0..=1) => wasm_cargo(command, "cc-client"),
        ("test", 1) => {
            wasm_cargo("build", PAGE)?;
            let folder = "target/wasm-conversation";
            run(Command::new("cargo")
                .args(["run", "--quiet", "--manifest-path", "wasm/bindings/Cargo.toml"])
                .args(["--target-dir", "target/wasm-bindings", "--"])
                .arg("target/wasm/wasm32-unknown-unknown/release/cc_wasm_conversation.wasm")
                .arg(folder))?;
            run(Command::new("node")
                .arg("wasm/conversation/conversation.cjs")
                .arg(format!("{folder}/cc_wasm_conversation.js")))
        }
        _ => Err("usage: cargo xtask wasm [check | build | test]".into()),
    }
}

fn wasm_cargo(command: &str, package: &str) -> Outcome {
    let program = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.into());
    run(Command::new(program("CC_WASM_CARGO", "/usr/bin/cargo"))
        .args([command, "--release", "--package", package, "--features", "js", "--lib"])
        .args(["--target", "wasm32-unknown-unknown", "-Z", "build-std=std,panic_abort"])
        // Of another compiler, and other builds are not to wait for it.
        .args(["--target-dir", "target/wasm"])
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
