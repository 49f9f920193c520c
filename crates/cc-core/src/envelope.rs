//! What the manager puts on the wire around a sealed message, and the binding every layer
//! authenticates. Byte by byte in `docs/wire-format.md`.

use alloc::{format, vec::Vec};

use sha2::{Digest, Sha256};
use tls_codec::{SerializeBytes as _, TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Opaque, StackId, decode_list,
    limits::{MAX_HINT_LEN, MAX_LAYERS, MAX_MESSAGE_LEN},
    stack::{to_u64, update_prefixed},
};

/// The version of everything this crate encodes.
pub const WIRE_VERSION: u16 = 1;

/// What a wire message is, its third byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A message of the application, sealed by the stack.
    Application = 1,
    /// A commit, sealed by the stack as a message of the epoch it ends.
    Commit = 2,
    /// What a member asks the others to commit, sealed by the stack.
    Proposal = 3,
    /// A message of the application behind the opening of a pair, which is in the clear.
    First = 4,
    /// A key package bundle, in the clear.
    KeyPackage = 16,
    /// A welcome, each part encrypted to the new members by its layer.
    Welcome = 17,
    /// The keys of one person that pairs begin with, in the clear.
    PairBundle = 18,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Application,
            2 => Self::Commit,
            3 => Self::Proposal,
            4 => Self::First,
            16 => Self::KeyPackage,
            17 => Self::Welcome,
            18 => Self::PairBundle,
            _ => return None,
        })
    }

    /// What `wire` claims to be, read from its first three bytes.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for another version, [`DecodeError::Malformed`] for fewer bytes or a
    /// kind that this version does not have.
    pub fn of(wire: &[u8]) -> Result<Self, DecodeError> {
        let [high, low, kind] = *wire.first_chunk::<3>().ok_or(DecodeError::Malformed)?;
        match u16::from_be_bytes([high, low]) {
            WIRE_VERSION => Self::from_byte(kind).ok_or(DecodeError::Malformed),
            version => Err(DecodeError::Version(version)),
        }
    }
}

/// Why bytes are not a wire message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum DecodeError {
    /// Another version: 2 bytes at the front.
    #[error("wire version {0} is not known here (this is version {WIRE_VERSION})")]
    Version(u16),
    /// The wrong kind of message for this call.
    #[error("this is a message of kind {0:?}, which this call does not take")]
    Kind(Kind),
    /// Made by another stack.
    #[error("the message was made by another stack: layers, order and parameters must be equal")]
    Stack,
    /// Longer than a documented limit.
    #[error("longer than the limit")]
    TooLong,
    /// Truncated, with bytes left over, or not in the canonical encoding.
    #[error("malformed")]
    Malformed,
}

impl DecodeError {
    /// The number of this error, for logs and for bindings to other languages. Numbers are never given
    /// to another error; `docs/errors.md` lists them.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Version(_) => 101,
            Self::Kind(_) => 102,
            Self::Stack => 103,
            Self::TooLong => 104,
            Self::Malformed => 105,
        }
    }
}

/// A hint and the position of the layer it is for.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub struct Hint {
    /// The layer's position, 0 at the bottom.
    pub position: u16,
    /// At most 64 bytes.
    pub value: Opaque,
}

/// The header of a sealed message. The body is everything behind it.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub struct Header {
    version: u16,
    kind: u8,
    stack: [u8; StackId::WIRE_LEN],
    hints: Vec<Hint>,
}

impl Header {
    /// A header of this version.
    #[must_use]
    pub fn new(kind: Kind, stack: &StackId, hints: Vec<Hint>) -> Self {
        Self { version: WIRE_VERSION, kind: kind as u8, stack: stack.wire(), hints }
    }

