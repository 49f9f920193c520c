//! A braid at rest: what is small and always there in the record of the session, the rest in records of its own.
//!
//! In the record: 4 epoch, 32 + 32 authenticator, 1 state in the order of the specification, and by state: 64 seed of
//! the key pair; 32 randomness of the encapsulation; 1 next chunk of what is sent; 4 how many chunks are collected.
//! Records, all of them public:
//!
//! | name | record |
//! |---|---|
//! | `h` | the header of the peer's key, 64 bytes |
//! | `r`, 1 index | a chunk of what is being collected, 32 bytes |
//! | `v` | `ct1`, `ek_vector`, or `ct2` with its MAC: received and kept, or sent |
//!
//! Everything else is computed again when it is loaded.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use cc_core::Secret;

use super::{
    Braid, State,
    authenticator::{Authenticator, MAC_LEN},
    erasure::{Chunk, Decoder, Encoder},
    incremental_kem::{CT1_LEN, CT2_LEN, Encapsulation, HEADER_LEN, KeyPair, VECTOR_LEN},
};
use crate::{
    Error,
    codec::{Reader, Writer},
    state::{Records, Source},
};

impl Braid {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u32(self.epoch);
        self.auth.secrets().iter().for_each(|secret| writer.put(secret.expose()));
        match &self.state {
            State::KeysUnsampled => writer.u8(0),
            State::KeysSampled { keys, header } => write_keys(writer, 1, keys, Some(header)),
            State::HeaderSent { keys, ek, .. } => write_keys(writer, 2, keys, Some(ek)),
            State::Ct1Received { keys, ek, .. } => write_keys(writer, 3, keys, Some(ek)),
            State::EkSentCt1Received { keys, .. } => write_keys(writer, 4, keys, None),
            State::NoHeaderReceived { .. } => writer.u8(5),
            State::HeaderReceived { .. } => writer.u8(6),
            State::Ct1Sampled { encapsulation, ct1, .. } => {
                write_encapsulation(writer, 7, encapsulation, Some(ct1));
            }
            State::EkReceivedCt1Sampled { encapsulation, ct1, .. } => {
                write_encapsulation(writer, 8, encapsulation, Some(ct1));
            }
            State::Ct1Acknowledged { encapsulation, .. } => {
                write_encapsulation(writer, 9, encapsulation, None);
            }
            State::Ct2Sampled { ct2 } => {
                writer.u8(10);
                writer.u8(ct2.next());
            }
        }
        writer.count(self.decoder().map_or(0, |decoder| decoder.chunks().len()));
    }

    pub(crate) fn write_records(&self, to: &mut Records) {
        let value: Option<&[u8]> = match &self.state {
            State::Ct1Received { ct1, .. } | State::EkSentCt1Received { ct1, .. } => Some(&ct1[..]),
            State::EkReceivedCt1Sampled { ek, .. } => Some(&ek[..]),
            State::Ct2Sampled { ct2 } => Some(ct2.value()),
            _ => None,
        };
        if let Some(header) = self.state.peer_header() {
            to.put(HEADER, |writer| writer.put(header));
        }
        if let Some(value) = value {
            to.put(VALUE, |writer| writer.put(value));
        }
        for chunk in self.decoder().map_or(&[][..], Decoder::chunks) {
            to.put(&[RECEIVED, chunk.index], |writer| writer.put(&chunk.data));
        }
    }

    /// A braid without what its records have.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(Self, Missing), Error> {
        let epoch = reader.u32()?;
        if epoch == 0 {
            return Err(Error::InvalidState);
        }
        let auth = Authenticator::from_secrets(reader.secret()?, reader.secret()?);
        let mut encapsulator = None;
        let state = match reader.u8()? {
            0 => State::KeysUnsampled,
            1 => {
                let keys = read_keys(reader)?;
                let mac = auth.header_mac(epoch, keys.header());
                let header: Vec<u8> = [&keys.header()[..], &mac.expose()[..]].concat();
                State::KeysSampled { keys, header: Encoder::at(header.into(), reader.u8()?) }
            }
            2 => {
                let (keys, ek) = read_keys_and_ek(reader)?;
                State::HeaderSent { keys, ek, ct1: Decoder::new(CT1_LEN) }
            }
            3 => {
                let (keys, ek) = read_keys_and_ek(reader)?;
                State::Ct1Received { keys, ek, ct1: Box::new([0; CT1_LEN]) }
            }
            4 => State::EkSentCt1Received {
                keys: read_keys(reader)?,
                ct1: Box::new([0; CT1_LEN]),
                ct2: Decoder::new(CT2_LEN + MAC_LEN),
            },
            5 => State::NoHeaderReceived { header: Decoder::new(HEADER_LEN + MAC_LEN) },
            state @ 6..=9 => {
                encapsulator = Some(match state {
                    6 => Encapsulator::HeaderReceived,
                    7 => Encapsulator::Ct1Sampled(reader.secret()?, reader.u8()?),
                    8 => Encapsulator::EkReceivedCt1Sampled(reader.secret()?, reader.u8()?),
                    _ => Encapsulator::Ct1Acknowledged(reader.secret()?),
                });
                // Until the header is read.
                State::KeysUnsampled
            }
            10 => {
                let value: Arc<[u8]> = Arc::from([0; CT2_LEN + MAC_LEN]);
                State::Ct2Sampled { ct2: Encoder::at(value, reader.u8()?) }
            }
            _ => return Err(Error::InvalidState),
        };
        Ok((Self { epoch, auth, state }, Missing { encapsulator, chunks: reader.u32()? }))
    }

    /// All records that are left in `from`.
    pub(crate) fn read_records(
        &mut self,
        missing: Missing,
        from: &mut Source,
    ) -> Result<(), Error> {
        if let Some(encapsulator) = missing.encapsulator {
            let header = from.take(HEADER, |reader| reader.array())?;
            self.state = encapsulator.with(header)?;
        }
        match &mut self.state {
            State::Ct1Received { ct1, .. } | State::EkSentCt1Received { ct1, .. } => {
                **ct1 = from.take(VALUE, |reader| reader.array())?;
            }
            State::EkReceivedCt1Sampled { ek, encapsulation, .. } => {
                **ek = from.take(VALUE, |reader| reader.array())?;
                encapsulation.check(ek)?;
            }
            State::Ct2Sampled { ct2 } => {
                let value: [u8; CT2_LEN + MAC_LEN] = from.take(VALUE, |reader| reader.array())?;
                *ct2 = Encoder::at(Arc::from(value), ct2.next());
            }
            _ => {}
        }
        let mut none = Decoder::new(0);
        let decoder = self.decoder_mut().unwrap_or(&mut none);
        while let Some(name) = from.next_name() {
            let [RECEIVED, index] = name[..] else { return Err(Error::InvalidState) };
            let chunk = Chunk { index, data: from.take(&name, |reader| reader.array())? };
            let len = decoder.chunks().len();
            decoder.insert(chunk);
            if decoder.chunks().len() == len {
                return Err(Error::InvalidState);
            }
        }
        if u32::try_from(decoder.chunks().len()) == Ok(missing.chunks) {
            Ok(())
        } else {
            Err(Error::InvalidState)
        }
    }

    fn decoder(&self) -> Option<&Decoder> {
        match &self.state {
            State::HeaderSent { ct1: decoder, .. }
            | State::EkSentCt1Received { ct2: decoder, .. }
            | State::NoHeaderReceived { header: decoder }
            | State::Ct1Sampled { ek: decoder, .. }
            | State::Ct1Acknowledged { ek: decoder, .. } => Some(decoder),
            _ => None,
        }
    }
}

