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
#[derive(Debug)]
pub struct Region {
    addresses: Range<u64>,
    name: String,
}

impl Region {
    /// What it is where it is not what the allocator has. All that has no name is the stack of a thread then.
    fn kind(&self) -> &'static str {
        match self.name.as_str() {
            "" | "[stack]" => "stack",
            "[heap]" => "heap of C",
            _ => "static",
        }
    }
}

/// The memory of another process.
#[derive(Debug)]
pub struct Memory {
    regions: Vec<Region>,
    bytes: File,
    /// Says of every page whether there is one.
    pages: File,
}

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages that are read at once.
const PAGES: usize = 256;

impl Memory {
    pub fn of(pid: u32) -> Self {
        let mut regions = Vec::new();
        for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (start, end) = fields[0].split_once('-').unwrap();
            let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
            if fields[1].starts_with("rw") {
                let name = fields.get(5).copied().map(String::from).unwrap_or_default();
                regions.push(Region { addresses: start..end, name });
            }
        }
        let [bytes, pages] =
            ["mem", "pagemap"].map(|name| File::open(format!("/proc/{pid}/{name}")).unwrap());
        Self { regions, bytes, pages }
    }

    /// Shows all that the process can write in pieces, with where each is. So many bytes in a row are in one of them.
    pub fn scan(&self, row: usize, mut visit: impl FnMut(&Region, u64, &[u8])) {
        let mut bytes = vec![0; row + PAGES * PAGE];
        for region in &self.regions {
            let mut at = region.addresses.start;
            // The end of what was read before, for rows across it.
            let mut kept = 0;
            while at < region.addresses.end {
                let (is_there, pages) = self.run(at..region.addresses.end);
                let end = kept + pages * PAGE;
                if is_there {
                    self.bytes.read_exact_at(&mut bytes[kept..end], at).unwrap();
                    visit(region, at - kept as u64, &bytes[..end]);
                    kept = row - 1;
                    bytes.copy_within(end - kept..end, 0);
                } else {
                    kept = 0;
                }
                at += (pages * PAGE) as u64;
            }
        }
    }

    /// Whether the first page was ever used, and how many it is of which that holds; some of these at the most.
    fn run(&self, addresses: Range<u64>) -> (bool, usize) {
        let page = PAGE as u64;
        let pages = usize::try_from((addresses.end - addresses.start) / page).unwrap().min(PAGES);
        let mut entries = [0; 8 * PAGES];
        let entries = &mut entries[..8 * pages];
        self.pages.read_exact_at(entries, addresses.start / page * 8).unwrap();
        // The two highest bits: it is in memory, or swapped out.
        let mut used = entries.chunks_exact(8).map(|entry| entry[7] & 0xc0 != 0);
        let first = used.next().unwrap();
        (first, 1 + used.take_while(|used| *used == first).count())
    }
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
                if looks_random(window, entry.is_text)
                    && !is_public[at..at + WINDOW].contains(&true)
                {
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

    /// What is found: which bytes of which secret, and where; `heap` is an address in what the allocator has.
    pub(crate) fn find(&self, memory: &Memory, heap: u64) -> Vec<String> {
        let mut found = BTreeMap::<(usize, &str), Vec<usize>>::new();
        memory.scan(WINDOW, |region, _, bytes| {
            // Of all bytes of a process, without a call for each.
            let mut begin = 0;
            for (end, byte) in bytes.iter().enumerate() {
                begin = begin >> 8 | usize::from(*byte) << 16;
                if self.begins[begin]
                    && let Some(start) = end.checked_sub(2)
                    && let Some(window) = bytes[start..].first_chunk()
                    && let Some((number, at)) = self.places.get(window)
                {
                    let is_heap = region.addresses.contains(&heap);
                    let kind = if is_heap { "heap" } else { region.kind() };
                    found.entry((*number, kind)).or_default().push(*at);
                }
            }
        });
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
                format!("{}: bytes {runs:?} of {len}, {region}", entry.name)
            })
            .collect()
    }
}

fn begin(window: &[u8; WINDOW]) -> usize {
    let [a, b, c, ..] = *window;
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

/// Not mostly zeros, and no text but a secret one: 16 random bytes have 10 different ones or fewer once in 10^8.
fn looks_random(window: &[u8; WINDOW], is_text: bool) -> bool {
    let different: HashSet<u8> = window.iter().copied().collect();
    different.len() > 10
        && (is_text || !window.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
}
