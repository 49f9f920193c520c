//! Moving to another device: who this is and where it belongs, but no ratchet.

use std::collections::BTreeSet;

use cc_aes_layer::{AesKey, Password};
use cc_core::{
    SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};
use serde::{Deserialize, Serialize};

use crate::{
    Client, Fault, GroupId, Now, Position,
    contact::{self, OWN_PERSON, OwnPerson, PERSON_KEY},
    identity::Identity,
    mail::{MAIL_KEYS, MailKeys, first_message},
    overlay::{Overlay, lock},
    records::{self, GroupRecord, RestoredGroup, Standing},
    seat,
    state::new_meta,
};

/// The version of exports, their first byte.
const VERSION: u8 = 1;
const UNDER_KEY: u8 = 1;
const UNDER_PASSWORD: u8 = 2;
const LABEL: &[u8] = b"cc-client/1 export";

/// What an export is sealed under: made with `.into()` from `&AesKey` or `&mut Password`.
#[derive(Debug)]
pub enum ExportKey<'a> {
    /// A key.
    Key(&'a AesKey),
    /// A password, through Argon2id.
    Password(&'a mut Password),
}

impl<'a> From<&'a AesKey> for ExportKey<'a> {
    fn from(key: &'a AesKey) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a mut Password> for ExportKey<'a> {
    fn from(password: &'a mut Password) -> Self {
        Self::Password(password)
    }
}

/// A record: key and value.
type Copied = (Vec<u8>, Vec<u8>);

/// Everything in an export.
#[derive(Serialize, Deserialize)]
struct Exported {
    identity: Vec<u8>,
    mail_keys: MailKeys,
    person: OwnPerson,
    person_key: Option<Vec<u8>>,
    packages_wanted: u32,
    mailbox_cursor: Position,
    groups: Vec<ExportedGroup>,
    people: Vec<Copied>,
    devices: Vec<Copied>,
    application: Vec<Copied>,
}

#[derive(Serialize, Deserialize)]
struct ExportedGroup {
    id: GroupId,
    title: String,
    cursor: Position,
    joined_at: Position,
    asked: u64,
    next_message: u64,
    known: RestoredGroup,
}

impl Drop for Exported {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.identity.zeroize();
        self.person_key.zeroize();
        self.application.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl Client {
    /// All that [`restore`](Self::restore) needs, sealed: the keys of the person and of the device, the groups and
    /// who is in them, contacts and how far they are trusted, and the application's records where
    /// `with_records` says so. Nothing with which a message was or will be sealed is in it: a restored device is
    /// added to its groups anew. So an export is no copy of a member, and can be restored while the device
    /// lives, and more than once.
    ///
    /// The bytes are version (1), kind (1), and what [`AesKey::seal`] or [`Password::seal`] makes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn export<'k>(
        &mut self,
        key: impl Into<ExportKey<'k>>,
        with_records: bool,
    ) -> Result<Vec<u8>, Fault> {
        let exported = self.transact(|client| client.exported(with_records))?;
        let plain = records::encode(&exported)?;
        let seal = |kind, sealed: Vec<u8>| [&[VERSION, kind][..], &sealed].concat();
        Ok(match key.into() {
            ExportKey::Key(key) => seal(UNDER_KEY, key.seal(LABEL, plain.expose())?),
            ExportKey::Password(password) => {
                seal(UNDER_PASSWORD, password.seal(LABEL, plain.expose())?)
            }
        })
    }

    /// The same person and device in a new store. It asks to be added anew to each group, by the mailboxes of
    /// the other members, and [`Event::Repaired`](crate::Event::Repaired) tells when it is back. The device that
    /// the export is of is put out of the groups by that, which it tells by
    /// [`Event::Left`](crate::Event::Left).
    ///
    /// # Errors
    /// [`Fault::Export`] for what is no export of this version under this key; [`Fault::Store`], with
    /// [`StoreError::Exists`] where the store has a client already.
    pub fn restore<'k>(
        store: impl Store + 'static,
        export: &[u8],
        key: impl Into<ExportKey<'k>>,
        now: Now,
    ) -> Result<Self, Fault> {
        if store.get(records::root(), records::META)?.is_some() {
            return Err(StoreError::Exists.into());
        }
        let plain = match (export, key.into()) {
            ([VERSION, UNDER_KEY, sealed @ ..], ExportKey::Key(key)) => key.open(LABEL, sealed),
            ([VERSION, UNDER_PASSWORD, sealed @ ..], ExportKey::Password(password)) => {
                password.open(LABEL, sealed)
            }
            _ => return Err(Fault::Export),
        };
        let plain = SecretBytes::new(plain.map_err(|_| Fault::Export)?);
        let exported: Exported = records::decode(&plain).map_err(|_| Fault::Export)?;
        let identity = SecretBytes::new(exported.identity.clone());
        let identity = Identity::decode(&identity).map_err(|_| Fault::Export)?;
        let mut store = store;
        store.commit(&exported.batch(&identity, now)?)?;
        Self::load(Overlay::shared(store)?, identity)
    }

    fn exported(&mut self, with_records: bool) -> Result<Exported, Fault> {
        let mut groups = Vec::new();
        for id in self.groups().collect::<Vec<_>>() {
            let record = self.state.group(&id)?.clone();
            let (members, mls_group) = match record.standing {
                Standing::Removed => continue,
                Standing::Restored(_) => (Vec::new(), None),
                Standing::Member | Standing::Rejoining(_) => {
                    let stack = self.group_seat(&id)?;
                    (seat::member_ids(stack), seat::mls_group(stack))
                }
            };
            let mut known = RestoredGroup {
                members: members.iter().map(|member| *member.as_bytes()).collect(),
                mls_group,
            };
            if known.members.is_empty() {
                known = self.restored(&id)?;
            }
            let GroupRecord { title, cursor, joined_at, asked, next_message, .. } = record;
            groups.push(ExportedGroup { id, title, cursor, joined_at, asked, next_message, known });
        }
        let application =
            if with_records { self.copy_of(&records::application())? } else { Vec::new() };
        let person_key = self.state.secret(PERSON_KEY)?;
        Ok(Exported {
            identity: self.identity.encode()?.expose().to_vec(),
            mail_keys: self.state.mail_keys.clone(),
            person: self.state.own.clone(),
            person_key: person_key.map(|key| key.expose().to_vec()),
            packages_wanted: self.state.meta.packages_wanted,
            mailbox_cursor: self.state.meta.mailbox_cursor,
            groups,
            people: self.copy_of(&contact::people())?,
            devices: self.copy_of(contact::devices())?,
            application,
        })
    }

    /// All records of a scope.
    fn copy_of(&self, scope: &Scope) -> Result<Vec<Copied>, Fault> {
        let records = scope.of(&*lock(&self.store)?).list(b"")?;
        Ok(records.into_iter().map(|(key, value)| (key, value.expose().to_vec())).collect())
    }
}

impl Exported {
    /// The store of the restored client.
    fn batch(&self, identity: &Identity, now: Now) -> Result<Batch, Fault> {
        let (root, mut batch) = (records::root(), Batch::new());
        batch.require(root, records::META, None);
        let mut meta = new_meta();
        meta.packages_wanted = self.packages_wanted;
        meta.mailbox_cursor = self.mailbox_cursor;
        records::put(&mut batch, root, records::META, &meta)?;
        batch.put(root, records::IDENTITY, identity.encode()?);
        records::put(&mut batch, root, MAIL_KEYS, &self.mail_keys)?;
        // An offer to another person ends with the device that made it.
        let person = OwnPerson { linking: false, ..self.person.clone() };
        records::put(&mut batch, root, OWN_PERSON, &person)?;
        if let Some(key) = &self.person_key {
            batch.put(root, PERSON_KEY, SecretBytes::new(key.clone()));
        }
        let mut seen = BTreeSet::new();
        for group in self.groups.iter().filter(|group| seen.insert(group.id)) {
            let ExportedGroup { id, title, cursor, joined_at, asked, next_message, known } = group;
            let mut record = GroupRecord::new(title.clone(), String::new(), *cursor);
            (record.joined_at, record.asked) = (*joined_at, *asked);
            record.standing = Standing::Restored(*cursor);
            // What was sent after the export has numbers, too.
            record.next_message = first_message(now).max(next_message.saturating_add(1 << 20));
            records::put(&mut batch, records::groups(), *id.as_bytes(), &record)?;
            records::put(&mut batch, &records::restored(), *id.as_bytes(), known)?;
        }
        let copies = [
            (contact::people(), &self.people),
            (contact::devices().clone(), &self.devices),
            (records::application(), &self.application),
        ];
        for (scope, records) in copies {
            for (key, value) in records {
                batch.put(&scope, key.clone(), SecretBytes::new(value.clone()));
            }
        }
        Ok(batch)
    }
}
