//! Values that change, and what of them is cut anew.

use proptest::prelude::*;

use super::*;

/// A value and the pieces that a store has of it.
struct Kept {
    value: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Kept {
    fn new(value: Vec<u8>) -> Self {
        let pieces = anew(value.len()).iter().map(|cut| cut.piece).collect();
        let kept = Self { value, pieces };
        kept.check();
        kept
    }

    /// The value becomes `new`; gives the bytes of the pieces that are written.
    fn become_(&mut self, new: Vec<u8>) -> usize {
        let cuts = follow(&self.pieces, &self.value, &new);
        let mut written = 0;
        let mut at = 0;
        for Cut { piece, kept } in &cuts {
            let bytes = &new[at..at + piece.len];
            if *kept {
                assert_eq!(Some(bytes), self.piece(*piece));
            } else {
                written += piece.len;
            }
            at += piece.len;
        }
        self.value = new;
        self.pieces = cuts.iter().map(|cut| cut.piece).collect();
        self.check();
        written
    }

    fn piece(&self, wanted: Piece) -> Option<&[u8]> {
        let mut at = 0;
        for piece in &self.pieces {
            if *piece == wanted {
                return Some(&self.value[at..at + piece.len]);
            }
            at += piece.len;
        }
        None
    }

    /// The pieces are the value, in order, and none is too short or too long: there are never more
    /// than two for each `MAX` bytes.
    fn check(&self) {
        assert_eq!(self.pieces.iter().map(|piece| piece.len).sum::<usize>(), self.value.len());
        assert!(self.pieces.is_sorted_by(|a, b| a.position < b.position));
        assert!(self.pieces.iter().all(|piece| piece.len <= MAX), "{:?}", self.pieces);
        let short = self.pieces.iter().any(|piece| piece.len < MIN);
        assert!(!short || self.pieces.len() == 1, "{:?}", self.pieces);
    }
}

/// Bytes that do not repeat.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| byte()).collect()
}

#[derive(Debug, Clone)]
struct Edit {
    at: prop::sample::Index,
    removed: usize,
    inserted: Vec<u8>,
}

impl Edit {
    fn apply(&self, value: &mut Vec<u8>) {
        let at = self.at.index(value.len() + 1);
        let end = (at + self.removed).min(value.len());
        value.splice(at..end, self.inserted.iter().copied());
    }
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    let bytes = |most: usize| {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..most),
            (0..most).prop_map(|len| vec![0; len]),
        ]
    };
    let length = prop_oneof![4 => Just(40), 1 => Just(2000)];
    let edit = (any::<prop::sample::Index>(), length).prop_flat_map(move |(at, most)| {
        (0..most, bytes(most)).prop_map(move |(removed, inserted)| Edit { at, removed, inserted })
    });
    prop::collection::vec(edit, 1..most)
}

