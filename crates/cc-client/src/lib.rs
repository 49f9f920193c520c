#![doc = include_str!("../README.md")]

mod access;
mod client;
mod command;
mod contact;
mod delivery;
mod device;
mod driver;
mod echo;
mod error;
mod event;
mod frame;
mod identity;
mod ids;
mod introduction;
mod link;
mod mail;
mod memory;
mod overlay;
mod package;
mod page;
mod person;
mod recipe;
mod records;
mod rejoin;
mod request;
mod safety_number;
mod seat;
#[cfg(test)]
mod testing;
mod time;
mod timers;
mod transfer;
mod trust;
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
pub use ids::{EventId, GroupId, LogId, OperationId, PersonId, Position, RequestId};
pub use link::MAX_OFFERED_PACKAGES;
pub use memory::{Faults, MemoryService};
pub use page::Input;
pub use person::Trust;
pub use recipe::Recipe;
pub use safety_number::SafetyNumber;
pub use time::Now;
pub use transfer::ExportKey;
pub use trust::PersonView;
pub use view::GroupView;
