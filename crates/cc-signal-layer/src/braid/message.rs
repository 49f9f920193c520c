//! What a side says in each message (section 2.4 of the ML-KEM Braid specification): its epoch, and a chunk.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | the low 16 bits of the epoch |
//! | 1 | type |
//! | 1 + 32 | index and data of the chunk; zeros without one |
//!
//! The specification leaves the encoding open. The epochs of the two sides differ by one, and of late messages by
//! the few that are kept, so that 16 bits tell which one is meant: the nearest to one's own.

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
    pub(crate) const LEN: usize = 2 + 1 + 1 + CHUNK_LEN;

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
        let [.., high, low] = self.epoch.to_be_bytes();
        let mut bytes = [0; Self::LEN];
        let head = [high, low, kind, chunk.index];
        fill(&mut bytes, &[&head, &chunk.data]);
        bytes
    }

    /// A message of an epoch that is `near` − 2^15 to `near` + 2^15 − 1.
    pub(crate) fn read(reader: &mut Reader<'_>, near: u32) -> Result<Self, Error> {
        let [.., high, low] = near.to_be_bytes();
        let low = u16::from_be_bytes([high, low]);
        let distance = u16::from_be_bytes(reader.array()?).wrapping_sub(low).cast_signed();
        let epoch = near.checked_add_signed(i32::from(distance)).ok_or(Error::Malformed)?;
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
                bytes[2] = kind;
                match Message::read(&mut Reader::new(&bytes), 1 << 20) {
                    Ok(message) => assert_eq!(message.encode(), bytes),
                    Err(error) => {
                        assert!(kind > 5 || (kind, fill) == (0, 1));
                        assert_eq!(error, Error::Malformed);
                    }
                }
            }
        }
        for len in 0..Message::LEN {
            assert!(Message::read(&mut Reader::new(&[1; Message::LEN][..len]), 0).is_err());
        }
    }

    #[test]
    fn the_epoch_is_the_nearest_one() {
        let read = |epoch, near| {
            let bytes = Message { epoch, payload: Payload::None }.encode();
            Message::read(&mut Reader::new(&bytes), near).map(|message| message.epoch)
        };
        for near in [0, 1, 50, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x1_0001, u32::MAX - 1, u32::MAX] {
            for epoch in near.saturating_sub(0x8000)..=near.saturating_add(0x7fff) {
                assert_eq!(read(epoch, near), Ok(epoch), "near {near}");
            }
        }
        assert_eq!(read(0x1_0000, 0x1_8001), Ok(0x2_0000), "too far back");
        // Before the first and after the last there is none.
        assert_eq!(read(0xffff, 0), Err(Error::Malformed));
        assert_eq!(read(0, u32::MAX), Err(Error::Malformed));
    }
}
