//! Messages that are lost, late, doubled and out of order, and processes that end.

use super::*;

/// A side with a store.
struct Side {
    layer: MlKemLayer,
    store: MemoryStore,
}

impl Side {
    fn new(mut layer: MlKemLayer) -> Self {
        let mut store = MemoryStore::new();
        let mut batch = Batch::new();
        layer.save(&mut batch.new_scope(scope())).unwrap();
        store.commit(&batch).unwrap();
        layer.apply();
        Self { layer, store }
    }

    /// Does `work` in the way that `end` says: 0 and 1 it is applied; 2 the process ends behind the commit;
    /// 3 it fails before the commit, and 4 the process ends there: then it is done again.
    fn run<T>(&mut self, end: u8, work: impl Fn(&mut MlKemLayer) -> T) -> T {
        let result = work(&mut self.layer);
        let mut batch = Batch::new();
        self.layer.save(&mut batch.scope(scope())).unwrap();
        if end < 3 {
            self.store.commit(&batch).unwrap();
        }
        match end {
            0 | 1 => self.layer.apply(),
            3 => self.layer.revert(),
            _ => self.layer = MlKemLayer::restore(&scope().of(&self.store)).unwrap(),
        }
        let mut restored = MlKemLayer::restore(&scope().of(&self.store)).unwrap();
        assert_eq!(dump(&mut restored), dump(&mut self.layer), "the store has what there is");
        if end < 3 { result } else { self.run(0, work) }
    }
}

fn sealed(layer: &mut MlKemLayer, text: &[u8]) -> (Contribution, Vec<u8>) {
    let contribution = layer.contribute().unwrap().unwrap();
    let binding = binding();
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(text);
    layer.seal(&context, &mut buffer).unwrap();
    (contribution, buffer.as_slice().to_vec())
}

/// A text, what was handed upwards with it, and the message.
type InFlight = (Vec<u8>, Contribution, Vec<u8>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Every message that comes while its epochs are in the window opens, whatever came before it and however
    /// often, and what was handed upwards with it is found.
    #[test]
    fn what_comes_opens(
        steps in prop::collection::vec((0u8..8, 0usize..2, any::<prop::sample::Index>(), 0u8..5), 1..60),
    ) {
        let mut sides = pair().map(|layer| Side::new(layer.keep_past_epochs(MAX_PAST_EPOCHS)));
        let mut network: [Vec<InFlight>; 2] = [vec![], vec![]];
        for (count, (step, who, which, end)) in steps.into_iter().enumerate() {
            match step {
                0..3 => {
                    let text = count.to_be_bytes().to_vec();
                    let (contribution, wire) = sides[who].run(end, |layer| sealed(layer, &text));
                    network[1 - who].push((text, contribution, wire));
                }
                // In force at once, whatever fails.
                3 => sides[who].run(if end == 3 { 0 } else { end }, renew),
                // It comes, and may come again.
                4..7 => {
                    if network[who].is_empty() { continue }
                    let which = which.index(network[who].len());
                    let (text, contribution, wire) = &network[who][which];
                    let opened = sides[who].run(end, |layer| {
                        let recalled = layer.recall(&contribution.hint).unwrap();
                        assert_eq!(recalled.secret, contribution.secret);
                        try_open(layer, wire).map_err(|error| error.kind())
                    });
                    let opened = match opened {
                        // Its epoch was in the header of a message that did not come, and has the header no
                        // more: then that message has come.
                        Ok(opened) => opened,
                        Err(error) => panic!("{error:?}"),
                    };
                    prop_assert_eq!(&opened, text);
                }
                // It is lost.
                _ => {
                    if network[who].is_empty() { continue }
                    let which = which.index(network[who].len());
                    network[who].remove(which);
                }
            }
        }
        // Both go on.
        for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
            let wire = sides[from].run(0, |layer| sealed(layer, b"text").1);
            let opened = sides[to].run(0, |layer| try_open(layer, &wire).unwrap());
            prop_assert_eq!(opened, b"text");
        }
    }
}

/// Nothing is asked of the other side: it may be silent for as long as it likes, and the state stays small.
#[test]
fn one_side_alone_begins_so_many_epochs_and_goes_on() {
    let [mut alice, mut bob] = pair();
    let mut sent = vec![];
    for _ in 0..50 {
        renew(&mut alice);
        sent.push(seal(&mut alice, b"text"));
    }
    let records = dump(&mut alice);
    let own = records.keys().filter(|key| key.starts_with(b"own")).count();
    assert_eq!(own, 17, "the setup, and 16 that may not have come");
    // The last one alone says it all.
    assert_eq!(open(&mut bob, sent.last().unwrap()).unwrap(), b"text");
    assert_eq!(open(&mut bob, &sent[20]).unwrap(), b"text");
    assert_eq!(open(&mut bob, &sent[0]).unwrap(), b"text", "the window is not full");
    for wire in &sent {
        let _ = open(&mut bob, wire);
    }
    assert_eq!(open(&mut bob, &sent[0]), Err(LayerErrorKind::Stale));
    contributions_agree(&mut alice, &mut bob);
    assert!(dump(&mut bob).keys().filter(|key| key.starts_with(b"peer\0")).count() <= 5);
    send(&mut bob, &mut alice);
    send(&mut alice, &mut bob);
    assert_eq!(send(&mut bob, &mut alice), OVERHEAD);
    assert_eq!(dump(&mut alice).keys().filter(|key| key.starts_with(b"own")).count(), 4);
}

/// What a message brought may have come with a later one only.
#[test]
fn a_message_without_its_header_waits() {
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    let header = seal(&mut bob, b"first");
    assert_eq!(open(&mut alice, &header).unwrap(), b"first");
    // A copy of Alice's state from before does not have it.
    let [mut behind, _] = pair();
    let bare = {
        let answer = seal(&mut alice, b"answer");
        open(&mut bob, &answer).unwrap();
        seal(&mut bob, b"second")
    };
    assert_eq!(bare.len(), 6 + OVERHEAD);
    assert_eq!(open(&mut behind, &bare), Err(LayerErrorKind::Early));
    assert_eq!(open(&mut alice, &bare).unwrap(), b"second");
}

/// A revert after a seal does not know whether the bytes left. If they did, and came, the next epoch is
/// another one.
#[test]
fn an_epoch_that_was_reverted_has_a_number_that_does_not_come_again() {
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    send(&mut bob, &mut alice);
    let (_, left) = sealed(&mut alice, b"left");
    alice.revert();
    let (_, unsent) = sealed(&mut alice, b"unsent");
    alice.revert();
    assert_ne!(left[1..9], unsent[1..9]);
    assert_eq!(open(&mut bob, &left).unwrap(), b"left");
    for _ in 0..2 {
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
    }
}