    /// The bytes in front of the body.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] when a hint or the number of hints is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        self.check()?;
        self.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)
    }

    /// Reads a header off the front of `wire` and says how many bytes it took.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, an unknown or other kind than a sealed message's, another
    /// stack, or an encoding that is truncated, not canonical or over a limit.
    pub fn decode(wire: &[u8], stack: &StackId) -> Result<(Self, Kind, usize), DecodeError> {
        let sealed = |kind| matches!(kind, Kind::Application | Kind::Commit | Kind::Proposal);
        let (kind, rest) = read_preamble(wire, stack, sealed)?;
        let (hints, body) = decode_list(rest, MAX_LAYERS)?;
        let header = Self::new(kind, stack, hints);
        header.check()?;
        let consumed = wire.len() - body.len();
        // One encoding for one header: a length in more bytes than it needs is refused.
        if header.encode()? != wire.get(..consumed).unwrap_or_default() {
            return Err(DecodeError::Malformed);
        }
        Ok((header, kind, consumed))
    }

    /// The hint for the layer at `position`.
    #[must_use]
    pub fn hint(&self, position: u16) -> Option<&[u8]> {
        self.hints.iter().find(|hint| hint.position == position).map(|hint| hint.value.as_slice())
    }

    /// How many hints there are.
    #[must_use]
    pub fn hint_count(&self) -> usize {
        self.hints.len()
    }

    /// What every layer of `stack` authenticates of this message.
    #[must_use]
    pub fn binding(&self, stack: &StackId, associated_data: &[u8]) -> Binding {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 binding");
        hash.update(self.version.to_be_bytes());
        hash.update([self.kind]);
        hash.update(stack.as_bytes());
        hash.update(to_u64(self.hints.len()).to_be_bytes());
        for hint in &self.hints {
            hash.update(hint.position.to_be_bytes());
            update_prefixed(&mut hash, hint.value.as_slice());
        }
        update_prefixed(&mut hash, associated_data);
        Binding(hash.finalize().into())
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.hints.len() > MAX_LAYERS {
            return Err(DecodeError::TooLong);
        }
        if self.hints.iter().any(|hint| hint.value.as_slice().len() > MAX_HINT_LEN) {
            return Err(DecodeError::TooLong);
        }
        let ascending = self.hints.windows(2).all(|pair| match pair {
            [a, b] => a.position < b.position,
            _ => true,
        });
        if ascending { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}

/// Reads version, kind and stack, with which every wire message begins, and gives the kind and what
/// follows. The stack is compared before anything else is read, so that another stack's message is named
/// as such.
pub(crate) fn read_preamble<'a>(
    wire: &'a [u8],
    stack: &StackId,
    accepts: impl FnOnce(Kind) -> bool,
) -> Result<(Kind, &'a [u8]), DecodeError> {
    if wire.len() > MAX_MESSAGE_LEN {
        return Err(DecodeError::TooLong);
    }
    let kind = Kind::of(wire)?;
    if !accepts(kind) {
        return Err(DecodeError::Kind(kind));
    }
    let (preamble, rest) =
        wire.split_first_chunk::<{ 3 + StackId::WIRE_LEN }>().ok_or(DecodeError::Malformed)?;
    if preamble.ends_with(&stack.wire()) { Ok((kind, rest)) } else { Err(DecodeError::Stack) }
}

/// The digest of everything around a message that must not change: version, kind, the whole stack,
/// all hints, and the caller's associated data. 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding([u8; 32]);

