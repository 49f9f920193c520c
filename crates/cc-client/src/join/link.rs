//! Links by which others ask to join a group.

use core::fmt;

use cc_core::{Opaque, Secret, SecretBytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tls_codec::{
    Error as CodecError, SerializeBytes, Size, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};
use zeroize::Zeroize as _;

use super::{
    LinkRecord, RequestRecord, answered,
    hosts::{GivenAnswer, HostWord, MAX_HOSTS, SharedLink},
    links,
    request::{self, JoinAnswer},
    requests,
};
use crate::{
    Client, Fault, GroupId, JoinLinkId, JoinRequestId, LogId, Now, OperationId, Recipe,
    frame::{self, List},
    records::{self, Standing, StoredSecret},
};

/// Links of one device.
pub(super) const MAX_LINKS: usize = 64;
/// Bytes of the name of a recipe.
const MAX_RECIPE_LEN: usize = 64;

/// By what somebody asks to join a group. It is a secret between who made it and those whom it was given to: whoever
/// has it can ask, and is seen asking. It says nothing of the group.
#[derive(PartialEq, Eq)]
pub struct JoinLink {
    mailboxes: Vec<LogId>,
    key: [u8; 32],
    secret: Secret<32>,
    expires: u64,
    recipe: String,
}

/// A link as it travels.
#[derive(TlsSize, TlsDeserializeBytes)]
struct Wire {
    mailboxes: List<LogId, MAX_HOSTS>,
    key: [u8; 32],
    secret: [u8; 32],
    expires: u64,
    recipe: Opaque,
}

impl Size for JoinLink {
    fn tls_serialized_len(&self) -> usize {
        let mailboxes = List::<_, MAX_HOSTS>(self.mailboxes.clone()).tls_serialized_len();
        mailboxes + 2 * 32 + 8 + Opaque::from(self.recipe.as_bytes()).tls_serialized_len()
    }
}

// What `Wire` reads, in one allocation: those of fields of their own would leave the secret behind.
impl SerializeBytes for JoinLink {
    fn tls_serialize_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(self.tls_serialized_len());
        bytes.extend(List::<_, MAX_HOSTS>(self.mailboxes.clone()).tls_serialize_bytes()?);
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        bytes.extend_from_slice(&Opaque::from(self.recipe.as_bytes()).tls_serialize_bytes()?);
        Ok(bytes)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl JoinLink {
    /// The bytes to give to others, behind a version. Secret.
    ///
    /// # Errors
    /// [`Fault::TooLong`], which no link of this version is.
    pub fn to_bytes(&self) -> Result<SecretBytes, Fault> {
        frame::encode(self).map(SecretBytes::new)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`Fault::JoinLink`] for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let wire: Wire = frame::decode(bytes).map_err(|_| Fault::JoinLink)?;
        let recipe = String::from_utf8(wire.recipe.0.clone());
        let recipe = recipe.ok().filter(|recipe| recipe.len() <= MAX_RECIPE_LEN);
        if wire.mailboxes.0.is_empty() {
            return Err(Fault::JoinLink);
        }
        Ok(Self {
            mailboxes: wire.mailboxes.0.clone(),
            key: wire.key,
            secret: Secret::copy_from(&wire.secret).ok_or(Fault::JoinLink)?,
            expires: wire.expires,
            recipe: recipe.ok_or(Fault::JoinLink)?,
        })
    }

    /// By which both sides know the link. It tells nothing of the secret.
    #[must_use]
    pub fn id(&self) -> JoinLinkId {
        link_id(&self.key)
    }

    /// Where requests go: the mailboxes of the devices of who made the link, 4 at the most, first that of the one on
    /// which it was made.
    #[must_use]
    pub fn mailboxes(&self) -> &[LogId] {
        &self.mailboxes
    }

    /// Until when requests are read, in milliseconds since 1970, by the clock of who made the link.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// The [name](Recipe::name) of the recipe that the group has.
    #[must_use]
    pub fn recipe(&self) -> &str {
        &self.recipe
    }

    pub(super) const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(super) const fn secret(&self) -> &Secret<32> {
        &self.secret
    }
}

impl Clone for JoinLink {
    fn clone(&self) -> Self {
        let (secret, recipe) = (self.secret.duplicate(), self.recipe.clone());
        let mailboxes = self.mailboxes.clone();
        Self { mailboxes, key: self.key, secret, expires: self.expires, recipe }
    }
}

impl fmt::Debug for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinLink");
        debug.field("id", &self.id()).field("expires", &self.expires).finish_non_exhaustive()
    }
}

