//! Tests that count what a message writes to the store, keys and values.

use std::collections::BTreeMap;

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, GroupLayer, Header, Kind as Envelope,
    LayerContext, MemberId, NewMember, PartContext, StackId,
    store::{Batch, Change, Scope},
};

use crate::{MlsConfig, MlsIdentity, MlsLayer, storage::Kind};

const CONTEXT: PartContext<'static> =
    PartContext { binding: [3; 32], position: 0, chain: None, group_below: false, now: None };

/// What one message may write beside a checkpoint: the record of the message, and for a sender
/// the generations of a few epochs.
const BOUND: usize = 512;

/// Members of a large group: the time that it takes to found one grows with their square.
const LARGE: usize = 128;

/// Bytes of one message, and of one checkpoint.
#[derive(Debug, Default)]
struct Written {
    send: usize,
    receive: usize,
    checkpoint: usize,
}

fn attach(layer: &mut MlsLayer, number: usize) -> MemberId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let id = MemberId::from_bytes(id);
    let founding = layer.founds();
    let place = Attachment { stack: StackId::of(&[]), position: 0, member: Some(id), founding };
    layer.attach(&place).unwrap();
    layer.apply();
    id
}

/// A founder and the others of a group of `size` in which all have spoken. The founder and the first
/// one have a store, and all that was said.
fn group(size: usize, interval: u32) -> (MlsLayer, Vec<MlsLayer>) {
    let config = MlsConfig::default().with_checkpoint_interval(interval);
    let identity = |i: usize| MlsIdentity::generate(i.to_string()).unwrap();
    let mut founder = MlsLayer::create_with("", identity(0), config.clone()).unwrap();
    attach(&mut founder, 0);
    let mut joiners: Vec<_> = (1..size)
        .map(|i| {
            let mut joiner = MlsLayer::member_with(identity(i), config.clone()).unwrap();
            let id = attach(&mut joiner, i);
            let part = joiner.key_package(&CONTEXT).unwrap();
            joiner.apply();
            (joiner, id, part)
        })
        .collect();
    let added: Vec<_> =
        joiners.iter().map(|(_, id, part)| NewMember { id: *id, part, binding: [3; 32] }).collect();
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = founder.stage_change(&request, &CONTEXT).unwrap();
    founder.confirm_change().unwrap();
    founder.apply();
    let mut hellos = Vec::new();
    for (joiner, ..) in &mut joiners {
        joiner.join(&change.welcome, &CONTEXT).unwrap();
        joiner.apply();
        hellos.push(seal(joiner));
    }
    let mut joiners: Vec<_> = joiners.into_iter().map(|(joiner, ..)| joiner).collect();
    let other = &mut joiners[0];
    for layer in [&mut founder, other] {
        layer.save(&mut Batch::new().new_scope(Scope::new("layer"))).unwrap();
        layer.apply();
    }
    for (at, hello) in hellos.iter().enumerate() {
        open(&mut founder, hello);
        if at > 0 {
            open(&mut joiners[0], hello);
        }
    }
    let hello = seal(&mut founder);
    open(&mut joiners[0], &hello);
    let _ = (save(&mut founder), save(&mut joiners[0]));
    (founder, joiners)
}

/// Neither saves nor applies.
fn seal_only(layer: &mut MlsLayer) -> Vec<u8> {
    let mut buffer = Buffer::new(&[7; 100]);
    transact(|context| layer.seal(context, &mut buffer).unwrap());
    buffer.as_slice().to_vec()
}

/// Neither saves nor applies.
fn open_only(layer: &mut MlsLayer, wire: &[u8]) {
    let mut buffer = Buffer::new(wire);
    transact(|context| {
        let _ = layer.open(context, &mut buffer).unwrap();
    });
}

fn seal(layer: &mut MlsLayer) -> Vec<u8> {
    let wire = seal_only(layer);
    layer.apply();
    wire
}

fn open(layer: &mut MlsLayer, wire: &[u8]) {
    open_only(layer, wire);
    layer.apply();
}

/// Saves and applies; gives the bytes that went into the batch, by kind.
fn save(layer: &mut MlsLayer) -> BTreeMap<u8, usize> {
    let mut batch = Batch::new();
    layer.save(&mut batch.scope(Scope::new("layer"))).unwrap();
    layer.apply();
    let mut written = BTreeMap::new();
    for (_, key, change) in batch.changes() {
        let value = match change {
            Change::Put(value) => value.expose().len(),
            Change::Delete => 0,
        };
        *written.entry(key[0]).or_default() += key.len() + value;
    }
    written
}

