//! What becomes of the items of a log.

/// What an item of a log was. Every item gets one, and one only; [`Fate::Early`] alone is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// A message.
    Message,
    /// A commit, now in force.
    Change,
    /// A request of a member, or a control message of the client.
    Request,
    /// A welcome, by which this person joined.
    Joined,
    /// Of this person itself.
    OwnEcho,
    /// Read before.
    Duplicate,
    /// Not yet to be read: it is kept, or will be read again.
    Early,
    /// Its keys are gone.
    TooLate,
    /// From before this person joined.
    BeforeJoining,
    /// From after this person was removed.
    AfterRemoval,
    /// A commit that came after the one that was taken.
    LostRace,
    /// A welcome for a key package that is not, or no longer, here.
    OrphanWelcome,
    /// A welcome to a group that the log which it names does not know. Its maker made the group up, or the
    /// service has lost the commit.
    Unconfirmed,
    /// A welcome that names a log which cannot be that of its group: this device's own mailbox or that of who
    /// invites, the log of another group that this device is in, or another one than it asked to be added to.
    Misaddressed,
    /// Of a later version.
    Unsupported,
    /// Noise, which anybody with access can make.
    Malformed,
    /// What only an attack explains.
    Forged,
}

impl Fate {
    /// Whether nothing more will come of it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Early)
    }
}

const STORED: [Fate; 17] = [
    Fate::Message,
    Fate::Change,
    Fate::Request,
    Fate::Joined,
    Fate::OwnEcho,
    Fate::Duplicate,
    Fate::Early,
    Fate::TooLate,
    Fate::BeforeJoining,
    Fate::AfterRemoval,
    Fate::LostRace,
    Fate::OrphanWelcome,
    Fate::Unsupported,
    Fate::Malformed,
    Fate::Forged,
    Fate::Unconfirmed,
    Fate::Misaddressed,
];

/// A fate as it is stored.
pub(crate) fn fate_number(fate: Fate) -> u8 {
    let at = STORED.iter().position(|known| *known == fate);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

/// The fate that was stored; one of a later version is [`Fate::Unsupported`].
pub(crate) fn fate_from(number: u8) -> Fate {
    STORED.get(usize::from(number)).copied().unwrap_or(Fate::Unsupported)
}
