//! The layer: pair sessions or Sender Keys in a stack of Cascading Cipher.
//!
//! **Pairwise**, a message is a message of the Triple Ratchet and costs 129 bytes, more until the peer has
//! answered (see the crate's documentation).
//!
//! **In a group**, the members share the secrets of an *epoch*, and every change of the group begins
//! another one. An epoch gives each member a Sender Key chain of its own, so a message costs 128 bytes
//! in a group of any size, one symmetric encryption and one signature, and nothing is handed over
//! before or with it. (Signal's groups hand each chain over in pair sessions, to every member and for
//! every chain. Whoever steals such a session reads the chains that come in it, and renewing the chains
//! of n members in new sessions takes n (n - 1) handshakes; here it takes n - 1.)
//!
//! - A commit that updates or removes seals a fresh secret to every member, each time as the first
//!   message of a new PQXDH session with the keys that the member's latest commit brought. It is mixed
//!   into what the epoch before left, so that a later theft of keys opens nothing older, and an earlier
//!   one nothing newer. A commit that adds and does nothing else derives the next epoch onward.
//! - A commit brings the committer's new keys: two prekeys, and the key that verifies its messages. The
//!   private keys before them are deleted when it is in force. No other rotation is needed.
//! - A transcript covers the founding, every commit and its committer, and the roster with all keys. The
//!   secrets of an epoch are derived from it, and every message authenticates it.
//! - Messages of [`PAST_EPOCHS`] epochs before the present one open, of whoever was a member then.
//!
//! The bytes of a message are in `group/message.rs`, of a commit in `group/commit.rs`, of a welcome in
//! `group/welcome.rs`.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{
    Attachment, Buffer, ChangeParts, ChangeRequest, CipherLayer, CommitOutcome, Contribution,
    GroupLayer, KeyPackageInfo, LayerContext, LayerDescriptor, LayerError, LayerErrorKind, Member,
    MemberId, NewMember, Opened, PartContext, Properties, Restore, Secret, Standing,
    store::{ScopeReader, ScopeWriter},
};

use crate::{
    Account, Agree, Bundle, Error, IdentityKey, Limits, SafetyNumber,
    codec::Reader,
    group::{self, Group},
    ledger::Ledger,
    state::{Records, Source, VERSION},
};

mod pairwise;

pub use crate::group::PAST_EPOCHS;
use pairwise::Pairwise;

/// The Signal protocol as a layer, for two people or for a group.
pub struct SignalLayer {
    mode: Mode,
    /// What the store has, where there is one.
    ledger: Ledger,
}

enum Mode {
    Pairwise(Box<Pairwise>),
    Group(Box<Group>),
}

impl SignalLayer {
    /// A layer with the owner of `bundle`; a session begins at once. Compare
    /// [safety numbers](Self::safety_number): whoever gave out the bundle may have swapped it.
    ///
    /// # Errors
    /// As [`Account::begin`].
    pub fn initiate(
        account: Account,
        bundle: &Bundle,
        agree: Agree,
        limits: Limits,
    ) -> Result<Self, Error> {
        let pairwise = Pairwise::initiate(account, bundle, agree, limits)?;
        Ok(Self::new(Mode::Pairwise(Box::new(pairwise))))
    }

    /// A layer with `peer`, who begins the session by its first message. Until then nothing can be
    /// sealed.
    #[must_use]
    pub fn respond(account: Account, peer: IdentityKey, limits: Limits) -> Self {
        Self::new(Mode::Pairwise(Box::new(Pairwise::respond(account, peer, limits))))
    }

    /// A layer for a group. It founds one when another layer of the stack does, or when it adds the
    /// first member; otherwise it joins one by a welcome.
    ///
    /// A welcome carries 1.9 KB for each member and a commit that renews 1.6 KB, and may have
    /// [`MAX_PART_LEN`](cc_core::limits::MAX_PART_LEN), which is enough for 35 000 members.
    #[must_use]
    pub fn group(account: Account) -> Self {
        Self::group_with(account, Limits::default())
    }

    /// As [`group`](Self::group), with other bounds on what members can make this one store.
    #[must_use]
    pub fn group_with(account: Account, limits: Limits) -> Self {
        Self::new(Mode::Group(Box::new(Group::new(account, limits))))
    }

    /// The account, and the end of the layer: so that no second layer is made of a copy of it, which
    /// would spend the same one-time prekeys.
    #[must_use]
    pub fn into_account(self) -> Account {
        match self.mode {
            Mode::Pairwise(pairwise) => pairwise.into_account(),
            Mode::Group(group) => group.into_account(),
        }
    }

