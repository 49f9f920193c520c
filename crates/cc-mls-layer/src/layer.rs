//! The layer: one member of one group.

use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, GroupLayer, LayerContext, LayerDescriptor,
    LayerError, MemberId, Opened, Properties, Recalled, Secret, store::ScopeWriter,
};
use openmls::prelude::{
    ContentType, GroupId, MlsGroup, ProcessedMessageContent, Sender, tls_codec::Serialize as _,
};
use openmls_traits::OpenMlsProvider as _;
use zeroize::Zeroizing;

use crate::{
    MlsConfig, MlsCredential, MlsError, MlsIdentity, MlsMember,
    config::check_name,
    error::internal,
    group::Group,
    key_package,
    provider::Provider,
    roster::{Ids, descriptor},
    storage::Storage,
    wire,
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
    /// Whether new key packages may be used more than once.
    pub(crate) last_resort: bool,
    pub(crate) own_id: Option<MemberId>,
    /// The id before the layer was attached anew, until that is applied.
    pub(crate) own_id_before: Option<Option<MemberId>>,
    /// The group in memory is ahead of the storage by more than sends: a revert must load it again.
    pub(crate) dirty: bool,
    /// A commit or welcome came into force since the last `apply` or `revert`.
    pub(crate) changed: bool,
}

/// What the layer has of a group.
pub(crate) enum State {
    Outside,
    Inside(Box<Group>),
    /// The state could not be loaded again after a revert.
    Broken,
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
            last_resort: false,
            own_id: None,
            own_id_before: None,
            dirty: false,
            changed: false,
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

    /// The group's name; `None` without a group, empty where the group has no name.
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

    /// All members with their leaf indices and signature keys, by leaf index; empty without a group.
    #[must_use]
    pub fn mls_members(&self) -> &[MlsMember] {
        self.inside().map_or(&[], |group| group.roster.members())
    }

    /// A secret that is equal for all members of the epoch exactly when they agree on all of it, for
    /// people to compare (RFC 9420 section 8.7): as long as the ciphersuite's hash, 32 to 64 bytes.
    /// `None` without a group.
    #[must_use]
    pub fn epoch_authenticator(&self) -> Option<&[u8]> {
        Some(self.inside()?.mls.epoch_authenticator().as_slice())
    }

    /// A secret of the current epoch for a use of the caller's own (RFC 9420 section 8.5): `len`
    /// bytes, at most 65535. The label `"cascading-cipher"` with an empty context is taken.
    ///
    /// # Errors
    /// [`MlsError::NoGroup`] without a group or once removed, [`MlsError::ExportLength`].
    pub fn export_secret(
        &self,
        label: &str,
        context: &[u8],
        len: usize,
    ) -> Result<cc_core::SecretBytes, MlsError> {
        let group = self.inside().filter(|group| group.mls.is_active()).ok_or(MlsError::NoGroup)?;
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

    pub(crate) fn inside(&self) -> Option<&Group> {
        match &self.state {
            State::Inside(group) => Some(group),
            State::Outside | State::Broken => None,
        }
    }

    /// The group this member is in.
    pub(crate) fn active(&self) -> Result<&Group, LayerError> {
        match &self.state {
            State::Inside(group) if group.mls.is_active() => Ok(group),
            state => Err(no_group(state)),
        }
    }

    /// Everything a change of the group needs at once.
    pub(crate) fn parts(&mut self) -> Result<Parts<'_>, LayerError> {
        self.active()?;
        let State::Inside(group) = &mut self.state else {
            return Err(no_group(&State::Outside));
        };
        Ok(Parts {
            group,
            provider: &self.provider,
            identity: &self.identity,
            config: &self.config,
            dirty: &mut self.dirty,
            changed: &mut self.changed,
        })
    }

    pub(crate) fn own_id(&self) -> Result<MemberId, LayerError> {
        self.own_id.ok_or_else(|| LayerError::not_ready("attach the layer to a stack first"))
    }

    fn found(&mut self, name: &str, id: MemberId) -> Result<(), LayerError> {
        let group_id: [u8; 16] = cc_core::random::array()?;
        let leaf = key_package::leaf_extensions(&id, self.provider.ids)?;
        let config = self.config.create_config(name, leaf)?;
        let mls = MlsGroup::new_with_group_id(
            &self.provider,
            self.identity.keys(),
            &config,
            GroupId::from_slice(&group_id),
            self.identity.credential_with_key(),
        )
        .map_err(internal)?;
        let group = Group::begin(mls, &self.provider, &self.identity)?;
        self.state = State::Inside(Box::new(group));
        Ok(())
    }

    /// Drops a group that nobody else was ever in; `false` where there is another one.
    fn drop_lonely_group(&mut self) -> Result<bool, LayerError> {
        let State::Inside(group) = &mut self.state else {
            return Ok(true);
        };
        if group.epoch() > 0 || group.mls.pending_commit().is_some() {
            return Ok(false);
        }
        self.dirty = true;
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
    pub(crate) dirty: &'a mut bool,
    pub(crate) changed: &'a mut bool,
}

fn no_group(state: &State) -> LayerError {
    match state {
        State::Outside => LayerError::not_ready("found a group or join one first"),
        State::Inside(_) => LayerError::not_ready("this member was removed from the group"),
        State::Broken => crate::error::storage("the group could not be loaded again"),
    }
}

impl CipherLayer for MlsLayer {
    fn descriptor(&self) -> LayerDescriptor {
        descriptor(self.config.ciphersuite())
    }

