//! What a message of a group consists of; the table is in the documentation of
//! [`layer`](crate::layer).

use alloc::{boxed::Box, vec::Vec};

use cc_core::{Buffer, LayerError, MemberId, SecretBytes, limits::MAX_MEMBERS};
use sha2::{Digest, Sha256};

use crate::{
    Error, Limits, ReceiverChain, StagedGroupOpen,
    codec::{Reader, Writer},
    initial_message, sender_key, sessions,
};

/// What is taken off behind the text: tag and signature.
pub(super) const TRAILER_LEN: usize = 16 + 64;

/// A message that was opened and is not applied yet.
pub(super) struct Received {
    pub(super) sender: MemberId,
    pub(super) via: Via,
    /// The chain that the message brought to this member, known before or not.
    pub(super) carried: Option<[u8; 8]>,
    /// Whether the sender has this member's chain.
    pub(super) acked: bool,
}

pub(super) enum Via {
    /// The chain may have come with the message once more. Then that is opened as well, so that the pair
    /// session keeps no key to an old state of the chain.
    Known { opened: StagedGroupOpen, again: Option<sessions::Staged> },
    /// The chain came with the message, which has moved it on already.
    New { staged: sessions::Staged, generation: u64, chain: Box<ReceiverChain> },
}

/// Everything before the Sender Key message.
pub(super) struct Front {
    pub(super) bytes: Vec<u8>,
    /// Who the block says hands over its chain.
    pub(super) sender: Option<MemberId>,
    /// What the block has for this member.
    pub(super) entry: Option<Vec<u8>>,
}

impl Received {
    /// What changes in the pair session with the sender.
    pub(super) fn in_session(&self) -> Option<&sessions::Staged> {
        match &self.via {
            Via::Known { again, .. } => again.as_ref(),
            Via::New { staged, .. } => Some(staged),
        }
    }
}

impl Front {
    pub(super) fn encode(me: &MemberId, entries: &[(MemberId, Vec<u8>)]) -> Vec<u8> {
        if entries.is_empty() {
            return alloc::vec![0];
        }
        let size: usize = entries.iter().map(|(_, message)| 8 + 4 + message.len()).sum();
        let mut bytes = Vec::with_capacity(1 + 32 + 4 + size);
        bytes.push(BLOCK);
        bytes.extend_from_slice(me.as_bytes());
        put_len(&mut bytes, entries.len());
        for (id, message) in entries {
            bytes.extend_from_slice(&tag(id));
            put_len(&mut bytes, message.len());
            bytes.extend_from_slice(message);
        }
        bytes
    }

    pub(super) fn decode(message: &[u8], me: &MemberId) -> Result<Self, Error> {
        let mut reader = Reader::new(message);
        let (mut sender, mut entry) = (None, None);
        if reader.flag()? {
            sender = Some(MemberId::from_bytes(reader.array()?));
            let count = reader.count(8 + 4, MAX_MEMBERS)?;
            if count == 0 {
                return Err(Error::Malformed);
            }
            let mine = tag(me);
            for _ in 0..count {
                let recipient: [u8; 8] = reader.array()?;
                let message = reader.bytes(MAX_ENTRY_LEN)?;
                if recipient == mine && entry.is_none() {
                    entry = Some(message.to_vec());
                }
            }
        }
        let len = message.len() - reader.remaining();
        let bytes = message.get(..len).unwrap_or_default().to_vec();
        Ok(Self { bytes, sender, entry })
    }
}

/// What one member tells another through their pair session: the number of its chain (8), and the
/// chain's distribution.
pub(super) struct Handover;

impl Handover {
    pub(super) fn encode(generation: u64, distribution: &SecretBytes) -> SecretBytes {
        let mut writer = Writer::new();
        writer.u64(generation);
        writer.put(distribution.expose());
        writer.finish()
    }

    pub(super) fn decode(
        sender: &MemberId,
        text: &[u8],
        limits: Limits,
    ) -> Result<(u64, ReceiverChain), Error> {
        let (generation, distribution) =
            text.split_first_chunk::<8>().ok_or(Error::Undecryptable)?;
        let chain = ReceiverChain::from_distribution(sender.as_bytes(), distribution, limits)?;
        Ok((u64::from_be_bytes(*generation), chain))
    }
}

/// What the Sender Key message authenticates: the context, and the bytes before it, so that a
/// message with a damaged entry for one member is refused by all.
pub(super) fn associated_data(context: &[u8], front: &[u8]) -> Vec<u8> {
    let digest: [u8; 32] =
        Sha256::new().chain_update(b"cc-signal/1 front").chain_update(front).finalize().into();
    [context, &digest].concat()
}

/// The chain that the Sender Key message says it is of.
pub(super) fn chain_id(message: &[u8]) -> Result<[u8; 8], Error> {
    sender_key::message_chain_id(message).ok_or(Error::Undecryptable)
}

/// Takes the acknowledgements off the front of the opened text. Whether `own` is among them.
pub(super) fn take_acks(buffer: &mut Buffer, own: &[u8; 8]) -> Result<bool, LayerError> {
    let [count] = buffer.take_front::<1>().ok_or(LayerError::rejected())?;
    let mut acked = false;
    for _ in 0..count {
        acked |= buffer.take_front::<8>().ok_or(LayerError::rejected())? == *own;
    }
    Ok(acked)
}

fn tag(id: &MemberId) -> [u8; 8] {
    id.as_bytes().first_chunk().copied().unwrap_or_default()
}

pub(super) fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

const BLOCK: u8 = 1;
/// An initial message around a chain: 89 bytes and the handshake.
pub(super) const MAX_ENTRY_LEN: usize = initial_message::MAX_LEN + 89 + 8 + 69;
