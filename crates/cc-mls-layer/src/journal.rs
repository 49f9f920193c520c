//! What was sent and received since the last checkpoint of the ratchets.
//!
//! openmls hands its whole message secrets to the storage on every send and every receive, so that
//! the cost of a message grows with the number of members who have spoken. Here they are written at
//! checkpoints only: at every change of the group, and every so many messages. (A store gets the parts
//! that changed; but to find them takes all of the secrets.) In between the group in
//! memory is the truth, and the journal holds one small record per message, enough to go on from the
//! checkpoint:
//! - For sends, how many generations were used in an epoch. They are burnt after a load, so that no
//!   message key is used twice. This record survives a revert: the key was used.
//! - For receives, a digest of the message, refused after a load, so that no message opens twice.

use std::collections::HashMap;

use cc_core::LayerError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::storage as failed,
    storage::{Kind, Storage},
};

/// Generations of this member's two ratchets (RFC 9420 section 9.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generations {
    pub(crate) application: u32,
    pub(crate) handshake: u32,
}

/// Generations used in one epoch, which is named by its authenticator, so that an epoch that was
/// reverted and entered again is the same and one with other secrets is not.
#[derive(Clone, Serialize, Deserialize)]
struct EpochGenerations {
    epoch: Vec<u8>,
    used: Generations,
}

#[derive(Serialize, Deserialize)]
struct ReceivedRecord {
    digest: Digest,
    epoch: u64,
}

type Digest = [u8; 16];

/// Epochs whose generations are remembered. Only the current one, and the few that a revert can lead
/// back to, are ever asked for.
const MAX_EPOCHS: usize = 8;

/// So many messages that were received before a load make checkpoints more frequent by one message.
/// Nothing but the end of the epoch rids the journal of them, so they must not become ever more: with
/// this many times the checkpoint interval, every message writes a checkpoint and none is added.
const CARRIED_PER_MESSAGE: usize = 16;

#[derive(Default)]
pub(crate) struct Journal {
    sent: Vec<EpochGenerations>,
    /// Where the ratchets of the group in memory stand.
    reached: Generations,
    /// Received before the last load: the group in memory still has these keys.
    carried: HashMap<Digest, u64>,
    since_checkpoint: u32,
}

impl Journal {
    /// The journal of a group that was just loaded, in the epoch with this authenticator.
    pub(crate) fn load(storage: &Storage, authenticator: &[u8]) -> Result<Self, LayerError> {
        let sent: Vec<EpochGenerations> =
            storage.get(Kind::Sent, &()).map_err(failed)?.unwrap_or_default();
        let checkpoint: Option<EpochGenerations> =
            storage.get(Kind::Checkpoint, &()).map_err(failed)?;
        let reached = checkpoint
            .filter(|checkpoint| checkpoint.epoch == authenticator)
            .map(|checkpoint| checkpoint.used)
            .unwrap_or_default();
        let carried: HashMap<Digest, u64> = storage
            .list::<ReceivedRecord>(Kind::Received, &())
            .map_err(failed)?
            .into_iter()
            .map(|record| (record.digest, record.epoch))
            .collect();
        // All of them may be since the checkpoint.
        let since_checkpoint = u32::try_from(carried.len()).unwrap_or(u32::MAX);
        Ok(Self { sent, reached, carried, since_checkpoint })
    }

    /// Generations that were used but that the group in memory would use again.
    pub(crate) fn to_burn(&self, authenticator: &[u8]) -> Generations {
        let used = self.used(authenticator);
        Generations {
            application: used.application.saturating_sub(self.reached.application),
            handshake: used.handshake.saturating_sub(self.reached.handshake),
        }
    }

    /// The group in memory moved on by generations that [`to_burn`](Self::to_burn) asked for.
    pub(crate) fn burnt(&mut self, application: u32, handshake: u32) {
        self.reached.application = self.reached.application.saturating_add(application);
        self.reached.handshake = self.reached.handshake.saturating_add(handshake);
        self.since_checkpoint = self.since_checkpoint.saturating_add(application);
    }

    /// The group in memory used generations to send; this holds whatever is reverted.
    pub(crate) fn sent(
        &mut self,
        storage: &Storage,
        authenticator: &[u8],
        application: u32,
        handshake: u32,
    ) -> Result<(), LayerError> {
        self.burnt(application, handshake);
        let known = self.sent.iter().position(|sent| sent.epoch == authenticator);
        let mut entry = match known {
            Some(at) => self.sent.remove(at),
            None => {
                EpochGenerations { epoch: authenticator.to_vec(), used: Generations::default() }
            }
        };
        entry.used.application = entry.used.application.max(self.reached.application);
        entry.used.handshake = entry.used.handshake.max(self.reached.handshake);
        self.sent.push(entry);
        if self.sent.len() > MAX_EPOCHS {
            self.sent.remove(0);
        }
        storage.put_for_good(Kind::Sent, &(), &self.sent).map_err(failed)
    }

    /// Whether this message was opened before, as far as the group in memory does not know itself.
    pub(crate) fn knows(&self, message: &[u8]) -> bool {
        !self.carried.is_empty() && self.carried.contains_key(&digest(message))
    }

    pub(crate) fn received(
        &mut self,
        storage: &Storage,
        message: &[u8],
        epoch: u64,
    ) -> Result<(), LayerError> {
        let digest = digest(message);
        let record = ReceivedRecord { digest, epoch };
        storage.put(Kind::Received, &digest, &record).map_err(failed)?;
        self.since_checkpoint = self.since_checkpoint.saturating_add(1);
        Ok(())
    }

    pub(crate) fn since_checkpoint(&self) -> u32 {
        self.since_checkpoint
    }

    /// The last checkpoint was reverted: the next message writes another.
    pub(crate) fn checkpoint_reverted(&mut self) {
        self.since_checkpoint = u32::MAX;
    }

    /// The group enters another epoch. Nothing is remembered of messages before `oldest`.
    pub(crate) fn enter_epoch(&mut self, storage: &Storage, oldest: u64) -> Result<(), LayerError> {
        self.reached = Generations::default();
        let gone: Vec<Digest> = self
            .carried
            .iter()
            .filter(|(_, epoch)| **epoch < oldest)
            .map(|(digest, _)| *digest)
            .collect();
        for digest in gone {
            self.carried.remove(&digest);
            storage.delete(Kind::Received, &digest).map_err(failed)?;
        }
        Ok(())
    }

    /// The message secrets were just written, as the group in memory has them.
    pub(crate) fn checkpoint(
        &mut self,
        storage: &Storage,
        authenticator: &[u8],
    ) -> Result<(), LayerError> {
        let at = EpochGenerations { epoch: authenticator.to_vec(), used: self.reached };
        storage.put(Kind::Checkpoint, &(), &at).map_err(failed)?;
        for record in storage.list::<ReceivedRecord>(Kind::Received, &()).map_err(failed)? {
            if !self.carried.contains_key(&record.digest) {
                storage.delete(Kind::Received, &record.digest).map_err(failed)?;
            }
        }
        self.since_checkpoint =
            u32::try_from(self.carried.len() / CARRIED_PER_MESSAGE).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Generations that were used in the epoch with this authenticator.
    pub(crate) fn used(&self, authenticator: &[u8]) -> Generations {
        self.sent
            .iter()
            .find(|sent| sent.epoch == authenticator)
            .map(|sent| sent.used)
            .unwrap_or_default()
    }
}

fn digest(message: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(message).into();
    std::array::from_fn(|at| hash[at])
}
