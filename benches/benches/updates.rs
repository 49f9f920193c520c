//! What a commit weighs and takes in a group of 1000 built by one big add, after some of its members updated, each
//! in its turn by `UpdatePolicy`'s order. Takes some minutes. With `--plot` it draws `docs/mls-updates.svg`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{env, fmt::Write as _, fs, path::Path, time::Duration};

use common::{Peer, Staged};
use groups::timed;

#[path = "../../crates/cc-mls-layer/tests/common/mod.rs"]
mod common;
#[path = "shared/groups.rs"]
mod groups;

/// A tenth with `cargo xtask bench --quick`.
fn members() -> usize {
    if cc_benches::quick() { 100 } else { 1000 }
}

const UPDATED: [usize; 5] = [0, 1, 10, 100, 300];
const RUNS: usize = 5;

struct Point {
    updated: usize,
    bytes: usize,
    make: Duration,
}

fn main() {
    println!("updated   ciphertexts       bytes         make      process");
    let mut points = some_updated();
    points.push(all_updated());
    if env::args().any(|argument| argument == "--plot") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mls-updates.svg");
        fs::write(path, plot(&points)).unwrap();
    }
}

/// Founded by one add, then updated by members in the order of bisection. The founder and one other measure.
fn some_updated() -> Vec<Point> {
    let mut founder = Peer::founder("0").alone();
    let mut joiners: Vec<_> =
        (1..members()).map(|i| Peer::joiner(&i.to_string()).alone()).collect();
    let packages: Vec<_> = joiners.iter_mut().map(Peer::key_package).collect();
    let welcome = founder.stage(&packages, &[]).unwrap();
    founder.confirm();
    let mut observer = joiners.remove(0);
    observer.join(&welcome).unwrap();
    // Leaf i is at place i, less the founder and the observer.
    let mut order: Vec<(u32, Peer)> = (2u32..).zip(joiners).collect();
    order.sort_by_key(|(leaf, _)| leaf.reverse_bits());
    let mut waiting: Vec<Peer> =
        order.into_iter().take(UPDATED[UPDATED.len() - 1]).map(|(_, peer)| peer).collect();
    waiting.reverse();
    for peer in &mut waiting {
        peer.join(&welcome).unwrap();
    }
    let mut points = Vec::new();
    let mut updated = 0;
    for target in UPDATED.into_iter().filter(|target| target + 2 < members()) {
        while updated < target {
            let mut peer = waiting.pop().unwrap();
            let staged = peer.stage(&[], &[]).unwrap();
            let others = [&mut founder, &mut observer].into_iter().chain(&mut waiting);
            others.for_each(|other| drop(other.process(&staged).unwrap()));
            updated += 1;
        }
        let (point, commits) = point(updated, &mut founder, &mut observer);
        for staged in &commits {
            waiting.iter_mut().for_each(|other| drop(other.process(staged).unwrap()));
        }
        points.push(point);
    }
    points
}

/// Each member adds the next one, which makes each of them commit once.
fn all_updated() -> Point {
    let mut last = Peer::founder("0").alone();
    for i in 1..members() {
        let mut next = Peer::joiner(&i.to_string()).alone();
        let package = next.key_package();
        let staged = last.stage(&[package], &[]).unwrap();
        last.confirm();
        next.join(&staged).unwrap();
        if i + 1 == members() {
            return point(members(), &mut next, &mut last).0;
        }
        last = next;
    }
    unreachable!("there are more members than one")
}

/// Commits of one member, processed by another. The first fills the committer's own path and is not counted.
fn point(updated: usize, committer: &mut Peer, observer: &mut Peer) -> (Point, Vec<Staged>) {
    let (mut make, mut process, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    let mut ciphertexts = 0;
    for _ in 0..=RUNS {
        ciphertexts = committer.layer.commit_cost().unwrap().ciphertexts;
        let (time, staged) = timed(|| {
            let staged = committer.stage(&[], &[]).unwrap();
            committer.confirm();
            staged
        });
        make.push(time);
        process.push(timed(|| observer.process(&staged).unwrap()).0);
        commits.push(staged);
    }
    // The fastest, which other work on the machine disturbs least.
    let fastest = |times: &[Duration]| *times[1..].iter().min().unwrap();
    let bytes = commits[RUNS].parts.commit.len();
    let point = Point { updated, bytes, make: fastest(&make) };
    let process = fastest(&process);
    let row = updated.to_string();
    let figure = |series, unit, value: usize| {
        cc_benches::figure("updates", &row, series, unit, f64::from(u32::try_from(value).unwrap()));
    };
    figure("bytes", "B", bytes);
    figure("ciphertexts", "", ciphertexts);
    cc_benches::time("updates", &row, "make", point.make);
    cc_benches::time("updates", &row, "process", process);
    println!(
        "{updated:>7}{ciphertexts:>14}{:>12}{:>13.2?}{:>13.2?}",
        point.bytes, point.make, process
    );
    (point, commits)
}

/// Two panels of bars: bytes, and the time to make a commit.
fn plot(points: &[Point]) -> String {
    let bytes = |point: &Point| point.bytes as f64 / 1000.0;
    let time = |point: &Point| point.make.as_secs_f64() * 1000.0;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 260\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"720\" height=\"260\" fill=\"#fff\"/>\n",
    );
    panel(&mut svg, 20, "Size of a commit, KB", points, &bytes);
    panel(&mut svg, 380, "Time to make a commit, ms", points, &time);
    svg += "<text x=\"360\" y=\"250\" text-anchor=\"middle\">members of 1000 that have updated</text>\n</svg>\n";
    svg
}

fn panel(svg: &mut String, x: usize, title: &str, points: &[Point], value: &dyn Fn(&Point) -> f64) {
    let largest = points.iter().map(value).fold(0.0, f64::max);
    writeln!(svg, "<text x=\"{x}\" y=\"24\" font-weight=\"bold\">{title}</text>").unwrap();
    for (at, point) in points.iter().enumerate() {
        let (left, value) = (x + at * 53, value(point));
        let height = (value / largest * 150.0).max(1.0);
        let (top, middle) = (210.0 - height, left + 20);
        writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top:.1}\" width=\"40\" height=\"{height:.1}\" fill=\"#47a\"/>\n\
             <text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.1}</text>\n\
             <text x=\"{middle}\" y=\"228\" text-anchor=\"middle\">{}</text>",
            top - 5.0,
            point.updated,
        )
        .unwrap();
    }
}
