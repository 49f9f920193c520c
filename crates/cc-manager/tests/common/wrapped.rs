//! A group layer around another one, which says what the test wants.

use std::sync::{Arc, Mutex};

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CipherLayer, CommitOutcome, Contribution,
    GroupLayer, KeyPackageInfo, LayerContext, LayerDescriptor, LayerError, Member, MemberId,
    NewMember, Opened, PartContext, Properties, Recalled, Secret, Standing,
};

pub struct Wrapped<L> {
    inner: L,
    pub wishes: Wishes,
}

type Refusal = fn() -> LayerError;

#[derive(Clone, Default)]
pub struct Wishes {
    /// Tells no epoch.
    pub mute: bool,
    /// Says that it is for two, whoever made it.
    pub pairwise: bool,
    /// Tells this epoch, whatever is true.
    pub epoch: Arc<Mutex<Option<u64>>>,
    /// Does not add this member.
    pub refuses: Arc<Mutex<Option<MemberId>>>,
    /// Joins nothing, for this reason.
    pub joins_not: Arc<Mutex<Option<Refusal>>>,
    /// Has this authenticator.
    pub authenticator: Arc<Mutex<Option<[u8; 32]>>>,
    /// Exports this secret.
    pub exported: Arc<Mutex<Option<[u8; 32]>>>,
    /// The times that were given to it.
    pub times: Arc<Mutex<Vec<Option<u64>>>>,
}

impl<L> Wrapped<L> {
    pub fn new(inner: L, wishes: &Wishes) -> Self {
        Self { inner, wishes: wishes.clone() }
    }

    fn epoch(&self, epoch: Option<u64>) -> Option<u64> {
        if self.wishes.mute { None } else { self.wishes.epoch.lock().unwrap().or(epoch) }
    }
}

impl<L: GroupLayer> CipherLayer for Wrapped<L> {
    fn descriptor(&self) -> LayerDescriptor {
        self.inner.descriptor()
    }

    fn properties(&self) -> Properties {
        let properties = self.inner.properties();
        Properties { pairwise: properties.pairwise || self.wishes.pairwise, ..properties }
    }

    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        self.inner.attach(place)
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        self.inner.contribute()
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let Recalled { secret, epoch } = self.inner.recall(hint)?;
        Ok(Recalled { secret, epoch: self.epoch(epoch) })
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        self.inner.seal(context, buffer)
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let mut opened = self.inner.open(context, buffer)?;
        opened.epoch = self.epoch(opened.epoch);
        Ok(opened)
    }

    fn apply(&mut self) {
        self.inner.apply();
    }

    fn revert(&mut self) {
        self.inner.revert();
    }

    fn key_commitment(&self) -> Option<Secret<32>> {
        self.inner.key_commitment()
    }

    fn group(&self) -> Option<&dyn GroupLayer> {
        Some(self)
    }

    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        Some(self)
    }
}

impl<L: GroupLayer> GroupLayer for Wrapped<L> {
    fn commitment(&self) -> [u8; 32] {
        self.inner.commitment()
    }

    fn founds(&self) -> bool {
        self.inner.founds()
    }

    fn standing(&self) -> Standing {
        self.inner.standing()
    }

    fn members(&self) -> Vec<Member> {
        self.inner.members()
    }

    fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        self.wishes.times.lock().unwrap().push(context.now);
        self.inner.key_package(context)
    }

    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        self.inner.inspect_key_package(part)
    }

    fn verify_key_package(
        &self,
        new: &NewMember<'_>,
        now: Option<u64>,
    ) -> Result<KeyPackageInfo, LayerError> {
        self.wishes.times.lock().unwrap().push(now);
        self.inner.verify_key_package(new, now)
    }

    fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        self.wishes.authenticator.lock().unwrap().or(self.inner.epoch_authenticator())
    }

    fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        match *self.wishes.exported.lock().unwrap() {
            Some(mut secret) => Ok(Some(Secret::take(&mut secret))),
            None => self.inner.export_secret(label),
        }
    }

    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        self.wishes.times.lock().unwrap().push(context.now);
        let refused = *self.wishes.refuses.lock().unwrap();
        if let Some(new) = request.added.iter().find(|new| Some(new.id) == refused) {
            return Err(LayerError::rejected().about(new.id));
        }
        self.inner.stage_change(request, context)
    }

    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError> {
        self.inner.next_contribution()
    }

    fn confirm_change(&mut self) -> Result<(), LayerError> {
        self.inner.confirm_change()
    }

    fn discard_change(&mut self) -> Result<(), LayerError> {
        self.inner.discard_change()
    }

    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        self.inner.process_commit(part, context)
    }

    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError> {
        if let Some(reason) = *self.wishes.joins_not.lock().unwrap() {
            return Err(reason());
        }
        self.inner.join(part, context)
    }
}
