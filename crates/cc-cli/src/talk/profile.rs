//! The folder that has one person's device: the sealed store, and, where that was asked for, the key to it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cc_aes_layer::Password;
use cc_client::{AppRecord, Client, EventId, Now, Profile, Recipe};
use cc_core::{
    Secret,
    store::{MemoryStore, StoreError},
};
use cc_relay::RelayUrl;
use cc_store_sqlite::{Credential, SqliteStore};
use clap::Args;

use super::error::TalkError;
use crate::{
    error::CliError,
    files::{
        output::write_secret,
        passphrase::{Source, existing_text, new_text},
    },
};

const STORE: &str = "store.sqlite";
const KEY: &str = "key";
const RELAY: &[u8] = b"relay";

/// Which profile, and how it is opened.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProfileArguments {
    /// The folder with your keys, groups and messages.
    #[arg(long, env = "CASCADE_PROFILE", value_name = "DIR", global = true)]
    pub(crate) profile: Option<PathBuf>,
    /// Take the passphrase from the first line of this file.
    #[arg(long, env = "CASCADE_PASSPHRASE_FILE", value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What a profile is made of.
#[derive(Debug, Clone)]
pub(crate) struct NewProfile {
    /// What others see.
    pub(crate) name: String,
    /// What this device is called; may be empty.
    pub(crate) device: String,
    pub(crate) relay: RelayUrl,
    /// A random key beside the store instead of a passphrase.
    pub(crate) without_passphrase: bool,
    /// The layers of groups.
    pub(crate) recipe: Recipe,
}

/// The [name](Recipe::NAMES) of the recipe of who asks for no other. `docs/stacks.md` has the figures by which it was chosen.
pub(crate) const DEFAULT_RECIPE: &str = "post-quantum";

/// The recipe of that name.
pub(crate) fn default_recipe() -> Recipe {
    Recipe::post_quantum()
}

impl ProfileArguments {
    /// The folder.
    ///
    /// # Errors
    /// [`TalkError::NoFolder`] where the system does not say where data goes.
    pub(crate) fn folder(&self) -> Result<PathBuf, TalkError> {
        if let Some(folder) = &self.profile {
            return Ok(folder.clone());
        }
        let folders =
            directories::ProjectDirs::from("", "", "cascade").ok_or(TalkError::NoFolder)?;
        Ok(folders.data_local_dir().join("profile"))
    }

    /// Whether there is a profile.
    pub(crate) fn exists(&self) -> Result<bool, TalkError> {
        Ok(self.folder()?.join(STORE).exists())
    }

    /// Makes a profile, and gives its client.
    pub(crate) fn create(&self, new: &NewProfile) -> Result<(Client, RelayUrl), CliError> {
        let store = self.new_store(new.without_passphrase)?;
        let profile = Profile::new(&new.name).with_device(&new.device);
        let mut client = Client::create(store, profile, new.recipe.clone())?;
        set_relay(&mut client, &new.relay)?;
        Ok((client, new.relay.clone()))
    }

    /// Makes a profile of an export; gives its client, and the relay that it has, unless there is another one now.
    pub(crate) fn restore(
        &self,
        export: &[u8],
        password: &mut Password,
        relay: Option<RelayUrl>,
        without_passphrase: bool,
        now: Now,
    ) -> Result<(Client, RelayUrl), CliError> {
        // What cannot be opened leaves no profile behind.
        let relay = {
            let trial = Client::restore(MemoryStore::new(), export, &mut *password, now)?;
            match relay {
                Some(relay) => relay,
                None => relay_of(&trial)?.ok_or(TalkError::NoRelay)?,
            }
        };
        let store = self.new_store(without_passphrase)?;
        let mut client = Client::restore(store, export, password, now)?;
        set_relay(&mut client, &relay)?;
        Ok((client, relay))
    }

    /// The store of a new profile.
    fn new_store(&self, without_passphrase: bool) -> Result<SqliteStore, CliError> {
        let folder = self.folder()?;
        let path = folder.join(STORE);
        if path.exists() {
            return Err(TalkError::ProfileExists(folder).into());
        }
        // Asked for before anything is made.
        let credential =
            if without_passphrase { None } else { Some(passphrase(&new_text(&self.source())?)?) };
        create_folder(&folder).map_err(|error| CliError::write(&folder, error))?;
        let credential = match credential {
            Some(credential) => credential,
            None => new_key(&folder.join(KEY))?,
        };
        Ok(SqliteStore::create(&path, credential).map_err(TalkError::from)?)
    }

    /// Opens the profile; waits so long for another process that has it open.
    pub(crate) fn open(&self, patience: Duration) -> Result<(Client, RelayUrl), CliError> {
        let folder = self.folder()?;
        let path = folder.join(STORE);
        if !path.exists() {
            return Err(TalkError::NoProfile(folder).into());
        }
        let key = folder.join(KEY);
        let passphrase_text = match key.exists() {
            true => None,
            false => Some(existing_text(&self.source(), "Passphrase")?),
        };
        let start = Instant::now();
        let store = loop {
            let credential = match &passphrase_text {
                Some(text) => passphrase(text)?,
                None => read_key(&key)?,
            };
            match SqliteStore::open(&path, credential) {
                Err(StoreError::Locked) if start.elapsed() < patience => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(StoreError::Locked) => return Err(TalkError::InUse(folder).into()),
                other => break other.map_err(TalkError::from)?,
            }
        };
        let client = match Client::open(store) {
            // It was killed before there was anything to lose.
            Err(cc_client::Fault::Store(StoreError::Missing)) => {
                return Err(TalkError::Unfinished(folder).into());
            }
            other => other?,
        };
        let relay = relay_of(&client)?.ok_or(TalkError::Unfinished(folder))?;
        Ok((client, relay))
    }

    fn source(&self) -> Source {
        match &self.passphrase_file {
            Some(path) => Source::File(path.clone()),
            None => Source::Prompt,
        }
    }
}

/// The relay of a profile.
fn relay_of(client: &Client) -> Result<Option<RelayUrl>, TalkError> {
    let Some(relay) = client.record(RELAY)? else { return Ok(None) };
    Ok(std::str::from_utf8(relay.expose()).ok().and_then(|relay| relay.parse().ok()))
}

fn set_relay(client: &mut Client, relay: &RelayUrl) -> Result<(), TalkError> {
    let record = AppRecord { key: RELAY.to_vec(), value: Some(relay.to_string().into()) };
    Ok(client.acknowledge(EventId(0), &[record])?)
}

fn passphrase(text: &str) -> Result<Credential, TalkError> {
    Credential::passphrase(text).map_err(TalkError::from)
}

fn new_key(path: &Path) -> Result<Credential, CliError> {
    let key = Secret::<32>::random().map_err(|_| TalkError::NoRandomness)?;
    write_secret(path, key.expose())?;
    Ok(Credential::key(key))
}

fn read_key(path: &Path) -> Result<Credential, CliError> {
    let bytes =
        fs::read(path).map_err(|error| CliError::read(&path.display().to_string(), error))?;
    let mut bytes = zeroize::Zeroizing::new(bytes);
    let key = <&mut [u8; 32]>::try_from(&mut bytes[..]).map_err(|_| TalkError::KeyFile)?;
    Ok(Credential::key(Secret::take(key)))
}

/// Only its owner enters it.
fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_recipe_of_its_name() {
        assert_eq!(default_recipe().name(), Some(DEFAULT_RECIPE));
        assert_eq!(Recipe::named(DEFAULT_RECIPE), Some(default_recipe()));
    }
}
