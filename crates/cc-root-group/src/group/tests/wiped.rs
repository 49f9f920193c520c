//! Searches this process for a root that was sealed, opened and dropped.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    string::String,
    sync::Mutex,
    thread,
};

use alloc::boxed::Box;

use super::{
    hostile::{ID, four, parts},
    *,
};
use crate::group::{root::Step, roster::Roster};

/// One test at a time: what a search copies to look at may have another test's root in it.
static ALONE: Mutex<()> = Mutex::new(());

/// Not the bytes themselves, or else the search would find what it searches with.
fn masked(bytes: &[u8; 32]) -> [u8; 32] {
    bytes.map(|byte| byte ^ MASK)
}

const MASK: u8 = 0x5a;

/// Whether memory that can be written has the bytes that these are the mask of, or one half of them: the
/// allocator writes over the beginning of a block that was freed.
fn in_memory(masked: &[u8; 32]) -> bool {
    let (first, second) = masked.split_at(HALF);
    let mut maps = String::new();
    File::open("/proc/self/maps").unwrap().read_to_string(&mut maps).unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    // Chunks overlap by what a match needs.
    let mut chunk = vec![0; 1 << 20];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [mut start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        while start < end {
            let len = usize::try_from(end - start).unwrap().min(chunk.len());
            memory.seek(SeekFrom::Start(start)).unwrap();
            // Another test may have given it back meanwhile.
            if memory.read_exact(&mut chunk[..len]).is_err() {
                break;
            }
            if [first, second].into_iter().any(|half| has_half(&chunk[..len], half)) {
                return true;
            }
            let last = u64::try_from(len).unwrap() == end - start;
            if last {
                break;
            }
            start += u64::try_from(len - HALF).unwrap();
        }
    }
    false
}

/// Half the length of a root.
const HALF: usize = 16;

/// Looks at the surroundings of one byte alone, one that is not zero as most of the memory is.
fn has_half(chunk: &[u8], masked: &[u8]) -> bool {
    let at = masked.iter().position(|byte| *byte != MASK).unwrap_or(0);
    memchr::memchr_iter(masked[at] ^ MASK, chunk).any(|found| {
        let window = found.checked_sub(at).and_then(|start| chunk.get(start..start + HALF));
        window.is_some_and(|it| it.iter().zip(masked).all(|(byte, masked)| byte ^ MASK == *masked))
    })
}

/// Runs `work` where its stack is gone afterwards: what the libraries leave on it is another matter. 64 MiB
/// are more than the C library keeps of the stacks of threads that ended.
fn without_its_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap()
}

pub fn a_root_is_nowhere_in_memory_once_it_was_dropped<K: MemberKeyPair>(suite: SuiteOf<K>) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let _alone = ALONE.lock().unwrap();
    let control = without_its_stack(|| {
        let planted = Box::new(*Root::random(K::PublicKey::LABEL).unwrap().expose());
        let control = masked(&planted);
        let block: &'static mut [u8; 32] = Box::leak(planted);
        (control, block)
    });
    assert!(in_memory(&control.0), "the search finds what is there: {:p}", control.1);

    // One thread for each thing that is done with a root, and nothing after it that would write over
    // what it leaves.
    let change = Change::<K>::new(suite);
    assert!(!in_memory(&without_its_stack(move || change.derive())), "derived");
    let change = Change::<K>::new(suite);
    assert!(!in_memory(&without_its_stack(move || change.seal().1)), "sealed");
    let change = Change::<K>::new(suite);
    assert!(!in_memory(&without_its_stack(move || change.welcome().1)), "invited");
    let mut change = Change::<K>::new(suite);
    let [processed, joined] = without_its_stack(move || {
        let (part, root) = change.seal();
        let _ = change.b.process_commit(&part, &parts(9)).unwrap();
        let (welcome, invited) = change.welcome();
        change.d.join(&welcome, &parts(9)).unwrap();
        [root, invited]
    });
    assert!(!in_memory(&processed), "processed");
    assert!(!in_memory(&joined), "joined");
}

/// A change that removes the third of [`four`] and adds the fourth.
struct Change<K: MemberKeyPair> {
    a: Group<K>,
    b: Group<K>,
    d: Group<K>,
    step: Step,
    roster: Roster<K::PublicKey>,
    entry: Entry<K::PublicKey>,
}

impl<K: MemberKeyPair> Change<K> {
    fn new(suite: SuiteOf<K>) -> Self {
        let [a, b, _, d] = four::<K>(suite);
        let entry = Entry { id: ID[3], key: d.keys.public_key().clone() };
        let now = a.state.latest().present().unwrap();
        let roster = now.roster.changed(None, &[ID[2]], core::slice::from_ref(&entry)).unwrap();
        let step = now.step(&roster, &[9; 32]).unwrap();
        Self { a, b, d, step, roster, entry }
    }

    fn derive(&self) -> [u8; 32] {
        let now = self.a.state.latest().present().unwrap();
        let (root, _) = now.secrets.next_root(&[9; 32]).unwrap();
        masked(root.expose())
    }

    fn seal(&self) -> (Vec<u8>, [u8; 32]) {
        let now = self.a.state.latest().present().unwrap();
        let root = Root::random(K::PublicKey::LABEL).unwrap();
        let commitment = root.commitment(&self.step);
        let (removed, added) = (vec![ID[2]], vec![self.entry.clone()]);
        let change = CommittedChange { ends: now.number, removed, added, commitment };
        let commit = Commit::seal(&self.a.keys, ID[0], now, &self.step, change, &root).unwrap();
        let mut part = commit.encode().unwrap();
        commit::append_tag(&mut part, now, &[9; 32]);
        (part, masked(root.expose()))
    }

    fn welcome(&self) -> (Vec<u8>, [u8; 32]) {
        let root = Root::random(K::PublicKey::LABEL).unwrap();
        let step = &self.step;
        let commitment = root.commitment(step);
        let roster = self.roster.clone();
        let next = Generation::new(&root, step, &commitment, [7; 32], roster);
        let (keys, commitment, next, sender) = (&self.a.keys, &commitment, &next, ID[0]);
        let invited = Invited { keys, sender, step, commitment, next, root: &root };
        (invited.welcome(core::slice::from_ref(&self.entry)).unwrap(), masked(root.expose()))
    }
}
