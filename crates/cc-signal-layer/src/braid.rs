//! ML-KEM Braid: a sparse continuous key agreement on ML-KEM-768 (its specification, revision 1).
//!
//! In every *epoch* one side makes a key pair and the other encapsulates to it; then they change roles. Header,
//! encapsulation key and ciphertext go over in chunks, one in each message, and the two long ones at the same
//! time. The states have the names of the specification (section 2.5):
//!
//! | makes the key pair | encapsulates |
//! |---|---|
//! | KeysUnsampled | NoHeaderReceived |
//! | KeysSampled: sends the header | HeaderReceived |
//! | HeaderSent: sends `ek_vector` | Ct1Sampled: sends `ct1` |
//! | Ct1Received: sends `ek_vector`, acknowledges `ct1` | EkReceivedCt1Sampled, or Ct1Acknowledged |
//! | EkSentCt1Received | Ct2Sampled: sends `ct2` |
//!
//! A side speaks under the secret of the epoch before the one it is in: the other side has that one.
//!
//! Ours, where the specification leaves a choice: the encodings (`message.rs`), the code of the chunks
//! (`erasure.rs`), HKDF and HMAC with SHA-256 and the label below. A late chunk of `ek_vector` that came before
//! the acknowledgement counts as well.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use cc_core::Secret;

use crate::{Error, entropy::Entropy, kdf};

mod authenticator;
mod erasure;
mod incremental_kem;
mod message;
mod saved;

#[cfg(test)]
mod tests;

use authenticator::{Authenticator, MAC_LEN};
pub(crate) use erasure::Chunk;
use erasure::{Decoder, Encoder};
use incremental_kem::{CT1_LEN, CT2_LEN, Encapsulation, HEADER_LEN, KeyPair, VECTOR_LEN};
pub(crate) use message::{Message, Payload};
pub(crate) use saved::Missing;

/// One side.
#[derive(Debug)]
pub(crate) struct Braid {
    epoch: u32,
    auth: Authenticator,
    state: State,
}

#[derive(Debug)]
enum State {
    KeysUnsampled,
    KeysSampled { keys: KeyPair, header: Encoder },
    HeaderSent { keys: KeyPair, ek: Encoder, ct1: Decoder },
    Ct1Received { keys: KeyPair, ek: Encoder, ct1: Box<[u8; CT1_LEN]> },
    EkSentCt1Received { keys: KeyPair, ct1: Box<[u8; CT1_LEN]>, ct2: Decoder },
    NoHeaderReceived { header: Decoder },
    HeaderReceived { header: [u8; HEADER_LEN] },
    Ct1Sampled { encapsulation: Encapsulation, ct1: Encoder, ek: Decoder },
    EkReceivedCt1Sampled { encapsulation: Encapsulation, ct1: Encoder, ek: Box<[u8; VECTOR_LEN]> },
    Ct1Acknowledged { encapsulation: Encapsulation, ek: Decoder },
    Ct2Sampled { ct2: Encoder },
}

/// What receiving a message changes.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    /// One more chunk of what is being collected.
    Collect(Chunk),
    /// Another state, and perhaps the secret of the epoch that ends with it.
    To(Box<Braid>, Option<Secret<32>>),
}

impl Braid {
    /// The side that makes the first key pair, from a secret that both have.
    pub(crate) fn initiator(secret: &Secret<32>) -> Result<Self, Error> {
        Self::new(secret, State::KeysUnsampled)
    }

    /// The other side.
    pub(crate) fn responder(secret: &Secret<32>) -> Result<Self, Error> {
        Self::new(secret, State::NoHeaderReceived { header: Decoder::new(HEADER_LEN + MAC_LEN) })
    }

    fn new(secret: &Secret<32>, state: State) -> Result<Self, Error> {
        Ok(Self { epoch: 1, auth: Authenticator::new(secret, 1)?, state })
    }

    /// The message to send, and the secret of its epoch when it has just been agreed.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::Primitive`]; nothing has changed then.
    pub(crate) fn send(
        &mut self,
        entropy: &mut impl Entropy,
    ) -> Result<(Message, Option<Secret<32>>), Error> {
        let mut output = None;
        match &self.state {
            State::KeysUnsampled => {
                let keys = KeyPair::generate(entropy)?;
                let mac = self.auth.header_mac(self.epoch, keys.header());
                let header: Vec<u8> = [&keys.header()[..], &mac.expose()[..]].concat();
                self.state = State::KeysSampled { keys, header: Encoder::new(header.into()) };
            }
            State::HeaderReceived { header } => {
                let (encapsulation, shared) = Encapsulation::new(*header, entropy.secret()?)?;
                let key = output_key(&shared, self.epoch)?;
                self.auth = self.auth.update(&key, self.epoch)?;
                let ct1 = Encoder::new(encapsulation.ct1().clone());
                let ek = Decoder::new(VECTOR_LEN);
                self.state = State::Ct1Sampled { encapsulation, ct1, ek };
                output = Some(key);
            }
            _ => {}
        }
        let payload = match &mut self.state {
            State::KeysSampled { header, .. } => Payload::Hdr(header.next_chunk()),
            State::HeaderSent { ek, .. } => Payload::Ek(ek.next_chunk()),
            State::Ct1Received { ek, .. } => Payload::EkCt1Ack(ek.next_chunk()),
            State::Ct1Sampled { ct1, .. } | State::EkReceivedCt1Sampled { ct1, .. } => {
                Payload::Ct1(ct1.next_chunk())
            }
            State::Ct2Sampled { ct2 } => Payload::Ct2(ct2.next_chunk()),
            State::KeysUnsampled
            | State::EkSentCt1Received { .. }
            | State::NoHeaderReceived { .. }
            | State::HeaderReceived { .. }
            | State::Ct1Acknowledged { .. } => Payload::None,
        };
        Ok((Message { epoch: self.epoch, payload }, output))
    }

