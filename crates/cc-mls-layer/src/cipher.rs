//! The layer and its messages: what [`CipherLayer`] asks of it.

use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, GroupLayer, LayerContext, LayerDescriptor,
    LayerError, Opened, Properties, Recalled, Secret, store::ScopeWriter,
};
use openmls::prelude::{ContentType, ProcessedMessageContent, Sender, tls_codec::Serialize as _};
use openmls_traits::OpenMlsProvider as _;
use zeroize::Zeroizing;

use crate::{
    MlsCredential, MlsLayer,
    error::{internal, refusal},
    layer::{Parts, State, no_group},
    provider::ForMessage,
    roster::{Ids, descriptor},
    transaction::{Progress, Transaction},
    wire,
};

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
        self.check_whole()?;
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
            self.transaction.reach(Progress::Ahead);
            self.found(&name, id)?;
        }
        if known != Some(id) {
            self.transaction.replace_id(known);
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
        if epoch > group.last_epoch() {
            return Err(LayerError::early(Some(epoch)));
        }
        if let Some(exporter) = group.exporter().filter(|_| epoch == group.epoch()) {
            return Ok(Recalled { secret: exporter.duplicate(), epoch: Some(epoch) });
        }
        let past = group.past(epoch).map(|past| past.exporter().duplicate());
        let secret = past.ok_or_else(|| LayerError::stale(Some(epoch)))?;
        Ok(Recalled { secret, epoch: Some(epoch) })
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        self.check_stack()?;
        self.seal_with(&context.associated_data(), buffer)
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.check_stack()?;
        self.open_with(Some(&context.associated_data()), buffer)
    }
    fn apply(&mut self) {
        self.provider.storage().apply();
        self.transaction = Transaction::default();
    }

    fn revert(&mut self) {
        self.provider.storage().revert();
        let transaction = std::mem::take(&mut self.transaction);
        if let Some(id) = transaction.replaced_id() {
            self.own_id = id;
        }
        match transaction.progress() {
            Progress::Applied => {}
            Progress::Checkpointed => {
                if let State::Inside(group) = &mut self.state {
                    group.journal.checkpoint_reverted();
                }
            }
            Progress::Ahead | Progress::NewEpoch => {
                self.state = State::load(&self.provider, &self.identity).unwrap_or(State::Broken);
            }
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

impl MlsLayer {
    /// Seals `buffer`, which becomes a PrivateMessage.
    pub(crate) fn seal_with(
        &mut self,
        authenticated_data: &[u8],
        buffer: &mut Buffer,
    ) -> Result<(), LayerError> {
        let Parts { group, provider, identity, config, transaction } = self.parts()?;
        if group.mls.has_pending_proposals() {
            return Err(LayerError::not_ready("commit to the pending proposals first"));
        }
        group.mls.set_aad(authenticated_data.to_vec());
        let guarded = ForMessage::new(provider, buffer.take_random()?);
        let message = group
            .mls
            .create_message(&guarded, identity.signer(), buffer.as_slice())
            .map_err(internal)?;
        group.sent(provider, 1, 0)?;
        if group.journal.since_checkpoint() >= config.checkpoint_interval() {
            group.checkpoint(provider)?;
            transaction.reach(Progress::Checkpointed);
        }
        buffer.replace(&message.tls_serialize_detached().map_err(internal)?);
        Ok(())
    }

    /// Opens `buffer`, a PrivateMessage, if it has the `expected` authenticated data: any where `None`.
    pub(crate) fn open_with(
        &mut self,
        expected: Option<&[u8]>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let Parts { group, provider, config, transaction, .. } = self.parts_to_read()?;
        let head = wire::private_head(buffer.as_slice(), ContentType::Application)?;
        if head.group_id != group.mls.group_id().as_slice() {
            return Err(LayerError::rejected());
        }
        let epoch = head.epoch;
        if epoch > group.last_epoch() {
            return Err(LayerError::early(Some(epoch)));
        }
        // All that can be checked is checked before openmls uses the message key up; it then
        // authenticates the very same data.
        if expected.is_some_and(|expected| head.authenticated_data != expected) {
            return Err(LayerError::rejected());
        }
        if group.journal.knows(buffer.as_slice()) {
            return Err(LayerError::duplicate());
        }
        let message = wire::private_message(buffer.as_slice())?;
        let processed =
            group.mls.process_message(provider, message).map_err(|error| refusal(&error, epoch))?;
        let &Sender::Member(leaf) = processed.sender() else {
            return Err(LayerError::rejected());
        };
        let name = MlsCredential::of(processed.credential()).and_then(|known| known.name());
        let message = match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => message,
            // The sender data say so, which members alone can make.
            ProcessedMessageContent::OwnPrivateMessage => return Err(LayerError::own()),
            _ => return Err(LayerError::rejected()),
        };
        let sender = group.sender(epoch, leaf.u32()).ok_or_else(LayerError::rejected)?;
        transaction.reach(Progress::Ahead);
        group.journal.received(provider.storage(), buffer.as_slice(), epoch)?;
        if group.journal.since_checkpoint() >= config.checkpoint_interval() {
            group.checkpoint(provider)?;
        }
        buffer.replace(&Zeroizing::new(message.into_bytes()));
        Ok(Opened::by(sender).in_epoch(epoch).named(name))
    }
}

/// What the layer hands upwards in `epoch`.
pub(crate) fn contribution(epoch: u64, secret: Secret<32>) -> Contribution {
    Contribution { hint: epoch.to_be_bytes().to_vec(), secret }
}
