//! Reading the memory of a process, and looking for bytes in it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use crate::log::Entry;

/// Bytes in a row that are no coincidence.
const WINDOW: usize = 16;

/// What a process can write, with its name in `/proc/<pid>/maps`.
pub(crate) struct Region {
    pub addresses: Range<u64>,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// All memory that the process can write.
pub(crate) fn regions(pid: u32) -> Vec<Region> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut regions = Vec::new();
    for line in maps.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (start, end) = fields[0].split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        if !fields[1].starts_with("rw") {
            continue;
        }
        let mut bytes = vec![0; (end - start).try_into().unwrap()];
        memory.read_exact_at(&mut bytes, start).unwrap();
        let name = fields.get(5).map_or(String::from("mapped"), ToString::to_string);
        regions.push(Region { addresses: start..end, name, bytes });
    }
    regions
}

/// All `N` bytes in a row.
pub(crate) fn windows<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = &[u8; N]> {
    bytes.windows(N).filter_map(|window| window.first_chunk())
}

/// What is looked for: the windows of all secrets that have no byte in common with anything public.
pub(crate) struct Needles<'a> {
    entries: &'a [Entry],
    places: HashMap<[u8; WINDOW], (usize, usize)>,
    /// Which values the first bytes of windows have.
    begins: Vec<bool>,
}

impl<'a> Needles<'a> {
    pub(crate) fn of(entries: &'a [Entry]) -> Self {
        let public: HashSet<[u8; WINDOW]> = entries
            .iter()
            .filter(|entry| !entry.is_secret)
            .flat_map(|entry| windows::<WINDOW>(&entry.bytes).copied())
            .collect();
        let mut places = HashMap::new();
        let mut begins = vec![false; 1 << 24];
        for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_secret) {
            let mut is_public = vec![false; entry.bytes.len()];
            for (at, window) in windows::<WINDOW>(&entry.bytes).enumerate() {
                if public.contains(window) {
                    is_public[at..at + WINDOW].fill(true);
                }
            }
            for (at, window) in windows::<WINDOW>(&entry.bytes).enumerate() {
                if looks_random(window) && !is_public[at..at + WINDOW].contains(&true) {
                    places.entry(*window).or_insert((number, at));
                    begins[begin(window)] = true;
                }
            }
        }
        Self { entries, places, begins }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// What is found: which bytes of which secret, and where.
    pub(crate) fn find(&self, regions: &[Region], stack: u64) -> Vec<String> {
        let mut found = BTreeMap::<(usize, &str), Vec<usize>>::new();
        for region in regions {
            let on_stack = region.addresses.contains(&stack);
            let kind = if on_stack { "the stack" } else { region.name.as_str() };
            for window in windows::<WINDOW>(&region.bytes) {
                if self.begins[begin(window)]
                    && let Some((number, at)) = self.places.get(window)
                {
                    found.entry((*number, kind)).or_default().push(*at);
                }
            }
        }
        found
            .into_iter()
            .map(|((number, region), mut found_at)| {
                found_at.sort_unstable();
                found_at.dedup();
                let entry = &self.entries[number];
                let mut runs: Vec<Range<usize>> = Vec::new();
                for at in found_at {
                    match runs.last_mut() {
                        Some(run) if run.end >= at => run.end = at + WINDOW,
                        _ => runs.push(at..at + WINDOW),
                    }
                }
                let len = entry.bytes.len();
                format!("{}: bytes {runs:?} of {len}, in {region}", entry.name)
            })
            .collect()
    }
}

fn begin(window: &[u8; WINDOW]) -> usize {
    let [a, b, c, ..] = *window;
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

/// Not text, not mostly zeros: 16 random bytes have 10 different ones or fewer once in 10^8.
fn looks_random(window: &[u8; WINDOW]) -> bool {
    let different: HashSet<u8> = window.iter().copied().collect();
    different.len() > 10 && !window.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}
