#![doc = include_str!("../README.md")]

mod access;
mod agenda;
mod attachment;
mod client;
mod command;
mod content;
mod delivery;
mod driver;
mod echo;
mod error;
mod event;
mod frame;
mod history;
mod identity;
mod ids;
mod mail;
mod memory;
mod overlay;
mod package;
mod page;
mod recipe;
mod records;
mod rejoin;
mod request;
mod seat;
mod snapshot;
mod time;
mod timeline;
mod timers;
mod view;
mod wire;

pub use access::{AccessHash, AccessToken, MailboxKey, MailboxProof, Purpose};
pub use attachment::{
    Attachment, AttachmentError, Download, DownloadStep, MAX_ATTACHMENT_LEN, SEGMENT_LEN, Upload,
    UploadStep,
};
pub use client::{AppRecord, Client};
pub use command::Command;
pub use content::{Body, Content, ContentError, MessageRef};
pub use delivery::{
    Append, Call, DeliveryService, Failure, Follows, Item, MAX_APPEND, MAX_APPEND_LEN,
    MAX_ITEM_LEN, MAX_PAGE, MAX_PAGE_LEN, Page, Publish, PublishedPackage, Read, ReadAccess,
    Refusal, Reply, Request,
};
pub use driver::{SystemTimeSource, turn};
pub use error::Fault;
pub use event::{Event, Fate, Ledger, Person, Verdict};
pub use history::{
    Forwarded, HISTORY_MEDIA_TYPE, History, HistoryEntries, read_history, write_history,
};
pub use identity::Profile;
pub use ids::{EventId, GroupId, LogId, OperationId, Position, RequestId};
pub use memory::{Faults, MemoryService};
pub use page::Input;
pub use recipe::Recipe;
pub use snapshot::{Snapshot, Views};
pub use time::Now;
pub use timeline::{Applied, Shown, Timeline};
pub use view::{GroupView, SafetyNumber};
pub use wire::{
    Answer, MAX_ANSWER_LEN, MAX_PACKAGE_LEN, MAX_PUBLISH, MAX_REQUEST_LEN, REQUEST_VERSION,
    WireError,
};
