#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod builder;
mod cascade;
mod catalog;
mod change;
mod change_parts;
mod configure;
mod entries;
mod epoch_check;
mod error;
mod group;
mod layers;
mod mailbox;
mod manager;
mod message;
mod persistence;
mod proposal;
mod proposing;
mod records;
mod report;
mod restack;
mod stack;
mod staging;
mod state;
mod validate;

pub use builder::ManagerBuilder;
pub use catalog::Catalog;
pub use change::{Change, ChangeId, ChangeSummary, Joined, Processed};
pub use error::Error;
pub use group::MemberInfo;
pub use manager::CascadingCipherManager;
pub use message::{Message, MessageId};
pub use proposal::{Proposal, Proposed};
pub use report::{LayerReport, StackReport};
pub use validate::StackProblem;

pub use cc_core::{DecodeError, Kind, LayerError, LayerErrorKind, MemberId, Standing};
