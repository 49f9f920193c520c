//! Invite links: `cascade:` with the address of a relay, and behind a `#` whom to invite there.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cc_client::LogId;
use cc_core::MemberId;
use cc_relay::RelayUrl;

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

/// The first of the bytes behind the `#`.
const VERSION: u8 = 1;

impl FromStr for InviteLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(LinkError)?;
        let (relay, who) = rest.split_once('#').ok_or(LinkError)?;
        let relay = relay.parse().map_err(|_| LinkError)?;
        let who = URL_SAFE_NO_PAD.decode(who).map_err(|_| LinkError)?;
        let Some((&VERSION, ids)) = who.split_first() else { return Err(LinkError) };
        let (mailbox, member) = ids.split_first_chunk::<32>().ok_or(LinkError)?;
        let member = <[u8; 32]>::try_from(member).map_err(|_| LinkError)?;
        let (mailbox, member) = (LogId::from_bytes(*mailbox), MemberId::from_bytes(member));
        Ok(Self { relay, mailbox, member })
    }
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = [&[VERSION][..], self.mailbox.as_bytes(), self.member.as_bytes()].concat();
        write!(f, "{SCHEME}{}#{}", self.relay, URL_SAFE_NO_PAD.encode(who))
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
    }
}
