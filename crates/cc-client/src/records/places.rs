//! Where the client's records are in the store, their keys, and how they are encoded.

use std::{ops::ControlFlow, sync::LazyLock};

use cc_core::{
    SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};
use postcard::ser_flavors::Size;
use serde::{Serialize, de::DeserializeOwned};

use crate::{EventId, Fault, GroupId, LogId, RequestId};

/// The version of all records of this file.
const VERSION: u8 = 1;

/// Where the client's records are. This one, and those that every message is written to, are made once.
pub(crate) fn root() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| Scope::new("client"));
    &SCOPE
}

pub(crate) const META: &[u8] = b"meta";
pub(crate) const IDENTITY: &[u8] = b"identity";

/// Groups, by their ids.
pub(crate) fn groups() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("groups"));
    &SCOPE
}

/// The tokens of the present epochs, by the groups' ids.
pub(crate) fn access() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("access"));
    &SCOPE
}

/// What views need of the stacks of groups, by the groups' ids.
pub(crate) fn views() -> Scope {
    root().child("views")
}

/// Commands of a group that wait, in order. Messages that are on their way are in [`flights`].
pub(crate) fn queue(group: &GroupId) -> Scope {
    root().child("queue").child(group.as_bytes())
}

/// Items of a group that are to be opened again.
pub(crate) fn held(log: &LogId) -> Scope {
    root().child("held").child(log.as_bytes())
}

/// Invitations to a group that this member is still in, by their positions in the mailbox.
pub(crate) fn invitations(group: &GroupId) -> Scope {
    root().child("invitations").child(group.as_bytes())
}

/// Welcomes that wait for their logs, by their places in the mailbox.
pub(crate) fn arrivals() -> Scope {
    root().child("arrivals")
}

/// Which messages of a group were read, by sender.
pub(crate) fn seen(group: &GroupId) -> Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("seen"));
    SCOPE.child(group.as_bytes())
}

/// What is known of members' coming back to a group, by member.
pub(crate) fn returns(group: &GroupId) -> Scope {
    root().child("returns").child(group.as_bytes())
}

/// Who offered to bring this member back into a group, by the key of the device.
pub(crate) fn offers(group: &GroupId) -> Scope {
    root().child("offers").child(group.as_bytes())
}

/// What is known of groups that have no stack, by group.
pub(crate) fn restored() -> Scope {
    root().child("restored")
}

/// What is on its way to the logs of groups, by group.
pub(crate) fn flights() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("flights"));
    &SCOPE
}

/// The ids of commands that are settled, in blocks in their order.
pub(crate) fn settled() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("settled"));
    &SCOPE
}

/// Requests other than those to the logs of groups, until they are answered, by their ids.
pub(crate) fn requests() -> Scope {
    root().child("requests")
}

/// Events that are not acknowledged.
pub(crate) fn events() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| root().child("events"));
    &SCOPE
}

/// Key packages that were made and not used, by their digests.
pub(crate) fn packages() -> Scope {
    root().child("packages")
}

/// Those of them that are of last resort, by their digests: nothing in it but the key.
pub(crate) fn last_resorts() -> Scope {
    root().child("last resorts")
}

/// The application's own.
pub(crate) fn application() -> Scope {
    root().child("application")
}

/// A number as a key, in the order of numbers.
pub(crate) const fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number that is a record's key.
pub(crate) fn number(key: &[u8]) -> Result<u64, Fault> {
    let key = key.try_into().map_err(|_| StoreError::corrupt("a record has no number"))?;
    Ok(u64::from_be_bytes(key))
}

/// The log whose id is a record's key.
pub(crate) fn log_id(key: &[u8]) -> Result<LogId, Fault> {
    let key = key.try_into().map_err(|_| StoreError::corrupt("a record has no group"))?;
    Ok(LogId::from_bytes(key))
}

/// The request whose id is a record's key.
pub(crate) fn request_id(key: &[u8]) -> Result<RequestId, Fault> {
    let key = key.try_into().map_err(|_| StoreError::corrupt("a record has no request"))?;
    Ok(RequestId::from_bytes(key))
}

/// Hands each record of a scope to `take`, one at a time.
pub(crate) fn each(
    store: &dyn Store,
    scope: &Scope,
    mut take: impl FnMut(&[u8], SecretBytes) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    store.scan(scope, b"", &mut |key, record| {
        result = take(key, record);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}

pub(crate) fn event_key(event: EventId) -> [u8; 8] {
    key(event.0)
}

pub(crate) fn encode(record: &impl Serialize) -> Result<SecretBytes, Fault> {
    // In one allocation, which does not grow: so no copy of a secret is left behind.
    let len = postcard::serialize_with_flavor(record, Size::default());
    let mut bytes = vec![VERSION; 1 + len.map_err(|_| Fault::TooLong)?];
    if let Some(body) = bytes.get_mut(1..) {
        postcard::to_slice(record, body).map_err(|_| Fault::TooLong)?;
    }
    Ok(SecretBytes::new(bytes))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &SecretBytes) -> Result<T, Fault> {
    match bytes.expose().split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((record, [])) => Ok(record),
            Ok(_) | Err(_) => Err(malformed()),
        },
        Some((0, _)) | None => Err(malformed()),
        Some((version, _)) => Err(StoreError::Newer { version: u32::from(*version) }.into()),
    }
}

pub(crate) fn put(
    batch: &mut Batch,
    scope: &Scope,
    key: impl Into<Vec<u8>>,
    record: &impl Serialize,
) -> Result<(), Fault> {
    batch.put(scope, key, encode(record)?);
    Ok(())
}

pub(crate) fn get<T: DeserializeOwned>(
    store: &(impl Store + ?Sized),
    scope: &Scope,
    key: &[u8],
) -> Result<Option<T>, Fault> {
    store.get(scope, key)?.map(|record| decode(&record)).transpose()
}

fn malformed() -> Fault {
    StoreError::corrupt("a record of the client is malformed").into()
}