pub(super) fn link_id(key: &[u8; 32]) -> JoinLinkId {
    let hash = Sha256::new().chain_update(b"cc-client/1 join link").chain_update(key);
    JoinLinkId::from_bytes(hash.finalize().into())
}

/// The keys of a link, as its hosts keep them.
#[derive(
    Clone, PartialEq, Eq, Serialize, Deserialize, TlsSize, TlsSerializeBytes, TlsDeserializeBytes,
)]
pub(super) struct LinkKeys {
    /// X25519: what requests are sealed to.
    pub(super) public: [u8; 32],
    pub(super) private: StoredSecret,
    /// What else they are sealed under.
    pub(super) secret: StoredSecret,
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKeys(..)")
    }
}

/// A link of this device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinLinkView {
    /// The link itself.
    pub link: JoinLink,
    /// The group that it is for.
    pub group: GroupId,
    /// Requests that wait for an answer here.
    pub open: u32,
    /// Requests that came to this device, answered ones included.
    pub asked: u32,
}

impl Client {
    /// A new link by which others ask to join a group, for so many milliseconds. Requests come to this device and to
    /// the other ones of its person that are in the group now, 4 in all, as
    /// [`Event::JoinRequested`](crate::Event::JoinRequested), and any of them answers. A link takes 32 requests at a time
    /// and 1024 in all; revoke it with [`Command::RevokeJoinLink`](crate::Command::RevokeJoinLink), on any of them. The others are told of it by mail:
    /// one that reads a request before that does not show it, unless it comes once more. It is over
    /// when one of these devices is [revoked](crate::Command::Revoke), for that has its keys.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::NotAMember`], also of a restored device that is not back in the group,
    /// [`Fault::TooManyJoins`] for more than 64 links, [`Fault::Recipe`] for a recipe without a name.
    pub fn join_link(
        &mut self,
        now: Now,
        group: GroupId,
        valid_for: u64,
    ) -> Result<JoinLink, Fault> {
        self.transact(|client| {
            client.expect_member(&group)?;
            if !client.lets_people_in(&group) {
                return Err(Fault::NotAMember(group));
            }
            client.forget_old_links(now)?;
            if client.state.list::<LinkRecord>(&links(), MAX_LINKS)?.len() >= MAX_LINKS {
                return Err(Fault::TooManyJoins);
            }
            let keys = request::new_keys()?;
            let id = link_id(&keys.public);
            let expires = now.wall.saturating_add(valid_for);
            let (hosts, mailboxes) = client.hosts_in(&group)?;
            let shared = SharedLink {
                group,
                keys: keys.clone(),
                expires,
                hosts: List(hosts.clone()),
                mailboxes: List(mailboxes.clone()),
            };
            client.tell_hosts(&id, &hosts, &HostWord::Made(shared))?;
            let (asked, open, told) = (0, 0, false);
            let record = LinkRecord { group, keys, mailboxes, hosts, expires, asked, open, told };
            client.state.put(&links(), *id.as_bytes(), &record)?;
            client.link_of(&record)
        })
    }

