//! What is left of a change that another commit overtook: never what others did or undid since.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::collections::{BTreeMap, BTreeSet};

use cc_aes_layer::AesLayer;
use cc_manager::{CascadingCipherManager, Change, Incoming, MemberId, Standing};
use common::{Follow as _, dh, group, joiner, settle};
use proptest::prelude::*;

/// Two members answer one rejoin package. The loser must not throw out who came back.
#[test]
fn who_was_readmitted_by_another_member_stays() {
    let mut all = group(&["a", "b", "c"]);
    let c = all[2].member_id().unwrap();
    let package = all[2].rejoin_package().unwrap();
    let by_a = all[0].readmit_members([&package]).unwrap();
    let _by_b = all[1].readmit_members([&package]).unwrap();
    let welcome = all[0].confirm(by_a.id()).unwrap().welcome.unwrap();
    all[1].process(&by_a.commit).unwrap();
    all[2].join(&welcome).unwrap();
    assert_eq!(all[1].restage().unwrap(), None);
    assert!(all[1].members().iter().any(|member| member.id == c));
    common::all_read_all(&mut all);
}

/// Whoever was removed since must not be added again.
#[test]
fn who_was_removed_since_is_not_added_again() {
    let mut all = group(&["a", "b", "c"]);
    let mut d = joiner("d");
    let (package, id) = (d.key_package().unwrap(), d.member_id().unwrap());
    let _by_a = all[0].add_members([&package]).unwrap();
    let by_b = all[1].add_members([&package]).unwrap();
    let welcome = settle(&mut all, 1, &by_b, &[]).unwrap();
    d.join(&welcome).unwrap();
    let removal = all[2].remove_members([id]).unwrap();
    settle(&mut all, 2, &removal, &[]);
    assert_eq!(all[0].restage().unwrap(), None);
    common::all_read_all(&mut all);
}

/// Whoever was removed and came back since must not be removed again.
#[test]
fn who_came_back_since_is_not_removed_again() {
    let mut all = group(&["a", "b", "c"]);
    let c = all[2].member_id().unwrap();
    let _by_a = all[0].remove_members([c]).unwrap();
    let by_b = all[1].remove_members([c]).unwrap();
    settle(&mut all, 1, &by_b, &[]);
    let package = all[2].rejoin_package().unwrap();
    let back = all[1].add_members([package]).unwrap();
    let welcome = all[1].confirm(back.id()).unwrap().welcome.unwrap();
    all[0].process(&back.commit).unwrap();
    all[2].join(&welcome).unwrap();
    assert_eq!(all[0].restage().unwrap(), None);
    common::all_read_all(&mut all);
}

/// What nobody decided about stays to be done, over several commits and a change of one's own.
#[test]
fn what_nobody_decided_about_is_staged_again() {
    let mut all = group(&["a", "b", "c", "d"]);
    let [c, d] = [2, 3].map(|at: usize| all[at].member_id().unwrap());
    let mut e = joiner("e");
    let package = e.key_package().unwrap();
    let _lost = all[0].change([&package], [c, d]).unwrap();
    let won = all[1].remove_members([c]).unwrap();
    settle(&mut all, 1, &won, &[]);
    all.remove(2);
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[]);
    let again = all[0].restage().unwrap().unwrap();
    let confirmed = all[0].confirm(again.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!((summary.added, summary.removed), (vec![e.member_id().unwrap()], vec![d]));
    all[1].process(&again.commit).unwrap();
    e.join(confirmed.welcome.unwrap()).unwrap();
    assert_eq!(all[0].restage().unwrap(), None);
    all[2] = e;
    common::all_read_all(&mut all);
}

#[test]
fn what_is_left_can_be_given_up() {
    let mut all = group(&["a", "b"]);
    let _lost = all[0].add_members([joiner("c").key_package().unwrap()]).unwrap();
    let won = all[1].update().unwrap();
    settle(&mut all, 1, &won, &[]);
    all[0].forget_overtaken().unwrap();
    assert_eq!(all[0].restage().unwrap(), None);
}

#[derive(Debug, Clone)]
enum Step {
    /// These members stage changes at once, and the first wins.
    Race { winner: usize, wishes: Vec<(usize, Wish)> },
    /// This member stages what is left of its own.
    Restage { by: usize },
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Update,
    Add(usize),
    Remove(usize),
    Readmit(usize),
}

/// Everybody there is: in the group, and outside.
const PEOPLE: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    let wish = prop_oneof![
        1 => Just(Wish::Update),
        3 => who.clone().prop_map(Wish::Add),
        3 => who.clone().prop_map(Wish::Remove),
        3 => who.clone().prop_map(Wish::Readmit),
    ];
    let wishes = proptest::collection::vec((who.clone(), wish), 2..5);
    prop_oneof![
        3 => (who.clone(), wishes).prop_map(|(winner, wishes)| Step::Race { winner, wishes }),
        2 => who.prop_map(|by| Step::Restage { by }),
    ]
}

struct World {
    people: Vec<CascadingCipherManager>,
    changes: u64,
    /// Which change last added or removed somebody.
    decided: BTreeMap<MemberId, u64>,
    /// Whom each person's changes were to add or remove, and after how many changes they were staged.
    wanted: Vec<BTreeMap<MemberId, u64>>,
}

