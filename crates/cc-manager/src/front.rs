//! What stands in front of a message in the clear.

use alloc::vec::Vec;

use cc_core::{Binding, DecodeError, Header, Hint, Kind, StackId, limits::MAX_MESSAGE_LEN};

use crate::cascade::Cascade;

/// A header, and what follows from it. Kept for the next message, which nearly always has the same.
pub(crate) struct Front {
    header: Header,
    kind: Kind,
    encoded: Vec<u8>,
    /// Where the caller has no associated data.
    binding: Binding,
}

impl Front {
    /// The front of a message of this kind under these contributions.
    pub(crate) fn new(kind: Kind, stack: &StackId, cascade: &Cascade) -> Result<Self, DecodeError> {
        let hints = cascade.hints();
        let hints = hints.map(|(position, value)| Hint { position, value: value.into() });
        let header = Header::new(kind, stack, hints.collect());
        let encoded = header.encode()?;
        Ok(Self { binding: header.binding(stack, &[]), header, kind, encoded })
    }

    /// The front of `wire`.
    ///
    /// # Errors
    /// As [`Header::decode`], and for another kind.
    pub(crate) fn decode(kind: Kind, wire: &[u8], stack: &StackId) -> Result<Self, DecodeError> {
        let (header, found, len) = Header::decode(wire, stack)?;
        if found != kind {
            return Err(DecodeError::Kind(found));
        }
        let encoded = wire.get(..len).ok_or(DecodeError::Malformed)?.to_vec();
        Ok(Self { binding: header.binding(stack, &[]), header, kind, encoded })
    }

    /// Whether [`new`](Self::new) gives the same.
    pub(crate) fn is_for(&self, kind: Kind, cascade: &Cascade) -> bool {
        let mut hints = 0;
        self.kind == kind
            && cascade.hints().all(|(position, hint)| {
                hints += 1;
                self.header.hint(position) == Some(hint)
            })
            && hints == self.header.hint_count()
    }

    /// Whether [`decode`](Self::decode) gives the same: a header has one encoding, which tells where it ends.
    pub(crate) fn is_of(&self, kind: Kind, wire: &[u8]) -> bool {
        self.kind == kind && wire.len() <= MAX_MESSAGE_LEN && wire.starts_with(&self.encoded)
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The hint for the layer at `position`.
    pub(crate) fn hint(&self, position: u16) -> Option<&[u8]> {
        self.header.hint(position)
    }

    pub(crate) fn hint_count(&self) -> usize {
        self.header.hint_count()
    }

    /// What every layer authenticates.
    pub(crate) fn binding(&self, stack: &StackId, associated_data: &[u8]) -> Binding {
        if associated_data.is_empty() {
            self.binding
        } else {
            self.header.binding(stack, associated_data)
        }
    }
}

#[cfg(test)]
mod tests {
    use cc_core::{Contribution, Secret};

    use super::*;
    use crate::composition::Composition;

    /// Those of layers with these hints.
    fn cascade(hints: [Option<&[u8]>; 2]) -> Cascade {
        let layer = |id| cc_core::LayerDescriptor { id, version: 1, parameters: Vec::new() };
        let composition = Composition::new(["a", "b"].map(layer).into());
        let mut cascade = Cascade::default();
        for (position, hint) in (0..).zip(hints) {
            let secret = Secret::copy_from(&[1; 32]).unwrap();
            let contribution = hint.map(|hint| Contribution { hint: hint.to_vec(), secret });
            cascade.next_layer(&composition, position, contribution);
        }
        cascade
    }

    #[test]
    fn a_front_that_is_kept_is_the_one_that_would_be_made() {
        let stack = StackId::of(&[]);
        let hints: [[Option<&[u8]>; 2]; 7] = [
            [None, None],
            [Some(b""), None],
            [None, Some(b"")],
            [Some(b""), Some(b"")],
            [Some(b"1"), None],
            [Some(b"1"), Some(b"1")],
            [Some(b"1"), Some(b"12")],
        ];
        let fronts = || {
            [Kind::Application, Kind::Commit].into_iter().flat_map(|kind| {
                hints.map(|hints| (kind, Front::new(kind, &stack, &cascade(hints)).unwrap(), hints))
            })
        };
        for (at, (kind, front, _)) in fronts().enumerate() {
            for (other, (of, found, hints)) in fronts().enumerate() {
                assert_eq!(front.is_for(of, &cascade(hints)), at == other, "{at} {other}");
                for body in [&b""[..], &[0], &[1, 0, 1, 0]] {
                    let wire = [found.encoded(), body].concat();
                    assert_eq!(front.is_of(of, &wire), at == other, "{at} {other}");
                }
            }
            let decoded = Front::decode(kind, front.encoded(), &stack).unwrap();
            assert!(decoded.header == front.header && decoded.encoded == front.encoded);
            for data in [&b""[..], b"data"] {
                let expected = front.header.binding(&stack, data);
                assert_eq!(front.binding(&stack, data), expected);
                assert_eq!(decoded.binding(&stack, data), expected);
            }
            assert!(!front.is_of(kind, &[front.encoded(), &[0; MAX_MESSAGE_LEN]].concat()));
        }
    }
}
