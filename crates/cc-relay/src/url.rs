//! Where a relay is.

use std::{fmt, str::FromStr};

/// The address of a relay: `https://HOST[:PORT][/PATH]`, or `http:` for one on the same machine or in tests.
/// Over `http:` everybody on the way reads the access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelayUrl {
    secure: bool,
    /// Authority and path, without a slash at the end.
    rest: String,
}

/// Not the address of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a relay: write https://HOST or https://HOST:PORT")]
pub struct UrlError;

impl FromStr for RelayUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(UrlError),
        };
        let rest = rest.trim_end_matches('/');
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]/%".contains(c);
        if rest.is_empty() || rest.starts_with([':', '/']) || !rest.chars().all(allowed) {
            return Err(UrlError);
        }
        Ok(Self { secure, rest: rest.to_owned() })
    }
}

impl RelayUrl {
    /// Whether TLS protects what travels.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is this machine.
    #[cfg(feature = "client")]
    pub(crate) fn is_loopback(&self) -> bool {
        let (text, ends) = match self.rest.strip_prefix('[') {
            Some(rest) => (rest, &[']', '/'][..]),
            None => (self.rest.as_str(), &[':', '/'][..]),
        };
        let host = text.split_once(ends).map_or(text, |(host, _)| host);
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    #[cfg(feature = "client")]
    pub(crate) fn request(&self) -> String {
        format!("{self}/v1/request")
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn follow(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}/v1/follow", self.rest)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        for good in ["https://relay.example", "http://127.0.0.1:4480", "https://[::1]:1/path"] {
            assert_eq!(good.parse::<RelayUrl>().unwrap().to_string(), good);
        }
        assert_eq!("https://a/".parse::<RelayUrl>().unwrap().to_string(), "https://a");
        for bad in
            ["relay.example", "ftp://a", "https://", "https:///x", "https://a b", "https://u@h"]
        {
            assert_eq!(bad.parse::<RelayUrl>(), Err(UrlError), "{bad}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn this_machine_is_known_by_its_addresses() {
        let is_loopback = |url: &str| url.parse::<RelayUrl>().unwrap().is_loopback();
        for here in
            ["http://127.0.0.1:4480", "http://[::1]:1/x", "https://LocalHost", "http://127.9.9.9/a"]
        {
            assert!(is_loopback(here), "{here}");
        }
        for there in [
            "http://192.0.2.1",
            "https://localhost.example",
            "https://[2001:db8::1]:1",
            "http://a/127.0.0.1",
        ] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
