//! What a manager of a pair knows of the pair's beginning.

use alloc::{borrow::Cow, sync::Arc, vec::Vec};

use cc_core::{DecodeError, Kind, MemberId, PairId, PairOpening, StackId, limits::MAX_MESSAGE_LEN};

use crate::state::State;

/// A pair that began from a bundle.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pairing {
    pub(crate) id: PairId,
    /// What every message authenticates in every layer: see [`PairOpening::transcript`].
    pub(crate) transcript: [u8; 32],
    /// The other person.
    pub(crate) peer: MemberId,
    /// Goes before every message until the other side has answered. Empty afterwards, and for who accepts.
    pub(crate) opening: Vec<u8>,
}

impl State {
    /// What the layers authenticate of a message with the caller's `associated_data`.
    pub(crate) fn bound<'a>(&self, associated_data: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.pair {
            None => Cow::Borrowed(associated_data),
            Some(pair) => Cow::Owned([LABEL, &pair.transcript, associated_data].concat()),
        }
    }

    /// The bytes that travel of a message that was sealed.
    pub(crate) fn with_opening(&self, sealed: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
        let opening = self.pair.as_ref().map_or(&[][..], |pair| &pair.opening);
        if opening.is_empty() {
            return Ok(sealed);
        }
        if sealed.len() + opening.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLong);
        }
        Ok([opening, &sealed].concat())
    }

    /// The message behind the opening, where `wire` has one: that of this pair and no other.
    pub(crate) fn without_opening<'a>(
        &self,
        wire: &'a [u8],
        stack: &StackId,
    ) -> Result<&'a [u8], DecodeError> {
        if Kind::of(wire)? != Kind::First {
            return Ok(wire);
        }
        let pair = self.pair.as_ref().ok_or(DecodeError::Kind(Kind::First))?;
        let (opening, message) = PairOpening::decode(wire, stack)?;
        if opening.id()? == pair.id { Ok(message) } else { Err(DecodeError::Kind(Kind::First)) }
    }

    /// A message of the other side opened, so it has the opening.
    pub(crate) fn answered(&mut self) {
        if let Some(pair) = &mut self.pair
            && !pair.opening.is_empty()
        {
            Arc::make_mut(pair).opening = Vec::new();
        }
    }
}

const LABEL: &[u8] = b"cascading-cipher/1 pair message";

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Whatever a layer authenticates by itself: of another beginning, or of none, nothing is the same.
    #[test]
    fn every_layer_authenticates_how_the_pair_began() {
        let bound = |transcript: Option<u8>, associated_data: &[u8]| {
            let pair = transcript.map(|transcript| {
                let (id, peer) = (PairId([1; 32]), MemberId::from_bytes([2; 32]));
                Arc::new(Pairing { id, transcript: [transcript; 32], peer, opening: vec![] })
            });
            State { pair, ..State::default() }.bound(associated_data).into_owned()
        };
        let all = [
            bound(Some(3), b"ad"),
            bound(Some(9), b"ad"),
            bound(Some(3), b"da"),
            bound(Some(3), b""),
            bound(None, b"ad"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
    }
}
