//! A group on a simulated network: application messages are lost, delayed, duplicated and reordered,
//! commits compete for their epoch, members fall behind, die and start again from their stores, go back
//! to an old copy of the store, are removed and come back.
//!
//! The schedule follows from a seed, which is printed. `CC_MLS_SEED=<seed>` replays it,
//! `CC_MLS_STEPS=<steps>` changes its length. The long form has 50 members:
//! `cargo test --release -p cc-mls-layer --test all -- --ignored --nocapture network`

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use std::collections::{BTreeSet, HashMap, HashSet};

use cc_core::{
    CipherLayer as _, GroupLayer as _, LayerErrorKind, MemberId, Secret, Standing,
    store::MemoryStore,
};
use cc_mls_layer::MlsConfig;
use common::{KeyPackage, Peer, Staged, Wire, all_read_all};

/// How far back epochs stay readable here.
const PAST_EPOCHS: u64 = 3;

#[test]
fn twelve_members_on_a_bad_network() {
    let shown = World::live(12, number("CC_MLS_STEPS").unwrap_or(20_000));
    println!("{shown:?}");
}

#[test]
#[ignore = "takes minutes; to be run by hand, in release"]
fn fifty_members_on_a_bad_network() {
    let shown = World::live(50, number("CC_MLS_STEPS").unwrap_or(100_000));
    println!("{shown:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What the members did, so that nobody takes an empty run for a good one.
#[derive(Debug, Default)]
struct Shown {
    commits: u64,
    lost_races: u64,
    sent: u64,
    read: u64,
    refused: u64,
    early: u64,
    crashes: u64,
    rejoined: u64,
    removed: u64,
    fallen: u64,
    returned: u64,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

/// What a member wants done with the group, until it is done or makes no sense any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Add(usize),
    Remove(usize),
    /// Remove and add in one.
    Return(usize),
    Update,
}

struct Node {
    peer: Peer,
    /// Copies of application messages that are still under way to this member.
    arriving: Vec<usize>,
    intent: Option<Intent>,
    /// The staged change, and whether the delivery service has seen it.
    staged: Option<(Staged, Intent, bool)>,
    package: Option<KeyPackage>,
    /// The epoch whose commit adds this member, where the welcome was not used yet.
    welcome: Option<u64>,
    /// The first epoch of the present membership.
    since: u64,
    /// A copy of the store from some time ago.
    backup: Option<MemoryStore>,
    /// The member went back to the copy, and is silent until it is brought back.
    fallen: bool,
}

impl Node {
    fn epoch(&self) -> Option<u64> {
        match self.peer.layer.standing() {
            Standing::Member { epoch } => Some(epoch),
            _ => None,
        }
    }
}

/// A commit that the delivery service accepted. Its place in the log is the epoch that it ends.
struct Accepted {
    author: usize,
    staged: Staged,
    intent: Intent,
}

struct Message {
    wire: Wire,
    text: Vec<u8>,
    epoch: u64,
    sender: usize,
}

struct World {
    dice: Dice,
    nodes: Vec<Node>,
    log: Vec<Accepted>,
    /// Who is in the group, by epoch.
    rosters: Vec<BTreeSet<MemberId>>,
    exporters: HashMap<u64, Secret<32>>,
    messages: Vec<Message>,
    read: HashSet<(usize, usize)>,
    shown: Shown,
}

impl World {
    fn live(size: usize, steps: u64) -> Shown {
        let seed = number("CC_MLS_SEED")
            .unwrap_or_else(|| u64::from_be_bytes(cc_core::random::array().unwrap()));
        println!("seed: CC_MLS_SEED={seed}, {size} members, {steps} steps");
        let mut world = Self::new(size, seed);
        for _ in 0..steps {
            world.step();
        }
        world.settle();
        let shown = &world.shown;
        assert!(shown.commits > 0 && shown.read > 0 && shown.crashes > 0, "{shown:?}");
        assert!(shown.returned > 0, "{shown:?}");
        world.shown
    }

    /// The founder alone; all others wait outside.
    fn new(size: usize, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let nodes: Vec<Node> = (0..size)
            .map(|i| {
                // Some write every message to the ratchets' state, some hardly ever do.
                let interval = [1, 3, 64][dice.below(3)];
                let config = MlsConfig::default().with_checkpoint_interval(interval);
                let peer = Peer::with(&format!("member {i}"), i == 0, config).stored();
                Node {
                    peer,
                    arriving: vec![],
                    intent: None,
                    staged: None,
                    package: None,
                    welcome: None,
                    since: 0,
                    backup: None,
                    fallen: false,
                }
            })
            .collect();
        let rosters = vec![BTreeSet::from([nodes[0].peer.id])];
        Self {
            dice,
            nodes,
            log: vec![],
            rosters,
            exporters: HashMap::new(),
            messages: vec![],
            read: HashSet::new(),
            shown: Shown::default(),
        }
    }

    fn step(&mut self) {
        // Mostly somebody who is inside, so that a small group comes to life too.
        let inside: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].epoch().is_some() || self.nodes[*at].welcome.is_some())
            .collect();
        let who = if self.dice.percent(85) {
            inside[self.dice.below(inside.len())]
        } else {
            self.dice.below(self.nodes.len())
        };
        match self.dice.below(100) {
            0..12 => self.send(who),
            12..52 => {
                for _ in 0..8 {
                    self.deliver(who);
                }
            }
            52..76 => self.advance(who),
            76..84 => self.wish(who),
            84..91 => self.stage(who),
            91..96 => self.submit(who),
            96..99 => self.crash(who),
            _ if self.dice.percent(50) => self.fall(who),
            _ => self.crash(who),
        }
    }

    fn send(&mut self, who: usize) {
        let Some(epoch) = self.nodes[who].epoch().filter(|_| !self.nodes[who].fallen) else {
            return;
        };
        let number = self.messages.len();
        let text = format!("message {number}").into_bytes();
        let wire = self.nodes[who].peer.seal(&text);
        self.messages.push(Message { wire, text, epoch, sender: who });
        self.shown.sent += 1;
        // To everybody on the network, inside and outside.
        for to in 0..self.nodes.len() {
            let copies = match self.dice.below(100) {
                0..10 => 0,
                10..20 => 2,
                _ => 1,
            };
            self.nodes[to].arriving.extend(std::iter::repeat_n(number, copies));
        }
    }

    /// One of the messages that are under way, in no order.
    fn deliver(&mut self, who: usize) {
        let count = self.nodes[who].arriving.len();
        if count > 0 && !self.nodes[who].fallen {
            let at = self.dice.below(count);
            let number = self.nodes[who].arriving.swap_remove(at);
            if !self.open(who, number) {
                self.nodes[who].arriving.push(number);
            }
        }
    }

    /// Whether `who` must be able to read the message now.
    fn readable(&self, who: usize, number: usize) -> bool {
        let (node, message) = (&self.nodes[who], &self.messages[number]);
        // The last epoch of a member who was removed stays readable, as those before it.
        node.peer.layer.epoch().is_some_and(|now| {
            message.sender != who
                && message.epoch >= node.since
                && message.epoch <= now
                && message.epoch + PAST_EPOCHS >= now
                && !self.read.contains(&(who, number))
        })
    }

    /// `false` where the message came too early.
    fn open(&mut self, who: usize, number: usize) -> bool {
        let readable = self.readable(who, number);
        let sender = self.nodes[self.messages[number].sender].peer.id;
        let message = &self.messages[number];
        match self.nodes[who].peer.open(&message.wire) {
            Ok((opened, text)) => {
                assert!(readable, "member {who} read message {number}, which is not theirs");
                assert_eq!(text, message.text);
                assert_eq!(opened.sender, Some(sender));
                self.read.insert((who, number));
                self.shown.read += 1;
                true
            }
            Err(error) => {
                assert!(!readable, "member {who} cannot read message {number}: {error:?}");
                let early = error == LayerErrorKind::Early
                    || (error == LayerErrorKind::NotReady && self.nodes[who].welcome.is_some());
                self.shown.early += u64::from(early);
                self.shown.refused += u64::from(!early);
                !early
            }
        }
    }

    /// The member uses its welcome, or takes the next commit of the log.
    fn advance(&mut self, who: usize) {
        if let Some(epoch) = self.nodes[who].welcome {
            let accepted = &self.log[usize::try_from(epoch).unwrap()];
            let author = self.nodes[accepted.author].peer.id;
            let node = &mut self.nodes[who];
            let again = node.since > 0;
            assert_eq!(node.peer.join(&accepted.staged), Ok(Some(author)));
            node.welcome = None;
            node.since = epoch + 1;
            self.shown.rejoined += u64::from(again);
            self.shown.returned += u64::from(std::mem::take(&mut node.fallen));
            return self.check(who);
        }
        if self.nodes[who].fallen {
            return;
        }
        let Some(epoch) = self.nodes[who].epoch() else {
            return self.publish(who);
        };
        let Some(accepted) = self.log.get(usize::try_from(epoch).unwrap()) else {
            return;
        };
        let author = self.nodes[accepted.author].peer.id;
        let node = &mut self.nodes[who];
        let staged = node.staged.take();
        if accepted.author == who {
            node.peer.confirm();
            node.intent = None;
        } else {
            self.shown.lost_races += u64::from(staged.is_some());
            if staged.is_some() && self.dice.percent(50) {
                node.peer.transact(|layer| layer.discard_change()).unwrap();
            }
            let outcome = node.peer.process(&accepted.staged).unwrap();
            assert_eq!(outcome.committer, Some(author));
            assert_eq!(outcome.removed_self, accepted.intent == Intent::Remove(who));
            if let Intent::Return(other) = accepted.intent {
                let other = vec![self.nodes[other].peer.id];
                assert_eq!((&outcome.added, &outcome.removed), (&other, &other));
            }
            let node = &mut self.nodes[who];
            if outcome.removed_self {
                node.intent = None;
                self.shown.removed += 1;
                return self.publish(who);
            }
        }
        self.check(who);
    }

    /// A member outside lets others know how to add it.
    fn publish(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        if node.package.is_none() && node.welcome.is_none() && node.epoch().is_none() {
            node.package = Some(node.peer.key_package());
        }
    }

    /// All in one epoch know the same members and have the same secret.
    fn check(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        let epoch = node.peer.epoch();
        let members: BTreeSet<_> =
            node.peer.layer.members().into_iter().map(|member| member.id).collect();
        assert_eq!(members, self.rosters[usize::try_from(epoch).unwrap()]);
        let exporter = node.peer.exporter();
        match self.exporters.get(&epoch) {
            Some(known) => assert_eq!(*known, exporter, "epoch {epoch} forked"),
            None => {
                self.exporters.insert(epoch, exporter);
            }
        }
    }

    /// A member forms an intent.
    fn wish(&mut self, who: usize) {
        if self.nodes[who].fallen {
            return;
        }
        if self.nodes[who].epoch().is_none() || self.nodes[who].intent.is_some() {
            return self.publish(who);
        }
        let fallen: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].fallen).collect();
        let other = match fallen.len() {
            0 => self.dice.below(self.nodes.len()),
            count if self.dice.percent(50) => fallen[self.dice.below(count)],
            _ => self.dice.below(self.nodes.len()),
        };
        let inside = self.rosters[self.log.len()].contains(&self.nodes[other].peer.id);
        let intent = match self.dice.below(10) {
            0..2 => Intent::Update,
            _ if !inside => Intent::Add(other),
            _ if self.nodes[other].fallen => Intent::Return(other),
            _ if self.dice.percent(25) => Intent::Remove(other),
            _ => Intent::Update,
        };
        self.nodes[who].intent = Some(intent);
    }

    fn stage(&mut self, who: usize) {
        let node = &self.nodes[who];
        if node.fallen {
            return;
        }
        if let (Some(_), None, Some(intent)) = (node.epoch(), &node.staged, node.intent) {
            match self.stage_only(who, intent) {
                Some(staged) => self.nodes[who].staged = Some((staged, intent, false)),
                None => self.nodes[who].intent = None,
            }
        }
    }

    /// `None` where the intent makes no sense as the member sees the group.
    fn stage_only(&mut self, who: usize, intent: Intent) -> Option<Staged> {
        let epoch = usize::try_from(self.nodes[who].epoch()?).unwrap();
        let roster = &self.rosters[epoch];
        let knows = |other: usize| roster.contains(&self.nodes[other].peer.id);
        let (added, removed) = match intent {
            Intent::Add(other) if other != who && !knows(other) => {
                (vec![self.nodes[other].package.clone()?], vec![])
            }
            Intent::Remove(other) if other != who && knows(other) && roster.len() > 2 => {
                (vec![], vec![self.nodes[other].peer.id])
            }
            Intent::Return(other) if other != who && knows(other) => {
                (vec![self.nodes[other].package.clone()?], vec![self.nodes[other].peer.id])
            }
            Intent::Update => (vec![], vec![]),
            _ => return None,
        };
        Some(self.nodes[who].peer.stage(&added, &removed).unwrap())
    }

    /// The delivery service takes the first commit of each epoch and no other.
    fn submit(&mut self, who: usize) {
        let next = u64::try_from(self.log.len()).unwrap();
        let node = &mut self.nodes[who];
        let epoch = node.epoch();
        let Some((staged, intent, submitted)) = &mut node.staged else {
            return;
        };
        if epoch != Some(next) || *submitted {
            return;
        }
        *submitted = true;
        let (staged, intent) = (staged.clone(), *intent);
        let mut roster = self.rosters[self.log.len()].clone();
        match intent {
            Intent::Add(other) => {
                roster.insert(self.nodes[other].peer.id);
                self.nodes[other].package = None;
                self.nodes[other].welcome = Some(next);
            }
            Intent::Return(other) => {
                self.nodes[other].package = None;
                self.nodes[other].welcome = Some(next);
            }
            Intent::Remove(other) => {
                roster.remove(&self.nodes[other].peer.id);
            }
            Intent::Update => {}
        }
        self.rosters.push(roster);
        self.log.push(Accepted { author: who, staged, intent });
        self.shown.commits += 1;
    }

    /// The member goes back to an old copy of its store, if it has one, and asks to be brought back.
    fn fall(&mut self, who: usize) {
        let standing = self.nodes.iter().filter(|node| node.epoch().is_some() && !node.fallen);
        let fallen = self.nodes.iter().filter(|node| node.fallen).count();
        let few = standing.count() < 3 || fallen * 6 >= self.nodes.len();
        let node = &mut self.nodes[who];
        let involved = node.package.is_some() || node.welcome.is_some() || node.fallen;
        match node.backup.take().filter(|_| !involved && !few && node.epoch().is_some()) {
            Some(backup) => {
                node.peer.restart_from(backup);
                node.staged = None;
                node.intent = None;
                node.package = Some(node.peer.key_package());
                node.fallen = true;
                self.shown.fallen += 1;
            }
            None => node.backup = node.peer.store.as_ref().map(MemoryStore::reopened),
        }
    }

    /// The member does something, and dies before it is in force.
    fn crash(&mut self, who: usize) {
        if self.nodes[who].fallen {
            return self.nodes[who].peer.restart();
        }
        let number = self.nodes[who].arriving.last().copied();
        let readable = number.is_some_and(|number| self.readable(who, number));
        let node = &mut self.nodes[who];
        let below = node.peer.below;
        let chain = common::chain(7);
        let accepted = |epoch: u64| self.log.get(usize::try_from(epoch).unwrap());
        match (self.dice.below(4), number, node.epoch()) {
            (0, Some(number), _) => {
                let opened = node.peer.open_only(&self.messages[number].wire);
                assert_eq!(opened.is_ok(), readable);
            }
            (1, _, Some(_)) => {
                let _ = node.peer.seal_only(b"never sent").unwrap();
            }
            (2, _, Some(epoch)) => match accepted(epoch) {
                Some(accepted) if accepted.author == who => {
                    node.peer.layer.confirm_change().unwrap();
                }
                Some(accepted) => {
                    let context = common::context(accepted.staged.binding, below, Some(&chain));
                    let commit = &accepted.staged.parts.commit;
                    let _ = node.peer.layer.process_commit(commit, &context).unwrap();
                }
                None => return,
            },
            (2, _, None) => match node.welcome.and_then(accepted) {
                Some(accepted) => {
                    let context = common::context(accepted.staged.binding, below, Some(&chain));
                    node.peer.layer.join(&accepted.staged.parts.welcome, &context).unwrap();
                }
                None => return,
            },
            (3, _, Some(_)) if node.staged.is_none() => {
                let request = cc_core::ChangeRequest::default();
                let context = common::context([9; 32], below, Some(&chain));
                let _ = node.peer.layer.stage_change(&request, &context).unwrap();
            }
            _ => return,
        }
        if self.dice.percent(25) {
            node.peer.layer.revert();
        } else {
            node.peer.restart();
        }
        self.shown.crashes += 1;
    }

    /// Who fell and is still a member is brought back, all at once.
    fn bring_back_the_fallen(&mut self) {
        let inside = &self.rosters[self.log.len()];
        let is_fallen = |node: &Node| node.fallen && inside.contains(&node.peer.id);
        let fallen: Vec<usize> =
            (0..self.nodes.len()).filter(|at| is_fallen(&self.nodes[*at])).collect();
        let ids: Vec<MemberId> = fallen.iter().map(|at| self.nodes[*at].peer.id).collect();
        let packages: Vec<KeyPackage> =
            fallen.iter().map(|at| self.nodes[*at].peer.key_package()).collect();
        let by = self.nodes.iter().position(|node| node.epoch().is_some() && !node.fallen).unwrap();
        self.nodes[by].peer.transact(|layer| layer.discard_change()).unwrap();
        let staged = self.nodes[by].peer.stage(&packages, &ids).unwrap();
        self.nodes[by].peer.confirm();
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(at, _)| *at != by) {
            if fallen.contains(&at) {
                node.peer.join(&staged).unwrap();
                node.fallen = false;
            } else if node.epoch().is_some() && !node.fallen {
                let outcome = node.peer.process(&staged).unwrap();
                assert_eq!(outcome.added.len(), ids.len());
            }
        }
    }

    /// The network recovers: everything arrives, and all who are inside agree.
    fn settle(&mut self) {
        for who in 0..self.nodes.len() {
            loop {
                while let (Some(number), false) =
                    (self.nodes[who].arriving.last().copied(), self.nodes[who].fallen)
                {
                    self.nodes[who].arriving.pop();
                    if !self.open(who, number) {
                        self.nodes[who].arriving.push(number);
                        break;
                    }
                }
                let before = (self.nodes[who].epoch(), self.nodes[who].welcome);
                self.advance(who);
                let node = &self.nodes[who];
                if (node.epoch(), node.welcome) == before {
                    // Who was removed and never comes back is left with what it never could read.
                    let read = node.arriving.is_empty() || node.fallen || node.epoch().is_none();
                    assert!(read, "a message of an epoch to come is left");
                    break;
                }
            }
        }
        self.bring_back_the_fallen();
        let inside = &self.rosters[self.log.len()];
        let mut peers: Vec<Peer> = std::mem::take(&mut self.nodes)
            .into_iter()
            .filter(|node| node.epoch().is_some() && !node.fallen)
            .map(|node| node.peer)
            .collect();
        assert_eq!(peers.iter().map(|peer| peer.id).collect::<BTreeSet<_>>(), *inside);
        for peer in &mut peers {
            peer.transact(|layer| layer.discard_change()).unwrap();
        }
        all_read_all(&mut peers);
    }
}