    /// What `message` changes. Nothing has changed yet; it may have come late or twice.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when a MAC is wrong or a key is not the one that was announced.
    pub(crate) fn receive(&self, message: &Message) -> Result<Step, Error> {
        if message.epoch != self.epoch {
            return self.receive_of_next(message);
        }
        match (&self.state, message.payload) {
            (State::KeysSampled { keys, .. }, Payload::Ct1(chunk)) => {
                let mut ct1 = Decoder::new(CT1_LEN);
                ct1.insert(chunk);
                let (keys, ek) = (keys.duplicate(), Encoder::new(keys.vector().clone()));
                self.to(State::HeaderSent { keys, ek, ct1 })
            }
            (State::HeaderSent { keys, ek, ct1 }, Payload::Ct1(chunk)) => {
                let Some(ct1) = ct1.complete(&chunk) else { return Ok(Step::Collect(chunk)) };
                let (keys, ek) = (keys.duplicate(), ek.clone());
                self.to(State::Ct1Received { keys, ek, ct1: boxed(&ct1)? })
            }
            (State::Ct1Received { keys, ct1, .. }, Payload::Ct2(chunk)) => {
                let mut ct2 = Decoder::new(CT2_LEN + MAC_LEN);
                ct2.insert(chunk);
                let (keys, ct1) = (keys.duplicate(), ct1.clone());
                self.to(State::EkSentCt1Received { keys, ct1, ct2 })
            }
            (State::EkSentCt1Received { keys, ct1, ct2 }, Payload::Ct2(chunk)) => {
                let Some(ct2) = ct2.complete(&chunk) else { return Ok(Step::Collect(chunk)) };
                self.finish(keys, ct1, &ct2)
            }
            (State::NoHeaderReceived { header }, Payload::Hdr(chunk)) => {
                let Some(header) = header.complete(&chunk) else { return Ok(Step::Collect(chunk)) };
                let (header, mac) = split(&header)?;
                check(&self.auth.header_mac(self.epoch, header), mac)?;
                self.to(State::HeaderReceived { header: *header })
            }
            (
                State::Ct1Sampled { encapsulation, ct1, ek },
                Payload::Ek(chunk) | Payload::EkCt1Ack(chunk),
            ) => {
                let acknowledged = matches!(message.payload, Payload::EkCt1Ack(_));
                match ek.complete(&chunk) {
                    Some(ek) if acknowledged => self.finish_ciphertext(encapsulation, &ek),
                    Some(ek) => {
                        // Checked at once, so that what is kept is good.
                        let ek = boxed(&ek)?;
                        encapsulation.check(&ek)?;
                        let (encapsulation, ct1) = (encapsulation.duplicate(), ct1.clone());
                        self.to(State::EkReceivedCt1Sampled { encapsulation, ct1, ek })
                    }
                    None if acknowledged => {
                        let (encapsulation, mut ek) = (encapsulation.duplicate(), ek.clone());
                        ek.insert(chunk);
                        self.to(State::Ct1Acknowledged { encapsulation, ek })
                    }
                    None => Ok(Step::Collect(chunk)),
                }
            }
            (State::EkReceivedCt1Sampled { encapsulation, ek, .. }, Payload::EkCt1Ack(_)) => {
                self.finish_ciphertext(encapsulation, &ek[..])
            }
            (
                State::Ct1Acknowledged { encapsulation, ek },
                Payload::Ek(chunk) | Payload::EkCt1Ack(chunk),
            ) => match ek.complete(&chunk) {
                Some(ek) => self.finish_ciphertext(encapsulation, &ek),
                None => Ok(Step::Collect(chunk)),
            },
            _ => Ok(Step::Nothing),
        }
    }

