//! Texts by which people make sure that they have each other's keys.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::{MemberPublicKey, label::label};

/// The fingerprint of one public key: six groups of five decimal digits, such as
/// `01234 56789 01234 56789 01234 56789`.
///
/// Each group is five bytes of SHA-256 over the [label] `"fingerprint"` of the kind of key and
/// [`MemberPublicKey::to_wire`], as a big-endian number modulo 100000; the last two bytes of the digest
/// are not used. About 99 bits: another key with the same fingerprint is out of reach. The text never
/// changes for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u32; 6]);

impl Fingerprint {
    /// The fingerprint of `key`.
    #[must_use]
    pub fn of<P: MemberPublicKey>(key: &P) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(label(P::LABEL, "fingerprint"))
            .chain_update(key.to_wire())
            .finalize()
            .into();
        let mut groups = [0; 6];
        for (group, bytes) in groups.iter_mut().zip(digest.chunks_exact(5)) {
            let next = |number: u32, byte: &u8| (number * 256 + u32::from(*byte)) % 100_000;
            *group = bytes.iter().fold(0, next);
        }
        Self(groups)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.iter().enumerate() {
            write!(f, "{}{group:05}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The fingerprint of two public keys: both [`Fingerprint`]s, that of the key with the smaller encoding
/// first, so that both people see the same twelve groups.
///
/// Two whole fingerprints rather than one digest of both keys: somebody in the middle who chooses a key
/// towards each side would only need two equal digests among many, some 2^50 tries at this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairFingerprint(Fingerprint, Fingerprint);

impl PairFingerprint {
    /// The fingerprint of two keys, in either order.
    #[must_use]
    pub fn of<P: MemberPublicKey>(a: &P, b: &P) -> Self {
        let (low, high) = if a.to_wire() <= b.to_wire() { (a, b) } else { (b, a) };
        Self(Fingerprint::of(low), Fingerprint::of(high))
    }
}

impl fmt::Display for PairFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use crate::{Curve, DhKeyPair, DhPublicKey};

    #[test]
    fn the_text_is_stable() {
        let mut nine = [0; 32];
        nine[0] = 9;
        let key = DhPublicKey::from_point(Curve::X25519, &nine).unwrap();
        // Computed once by hand with Python's hashlib.
        assert_eq!(key.fingerprint().to_string(), "53530 57715 95419 77841 33785 68457");
    }

    #[test]
    fn a_pair_reads_the_same_from_both_sides() {
        for curve in [Curve::X25519, Curve::P256] {
            let [a, b, c] = [(); 3].map(|()| *DhKeyPair::generate(curve).unwrap().public_key());
            let text = a.fingerprint_with(&b).to_string();
            assert_eq!(text, b.fingerprint_with(&a).to_string());
            assert_ne!(text, a.fingerprint_with(&c).to_string());
            assert_eq!(text.len(), 71);
            assert!(text.contains(&a.fingerprint().to_string()));
            assert!(text.contains(&b.fingerprint().to_string()));
        }
    }
}
