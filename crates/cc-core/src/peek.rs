//! What anybody can read of a wire message: what a relay without a stack needs to sort it.

use tls_codec::{DeserializeBytes as _, TlsVarInt};

use crate::{
    DecodeError, Kind, StackId,
    limits::{MAX_HINT_LEN, MAX_LAYERS, MAX_MESSAGE_LEN},
};

/// The public bytes of a wire message. Nothing authenticates them: they are what the message says of
/// itself.
///
/// ```
/// # use cc_core::{DecodeError, Envelope, Kind};
/// fn ends_the_epoch(wire: &[u8]) -> Result<Option<u64>, DecodeError> {
///     let envelope = Envelope::peek(wire)?;
///     Ok(if envelope.kind() == Kind::Commit { envelope.epoch() } else { None })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    kind: Kind,
    stack: &'a [u8; StackId::WIRE_LEN],
    change: Option<&'a [u8; 16]>,
    /// The encoded hints, which were checked.
    hints: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads the front of `wire`, at most 1.3 KB of it, and allocates nothing.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, an unknown kind, and a header that is truncated, not
    /// canonical or over a limit. The body is not looked at.
    pub fn peek(wire: &'a [u8]) -> Result<Self, DecodeError> {
        if wire.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLong);
        }
        let kind = Kind::of(wire)?;
        let (_, rest) = wire.split_first_chunk::<3>().ok_or(DecodeError::Malformed)?;
        let (stack, rest) = rest.split_first_chunk().ok_or(DecodeError::Malformed)?;
        let mut envelope = Self { kind, stack, change: None, hints: &[] };
        match kind {
            Kind::Application | Kind::Commit | Kind::Proposal => {
                let (hints, _) = read_opaque(rest, (MAX_HINT_LEN + 4) * MAX_LAYERS)?;
                envelope.hints = hints;
                check_hints(hints)?;
            }
            Kind::Welcome => {
                let (change, _) = rest.split_first_chunk().ok_or(DecodeError::Malformed)?;
                envelope.change = Some(change);
            }
            Kind::KeyPackage | Kind::First | Kind::PairBundle => {}
        }
        Ok(envelope)
    }

    /// What the message is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The first 16 bytes of the stack's [id](StackId): all messages of a group have the same, and so
    /// do all groups with the same layers.
    #[must_use]
    pub const fn stack(&self) -> &'a [u8; StackId::WIRE_LEN] {
        self.stack
    }

    /// The random id of the change, in a welcome. Its commit does not show it.
    #[must_use]
    pub const fn change(&self) -> Option<&'a [u8; 16]> {
        self.change
    }

    /// The hints with the positions of their layers, bottom first; none in a key package bundle or a
    /// welcome.
    pub fn hints(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.hints;
        core::iter::from_fn(move || {
            let (position, value, after) = read_hint(rest).ok()?;
            rest = after;
            Some((position, value))
        })
    }

    /// The epoch in which the message was sealed, if the hints tell: those of 8 bytes are epochs, as
    /// the layers of this workspace write them. `None` where there is none, or where two differ.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        let mut epochs =
            self.hints().filter_map(|(_, hint)| Some(u64::from_be_bytes(hint.try_into().ok()?)));
        let first = epochs.next()?;
        epochs.all(|epoch| epoch == first).then_some(first)
    }
}

/// At most [`MAX_LAYERS`] hints, in the order of their positions.
fn check_hints(mut hints: &[u8]) -> Result<(), DecodeError> {
    let mut below = None;
    let mut count = 0;
    while !hints.is_empty() {
        let (position, _, rest) = read_hint(hints)?;
        count += 1;
        if count > MAX_LAYERS {
            return Err(DecodeError::TooLong);
        }
        if below.is_some_and(|below| below >= position) {
            return Err(DecodeError::Malformed);
        }
        below = Some(position);
        hints = rest;
    }
    Ok(())
}