    fn properties(&self) -> Properties {
        Properties {
            contributes: true,
            refuses_replays: true,
            authenticates_sender: true,
            ..Properties::plain("MLS (RFC 9420)")
        }
    }

    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let id = place.member.ok_or_else(|| {
            LayerError::misuse("a group layer needs a member id: attach it through a stack")
        })?;
        if matches!(self.state, State::Broken) {
            return Err(no_group(&self.state));
        }
        if let Ids::SignatureKey(suite) = self.provider.ids
            && id != Ids::by_key(suite, self.identity.signature_key())
        {
            return Err(LayerError::misuse(
                "with plain peers, MLS must be the only group layer of the stack",
            ));
        }
        let known = self.own_id;
        if known != Some(id) && !self.drop_lonely_group()? {
            return Err(LayerError::misuse(
                "the member id is part of the group: change the group layers before anyone is added",
            ));
        }
        // The name is for who founds; beside another layer that was made to found, it is empty.
        let name = self.founds.clone().or_else(|| place.founding.then(String::new));
        if let (State::Outside, Some(name)) = (&self.state, name) {
            self.dirty = true;
            self.found(&name, id)?;
        }
        if known != Some(id) {
            self.own_id_before.get_or_insert(known);
            self.own_id = Some(id);
            self.stage_record()?;
        }
        Ok(())
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        let group = self.active()?;
        let exporter = group.exporter().ok_or_else(|| no_group(&self.state))?;
        Ok(Some(contribution(group.epoch(), exporter.duplicate())))
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let epoch = u64::from_be_bytes(hint.try_into().map_err(|_| LayerError::rejected())?);
        let group = self.inside().ok_or_else(|| no_group(&self.state))?;
        if epoch > group.epoch() {
            return if group.mls.is_active() {
                Err(LayerError::early(Some(epoch)))
            } else {
                Err(no_group(&self.state))
            };
        }
        if let Some(exporter) = group.exporter().filter(|_| epoch == group.epoch()) {
            return Ok(Recalled { secret: exporter.duplicate(), epoch: Some(epoch) });
        }
        let past = group.past(epoch).and_then(|past| past.exporter());
        let secret = past.ok_or_else(LayerError::rejected)?;
        Ok(Recalled { secret, epoch: Some(epoch) })
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        let Parts { group, provider, identity, config, .. } = self.parts()?;
        if group.mls.has_pending_proposals() {
            return Err(LayerError::not_ready("commit to the pending proposals first"));
        }
        group.mls.set_aad(context.associated_data().to_vec());
        let message = group
            .mls
            .create_message(provider, identity.signer(), buffer.as_slice())
            .map_err(internal)?;
        group.sent(provider, 1, 0)?;
        if group.journal.since_checkpoint() >= config.checkpoint_interval() {
            group.checkpoint(provider)?;
        }
        buffer.replace(&message.tls_serialize_detached().map_err(internal)?);
        Ok(())
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let Parts { group, provider, config, dirty, .. } = self.parts()?;
        let message = wire::private_message(buffer.as_slice(), ContentType::Application)?;
        if message.group_id() != group.mls.group_id() {
            return Err(LayerError::rejected());
        }
        let epoch = message.epoch().as_u64();
        if epoch > group.epoch() {
            return Err(LayerError::early(Some(epoch)));
        }
        // All that can be checked is checked before openmls uses the message key up; it then
        // authenticates the very same data.
        if message.aad() != context.associated_data() || group.journal.knows(buffer.as_slice()) {
            return Err(LayerError::rejected());
        }
        let processed =
            group.mls.process_message(provider, message).map_err(|_| LayerError::rejected())?;
        let &Sender::Member(leaf) = processed.sender() else {
            return Err(LayerError::rejected());
        };
        let sender = group.sender(epoch, leaf.u32()).ok_or_else(LayerError::rejected)?;
        let ProcessedMessageContent::ApplicationMessage(message) = processed.into_content() else {
            return Err(LayerError::rejected());
        };
        *dirty = true;
        group.journal.received(provider.storage(), buffer.as_slice(), epoch)?;
        if group.journal.since_checkpoint() >= config.checkpoint_interval() {
            group.checkpoint(provider)?;
        }
        buffer.replace(&Zeroizing::new(message.into_bytes()));
        Ok(Opened::by(sender).in_epoch(epoch))
    }

    fn apply(&mut self) {
        self.provider.storage().apply();
        if let State::Inside(group) = &mut self.state {
            group.journal.apply();
        }
        self.own_id_before = None;
        self.dirty = false;
        self.changed = false;
    }

    fn revert(&mut self) {
        self.provider.storage().revert();
        if let Some(before) = self.own_id_before.take() {
            self.own_id = before;
        }
        self.changed = false;
        if std::mem::take(&mut self.dirty) {
            self.state = match Group::load(&self.provider, &self.identity) {
                Ok(Some(group)) => State::Inside(Box::new(group)),
                Ok(None) => State::Outside,
                Err(_) => State::Broken,
            };
        } else if let State::Inside(group) = &mut self.state {
            group.journal.revert();
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.provider.storage().save(to);
        Ok(())
    }

    fn group(&self) -> Option<&dyn GroupLayer> {
        Some(self)
    }

    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        Some(self)
    }
}

/// What the layer hands upwards in `epoch`.
pub(crate) fn contribution(epoch: u64, secret: Secret<32>) -> Contribution {
    Contribution { hint: epoch.to_be_bytes().to_vec(), secret }
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
