//! The root key of a membership generation, and what is derived from it.

use alloc::sync::Arc;

use cc_core::Secret;

use crate::{DhError, kdf::Prk, message::MessageKey, roster::Roster};

/// 32 random bytes that the member who makes a change seals to everyone who is in the group after it.
pub(crate) struct Root(Secret<32>);

impl Root {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn random() -> Result<Self, DhError> {
        Ok(Self(Secret::random()?))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Secret::copy_from(bytes).map(Self)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The generation this root makes. The roster goes into the derivation: members who disagree about
    /// who is in the group have no key in common.
    pub(crate) fn generation(
        &self,
        number: u64,
        roster: Roster,
        binding: &[u8; 32],
    ) -> Result<Generation, DhError> {
        let number_bytes = number.to_be_bytes();
        let secret: Prk = self
            .prk()
            .expand::<32>(b"generation", &[&number_bytes, &roster.digest(), binding])?
            .into();
        let secrets = Secrets::new(
            Reading::new(secret.expand(b"contribution", &[])?, secret.expand(b"messages", &[])?),
            secret.expand(b"membership", &[])?,
            secret.expand(b"link", &[])?,
        );
        Ok(Generation { number, roster: Arc::new(roster), secrets: Arc::new(secrets) })
    }

    /// The key under which the roster travels in a welcome; `binding` and the root make it fresh for
    /// each.
    pub(crate) fn roster_key(&self, binding: &[u8; 32]) -> Result<MessageKey, DhError> {
        Ok(MessageKey::new(self.prk().expand(b"welcome roster", &[binding])?))
    }

    fn prk(&self) -> Prk {
        Prk::extract(b"cascading-cipher/1 dh root", self.0.expose())
    }
}

/// One membership generation.
#[derive(Clone)]
pub(crate) struct Generation {
    /// The number of changes since the group was founded.
    pub(crate) number: u64,
    pub(crate) roster: Arc<Roster>,
    pub(crate) secrets: Arc<Secrets>,
}

/// What all members of a generation share, and nobody else.
pub(crate) struct Secrets {
    pub(crate) reading: Arc<Reading>,
    membership: Prk,
    /// Binds a change to the generation it starts from.
    pub(crate) link: Secret<32>,
}

/// What is left of the secrets once the generation is over.
pub(crate) struct Reading {
    /// For the layers above.
    pub(crate) contribution: Secret<32>,
    pub(crate) message: MessageKey,
}

impl Reading {
    pub(crate) fn new(contribution: Secret<32>, message: Secret<32>) -> Self {
        Self { contribution, message: MessageKey::new(message) }
    }
}

impl Secrets {
    pub(crate) fn new(reading: Reading, membership: Secret<32>, link: Secret<32>) -> Self {
        Self { reading: Arc::new(reading), membership: membership.into(), link }
    }

    /// All of them, to be stored, in the order in which [`new`](Self::new) takes them.
    pub(crate) fn expose(&self) -> [&[u8; 32]; 4] {
        let Reading { contribution, message } = &*self.reading;
        [contribution.expose(), message.expose(), self.membership.expose(), self.link.expose()]
    }

    /// The tag by which the members of a generation know that the change that ends it comes from one
    /// of them: checked before anything that costs.
    pub(crate) fn membership_tag(
        &self,
        binding: &[u8; 32],
        digest: &[u8; 32],
    ) -> Result<Secret<32>, DhError> {
        self.membership.expand(b"membership tag", &[binding, digest])
    }
}