impl World {
    fn new() -> Self {
        let build = || {
            CascadingCipherManager::builder()
                .layer(dh())
                .layer(AesLayer::inherited())
                .build()
                .unwrap()
        };
        let mut people: Vec<_> = (0..PEOPLE).map(|_| build()).collect();
        let packages: Vec<_> = (1..4).map(|at: usize| people[at].key_package().unwrap()).collect();
        let change = people[0].add_members(packages).unwrap();
        let welcome = people[0].confirm(change.id()).unwrap().welcome.unwrap();
        (1..4).for_each(|at: usize| drop(people[at].join(&welcome).unwrap()));
        let wanted = vec![BTreeMap::new(); PEOPLE];
        Self { people, changes: 0, decided: BTreeMap::new(), wanted }
    }

    fn inside(&self, who: usize) -> bool {
        matches!(self.people[who].standing(), Some(Standing::Member { .. }))
    }

    fn stage(&mut self, by: usize, wish: Wish) -> Option<Change> {
        let whom = match wish {
            Wish::Update => return self.people[by].update().ok(),
            Wish::Add(whom) | Wish::Remove(whom) | Wish::Readmit(whom) => whom,
        };
        let id = self.people[whom].member_id().unwrap();
        let member = self.inside(whom);
        match wish {
            Wish::Add(_) if !member => {
                let package = self.people[whom].rejoin_package().unwrap();
                self.people[by].add_members([package]).ok()
            }
            Wish::Remove(_) if member && whom != by => self.people[by].remove_members([id]).ok(),
            Wish::Readmit(_) if whom != by => {
                let package = self.people[whom].rejoin_package().unwrap();
                self.people[by].readmit_members([package]).ok()
            }
            _ => None,
        }
    }

    /// The change of `by` comes into force for everybody; gives whom it added or removed.
    fn settle(&mut self, by: usize, change: &Change) -> BTreeSet<MemberId> {
        self.changes += 1;
        let confirmed = self.people[by].confirm(change.id()).unwrap();
        let summary = confirmed.summary;
        for who in (0..PEOPLE).filter(|who| *who != by) {
            let id = self.people[who].member_id().unwrap();
            let staged = self.people[who].staged_change().is_some();
            if self.inside(who) {
                let result = self.people[who].process(&change.commit);
                let Incoming::Commit(seen) = result.unwrap() else { panic!() };
                assert_eq!(seen.superseded.is_some(), staged);
                if seen.removed_self {
                    self.wanted[who].clear();
                }
            }
            if summary.added.contains(&id) {
                self.people[who].join(confirmed.welcome.as_ref().unwrap()).unwrap();
            }
        }
        let touched: BTreeSet<_> = summary.added.iter().chain(&summary.removed).copied().collect();
        self.decided.extend(touched.iter().map(|id| (*id, self.changes)));
        touched
    }

    /// About whom nobody decided since `by` wanted to add or remove them.
    fn left(&self, by: usize) -> BTreeSet<MemberId> {
        let decided = |id| self.decided.get(id).copied().unwrap_or(0);
        let wanted = self.wanted[by].iter();
        wanted.filter(|(id, since)| decided(id) <= **since).map(|(id, _)| *id).collect()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Race { winner, wishes } => {
                let mut staged = BTreeMap::new();
                for (by, wish) in wishes {
                    if self.inside(by)
                        && !staged.contains_key(&by)
                        && let Some(change) = self.stage(by, wish)
                    {
                        if let Wish::Add(whom) | Wish::Remove(whom) | Wish::Readmit(whom) = wish {
                            let id = self.people[whom].member_id().unwrap();
                            self.wanted[by].insert(id, self.changes);
                        }
                        staged.insert(by, change);
                    }
                }
                let winner = staged.keys().copied().nth(winner % staged.len().max(1));
                if let Some(winner) = winner {
                    self.settle(winner, &staged[&winner]);
                }
            }
            Step::Restage { by } if self.inside(by) => {
                let left = self.left(by);
                let change = self.people[by].restage().unwrap();
                let touched = change.map_or_else(BTreeSet::new, |change| self.settle(by, &change));
                assert_eq!(touched, left);
            }
            Step::Restage { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever members race for: what is staged again is all that nobody decided about since, and
    /// nothing else, so that nobody is added or removed against the last decision.
    #[test]
    fn nobody_is_added_or_removed_against_the_last_decision(
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        for by in 0..PEOPLE {
            world.run(Step::Restage { by });
        }
    }
}

/// An addition renews nothing of who makes it, so that an update which was overtaken is still to be made.
#[test]
fn an_addition_does_not_stand_for_an_update() {
    let mut all = group(&["a", "b"]);
    let _lost = all[0].update().unwrap();
    let won = all[1].update().unwrap();
    settle(&mut all, 1, &won, &[]);
    // One's own addition, which nobody overtakes, and one that is overtaken as well.
    let mut c = joiner("c");
    let addition = all[0].add_members([c.key_package().unwrap()]).unwrap();
    let welcome = settle(&mut all, 0, &addition, &[]).unwrap();
    c.join(welcome).unwrap();
    all.push(c);
    let mut d = joiner("d");
    let _lost = all[0].add_members([d.key_package().unwrap()]).unwrap();
    let won = all[1].update().unwrap();
    settle(&mut all, 1, &won, &[]);

    let again = all[0].restage().unwrap().unwrap();
    let added = all[0].confirm(again.id()).unwrap();
    assert_eq!(added.summary.added, [d.member_id().unwrap()]);
    all[1..].iter_mut().for_each(|member| drop(member.process(&again.commit).unwrap()));
    d.join(added.welcome.unwrap()).unwrap();
    all.push(d);
    let update = all[0].restage().unwrap().unwrap();
    settle(&mut all, 0, &update, &[]);
    assert_eq!(all[0].restage().unwrap(), None);
    common::all_read_all(&mut all);
}
