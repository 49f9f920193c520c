//! Random lives of groups.

use proptest::prelude::*;

use super::*;

/// A message under way to one member.
struct Parcel {
    to: usize,
    from: MemberId,
    wire: Vec<u8>,
    text: Vec<u8>,
    /// How often its sender had begun to distribute its chain anew.
    restarts: usize,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is added, removed, updated, lost and delivered out of order: the members agree, what
    /// is delivered opens once to what its sender wrote, and outsiders read nothing. Whenever nothing but
    /// a message of its own is staged, a member may be gone and come back from its saved state.
    #[test]
    fn members_agree_and_read_each_other(
        steps in proptest::collection::vec((0u8..10, 0usize..5, 0usize..8, 0u8..128), 1..40),
    ) {
        let mut people: Vec<_> = (0..5).map(|n| person(n == 0)).collect();
        let mut inside = vec![0usize];
        let mut under_way: Vec<Parcel> = Vec::new();
        let mut restarts = [0usize; 5];
        for (binding, (step, actor, other, restart)) in (1u8..).zip(steps) {
            let actor = inside[actor % inside.len()];
            for (n, person) in people.iter_mut().enumerate() {
                if restart >> n & 1 == 1 {
                    person.restart();
                }
            }
            let in_between = restart >> 5 == 0;
            match step {
                // A change, of which the delivery service takes three in four.
                0..=3 => {
                    let target = other % 5;
                    let (mut packages, mut removed) = (vec![], vec![]);
                    if step < 2 && !inside.contains(&target) {
                        people[target] = person(false);
                        let package = people[target].package();
                        packages.push((people[target].id, package));
                    } else if step == 2 && target != actor && inside.contains(&target) {
                        removed.push(people[target].id);
                    }
                    // Whoever lost every message with the committer's chain could not open its commit.
                    people[actor].layer.redistribute().unwrap();
                    restarts[actor] += 1;
                    let change = people[actor].try_stage(&packages, &removed, binding).unwrap();
                    if in_between {
                        people[actor].restart();
                    }
                    if other % 4 == 3 {
                        people[actor].discard();
                        continue;
                    }
                    // Commits come to everybody in order; other messages are lost or late as they like.
                    people[actor].confirm();
                    for member in inside.iter().filter(|member| **member != actor) {
                        let outcome = people[*member].process(&change.commit, binding);
                        match outcome {
                            Ok(outcome) => prop_assert_eq!(outcome.committer, Some(people[actor].id)),
                            Err(error) => return Err(TestCaseError::fail(std::format!("{error}"))),
                        }
                    }
                    for (id, _) in &packages {
                        let new = people.iter().position(|p| p.id == *id).unwrap();
                        people[new].join(&change.welcome, binding).unwrap();
                        inside.push(new);
                    }
                    if !removed.is_empty() {
                        inside.retain(|member| *member != target);
                        under_way.retain(|parcel| parcel.to != target && parcel.from != removed[0]);
                    }
                }
                4..=6 => {
                    let text = vec![binding; other];
                    if step == 6 {
                        seal_staged(&mut people[actor].layer, b"reverted").unwrap();
                        if in_between {
                            people[actor].restart();
                        }
                        people[actor].layer.revert();
                    }
                    let wire = people[actor].seal(&text);
                    let from = people[actor].id;
                    for to in inside.iter().copied().filter(|to| *to != actor) {
                        let (wire, text) = (wire.clone(), text.clone());
                        under_way.push(Parcel { to, from, wire, text, restarts: restarts[actor] });
                    }
                    for (n, person) in people.iter_mut().enumerate() {
                        if !inside.contains(&n) {
                            prop_assert!(person.open(&wire).is_err());
                        }
                    }
                }
                7 | 8 if !under_way.is_empty() => {
                    let parcel = under_way.swap_remove((actor * 7 + other) % under_way.len());
                    let reader = &mut people[parcel.to];
                    match reader.open(&parcel.wire) {
                        Ok(opened) => {
                            prop_assert_eq!(opened, (parcel.text, parcel.from));
                            prop_assert!(reader.open(&parcel.wire).is_err());
                        }
                        // Every message that carried the chain is lost or still to come, or brought a
                        // later state.
                        Err(error) => {
                            let from = people.iter().position(|p| p.id == parcel.from).unwrap();
                            let later = restarts[from] > parcel.restarts;
                            prop_assert!(match error.kind() {
                                LayerErrorKind::Early => true,
                                LayerErrorKind::Rejected => later,
                                _ => false,
                            }, "{}", error);
                        }
                    }
                }
                _ => {
                    if !under_way.is_empty() {
                        under_way.swap_remove(other % under_way.len());
                    }
                    people[actor].layer.redistribute().unwrap();
                    restarts[actor] += 1;
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
    }
}
