//! Two braids by themselves: every step of an exchange, whatever is lost, and what is refused.

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{entropy::System, state::Records};

/// The two sides of a braid that has just begun.
fn pair() -> [Braid; 2] {
    let secret = Secret::random().unwrap();
    [Braid::initiator(&secret).unwrap(), Braid::responder(&secret).unwrap()]
}

/// A side with the secrets of the epochs that it has.
struct Side {
    braid: Braid,
    keys: Vec<Secret<32>>,
}

impl Side {
    fn pair() -> [Self; 2] {
        pair().map(|braid| Self { braid, keys: Vec::new() })
    }

    fn send(&mut self) -> Message {
        let (message, output) = self.braid.send(&mut System).unwrap();
        self.keys.extend(output);
        // What it speaks under it has.
        assert!(self.keys.len() + 1 >= usize::try_from(message.epoch).unwrap());
        message
    }

    fn receive(&mut self, message: &Message) {
        let step = self.braid.receive(message).unwrap();
        self.keys.extend(step.output().map(Secret::duplicate));
        self.braid.apply(step);
        // And whoever is spoken to has it as well.
        assert!(self.keys.len() + 1 >= usize::try_from(message.epoch).unwrap());
    }

    fn restart(&mut self) {
        self.braid = saved_and_loaded(&self.braid).unwrap();
    }
}

fn records(braid: &Braid) -> (Vec<u8>, Vec<(Vec<u8>, cc_core::SecretBytes)>) {
    let (mut writer, mut records) = (crate::codec::Writer::new(), Records::default());
    braid.write(&mut writer);
    braid.write_records(&mut records);
    (writer.finish().expose().to_vec(), records.into_map().into_iter().collect())
}

fn saved_and_loaded(braid: &Braid) -> Result<Braid, Error> {
    let (record, others) = records(braid);
    let mut reader = crate::codec::Reader::new(&record);
    let (mut loaded, missing) = Braid::read(&mut reader)?;
    reader.finish()?;
    let mut source = crate::state::Source::new(others);
    loaded.read_records(missing, &mut source)?;
    source.finish()?;
    assert_eq!(records(&loaded), records(braid));
    Ok(loaded)
}

fn state_name(braid: &Braid) -> alloc::string::String {
    let shown = alloc::format!("{:?}", braid.state);
    shown.split([' ', '{']).next().unwrap().into()
}