    /// One's own identity and prekeys.
    #[must_use]
    pub fn account(&self) -> &Account {
        match &self.mode {
            Mode::Pairwise(pairwise) => pairwise.account(),
            Mode::Group(group) => group.account(),
        }
    }

    /// One's own identity and prekeys, to rotate and replenish them. Only between messages, when
    /// nothing is staged.
    pub fn account_mut(&mut self) -> &mut Account {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.account_mut(),
            Mode::Group(group) => group.account_mut(),
        }
    }

    /// The safety number with the peer; `None` in a group. The names are what the application calls
    /// the two people permanently.
    #[must_use]
    pub fn safety_number(&self, own: &[u8], peer: &[u8]) -> Option<SafetyNumber> {
        match &self.mode {
            Mode::Pairwise(pairwise) => {
                Some(SafetyNumber::new(self.account().identity(), own, pairwise.peer(), peer))
            }
            Mode::Group(_) => None,
        }
    }

    /// The safety number with another member of the group; `None` where there is no such member.
    #[must_use]
    pub fn safety_number_with(
        &self,
        member: MemberId,
        own: &[u8],
        theirs: &[u8],
    ) -> Option<SafetyNumber> {
        match &self.mode {
            Mode::Pairwise(_) => None,
            Mode::Group(group) => {
                let peer = group.identity_of(member)?;
                Some(SafetyNumber::new(self.account().identity(), own, peer, theirs))
            }
        }
    }

    fn new(mode: Mode) -> Self {
        Self { mode, ledger: Ledger::default() }
    }

    fn as_group(&self) -> Result<&Group, LayerError> {
        match &self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }

    fn as_group_mut(&mut self) -> Result<&mut Group, LayerError> {
        match &mut self.mode {
            Mode::Group(group) => Ok(group),
            Mode::Pairwise(_) => Err(not_a_group()),
        }
    }
}

impl fmt::Debug for SignalLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &self.mode {
            Mode::Pairwise(_) => "pairwise",
            Mode::Group(_) => "group",
        };
        f.debug_struct("SignalLayer")
            .field("mode", &mode)
            .field("identity", self.account().identity())
            .finish_non_exhaustive()
    }
}

impl CipherLayer for SignalLayer {
    fn descriptor(&self) -> LayerDescriptor {
        let mode = match &self.mode {
            Mode::Pairwise(_) => PAIRWISE,
            Mode::Group(_) => GROUP,
        };
        LayerDescriptor { id: ID, version: 1, parameters: alloc::vec![mode] }
    }

    fn properties(&self) -> Properties {
        match &self.mode {
            Mode::Pairwise(_) => Properties {
                pairwise: true,
                refuses_replays: true,
                ..Properties::plain("Signal, pairwise")
            },
            Mode::Group(_) => Properties {
                refuses_replays: true,
                authenticates_sender: true,
                ..Properties::plain("Signal, group")
            },
        }
    }

    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        match &mut self.mode {
            Mode::Pairwise(_) => Ok(()),
            Mode::Group(group) => group.attach(place),
        }
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.seal(context, buffer),
            Mode::Group(group) => group.seal(context, buffer),
        }
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.open(context, buffer),
            Mode::Group(group) => group.open(context, buffer),
        }
    }

    fn apply(&mut self) {
        let saved = self.ledger.apply();
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.apply(saved),
            Mode::Group(group) => group.apply(saved),
        }
    }

    fn revert(&mut self) {
        self.ledger.revert();
        match &mut self.mode {
            Mode::Pairwise(pairwise) => pairwise.revert(),
            Mode::Group(group) => group.revert(),
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        let mut saving = self.ledger.begin(to);
        match &mut self.mode {
            Mode::Pairwise(pairwise) => {
                let head = write_head(PAIRWISE, *pairwise.limits());
                pairwise.save(&mut saving, head);
            }
            Mode::Group(group) => {
                let head = write_head(GROUP, *group.limits());
                group.save(&mut saving, head);
            }
        }
        Ok(())
    }

    fn group(&self) -> Option<&dyn GroupLayer> {
        match &self.mode {
            Mode::Group(_) => Some(self),
            Mode::Pairwise(_) => None,
        }
    }

    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        match &self.mode {
            Mode::Group(_) => Some(self),
            Mode::Pairwise(_) => None,
        }
    }
}

