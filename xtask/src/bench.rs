//! `cargo xtask bench`: runs the benchmarks, and writes `docs/benchmarks.md` and its plots from what they measured.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{Outcome, run};

mod figures;
mod machine;
mod page;
mod plot;
mod sections;

use figures::Figures;
use sections::{SECTIONS, Section};

/// Where the peer of `store` is built: a program of its own, see its manifest.
const OPENMLS: &str = "target/openmls";

/// All benchmarks, or those that are named, as they are or with `--quick`. Only a run of all of them writes the
/// page; `--page FILE` writes one of those that ran.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let mut quick = false;
    let mut page = None;
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--page" => page = Some(PathBuf::from(arguments.next().ok_or("--page takes a file")?)),
            name if SECTIONS.iter().any(|section| section.bench == name) => names.push(name),
            name => {
                let known: Vec<_> = SECTIONS.iter().map(|section| section.bench).collect();
                return Err(format!("no benchmark {name}; there are: {}", known.join(", ")));
            }
        }
    }
    let mut wanted: Vec<&Section> = SECTIONS
        .iter()
        .filter(|section| names.is_empty() || names.contains(&section.bench))
        .collect();
    if names.is_empty() && !machine::has("age") {
        eprintln!("xtask: age is not installed: files are left out");
        wanted.retain(|section| section.bench != "files");
    }
    let page = page.or_else(|| names.is_empty().then(|| PathBuf::from("docs/benchmarks.md")));

    let root = env::current_dir().map_err(|error| error.to_string())?;
    let lines = root.join("target/bench-figures.tsv");
    if lines.exists() {
        fs::remove_file(&lines).map_err(|error| error.to_string())?;
    }
    let machine = machine::describe(quick);
    build(&wanted)?;
    let begun = Instant::now();
    let mut figures = Figures::default();
    for section in &wanted {
        let criterion = root.join("target/criterion");
        if criterion.exists() {
            fs::remove_dir_all(&criterion).map_err(|error| error.to_string())?;
        }
        let section_begun = Instant::now();
        run(&mut command(section, &lines, quick, &root))?;
        eprintln!("xtask: {} took {:.0?}", section.bench, section_begun.elapsed());
        figures.read_criterion(&criterion)?;
    }
    let took = begun.elapsed().as_secs();
    eprintln!("xtask: all of it took {took} s, once built");
    figures.read_lines(&lines)?;
    let Some(page) = page else { return Ok(()) };
    let machine = format!("{machine}| it took | {took} s, once built |\n");
    write(&page, &wanted, &figures, &machine)
}

/// Builds before anything is measured.
fn build(sections: &[&Section]) -> Outcome {
    let has = |bench: &str| sections.iter().any(|section| section.bench == bench);
    if has("files") {
        run(Command::new("cargo").args(["build", "--release", "--package", "cc-cli"]))?;
    }
    let benches = sections.iter().map(|section| section.bench).filter(|bench| *bench != "files");
    let benches: Vec<_> = benches.flat_map(|bench| ["--bench", bench]).collect();
    if !benches.is_empty() {
        run(Command::new("cargo")
            .args(["bench", "--package", "cc-benches", "--no-run"])
            .args(benches))?;
    }
    if has("store") {
        run(Command::new("cargo")
            .args(["build", "--release", "--manifest-path", "benches/openmls-sqlite/Cargo.toml"])
            .args(["--target-dir", OPENMLS]))?;
    }
    Ok(())
}

fn command(section: &Section, lines: &Path, quick: bool, root: &Path) -> Command {
    let mut command = if section.bench == "files" {
        let mut command = Command::new("benches/files.sh");
        command.args(if quick { ["268435456", "3"] } else { ["4294967296", "3"] });
        command
    } else {
        let mut command = Command::new("cargo");
        command.args(["bench", "--quiet", "--package", "cc-benches", "--bench", section.bench]);
        command.arg("--").args(if quick { section.quick } else { section.full });
        command
    };
    command
        .env("CC_BENCH_FIGURES", lines)
        .env("CC_BENCH_OPENMLS", root.join(OPENMLS).join("release/cc-bench-openmls-sqlite"))
        // One thread on both sides of every comparison.
        .env("RAYON_NUM_THREADS", "1");
    if quick {
        command.env("CC_BENCH_QUICK", "1");
    }
    command
}

fn write(page: &Path, sections: &[&Section], figures: &Figures, machine: &str) -> Outcome {
    let folder = page.parent().unwrap_or(Path::new(""));
    let plots = folder.join("plots");
    fs::create_dir_all(&plots).map_err(|error| error.to_string())?;
    for (name, svg) in page::plots(sections, figures) {
        fs::write(plots.join(name), svg).map_err(|error| error.to_string())?;
    }
    fs::write(page, page::markdown(sections, figures, machine))
        .map_err(|error| error.to_string())?;
    eprintln!("xtask: wrote {}", page.display());
    Ok(())
}
