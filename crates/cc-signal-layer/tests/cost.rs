//! What a message and a saved state cost as the group grows. A measurement, to be run by hand:
//! `cargo test --release -p cc-signal-layer --test cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::time::{Duration, Instant};

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, GroupLayer, Header, Kind, LayerContext,
    MemberId, NewMember, PartContext, StackId,
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
        // Every chain is acknowledged or was handed over as often as it may be.
        for _ in 0..members.div_ceil(50) + 8 {
            for (sender, reader) in [(0, 1), (1, 0)] {
                let wire = peers[sender].seal();
                peers[reader].open(&wire);
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
        let state = peers[0].layer.export().unwrap();
        let mut export: Vec<_> = (0..15)
            .map(|_| {
                let start = Instant::now();
                drop(peers[0].layer.export().unwrap());
                start.elapsed()
            })
            .collect();
        let start = Instant::now();
        peers[0].layer = SignalLayer::load(state.expose()).unwrap();
        let load = start.elapsed();
        println!(
            "{members} members, assembled in {assembled:?}: send {:?} mean {:?}, receive {:?} mean \
             {:?}, {len} bytes; first message {first_time:?}, {} bytes; state {} bytes, export \
             {:?}, load {load:?}",
            median(&mut send),
            mean(&send),
            median(&mut receive),
            mean(&receive),
            first.len(),
            state.expose().len(),
            median(&mut export),
        );
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
        let mut buffer = Buffer::new(&[7; 100]);
        in_context(|context| self.layer.seal(context, &mut buffer)).unwrap();
        self.layer.apply();
        buffer.into_vec()
    }

    fn open(&mut self, wire: &[u8]) {
        let mut buffer = Buffer::new(wire);
        in_context(|context| self.layer.open(context, &mut buffer)).unwrap();
        self.layer.apply();
        assert_eq!(buffer.as_slice(), [7; 100]);
    }
}

/// The first one founds the group and adds the others.
fn assemble(members: usize) -> Vec<Peer> {
    let context = PartContext { binding: [1; 32], position: 0, chain: None, group_below: false };
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
