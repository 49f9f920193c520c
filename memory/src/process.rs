//! The other process, and what this one asks of it.

use std::{
    env,
    hint::black_box,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    log::Log,
    search::{Memory, Needles},
};

const NAME: &str = "CC_MEMORY_TEST_NAME";
const LOG: &str = "CC_MEMORY_TEST_LOG";

/// Lets another process, this program with the test `part` alone, do what has this name, and says what secrets it still
/// has in memory.
pub fn search_after(name: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["part", "--exact", "--nocapture", "--test-threads=1"])
        .env(NAME, name)
        .env(LOG, &log)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = loop {
        let line = said.next().expect("the other process failed").unwrap();
        if let Some(addresses) = line.strip_prefix("controls at ") {
            break addresses.split(' ').map(|at| at.parse().unwrap()).collect::<Vec<u64>>();
        }
    };
    assert_eq!(addresses.len(), 2);
    let memory = Memory::of(child.id());
    // The control keys are where the other process says, and there alone would they be overlooked.
    let controls = [STACK, HEAP].map(control);
    let mut seen = [false; 2];
    memory.scan(controls[0].len(), |_, first, bytes| {
        for number in 0..2 {
            let at = addresses[number].checked_sub(first).and_then(|at| at.try_into().ok());
            let there = at.and_then(|at: usize| bytes.get(at..));
            seen[number] |= there.is_some_and(|there| there.starts_with(&controls[number]));
        }
    });
    assert_eq!(seen, [true; 2], "a key that is in memory was not found");
    let entries = Log::read(&log);
    let needles = Needles::of(&entries);
    assert!(needles.len() >= 16, "{} windows are too few to look for", needles.len());
    let found = needles.find(&memory, addresses[1]);
    writeln!(child.stdin.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    found
}

/// Does what [`search_after`] asks for, if this is the other process, and waits until it has been searched.
pub fn answer(run: fn(&str, &Log)) {
    let (Ok(name), Ok(path)) = (env::var(NAME), env::var(LOG)) else { return };
    let log = Log::default();
    black_box(run)(&name, &log);
    log.write(&PathBuf::from(path));
    let (on_stack, on_heap) = (control(black_box(STACK)), Box::new(control(black_box(HEAP))));
    let stack_address = black_box(&on_stack).as_ptr().addr();
    let heap_address = black_box(&on_heap).as_ptr().addr();
    let mut out = std::io::stdout();
    writeln!(out, "\ncontrols at {stack_address} {heap_address}").unwrap();
    out.flush().unwrap();
    // Until the other one has looked.
    let _ = std::io::stdin().read(&mut [0]).unwrap();
    black_box((&on_stack, &on_heap));
}

const STACK: u8 = 3;
const HEAP: u8 = 5;

/// A key that is in the program nowhere as it is.
fn control(seed: u8) -> [u8; 32] {
    let mut key = [0; 32];
    for (byte, number) in key.iter_mut().zip(0u8..) {
        *byte = number.wrapping_mul(seed).wrapping_mul(29) ^ number.rotate_left(seed.into());
    }
    key
}
