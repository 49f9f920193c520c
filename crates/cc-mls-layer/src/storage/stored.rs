//! What the store has of a value that stands there in pieces.

use std::collections::BTreeSet;

use super::pieces::{Cut, Piece, anew, follow};

/// The pieces of one value in the store.
#[derive(Default)]
pub(super) struct Stored {
    pieces: Vec<Piece>,
    /// What it has if the last save comes into force.
    saved: Option<Vec<Piece>>,
    /// The positions in saves of which it is not known whether they came into force; `None` where
    /// there is no such save.
    doubtful: Option<BTreeSet<u64>>,
}

/// What a store is to do with the pieces.
pub(super) struct Changes<'a> {
    pub(super) put: Vec<(u64, &'a [u8])>,
    pub(super) delete: Vec<u64>,
}

impl Stored {
    pub(super) fn of(pieces: Vec<Piece>) -> Self {
        Self { pieces, ..Self::default() }
    }

    /// The changes that make the store have `value`. `before` is what it has; where that is not known
    /// any more, or the store is new, all pieces are written.
    pub(super) fn save<'a>(
        &mut self,
        before: Option<&[u8]>,
        value: Option<&'a [u8]>,
        new: bool,
    ) -> Changes<'a> {
        self.doubt();
        let len: usize = self.pieces.iter().map(|piece| piece.len).sum();
        let before = before.filter(|before| !new && self.doubtful.is_none() && before.len() == len);
        let value = value.unwrap_or_default();
        let cuts = match before {
            Some(before) => follow(&self.pieces, before, value),
            None => anew(value.len()),
        };
        let mut gone = self.doubtful.clone().unwrap_or_default();
        if !new {
            gone.extend(self.pieces.iter().map(|piece| piece.position));
        }
        let mut put = Vec::new();
        let mut rest = value;
        for Cut { piece, kept } in &cuts {
            gone.remove(&piece.position);
            let (bytes, behind) = rest.split_at_checked(piece.len).unwrap_or((rest, &[]));
            rest = behind;
            if !kept {
                put.push((piece.position, bytes));
            }
        }
        self.saved = Some(cuts.into_iter().map(|cut| cut.piece).collect());
        Changes { put, delete: gone.into_iter().collect() }
    }

    /// What was staged is applied; `saved`: and the store has all that was applied.
    pub(super) fn apply(&mut self, saved: bool) {
        if !saved {
            self.doubt();
        } else if let Some(pieces) = self.saved.take() {
            self.pieces = pieces;
            self.doubtful = None;
        }
    }

    /// The store is as it was before the last save.
    pub(super) fn revert(&mut self) {
        self.saved = None;
    }

    /// Nobody says what became of the last save.
    fn doubt(&mut self) {
        if let Some(pieces) = self.saved.take() {
            let positions = pieces.into_iter().map(|piece| piece.position);
            self.doubtful.get_or_insert_default().extend(positions);
        }
    }

    /// Whether the store has nothing of the value, for sure.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.saved.is_none() && self.doubtful.is_none()
    }
}

#[cfg(test)]
mod tests;