impl Binding {
    /// The associated data of the layer at `position`: the binding followed by the position, 34
    /// bytes. A layer authenticates exactly this.
    #[must_use]
    pub fn at(&self, position: u16) -> [u8; 34] {
        let mut bytes = [0; 34];
        if let Some((binding, at)) = bytes.split_first_chunk_mut::<32>() {
            *binding = self.0;
            at.copy_from_slice(&position.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::LayerDescriptor;

    fn stack() -> StackId {
        StackId::of(&[LayerDescriptor { id: "t", version: 1, parameters: vec![] }])
    }

    fn hint(position: u16, value: &[u8]) -> Hint {
        Hint { position, value: value.into() }
    }

    proptest! {
        #[test]
        fn headers_round_trip(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=MAX_HINT_LEN), 0..=MAX_LAYERS),
            body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let hints = values.iter().enumerate().map(|(i, v)| hint(u16::try_from(i).unwrap() * 2, v)).collect();
            let header = Header::new(Kind::Application, &stack(), hints);
            let mut wire = header.encode().unwrap();
            let len = wire.len();
            wire.extend(body);
            prop_assert_eq!(Header::decode(&wire, &stack()), Ok((header, Kind::Application, len)));
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut wire = vec![0, 1, 1];
            wire.extend(stack().wire());
            wire.extend(bytes);
            if let Ok((header, _, len)) = Header::decode(&wire, &stack()) {
                prop_assert_eq!(header.encode().unwrap(), &wire[..len]);
            }
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let good = Header::new(Kind::Application, &stack(), vec![hint(1, b"h")]).encode().unwrap();
        for len in 0..good.len() {
            assert!(Header::decode(&good[..len], &stack()).is_err(), "{len}");
        }
        let unordered =
            Header::new(Kind::Application, &stack(), vec![hint(2, b"h"), hint(1, b"h")]);
        assert_eq!(unordered.encode(), Err(DecodeError::Malformed));
        let twice = Header::new(Kind::Application, &stack(), vec![hint(1, b"h"), hint(1, b"h")]);
        assert_eq!(twice.encode(), Err(DecodeError::Malformed));
        let long = Header::new(Kind::Application, &stack(), vec![hint(1, &[0; MAX_HINT_LEN + 1])]);
        assert_eq!(long.encode(), Err(DecodeError::TooLong));
        let many = (0..17).map(|i| hint(i, b"")).collect();
        let many = Header::new(Kind::Application, &stack(), many);
        assert_eq!(many.encode(), Err(DecodeError::TooLong));
        // The reader stops at the first hint too many: what comes behind it is not even looked at.
        let mut content: Vec<u8> =
            (0..17u16).flat_map(|i| hint(i, b"").tls_serialize_bytes().unwrap()).collect();
        content.extend([0xff; 40]);
        let mut wire = Header::new(Kind::Application, &stack(), vec![]).encode().unwrap();
        wire.pop();
        wire.extend(Opaque(content).tls_serialize_bytes().unwrap());
        assert_eq!(Header::decode(&wire, &stack()), Err(DecodeError::TooLong));
        // The same header with the length of the hints in two bytes instead of one.
        let mut long_form = good;
        let at = 3 + StackId::WIRE_LEN;
        let len = long_form[at];
        long_form.splice(at..=at, [0x40, len]);
        assert_eq!(Header::decode(&long_form, &stack()), Err(DecodeError::Malformed));
    }

    #[test]
    fn foreign_messages_are_named() {
        let good = Header::new(Kind::Application, &stack(), vec![]).encode().unwrap();
        let mut later = good.clone();
        later[1] = 2;
        assert_eq!(Header::decode(&later, &stack()), Err(DecodeError::Version(2)));
        assert_eq!(Header::decode(&good, &StackId::of(&[])), Err(DecodeError::Stack));
        let welcome = Header::new(Kind::Welcome, &stack(), vec![]).encode().unwrap();
        assert_eq!(Header::decode(&welcome, &stack()), Err(DecodeError::Kind(Kind::Welcome)));
        let mut unknown = good;
        unknown[2] = 99;
        assert_eq!(Header::decode(&unknown, &stack()), Err(DecodeError::Malformed));
    }

    #[test]
    fn the_binding_covers_everything() {
        let stack = stack();
        let base = Header::new(Kind::Application, &stack, vec![hint(1, b"h")]);
        let bindings = [
            base.binding(&stack, b"ad"),
            base.binding(&stack, b"ae"),
            base.binding(&stack, b""),
            base.binding(&StackId::of(&[]), b"ad"),
            Header::new(Kind::Commit, &stack, vec![hint(1, b"h")]).binding(&stack, b"ad"),
            Header::new(Kind::Application, &stack, vec![hint(1, b"i")]).binding(&stack, b"ad"),
            Header::new(Kind::Application, &stack, vec![hint(2, b"h")]).binding(&stack, b"ad"),
            Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad"),
        ];
        for (i, a) in bindings.iter().enumerate() {
            for (j, b) in bindings.iter().enumerate() {
                assert_eq!(a == b, i == j, "{i} {j}");
            }
        }
        assert_ne!(bindings[0].at(0), bindings[0].at(1));
    }
}
