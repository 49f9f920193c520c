//! What travels over the WebSocket, in binary messages. `docs/relay-protocol.md` has every byte.

use cc_client::{LogId, Position, Request};

/// The version of all of these, the first byte of each.
const VERSION: u8 = 1;

/// Bytes of one message at the most.
pub const MAX_NOTICE_LEN: usize = 512;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowRequest {
    /// Follow a log, from the position of this read on, with its access.
    Follow(Request),
    /// No more of this log.
    Unfollow(LogId),
}

/// What the relay says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The log has something up to this position that its follower may read.
    Moved {
        /// Which log.
        log: LogId,
        /// The position.
        head: Position,
    },
    /// Nothing more will be said of this log until it is followed anew.
    Ended {
        /// Which log.
        log: LogId,
        /// Why.
        why: Ended,
    },
}

/// Why a log is followed no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The token is of an epoch that is over: follow with the present one.
    EpochOver,
    /// The access does not suffice.
    Denied,
    /// The log is gone.
    Gone,
    /// The relay cannot now: try again later.
    Busy,
}

/// The bytes are no message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of this version")]
pub struct NoticeError;

impl FollowRequest {
    /// The bytes that travel. They may have an access token in them.
    ///
    /// # Errors
    /// [`NoticeError`] for a request that is no read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NoticeError> {
        match self {
            Self::Follow(request) if matches!(request.call, cc_client::Call::Read(_)) => {
                let request = request.to_bytes().map_err(|_| NoticeError)?;
                Ok([&[VERSION, 1], &request[..]].concat())
            }
            Self::Follow(_) => Err(NoticeError),
            Self::Unfollow(log) => Ok([&[VERSION, 2], &log.as_bytes()[..]].concat()),
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoticeError> {
        match bytes {
            [VERSION, 1, request @ ..] if bytes.len() <= MAX_NOTICE_LEN => {
                let request = Request::from_bytes(request).map_err(|_| NoticeError)?;
                match request.call {
                    cc_client::Call::Read(_) => Ok(Self::Follow(request)),
                    _ => Err(NoticeError),
                }
            }
            [VERSION, 2, log @ ..] => {
                let log = log.try_into().map_err(|_| NoticeError)?;
                Ok(Self::Unfollow(LogId::from_bytes(log)))
            }
            _ => Err(NoticeError),
        }
    }
}

impl Notice {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Moved { log, head } => {
                [&[VERSION, 1], &log.as_bytes()[..], &head.0.to_be_bytes()].concat()
            }
            Self::Ended { log, why } => {
                let why = match why {
                    Ended::EpochOver => 1,
                    Ended::Denied => 2,
                    Ended::Gone => 3,
                    Ended::Busy => 4,
                };
                [&[VERSION, 2], &log.as_bytes()[..], &[why]].concat()
            }
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoticeError> {
        let [VERSION, kind, rest @ ..] = bytes else { return Err(NoticeError) };
        let (log, rest) = rest.split_first_chunk::<32>().ok_or(NoticeError)?;
        let log = LogId::from_bytes(*log);
        match (kind, rest) {
            (1, head) => {
                let head = head.try_into().map_err(|_| NoticeError)?;
                Ok(Self::Moved { log, head: Position(u64::from_be_bytes(head)) })
            }
            (2, [why]) => {
                let why = match why {
                    1 => Ended::EpochOver,
                    2 => Ended::Denied,
                    3 => Ended::Gone,
                    4 => Ended::Busy,
                    _ => return Err(NoticeError),
                };
                Ok(Self::Ended { log, why })
            }
            _ => Err(NoticeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_back_and_nothing_else_does() {
        let log = LogId::from_bytes([9; 32]);
        let moved = Notice::Moved { log, head: Position(7) };
        let ended = [Ended::EpochOver, Ended::Denied, Ended::Gone, Ended::Busy]
            .map(|why| Notice::Ended { log, why });
        for notice in ended.into_iter().chain([moved]) {
            let bytes = notice.to_bytes();
            assert_eq!(Notice::from_bytes(&bytes), Ok(notice));
            for len in 0..bytes.len() {
                assert_eq!(Notice::from_bytes(&bytes[..len]), Err(NoticeError));
            }
            assert_eq!(Notice::from_bytes(&[&bytes[..], &[0]].concat()), Err(NoticeError));
        }
        let unfollow = FollowRequest::Unfollow(log);
        let bytes = unfollow.to_bytes().unwrap();
        assert_eq!(FollowRequest::from_bytes(&bytes), Ok(unfollow));
        let id = cc_client::RequestId::from_bytes([3; 16]);
        let claim = Request { id, call: cc_client::Call::Claim(log) };
        let bytes = [&[VERSION, 1], &claim.to_bytes().unwrap()[..]].concat();
        assert_eq!(FollowRequest::from_bytes(&bytes), Err(NoticeError));
        assert_eq!(FollowRequest::Follow(claim).to_bytes(), Err(NoticeError));
    }
}
