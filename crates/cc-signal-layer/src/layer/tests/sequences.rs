//! Random lives of pairs and groups whose members lose everything but their store, whose stores fail, and
//! who go back to old copies.

use std::collections::HashSet;

use cc_core::store::Failure;
use proptest::{prelude::*, sample::Index};

use super::{pairwise::strangers, *};
use crate::message_key::tests::{forget, forgive, keys};

/// What becomes of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Works,
    /// Not even tried: some other layer failed.
    Reverted,
    Fails(Failure),
}

fn save() -> impl Strategy<Value = Save> {
    prop_oneof![
        5 => Just(Save::Works),
        1 => Just(Save::Reverted),
        1 => Just(Save::Fails(Failure::Full)),
        1 => Just(Save::Fails(Failure::Lost)),
        1 => Just(Save::Fails(Failure::Kept)),
    ]
}

/// The keys that a member used since it last saved, in messages that never left: they are used again
/// when it restarts before it saves again, and only then.
#[derive(Default)]
struct Burned(HashSet<[u8; 32]>);

impl Burned {
    /// Does `step`, which may seal, and settles it as `save` says. `None` where it is not in force.
    fn run<T>(
        &mut self,
        kept: &mut Kept,
        save: Save,
        step: impl FnOnce(&mut SignalLayer) -> Result<T, LayerError>,
    ) -> Result<Option<T>, LayerError> {
        let before = keys();
        let result = step(&mut kept.layer);
        self.0.extend(keys().difference(&before));
        if result.is_err() || save == Save::Reverted {
            kept.layer.revert();
            return result.map(|_| None);
        }
        if let Save::Fails(failure) = save {
            kept.store.fail_after(0, failure);
        }
        let empty = kept.save().is_ok();
        if empty {
            kept.layer.apply();
            assert_eq!(everything(&kept.layer), kept.stored());
            self.0.clear();
            // Where there is nothing to write, nothing fails.
            kept.store.fail_after(u64::MAX, Failure::Full);
            return result.map(Some);
        }
        kept.layer.revert();
        match save {
            Save::Fails(Failure::Lost) => self.restart(kept),
            Save::Fails(Failure::Kept) => {
                self.0.clear();
                self.restart(kept);
            }
            _ => {}
        }
        Ok(None)
    }

    fn restart(&mut self, kept: &mut Kept) {
        kept.restart();
        forgive(self.0.drain());
    }
}

/// A message under way to one member.
struct Parcel {
    to: usize,
    sender: MemberId,
    wire: Vec<u8>,
    text: Vec<u8>,
    epoch: u64,
    /// How often its reader had joined.
    joined: usize,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Every message opens once, in whatever order, and never again.
    #[test]
    fn two_read_each_other(
        steps in proptest::collection::vec((0u8..6, 0usize..2, any::<Index>(), save()), 1..100),
    ) {
        forget();
        let (alice, bob) = strangers();
        let mut people = [Kept::new(alice), Kept::new(bob)];
        let mut burned = [Burned::default(), Burned::default()];
        let mut under_way: [Vec<(Vec<u8>, Vec<u8>)>; 2] = Default::default();
        let mut delivered: [Vec<Vec<u8>>; 2] = Default::default();
        for (n, (step, who, which, save)) in (0u8..).zip(steps) {
            let (person, burned) = (&mut people[who], &mut burned[who]);
            match step {
                0 | 1 => {
                    let sealed = burned.run(person, save, |layer| seal_staged(layer, &[n]));
                    match sealed {
                        Ok(Some(wire)) => under_way[1 - who].push((wire, vec![n])),
                        Ok(None) => {}
                        Err(error) => prop_assert_eq!(error.kind(), LayerErrorKind::NotReady),
                    }
                }
                2 | 3 if !under_way[who].is_empty() => {
                    let at = which.index(under_way[who].len());
                    let (wire, text) = under_way[who].swap_remove(at);
                    let opened = burned.run(person, save, |layer| open_staged(layer, &wire, b"ad"));
                    match opened.unwrap() {
                        Some((opened, _)) => {
                            prop_assert_eq!(opened, text);
                            delivered[who].push(wire);
                        }
                        // In the store, and nobody was told.
                        None if save == Save::Fails(Failure::Kept) => delivered[who].push(wire),
                        None => under_way[who].push((wire, text)),
                    }
                }
                4 if !delivered[who].is_empty() => {
                    let wire = &delivered[who][which.index(delivered[who].len())];
                    let opened = burned.run(person, save, |layer| open_staged(layer, wire, b"ad"));
                    // A duplicate, as far as the records reach.
                    let expected = [LayerErrorKind::Duplicate, LayerErrorKind::Rejected];
                    prop_assert!(expected.contains(&kind(opened)));
                }
                _ => burned.restart(person),
            }
        }
        for (who, person) in people.iter_mut().enumerate() {
            for (wire, text) in under_way[who].drain(..).rev() {
                prop_assert_eq!(person.open_kept(&wire).unwrap().0, text);
                delivered[who].push(wire);
            }
            person.restart();
            for wire in &delivered[who] {
                prop_assert!(person.open_kept(wire).is_err());
            }
        }
    }

