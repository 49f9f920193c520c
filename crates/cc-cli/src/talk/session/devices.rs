//! The devices of one person, and the move to another one.

use cc_aes_layer::Password;
use cc_client::{EventId, Person, SystemTimeSource};
use cc_relay::RelayUrl;

use super::Session;
use crate::{
    error::CliError,
    talk::{error::TalkError, journal, profile::ProfileArguments, uploads},
};

/// Groups for which an offer of a new device has room; it comes into further ones by the directory.
pub(crate) const OFFERED_GROUPS: usize = 32;

impl Session {
    /// Makes a profile of an export, and opens it. What the exported device was about to send does not go from here.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`cc_client::Fault::Export`] for what is no export under this password.
    pub(crate) fn restore(
        profile: &ProfileArguments,
        export: &[u8],
        password: &mut Password,
        relay: Option<RelayUrl>,
        without_passphrase: bool,
    ) -> Result<Self, CliError> {
        let now = SystemTimeSource::start().now();
        let (mut client, relay) =
            profile.restore(export, password, relay, without_passphrase, now)?;
        journal::moved(&mut client).map_err(TalkError::from)?;
        for upload in uploads::all(&client).map_err(TalkError::from)? {
            let ended = uploads::ended(&client, &upload.operation).map_err(TalkError::from)?;
            client.acknowledge(EventId(0), &ended).map_err(TalkError::from)?;
        }
        Self::start(client, relay)
    }

    /// What an old device needs to take this one in; for this many groups at once.
    ///
    /// # Errors
    /// [`cc_client::Fault::CannotLink`] on a device that is in groups.
    pub(crate) fn offer_device(&mut self, groups: usize) -> Result<Vec<u8>, TalkError> {
        Ok(self.client.offer_device(self.clock.now(), groups)?)
    }

    /// The devices of this person, this one among them.
    ///
    /// # Errors
    /// [`TalkError::Client`].
    pub(crate) fn own_devices(&self) -> Result<Vec<Person>, TalkError> {
        let me = self.me();
        Ok(match &me.person {
            Some(person) => self.client.person(person)?.devices,
            None => vec![me],
        })
    }
}
