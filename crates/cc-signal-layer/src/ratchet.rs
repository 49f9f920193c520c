//! The Triple Ratchet: the Double Ratchet with header encryption (section 4 of its specification), and beside
//! it the Sparse Post-Quantum Ratchet (section 5, `spqr.rs`). Both have a key for every message, and a message
//! is sealed under what is derived from the two (section 6).
//!
//! The variables of section 4.3 are these fields:
//!
//! | paper | here |
//! |---|---|
//! | `RK` | `root` |
//! | `DHRs`, `HKs`, `CKs`, `Ns` | `sending` |
//! | `NHKs`, `PN` | `next_sending`, `previous` |
//! | `DHRr`, `HKr`, `CKr`, `Nr` | `receiving` |
//! | `NHKr` | `next_receiving` |
//! | `MKSKIPPED` | `receiving.skipped`, `former` |
//! | state of the post-quantum ratchet | `spqr` |
//!
//! The sending half of a DH ratchet step waits until something is sent, as the specification
//! allows ("deferring new ratchet key generation"): a key that does not exist yet cannot be
//! stolen, and receiving needs no randomness.

use crate::{
    Error,
    chain_key::ChainKey,
    codec::fill,
    curve::{KeyPair, PublicKey},
    entropy::Entropy,
    header::{self, ENCRYPTED_LEN, Header, HeaderKey},
    limits::Limits,
    message_key::{HybridKey, OneTimeKey as _, TAG_LEN},
    root_key::RootKey,
    skipped::FormerChains,
    spqr::Spqr,
    wire,
};

mod receiving;
mod saved;
#[cfg(test)]
mod tampering;

pub(crate) use receiving::Change;
use receiving::Receiving;

/// What stands before the encrypted text: the type byte and the encrypted header.
pub(crate) const PREFIX_LEN: usize = 1 + ENCRYPTED_LEN;

/// The state of one side.
#[derive(Debug)]
pub(crate) struct Ratchet {
    root: RootKey,
    sending: Sending,
    next_sending: HeaderKey,
    /// The header key of the sending chain before, to know one's own messages by.
    last_sending: Option<HeaderKey>,
    previous: u32,
    receiving: Option<Receiving>,
    next_receiving: HeaderKey,
    former: FormerChains,
    spqr: Spqr,
}

/// The sending side of the ratchet.
#[derive(Debug)]
enum Sending {
    /// A responder that has received nothing: its signed prekey is its first ratchet key.
    Waiting(KeyPair),
    /// The peer has ratcheted; our step is due at the next message.
    Due(PublicKey),
    /// A chain to send in.
    Chain { pair: KeyPair, header_key: HeaderKey, chain: ChainKey, number: u32 },
}

impl Ratchet {
    /// `RatchetInitAliceHE`.
    pub(crate) fn initiator(
        root: RootKey,
        header_a: HeaderKey,
        next_header_b: HeaderKey,
        their_prekey: &PublicKey,
        spqr: Spqr,
        entropy: &mut impl Entropy,
    ) -> Result<Self, Error> {
        let pair = KeyPair::generate_from(entropy)?;
        let (root, chain, next_sending) = root.step(&pair, their_prekey)?;
        Ok(Self {
            root,
            sending: Sending::Chain { pair, header_key: header_a, chain, number: 0 },
            next_sending,
            last_sending: None,
            previous: 0,
            receiving: None,
            next_receiving: next_header_b,
            former: FormerChains::default(),
            spqr,
        })
    }

    /// `RatchetInitBobHE`.
    pub(crate) fn responder(
        root: RootKey,
        header_a: HeaderKey,
        next_header_b: HeaderKey,
        our_prekey: KeyPair,
        spqr: Spqr,
    ) -> Self {
        Self {
            root,
            sending: Sending::Waiting(our_prekey),
            next_sending: next_header_b,
            last_sending: None,
            previous: 0,
            receiving: None,
            next_receiving: header_a,
            former: FormerChains::default(),
            spqr,
        }
    }

    /// `RatchetEncrypt` of section 6, in place: what goes before `body`, and the tag that goes after it.
    ///
    /// The chains have advanced before the body is encrypted, whatever happens afterwards.
    pub(crate) fn encrypt(
        &mut self,
        session_ad: &[u8; 32],
        ad: &[u8],
        body: &mut [u8],
        entropy: &mut impl Entropy,
    ) -> Result<([u8; PREFIX_LEN], [u8; TAG_LEN]), Error> {
        if let Sending::Waiting(_) = &self.sending {
            return Err(Error::NoSession);
        }
        let (spqr, post_quantum) = self.spqr.send(entropy)?;
        if let Sending::Due(theirs) = &self.sending {
            let pair = KeyPair::generate_from(entropy)?;
            let (root, chain, next_sending) = self.root.step(&pair, theirs)?;
            self.root = root;
            self.sending = Sending::Chain {
                pair,
                header_key: core::mem::replace(&mut self.next_sending, next_sending),
                chain,
                number: 0,
            };
        }
        let Sending::Chain { pair, header_key, chain, number } = &mut self.sending else {
            return Err(Error::NoSession);
        };
        let next_number = number.checked_add(1).ok_or(Error::ChainExhausted)?;
        let header = Header {
            ratchet_key: *pair.public(),
            previous: self.previous,
            number: *number,
            spqr: spqr.encode(),
        };
        let header = header_key.encrypt(&header, entropy)?;
        let (next_chain, classical) = chain.step();
        *chain = next_chain;
        *number = next_number;
        let key = HybridKey::new(classical, post_quantum);

        let mut prefix = [wire::MESSAGE; PREFIX_LEN];
        if let Some((_, rest)) = prefix.split_first_mut() {
            rest.copy_from_slice(&header);
        }
        let tag = with_associated_data([session_ad, &header, ad], |ad| {
            key.encrypt(header::salt(&header), ad, body)
        })?;
        Ok((prefix, tag))
    }

    /// How many keys of missing messages are kept.
    pub(crate) fn skipped_len(&self) -> usize {
        self.former.len() + self.receiving.as_ref().map_or(0, |r| r.skipped.len())
    }

    /// Drops the skipped keys that have expired, and the oldest beyond the limit.
    pub(crate) fn enforce(&mut self, limits: &Limits) {
        let excess = self.skipped_len().saturating_sub(limits.max_skipped());
        let excess = self.former.drop_oldest(excess);
        if let Some(Receiving { index, start, number, skipped, .. }) = &mut self.receiving {
            for _ in 0..excess {
                skipped.drop_oldest();
            }
            let position = start.saturating_add(u64::from(*number));
            let oldest = position.saturating_sub(u64::from(limits.skipped_lifetime()));
            skipped.drop_before(oldest.saturating_sub(*start));
            self.former.expire(oldest, *index);
        }
        self.spqr.enforce(self.skipped_len() == 0, limits);
    }
}

/// `work` with `CONCAT(AD, enc_header)` and the caller's data. The first two have fixed lengths, so the
/// concatenation is unambiguous. It is put together on the stack where it is short, as it is in most messages.
fn with_associated_data<T>(parts: [&[u8]; 3], work: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [0; 256];
    match short.get_mut(..parts.iter().map(|part| part.len()).sum()) {
        Some(all) => {
            fill(all, &parts);
            work(all)
        }
        None => work(&parts.concat()),
    }
}
