//! An epoch: everything that its messages need, and that is kept for a while after it.

use alloc::sync::Arc;

use cc_core::{MemberId, Secret};

use super::{
    header::HeaderKey,
    key_schedule::{JoinerSecret, Roster},
    sender::{ReceivingChain, Sender, SendingChain},
    shared_vec::SharedVec,
};
use crate::{Error, kdf::Prf};

/// How many epochs before the present one are kept, for messages that were under way.
pub const PAST_EPOCHS: usize = 3;

#[derive(Clone)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) transcript: [u8; 32],
    pub(super) authenticator: [u8; 32],
    pub(super) header: Arc<HeaderKey>,
    /// All members in the order of their ids, this one included.
    pub(super) senders: SharedVec<Sender>,
    /// The index of this member.
    pub(super) own: u32,
}

/// An epoch that begins.
pub(super) struct Begun {
    pub(super) epoch: Epoch,
    pub(super) chain: SendingChain,
    /// For the next epoch.
    pub(super) init: Secret<32>,
}

impl Epoch {
    pub(super) fn begin(
        number: u64,
        transcript: [u8; 32],
        joiner: &JoinerSecret,
        roster: &Roster,
        me: &MemberId,
    ) -> Result<Begun, Error> {
        let secrets = joiner.epoch(&transcript)?;
        // All chains at once: the secret they come from could make their used keys again.
        let chains = Prf::new(&secrets.chains);
        let senders = SharedVec::new(roster.iter().map(|(id, keys)| Sender {
            id: *id,
            verifying: keys.sender().clone(),
            chain: (id != me).then(|| ReceivingChain::new(chains.evaluate(id.as_bytes()))),
        }));
        let own = roster.keys().position(|id| id == me).ok_or(Error::InvalidState)?;
        let epoch = Self {
            number,
            transcript,
            authenticator: secrets.authenticator,
            header: Arc::new(HeaderKey::new(secrets.header)),
            senders,
            own: u32::try_from(own).map_err(|_| Error::LimitExceeded)?,
        };
        let chain = SendingChain::new(chains.evaluate(me.as_bytes()));
        Ok(Begun { epoch, chain, init: secrets.init })
    }
}
