//! What a stranger's bytes cost at every door of the layer: n bytes that are refused take no more memory than a
//! few copies of them, and no more time than a hash of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use cc_core::{
    ChangeParts, GroupLayer as _, Header, Hint, Kind, LayerDescriptor, LayerErrorKind, MemberId,
};
use cc_mls_layer::{MlsConfig, MlsIdentity, MlsLayer};
use common::{KeyPackage, POSITION, Peer, Staged, Wire, assemble};
use sha2::{Digest as _, Sha256};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Message,
    Commit,
    Welcome,
    KeyPackage,
    Inspect,
    Proposal,
    ExternalCommit,
    GroupInfo,
}

const DOORS: [Door; 8] = [
    Door::Message,
    Door::Commit,
    Door::Welcome,
    Door::KeyPackage,
    Door::Inspect,
    Door::Proposal,
    Door::ExternalCommit,
    Door::GroupInfo,
];

/// In a group whose members may use other libraries, for there are the most doors.
struct House {
    bob: Peer,
    outside: Peer,
    package: KeyPackage,
}

fn plain(name: &str, founder: bool) -> Peer {
    let config = MlsConfig::default().with_plain_peers(true);
    let identity = MlsIdentity::generate(name).unwrap();
    let layer = if founder {
        MlsLayer::create_with("", identity, config).unwrap()
    } else {
        MlsLayer::member_with(identity, config).unwrap()
    };
    Peer::new(layer).alone()
}

impl House {
    fn new() -> Self {
        let mut peers = assemble(plain("Alice", true), vec![plain("Bob", false)]);
        let mut outside = plain("Charlie", false);
        let package = outside.key_package();
        Self { bob: peers.pop().unwrap(), outside, package }
    }

    fn enter(&mut self, door: Door, bytes: &[u8]) -> Result<(), LayerErrorKind> {
        let staged = |bytes: &[u8]| Staged {
            parts: ChangeParts { commit: bytes.to_vec(), welcome: bytes.to_vec() },
            binding: [0; 32],
        };
        match door {
            Door::Message => {
                let hint = 1u64.to_be_bytes();
                let hint = Hint { position: POSITION, value: hint.as_slice().into() };
                let header = Header::new(Kind::Application, &self.bob.stack, vec![hint]);
                self.bob.open(&Wire { header, body: bytes.to_vec() }).map(|_| ())
            }
            Door::Commit => self.bob.process(&staged(bytes)).map(|_| ()),
            Door::Welcome => self.outside.join(&staged(bytes)).map(|_| ()),
            Door::KeyPackage => {
                let package = KeyPackage { part: bytes.to_vec(), ..self.package.clone() };
                self.bob.stage(&[package], &[]).map(|_| ())
            }
            Door::Inspect => {
                let inspected = self.bob.layer.inspect_key_package(bytes);
                inspected.map(|_| ()).map_err(|error| error.kind())
            }
            Door::Proposal => self.bob.transact(|layer| layer.process_proposal(bytes)).map(|_| ()),
            Door::ExternalCommit => {
                let commit = self.bob.transact(|l| l.process_external_commit(bytes, &[0; 32]));
                commit.map(|_| ())
            }
            Door::GroupInfo => {
                let joined = self.outside.transact(|l| l.join_from_outside(bytes, &[0; 32]));
                joined.map(|_| ())
            }
        }
    }
}

/// `opaque vector<V>` with a length of four bytes.
fn vector(content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap() | 0x8000_0000;
    [&len.to_be_bytes()[..], content].concat()
}

/// What used to be decoded before its kind was looked at, about `n` bytes of each.
fn garbage(house: &House, n: usize) -> Vec<(&'static str, Vec<u8>)> {
    let message =
        |format: u16, body: &[&[u8]]| [&[0, 1][..], &format.to_be_bytes(), &body.concat()].concat();
    let group_id = house.bob.layer.group_id().unwrap();
    let private = |content: u8, rest: &[&[u8]]| {
        let head = [
            &[u8::try_from(group_id.len()).unwrap()][..],
            group_id,
            &1u64.to_be_bytes(),
            &[content],
        ];
        message(2, &[&head.concat(), &rest.concat()])
    };
    let zeros = vec![0; n];
    // Extensions of no content, and certificates of none: three and one bytes each.
    let extensions = vector(&[0x0a, 0x0a, 0].repeat(n / 3));
    let leaf = |credential: &[u8], extensions: &[u8]| {
        let keys = [vec![32], vec![7; 32], vec![32], vec![7; 32]].concat();
        [&keys, credential, &[0; 5], &[1], &[0; 16], extensions, &[0]].concat()
    };
    let basic = [0, 1, 1, b'x'];
    let key_package = |leaf: &[u8], extensions: &[u8]| {
        let front = [0, 1, 0, 1, 32].into_iter().chain([8; 32]).collect::<Vec<u8>>();
        message(5, &[&front, leaf, extensions, &[0]])
    };
    vec![
        ("zeros", zeros.clone()),
        ("a welcome of zeros", message(3, &[&[0, 1], &vector(&zeros), &[0]])),
        ("a welcome with no end", message(3, &[&[0, 1], &vector(&zeros)])),
        ("a message of this epoch", private(1, &[&[0], &[0], &vector(&zeros)])),
        ("a proposal of this epoch", private(2, &[&[0], &[0], &vector(&zeros)])),
        ("a commit of this epoch", private(3, &[&[0], &[0], &vector(&zeros)])),
        ("much authenticated data", private(1, &[&vector(&zeros), &[0], &[0]])),
        ("extensions of a key package", key_package(&leaf(&basic, &[0]), &extensions)),
        ("extensions of a leaf", key_package(&leaf(&basic, &extensions), &[0])),
        ("a long name", key_package(&leaf(&[&[0, 1][..], &vector(&zeros)].concat(), &[0]), &[0])),
        (
            "empty certificates",
            key_package(&leaf(&[&[0, 2][..], &vector(&zeros)].concat(), &[0]), &[0]),
        ),
        (
            "a tree in a key package",
            key_package(&leaf(&basic, &[0]), &vector(&[&[0, 2][..], &vector(&zeros)].concat())),
        ),
        ("an external commit of proposals", {
            let head = [
                &[u8::try_from(group_id.len()).unwrap()][..],
                group_id,
                &1u64.to_be_bytes(),
                &[4, 0, 3],
            ];
            message(1, &[&head.concat(), &vector(&zeros), &[0]])
        }),
        (
            "a GroupInfo of extensions",
            message(4, &[&[0, 1, 0, 1, 0], &[0; 8], &[0, 0], &extensions, &[0; 8]]),
        ),
        ("a GroupInfo with a tree of blanks", {
            let tree = vector(&[&[0, 2][..], &vector(&vector(&zeros))].concat());
            message(4, &[&[0, 1, 0, 1, 0], &[0; 8], &[0, 0], &[0], &tree, &[0; 6]])
        }),
    ]
}

