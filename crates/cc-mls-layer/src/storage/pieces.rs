//! A value in pieces, of which a store gets only those that changed.
//!
//! The value is a row of bytes of which nothing is known here but what it was before. An old piece that
//! occurs in the new value, at its place or moved by what changed in front of it, is kept; what lies
//! between kept pieces is cut into new ones.
//!
//! Where a value is cut must say nothing of its bytes, for the lengths of records show. So the first
//! cut is even, and later ones follow from which whole pieces are as they were: from where the value
//! changed, and not to what. (Cuts that the content chooses, as programs for backups make them, would
//! tell bits of keys; so would cuts at the first byte that differs.) What is left: where a cut goes
//! through a key, that the few bytes on one side are by chance what they were in the key before.

use std::ops::Range;

use zeroize::{DefaultIsZeroes, Zeroizing};

/// A piece is at most this long.
pub(super) const MAX: usize = 256;
/// And at least this, unless it is the whole value. Half of `MAX`, so that two short neighbours are one
/// piece and a long one is two; with that, pieces do not become ever smaller.
pub(super) const MIN: usize = MAX / 2;

/// Between the positions of pieces that were cut together, for those that will come between.
const STEP: u64 = 1 << 32;

/// How far from where it is expected a piece is looked for that cannot be told from others.
const NEAR: usize = MAX;

/// A part of the value in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it stands among the others, ascending.
    pub(super) position: u64,
    pub(super) len: usize,
}

/// A piece of the new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) piece: Piece,
    /// The old value had this very piece at this position.
    pub(super) kept: bool,
}

/// A value of `len` bytes, cut without regard to what was before.
pub(super) fn anew(len: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    // There are more positions than bytes, so that there is room.
    let _ = fill(&mut cuts, len, 0, u64::MAX);
    cuts
}

/// The pieces of `new`, with those of `old` that are found in it. Takes time in proportion to the length
/// of both.
pub(super) fn follow(pieces: &[Piece], old: &[u8], new: &[u8]) -> Vec<Cut> {
    place(settle(kept(pieces, old, new), new.len())).unwrap_or_else(|| anew(new.len()))
}

/// Puts new pieces for a gap of `len` bytes between two positions; `None` where there is no room for
/// them.
fn fill(cuts: &mut Vec<Cut>, len: usize, low: u64, high: u64) -> Option<()> {
    let count = len.div_ceil(MAX);
    let (Some(short), Some(longer)) = (len.checked_div(count), len.checked_rem(count)) else {
        return Some(());
    };
    let room = high.checked_sub(low)?;
    // In a gap that one piece left, the same position comes out again.
    let step = (room / u64::try_from(count).ok()?.checked_add(1)?).min(STEP);
    if step == 0 {
        return None;
    }
    let mut position = low;
    for at in 0..count {
        position = position.checked_add(step)?;
        let len = short + usize::from(at < longer);
        cuts.push(Cut { piece: Piece { position, len }, kept: false });
    }
    Some(())
}

/// A stretch of the new value.
enum Stretch {
    Kept(Piece),
    Gap(usize),
}

/// The stretches of a new value of `len` bytes with these pieces kept, by where they begin. A gap that
/// is too short for a piece takes in a neighbour.
fn settle(kept: Vec<(Piece, usize)>, len: usize) -> Vec<Stretch> {
    let mut stretches = Vec::with_capacity(2 * kept.len() + 1);
    let (mut gap, mut end) = (0, 0);
    for (piece, start) in kept {
        gap += start.saturating_sub(end);
        end = start + piece.len;
        if gap > 0 && gap < MIN && !take_before(&mut stretches, &mut gap, piece.len) {
            gap += piece.len;
            continue;
        }
        if gap > 0 {
            stretches.push(Stretch::Gap(gap));
            gap = 0;
        }
        stretches.push(Stretch::Kept(piece));
    }
    gap += len.saturating_sub(end);
    if gap > 0 {
        if gap < MIN {
            take_before(&mut stretches, &mut gap, usize::MAX);
        }
        stretches.push(Stretch::Gap(gap));
    }
    stretches
}