/// Of stretches that are random, or of one byte, or of which there are three the same.
fn value(copies: bool) -> impl Strategy<Value = Vec<u8>> {
    let copied = if copies { COPIED } else { 1 };
    let part = prop_oneof![
        (0usize..3000, any::<u64>()).prop_map(|(len, seed)| random(len, seed)),
        (0usize..3000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        (0..copied, any::<u64>()).prop_map(|(len, seed)| random(len, seed).repeat(3)),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// The bytes of a stretch of which there are three.
const COPIED: usize = 1000;

/// Makes the edits one by one. Each writes at most what was inserted, what is left of the pieces at
/// its ends, a neighbour, and `more`.
fn edit_one_by_one(value: Vec<u8>, edits: Vec<Edit>, more: usize) -> Result<(), TestCaseError> {
    let mut kept = Kept::new(value);
    for edit in edits {
        let mut new = kept.value.clone();
        edit.apply(&mut new);
        let written = kept.become_(new);
        prop_assert!(written <= edit.inserted.len() + 3 * MAX + more, "{written} for {edit:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_writes_as_much_as_it_is_long(value in value(false), edits in edits(40)) {
        edit_one_by_one(value, edits, 0)?;
    }

    #[test]
    fn copies_of_a_stretch_cost_no_more_than_they_are_long(value in value(true), edits in edits(40)) {
        edit_one_by_one(value, edits, 3 * COPIED)?;
    }

    /// Many edits between two saves.
    #[test]
    fn edits_together_write_as_much_as_they_are_long(
        seed in any::<u64>(),
        len in 0usize..40_000,
        rounds in prop::collection::vec(edits(20), 1..8),
    ) {
        let mut kept = Kept::new(random(len, seed));
        for edits in rounds {
            let mut new = kept.value.clone();
            edits.iter().for_each(|edit| edit.apply(&mut new));
            let inserted: usize = edits.iter().map(|edit| edit.inserted.len()).sum();
            let written = kept.become_(new);
            prop_assert!(written <= 2 * inserted + 4 * MAX * edits.len(), "{written}");
        }
    }

    /// Nothing in common but parts that repeat: whatever is found there, the value is what comes out.
    #[test]
    fn any_value_becomes_any_other(first in value(true), then in value(true)) {
        let mut kept = Kept::new(first.clone());
        kept.become_(then);
        kept.become_(first);
    }
}

#[test]
fn pieces_stay_long_over_many_edits() {
    let mut kept = Kept::new(random(40_000, 1));
    let mut written = 0;
    for round in 0u64..5000 {
        let mut new = kept.value.clone();
        let at = usize::try_from(round * 7919).unwrap() % (new.len() - 200);
        // As long again as before after every other one.
        let len = if round % 2 == 0 { (0, 60) } else { (60, 0) };
        new.splice(at..at + len.0, random(len.1, round));
        written += kept.become_(new);
    }
    assert_eq!(kept.value.len(), 40_000);
    // `check` holds them between MIN and MAX, so that there are no more than twice as many as in a
    // value that was just cut.
    assert!(written / 5000 <= 3 * MAX, "{written}");
}

/// A value like the message secrets of openmls: for each member a growing row of used generations (0)
/// and a secret that changes whenever that member speaks.
fn ratchets(members: &[(usize, u64)]) -> Vec<u8> {
    let ratchet = |&(used, seed): &(usize, u64)| [vec![1, 1], vec![0; used], random(32, seed)];
    members.iter().flat_map(ratchet).flatten().collect()
}

#[test]
fn rows_of_zeros_are_found_again() {
    for used in [0, 100, 300, 1000] {
        let mut members: Vec<(usize, u64)> = (0..500).map(|at| (used, at)).collect();
        let mut kept = Kept::new(ratchets(&members));
        for round in 1u64..10 {
            // 64 messages of 64 members side by side, and then of 64 apart.
            for apart in [1, 7] {
                for at in 0..64 {
                    members[at * apart].0 += 1;
                    members[at * apart].1 += 1000 * round;
                }
                let written = kept.become_(ratchets(&members));
                let most = 64 * 3 * MAX;
                assert!(written <= most, "{written} of {}, {used} used", kept.value.len());
            }
        }
    }
}

#[test]
fn a_piece_that_changes_stays_in_its_place() {
    let mut kept = Kept::new(random(10_000, 1));
    let before = kept.pieces.clone();
    for at in [0, 20, 5000, 9999] {
        let mut new = kept.value.clone();
        new[at] ^= 1;
        assert!(kept.become_(new) <= MAX);
        assert_eq!(kept.pieces, before);
    }
}

#[test]
fn without_room_for_a_position_all_is_written() {
    let value = random(4 * MAX, 1);
    let pieces = [1, 2, 3, 4].map(|position| Piece { position, len: MAX });
    let mut kept = Kept { value, pieces: pieces.to_vec() };
    let mut new = kept.value.clone();
    new.splice(MAX..MAX, random(MAX, 2));
    let len = new.len();
    assert_eq!(kept.become_(new), len);
    // There is room now.
    let mut new = kept.value.clone();
    new.splice(MAX..MAX, random(MAX, 3));
    assert!(kept.become_(new) <= 2 * MAX);
}

#[test]
fn where_a_value_is_cut_says_nothing_of_its_bytes() {
    let lens = |seed: u64| {
        let mut kept = Kept::new(random(20_000, seed));
        for round in 1u64..60 {
            let mut new = kept.value.clone();
            let at = usize::try_from(round * 7919).unwrap() % 15_000;
            new.splice(at..at + 30, random(usize::try_from(round).unwrap(), seed + round));
            kept.become_(new);
        }
        kept.pieces
    };
    for seed in 100..140 {
        assert_eq!(lens(seed), lens(1));
    }
}
