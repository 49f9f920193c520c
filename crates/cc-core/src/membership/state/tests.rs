use alloc::{vec, vec::Vec};

use super::*;
use crate::LayerErrorKind::{self, Early, Misuse, NotReady, Stale};

/// An epoch that is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(u64);

impl Epoch for Number {
    type Past = u64;

    fn number(&self) -> u64 {
        self.0
    }

    fn members(&self) -> usize {
        1
    }

    fn to_past(&self) -> u64 {
        self.0
    }
}

const ME: MemberId = MemberId::from_bytes([1; 32]);

fn kind(result: Result<impl Sized, LayerError>) -> LayerErrorKind {
    result.err().unwrap().kind()
}

fn founded(number: u64) -> GroupState<Number> {
    GroupState::new(2).attached(ME, Some(Number(number)))
}

/// Which of the epochs 0 to 9 have keys, and what the errors of the others are.
fn readable(state: &GroupState<Number>) -> (Vec<u64>, Vec<(u64, LayerErrorKind)>) {
    let (mut open, mut closed) = (vec![], vec![]);
    for number in 0..10 {
        match state.keys(number) {
            Ok(Keys::Present(now)) => open.push(now.0),
            Ok(Keys::Past(past)) => open.push(*past),
            Err(error) => {
                assert!(error.epoch().is_none_or(|epoch| epoch == number));
                closed.push((number, error.kind()));
            }
        }
    }
    (open, closed)
}

#[test]
fn nothing_works_before_there_is_a_place_and_a_group() {
    let state = GroupState::<Number>::new(2);
    assert_eq!(state.standing(), Standing::Outside);
    assert_eq!(kind(state.expect_member()), NotReady);
    assert_eq!(kind(state.present()), NotReady);
    assert_eq!(kind(state.keys(0)), NotReady);
    assert_eq!(kind(state.expect_present(0)), NotReady);
    assert_eq!(kind(state.confirmed()), NotReady);
    assert_eq!(kind(state.next()), NotReady);
    assert_eq!(kind(state.joined(Number(3))), NotReady);
    assert!(state.discarded().is_none());
    let state = state.attached(ME, None);
    assert_eq!((state.member(), state.standing()), (Some(ME), Standing::Outside));
}

#[test]
fn a_change_is_staged_and_confirmed_or_discarded() {
    let outside = GroupState::new(2).attached(ME, None);
    let fail = || Err::<Number, _>(LayerError::rejected());
    assert_eq!(kind(outside.start_change(fail)), LayerErrorKind::Rejected);
    let (start, founds) = outside.start_change(|| Ok::<_, LayerError>(Number(0))).unwrap();
    assert!(founds);
    let staged = outside.with_change(start, Number(1), founds);
    assert_eq!(staged.standing(), Standing::Member { epoch: 0 });
    assert_eq!(staged.next().unwrap(), Some(&Number(1)));
    assert_eq!(kind(staged.start_change(fail)), Misuse);
    assert_eq!(staged.discarded().unwrap().standing(), Standing::Outside, "founded for it");

    let confirmed = staged.confirmed().unwrap();
    assert_eq!(confirmed.standing(), Standing::Member { epoch: 1 });
    assert_eq!(kind(confirmed.next()), NotReady);
    let (start, founds) = confirmed.start_change(fail).unwrap();
    assert_eq!((start, founds), (Number(1), false));
    let staged = confirmed.with_change(start, Number(2), founds);
    assert_eq!(staged.discarded().unwrap().standing(), Standing::Member { epoch: 1 });
    assert_eq!(kind(founded(u64::MAX).start_change(fail)), Misuse);
}

#[test]
fn commits_of_others_move_the_window_and_supersede_a_staged_change() {
    let mut state = founded(3).with_change(Number(3), Number(4), false);
    for number in 4..7 {
        state = state.advanced(Some(Number(number)));
        assert!(state.change().is_none());
        assert_eq!(state.next().unwrap(), Some(&Number(number)));
        state.settle();
        assert_eq!(kind(state.next()), NotReady);
    }
    let (open, closed) = readable(&state);
    assert_eq!(open, [4, 5, 6]);
    assert_eq!(closed[..4], [0, 1, 2, 3].map(|number| (number, Stale)));
    assert_eq!(closed[4..], [7, 8, 9].map(|number| (number, Early)));
    assert_eq!(state.expect_present(6).unwrap(), &Number(6));
    assert_eq!(kind(state.expect_present(5)), Stale);
    assert_eq!(kind(state.expect_present(7)), Early);
    state.set_window(0);
    assert_eq!(readable(&state).0, [6]);
}

#[test]
fn a_removed_member_reads_on_in_the_window_and_waits_for_what_comes_later() {
    for window in [0, 2] {
        let mut state = founded(4).advanced(Some(Number(5)));
        state.set_window(window);
        let mut state = state.advanced(None);
        assert_eq!(state.standing(), Standing::Removed);
        assert_eq!(state.next().unwrap(), None);
        state.settle();
        assert_eq!(kind(state.next()), NotReady);
        assert_eq!(kind(state.start_change(|| Ok::<_, LayerError>(Number(0)))), NotReady);
        let (open, closed) = readable(&state);
        assert_eq!(open, if window == 0 { vec![] } else { vec![4, 5] });
        assert!(closed.contains(&(3, Stale)) && closed.contains(&(6, Early)));
        assert_eq!(kind(state.expect_present(5)), Stale);
        assert_eq!(kind(state.expect_present(6)), Early);

        let state = state.joined(Number(7)).unwrap();
        assert_eq!(state.next().unwrap(), Some(&Number(7)));
        assert_eq!(readable(&state).0, [7], "what was before is forgotten");
    }
}

#[test]
fn only_pieces_that_belong_together_are_restored() {
    let past = |numbers: &[u64]| {
        let numbers = numbers.iter().map(|number| (*number, *number)).collect();
        PastEpochs::restored(2, numbers).unwrap()
    };
    let change = |number| Some(PendingChange { next: Number(number), founds: false });
    let restore = GroupState::<Number>::restored;
    assert!(restore(None, Phase::Outside, past(&[]), None).is_some());
    assert!(restore(Some(ME), Phase::Member(Number(3)), past(&[1, 2]), change(4)).is_some());
    assert!(restore(Some(ME), Phase::Removed { last: 3 }, past(&[2, 3]), None).is_some());

    assert!(restore(None, Phase::Outside, past(&[1]), None).is_none());
    assert!(restore(None, Phase::Outside, past(&[]), change(1)).is_none());
    assert!(restore(None, Phase::Member(Number(3)), past(&[]), None).is_none());
    assert!(restore(Some(ME), Phase::Member(Number(3)), past(&[3]), None).is_none());
    assert!(restore(Some(ME), Phase::Member(Number(3)), past(&[]), change(5)).is_none());
    assert!(restore(Some(ME), Phase::Removed { last: 3 }, past(&[4]), None).is_none());
    assert!(restore(Some(ME), Phase::Removed { last: 3 }, past(&[]), change(4)).is_none());
}
