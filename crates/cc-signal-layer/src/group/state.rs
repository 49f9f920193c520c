//! The state of a group. Its pieces are shared: a copy costs a few references, so what is staged is
//! simply another state, which takes the place of the one in force or is dropped.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{MemberId, Secret};

use super::{
    epoch::{Begun, Epoch, PAST_EPOCHS},
    header::EpochMask,
    key_package::PackageSecrets,
    key_schedule::{self, JoinerSecret, Roster},
    member_keys::MemberSecrets,
    sender::SendingChain,
};
use crate::{Error, IdentityKeyPair, scrub::scrubbed};

/// Everything that outlives a message, beside the account.
#[derive(Clone, Default)]
pub(super) struct GroupState {
    /// This member, once the layer has its place.
    pub(super) me: Option<MemberId>,
    pub(super) phase: Phase,
    /// Of key packages that were given out, by the order in which they were made.
    pub(super) packages: Arc<BTreeMap<u64, Arc<Package>>>,
    /// A change of this member's that is neither confirmed nor discarded.
    pub(super) plan: Option<Arc<Plan>>,
}

#[derive(Clone, Default)]
pub(super) enum Phase {
    #[default]
    Outside,
    Member(Member),
    /// What was sent before the removal opens.
    Removed(Epochs),
}

#[derive(Clone)]
pub(super) struct Member {
    pub(super) epochs: Epochs,
    pub(super) roster: Arc<Roster>,
    pub(super) secrets: Arc<EpochKeys>,
    pub(super) chain: Arc<SendingChain>,
}

/// What this member needs for the next change and for its own messages.
pub(super) struct EpochKeys {
    pub(super) member: Arc<MemberSecrets>,
    pub(super) init: Secret<32>,
}

/// The present epoch, or the last one of a member that was removed, and those before it.
#[derive(Clone)]
pub(super) struct Epochs {
    pub(super) mask: Arc<EpochMask>,
    pub(super) present: Epoch,
    /// The latest last, at most [`PAST_EPOCHS`].
    pub(super) past: Vec<Epoch>,
}

/// A key package that was given out.
pub(super) struct Package {
    pub(super) reference: [u8; 32],
    pub(super) secrets: PackageSecrets,
}

/// A change before it is confirmed. What comes from it is derived only then.
pub(super) struct Plan {
    /// The group was founded only for this change: without the change there is none.
    pub(super) founds: bool,
    pub(super) next: NextEpoch,
}

/// All that makes an epoch.
pub(super) struct NextEpoch {
    pub(super) number: u64,
    pub(super) history: [u8; 32],
    pub(super) joiner: JoinerSecret,
    pub(super) roster: Arc<Roster>,
    pub(super) secrets: Arc<MemberSecrets>,
}

impl GroupState {
    pub(super) fn member(&self) -> Option<&Member> {
        match &self.phase {
            Phase::Member(member) => Some(member),
            Phase::Outside | Phase::Removed(_) => None,
        }
    }

    pub(super) fn epochs(&self) -> Option<&Epochs> {
        match &self.phase {
            Phase::Outside => None,
            Phase::Member(member) => Some(&member.epochs),
            Phase::Removed(epochs) => Some(epochs),
        }
    }

    pub(super) fn epochs_mut(&mut self) -> Option<&mut Epochs> {
        match &mut self.phase {
            Phase::Outside => None,
            Phase::Member(member) => Some(&mut member.epochs),
            Phase::Removed(epochs) => Some(epochs),
        }
    }

    /// A group of this member alone.
    pub(super) fn found(&mut self, identity: &IdentityKeyPair, me: MemberId) -> Result<(), Error> {
        let secrets = MemberSecrets::generate()?;
        let keys = secrets.sign(identity, &me);
        let next = NextEpoch {
            number: 0,
            history: key_schedule::founding(),
            joiner: JoinerSecret::random()?,
            roster: Arc::new(Roster::from([(me, Arc::new(keys))])),
            secrets: Arc::new(secrets),
        };
        self.plan = None;
        self.begin(me, Arc::new(EpochMask::new(Secret::random()?)), &next)
    }

    /// The next epoch of the group that this member is in.
    pub(super) fn enter(&mut self, me: MemberId, next: &NextEpoch) -> Result<(), Error> {
        let member = self.member().ok_or(Error::InvalidState)?;
        let Epochs { mask, present, past } = member.epochs.clone();
        let begun = next.begin(&me, &mask)?;
        let mut kept = past;
        kept.push(present);
        let over = kept.len().saturating_sub(PAST_EPOCHS);
        kept.drain(..over);
        self.plan = None;
        self.phase = next.member(begun, mask, kept);
        Ok(())
    }

    /// The first epoch of a group, for this member.
    pub(super) fn begin(
        &mut self,
        me: MemberId,
        mask: Arc<EpochMask>,
        next: &NextEpoch,
    ) -> Result<(), Error> {
        self.phase = next.member(next.begin(&me, &mask)?, mask, Vec::new());
        Ok(())
    }

    /// Somebody else removed this member: no key of the group is left but those that open.
    pub(super) fn leave(&mut self) {
        self.plan = None;
        if let Phase::Member(member) = &self.phase {
            self.phase = Phase::Removed(member.epochs.clone());
        }
    }

    /// Keeps the private keys of a key package; beyond [`MAX_PACKAGES`] the oldest go.
    pub(super) fn remember(&mut self, package: Package) {
        let packages = Arc::make_mut(&mut self.packages);
        let number = packages.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        packages.insert(number, Arc::new(package));
        while packages.len() > MAX_PACKAGES {
            packages.pop_first();
        }
    }
}

impl Epochs {
    /// The epoch with this number, where it is kept.
    pub(super) fn find(&self, number: u64) -> Option<&Epoch> {
        core::iter::once(&self.present).chain(&self.past).find(|epoch| epoch.number == number)
    }

    pub(super) fn find_mut(&mut self, number: u64) -> Option<&mut Epoch> {
        let all = core::iter::once(&mut self.present).chain(&mut self.past);
        all.into_iter().find(|epoch| epoch.number == number)
    }
}

impl NextEpoch {
    /// The init secret that the epoch will have.
    pub(super) fn init(&self, mask: &EpochMask) -> Result<Secret<32>, Error> {
        let transcript = self.transcript(mask);
        scrubbed(|| Ok(self.joiner.epoch(&transcript)?.init))
    }

    fn transcript(&self, mask: &EpochMask) -> [u8; 32] {
        key_schedule::transcript(&self.history, self.number, mask, &self.roster)
    }

    fn begin(&self, me: &MemberId, mask: &EpochMask) -> Result<Begun, Error> {
        let transcript = self.transcript(mask);
        scrubbed(|| Epoch::begin(self.number, transcript, &self.joiner, &self.roster, me))
    }

    fn member(&self, begun: Begun, mask: Arc<EpochMask>, past: Vec<Epoch>) -> Phase {
        let Begun { epoch, chain, init } = begun;
        Phase::Member(Member {
            epochs: Epochs { mask, present: epoch, past },
            roster: self.roster.clone(),
            secrets: Arc::new(EpochKeys { member: self.secrets.clone(), init }),
            chain: Arc::new(chain),
        })
    }
}

/// How many key packages may be waiting for a welcome.
pub(super) const MAX_PACKAGES: usize = 1000;
