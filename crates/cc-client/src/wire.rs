//! Requests and answers as bytes, for whatever carries them: in the TLS presentation language (RFC 8446
//! section 3), lengths as in RFC 9420 section 2.1.2. `docs/relay-protocol.md` has every byte.

use cc_core::Secret;
use tls_codec::{DeserializeBytes as _, SerializeBytes as _, TlsVarInt};

use crate::{
    AccessHash, AccessToken, Append, Call, Failure, Follows, Item, LogId, MAX_APPEND,
    MAX_APPEND_LEN, MAX_ITEM_LEN, MAX_PAGE, MAX_PAGE_LEN, MailboxProof, Page, Position, Publish,
    PublishedPackage, Read, ReadAccess, Refusal, Reply, Request, RequestId,
};

/// The version of requests and answers, the first byte of each.
pub const REQUEST_VERSION: u8 = 1;
/// Bytes of an encoded request at the most.
pub const MAX_REQUEST_LEN: usize = MAX_APPEND_LEN + 4096;
/// Bytes of an encoded answer at the most.
pub const MAX_ANSWER_LEN: usize = MAX_ITEM_LEN + 8192;
/// Key packages in one [`Publish`] at the most.
pub const MAX_PUBLISH: usize = 128;
/// Bytes of one key package at the most: 1 MiB. All of one [`Publish`] have [`MAX_APPEND_LEN`] at the most.
pub const MAX_PACKAGE_LEN: usize = 1 << 20;

/// What a delivery service answers to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request that it is for.
    pub id: RequestId,
    /// What came of it.
    pub result: Result<Reply, Failure>,
}

/// Why bytes are no request or answer, or why one has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Of a later version.
    #[error("a later version of the protocol")]
    Unsupported,
    /// Of none.
    #[error("malformed")]
    Malformed,
    /// More or longer parts than are allowed.
    #[error("too many or too long parts")]
    TooLong,
}

impl Request {
    /// The bytes that travel. They have the access token in them: overwrite them after use.
    ///
    /// # Errors
    /// [`WireError::TooLong`] for what no service takes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let mut writer = Writer::new(self.id);
        match &self.call {
            Call::Append(Append { log, access, commit, items }) => {
                check_lengths(
                    items.iter().map(Vec::len),
                    MAX_APPEND,
                    MAX_ITEM_LEN,
                    MAX_APPEND_LEN,
                )?;
                writer.byte(1);
                writer.bytes(log.as_bytes());
                writer.option(access.as_ref(), |writer, token| writer.bytes(token.expose()));
                writer.option(commit.as_ref(), |writer, Follows { after, next }| {
                    writer.u64(after.0);
                    writer.option(next.as_ref(), |writer, hash| writer.bytes(&hash.0));
                });
                writer.list(items, 0, |item| item, |_, _| {})?;
            }
            Call::Read(Read { log, after, access }) => {
                writer.byte(2);
                writer.bytes(log.as_bytes());
                writer.u64(after.0);
                match access {
                    ReadAccess::Token(token) => {
                        writer.byte(1);
                        writer.bytes(token.expose());
                    }
                    ReadAccess::Owner(proof) => {
                        writer.byte(2);
                        writer.proof(proof);
                    }
                }
            }
            Call::Publish(Publish { mailbox, proof, packages }) => {
                let lengths = packages.iter().map(|package| package.bytes.len());
                check_lengths(lengths, MAX_PUBLISH, MAX_PACKAGE_LEN, MAX_APPEND_LEN)?;
                writer.byte(3);
                writer.bytes(mailbox.as_bytes());
                writer.proof(proof);
                let fields = |writer: &mut Writer, package: &PublishedPackage| {
                    writer.byte(package.last_resort.into());
                };
                writer.list(packages, 1, |package| &package.bytes, fields)?;
            }
            Call::Claim(mailbox) => {
                writer.byte(4);
                writer.bytes(mailbox.as_bytes());
            }
        }
        Ok(writer.0)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave. Every request has one encoding.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_REQUEST_LEN {
            return Err(WireError::TooLong);
        }
        let (mut reader, id) = Reader::new(bytes)?;
        let call = match reader.byte()? {
            1 => Call::Append(Append {
                log: reader.log()?,
                access: reader.option(Reader::token)?,
                commit: reader.option(|reader| {
                    let after = Position(reader.u64()?);
                    let next = reader.option(Reader::array)?.map(AccessHash);
                    Ok(Follows { after, next })
                })?,
                items: {
                    let limits = Limits { count: MAX_APPEND, one: MAX_ITEM_LEN };
                    let items = reader.list(limits, |reader, limits| {
                        reader.opaque(limits.one).map(<[u8]>::to_vec)
                    })?;
                    let lengths = items.iter().map(Vec::len);
                    check_lengths(lengths, MAX_APPEND, MAX_ITEM_LEN, MAX_APPEND_LEN)?;
                    items
                },
            }),
            2 => Call::Read(Read {
                log: reader.log()?,
                after: Position(reader.u64()?),
                access: match reader.byte()? {
                    1 => ReadAccess::Token(reader.token()?),
                    2 => ReadAccess::Owner(reader.proof()?),
                    _ => return Err(WireError::Malformed),
                },
            }),
            3 => Call::Publish(Publish {
                mailbox: reader.log()?,
                proof: reader.proof()?,
                packages: {
                    let limits = Limits { count: MAX_PUBLISH, one: MAX_PACKAGE_LEN };
                    let packages = reader.list(limits, |reader, limits| {
                        let last_resort = reader.flag()?;
                        let bytes = reader.opaque(limits.one)?.to_vec();
                        Ok(PublishedPackage { bytes, last_resort })
                    })?;
                    let lengths = packages.iter().map(|package| package.bytes.len());
                    check_lengths(lengths, MAX_PUBLISH, MAX_PACKAGE_LEN, MAX_APPEND_LEN)?;
                    packages
                },
            }),
            4 => Call::Claim(reader.log()?),
            _ => return Err(WireError::Malformed),
        };
        reader.end()?;
        Ok(Self { id, call })
    }
}

