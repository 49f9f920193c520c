#![doc = include_str!("../README.md")]

mod access;
mod agenda;
mod client;
mod command;
mod delivery;
mod driver;
mod echo;
mod error;
mod event;
mod frame;
mod identity;
mod ids;
mod mail;
mod memory;
mod overlay;
mod package;
mod page;
mod recipe;
mod records;
mod refresh;
mod rejoin;
mod request;
mod seat;
mod time;
mod timers;
mod view;

pub use access::{AccessHash, AccessToken, MailboxKey, MailboxProof, Purpose};
pub use client::{AppRecord, Client};
pub use command::Command;
pub use delivery::{
    Append, Call, DeliveryService, Failure, Follows, Item, MAX_APPEND, MAX_ITEM_LEN, MAX_PAGE,
    MAX_PAGE_LEN, Page, Publish, PublishedPackage, Read, ReadAccess, Refusal, Reply, Request,
};
pub use driver::{SystemTimeSource, turn};
pub use error::Fault;
pub use event::{Event, Fate, Ledger, Person, Verdict};
pub use identity::Profile;
pub use ids::{EventId, GroupId, LogId, OperationId, Position, RequestId};
pub use memory::{Faults, MemoryService};
pub use page::Input;
pub use recipe::Recipe;
pub use refresh::RefreshPolicy;
pub use time::Now;
pub use view::{GroupView, SafetyNumber};
