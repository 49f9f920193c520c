#![doc = include_str!("../README.md")]

mod cipher;
mod clock;
mod commit_rules;
mod config;
mod context;
mod credential;
mod crypto;
mod ed25519;
mod epoch;
mod error;
mod external_psk;
mod group;
#[cfg(test)]
mod hostile;
mod hpke_key;
mod identity;
mod journal;
mod key_package;
mod key_package_view;
mod layer;
mod leaf_data;
mod member;
mod membership;
mod message_info;
mod outstanding;
mod plain;
mod plain_group;
mod provider;
mod psk;
mod reader;
mod restore;
mod roster;
mod settings;
mod signer;
mod staging;
mod storage;
mod transaction;
mod tree_hash;
mod tree_nodes;
mod tree_shape;
#[cfg(feature = "tree-view")]
mod tree_view;
mod update;
mod validity;
#[cfg(test)]
mod vectors;
mod welcome;
mod wire;
#[cfg(test)]
mod written;

pub use config::{Ciphersuite, MlsConfig};
pub use credential::MlsCredential;
pub use error::MlsError;
pub use identity::MlsIdentity;
pub use key_package::{key_package_leaf_data, key_package_signature_key};
pub use layer::MlsLayer;
pub use member::MlsMember;
pub use message_info::{MlsContentType, MlsMessageInfo, MlsWireFormat, inspect_message};
pub use outstanding::MlsKeyPackage;
pub use plain::MlsProposed;
pub use plain_group::{MlsChange, MlsContent, MlsReceived};
pub use settings::MlsSettings;
#[cfg(feature = "tree-view")]
pub use tree_view::{NodeChange, TreeLeaf, TreeNode, TreeParent, TreeView};
pub use update::{CommitCost, UpdateAge, UpdatePolicy};
