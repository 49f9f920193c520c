//! The keys of which layers for two are made in pairs that begin from a bundle.
//!
//! The identity is [`IdentityKey::to_bytes`], the prekeys are a [`Bundle`] as PQXDH has it, which repeats the
//! identity, and the setup is the handshake of PQXDH's initial message. The signature over the bundle of the
//! whole stack is 64 bytes of the identity's Ed25519 key.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{
    CipherLayer, Initiated, LayerDescriptor, LayerError, PairKeys, PairKeysOf, Restore as _,
    RestorePairKeys,
    store::{ScopeReader, ScopeWriter},
};

use crate::{
    Account, Bundle, Error, IdentityKey, Limits, SignalPairLayer,
    account::UsedPrekeys,
    group, initial_message,
    ledger::Ledger,
    state::{Source, State as _, VERSION},
};

/// One person's account, of which [`SignalPairLayer`]s are made. Agreement is by PQXDH always.
pub struct SignalPairKeys {
    account: Account,
    limits: Limits,
    /// How to go back from what was used up, until it is applied.
    rollback: Option<UsedPrekeys>,
    /// Whether the account may differ from what the store has.
    unsaved: bool,
    ledger: Ledger,
}

impl SignalPairKeys {
    /// The account of somebody. It is to be in no other layer, for each spends its one-time prekeys.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self::with_limits(account, Limits::default())
    }

    /// As [`new`](Self::new), with other bounds on what the other side can make a layer store.
    #[must_use]
    pub fn with_limits(account: Account, limits: Limits) -> Self {
        let ledger = Ledger::default();
        Self { account, limits, rollback: None, unsaved: true, ledger }
    }

    /// The identity and the prekeys.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The identity and the prekeys, to rotate them. A store follows with the next bundle or pair.
    pub fn account_mut(&mut self) -> &mut Account {
        self.unsaved = true;
        &mut self.account
    }

    fn read(records: Vec<(Vec<u8>, cc_core::SecretBytes)>) -> Result<Self, Error> {
        let ledger = Ledger::of(&records);
        let mut from = Source::new(records);
        let limits = from.take(HEAD, |reader| {
            match reader.u8()? {
                VERSION => {}
                version => return Err(Error::UnknownVersion(version)),
            }
            Limits::read(reader)
        })?;
        let account = from.within(ACCOUNT, |from| Account::read(from, &limits))?;
        from.finish()?;
        Ok(Self { account, limits, rollback: None, unsaved: false, ledger })
    }
}

impl PairKeys for SignalPairKeys {
    fn descriptor(&self) -> LayerDescriptor {
        SignalPairLayer::descriptor()
    }

    fn identity(&self) -> Vec<u8> {
        self.account.identity().to_bytes().to_vec()
    }

    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError> {
        Ok(Some(group::commitment(&IdentityKey::from_bytes(identity)?.keys())))
    }

    fn prekeys(&mut self, one_time: bool) -> Result<Vec<u8>, LayerError> {
        if !one_time {
            return Ok(self.account.bundle().to_bytes());
        }
        self.unsaved = true;
        if self.account.unpublished() == 0 {
            self.account.replenish(1)?;
        }
        let bundle = self.account.one_time_bundles(1).pop().ok_or(Error::LimitExceeded)?;
        Ok(bundle.to_bytes())
    }

    fn sign(&self, bundle: &[u8; 32]) -> Result<Option<Vec<u8>>, LayerError> {
        let signature = self.account.identity_pair().sign(PAIR_BUNDLE, &[bundle]);
        Ok(Some(signature.to_vec()))
    }

    fn verify(
        &self,
        identity: &[u8],
        bundle: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, LayerError> {
        let signature = signature.try_into().map_err(|_| Error::InvalidSignature)?;
        IdentityKey::from_bytes(identity)?.verify(PAIR_BUNDLE, &[bundle], signature)?;
        Ok(true)
    }

    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError> {
        let prekeys = Bundle::from_bytes(bundle.setup)?;
        let peer = *prekeys.identity();
        if peer.to_bytes() != bundle.identity {
            return Err(Error::WrongIdentity.into());
        }
        let (begun, handshake) = self.account.begin_pair(&prekeys, self.limits)?;
        let layer = Box::new(SignalPairLayer::new(begun, peer, self.limits));
        Ok(Initiated { layer, setup: handshake.into_vec() })
    }

    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError> {
        if self.rollback.is_some() {
            return Err(LayerError::misuse("apply or revert the pair that was accepted first"));
        }
        // Nothing behind the handshake, and of who claims to send it.
        let claimed = initial_message::handshake_sender(peer.setup)?;
        if claimed.to_bytes() != peer.identity {
            return Err(LayerError::rejected());
        }
        let (begun, used) = self.account.accept_pair(peer.setup, self.limits)?;
        self.rollback = Some(self.account.prekeys_of(&used));
        self.account.use_up(&used)?;
        self.unsaved = true;
        Ok(Box::new(SignalPairLayer::new(begun, claimed, self.limits)))
    }

    fn apply(&mut self) {
        self.rollback = None;
        if self.ledger.apply() {
            self.unsaved = false;
        }
    }

    fn revert(&mut self) {
        self.ledger.revert();
        if let Some(used) = self.rollback.take() {
            self.account.restore_prekeys(used);
        }
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        let Self { account, limits, unsaved, ledger, .. } = self;
        let mut saving = ledger.begin(to);
        let anew = saving.is_anew();
        if anew {
            saving.part(HEAD, |to| {
                to.put(b"", |writer| {
                    writer.u8(VERSION);
                    limits.write(writer);
                });
            });
        }
        if anew || *unsaved {
            saving.part(ACCOUNT, |to| account.write(to));
        }
        Ok(())
    }
}

impl RestorePairKeys for SignalPairKeys {
    const ID: &'static str = SignalPairLayer::ID;

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        Self::read(from.list(b"")?).map_err(|error| LayerError::storage(error.of_store()))
    }
}

impl fmt::Debug for SignalPairKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalPairKeys")
            .field("identity", self.account.identity())
            .finish_non_exhaustive()
    }
}

const HEAD: &[u8] = b"v";
const ACCOUNT: &[u8] = b"a";
/// What the signature is for.
const PAIR_BUNDLE: &[u8] = b"pair bundle";
