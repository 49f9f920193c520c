//! The bundle that a pair begins with, and what goes before its first messages. Byte by byte in
//! `docs/wire-format.md`.

use alloc::{format, vec::Vec};

use sha2::{Digest, Sha256};
use tls_codec::{SerializeBytes as _, TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    DecodeError, Kind, Opaque, StackId, WIRE_VERSION, decode_list,
    envelope::read_preamble,
    limits::{MAX_KEY_PACKAGE_LEN, MAX_LAYERS},
    stack::{to_u64, update_prefixed},
};

/// One layer's part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub struct PairBundlePart {
    /// The long-lived public keys.
    pub identity: Opaque,
    /// What the layer needs besides.
    pub prekeys: Opaque,
    /// Over [`PairBundle::digest`]; empty in a layer that does not sign.
    pub signature: Opaque,
}

/// Somebody's keys in all layers of a stack for two, bottom first: at most 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub struct PairBundle {
    version: u16,
    kind: u8,
    stack: [u8; StackId::WIRE_LEN],
    parts: Vec<PairBundlePart>,
}

impl PairBundle {
    /// A bundle of this version.
    #[must_use]
    pub fn new(stack: &StackId, parts: Vec<PairBundlePart>) -> Self {
        let kind = Kind::PairBundle as u8;
        Self { version: WIRE_VERSION, kind, stack: stack.wire(), parts }
    }

    /// The parts, bottom first.
    #[must_use]
    pub fn parts(&self) -> &[PairBundlePart] {
        &self.parts
    }

    /// The parts, bottom first, to be signed.
    pub fn parts_mut(&mut self) -> &mut [PairBundlePart] {
        &mut self.parts
    }

    /// What every layer that signs signs: the stack, and the identities and prekeys of all layers.
    #[must_use]
    pub fn digest(&self, stack: &StackId) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 pair bundle");
        hash.update(stack.as_bytes());
        hash.update(to_u64(self.parts.len()).to_be_bytes());
        for part in &self.parts {
            update_prefixed(&mut hash, part.identity.as_slice());
            update_prefixed(&mut hash, part.prekeys.as_slice());
        }
        hash.finalize().into()
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] for more than 64 KiB or 16 layers.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let encoded = self.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)?;
        if encoded.len() > MAX_KEY_PACKAGE_LEN || self.parts.len() > MAX_LAYERS {
            return Err(DecodeError::TooLong);
        }
        Ok(encoded)
    }

    /// Reads a bundle of this stack. No signature is verified yet.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, kind or stack, and for an encoding that is truncated, not
    /// canonical, over a limit, or has bytes left over.
    pub fn decode(wire: &[u8], stack: &StackId) -> Result<Self, DecodeError> {
        let (_, rest) = read_preamble(wire, stack, |found| found == Kind::PairBundle)?;
        if wire.len() > MAX_KEY_PACKAGE_LEN {
            return Err(DecodeError::TooLong);
        }
        let (parts, rest) = decode_list(rest, MAX_LAYERS)?;
        let bundle = Self::new(stack, parts);
        // One encoding for one object.
        if rest.is_empty() && bundle.encode()? == wire {
            Ok(bundle)
        } else {
            Err(DecodeError::Malformed)
        }
    }
}

/// One layer's part of an opening.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub struct PairOpeningPart {
    /// The long-lived public keys of who begins.
    pub identity: Opaque,
    /// What the other side's layer needs.
    pub setup: Opaque,
}

/// What goes before the messages of who begins a pair, until the other side has answered: who that is, and
/// the setup of each layer. At most 64 KiB. Not secret.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub struct PairOpening {
    version: u16,
    kind: u8,
    stack: [u8; StackId::WIRE_LEN],
    parts: Vec<PairOpeningPart>,
}

/// Names a pair to both sides: a digest of its opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub [u8; 32]);

impl PairOpening {
    /// An opening of this version.
    #[must_use]
    pub fn new(stack: &StackId, parts: Vec<PairOpeningPart>) -> Self {
        let kind = Kind::First as u8;
        Self { version: WIRE_VERSION, kind, stack: stack.wire(), parts }
    }

    /// The parts, bottom first.
    #[must_use]
    pub fn parts(&self) -> &[PairOpeningPart] {
        &self.parts
    }

