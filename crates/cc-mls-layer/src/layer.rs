//! The layer: one member of one group.

use cc_core::{LayerError, MemberId};
use openmls::prelude::{GroupId, MlsGroup};
use openmls_traits::OpenMlsProvider as _;

use crate::{
    MlsConfig, MlsCredential, MlsError, MlsIdentity, MlsMember,
    clock::Clock,
    config::check_name,
    error::internal,
    group::{EXPORTER_LABEL, Group, STACK_LABEL},
    provider::Provider,
    roster::Ids,
    storage::Storage,
    transaction::{Progress, Transaction},
    welcome::TREE_KEY_LABEL,
};

/// One member of an MLS group, as a layer of a stack.
///
/// It seals messages as RFC 9420 PrivateMessages, signed by the sender and encrypted for the members
/// of the current epoch. Upwards it contributes the epoch's exporter secret; the hint is the epoch, 8
/// bytes, most significant first. Where layers below contribute, or have members of their own, every
/// epoch also depends on them through an external pre-shared key.
///
/// [`create`](Self::create) founds a group, [`member`](Self::member) waits to be added to one.
pub struct MlsLayer {
    pub(crate) identity: MlsIdentity,
    pub(crate) config: MlsConfig,
    pub(crate) provider: Provider,
    pub(crate) state: State,
    /// The group to found, by name.
    pub(crate) founds: Option<String>,
    /// What the next change calls the group.
    pub(crate) new_name: Option<String>,
    /// What the next leaves of this member say.
    pub(crate) leaf_data: Option<Vec<u8>>,
    /// Whether new key packages may be used more than once.
    pub(crate) last_resort: bool,
    pub(crate) own_id: Option<MemberId>,
    /// What was done since the last `apply` or `revert`.
    pub(crate) transaction: Transaction,
}

/// What the layer has of a group.
pub(crate) enum State {
    Outside,
    Inside(Box<Group>),
    /// This member was removed. What was sent before may still open.
    Removed(Box<Group>),
    /// The state could not be loaded again after a revert.
    Broken,
}

impl State {
    /// As the storage has it.
    pub(crate) fn load(provider: &Provider, identity: &MlsIdentity) -> Result<Self, LayerError> {
        Ok(match Group::load(provider, identity)? {
            None => Self::Outside,
            Some(group) => Self::of(group),
        })
    }

    pub(crate) fn of(group: Group) -> Self {
        if group.removal.is_some() {
            Self::Removed(Box::new(group))
        } else {
            Self::Inside(Box::new(group))
        }
    }
}

impl MlsLayer {
    /// The founder of a new group with this name, which every member learns; at most 4096 bytes. The
    /// group comes into being when the layer takes its place in a stack.
    ///
    /// With an empty name the group has none, and members need not know this crate's private
    /// extension.
    ///
    /// # Errors
    /// [`MlsError::Name`] for a name that is too long, [`MlsError::Config`] for an X.509 identity, which
    /// needs a credential policy.
    pub fn create(name: impl Into<String>, identity: MlsIdentity) -> Result<Self, MlsError> {
        let config = MlsConfig::default().with_ciphersuite(identity.ciphersuite());
        Self::create_with(name, identity, config)
    }

    /// As [`create`](Self::create), with a configuration of the caller's.
    ///
    /// # Errors
    /// [`MlsError::Name`], [`MlsError::Ciphersuite`], and [`MlsError::Config`] for a value out of its
    /// bounds, a ciphersuite that the identity is not for, or an X.509 identity without a policy.
    pub fn create_with(
        name: impl Into<String>,
        identity: MlsIdentity,
        config: MlsConfig,
    ) -> Result<Self, MlsError> {
        let name = name.into();
        check_name(&name)?;
        Self::new(identity, config, Some(name))
    }

    /// A member who is in no group yet: hand out key packages, and join by a welcome.
    ///
    /// # Errors
    /// [`MlsError::Config`] for an X.509 identity, which needs a credential policy.
    pub fn member(identity: MlsIdentity) -> Result<Self, MlsError> {
        let config = MlsConfig::default().with_ciphersuite(identity.ciphersuite());
        Self::member_with(identity, config)
    }

    /// As [`member`](Self::member), with a configuration of the caller's.
    ///
    /// # Errors
    /// [`MlsError::Ciphersuite`], and [`MlsError::Config`] for a value out of its bounds, a
    /// ciphersuite that the identity is not for, or an X.509 identity without a policy.
    pub fn member_with(identity: MlsIdentity, config: MlsConfig) -> Result<Self, MlsError> {
        Self::new(identity, config, None)
    }

