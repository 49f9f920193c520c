//! The devices of one person, and the move to another one.

use std::{fs::File, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cc_aes_layer::Password;
use cc_client::{Command, EventId, Fault, OperationId, Person, SystemTimeSource};
use cc_relay::RelayUrl;

use super::Session;
use crate::{
    error::CliError,
    files::output::{expect_none, write_secret},
    talk::{error::TalkError, journal, profile::ProfileArguments, uploads},
};

/// Groups for which an offer of a new device has room; it comes into further ones by the directory.
const OFFERED_GROUPS: usize = 32;

/// Bytes of a file with an offer.
const MAX_OFFER_FILE: u64 = 16 << 20;

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

    /// Writes what an old device needs to take this one in to a file that must not exist. It ends the offer before it.
    ///
    /// # Errors
    /// [`Fault::CannotLink`] on a device that is in groups; [`CliError::Exists`], and the offer before it stands.
    pub(crate) fn offer_device(&mut self, file: &Path) -> Result<(), CliError> {
        expect_none(file)?;
        let offer = self.client.offer_device(self.clock.now(), OFFERED_GROUPS);
        write_secret(file, STANDARD.encode(offer.map_err(TalkError::from)?).as_bytes())
    }

    /// Takes in the device that wrote this file.
    ///
    /// # Errors
    /// [`Fault::DeviceOffer`] where that is none; [`CliError::Read`].
    pub(crate) fn add_device(&mut self, file: &Path) -> Result<OperationId, CliError> {
        let mut text = String::new();
        let read =
            File::open(file).and_then(|file| file.take(MAX_OFFER_FILE).read_to_string(&mut text));
        read.map_err(|error| CliError::read(&file.display().to_string(), error))?;
        let offer = STANDARD.decode(text.trim());
        let offer = offer.map_err(|_| TalkError::Client(Fault::DeviceOffer))?;
        Ok(self.submit(Command::Link(offer))?)
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