impl Answer {
    /// The bytes that travel.
    ///
    /// # Errors
    /// [`WireError::TooLong`] for what no service gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let mut writer = Writer::new(self.id);
        match &self.result {
            Ok(Reply::Appended(position)) => {
                writer.byte(1);
                writer.u64(position.0);
            }
            Ok(Reply::Page(Page { items, forgotten, head })) => {
                check_page(items)?;
                writer.byte(2);
                writer.u64(forgotten.0);
                writer.u64(head.0);
                let fields = |writer: &mut Writer, item: &Item| {
                    writer.u64(item.position.0);
                    writer.byte(item.commit.into());
                };
                writer.list(items, 9, |item| &item.bytes, fields)?;
            }
            Ok(Reply::Published { remaining }) => {
                writer.byte(3);
                writer.bytes(&remaining.to_be_bytes());
            }
            Ok(Reply::Claimed(package)) => {
                let length = package.iter().map(Vec::len);
                check_lengths(length, 1, MAX_PACKAGE_LEN, MAX_PACKAGE_LEN)?;
                writer.byte(4);
                match package {
                    None => writer.byte(0),
                    Some(package) => {
                        writer.byte(1);
                        writer.opaque(package)?;
                    }
                }
            }
            Err(Failure::Refused(refusal)) => match refusal {
                Refusal::Conflict { head } => {
                    writer.byte(128);
                    writer.u64(head.0);
                }
                Refusal::Denied => writer.byte(129),
                Refusal::Gone => writer.byte(130),
                Refusal::TooLarge => writer.byte(131),
                Refusal::Busy { retry_after } => {
                    writer.byte(132);
                    writer.u64(*retry_after);
                }
            },
            Err(Failure::Unknown) => writer.byte(255),
        }
        Ok(writer.0)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave. Every answer has one encoding.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_ANSWER_LEN {
            return Err(WireError::TooLong);
        }
        let (mut reader, id) = Reader::new(bytes)?;
        let refused = |refusal| Err(Failure::Refused(refusal));
        let result = match reader.byte()? {
            1 => Ok(Reply::Appended(Position(reader.u64()?))),
            2 => {
                let (forgotten, head) = (Position(reader.u64()?), Position(reader.u64()?));
                let limits = Limits { count: MAX_PAGE, one: MAX_ITEM_LEN };
                let items = reader.list(limits, |reader, limits| {
                    let (position, commit) = (Position(reader.u64()?), reader.flag()?);
                    Ok(Item { position, commit, bytes: reader.opaque(limits.one)?.to_vec() })
                })?;
                check_page(&items)?;
                Ok(Reply::Page(Page { items, forgotten, head }))
            }
            3 => Ok(Reply::Published { remaining: u32::from_be_bytes(reader.array()?) }),
            4 => {
                let package =
                    reader.option(|reader| Ok(reader.opaque(MAX_PACKAGE_LEN)?.to_vec()))?;
                Ok(Reply::Claimed(package))
            }
            128 => refused(Refusal::Conflict { head: Position(reader.u64()?) }),
            129 => refused(Refusal::Denied),
            130 => refused(Refusal::Gone),
            131 => refused(Refusal::TooLarge),
            132 => refused(Refusal::Busy { retry_after: reader.u64()? }),
            255 => Err(Failure::Unknown),
            _ => return Err(WireError::Malformed),
        };
        reader.end()?;
        Ok(Self { id, result })
    }
}

