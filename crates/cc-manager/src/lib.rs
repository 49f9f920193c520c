#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod builder;
mod change;
mod error;
mod group;
mod manager;
mod message;
mod report;
mod stack;
mod validate;

pub use builder::ManagerBuilder;
pub use change::{Change, ChangeId, ChangeSummary, Joined, Processed};
pub use error::Error;
pub use group::MemberInfo;
pub use manager::CascadingCipherManager;
pub use message::Message;
pub use report::{LayerReport, StackReport};
pub use validate::StackProblem;

pub use cc_core::{DecodeError, Kind, LayerError, LayerErrorKind, MemberId, Standing};