/// What a braid lacks that was read without its records: the state, where it needs the header of the peer's
/// key, and so many chunks.
#[must_use]
pub(crate) struct Missing {
    encapsulator: Option<Encapsulator>,
    chunks: u32,
}

/// The states that need that header, with randomness and the next chunk of `ct1`.
enum Encapsulator {
    HeaderReceived,
    Ct1Sampled(Secret<32>, u8),
    EkReceivedCt1Sampled(Secret<32>, u8),
    Ct1Acknowledged(Secret<32>),
}

impl Encapsulator {
    fn with(self, header: [u8; HEADER_LEN]) -> Result<State, Error> {
        let sampled = |randomness, next| {
            let (encapsulation, _) = Encapsulation::new(header, randomness)?;
            let ct1 = Encoder::at(encapsulation.ct1().clone(), next);
            Ok::<_, Error>((encapsulation, ct1))
        };
        let none = Decoder::new(VECTOR_LEN);
        Ok(match self {
            Self::HeaderReceived => State::HeaderReceived { header },
            Self::Ct1Sampled(randomness, next) => {
                let (encapsulation, ct1) = sampled(randomness, next)?;
                State::Ct1Sampled { encapsulation, ct1, ek: none }
            }
            Self::EkReceivedCt1Sampled(randomness, next) => {
                let (encapsulation, ct1) = sampled(randomness, next)?;
                State::EkReceivedCt1Sampled { encapsulation, ct1, ek: Box::new([0; VECTOR_LEN]) }
            }
            Self::Ct1Acknowledged(randomness) => {
                State::Ct1Acknowledged { encapsulation: sampled(randomness, 0)?.0, ek: none }
            }
        })
    }
}