/// Takes the kept piece that is the last stretch into the gap behind it, and a gap before it too;
/// `false` where there is none or it is longer than `at_most`.
fn take_before(stretches: &mut Vec<Stretch>, gap: &mut usize, at_most: usize) -> bool {
    match stretches.last() {
        Some(Stretch::Kept(piece)) if piece.len <= at_most => *gap += piece.len,
        _ => return false,
    }
    stretches.pop();
    if let Some(Stretch::Gap(before)) = stretches.last() {
        *gap += before;
        stretches.pop();
    }
    true
}

/// Cuts the gaps and gives the new pieces positions; `None` where there is no room left for one.
fn place(stretches: Vec<Stretch>) -> Option<Vec<Cut>> {
    let mut cuts = Vec::with_capacity(stretches.len());
    let (mut low, mut gap) = (0, 0);
    for stretch in stretches {
        match stretch {
            Stretch::Gap(len) => gap = len,
            Stretch::Kept(piece) => {
                fill(&mut cuts, std::mem::take(&mut gap), low, piece.position)?;
                cuts.push(Cut { piece, kept: true });
                low = piece.position;
            }
        }
    }
    fill(&mut cuts, gap, low, u64::MAX)?;
    Some(cuts)
}

/// A piece with its bytes.
#[derive(Clone, Copy)]
struct Part<'a> {
    piece: Piece,
    bytes: &'a [u8],
    /// Nothing in it tells it from others.
    repeats: bool,
}

/// The old pieces that are in the new value too, in the same order, and where they begin there.
fn kept(pieces: &[Piece], old: &[u8], new: &[u8]) -> Vec<(Piece, usize)> {
    let mut rest = old;
    let mut parts: Vec<Part<'_>> = pieces
        .iter()
        .filter_map(|&piece| {
            let (bytes, behind) = rest.split_at_checked(piece.len)?;
            rest = behind;
            Some(Part { piece, bytes, repeats: false })
        })
        // The piece of a value that was shorter than one is no piece of a longer value.
        .filter(|part| part.piece.len >= MIN || part.piece.len == new.len())
        .collect();
    let mut found = Vec::with_capacity(parts.len());
    let (mut anchors, mut next, mut at) = (None, 0, 0);
    while let Some(&part) = parts.get(next) {
        if begins(new, at, part.bytes) {
            found.push((part.piece, at));
            at += part.piece.len;
            next += 1;
            continue;
        }
        let anchors = anchors.get_or_insert_with(|| Anchors::of(&mut parts));
        let (anchor, place) =
            anchors.find(&parts, next, new, at).unwrap_or((parts.len(), new.len()));
        between(&mut found, parts.get(next..anchor).unwrap_or_default(), new, at..place);
        (next, at) = (anchor, place);
    }
    found
}

/// Finds old parts in a stretch of the new value in which no anchor is: those right before its end,
/// and those that repeat, near the place where they are expected.
fn between(
    found: &mut Vec<(Piece, usize)>,
    mut parts: &[Part<'_>],
    new: &[u8],
    mut stretch: Range<usize>,
) {
    let mut behind = Vec::new();
    while let Some((last, before)) = parts.split_last() {
        let start = stretch.end.saturating_sub(last.piece.len).max(stretch.start);
        let there = new.get(start..stretch.end);
        if there != Some(last.bytes) {
            break;
        }
        behind.push((last.piece, start));
        stretch.end = start;
        parts = before;
    }
    let mut expected = stretch.start;
    for part in parts {
        let len = part.piece.len;
        let first = expected.saturating_sub(NEAR).max(stretch.start);
        let last = stretch.end.checked_sub(len).filter(|_| part.repeats);
        let last = last.map(|last| last.min(expected.saturating_add(NEAR)));
        let place =
            last.and_then(|last| (first..=last).find(|place| begins(new, *place, part.bytes)));
        if let Some(place) = place {
            found.push((part.piece, place));
            expected = place;
            stretch.start = place + len;
        }
        expected += len;
    }
    found.extend(behind.into_iter().rev());
}

fn begins(bytes: &[u8], at: usize, with: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|bytes| bytes.starts_with(with))
}

