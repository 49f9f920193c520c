//! The group of one member: openmls's, and what this crate keeps beside it.

use std::collections::VecDeque;

use cc_core::{LayerError, MemberId, Secret};
use openmls::prelude::{GroupId, MlsGroup};
use openmls_traits::OpenMlsProvider as _;

use crate::{
    config::{MlsConfig, NAME_EXTENSION},
    epoch::{Ending, PastEpoch},
    error::{internal, storage as failed},
    identity::MlsIdentity,
    journal::Journal,
    provider::Provider,
    roster::Roster,
    storage::Kind,
    update::Renewed,
};

/// The exporter's label for what this layer contributes (RFC 9420 section 8.5); the context is empty.
pub(crate) const EXPORTER_LABEL: &str = "cascading-cipher";
/// The exporter's label for the secrets that the stack exports.
pub(crate) const STACK_LABEL: &str = "cascading-cipher export";

pub(crate) struct Group {
    pub(crate) mls: MlsGroup,
    pub(crate) roster: Roster,
    pub(crate) own_commit: Option<[u8; 32]>,
    pub(crate) journal: Journal,
    pub(crate) renewed: Renewed,
    /// The commit that removed this member. openmls was then not told of it, so that messages that were
    /// sent before still open; where no past epochs are kept, it was.
    pub(crate) removal: Option<Ending>,
    /// The exporter secret of the current epoch; `None` once removed with no past epochs kept.
    exporter: Option<Secret<32>>,
    /// Oldest first.
    past: VecDeque<PastEpoch>,
}

impl Group {
    /// The group just founded or joined; all its records are staged.
    pub(crate) fn begin(
        mls: MlsGroup,
        provider: &Provider,
        identity: &MlsIdentity,
        now: u64,
    ) -> Result<Self, LayerError> {
        let storage = provider.storage();
        storage.put(Kind::Group, &(), mls.group_id()).map_err(failed)?;
        for kind in [Kind::PastEpoch, Kind::OwnCommit, Kind::Received] {
            storage.delete_all(kind, &()).map_err(failed)?;
        }
        // There is always a record of it, so that nobody who was removed is a member for want of one.
        storage.put(Kind::Removal, &(), &None::<Ending>).map_err(failed)?;
        let renewed = Renewed::in_epoch(mls.epoch().as_u64(), now);
        storage.put(Kind::Renewed, &(), &renewed).map_err(failed)?;
        let mut group = Self::assemble(mls, provider)?;
        group.burn(provider, identity)?;
        group.checkpoint(provider)?;
        Ok(group)
    }

    /// The group as the storage has it, ready to go on; `None` before there is one.
    pub(crate) fn load(
        provider: &Provider,
        identity: &MlsIdentity,
    ) -> Result<Option<Self>, LayerError> {
        let Some(mut group) = Self::read(provider)? else {
            return Ok(None);
        };
        group.burn(provider, identity)?;
        Ok(Some(group))
    }

    /// The group as the storage has it, which must not send before it was [burnt](Self::burn).
    pub(crate) fn read(provider: &Provider) -> Result<Option<Self>, LayerError> {
        let storage = provider.storage();
        let Some(id) = storage.get::<GroupId>(Kind::Group, &()).map_err(failed)? else {
            return Ok(None);
        };
        let mls = MlsGroup::load(storage, &id)
            .map_err(failed)?
            .ok_or_else(|| failed("a part of the group's state is missing"))?;
        Self::assemble(mls, provider).map(Some)
    }

