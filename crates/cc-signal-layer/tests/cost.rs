//! What messages and changes cost as the group grows. Measurements, to be run by hand:
//! `cargo test --release -p cc-signal-layer --test cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::time::{Duration, Instant};

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, GroupLayer, Header, Kind, LayerContext,
    MemberId, NewMember, PartContext, Restore, StackId,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use cc_signal_layer::{Account, SignalLayer};

#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_message() {
    for members in [2usize, 100, 300] {
        let start = Instant::now();
        let mut peers = assemble(members);
        let assembled = start.elapsed();
        // All have spoken, and a few of each one's messages were skipped.
        let start = Instant::now();
        let first = peers[1].seal();
        let first_time = start.elapsed();
        peers[0].open(&first);
        for sender in (0..members).filter(|sender| *sender != 1) {
            for skipped in 0..6 {
                let wire = peers[sender].seal();
                if skipped == 5 || skipped == 0 {
                    for reader in (0..2).filter(|reader| *reader != sender) {
                        peers[reader].open(&wire);
                    }
                }
            }
        }
        let (mut send, mut receive) = (Vec::new(), Vec::new());
        let mut len = 0;
        for _ in 0..640 {
            let start = Instant::now();
            let wire = peers[1].seal();
            send.push(start.elapsed());
            let start = Instant::now();
            peers[0].open(&wire);
            receive.push(start.elapsed());
            len = wire.len();
        }
        println!(
            "{members} members, assembled in {assembled:?}: send {:?} mean {:?}, receive {:?} mean \
             {:?}, {len} bytes; first message {first_time:?}, {} bytes",
            median(&mut send),
            mean(&send),
            median(&mut receive),
            mean(&receive),
            first.len(),
        );
        let (mut stores, mut saving) = ([MemoryStore::new(), MemoryStore::new()], Vec::new());
        let all = [0, 1].map(|n| peers[n].save(&mut stores[n]));
        let (mut sent, mut received) = (0, 0);
        for _ in 0..100 {
            let wire = peers[1].seal_unapplied();
            let start = Instant::now();
            sent = peers[1].save(&mut stores[1]);
            saving.push(start.elapsed());
            peers[0].open_unapplied(&wire);
            let start = Instant::now();
            received = peers[0].save(&mut stores[0]);
            saving.push(start.elapsed());
        }
        let start = Instant::now();
        peers[0].layer = SignalLayer::restore(&scope().of(&stores[0])).unwrap();
        let restore = start.elapsed();
        println!(
            "    in a store: {} bytes in {} records, restored in {restore:?}; a save {:?}, for a \
             message sent {sent} bytes, received {received} bytes",
            all[0],
            stores[0].len(),
            median(&mut saving),
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_change() {
    for members in [2usize, 100, 300] {
        let mut peers = assemble(members);
        let last = peers[members - 1].id;
        let removed = if members > 2 { vec![last] } else { Vec::new() };
        let changes =
            [("update", false, &[][..]), ("addition", true, &[]), ("removal", false, &removed[..])];
        for (binding, (name, adds, removed)) in (2..).zip(changes) {
            let context = parts(binding);
            let mut new = Peer::new(false);
            let package = new.layer.key_package(&context).unwrap();
            new.layer.apply();
            let added = [NewMember { id: new.id, part: &package, binding: context.binding }];
            let added = if adds { &added[..] } else { &[] };
            let start = Instant::now();
            let request = ChangeRequest { added, removed };
            let change = peers[1].layer.stage_change(&request, &context).unwrap();
            let mut commit = Buffer::new(&change.commit);
            in_context(|context| peers[1].layer.seal(context, &mut commit)).unwrap();
            peers[1].layer.apply();
            peers[1].layer.confirm_change().unwrap();
            peers[1].layer.apply();
            let stage = start.elapsed();
            let commit = commit.into_vec();
            let start = Instant::now();
            let mut opened = Buffer::new(&commit);
            in_context(|context| peers[0].layer.open(context, &mut opened)).unwrap();
            let _ = peers[0].layer.process_commit(opened.as_slice(), &context).unwrap();
            peers[0].layer.apply();
            let process = start.elapsed();
            let mut joined = Duration::ZERO;
            if adds {
                let start = Instant::now();
                new.layer.join(&change.welcome, &context).unwrap();
                new.layer.apply();
                joined = start.elapsed();
            }
            let start = Instant::now();
            let first = peers[1].seal();
            let sealing = start.elapsed();
            let other = peers[0].seal();
            let start = Instant::now();
            peers[0].open(&first);
            let opening = start.elapsed();
            println!(
                "{members} members, {name}: commit {} bytes, welcome {} bytes, made in {stage:?}, \
                 processed in {process:?}, joined in {joined:?}; the committer's first message {} \
                 bytes, sealed in {sealing:?}, opened in {opening:?}; another's {} bytes",
                commit.len(),
                change.welcome.len(),
                first.len(),
                other.len(),
            );
        }
    }
}

/// A member, driven through the traits as a manager drives it.
struct Peer {
    layer: SignalLayer,
    id: MemberId,
}

impl Peer {
    fn new(founding: bool) -> Self {
        let mut layer = SignalLayer::group(Account::generate().unwrap());
        let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
        let stack = StackId::of(&[layer.descriptor()]);
        layer.attach(&Attachment { stack, position: 0, member: Some(id), founding }).unwrap();
        layer.apply();
        Self { layer, id }
    }

    /// A message of 100 bytes.
    fn seal(&mut self) -> Vec<u8> {
        let wire = self.seal_unapplied();
        self.layer.apply();
        wire
    }

    fn seal_unapplied(&mut self) -> Vec<u8> {
        let mut buffer = Buffer::new(&[7; 100]);
        in_context(|context| self.layer.seal(context, &mut buffer)).unwrap();
        buffer.into_vec()
    }

    fn open(&mut self, wire: &[u8]) {
        self.open_unapplied(wire);
        self.layer.apply();
    }

    fn open_unapplied(&mut self, wire: &[u8]) {
        let mut buffer = Buffer::new(wire);
        in_context(|context| self.layer.open(context, &mut buffer)).unwrap();
        assert_eq!(buffer.as_slice(), [7; 100]);
    }

    /// Saves and applies; how many bytes of names and values were written.
    fn save(&mut self, store: &mut MemoryStore) -> usize {
        let mut batch = Batch::new();
        let mut to = match store.is_empty() {
            true => batch.new_scope(scope()),
            false => batch.scope(scope()),
        };
        self.layer.save(&mut to).unwrap();
        store.commit(&batch).unwrap();
        self.layer.apply();
        let len = |(_, name, change): (_, &[u8], Change<'_>)| match change {
            Change::Put(value) => name.len() + value.expose().len(),
            Change::Delete => name.len(),
        };
        batch.changes().map(len).sum()
    }
}

fn scope() -> Scope {
    Scope::new("layer")
}

/// The first one founds the group and adds the others.
fn assemble(members: usize) -> Vec<Peer> {
    let context = parts(1);
    let mut peers: Vec<_> = (0..members).map(|n| Peer::new(n == 0)).collect();
    let mut packages = Vec::new();
    for new in &mut peers[1..] {
        packages.push((new.id, new.layer.key_package(&context).unwrap()));
        new.layer.apply();
    }
    let added: Vec<_> =
        packages.iter().map(|(id, part)| NewMember { id: *id, part, binding: [1; 32] }).collect();
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = peers[0].layer.stage_change(&request, &context).unwrap();
    peers[0].layer.apply();
    peers[0].layer.confirm_change().unwrap();
    peers[0].layer.apply();
    for new in &mut peers[1..] {
        new.layer.join(&change.welcome, &context).unwrap();
        new.layer.apply();
    }
    peers
}

fn parts(binding: u8) -> PartContext<'static> {
    let binding = [binding; 32];
    PartContext { binding, position: 0, chain: None, group_below: false, now: None }
}

fn in_context<T>(f: impl FnOnce(&LayerContext<'_>) -> T) -> T {
    let stack = StackId::of(&[]);
    let binding = Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"");
    f(&LayerContext { binding: &binding, position: 0, chain: None })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap()
}
