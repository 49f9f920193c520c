//! What an epoch of one side is derived from, and what is derived from it.

use alloc::{borrow::Cow, vec::Vec};
use core::fmt;

use cc_core::{Secret, SecretBytes};
use cc_root_group::{
    Curve, DhKeyPair, KeyError, MemberKeyPair as _, MemberPublicKey as _, MessageKey, Prk,
};

use super::{
    KIND, Pair, Role,
    header::{self, Header},
};
use crate::{HybridKeyPair, HybridPublicKey};

/// What both sides have in an epoch of one of them.
///
/// All is derived from the base, an X25519 value and an ML-KEM secret: so whoever breaks only one of X25519
/// and ML-KEM has nothing, also of a recording. The base of an epoch that answers one of the other side's is
/// that one's `chain`, so whoever does not have the key that it was encapsulated to cannot begin an epoch
/// that answers it, with whatever computer. That of the setup is from X25519 between the long-lived keys, and
/// that of what follows it unanswered is the setup's `chain`.
#[derive(Debug)]
pub(crate) struct EpochSecrets {
    /// The base of the other side's epochs that answer this one.
    pub(crate) chain: Prk,
    pub(crate) messages: MessageKey,
    /// For the layers above.
    pub(crate) contribution: Secret<32>,
}

/// An epoch in which this side sends.
pub(crate) struct OwnEpoch {
    pub(crate) number: u64,
    pub(crate) secrets: EpochSecrets,
    /// The key that it announces; `None` for the long-lived one.
    pub(crate) keys: Option<HybridKeyPair>,
}

/// An epoch in which the other side sends.
#[derive(Debug)]
pub(crate) struct PeerEpoch {
    pub(crate) number: u64,
    /// Which epoch of this side it answers; 0 for none.
    pub(crate) answers: u64,
    pub(crate) secrets: EpochSecrets,
    /// Of the header.
    pub(crate) digest: [u8; 32],
}

/// What a new epoch goes to: the key of the other side that it encapsulates to.
pub(crate) struct Agreement<'a> {
    /// The other side's epoch that it answers; 0 for none.
    pub(crate) answers: u64,
    pub(crate) base: &'a Prk,
    pub(crate) key: &'a HybridPublicKey,
}

/// The same from the side that is encapsulated to.
pub(crate) struct Answered<'a> {
    pub(crate) base: &'a Prk,
    pub(crate) keys: &'a HybridKeyPair,
}

impl OwnEpoch {
    /// Begins an epoch, and gives its header. It announces a new key if it answers one of the other side's: otherwise the other
    /// side has nothing but X25519 to know whose key it is.
    pub(crate) fn begin(
        pair: &Pair,
        number: u64,
        agreement: &Agreement<'_>,
    ) -> Result<(Self, Vec<u8>), KeyError> {
        let set = pair.set();
        let announces = agreement.answers > 0;
        let keys = announces.then(|| HybridKeyPair::generate(set)).transpose()?;
        let ephemeral = DhKeyPair::generate(Curve::X25519)?;
        let shared = ephemeral.diffie_hellman(agreement.key.diffie_hellman_key())?;
        let encapsulated = agreement.key.encapsulate()?.ok_or(KeyError::Internal)?;
        let header = Header {
            answers: agreement.answers,
            ephemeral: *ephemeral.public_key(),
            ciphertext: Cow::Borrowed(&encapsulated.ciphertext),
            announced: keys.as_ref().map(|keys| keys.public_key().clone()),
        };
        let header = header.encode(pair, pair.role, number);
        let digest = header::digest(&header);
        let secrets = EpochSecrets::derive(
            agreement.base,
            [&shared, &encapsulated.secret],
            pair.role,
            number,
            &digest,
        );
        Ok((Self { number, secrets, keys }, header))
    }
}

impl PeerEpoch {
    /// The epoch that `header` begins.
    pub(crate) fn open(
        pair: &Pair,
        number: u64,
        header: &Header<'_>,
        answered: &Answered<'_>,
    ) -> Result<Self, KeyError> {
        let shared = answered.keys.x25519().diffie_hellman(&header.ephemeral)?;
        let secret = answered.keys.decapsulate(&header.ciphertext)?.ok_or(KeyError::Internal)?;
        let role = pair.role.peer();
        let digest = header::digest(&header.encode(pair, role, number));
        let secrets =
            EpochSecrets::derive(answered.base, [&shared, &secret], role, number, &digest);
        Ok(Self { number, answers: header.answers, secrets, digest })
    }
}

impl EpochSecrets {
    /// The header binds which keys took part; `base` binds the long-lived keys.
    pub(crate) fn derive(
        base: &Prk,
        [shared, secret]: [&Secret<32>; 2],
        role: Role,
        number: u64,
        header: &[u8; 32],
    ) -> Self {
        let mut ikm = Vec::with_capacity(96);
        for part in [base.expose(), shared.expose(), secret.expose()] {
            ikm.extend_from_slice(part);
        }
        let ikm = SecretBytes::new(ikm);
        let prk = Prk::extract(KIND, "pairwise epoch", ikm.expose());
        let (role, number) = ([role as u8], number.to_be_bytes());
        let fields: [&[u8]; 3] = [&role, &number, header];
        Self::from_parts([
            prk.expand("epoch chain", &fields),
            prk.expand("epoch messages", &fields),
            prk.expand("epoch contribution", &fields),
        ])
    }

    /// The secrets that [`expose`](Self::expose) gave.
    pub(crate) fn from_parts([chain, messages, contribution]: [Secret<32>; 3]) -> Self {
        let (chain, messages) = (Prk::new(KIND, chain), MessageKey::new(KIND, messages));
        Self { chain, messages, contribution }
    }

    /// To be stored.
    pub(crate) fn expose(&self) -> [&[u8; 32]; 3] {
        [self.chain.expose(), self.messages.expose(), self.contribution.expose()]
    }
}

impl fmt::Debug for OwnEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnEpoch").field("number", &self.number).finish_non_exhaustive()
    }
}