    /// The bytes before the message.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] for more than 64 KiB or 16 layers.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let encoded = self.tls_serialize_bytes().map_err(|_| DecodeError::TooLong)?;
        if encoded.len() > MAX_KEY_PACKAGE_LEN || self.parts.len() > MAX_LAYERS {
            return Err(DecodeError::TooLong);
        }
        Ok(encoded)
    }

    /// Reads the opening before a first message, and gives the message.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, kind or stack, and for an encoding that is truncated, not
    /// canonical or over a limit.
    pub fn decode<'a>(wire: &'a [u8], stack: &StackId) -> Result<(Self, &'a [u8]), DecodeError> {
        let (_, rest) = read_preamble(wire, stack, |found| found == Kind::First)?;
        // No more is looked at than an opening may have.
        let front = wire.get(..MAX_KEY_PACKAGE_LEN.min(wire.len())).unwrap_or_default();
        let skipped = wire.len() - rest.len();
        let (parts, left) = decode_list(front.get(skipped..).unwrap_or_default(), MAX_LAYERS)?;
        let opening = Self::new(stack, parts);
        let (opened, message) =
            wire.split_at_checked(front.len() - left.len()).ok_or(DecodeError::Malformed)?;
        // One encoding for one object.
        if opening.encode()? == opened {
            Ok((opening, message))
        } else {
            Err(DecodeError::Malformed)
        }
    }

    /// The name of the pair, which the relay can compute as well.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn id(&self) -> Result<PairId, DecodeError> {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 pair id");
        update_prefixed(&mut hash, &self.encode()?);
        Ok(PairId(hash.finalize().into()))
    }

    /// What every message of the pair authenticates in every layer: the stack, the identities of both sides,
    /// and all setups. `accepting` has the identities of who is answered, bottom first.
    #[must_use]
    pub fn transcript<'a>(
        &self,
        stack: &StackId,
        accepting: impl IntoIterator<Item = &'a [u8]>,
    ) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 pair");
        hash.update(stack.as_bytes());
        hash.update(to_u64(self.parts.len()).to_be_bytes());
        for part in &self.parts {
            update_prefixed(&mut hash, part.identity.as_slice());
            update_prefixed(&mut hash, part.setup.as_slice());
        }
        for identity in accepting {
            update_prefixed(&mut hash, identity);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::LayerDescriptor;

    fn stack(id: &'static str) -> StackId {
        StackId::of(&[LayerDescriptor { id, version: 1, parameters: vec![] }])
    }

    fn opaque(bytes: &[u8]) -> Opaque {
        Opaque(bytes.to_vec())
    }

    fn bundle() -> PairBundle {
        let part = |byte: u8| PairBundlePart {
            identity: opaque(&[byte; 3]),
            prekeys: opaque(&[byte; 2]),
            signature: opaque(&[]),
        };
        PairBundle::new(&stack("t"), vec![part(1), part(2)])
    }

    fn opening() -> PairOpening {
        let part =
            |byte: u8| PairOpeningPart { identity: opaque(&[byte; 3]), setup: opaque(&[byte; 2]) };
        PairOpening::new(&stack("t"), vec![part(1), part(2)])
    }

    #[test]
    fn bundles_have_one_encoding_and_no_rest() {
        let stack = stack("t");
        let wire = bundle().encode().unwrap();
        assert_eq!(PairBundle::decode(&wire, &stack), Ok(bundle()));
        for len in 0..wire.len() {
            assert!(PairBundle::decode(&wire[..len], &stack).is_err(), "{len}");
        }
        let longer = [&wire[..], &[0]].concat();
        assert_eq!(PairBundle::decode(&longer, &stack), Err(DecodeError::Malformed));
        assert_eq!(PairBundle::decode(&wire, &self::stack("u")), Err(DecodeError::Stack));
        let first = opening().encode().unwrap();
        assert_eq!(PairBundle::decode(&first, &stack), Err(DecodeError::Kind(Kind::First)));
        let huge = vec![
            PairBundlePart {
                identity: opaque(&[0; MAX_KEY_PACKAGE_LEN]),
                prekeys: opaque(&[]),
                signature: opaque(&[])
            };
            1
        ];
        assert_eq!(PairBundle::new(&stack, huge).encode(), Err(DecodeError::TooLong));
    }

    #[test]
    fn the_digest_covers_everything_but_the_signatures() {
        let digest = bundle().digest(&stack("t"));
        let mut signed = bundle();
        signed.parts_mut()[0].signature = opaque(&[9]);
        assert_eq!(signed.digest(&stack("t")), digest);
        assert_ne!(bundle().digest(&stack("u")), digest);
        let edits: [fn(&mut PairBundle); 3] = [
            |bundle| bundle.parts[0].identity.0[0] ^= 1,
            |bundle| bundle.parts[1].prekeys.0[0] ^= 1,
            |bundle| drop(bundle.parts.pop()),
        ];
        for edit in edits {
            let mut other = bundle();
            edit(&mut other);
            assert_ne!(other.digest(&stack("t")), digest);
        }
    }

    #[test]
    fn an_opening_gives_its_message_and_names_its_pair() {
        let stack = stack("t");
        let opened = opening().encode().unwrap();
        let wire = [&opened[..], b"message"].concat();
        assert_eq!(PairOpening::decode(&wire, &stack), Ok((opening(), b"message".as_slice())));
        for len in 0..opened.len() {
            assert!(PairOpening::decode(&wire[..len], &stack).is_err(), "{len}");
        }
        let id = opening().id().unwrap();
        let transcript = opening().transcript(&stack, [b"a".as_slice(), b"b"]);
        assert_ne!(opening().transcript(&stack, [b"ab".as_slice(), b""]), transcript);
        let mut other = opening();
        other.parts[1].setup.0[0] ^= 1;
        assert_ne!(other.id().unwrap(), id);
        assert_ne!(other.transcript(&stack, [b"a".as_slice(), b"b"]), transcript);
    }
}
