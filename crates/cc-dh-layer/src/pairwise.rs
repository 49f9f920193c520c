//! Two people who have each other's public keys.

use alloc::vec::Vec;

use cc_core::{Buffer, Contribution, LayerContext, LayerError, Opened, Secret};

use crate::{DhError, DhKeyPair, DhPublicKey, kdf::Prk, message::MessageKey};

/// Static-static ECDH between two key pairs, with a key for each direction.
///
/// Both keys are long-lived: who learns one of the two private keys reads all messages, past and future
/// (no forward secrecy), and can speak to its owner in the other's name.
pub(crate) struct Pairwise {
    sending: MessageKey,
    receiving: MessageKey,
    contribution: Secret<32>,
}

impl Pairwise {
    pub(crate) fn new(own: &DhKeyPair, peer: &DhPublicKey) -> Result<Self, DhError> {
        let public = own.public_key();
        if public == peer {
            return Err(DhError::OwnKey);
        }
        let shared = own.diffie_hellman(peer)?;
        // Both keys go into every derivation, in an order both sides agree on, so that the secret is
        // one of exactly these two people (RFC 7748 section 6.1 advises it).
        let own_is_low = public < peer;
        let (low, high) = if own_is_low { (public, peer) } else { (peer, public) };
        let prk = Prk::extract(b"cascading-cipher/1 dh pairwise", shared.expose());
        let id = own.curve().id().to_be_bytes();
        let fields: [&[u8]; 3] = [&id, low.point(), high.point()];
        let upward = MessageKey::new(prk.expand(b"low to high", &fields)?);
        let downward = MessageKey::new(prk.expand(b"high to low", &fields)?);
        let (sending, receiving) = if own_is_low { (upward, downward) } else { (downward, upward) };
        let contribution = prk.expand(b"pairwise contribution", &fields)?;
        Ok(Self { sending, receiving, contribution })
    }

    /// The same for every message and for both directions; the hint is empty.
    pub(crate) fn contribute(&self) -> Contribution {
        Contribution { hint: Vec::new(), secret: self.contribution.duplicate() }
    }

    pub(crate) fn recall(&self, hint: &[u8]) -> Result<Secret<32>, LayerError> {
        if hint.is_empty() {
            Ok(self.contribution.duplicate())
        } else {
            Err(LayerError::rejected())
        }
    }

    pub(crate) fn seal(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        Ok(self.sending.seal(&context.associated_data(), buffer)?)
    }

    pub(crate) fn open(
        &self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.receiving.open(&context.associated_data(), buffer)?;
        Ok(Opened::default())
    }
}
