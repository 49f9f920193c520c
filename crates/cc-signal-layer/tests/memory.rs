//! What a process that has sent, received and dropped everything still has in its memory: none of the
//! secrets that were there. A child process does the work in a thread, so that the stack below it stays as
//! the work has left it, and then reads its own memory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
    process::Command,
    sync::mpsc,
    thread,
};

use cc_signal_layer::{Account, Agree, Limits, SenderKeys, Sessions};

const CHILD: &str = "CC_SIGNAL_MEMORY_CHILD";
/// Secrets are remembered under this mask, or else the list of them would be found.
const MASK: u8 = 0x5c;
/// Secrets are looked for by halves.
const NEEDLE: usize = 16;

type Secrets = Vec<(String, [u8; NEEDLE])>;

#[test]
fn nothing_is_left_in_memory() {
    if std::env::var_os(CHILD).is_some() {
        return look();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["nothing_is_left_in_memory", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}\n{errors}");
}

fn look() {
    let (done, worked) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let mut secrets = Secrets::new();
        deep(&mut || work(&mut secrets));
        let left = deep(&mut plant);
        secrets.extend(left);
        done.send(secrets).unwrap();
        let _ = wait.recv();
    });
    let mut secrets = worked.recv().unwrap();
    let on_heap = random().to_vec();
    remember(&mut secrets, "control on the heap", &on_heap);
    let watched = secrets.len();
    let found = scan(&secrets);
    black_box(on_heap);
    drop(release);
    worker.join().unwrap();
    println!("{watched} halves of secrets, found {found:?}");
    assert!(watched > 80, "{watched}");
    assert_eq!(found, ["control in a frame that has returned", "control on the heap"]);
}

/// Runs `work` deeper in the stack than what the thread does afterwards.
#[inline(never)]
fn deep<T>(work: &mut dyn FnMut() -> T) -> T {
    let room = black_box([1_u8; 64 * 1024]);
    let value = work();
    black_box(&room);
    value
}

/// Leaves a key in a frame that has returned, as a library does that overwrites nothing.
fn plant() -> Secrets {
    let mut secrets = Secrets::new();
    #[inline(never)]
    fn leave(secrets: &mut Secrets) {
        let room = [0_u8; 8 * 1024];
        let key = black_box(random());
        remember(secrets, "control in a frame that has returned", &key);
        black_box((&key, &room));
    }
    leave(&mut secrets);
    secrets
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    cc_core::random::fill(&mut bytes).unwrap();
    bytes
}

/// Two people and a group, with everything that this crate has.
fn work(secrets: &mut Secrets) {
    let mut alice = Account::generate().unwrap();
    let mut bob = Account::generate().unwrap();
    bob.replenish(1).unwrap();
    of_account(secrets, "alice's", alice.export().expose());
    of_account(secrets, "bob's", bob.export().expose());
    let bundle = bob.one_time_bundles(1).pop().unwrap();
    let mut to_bob = Sessions::new(*bob.identity(), Limits::default());
    let mut to_alice = Sessions::new(*alice.identity(), Limits::default());
    to_bob.begin(&alice, &bundle, Agree::Pqxdh).unwrap();
    // A whole exchange of post-quantum keys takes 44 rounds.
    for round in 0..50 {
        of_sessions(secrets, &format!("alice's session, round {round}"), to_bob.export().expose());
        let late = to_bob.encrypt(b"", b"late").unwrap();
        let message = to_bob.encrypt(b"", b"text").unwrap();
        to_alice.decrypt(&mut bob, b"", &message).unwrap();
        of_sessions(secrets, &format!("bob's session, round {round}"), to_alice.export().expose());
        to_alice.decrypt(&mut bob, b"", &late).unwrap();
        let message = to_alice.encrypt(b"", b"text").unwrap();
        to_bob.decrypt(&mut alice, b"", &message).unwrap();
        to_bob = Sessions::load(to_bob.export().expose(), Limits::default()).unwrap();
        bob = Account::load(bob.export().expose()).unwrap();
    }
    bob.rotate_prekeys().unwrap();
    of_account(secrets, "bob's, rotated,", bob.export().expose());

    let mut sender = SenderKeys::generate(b"alice", Limits::default()).unwrap();
    let mut reader = SenderKeys::generate(b"bob", Limits::default()).unwrap();
    reader.insert(b"alice", sender.sender_chain().distribution().expose()).unwrap();
    for _ in 0..2 {
        of_sender_keys(secrets, sender.export().expose());
        let message = sender.sender_chain_mut().encrypt(b"", b"text").unwrap();
        let (_, _, staged) = reader.open(b"", &message).unwrap();
        reader.apply(staged).unwrap();
        sender = SenderKeys::load(sender.export().expose(), Limits::default()).unwrap();
    }
    sender.sender_chain_mut().rotate().unwrap();
    of_sender_keys(secrets, sender.export().expose());
}

