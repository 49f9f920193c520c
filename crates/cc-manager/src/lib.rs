#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod agreement;
mod builder;
mod cascade;
mod catalog;
mod change;
mod change_parts;
mod composition;
mod configure;
mod entries;
mod error;
mod exporter;
mod front;
mod group;
mod history;
mod key_packages;
mod layers;
mod log;
mod mailbox;
mod manager;
mod message;
mod outbox;
mod pair;
mod persistence;
mod place;
mod proposal;
mod proposing;
mod receive;
mod records;
mod report;
mod restack;
mod stack;
mod staging;
mod state;
mod validate;
mod welcome;

pub use builder::ManagerBuilder;
pub use catalog::Catalog;
pub use change::{Change, ChangeId, ChangeSummary, Confirmed, Joined};
pub use error::Error;
pub use group::MemberInfo;
pub use key_packages::KeyPackageView;
pub use manager::CascadingCipherManager;
pub use message::{Message, MessageId};
pub use outbox::{OutboxEntry, Recipients};
pub use pair::{AcceptedPair, FirstView, IncomingFirst, PairAccount, PairAccountBuilder};
pub use proposal::{Proposal, Proposed};
pub use receive::{Incoming, MAX_EPOCHS_AHEAD};
pub use report::{LayerReport, StackReport};
pub use validate::StackProblem;
pub use welcome::IncomingWelcome;

pub use cc_core::{
    DecodeError, Kind, LayerError, LayerErrorKind, MemberId, PairId, Standing, error_chain,
};