    fn assemble(mls: MlsGroup, provider: &Provider) -> Result<Self, LayerError> {
        let storage = provider.storage();
        let journal = Journal::load(storage, mls.epoch_authenticator().as_slice())?;
        let roster = Roster::of(&mls, provider.ids).ok_or_else(LayerError::rejected)?;
        let exporter = if mls.is_active() { Some(export(&mls, provider)?) } else { None };
        Ok(Self {
            roster,
            journal,
            renewed: storage
                .get(Kind::Renewed, &())
                .map_err(failed)?
                .ok_or_else(|| failed("a part of the group's state is missing"))?,
            removal: storage
                .get(Kind::Removal, &())
                .map_err(failed)?
                .ok_or_else(|| failed("a part of the group's state is missing"))?,
            exporter,
            own_commit: storage.get(Kind::OwnCommit, &()).map_err(failed)?,
            past: storage.list(Kind::PastEpoch, &()).map_err(failed)?.into(),
            mls,
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.mls.epoch().as_u64()
    }

    /// The last epoch that this member took part in. What is of later ones is early.
    pub(crate) fn last_epoch(&self) -> u64 {
        // openmls, where it is told of a removal, goes on to the epoch without this member.
        self.epoch().saturating_sub(u64::from(!self.mls.is_active()))
    }

    /// The name in the group context; empty where there is none.
    pub(crate) fn name(&self) -> String {
        self.mls
            .extensions()
            .unknown(NAME_EXTENSION)
            .map(|name| String::from_utf8_lossy(&name.0).into_owned())
            .unwrap_or_default()
    }

    pub(crate) fn exporter(&self) -> Option<&Secret<32>> {
        self.exporter.as_ref()
    }

    /// A secret of the present epoch for the stack (RFC 9420 section 8.5); the label is the context.
    pub(crate) fn export_upwards(
        &self,
        provider: &Provider,
        label: &[u8],
    ) -> Result<Secret<32>, LayerError> {
        let exported = self.mls.export_secret(provider.crypto(), STACK_LABEL, label, 32);
        secret(exported.map_err(internal)?)
    }

    /// The same of the epoch that the staged change leads to.
    pub(crate) fn export_next_upwards(
        &self,
        provider: &Provider,
        label: &[u8],
    ) -> Result<Option<Secret<32>>, LayerError> {
        let Some(pending) = self.mls.pending_commit() else { return Ok(None) };
        let exported = pending.export_secret(provider.crypto(), STACK_LABEL, label, 32);
        secret(exported.map_err(internal)?).map(Some)
    }

    pub(crate) fn past(&self, epoch: u64) -> Option<&PastEpoch> {
        self.past.iter().find(|past| past.epoch == epoch)
    }

    /// Who sat at `leaf` in `epoch`.
    pub(crate) fn sender(&self, epoch: u64, leaf: u32) -> Option<MemberId> {
        if epoch == self.epoch() { self.roster.id(leaf) } else { self.past(epoch)?.id(leaf) }
    }

    pub(crate) fn own_id(&self) -> Option<MemberId> {
        self.roster.id(self.mls.own_leaf_index().u32())
    }

    /// Messages that this member sent in the current epoch.
    pub(crate) fn sent_in_epoch(&self) -> u32 {
        self.journal.used(self.mls.epoch_authenticator().as_slice()).application
    }

    /// Deletes what openmls keeps of the group.
    pub(crate) fn delete(&mut self, provider: &Provider) -> Result<(), LayerError> {
        let storage = provider.storage();
        // openmls deletes those of the current epoch only. Who was removed still has those of the
        // epoch before.
        storage.delete_all(Kind::EpochKeyPairs, self.mls.group_id()).map_err(failed)?;
        self.mls.delete(storage).map_err(failed)
    }

    /// `change`, which is the commit `ended_by`, moves the group to its next epoch: the records follow.
    ///
    /// # Errors
    /// What `change` gives, and `Rejected` where the new epoch's leaves have no unique ids.
    pub(crate) fn advance(
        &mut self,
        provider: &Provider,
        identity: &MlsIdentity,
        config: &MlsConfig,
        ended_by: Ending,
        now: u64,
        change: impl FnOnce(&mut MlsGroup) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let storage = provider.storage();
        let key = |mls: &MlsGroup| mls.own_leaf_node().map(|leaf| leaf.encryption_key().clone());
        let (sent, key_before) = (self.sent_in_epoch(), key(&self.mls));
        let over = self
            .exporter
            .take()
            .map(|exporter| PastEpoch::new(self.epoch(), ended_by, &exporter, &self.roster));
        change(&mut self.mls)?;

        if let Some(over) = over.filter(|_| config.max_past_epochs() > 0) {
            storage.put(Kind::PastEpoch, &over.epoch.to_be_bytes(), &over).map_err(failed)?;
            self.past.push_back(over);
        }
        while self.past.len() > config.max_past_epochs() {
            if let Some(gone) = self.past.pop_front() {
                storage.delete(Kind::PastEpoch, &gone.epoch.to_be_bytes()).map_err(failed)?;
            }
        }
        self.roster.follow(&self.mls, provider.ids).ok_or_else(LayerError::rejected)?;
        debug_assert!(
            Roster::of(&self.mls, provider.ids).as_ref() == Some(&self.roster),
            "a roster that follows is the one that is read anew"
        );
        if self.mls.is_active() {
            self.exporter = Some(export(&self.mls, provider)?);
        }
        self.renewed = if key(&self.mls) == key_before {
            self.renewed.passed(sent, now)
        } else {
            Renewed::in_epoch(self.epoch(), now)
        };
        storage.put(Kind::Renewed, &(), &self.renewed).map_err(failed)?;
        self.own_commit = None;
        storage.delete(Kind::OwnCommit, &()).map_err(failed)?;
        let oldest = self.past.front().map_or(self.epoch(), |past| past.epoch);
        self.journal.enter_epoch(storage, oldest)?;
        self.burn(provider, identity)?;
        self.checkpoint(provider)
    }

    /// This member was removed, and openmls is not told of it: it would refuse to read anything. What the
    /// member had staged is forgotten.
    pub(crate) fn leave(&mut self, provider: &Provider) -> Result<(), LayerError> {
        self.discard_change(provider)?;
        self.mls.clear_pending_proposals(provider.storage()).map_err(failed)?;
        self.checkpoint(provider)
    }

    /// The commit `removal` removed this member, for good.
    pub(crate) fn record_removal(
        &mut self,
        provider: &Provider,
        removal: Ending,
    ) -> Result<(), LayerError> {
        self.removal = Some(removal);
        provider.storage().put(Kind::Removal, &(), &self.removal).map_err(failed)
    }

    /// The staged change, if there is one, is forgotten.
    pub(crate) fn discard_change(&mut self, provider: &Provider) -> Result<(), LayerError> {
        self.mls.clear_pending_commit(provider.storage()).map_err(failed)?;
        provider.storage().delete(Kind::OwnCommit, &()).map_err(failed)?;
        self.own_commit = None;
        Ok(())
    }

    /// What to answer to a commit with this digest to `epoch`: nothing where it is the current one.
    ///
    /// # Errors
    /// `Early`, `Own`, `Duplicate` or `Stale`.
    pub(crate) fn check_commit(&self, commit: &[u8; 32], epoch: u64) -> Result<(), LayerError> {
        let last = self.last_epoch();
        if epoch > last {
            return Err(LayerError::early(Some(epoch)));
        }
        let past = if epoch < last { self.past(epoch) } else { None };
        match past.map(|past| &past.ended_by).or(self.removal.as_ref()) {
            Some(ending) => Err(ending.answer(commit, epoch)),
            None if epoch < last => Err(LayerError::stale(Some(epoch))),
            None if self.own_commit == Some(*commit) => Err(LayerError::own()),
            None => Ok(()),
        }
    }

    /// Uses up the application generations that a reverted or lost message had. Those of handshakes
    /// wait for [`burn_handshakes`](Self::burn_handshakes).
    pub(crate) fn burn(
        &mut self,
        provider: &Provider,
        identity: &MlsIdentity,
    ) -> Result<(), LayerError> {
        if !self.mls.is_active() || self.removal.is_some() {
            return Ok(());
        }
        let count = self.journal.to_burn(self.mls.epoch_authenticator().as_slice()).application;
        self.without_proposals(provider, count, |mls| {
            mls.create_message(provider, identity.signer(), b"").map(|_| ()).map_err(internal)
        })?;
        self.journal.burnt(count, 0);
        Ok(())
    }

    /// Uses up the handshake generations of commits and proposals that were reverted. To be called
    /// without a pending commit, before the next handshake message.
    pub(crate) fn burn_handshakes(
        &mut self,
        provider: &Provider,
        identity: &MlsIdentity,
    ) -> Result<(), LayerError> {
        let count = self.journal.to_burn(self.mls.epoch_authenticator().as_slice()).handshake;
        self.without_proposals(provider, count, |mls| {
            mls.leave_group(provider, identity.signer()).map_err(internal)?;
            mls.clear_pending_proposals(provider.storage()).map_err(failed)
        })?;
        self.journal.burnt(0, count);
        Ok(())
    }

    /// `work`, so many times, while no proposal is pending: openmls sends nothing beside one.
    fn without_proposals(
        &mut self,
        provider: &Provider,
        count: u32,
        work: impl Fn(&mut MlsGroup) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        if count == 0 {
            return Ok(());
        }
        let pending: Vec<_> = self.mls.pending_proposals().cloned().collect();
        self.mls.clear_pending_proposals(provider.storage()).map_err(failed)?;
        (0..count).try_for_each(|_| work(&mut self.mls))?;
        pending.into_iter().try_for_each(|proposal| {
            self.mls.store_pending_proposal(provider.storage(), proposal).map_err(failed)
        })
    }

    /// The group in memory used generations to send.
    pub(crate) fn sent(
        &mut self,
        provider: &Provider,
        application: u32,
        handshake: u32,
    ) -> Result<(), LayerError> {
        let authenticator = self.mls.epoch_authenticator().as_slice();
        self.journal.sent(provider.storage(), authenticator, application, handshake)
    }

    /// Writes the ratchets as they are in memory.
    pub(crate) fn checkpoint(&mut self, provider: &Provider) -> Result<(), LayerError> {
        let storage = provider.storage();
        storage.write_secrets(true);
        // To set the policy that is set already is how openmls is made to write, and nothing else.
        let policy = self.mls.past_epoch_deletion_policy().clone();
        let written = self.mls.set_past_epoch_deletion_policy(provider, policy);
        storage.write_secrets(false);
        written.map_err(failed)?;
        self.journal.checkpoint(storage, self.mls.epoch_authenticator().as_slice())
    }
}

/// The exporter secret of the epoch `group` is in.
fn export(group: &MlsGroup, provider: &Provider) -> Result<Secret<32>, LayerError> {
    let exported =
        group.export_secret(provider.crypto(), EXPORTER_LABEL, b"", 32).map_err(internal)?;
    secret(exported)
}

/// The exporter secret of the epoch that the staged commit leads to.
pub(crate) fn export_pending(
    group: &MlsGroup,
    provider: &Provider,
) -> Result<Option<(u64, Secret<32>)>, LayerError> {
    let Some(pending) = group.pending_commit() else {
        return Ok(None);
    };
    let exported =
        pending.export_secret(provider.crypto(), EXPORTER_LABEL, b"", 32).map_err(internal)?;
    Ok(Some((pending.epoch().as_u64(), secret(exported)?)))
}

fn secret(bytes: Vec<u8>) -> Result<Secret<32>, LayerError> {
    let bytes = zeroize::Zeroizing::new(bytes);
    Secret::copy_from(&bytes).ok_or_else(|| internal("an exported secret has another length"))
}
