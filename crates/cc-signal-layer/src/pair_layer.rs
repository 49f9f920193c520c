//! The layer of a pair that began from a bundle for its whole stack.
//!
//! Unlike [`SignalLayer`](crate::SignalLayer) it has one session, which began before it: the handshake
//! travels in the opening of the pair, in front of all layers. So the layer can tell the layers above a secret
//! before a message opens, and so they can take their keys from it.
//!
//! **The secret** is derived from `SK` of PQXDH beside the keys of the ratchet, and stays the same: what inherits
//! it is closed to everyone who lacks `SK`, and has no forward secrecy of its own. The hint is empty, so it
//! tells nobody anything.
//!
//! | record | bytes |
//! |---|---|
//! | `v` | 1 version, 12 limits, 128 identity of the peer, 32 secret |
//! | `s` ... | the session |

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{
    Buffer, CipherLayer, Contribution, LayerContext, LayerDescriptor, LayerError, Opened,
    Properties, Recalled, Restore, Secret,
    store::{ScopeReader, ScopeWriter},
};

use crate::{
    Error, IdentityKey, Limits, Session, StagedOpen,
    account::Begun,
    ledger::Ledger,
    message_key::TAG_LEN,
    state::{Source, State as _, VERSION},
};

/// The Signal protocol as a layer for two people who began from a bundle:
/// [`SignalPairKeys`](crate::SignalPairKeys) makes it.
pub struct SignalPairLayer {
    session: Box<Session>,
    peer: IdentityKey,
    contribution: Secret<32>,
    limits: Limits,
    /// The change of the message that was opened, until `apply` or `revert`.
    staged: Option<StagedOpen>,
    /// The session as it was before what was saved, until that is applied.
    rollback: Option<Box<Session>>,
    /// Whether the session may differ from what the store has.
    unsaved: bool,
    ledger: Ledger,
}

impl SignalPairLayer {
    pub(crate) fn new(begun: Begun, peer: IdentityKey, limits: Limits) -> Self {
        let Begun { session, contribution } = begun;
        Self {
            session: Box::new(session),
            peer,
            contribution,
            limits,
            staged: None,
            rollback: None,
            unsaved: true,
            ledger: Ledger::default(),
        }
    }

    /// The other person.
    #[must_use]
    pub fn peer(&self) -> &IdentityKey {
        &self.peer
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn descriptor() -> LayerDescriptor {
        LayerDescriptor { id: Self::ID, version: 1, parameters: Vec::new() }
    }

    /// One message at a time, and nothing more once it is saved.
    fn expect_settled(&self) -> Result<(), LayerError> {
        if self.staged.is_some() || self.rollback.is_some() {
            return Err(LayerError::misuse("apply or revert the message that was opened first"));
        }
        Ok(())
    }

    fn commit(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.unsaved = true;
            // Nothing else changes the session while a message is staged.
            let applied = self.session.apply(staged);
            debug_assert!(applied.is_ok());
        }
    }

    fn read(records: Vec<(Vec<u8>, cc_core::SecretBytes)>) -> Result<Self, Error> {
        let ledger = Ledger::of(&records);
        let mut from = Source::new(records);
        let (limits, peer, contribution) = from.take(HEAD, |reader| {
            match reader.u8()? {
                VERSION => {}
                version => return Err(Error::UnknownVersion(version)),
            }
            Ok((Limits::read(reader)?, IdentityKey::read(reader)?, reader.secret()?))
        })?;
        let session = from.within(SESSION, |from| Session::read(from, &limits))?;
        from.finish()?;
        if *session.peer() != peer.keys() {
            return Err(Error::InvalidState);
        }
        let layer = Self::new(Begun { session, contribution }, peer, limits);
        Ok(Self { unsaved: false, ledger, ..layer })
    }
}

impl CipherLayer for SignalPairLayer {
    fn descriptor(&self) -> LayerDescriptor {
        Self::descriptor()
    }

    fn properties(&self) -> Properties {
        Properties {
            contributes: true,
            pairwise: true,
            refuses_replays: true,
            ..Properties::plain("Signal, pair from a bundle")
        }
    }

    /// The same for every message and for both directions; the hint is empty.
    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        let secret = self.contribution.duplicate();
        Ok(Some(Contribution { hint: Vec::new(), secret }))
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        if hint.is_empty() {
            Ok(Recalled { secret: self.contribution.duplicate(), epoch: None })
        } else {
            Err(LayerError::rejected())
        }
    }

    /// Moves the chain on for good, also when it is reverted: a message key never encrypts twice.
    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        self.expect_settled()?;
        self.unsaved = true;
        let ad = context.associated_data();
        let framing = self.session.encrypt_in_place(&ad, buffer.as_mut_slice())?;
        buffer.prepend(&framing.head);
        buffer.append(&framing.tag);
        Ok(())
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        self.expect_settled()?;
        let ad = context.associated_data();
        let (range, staged) = self.session.open_in_place(&ad, buffer.as_mut_slice())?;
        if buffer.take_back::<TAG_LEN>().is_none() || !buffer.drop_front(range.start) {
            return Err(LayerError::rejected());
        }
        self.staged = Some(staged);
        Ok(Opened::default())
    }

    fn apply(&mut self) {
        let saved = self.ledger.apply();
        self.rollback = None;
        self.commit();
        if saved {
            self.unsaved = false;
        }
    }

    fn revert(&mut self) {
        self.ledger.revert();
        self.staged = None;
        if let Some(session) = self.rollback.take() {
            self.session = session;
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        if self.staged.is_some() {
            self.rollback = Some(Box::new(self.session.duplicate()));
            self.commit();
        }
        let Self { session, peer, contribution, limits, unsaved, ledger, .. } = self;
        let mut saving = ledger.begin(to);
        let anew = saving.is_anew();
        if anew {
            saving.part(HEAD, |to| {
                to.put(b"", |writer| {
                    writer.u8(VERSION);
                    limits.write(writer);
                    writer.put(&peer.to_bytes());
                    writer.put(contribution.expose());
                });
            });
        }
        if anew || *unsaved {
            saving.part(SESSION, |to| session.write(to));
        }
        Ok(())
    }
}

impl Restore for SignalPairLayer {
    const ID: &'static str = "cc.signal.pair";

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        Self::read(from.list(b"")?).map_err(|error| LayerError::storage(error.of_store()))
    }
}

impl fmt::Debug for SignalPairLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalPairLayer").field("peer", &self.peer).finish_non_exhaustive()
    }
}

const HEAD: &[u8] = b"v";
const SESSION: &[u8] = b"s";
