//! What every [`Storage`] must do. An engine's own tests call [`run`] with a function that opens an empty one.
//!
//! Panics with what is wrong. [`run`] needs a tokio runtime with several threads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of its own")]
#![allow(clippy::missing_panics_doc, reason = "panics are what it is for")]

mod beginnings;
mod logs;
mod mailboxes;
mod retention;

use std::sync::Arc;

use cc_client::{AccessHash, Follows, LogId, Page, Position, PublishedPackage, Refusal, RequestId};

use crate::storage::{Hour, ReadPage, Reader, Retention, Storage, StoredAppend, StoredPublish};

const NOW: Hour = Hour(500_000);

/// All of it, each on an empty storage of its own.
pub async fn run(open: impl Fn(Retention) -> Arc<dyn Storage>) {
    let default = || open(Retention::default());
    logs::positions_ascend_and_pages_are_bounded(&*default()).await;
    logs::a_request_is_done_once(&*default()).await;
    logs::commits_follow_one_another(&*default()).await;
    logs::a_token_is_for_its_epoch(&*default()).await;
    mailboxes::a_mailbox_is_its_owners(&*default()).await;
    mailboxes::a_group_takes_no_mailboxs_address(&*default()).await;
    mailboxes::key_packages_are_handed_out_once(&*default()).await;
    beginnings::who_may_not_begin_a_log_goes_on_with_those_there_are(&*default()).await;
    logs::many_at_once_are_in_one_order(default()).await;
    retention::the_time_is_kept(&*default()).await;
    retention::the_oldest_is_forgotten(&open).await;
    retention::answers_to_claims_are_bounded(&open).await;
    retention::mailboxes_and_gone_logs_are_not_for_ever(&open).await;
    retention::who_is_at_work_has_room_where_strangers_have_none(&open).await;
}

fn id() -> RequestId {
    RequestId::random().unwrap()
}

fn log() -> LogId {
    LogId::random().unwrap()
}

fn token(number: u8) -> AccessHash {
    AccessHash([number; 32])
}

fn items(log: LogId, access: Option<AccessHash>, items: &[&[u8]]) -> StoredAppend {
    let items = items.iter().map(|item| item.to_vec()).collect();
    StoredAppend { log, access, commit: None, items, begins: true }
}

fn commit(log: LogId, access: AccessHash, after: u64, next: Option<AccessHash>) -> StoredAppend {
    let commit = Some(Follows { after: Position(after), next });
    let items = vec![b"commit".to_vec()];
    StoredAppend { log, access: Some(access), commit, items, begins: true }
}

async fn append(storage: &dyn Storage, append: StoredAppend) -> Result<u64, Refusal> {
    storage.append(id(), append, NOW).await.unwrap().map(|position| position.0)
}

fn packages(mailbox: LogId, packages: Vec<PublishedPackage>) -> StoredPublish {
    StoredPublish { mailbox, packages, begins: true }
}

async fn read(storage: &dyn Storage, log: LogId, after: u64, by: Reader) -> Result<Page, Refusal> {
    let read = storage.read(log, Position(after), by, NOW).await.unwrap();
    read.map(|ReadPage { page, .. }| page)
}

fn bytes(page: &Page) -> Vec<&[u8]> {
    page.items.iter().map(|item| &item.bytes[..]).collect()
}
