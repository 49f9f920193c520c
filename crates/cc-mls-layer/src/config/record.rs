//! The configuration as a store has it.

use serde::{Deserialize, Serialize};

use super::{Ciphersuite, MlsConfig};
use crate::{credential::Policy, error::MlsError};

/// An [`MlsConfig`] in the layer's record. Its fields are the format.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredConfig {
    pub(crate) ciphersuite: u16,
    padding: usize,
    max_past_epochs: usize,
    out_of_order_tolerance: u32,
    max_forward_distance: u32,
    key_package_lifetime: u64,
    min_remaining_lifetime: u64,
    max_lifetime: u64,
    checkpoint_interval: u32,
    plain_peers: bool,
    plain_group: bool,
    tree_in_welcome: bool,
    /// Whether there was one.
    policy: bool,
    extension_types: Vec<u16>,
    required_extensions: Vec<u16>,
    requires_x509: bool,
}

impl MlsConfig {
    /// The configuration as a stored layer has it.
    pub(crate) fn to_stored(&self) -> StoredConfig {
        let Self {
            ciphersuite,
            padding,
            max_past_epochs,
            out_of_order_tolerance,
            max_forward_distance,
            key_package_lifetime,
            min_remaining_lifetime,
            max_lifetime,
            checkpoint_interval,
            plain_peers,
            plain_group,
            tree_in_welcome,
            ref policy,
            ref extension_types,
            ref required_extensions,
            requires_x509,
        } = *self;
        StoredConfig {
            ciphersuite: ciphersuite as u16,
            padding,
            max_past_epochs,
            out_of_order_tolerance,
            max_forward_distance,
            key_package_lifetime,
            min_remaining_lifetime,
            max_lifetime,
            checkpoint_interval,
            plain_peers,
            plain_group,
            tree_in_welcome,
            policy: policy.is_set(),
            extension_types: extension_types.clone(),
            required_extensions: required_extensions.clone(),
            requires_x509,
        }
    }

    /// The configuration of a stored layer. A policy has to be set again.
    ///
    /// # Errors
    /// [`MlsError::Storage`] for a ciphersuite that does not exist, and as [`check`](Self::check).
    pub(crate) fn restore(stored: StoredConfig) -> Result<Self, MlsError> {
        let ciphersuite = Ciphersuite::try_from(stored.ciphersuite).map_err(|_| {
            MlsError::Storage(format!("ciphersuite {:#06x} is unknown here", stored.ciphersuite))
        })?;
        let config = Self {
            ciphersuite,
            padding: stored.padding,
            max_past_epochs: stored.max_past_epochs,
            out_of_order_tolerance: stored.out_of_order_tolerance,
            max_forward_distance: stored.max_forward_distance,
            key_package_lifetime: stored.key_package_lifetime,
            min_remaining_lifetime: stored.min_remaining_lifetime,
            max_lifetime: stored.max_lifetime,
            checkpoint_interval: stored.checkpoint_interval,
            plain_peers: stored.plain_peers,
            plain_group: stored.plain_group,
            tree_in_welcome: stored.tree_in_welcome,
            policy: if stored.policy { Policy::Lost } else { Policy::default() },
            extension_types: stored.extension_types,
            required_extensions: stored.required_extensions,
            requires_x509: stored.requires_x509,
        };
        config.check()?;
        Ok(config)
    }
}