impl State {
    /// The header that the other side has sent.
    fn peer_header(&self) -> Option<&[u8; HEADER_LEN]> {
        match self {
            Self::HeaderReceived { header } => Some(header),
            Self::Ct1Sampled { encapsulation, .. }
            | Self::EkReceivedCt1Sampled { encapsulation, .. }
            | Self::Ct1Acknowledged { encapsulation, .. } => Some(encapsulation.header()),
            _ => None,
        }
    }

    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::KeysUnsampled => Self::KeysUnsampled,
            Self::KeysSampled { keys, header } => {
                Self::KeysSampled { keys: keys.duplicate(), header: header.clone() }
            }
            Self::HeaderSent { keys, ek, ct1 } => {
                Self::HeaderSent { keys: keys.duplicate(), ek: ek.clone(), ct1: ct1.clone() }
            }
            Self::Ct1Received { keys, ek, ct1 } => {
                Self::Ct1Received { keys: keys.duplicate(), ek: ek.clone(), ct1: ct1.clone() }
            }
            Self::EkSentCt1Received { keys, ct1, ct2 } => Self::EkSentCt1Received {
                keys: keys.duplicate(),
                ct1: ct1.clone(),
                ct2: ct2.clone(),
            },
            Self::NoHeaderReceived { header } => Self::NoHeaderReceived { header: header.clone() },
            Self::HeaderReceived { header } => Self::HeaderReceived { header: *header },
            Self::Ct1Sampled { encapsulation, ct1, ek } => Self::Ct1Sampled {
                encapsulation: encapsulation.duplicate(),
                ct1: ct1.clone(),
                ek: ek.clone(),
            },
            Self::EkReceivedCt1Sampled { encapsulation, ct1, ek } => Self::EkReceivedCt1Sampled {
                encapsulation: encapsulation.duplicate(),
                ct1: ct1.clone(),
                ek: ek.clone(),
            },
            Self::Ct1Acknowledged { encapsulation, ek } => {
                Self::Ct1Acknowledged { encapsulation: encapsulation.duplicate(), ek: ek.clone() }
            }
            Self::Ct2Sampled { ct2 } => Self::Ct2Sampled { ct2: ct2.clone() },
        }
    }
}

fn write_keys(writer: &mut Writer, state: u8, keys: &KeyPair, sent: Option<&Encoder>) {
    writer.u8(state);
    writer.put(keys.seed().expose());
    if let Some(encoder) = sent {
        writer.u8(encoder.next());
    }
}

fn write_encapsulation(
    writer: &mut Writer,
    state: u8,
    encapsulation: &Encapsulation,
    sent: Option<&Encoder>,
) {
    writer.u8(state);
    writer.put(encapsulation.randomness().expose());
    if let Some(encoder) = sent {
        writer.u8(encoder.next());
    }
}

fn read_keys(reader: &mut Reader<'_>) -> Result<KeyPair, Error> {
    Ok(KeyPair::from_seed(reader.secret()?))
}

fn read_keys_and_ek(reader: &mut Reader<'_>) -> Result<(KeyPair, Encoder), Error> {
    let keys = read_keys(reader)?;
    let ek = Encoder::at(keys.vector().clone(), reader.u8()?);
    Ok((keys, ek))
}

const RECEIVED: u8 = b'r';
const HEADER: &[u8] = b"h";
const VALUE: &[u8] = b"v";