    fn new(
        identity: MlsIdentity,
        config: MlsConfig,
        founds: Option<String>,
    ) -> Result<Self, MlsError> {
        config.check()?;
        if identity.ciphersuite() != config.ciphersuite() {
            return Err(MlsError::Config("the identity is for another ciphersuite"));
        }
        if identity.is_x509() && !config.policy.is_set() {
            return Err(MlsError::Config("an X.509 identity needs a credential policy"));
        }
        let provider = Provider::new(Ids::under(&config), Storage::default());
        let layer = Self {
            identity,
            config,
            provider,
            state: State::Outside,
            founds,
            new_name: None,
            leaf_data: None,
            last_resort: false,
            own_id: None,
            transaction: Transaction::default(),
        };
        layer.remember()?;
        Ok(layer)
    }

    /// This member's name.
    #[must_use]
    pub fn own_name(&self) -> &str {
        self.identity.name()
    }

    /// This member's identity.
    #[must_use]
    pub const fn identity(&self) -> &MlsIdentity {
        &self.identity
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &MlsConfig {
        &self.config
    }

    /// The group's name; `None` without a group, empty where the group has no name. Once removed, the
    /// last name that this member knew, as the next two are.
    #[must_use]
    pub fn group_name(&self) -> Option<String> {
        Some(self.inside()?.name())
    }

    /// The group's id, 16 random bytes where this crate founded it; `None` without a group.
    #[must_use]
    pub fn group_id(&self) -> Option<&[u8]> {
        Some(self.inside()?.mls.group_id().as_slice())
    }

    /// The current epoch: the number of commits since the group was founded; `None` without a group.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        Some(self.inside()?.epoch())
    }

    /// All members with their leaf indices and signature keys, by leaf index; empty without a group,
    /// and once removed.
    #[must_use]
    pub fn mls_members(&self) -> &[MlsMember] {
        self.active().map_or(&[], |group| group.roster.members())
    }

    /// A secret that is equal for all members of the epoch exactly when they agree on all of it
    /// (RFC 9420 section 8.7): as long as the ciphersuite's hash, 32 to 64 bytes. `None` without a
    /// group, and once removed. For people to compare, there is a digest of it:
    /// [`GroupLayer::epoch_authenticator`](cc_core::GroupLayer::epoch_authenticator).
    #[must_use]
    pub fn epoch_authenticator(&self) -> Option<&[u8]> {
        Some(self.active().ok()?.mls.epoch_authenticator().as_slice())
    }

    /// A secret of the current epoch for a use of the caller's own (RFC 9420 section 8.5): `len`
    /// bytes, at most 65535. The labels `"cascading-cipher"`, `"cascading-cipher export"` and
    /// `"cascading-cipher ratchet tree"` are this layer's own.
    ///
    /// # Errors
    /// [`MlsError::NoGroup`] without a group or once removed, [`MlsError::ExportLength`],
    /// [`MlsError::ReservedLabel`].
    pub fn export_secret(
        &self,
        label: &str,
        context: &[u8],
        len: usize,
    ) -> Result<cc_core::SecretBytes, MlsError> {
        let group = self.active().map_err(|_| MlsError::NoGroup)?;
        if [EXPORTER_LABEL, STACK_LABEL, TREE_KEY_LABEL].contains(&label) {
            return Err(MlsError::ReservedLabel);
        }
        if len > usize::from(u16::MAX) {
            return Err(MlsError::ExportLength(len));
        }
        group
            .mls
            .export_secret(self.provider.crypto(), label, context, len)
            .map(cc_core::SecretBytes::new)
            .map_err(|error| MlsError::Library(error.to_string()))
    }