fn transact(f: impl FnOnce(&LayerContext<'_>)) {
    let stack = StackId::of(&[]);
    let binding = Header::new(Envelope::Application, &stack, vec![]).binding(&stack, b"");
    f(&LayerContext { binding: &binding, position: 0, chain: None });
}

/// What `layer` wrote for one message: beside a checkpoint, and for a checkpoint if there was one.
fn split(layer: &mut MlsLayer) -> (usize, usize) {
    let written = save(layer);
    if !written.contains_key(&(Kind::MessageSecrets as u8)) {
        return (written.values().sum(), 0);
    }
    let message = [Kind::Sent as u8].iter().filter_map(|kind| written.get(kind)).sum();
    (message, written.values().sum::<usize>() - message)
}

fn measure(size: usize, interval: u32) -> Written {
    let (mut founder, mut joiners) = group(size, interval);
    let other = &mut joiners[0];
    let mut worst = Written::default();
    let mut checkpoints = 0;
    let messages = 3 * interval.max(1);
    for message in 0..messages {
        let wire = seal_only(&mut founder);
        open_only(other, &wire);
        let ((send, a), (receive, b)) = (split(&mut founder), split(other));
        checkpoints += u32::from(a > 0) + u32::from(b > 0);
        // The first checkpoint is of what was said before, too.
        if message >= interval {
            worst.send = worst.send.max(send);
            worst.receive = worst.receive.max(receive);
            worst.checkpoint = worst.checkpoint.max(a).max(b);
        }
    }
    assert_eq!(checkpoints, 2 * messages / interval.max(1), "one checkpoint per interval and side");
    worst
}

/// Bytes that a member writes for a message, in the mean over many checkpoints, where in a group of
/// `size` so many speak in turn: side by side in the tree, or as far apart as they can be.
fn mean(size: usize, speakers: usize, apart: bool) -> usize {
    const CHECKPOINTS: u32 = 8;
    let interval = MlsConfig::default().checkpoint_interval();
    let (mut founder, mut joiners) = group(size, interval);
    let step = if apart { size / speakers } else { 1 };
    let messages = CHECKPOINTS * interval;
    let mut written = 0;
    // The first checkpoint is of what was said before, too.
    for message in 0..messages + interval {
        let speaker = message as usize % speakers * step;
        match speaker.checked_sub(1) {
            None => drop(seal_only(&mut founder)),
            Some(joiner) => {
                let wire = seal(&mut joiners[joiner]);
                open_only(&mut founder, &wire);
            }
        }
        let bytes: usize = save(&mut founder).values().sum();
        if message >= interval {
            written += bytes;
        }
    }
    written / messages as usize
}

#[test]
fn a_message_writes_as_much_in_a_large_group_as_in_a_small_one() {
    let (small, large) = (measure(2, 64), measure(LARGE, 64));
    println!("2 members: {small:?}, {LARGE} members: {large:?}");
    for written in [&small, &large] {
        assert!(written.send > 0 && written.send <= BOUND, "{written:?}");
        assert!(written.receive > 0 && written.receive <= BOUND, "{written:?}");
    }
    // Varints of an epoch or a generation, and nothing else.
    assert!(large.send.abs_diff(small.send) <= 8, "{small:?} {large:?}");
    assert!(large.receive.abs_diff(small.receive) <= 8, "{small:?} {large:?}");
    // Some pieces of the ratchets, and the end of the records since the last one.
    assert!(large.checkpoint.abs_diff(small.checkpoint) <= 512, "{small:?} {large:?}");
}

#[test]
fn with_its_checkpoints_a_message_writes_as_much_in_a_large_group_as_in_a_small_one() {
    let two = [2, LARGE].map(|size| mean(size, 2, false));
    let all = [64, LARGE].map(|size| mean(size, size, false));
    println!("two talk: {two:?}, all in turn: {all:?}");
    for [small, large] in [two, all] {
        assert!(10 * large <= 13 * small, "{small} {large}");
    }
    // As many ratchets change between checkpoints as members speak, up to one for each message.
    assert!(2 * two[0] >= all[1], "{two:?} {all:?}");
}

#[test]
fn speakers_far_apart_write_a_piece_each() {
    let (beside, apart) = (mean(LARGE, 64, false), mean(LARGE, 64, true));
    println!("side by side: {beside}, far apart: {apart}");
    // A record of 256 bytes at most for each, with its key; not often two.
    assert!(apart <= beside + 256 + 64, "{beside} {apart}");
}

#[test]
fn without_an_interval_every_message_writes_a_checkpoint() {
    let [small, large] = [2, LARGE].map(|size| measure(size, 1));
    println!("2 members: {small:?}, {LARGE} members: {large:?}");
    assert!(small.checkpoint > 0, "{small:?}");
    assert!(large.checkpoint <= small.checkpoint + 512, "{small:?} {large:?}");
}