/// Peak memory of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// One piece of garbage at all doors, in a process of its own: the peak only ever grows.
#[test]
#[ignore = "run by the next test"]
fn child() {
    let at: usize = std::env::var("CC_MLS_GARBAGE").unwrap().parse().unwrap();
    let mut house = House::new();
    // Whatever the first call of each needs is there.
    for door in DOORS {
        assert!(house.enter(door, b"x").is_err());
    }
    let (name, bytes) = garbage(&house, SIZE).swap_remove(at);
    // The copies that these tests make themselves.
    let copies = (bytes.clone(), bytes.clone(), bytes.clone());
    drop(copies);
    let before = peak();
    for door in DOORS {
        assert!(house.enter(door, &bytes).is_err(), "{name} at {door:?}");
    }
    // On one processor the name of the test stands in front of what it prints.
    println!("\ngrown: {}", peak().saturating_sub(before));
}

const SIZE: usize = 4 << 20;

#[test]
#[cfg(target_os = "linux")]
fn what_is_refused_takes_no_more_memory_than_a_few_copies_of_it() {
    let house = House::new();
    for (at, (name, bytes)) in garbage(&house, 3).into_iter().enumerate() {
        assert!(!bytes.is_empty());
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture"])
            .env("CC_MLS_GARBAGE", at.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let grown = text.lines().find_map(|line| line.trim().strip_prefix("grown: "));
        let Some(grown) = grown.and_then(|grown| grown.parse::<usize>().ok()) else {
            panic!("{name}: {text} {}", String::from_utf8_lossy(&output.stderr));
        };
        assert!(grown <= 2 * SIZE, "{name}: {grown} bytes for {SIZE}");
    }
}

/// Against SHA-256 of the same bytes, in a release build.
#[test]
#[ignore = "a measurement"]
fn what_is_refused_takes_no_more_time_than_a_hash_of_it() {
    let mut house = House::new();
    let mut worst = 0.0f64;
    for n in [64 << 10, 1 << 20, 16 << 20] {
        // A tree may be blank nearly everywhere, and each blank is one byte: there the bound is the number of
        // nodes of the largest tree, some milliseconds.
        let garbage = garbage(&house, n).into_iter().filter(|(name, _)| !name.contains("blanks"));
        for (name, bytes) in garbage {
            let hash = fastest(|| {
                std::hint::black_box(Sha256::digest(&bytes));
            });
            for door in DOORS {
                // Copies that a manager makes anyway.
                let copy = fastest(|| drop(std::hint::black_box((bytes.clone(), bytes.clone()))));
                let time = fastest(|| assert!(house.enter(door, &bytes).is_err()));
                let ratio = time.saturating_sub(copy).as_secs_f64() / hash.as_secs_f64();
                if ratio > 0.5 {
                    println!("{n} bytes, {name} at {door:?}: {time:?}, hash {hash:?}, {ratio:.2}");
                }
                worst = worst.max(ratio);
            }
        }
    }
    println!("at most {worst:.2} times SHA-256");
    assert!(worst <= 1.0, "{worst}");
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..7).map(once).min().unwrap()
}

#[test]
fn names_and_chains_of_others_have_bounds() {
    // The bounds of this member's own are those of everybody else's.
    let name = "x".repeat(MlsIdentity::MAX_NAME_LEN);
    let mut alice = Peer::founder("Alice");
    let mut long = Peer::joiner(&name);
    let package = long.key_package();
    let info = alice.layer.inspect_key_package(&package.part).unwrap();
    assert_eq!(info.name.as_deref(), Some(&name[..]));
    let staged = alice.stage(&[package], &[]).unwrap();
    alice.confirm();
    long.join(&staged).unwrap();
    assert!(MlsIdentity::generate(name + "x").is_err());
    let suite = MlsConfig::default().ciphersuite();
    let secret = cc_core::SecretBytes::new(vec![7; 32]);
    let chain = vec![vec![7; MlsIdentity::MAX_CHAIN_LEN]];
    assert!(MlsIdentity::x509(chain, suite, &secret, &[0; 32]).is_err());
    // What the id of a member is made of.
    let layer = LayerDescriptor { id: "cc.mls", version: 1, parameters: vec![0, 1] };
    assert_eq!(MemberId::of([(&layer, info.commitment)]), long.id);
}