    /// The links of this person that lead to this device and are not revoked, those that have expired included as long
    /// as requests wait.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn join_links(&self) -> Result<Vec<JoinLinkView>, Fault> {
        let records = self.state.list::<LinkRecord>(&links(), MAX_LINKS)?;
        let view = |(_, record): (_, LinkRecord)| {
            let link = self.link_of(&record)?;
            let LinkRecord { group, open, asked, .. } = record;
            Ok(JoinLinkView { link, group, open, asked })
        };
        records.into_iter().map(view).collect()
    }

    fn link_of(&self, record: &LinkRecord) -> Result<JoinLink, Fault> {
        let recipe = self.identity.recipe.name().map(str::to_owned);
        Ok(JoinLink {
            mailboxes: record.mailboxes.clone(),
            key: record.keys.public,
            secret: record.keys.secret.0.duplicate(),
            expires: record.expires,
            recipe: recipe
                .ok_or(Fault::Recipe("a link names its recipe, and this one has none"))?,
        })
    }

    /// Nobody asks by this link any more, and who has asked and waits is declined.
    pub(crate) fn revoke_link(&mut self, id: OperationId, link: &JoinLinkId) -> Result<(), Fault> {
        let record: Option<LinkRecord> = self.state.get(&links(), link.as_bytes())?;
        let record = record.ok_or(Fault::NoSuchJoinLink(*link))?;
        self.tell_hosts(link, &record.hosts, &HostWord::Revoked(record.expires))?;
        self.note_ended(link, record.expires)?;
        self.end_link(link)?;
        self.settle_done(id)
    }

    /// This device is not in the group any more: its links are over, and who has asked and waits is declined, unless
    /// another device of this person is there that answers.
    pub(crate) fn end_links_of(&mut self, group: &GroupId) -> Result<(), Fault> {
        for (link, record) in self.known_links()? {
            if record.group == *group {
                let declined = self.other_hosts(&record.hosts)?.is_empty();
                self.end_requests_by(&link, declined)?;
                self.forget_link(&link)?;
            }
        }
        Ok(())
    }

    /// The link is over, and who has asked and waits is declined.
    pub(super) fn end_link(&mut self, link: &JoinLinkId) -> Result<(), Fault> {
        self.end_requests_by(link, true)?;
        self.forget_link(link)
    }

    fn end_requests_by(&mut self, link: &JoinLinkId, declined: bool) -> Result<(), Fault> {
        for (request, record) in self.open_requests()? {
            if record.link == *link {
                if declined {
                    let (key, address) = (&record.answer_key, &record.address);
                    self.answer_asker(&request, key, address, JoinAnswer::Declined)?;
                }
                self.state.delete(&requests(), *request.as_bytes())?;
            }
        }
        Ok(())
    }

    /// The link and who was answered under it. Requests that wait stay.
    fn forget_link(&mut self, link: &JoinLinkId) -> Result<(), Fault> {
        for (request, _) in self.state.list::<GivenAnswer>(&answered(link), usize::MAX)? {
            self.state.delete(&answered(link), request)?;
        }
        self.state.delete(&links(), *link.as_bytes())
    }

    /// Forgets links that have expired, and by which nobody waits.
    pub(super) fn forget_old_links(&mut self, now: Now) -> Result<(), Fault> {
        self.forget_ended(now)?;
        for (link, record) in self.known_links()? {
            if record.expires <= now.wall && record.open == 0 {
                self.forget_link(&link)?;
            }
        }
        Ok(())
    }

    /// All links of this device.
    pub(super) fn known_links(&self) -> Result<Vec<(JoinLinkId, LinkRecord)>, Fault> {
        let records = self.state.list::<LinkRecord>(&links(), MAX_LINKS)?;
        let with_id = |(key, record): (Vec<u8>, _)| {
            Ok((JoinLinkId::from_bytes(*records::log_id(&key)?.as_bytes()), record))
        };
        records.into_iter().map(with_id).collect()
    }

    /// Whether this device has a stack in the group, by which it looks at key packages.
    pub(super) fn lets_people_in(&self, group: &GroupId) -> bool {
        let standing = self.state.groups.get(group).map(|group| group.standing);
        matches!(standing, Some(Standing::Member | Standing::Rejoining(_)))
    }

    /// All requests that wait for an answer.
    pub(super) fn open_requests(&self) -> Result<Vec<(JoinRequestId, RequestRecord)>, Fault> {
        let records = self.state.list::<RequestRecord>(&requests(), usize::MAX)?;
        let with_id = |(key, record): (Vec<u8>, _)| {
            Ok((JoinRequestId::from_bytes(*records::log_id(&key)?.as_bytes()), record))
        };
        records.into_iter().map(with_id).collect()
    }
}

/// Whether a client of this recipe can join by the link.
pub(super) fn is_for(link: &JoinLink, recipe: &Recipe) -> bool {
    recipe.name() == Some(link.recipe())
}