/// Finds old parts in the new value by a word that is in no other part. Parts without one are left out:
/// such a part may be found where another is, and all between them would be lost.
struct Anchors {
    /// Ascending by the words.
    words: Zeroizing<Vec<Anchor>>,
    /// A bit for some of the bits of each word: few other words pass.
    seen: Zeroizing<Vec<u64>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Anchor {
    word: u64,
    index: usize,
    /// Where the word is in the part.
    offset: usize,
}

impl DefaultIsZeroes for Anchor {}

impl Anchors {
    fn of(parts: &mut [Part<'_>]) -> Self {
        let mut words = Zeroizing::new(Vec::with_capacity(parts.len()));
        let mut seen = Zeroizing::new(vec![0; 1 << 10]);
        for (index, part) in parts.iter_mut().enumerate() {
            let found = self::words(part.bytes).find(|(_, word)| tells(*word));
            part.repeats = found.is_none();
            if let Some((offset, word)) = found {
                words.push(Anchor { word, index, offset });
            }
        }
        words.sort_unstable();
        let same = |pair: &[Anchor]| match pair {
            [one, other] if one.word == other.word => Some([one.index, other.index]),
            _ => None,
        };
        for index in words.windows(2).filter_map(same).flatten() {
            if let Some(part) = parts.get_mut(index) {
                part.repeats = true;
            }
        }
        words.retain(|anchor| parts.get(anchor.index).is_some_and(|part| !part.repeats));
        for anchor in &*words {
            let (index, bit) = filter(anchor.word);
            if let Some(bits) = seen.get_mut(index) {
                *bits |= bit;
            }
        }
        Self { words, seen }
    }

    /// A part not before `from` that is in `new`, not before `at`, and where: the first one there, or
    /// one close behind it that comes before it in the old value. So a value with a stretch twice does
    /// not lose what is between.
    fn find(
        &self,
        parts: &[Part<'_>],
        from: usize,
        new: &[u8],
        at: usize,
    ) -> Option<(usize, usize)> {
        let mut best = None;
        let mut close = usize::MAX;
        for (offset, word) in words(new.get(at..)?) {
            if offset > close {
                break;
            }
            let found = self.anchor(word).filter(|anchor| anchor.index >= from);
            let found = found.and_then(|anchor| {
                let place =
                    (at + offset).checked_sub(anchor.offset).filter(|place| *place >= at)?;
                begins(new, place, parts.get(anchor.index)?.bytes).then_some((anchor.index, place))
            });
            if let Some(found) = found {
                close = close.min(offset + MAX);
                best = best.filter(|best| *best < found).or(Some(found));
            }
        }
        best
    }

    fn anchor(&self, word: u64) -> Option<Anchor> {
        let (index, bit) = filter(word);
        if self.seen.get(index)? & bit == 0 {
            return None;
        }
        let found = self.words.binary_search_by_key(&word, |anchor| anchor.word).ok()?;
        self.words.get(found).copied()
    }
}

/// All rows of 8 bytes and where they begin.
fn words(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let word = |window: &[u8]| window.first_chunk().copied().map(u64::from_le_bytes);
    bytes.windows(size_of::<u64>()).filter_map(word).enumerate()
}

/// Whether a word is hardly one of many: no two neighbouring bytes are the same.
fn tells(word: u64) -> bool {
    let [first, rest @ ..] = word.to_le_bytes();
    let mut before = first;
    rest.into_iter().all(|byte| std::mem::replace(&mut before, byte) != byte)
}

/// Which bit of which entry of the filter stands for a word.
fn filter(word: u64) -> (usize, u64) {
    let [high, low, ..] = word.to_be_bytes();
    (usize::from(high) << 2 | usize::from(low >> 6), 1 << (low & 63))
}

#[cfg(test)]
mod tests;