fn remember(secrets: &mut Secrets, name: &str, secret: &[u8]) {
    for half in secret.chunks_exact(NEEDLE) {
        let mut masked = [MASK; NEEDLE];
        masked.iter_mut().zip(half).for_each(|(masked, byte)| *masked ^= byte);
        if secrets.iter().all(|(_, known)| *known != masked) {
            secrets.push((String::from(name), masked));
        }
    }
}

/// Secrets of 32 bytes at these places of a record.
fn at(secrets: &mut Secrets, name: &str, record: &[u8], places: &[usize]) {
    for place in places {
        remember(secrets, &format!("{name} {place}"), &record[*place..*place + 32]);
    }
}

/// The records of an export, by name (`state.rs`).
fn records(export: &[u8]) -> BTreeMap<Vec<u8>, &[u8]> {
    let mut rest = &export[6..];
    let mut next = || {
        let (len, after) = rest.split_first_chunk()?;
        let (bytes, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        rest = after;
        Some(bytes)
    };
    let mut records = BTreeMap::new();
    while let Some(name) = next() {
        records.insert(name.to_vec(), next().unwrap());
    }
    records
}

/// Both seeds of the identity, and the prekeys.
fn of_account(secrets: &mut Secrets, name: &str, export: &[u8]) {
    for (key, record) in records(export) {
        match key.first() {
            None => at(secrets, &format!("{name} account"), record, &[0, 32, 73, 105, 137]),
            Some(b'k') => at(secrets, &format!("{name} one-time prekey"), record, &[2]),
            Some(_) => {}
        }
    }
}

/// Root, ratchet key, header keys and chains; former header keys; skipped keys.
fn of_sessions(secrets: &mut Secrets, name: &str, export: &[u8]) {
    for (key, record) in records(export) {
        match key.len() {
            8 => {
                let handshake = u32::from_be_bytes(record[177..181].try_into().unwrap()) as usize;
                let ratchet = &record[181 + handshake..];
                let (sending, len): (&[usize], _) = match ratchet[32] {
                    0 => (&[33], 32),
                    1 => (&[], 32),
                    _ => (&[33, 65, 97], 100),
                };
                at(secrets, name, ratchet, &[0]);
                at(secrets, &format!("{name}, sending"), ratchet, sending);
                let rest = &ratchet[33 + len..];
                at(secrets, &format!("{name}, next"), rest, &[0]);
                let rest = &rest[32..];
                let rest = if rest[0] == 1 {
                    at(secrets, &format!("{name}, last"), rest, &[1]);
                    &rest[33..]
                } else {
                    &rest[1..]
                };
                let rest = if rest[4] == 1 {
                    at(secrets, &format!("{name}, receiving"), rest, &[53, 85, 125]);
                    &rest[165..]
                } else {
                    &rest[45..]
                };
                of_spqr(secrets, name, rest);
            }
            14 => at(secrets, &format!("{name}, epoch"), record, &[0, 32]),
            16 => at(secrets, &format!("{name}, former"), record, &[16]),
            18 | 20 => at(secrets, &format!("{name}, skipped"), record, &[1]),
            _ => {}
        }
    }
}

/// Root, chains of the present and the next epoch, authenticator, and the seed or randomness of the exchange.
fn of_spqr(secrets: &mut Secrets, name: &str, record: &[u8]) {
    at(secrets, &format!("{name}, post-quantum"), record, &[0, 40, 72]);
    let braid = if record[108] == 1 {
        at(secrets, &format!("{name}, next epoch"), record, &[109, 141]);
        &record[177..]
    } else {
        &record[109..]
    };
    let drawn: &[usize] = match braid[68] {
        1..=4 => &[69, 101],
        7..=9 => &[69],
        _ => &[],
    };
    at(secrets, &format!("{name}, authenticator"), braid, &[4, 36]);
    at(secrets, &format!("{name}, braid"), braid, drawn);
}

fn of_sender_keys(secrets: &mut Secrets, export: &[u8]) {
    at(secrets, "chain", records(export)[&b"o"[..]], &[0, 32]);
}

/// The names of those that are in the memory of this process.
fn scan(secrets: &Secrets) -> Vec<String> {
    let mut starts = vec![false; 1 << 16];
    for (_, masked) in secrets {
        starts[start(masked, MASK)] = true;
    }
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        while from < to {
            let len = usize::try_from((to - from).min(1 << 20)).unwrap();
            let Ok(read) = memory.read_at(&mut chunk[..len], from) else { break };
            for window in chunk[..read].windows(NEEDLE).filter(|window| starts[start(window, 0)]) {
                for (name, masked) in secrets {
                    let same =
                        window.iter().zip(masked).all(|(byte, masked)| byte ^ MASK == *masked);
                    if same && !found.contains(name) {
                        found.push(name.clone());
                    }
                }
            }
            if read < NEEDLE {
                break;
            }
            // The next chunk begins within the end of this one.
            let step = if from + read as u64 >= to { read } else { read - NEEDLE + 1 };
            from += step as u64;
        }
    }
    found.sort();
    found
}

fn start(bytes: &[u8], mask: u8) -> usize {
    usize::from(bytes[0] ^ mask) << 8 | usize::from(bytes[1] ^ mask)
}