    /// Makes the change that [`Braid::receive`] found, which was called on this very state.
    pub(crate) fn apply(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Collect(chunk) => {
                if let Some(decoder) = self.decoder_mut() {
                    decoder.insert(chunk);
                }
            }
            Step::To(next, _) => *self = *next,
        }
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        Self { epoch: self.epoch, auth: self.auth.duplicate(), state: self.state.duplicate() }
    }

    /// The other side is in the next epoch: it has what we have sent, and it is our turn to make a key pair.
    fn receive_of_next(&self, message: &Message) -> Result<Step, Error> {
        match &self.state {
            State::Ct2Sampled { .. } if self.epoch.checked_add(1) == Some(message.epoch) => {
                let next = Self {
                    epoch: message.epoch,
                    auth: self.auth.duplicate(),
                    state: State::KeysUnsampled,
                };
                Ok(Step::To(Box::new(next), None))
            }
            _ => Ok(Step::Nothing),
        }
    }

    /// `ct2` and its MAC are there: the secret of this epoch, and the next one.
    fn finish(&self, keys: &KeyPair, ct1: &[u8; CT1_LEN], ct2: &[u8]) -> Result<Step, Error> {
        let (ct2, mac) = split::<CT2_LEN>(ct2)?;
        let key = output_key(&keys.decapsulate(ct1, ct2)?, self.epoch)?;
        let auth = self.auth.update(&key, self.epoch)?;
        check(&auth.ciphertext_mac(self.epoch, ct1, ct2), mac)?;
        let epoch = self.epoch.checked_add(1).ok_or(Error::Undecryptable)?;
        let state = State::NoHeaderReceived { header: Decoder::new(HEADER_LEN + MAC_LEN) };
        Ok(Step::To(Box::new(Self { epoch, auth, state }), Some(key)))
    }

    /// `ek_vector` is there and `ct1` has arrived.
    fn finish_ciphertext(&self, encapsulation: &Encapsulation, ek: &[u8]) -> Result<Step, Error> {
        let ek = ek.try_into().map_err(|_| Error::Undecryptable)?;
        let ct2 = encapsulation.finish(ek)?;
        let mac = self.auth.ciphertext_mac(self.epoch, encapsulation.ct1(), &ct2);
        let value: Arc<[u8]> = [&ct2[..], &mac.expose()[..]].concat().into();
        self.to(State::Ct2Sampled { ct2: Encoder::new(value) })
    }

    fn to(&self, state: State) -> Result<Step, Error> {
        let next = Self { epoch: self.epoch, auth: self.auth.duplicate(), state };
        Ok(Step::To(Box::new(next), None))
    }

    fn decoder_mut(&mut self) -> Option<&mut Decoder> {
        match &mut self.state {
            State::HeaderSent { ct1: decoder, .. }
            | State::EkSentCt1Received { ct2: decoder, .. }
            | State::NoHeaderReceived { header: decoder }
            | State::Ct1Sampled { ek: decoder, .. }
            | State::Ct1Acknowledged { ek: decoder, .. } => Some(decoder),
            _ => None,
        }
    }
}

#[cfg(test)]
impl Braid {
    pub(crate) fn epoch_mut(&mut self) -> &mut u32 {
        &mut self.epoch
    }

    /// Makes every chunk of what is being sent another one; `false` where nothing is.
    pub(crate) fn damage_chunks(&mut self) -> bool {
        let encoder = match &mut self.state {
            State::KeysSampled { header: encoder, .. }
            | State::HeaderSent { ek: encoder, .. }
            | State::Ct1Received { ek: encoder, .. }
            | State::Ct1Sampled { ct1: encoder, .. }
            | State::EkReceivedCt1Sampled { ct1: encoder, .. }
            | State::Ct2Sampled { ct2: encoder } => encoder,
            _ => return false,
        };
        let value: Vec<u8> = encoder.value().iter().map(|byte| byte ^ 1).collect();
        *encoder = Encoder::at(value.into(), encoder.next());
        true
    }
}

impl Step {
    /// The secret of an epoch, if it is agreed now.
    pub(crate) fn output(&self) -> Option<&Secret<32>> {
        match self {
            Self::To(_, output) => output.as_ref(),
            Self::Nothing | Self::Collect(_) => None,
        }
    }
}

/// `KDF_OK(shared_secret, epoch)`.
fn output_key(shared: &Secret<32>, epoch: u32) -> Result<Secret<32>, Error> {
    let info = [PROTOCOL_INFO, b":SCKA Key", &u64::from(epoch).to_be_bytes()].concat();
    kdf::hkdf(&[0; 32], shared.expose(), &info)
}

/// A value of fixed length and the MAC behind it.
fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8; MAC_LEN]), Error> {
    let (value, mac) = bytes.split_first_chunk().ok_or(Error::Undecryptable)?;
    Ok((value, mac.try_into().map_err(|_| Error::Undecryptable)?))
}

/// Compares in constant time.
fn check(mac: &Secret<32>, received: &[u8; MAC_LEN]) -> Result<(), Error> {
    let received = Secret::copy_from(received).ok_or(Error::Undecryptable)?;
    if *mac == received { Ok(()) } else { Err(Error::Undecryptable) }
}

fn boxed<const N: usize>(bytes: &[u8]) -> Result<Box<[u8; N]>, Error> {
    Box::<[u8]>::from(bytes).try_into().map_err(|_| Error::Undecryptable)
}

/// `PROTOCOL_INFO` of the specification: who, which KEM, which hash.
const PROTOCOL_INFO: &[u8] = b"CascadingCipher_MLKEM768_SHA-256";