fn read_hint(bytes: &[u8]) -> Result<(u16, &[u8], &[u8]), DecodeError> {
    let (position, rest) = bytes.split_first_chunk().ok_or(DecodeError::Malformed)?;
    let (value, rest) = read_opaque(rest, MAX_HINT_LEN)?;
    Ok((u16::from_be_bytes(*position), value, rest))
}

/// `opaque value<V>` of at most `max` bytes, and what follows.
fn read_opaque(bytes: &[u8], max: usize) -> Result<(&[u8], &[u8]), DecodeError> {
    let (length, rest) =
        TlsVarInt::tls_deserialize_bytes(bytes).map_err(|_| DecodeError::Malformed)?;
    let length = usize::try_from(length.value()).map_err(|_| DecodeError::Malformed)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
    // One encoding for one header: a length in more bytes than it needs is refused.
    let shortest = match length {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        _ => 4,
    };
    if bytes.len() - rest.len() - length != shortest {
        return Err(DecodeError::Malformed);
    }
    if length > max { Err(DecodeError::TooLong) } else { Ok((value, rest)) }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{Bundle, Header, Hint, PartList};

    fn stack() -> StackId {
        StackId::of(&[])
    }

    proptest! {
        #[test]
        fn it_reads_what_the_decoder_reads(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..5u8) {
            let mut wire = vec![0, 1, kind];
            wire.extend(stack().wire());
            wire.extend(bytes);
            let decoded = Header::decode(&wire, &stack());
            match Envelope::peek(&wire) {
                // What begins a pair has no header.
                Ok(envelope) if envelope.kind() == Kind::First => {
                    prop_assert!(decoded.is_err() && envelope.hints().count() == 0);
                }
                Ok(envelope) => {
                    let (header, kind, _) = decoded.unwrap();
                    prop_assert_eq!(envelope.kind(), kind);
                    prop_assert_eq!(envelope.hints().count(), header.hint_count());
                    for (position, value) in envelope.hints() {
                        prop_assert_eq!(header.hint(position), Some(value));
                    }
                }
                Err(_) => prop_assert!(decoded.is_err()),
            }
        }

        #[test]
        fn headers_are_read(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=MAX_HINT_LEN), 0..=MAX_LAYERS)) {
            let hints: Vec<_> = (0..).zip(&values).map(|(position, value)| Hint { position, value: value.as_slice().into() }).collect();
            let wire = Header::new(Kind::Commit, &stack(), hints).encode().unwrap();
            let envelope = Envelope::peek(&wire).unwrap();
            prop_assert_eq!(envelope.kind(), Kind::Commit);
            prop_assert_eq!(envelope.stack(), &stack().wire());
            let found: Vec<_> = envelope.hints().map(|(_, value)| value.to_vec()).collect();
            prop_assert_eq!(found, values);
        }

        #[test]
        fn any_bytes_are_an_envelope_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::peek(&bytes).map(|envelope| envelope.epoch());
        }
    }

    #[test]
    fn the_epoch_is_the_one_on_which_all_hints_agree() {
        let epoch = |hints: &[&[u8]]| {
            let hints =
                (0..).zip(hints).map(|(position, value)| Hint { position, value: (*value).into() });
            let wire = Header::new(Kind::Application, &stack(), hints.collect()).encode().unwrap();
            Envelope::peek(&wire).unwrap().epoch()
        };
        let five = 5u64.to_be_bytes();
        assert_eq!(epoch(&[]), None);
        assert_eq!(epoch(&[&five]), Some(5));
        assert_eq!(epoch(&[b"a chain", &five, &five]), Some(5));
        assert_eq!(epoch(&[&five, &6u64.to_be_bytes()]), None);
    }

    #[test]
    fn a_welcome_shows_its_change() {
        let parts = PartList { change: [9; 16], parts: vec![] };
        let wire = Bundle::new(Kind::Welcome, &stack(), parts).encode().unwrap();
        assert_eq!(Envelope::peek(&wire).unwrap().change(), Some(&[9; 16]));
        assert_eq!(Envelope::peek(&wire[..30]), Err(DecodeError::Malformed));
    }
}
