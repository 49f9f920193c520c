#![doc = include_str!("../README.md")]

mod access;
mod agenda;
mod arrival;
mod attachment;
mod client;
mod command;
mod contact;
mod content;
mod delivery;
mod device;
mod driver;
mod echo;
mod error;
mod event;
mod fate;
mod frame;
mod group_item;
mod held;
mod history;
mod hpke;
mod identity;
mod ids;
mod introduction;
mod join;
mod link;
mod mail;
mod memory;
mod operations;
mod overlay;
mod package;
mod padme;
mod page;
mod person;
mod person_view;
mod positions;
mod queue;
mod recipe;
mod records;
mod refresh;
mod rejoin;
mod request;
mod response;
mod safety_number;
mod seat;
mod share;
mod snapshot;
mod state;
mod status;
#[cfg(test)]
mod testing;
mod time;
mod timeline;
mod timers;
mod transfer;
#[cfg(feature = "tree-view")]
mod tree;
mod trust;
mod view;
mod wire;

pub use cc_manager::{LayerReport, StackReport};

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
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use driver::blocking::SystemTimeSource;
#[cfg(feature = "tokio")]
pub use driver::tokio::{AsyncDeliveryService, Driver, Notifier};
pub use driver::turn;
pub use error::Fault;
pub use event::{Event, Ledger, Person, Verdict};
pub use fate::Fate;
pub use history::{
    Forwarded, HISTORY_MEDIA_TYPE, History, HistoryEntries, read_history, write_history,
};
pub use identity::Profile;
pub use ids::{
    EventId, GroupId, JoinLinkId, JoinRequestId, LogId, OperationId, PersonId, Position, RequestId,
};
pub use join::{JoinAsk, JoinLapse, JoinLink, JoinLinkView, JoinRequestView, MAX_JOIN_MESSAGE_LEN};
pub use link::MAX_OFFERED_PACKAGES;
pub use memory::{Faults, MemoryService};
pub use page::Input;
pub use person::Trust;
pub use person_view::PersonView;
pub use recipe::{PairRecipe, Recipe};
pub use refresh::RefreshPolicy;
pub use safety_number::SafetyNumber;
pub use snapshot::{Snapshot, Views};
pub use time::Now;
pub use timeline::{Applied, Shown, Timeline};
pub use transfer::ExportKey;
pub use view::GroupView;
pub use wire::{
    Answer, MAX_ANSWER_LEN, MAX_PACKAGE_LEN, MAX_PUBLISH, MAX_REQUEST_LEN, REQUEST_VERSION,
    WireError,
};

#[cfg(feature = "tree-view")]
pub use cc_mls_layer::{NodeChange, TreeLeaf, TreeNode, TreeParent, TreeView};

/// The guide's examples.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/messenger.md")]
mod messenger {}