    /// Sets who decides which credentials are let in, as
    /// [`MlsConfig::with_credential_policy`]. In force at once, whatever is reverted.
    ///
    /// A policy is a function, which no store keeps. A layer that had one and comes back from a store
    /// takes no change of the group until it is set again: whatever would ask it is
    /// [`NotReady`](cc_core::LayerErrorKind::NotReady).
    ///
    /// # Errors
    /// [`MlsError::Storage`].
    pub fn set_credential_policy(
        &mut self,
        decide: impl Fn(&MlsCredential, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Result<(), MlsError> {
        self.config = self.config.clone().with_credential_policy(decide);
        Ok(self.remember()?)
    }

    /// Sets where the layer reads the time that no [`PartContext`](cc_core::PartContext) gives it, in
    /// seconds since 1970: the system's clock unless set. In force at once, whatever is reverted; a
    /// clock is a function, which no store keeps. It must not call into the layer.
    ///
    /// Time decides about what is made: the expiry of key packages, whether a key package may still be
    /// added, when an update is due. Nothing that is received is refused by it.
    pub fn set_clock(&mut self, seconds: impl Fn() -> u64 + Send + Sync + 'static) {
        self.provider.clock = Clock::new(seconds);
    }

    /// The group this member is in, or was removed from.
    pub(crate) fn inside(&self) -> Option<&Group> {
        match &self.state {
            State::Inside(group) | State::Removed(group) => Some(group),
            State::Outside | State::Broken => None,
        }
    }

    /// The group this member is in.
    pub(crate) fn active(&self) -> Result<&Group, LayerError> {
        match &self.state {
            State::Inside(group) => Ok(group),
            state => Err(no_group(state)),
        }
    }

    /// Everything a change of the group needs at once.
    pub(crate) fn parts(&mut self) -> Result<Parts<'_>, LayerError> {
        self.active()?;
        self.parts_to_read()
    }

    /// The same, for reading what was sent: this member may have been removed.
    pub(crate) fn parts_to_read(&mut self) -> Result<Parts<'_>, LayerError> {
        let group = match &mut self.state {
            State::Inside(group) | State::Removed(group) => group,
            state => return Err(no_group(state)),
        };
        Ok(Parts {
            group,
            provider: &self.provider,
            identity: &self.identity,
            config: &self.config,
            transaction: &mut self.transaction,
        })
    }

    /// This member was just removed from the group it is in.
    pub(crate) fn removed(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Inside(group) => State::Removed(group),
            other => other,
        };
    }

    pub(crate) fn check_whole(&self) -> Result<(), LayerError> {
        if let State::Broken = self.state { Err(no_group(&self.state)) } else { Ok(()) }
    }

    pub(crate) fn own_id(&self) -> Result<MemberId, LayerError> {
        self.own_id.ok_or_else(|| LayerError::not_ready("attach the layer to a stack first"))
    }

    pub(crate) fn found(&mut self, name: &str, id: MemberId) -> Result<(), LayerError> {
        let group_id: [u8; 16] = cc_core::random::array()?;
        let leaf = self.leaf_extensions(&id)?;
        let now = self.provider.clock.now();
        let config = self.config.create_config(name, leaf, now)?;
        let mls = MlsGroup::new_with_group_id(
            &self.provider,
            self.identity.keys(),
            &config,
            GroupId::from_slice(&group_id),
            self.identity.credential_with_key(),
        )
        .map_err(internal)?;
        let group = Group::begin(mls, &self.provider, &self.identity, now)?;
        self.state = State::Inside(Box::new(group));
        Ok(())
    }

    /// Drops a group that nobody else was ever in; `false` where there is another one.
    pub(crate) fn drop_lonely_group(&mut self) -> Result<bool, LayerError> {
        let group = match &mut self.state {
            State::Inside(group) => group,
            State::Removed(_) => return Ok(false),
            State::Outside | State::Broken => return Ok(true),
        };
        if group.epoch() > 0 || group.mls.pending_commit().is_some() {
            return Ok(false);
        }
        self.transaction.reach(Progress::Ahead);
        group.delete(&self.provider)?;
        self.state = State::Outside;
        Ok(true)
    }
}

/// A layer in a group, taken apart so that its parts can be borrowed at once.
pub(crate) struct Parts<'a> {
    pub(crate) group: &'a mut Group,
    pub(crate) provider: &'a Provider,
    pub(crate) identity: &'a MlsIdentity,
    pub(crate) config: &'a MlsConfig,
    pub(crate) transaction: &'a mut Transaction,
}

pub(crate) fn no_group(state: &State) -> LayerError {
    match state {
        State::Outside => LayerError::not_ready("found a group or join one first"),
        State::Inside(_) | State::Removed(_) => {
            LayerError::not_ready("this member was removed from the group")
        }
        State::Broken => crate::error::storage("the group could not be loaded again"),
    }
}

impl std::fmt::Debug for MlsLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MlsLayer")
            .field("own_name", &self.own_name())
            .field("epoch", &self.epoch())
            .field("members", &self.mls_members().len())
            .finish_non_exhaustive()
    }
}