fn check_page(items: &[Item]) -> Result<(), WireError> {
    let first = items.first().map_or(0, |item| item.bytes.len());
    let lengths = items.iter().map(|item| item.bytes.len());
    check_lengths(lengths, MAX_PAGE, MAX_ITEM_LEN, first.max(MAX_PAGE_LEN))
}

fn check_lengths(
    lengths: impl Iterator<Item = usize>,
    count: usize,
    one: usize,
    all: usize,
) -> Result<(), WireError> {
    let (mut number, mut total) = (0_usize, 0_usize);
    for length in lengths {
        (number, total) = (number + 1, total.saturating_add(length));
        if number > count || length > one || total > all {
            return Err(WireError::TooLong);
        }
    }
    Ok(())
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(id: RequestId) -> Self {
        Self([&[REQUEST_VERSION][..], id.as_bytes()].concat())
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.byte(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn proof(&mut self, proof: &MailboxProof) {
        self.bytes(&proof.public_key);
        self.bytes(&proof.signature);
    }

    fn opaque(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.bytes(&length_prefix(bytes.len())?);
        self.bytes(bytes);
        Ok(())
    }

    /// A list of elements, each `fields_len` bytes of fields and then bytes behind their length.
    fn list<T>(
        &mut self,
        elements: &[T],
        fields_len: usize,
        bytes: impl Fn(&T) -> &Vec<u8>,
        fields: impl Fn(&mut Self, &T),
    ) -> Result<(), WireError> {
        let mut content = 0;
        for element in elements {
            let length = bytes(element).len();
            content += fields_len + length_prefix(length)?.len() + length;
        }
        self.bytes(&length_prefix(content)?);
        self.0.reserve_exact(content);
        for element in elements {
            fields(self, element);
            self.opaque(bytes(element))?;
        }
        Ok(())
    }
}

fn length_prefix(length: usize) -> Result<Vec<u8>, WireError> {
    let length = u64::try_from(length).map_err(|_| WireError::TooLong)?;
    let length = TlsVarInt::try_from(length).map_err(|_| WireError::TooLong)?;
    length.tls_serialize_bytes().map_err(|_| WireError::TooLong)
}

/// How many elements a list may have, and how long the bytes of one may be.
#[derive(Clone, Copy)]
struct Limits {
    count: usize,
    one: usize,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<(Self, RequestId), WireError> {
        let mut reader = Self(bytes);
        match reader.byte()? {
            REQUEST_VERSION => {}
            0 => return Err(WireError::Malformed),
            _ => return Err(WireError::Unsupported),
        }
        let id = RequestId::from_bytes(reader.array()?);
        Ok((reader, id))
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Malformed) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Malformed)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    fn log(&mut self) -> Result<LogId, WireError> {
        self.array().map(LogId::from_bytes)
    }

    fn token(&mut self) -> Result<AccessToken, WireError> {
        let token = Secret::copy_from(self.take(32)?).ok_or(WireError::Malformed)?;
        Ok(AccessToken::new(token))
    }

    fn proof(&mut self) -> Result<MailboxProof, WireError> {
        Ok(MailboxProof { public_key: self.array()?, signature: self.array()? })
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn length(&mut self) -> Result<usize, WireError> {
        let (length, rest) =
            TlsVarInt::tls_deserialize_bytes(self.0).map_err(|_| WireError::Malformed)?;
        self.0 = rest;
        usize::try_from(length.value()).map_err(|_| WireError::TooLong)
    }

    fn opaque(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        match self.length()? {
            length if length > max => Err(WireError::TooLong),
            length => self.take(length),
        }
    }

    /// Stops at the first element too many.
    fn list<T>(
        &mut self,
        limits: Limits,
        read: impl Fn(&mut Self, Limits) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let length = self.length()?;
        let mut content = Self(self.take(length)?);
        let mut list = Vec::new();
        while !content.0.is_empty() {
            if list.len() == limits.count {
                return Err(WireError::TooLong);
            }
            list.push(read(&mut content, limits)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests;
