//! Links: `cascade:` with the address of a relay, and behind a `#` whom to invite there, or what to join.

use std::{
    fmt, fs,
    io::{self, Read as _},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cc_client::{JoinLink, LogId};
use cc_core::MemberId;
use cc_relay::RelayUrl;

use super::error::TalkError;
use crate::error::CliError;

/// Where somebody is to be reached, and who that is: so that no relay can put somebody else in this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InviteLink {
    pub(crate) relay: RelayUrl,
    pub(crate) mailbox: LogId,
    /// The device that is to come.
    pub(crate) member: MemberId,
}

/// Not an invite link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an invite link")]
pub(crate) struct LinkError;

const SCHEME: &str = "cascade:";

/// The first of the bytes behind the `#`: of a person, and of a group.
const VERSION: u8 = 1;
const GROUP_VERSION: u8 = 2;

/// By which others ask to join a group at this relay. It is a secret of those who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLink {
    pub(crate) relay: RelayUrl,
    pub(crate) link: JoinLink,
}

/// The relay, and what is behind the version.
fn split(text: &str, version: u8) -> Result<(RelayUrl, Vec<u8>), LinkError> {
    let rest = text.trim().strip_prefix(SCHEME).ok_or(LinkError)?;
    let (relay, bytes) = rest.split_once('#').ok_or(LinkError)?;
    let relay = relay.parse().map_err(|_| LinkError)?;
    let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| LinkError)?;
    match bytes.split_first() {
        Some((first, bytes)) if *first == version => Ok((relay, bytes.to_vec())),
        _ => Err(LinkError),
    }
}

fn write(f: &mut fmt::Formatter<'_>, relay: &RelayUrl, version: u8, bytes: &[u8]) -> fmt::Result {
    let bytes = [&[version][..], bytes].concat();
    write!(f, "{SCHEME}{relay}#{}", URL_SAFE_NO_PAD.encode(bytes))
}

impl FromStr for GroupLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (relay, bytes) = split(text, GROUP_VERSION)?;
        let link = JoinLink::from_bytes(&bytes).map_err(|_| LinkError)?;
        Ok(Self { relay, link })
    }
}

impl fmt::Display for GroupLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.link.to_bytes().map_err(|_| fmt::Error)?;
        write(f, &self.relay, GROUP_VERSION, bytes.expose())
    }
}

impl FromStr for InviteLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (relay, ids) = split(text, VERSION)?;
        let (mailbox, member) = ids.split_first_chunk::<32>().ok_or(LinkError)?;
        let member = <[u8; 32]>::try_from(member).map_err(|_| LinkError)?;
        let (mailbox, member) = (LogId::from_bytes(*mailbox), MemberId::from_bytes(member));
        Ok(Self { relay, mailbox, member })
    }
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = [&self.mailbox.as_bytes()[..], self.member.as_bytes()].concat();
        write(f, &self.relay, VERSION, &who)
    }
}

/// Bytes of a file with a link.
const MAX_FILE: u64 = 4096;

/// A link, or what is in the file of this name.
///
/// # Errors
/// [`TalkError::Link`] for what is neither, [`CliError::Read`].
pub(crate) fn link_or_file<T: FromStr>(text: &str) -> Result<T, CliError> {
    if let Ok(link) = text.parse() {
        return Ok(link);
    }
    match fs::File::open(text) {
        Ok(file) => read_link(text, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TalkError::Link.into()),
        Err(error) => Err(CliError::read(text, error)),
    }
}

/// As [`link_or_file`], for a command: `-` is standard input.
pub(crate) fn link_argument<T: FromStr>(text: &str) -> Result<T, CliError> {
    match text {
        "-" => read_link("standard input", io::stdin().lock()),
        text => link_or_file(text),
    }
}

fn read_link<T: FromStr>(name: &str, input: impl io::Read) -> Result<T, CliError> {
    let mut text = String::new();
    match input.take(MAX_FILE).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(TalkError::Link.into()),
        Err(error) => Err(CliError::read(name, error)),
        Ok(_) => Ok(text.parse().map_err(|_| TalkError::Link)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_comes_back_and_nothing_else_is_one() {
        let link = InviteLink {
            relay: "https://relay.example:4480/path".parse().unwrap(),
            mailbox: LogId::from_bytes([7; 32]),
            member: MemberId::from_bytes([9; 32]),
        };
        let member = link.member;
        let text = link.to_string();
        assert!(text.starts_with("cascade:https://relay.example:4480/path#"), "{text}");
        assert_eq!(text.parse(), Ok(link.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(link));
        for len in 0..text.len() {
            assert_eq!(text[..len].parse::<InviteLink>(), Err(LinkError), "{len}");
        }
        for bad in [format!("{text}A"), text.replace("https", "ftp"), text.replace('#', "/")] {
            assert_eq!(bad.parse::<InviteLink>(), Err(LinkError), "{bad}");
        }
        assert_eq!(text_of_group().parse::<InviteLink>(), Err(LinkError));
        let person = InviteLink { relay: relay(), mailbox: LogId::from_bytes([7; 32]), member };
        assert_eq!(person.to_string().parse::<GroupLink>(), Err(LinkError));
    }

    fn relay() -> RelayUrl {
        "https://relay.example".parse().unwrap()
    }

    fn text_of_group() -> String {
        use cc_client::{Client, Now, Profile, Recipe};
        let store = cc_core::store::MemoryStore::new();
        let mut client = Client::create(store, Profile::new("Alice"), Recipe::group()).unwrap();
        let group = client.found("Friends").unwrap();
        let link = client.join_link(Now { wall: 1, mono: 0 }, group, 1).unwrap();
        GroupLink { relay: relay(), link }.to_string()
    }

    #[test]
    fn a_link_of_a_group_comes_back_and_nothing_else_is_one() {
        let text = text_of_group();
        let link: GroupLink = text.parse().unwrap();
        assert_eq!(link.to_string(), text);
        for len in 0..text.len() {
            assert_eq!(text[..len].parse::<GroupLink>(), Err(LinkError), "{len}");
        }
        // It is no longer than what a QR code of moderate size holds.
        assert!(text.len() < 200, "{}", text.len());
    }
}