    /// Whatever is added, removed, updated, lost and delivered out of order, whoever comes back: the
    /// members agree, what is delivered opens once to what its sender wrote, and outsiders read nothing.
    #[test]
    fn members_agree_and_read_each_other(
        steps in proptest::collection::vec(
            (0u8..13, any::<Index>(), any::<Index>(), 0u8..128, save()),
            1..50,
        ),
    ) {
        forget();
        let mut people: Vec<_> = (0..5).map(|n| person(n == 0)).collect();
        let mut burned: Vec<_> = people.iter().map(|_| Burned::default()).collect();
        let mut old: Vec<_> = people.iter().map(|person| person.copy()).collect();
        let mut inside = vec![0usize];
        let mut under_way: Vec<Parcel> = Vec::new();
        let mut delivered: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut joined = [0usize; 5];
        for (binding, (step, actor, other, restart, save)) in (1u8..).zip(steps) {
            let actor = inside[actor.index(inside.len())];
            let target = other.index(5);
            for n in 0..5 {
                if restart >> n & 1 == 1 {
                    burned[n].restart(&mut people[n].kept);
                }
            }
            match step {
                // A change.
                0..=4 => {
                    let (mut packages, mut removed) = (vec![], vec![]);
                    let known = inside.contains(&target);
                    if step < 2 && !known {
                        people[target] = person(false);
                        burned[target] = Burned::default();
                        old[target] = people[target].copy();
                        packages.push((people[target].id, people[target].package()));
                    } else if known && target != actor && step >= 2 {
                        removed.push(people[target].id);
                        if step > 2 {
                            // It comes back, as it is or as it was.
                            if step == 4 {
                                burned[target].restart(&mut people[target].kept);
                                let now = people[target].copy();
                                people[target].kept = core::mem::replace(&mut old[target], now);
                            }
                            packages.push((people[target].id, people[target].package()));
                        }
                    }
                    let change = burned[actor].run(&mut people[actor].kept, save, |layer| {
                        let added: Vec<_> = packages
                            .iter()
                            .map(|(id, part)| NewMember { id: *id, part, binding: [0; 32] })
                            .collect();
                        let request = ChangeRequest { added: &added, removed: &removed };
                        let change = layer.stage_change(&request, &parts(binding))?;
                        let commit = seal_staged(layer, &change.commit)?;
                        Ok(Change { commit, welcome: change.welcome })
                    });
                    let change = match change.unwrap() {
                        Some(change) if restart >> 5 != 3 => change,
                        // Another commit won, or nobody knows whether it is staged.
                        _ => {
                            people[actor].discard();
                            burned[actor].0.clear();
                            if step == 4 && !removed.is_empty() {
                                // The old copy cannot go on: it is as good as gone until it is back.
                                people[target].kept =
                                    core::mem::replace(&mut old[target], people[target].copy());
                            }
                            continue;
                        }
                    };
                    if restart >> 5 == 0 {
                        burned[actor].restart(&mut people[actor].kept);
                    }
                    // Commits come to everybody in order; other messages are lost or late as they like.
                    people[actor].confirm();
                    burned[actor].0.clear();
                    for member in inside.iter().copied().filter(|member| *member != actor) {
                        if member == target && !packages.is_empty() {
                            continue;
                        }
                        let mut process = |save| {
                            burned[member].run(&mut people[member].kept, save, |layer| {
                                let (part, _) = open_staged(layer, &change.commit, b"ad")?;
                                layer.process_commit(&part, &parts(binding))
                            })
                        };
                        let mut outcome = process(save).unwrap();
                        if outcome.is_none() && save != Save::Fails(Failure::Kept) {
                            outcome = process(Save::Works).unwrap();
                        }
                        if let Some(outcome) = outcome {
                            prop_assert_eq!(outcome.committer, Some(people[actor].id));
                        }
                    }
                    if !packages.is_empty() {
                        let mut join = |save| {
                            burned[target].run(&mut people[target].kept, save, |layer| {
                                layer.join(&change.welcome, &parts(binding))
                            })
                        };
                        if join(save).unwrap().is_none() && save != Save::Fails(Failure::Kept) {
                            prop_assert!(join(Save::Works).unwrap().is_some());
                        }
                        joined[target] += 1;
                        if removed.is_empty() {
                            inside.push(target);
                        }
                    } else if !removed.is_empty() {
                        inside.retain(|member| *member != target);
                        under_way.retain(|parcel| parcel.to != target);
                    }
                }
                5..=7 => {
                    let text = vec![binding; target];
                    let wire = burned[actor]
                        .run(&mut people[actor].kept, save, |layer| seal_staged(layer, &text));
                    let Some(wire) = wire.unwrap() else { continue };
                    for to in inside.iter().copied().filter(|to| *to != actor) {
                        let (wire, text) = (wire.clone(), text.clone());
                        let (sender, epoch) = (people[actor].id, people[actor].epoch());
                        let joined = joined[to];
                        under_way.push(Parcel { to, sender, wire, text, epoch, joined });
                    }
                    for (n, person) in people.iter_mut().enumerate() {
                        if !inside.contains(&n) {
                            prop_assert!(person.open(&wire).is_err());
                        }
                    }
                }
                8 | 9 if !under_way.is_empty() => {
                    let parcel = under_way.swap_remove(other.index(under_way.len()));
                    let Parcel { to, sender, ref wire, ref text, epoch, .. } = parcel;
                    let opened = burned[to]
                        .run(&mut people[to].kept, save, |layer| open_staged(layer, wire, b"ad"));
                    match opened {
                        Ok(Some((opened, by))) => {
                            let expected = Opened::by(sender).in_epoch(epoch);
                            prop_assert_eq!((&opened, by), (text, expected));
                            delivered.push((to, parcel.wire));
                        }
                        Ok(None) if save == Save::Fails(Failure::Kept) => {
                            delivered.push((to, parcel.wire));
                        }
                        Ok(None) => under_way.push(parcel),
                        // Of an epoch out of the window, or from before its reader joined.
                        Err(error) => {
                            let past = people[to].epoch() - epoch > PAST_EPOCHS as u64;
                            prop_assert_eq!(error.kind(), LayerErrorKind::Stale);
                            prop_assert!(past || joined[to] != parcel.joined);
                        }
                    }
                }
                10 | 11 if !delivered.is_empty() => {
                    let (to, wire) = &delivered[other.index(delivered.len())];
                    let opened = burned[*to]
                        .run(&mut people[*to].kept, save, |layer| open_staged(layer, wire, b"ad"));
                    prop_assert!(opened.is_err());
                }
                _ => {
                    if !under_way.is_empty() {
                        under_way.swap_remove(other.index(under_way.len()));
                    }
                    old[target] = people[target].copy();
                }
            }
            let members = people[inside[0]].layer.members();
            for member in &inside {
                let mut theirs = people[*member].layer.members();
                theirs.sort_by_key(|member| member.id);
                let mut expected = members.clone();
                expected.sort_by_key(|member| member.id);
                prop_assert_eq!(theirs, expected);
            }
        }
        for (to, wire) in &delivered {
            prop_assert!(people[*to].open(wire).is_err());
        }
    }
}
