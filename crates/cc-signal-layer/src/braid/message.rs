//! What a side says in each message (section 2.4 of the ML-KEM Braid specification): its epoch, and a chunk.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | epoch |
//! | 1 | type |
//! | 1 + 32 | index and data of the chunk; zeros without one |
//!
//! The specification leaves the encoding open. An epoch takes dozens of messages, so 4 bytes are enough.

use super::erasure::{CHUNK_LEN, Chunk};
use crate::{
    Error,
    codec::{Reader, fill},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) epoch: u32,
    pub(crate) payload: Payload,
}

/// The types of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    None,
    /// Of the header and its MAC.
    Hdr(Chunk),
    /// Of `ek_vector`.
    Ek(Chunk),
    /// Of `ek_vector`; `ct1` has arrived.
    EkCt1Ack(Chunk),
    Ct1(Chunk),
    /// Of `ct2` and the MAC of both parts.
    Ct2(Chunk),
}

impl Message {
    /// The length of the encoding.
    pub(crate) const LEN: usize = 4 + 1 + 1 + CHUNK_LEN;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let none = Chunk { index: 0, data: [0; CHUNK_LEN] };
        let (kind, chunk) = match self.payload {
            Payload::None => (0, none),
            Payload::Hdr(chunk) => (1, chunk),
            Payload::Ek(chunk) => (2, chunk),
            Payload::EkCt1Ack(chunk) => (3, chunk),
            Payload::Ct1(chunk) => (4, chunk),
            Payload::Ct2(chunk) => (5, chunk),
        };
        let [a, b, c, d] = self.epoch.to_be_bytes();
        let mut bytes = [0; Self::LEN];
        let head = [a, b, c, d, kind, chunk.index];
        fill(&mut bytes, &[&head, &chunk.data]);
        bytes
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let epoch = reader.u32()?;
        let kind = reader.u8()?;
        let chunk = Chunk { index: reader.u8()?, data: reader.array()? };
        let payload = match kind {
            0 if chunk == (Chunk { index: 0, data: [0; CHUNK_LEN] }) => Payload::None,
            1 => Payload::Hdr(chunk),
            2 => Payload::Ek(chunk),
            3 => Payload::EkCt1Ack(chunk),
            4 => Payload::Ct1(chunk),
            5 => Payload::Ct2(chunk),
            _ => return Err(Error::Malformed),
        };
        Ok(Self { epoch, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decodes_has_one_encoding() {
        for kind in 0..=u8::MAX {
            for fill in [0, 1] {
                let mut bytes = [fill; Message::LEN];
                bytes[4] = kind;
                match Message::read(&mut Reader::new(&bytes)) {
                    Ok(message) => assert_eq!(message.encode(), bytes),
                    Err(error) => {
                        assert!(kind > 5 || (kind, fill) == (0, 1));
                        assert_eq!(error, Error::Malformed);
                    }
                }
            }
        }
        for len in 0..Message::LEN {
            assert!(Message::read(&mut Reader::new(&[1; Message::LEN][..len])).is_err());
        }
    }
}