/// Everything here fails with [`Misuse`](LayerErrorKind::Misuse) in pairwise mode, which
/// [`CipherLayer::group`] does not offer as a group layer.
impl GroupLayer for SignalLayer {
    fn commitment(&self) -> [u8; 32] {
        group::commitment(&self.account().identity().keys())
    }

    fn standing(&self) -> Standing {
        self.as_group().map_or(Standing::Outside, Group::standing)
    }

    fn members(&self) -> Vec<Member> {
        self.as_group().map_or_else(|_| Vec::new(), Group::members)
    }

    fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError> {
        self.as_group_mut()?.key_package(context)
    }

    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError> {
        group::key_package_commitment(part).map(KeyPackageInfo::new)
    }

    fn verify_key_package(
        &self,
        new: &NewMember<'_>,
        _now: Option<u64>,
    ) -> Result<KeyPackageInfo, LayerError> {
        group::verify_key_package(new)?;
        self.inspect_key_package(new.part)
    }

    fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        self.as_group().ok()?.epoch_authenticator()
    }

    fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        self.as_group()?.export_secret(label)
    }

    fn export_next_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        self.as_group()?.export_next_secret(label)
    }

    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        self.as_group_mut()?.stage_change(request, context)
    }

    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError> {
        self.as_group()?.next_contribution()
    }

    fn confirm_change(&mut self) -> Result<(), LayerError> {
        self.as_group_mut()?.confirm_change()
    }

    fn discard_change(&mut self) -> Result<(), LayerError> {
        self.as_group_mut()?.discard_change();
        Ok(())
    }

    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        self.as_group_mut()?.process_commit(part, context)
    }

    fn is_invited(&self, part: &[u8]) -> Option<bool> {
        self.as_group().ok()?.is_invited(part)
    }

    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError> {
        self.as_group_mut()?.join(part, context).map(Some)
    }
}

impl Restore for SignalLayer {
    const ID: &'static str = ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let records = from.list(b"")?;
        let ledger = Ledger::of(&records);
        let mode = read(Source::new(records)).map_err(LayerError::storage)?;
        Ok(Self { mode, ledger })
    }
}

/// The record that says what the others are: 1 version, 1 mode, 12 limits.
fn write_head(mode: u8, limits: Limits) -> impl FnOnce(&mut Records) {
    move |to| {
        to.put(HEAD, |writer| {
            writer.u8(VERSION);
            writer.u8(mode);
            limits.write(writer);
        });
    }
}

fn read(mut from: Source) -> Result<Mode, Error> {
    let (version, rest) =
        from.take(HEAD, |reader| Ok((reader.u8()?, Vec::from(reader.take(reader.remaining())?))))?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let mut read = || {
        let mut reader = Reader::new(&rest);
        let (mode, limits) = (reader.u8()?, Limits::read(&mut reader)?);
        reader.finish()?;
        let mode = match mode {
            PAIRWISE => Mode::Pairwise(Box::new(Pairwise::read(&mut from, &limits)?)),
            GROUP => Mode::Group(Box::new(Group::read(&mut from, limits)?)),
            _ => return Err(Error::InvalidState),
        };
        from.finish()?;
        Ok(mode)
    };
    // Whatever is wrong inside, the caller can do nothing with the detail.
    read().map_err(|_: Error| Error::InvalidState)
}

impl From<Error> for LayerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Undecryptable
            | Error::InvalidKey
            | Error::InvalidSignature
            | Error::Malformed
            | Error::UnknownVersion(_)
            | Error::NoPostQuantumPrekey
            | Error::WrongIdentity => Self::rejected(),
            Error::Own => Self::own(),
            Error::Duplicate => Self::duplicate(),
            Error::Expired => Self::stale(None),
            Error::TooFarAhead => Self::early(None),
            Error::NoSession => Self::local(LayerErrorKind::NotReady, error),
            Error::ChainExhausted | Error::LimitExceeded => {
                Self::local(LayerErrorKind::Limit, error)
            }
            Error::InvalidState => Self::local(LayerErrorKind::Storage, error),
            Error::Stale | Error::Primitive => Self::local(LayerErrorKind::Internal, error),
            Error::Random(error) => error.into(),
        }
    }
}

fn not_a_group() -> LayerError {
    LayerError::misuse("a pairwise layer has no group: make it with SignalLayer::group")
}

const ID: &str = "cc.signal";
/// The name of the first record.
const HEAD: &[u8] = b"v";
/// The mode, in the descriptor and in the saved state.
const PAIRWISE: u8 = 1;
const GROUP: u8 = 2;

#[cfg(test)]
mod tests;
