//! Any interleaving of sends, losses, duplicates, reorderings and restarts.

use alloc::{format, string::String, vec::Vec};

use proptest::{prelude::*, sample::Index};

use super::{Party, strangers};
use crate::message_key::tests::{forget, used};

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    /// Delivers any message that is under way to this side.
    Deliver(usize, Index),
    Lose(usize, Index),
    /// Delivers again what this side has received.
    Repeat(usize, Index),
    Damage(usize, Index, Index),
    Restart(usize),
    /// Begins another session although there may be one.
    Begin(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2_usize;
    prop_oneof![
        8 => side.clone().prop_map(Step::Send),
        8 => (side.clone(), any::<Index>()).prop_map(|(s, i)| Step::Deliver(s, i)),
        1 => (side.clone(), any::<Index>()).prop_map(|(s, i)| Step::Lose(s, i)),
        2 => (side.clone(), any::<Index>()).prop_map(|(s, i)| Step::Repeat(s, i)),
        2 => (side.clone(), any::<Index>(), any::<Index>())
            .prop_map(|(s, i, j)| Step::Damage(s, i, j)),
        1 => side.clone().prop_map(Step::Restart),
        1 => side.prop_map(Step::Begin),
    ]
}

#[derive(Default)]
struct Inbox {
    under_way: Vec<(String, Vec<u8>)>,
    received: Vec<Vec<u8>>,
}

struct World {
    parties: [Party; 2],
    inboxes: [Inbox; 2],
    sent: usize,
    begun: usize,
}

impl World {
    fn new(begin: [bool; 2]) -> Self {
        let (mut alice, mut bob) = strangers();
        if begin[0] {
            alice.begin(&mut bob);
        }
        if begin[1] {
            bob.begin(&mut alice);
        }
        Self { parties: [alice, bob], inboxes: Default::default(), sent: 0, begun: 0 }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Send(side) => {
                if self.parties[*side].sessions.is_empty() {
                    return;
                }
                self.sent += 1;
                let text = format!("message {}", self.sent);
                let message = self.parties[*side].encrypt(text.as_bytes());
                self.inboxes[1 - *side].under_way.push((text, message));
            }
            Step::Deliver(side, index) => {
                let inbox = &mut self.inboxes[*side];
                if inbox.under_way.is_empty() {
                    return;
                }
                let (text, message) = inbox.under_way.remove(index.index(inbox.under_way.len()));
                let opened = self.parties[*side].decrypt(&message);
                assert_eq!(opened.unwrap(), text.as_bytes());
                inbox.received.push(message);
            }
            Step::Lose(side, index) => {
                let inbox = &mut self.inboxes[*side];
                if !inbox.under_way.is_empty() {
                    inbox.under_way.remove(index.index(inbox.under_way.len()));
                }
            }
            Step::Repeat(side, index) => {
                let received = &self.inboxes[*side].received;
                if !received.is_empty() {
                    let message = received[index.index(received.len())].clone();
                    self.refused(*side, &message);
                }
            }
            Step::Damage(side, index, bit) => {
                let under_way = &self.inboxes[*side].under_way;
                if !under_way.is_empty() {
                    let mut message = under_way[index.index(under_way.len())].1.clone();
                    let bit = bit.index(message.len() * 8);
                    message[bit / 8] ^= 1 << (bit % 8);
                    self.refused(*side, &message);
                }
            }
            Step::Restart(side) => self.parties[*side].restart(),
            Step::Begin(side) => {
                if self.begun < 2 {
                    self.begun += 1;
                    let [alice, bob] = &mut self.parties;
                    if *side == 0 {
                        alice.begin(bob);
                    } else {
                        bob.begin(alice);
                    }
                }
            }
        }
    }

    /// The message must not open, and nothing may change.
    fn refused(&mut self, side: usize, message: &[u8]) {
        let before = self.parties[side].snapshot();
        assert!(self.parties[side].decrypt(message).is_err());
        assert_eq!(self.parties[side].snapshot(), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_delivered_message_opens_exactly_once(
        begin in prop_oneof![Just([true, false]), Just([false, true]), Just([true, true])],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        forget();
        let mut world = World::new(begin);
        for step in &steps {
            world.run(step);
        }
        // Whatever is still under way arrives in the end, last first.
        for side in 0..2 {
            while let Some((text, message)) = world.inboxes[side].under_way.pop() {
                let opened = world.parties[side].decrypt(&message);
                prop_assert_eq!(opened.unwrap(), text.as_bytes());
                world.refused(side, &message);
            }
        }
        // The collector has refused any key that encrypted twice; it has seen every message.
        prop_assert_eq!(used(), world.sent);
    }
}