/// The states of both sides after each message of an exchange in which they take turns.
#[test]
fn an_exchange_goes_through_the_states_of_the_specification() {
    let [mut alice, mut bob] = Side::pair();
    let mut seen = [Vec::new(), Vec::new()];
    let mut messages = 0;
    while alice.braid.epoch < 3 {
        let message = alice.send();
        bob.receive(&message);
        let message = bob.send();
        alice.receive(&message);
        messages += 2;
        for (names, side) in seen.iter_mut().zip([&alice, &bob]) {
            let name = state_name(&side.braid);
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
    }
    std::println!("two exchanges take {messages} messages");
    assert!((160..200).contains(&messages), "{messages}");
    let generator = ["KeysSampled", "HeaderSent", "Ct1Received", "EkSentCt1Received"];
    assert_eq!(seen[0][..4], generator);
    assert_eq!(seen[1][..3], ["NoHeaderReceived", "Ct1Sampled", "Ct1Acknowledged"]);
    assert!(seen[1].contains(&"Ct2Sampled".into()));
    assert_eq!(alice.keys, bob.keys);
    assert_eq!(alice.keys.len(), 2);
    assert_ne!(alice.keys[0], alice.keys[1]);
}

/// All of `ek_vector` before the acknowledgement of `ct1`.
#[test]
fn the_encapsulation_key_may_be_there_first() {
    let [mut alice, mut bob] = Side::pair();
    while state_name(&alice.braid) != "HeaderSent" {
        let message = alice.send();
        bob.receive(&message);
        let message = bob.send();
        alice.receive(&message);
    }
    (0..36).for_each(|_| bob.receive(&alice.send()));
    assert_eq!(state_name(&bob.braid), "EkReceivedCt1Sampled");
    bob.restart();
    (0..29).for_each(|_| alice.receive(&bob.send()));
    assert_eq!(state_name(&alice.braid), "Ct1Received");
    bob.receive(&alice.send());
    assert_eq!(state_name(&bob.braid), "Ct2Sampled");
    for _ in 0..5 {
        bob.restart();
        alice.restart();
        alice.receive(&bob.send());
    }
    assert_eq!(state_name(&alice.braid), "NoHeaderReceived");
    assert_eq!(alice.keys, bob.keys);
    bob.receive(&alice.send());
    assert_eq!(state_name(&bob.braid), "KeysUnsampled");
}

/// What is agreed is the secret of ML-KEM-768, as another implementation computes it.
#[test]
fn the_steps_are_those_of_ml_kem() {
    use ml_kem::{Decapsulate, DecapsulationKey768, KeyExport};
    for _ in 0..8 {
        let seed = Secret::<64>::random().unwrap();
        let theirs = DecapsulationKey768::from_seed((*seed.expose()).into());
        let keys = KeyPair::from_seed(seed);
        let encoded = theirs.encapsulation_key().to_bytes();
        assert_eq!(encoded[..VECTOR_LEN], keys.vector()[..]);
        assert_eq!(encoded[VECTOR_LEN..], keys.header()[..32]);
        let randomness = Secret::random().unwrap();
        let (encapsulation, shared) = Encapsulation::new(*keys.header(), randomness).unwrap();
        let vector = keys.vector()[..].try_into().unwrap();
        let ct2 = encapsulation.finish(vector).unwrap();
        let ct1: [u8; CT1_LEN] = encapsulation.ct1()[..].try_into().unwrap();
        let whole: [u8; CT1_LEN + CT2_LEN] = [&ct1[..], &ct2].concat().try_into().unwrap();
        assert_eq!(theirs.decapsulate(&whole.into())[..], shared.expose()[..]);
        assert_eq!(keys.decapsulate(&ct1, &ct2).unwrap(), shared);
        // Another key than the announced one, and a coefficient that is not reduced.
        for place in [0, VECTOR_LEN / 2, VECTOR_LEN - 1] {
            let mut other = *vector;
            other[place] ^= 1;
            assert_eq!(encapsulation.finish(&other).unwrap_err(), Error::Undecryptable);
        }
        let large = [0xff; VECTOR_LEN];
        assert_eq!(encapsulation.check(&large).unwrap_err(), Error::Undecryptable);
    }
}

/// The message with its chunk changed.
fn changed(message: &Message, mut change: impl FnMut(&mut Chunk)) -> Message {
    let mut message = *message;
    match &mut message.payload {
        Payload::None => {}
        Payload::Hdr(chunk)
        | Payload::Ek(chunk)
        | Payload::EkCt1Ack(chunk)
        | Payload::Ct1(chunk)
        | Payload::Ct2(chunk) => change(chunk),
    }
    message
}

/// Every value that is agreed on is authenticated: a bit of any chunk of it, and it is refused when it is
/// whole, and nothing changes.
#[test]
fn a_changed_chunk_of_anything_is_refused() {
    for wrong in 0..93 {
        let [mut alice, mut bob] = Side::pair();
        let mut refused = false;
        'exchange: for turn in 0..93 {
            for from_alice in [true, false] {
                let (sender, reader) =
                    if from_alice { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
                let mut message = sender.send();
                if turn == wrong / 2 && from_alice == (wrong % 2 == 0) {
                    let bit = wrong % 8;
                    message = changed(&message, |chunk| chunk.data[wrong % 32] ^= 1 << bit);
                }
                if reader.braid.receive(&message).is_err() {
                    let before = records(&reader.braid);
                    assert!(reader.braid.receive(&message).is_err());
                    assert_eq!(records(&reader.braid), before);
                    refused = true;
                    break 'exchange;
                }
                reader.receive(&message);
            }
        }
        // A chunk that nobody needed any more changes nothing.
        let agreed = !alice.keys.is_empty() && alice.keys[0] == bob.keys[0];
        assert!(refused || agreed, "chunk {wrong}");
    }
}

#[derive(Debug, Clone)]
enum Event {
    Send(bool),
    Deliver(bool, Index),
    Repeat(bool, Index),
    Lose(bool, Index),
    Restart(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let side = any::<bool>;
    prop_oneof![
        6 => side().prop_map(Event::Send),
        7 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Deliver(side, index)),
        1 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Repeat(side, index)),
        1 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Lose(side, index)),
        1 => side().prop_map(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Loss, another order, duplicates, restarts at any point and silence of one side: the secrets of both
    /// sides agree, nobody speaks under one that the other lacks, and when all is well again they go on.
    #[test]
    fn whatever_happens_the_secrets_agree(
        events in prop::collection::vec(event(), 1..600),
        silent in 0..300_usize,
    ) {
        let mut sides = Side::pair();
        let mut under_way: [Vec<Message>; 2] = [Vec::new(), Vec::new()];
        let mut received: [Vec<Message>; 2] = [Vec::new(), Vec::new()];
        for event in events {
            match event {
                Event::Send(side) => {
                    let message = sides[usize::from(side)].send();
                    under_way[usize::from(!side)].push(message);
                }
                Event::Deliver(side, index) | Event::Lose(side, index)
                    if under_way[usize::from(side)].is_empty() =>
                {
                    let _ = index;
                }
                Event::Deliver(side, index) => {
                    let side = usize::from(side);
                    let index = index.index(under_way[side].len().min(8));
                    let message = under_way[side].remove(index);
                    sides[side].receive(&message);
                    received[side].push(message);
                }
                Event::Lose(side, index) => {
                    let side = usize::from(side);
                    let index = index.index(under_way[side].len());
                    under_way[side].remove(index);
                }
                Event::Repeat(side, index) => {
                    let side = usize::from(side);
                    if !received[side].is_empty() {
                        let message = received[side][index.index(received[side].len())];
                        sides[side].receive(&message);
                    }
                }
                Event::Restart(side) => sides[usize::from(side)].restart(),
            }
        }
        for _ in 0..silent {
            let _ = sides[0].send();
        }
        let [alice, bob] = &mut sides;
        let epoch = alice.braid.epoch;
        for _ in 0..110 {
            bob.receive(&alice.send());
            alice.receive(&bob.send());
        }
        prop_assert!(alice.braid.epoch >= epoch + 2);
        let common = alice.keys.len().min(bob.keys.len());
        prop_assert_eq!(&alice.keys[..common], &bob.keys[..common]);
        prop_assert!(alice.keys.len().abs_diff(bob.keys.len()) <= 1);
    }
}
