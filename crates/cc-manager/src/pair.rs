//! Pairs: stacks for two that begin from one bundle and one message.
//!
//! A [`PairAccount`] has one person's keys in all layers. Each pair is a manager of its own.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{any::Any, any::type_name, fmt};

use cc_core::{
    CipherLayer, DecodeError, LayerDescriptor, LayerError, MemberId, Opaque, PairBundle,
    PairBundlePart, PairId, PairKeys, PairKeysOf, PairOpening, PairOpeningPart, StackId,
    limits::MAX_LAYERS,
    store::{Batch, Store},
};

use crate::{
    CascadingCipherManager, Catalog, Error, Message, StackProblem,
    builder::default_clock,
    manager::Beginning,
    persistence::Persistence,
    receive::{Cause, open_message},
    records::AcceptedPairs,
    stack::Reports,
    state::State,
};

mod opening;
mod persistence;

pub(crate) use opening::Pairing;
use persistence::{AccountStore, Stored};

/// One person's long-lived keys in all layers of a stack for two, of which any number of pairs begin.
pub struct PairAccount {
    /// Bottom first.
    keys: Vec<Box<dyn PairKeys>>,
    descriptors: Vec<LayerDescriptor>,
    stack: StackId,
    member: MemberId,
    accepted: AcceptedPairs,
    store: Option<AccountStore>,
}

/// Collects the keys of an account, those of the bottom layer first.
#[must_use = "nothing is built until build()"]
#[derive(Default)]
pub struct PairAccountBuilder {
    keys: Vec<Box<dyn PairKeys>>,
}

/// Who is named by a first message. A claim, until the message opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstView {
    /// The pair.
    pub pair: PairId,
    /// Who claims to have begun it.
    pub peer: MemberId,
}

/// What a first message turned out to be.
///
/// Only [`Forged`](Self::Forged) means an attack or damage.
#[derive(Debug)]
#[non_exhaustive]
pub enum IncomingFirst {
    /// Somebody began a pair.
    Begun(Box<AcceptedPair>),
    /// The pair exists: give the bytes to its manager.
    Known(PairId),
    /// It uses keys that are gone, or began a pair that is forgotten.
    Stale,
    /// It was not made for this call: another version of the wire format, another stack, or another kind.
    Foreign(DecodeError),
    /// Forged or damaged, or put together from several. The error is for the local log only.
    Forged(Error),
}

/// A pair that somebody else began.
#[derive(Debug)]
pub struct AcceptedPair {
    /// The pair. It can answer at once.
    pub manager: CascadingCipherManager,
    /// Its first message that was received.
    pub message: Message,
    /// Its name: what comes with the same name is for this manager.
    pub pair: PairId,
    /// Who began it. That it is them, every layer has authenticated by their long-lived keys; whose keys they
    /// are is for the application to know.
    pub peer: MemberId,
}

impl PairAccountBuilder {
    /// Puts `keys` on top of those already there.
    pub fn keys(mut self, keys: impl PairKeys) -> Self {
        self.keys.push(Box::new(keys));
        self
    }

    /// Puts `keys` on top of those already there, the first of them lowest.
    pub fn all_keys(mut self, keys: impl IntoIterator<Item = Box<dyn PairKeys>>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// An account in memory, whose pairs are in memory as well.
    ///
    /// # Errors
    /// [`Error::Stack`] for no keys or too many; [`Error::UnsignedBundle`] where no layer signs.
    pub fn build(self) -> Result<PairAccount, Error> {
        PairAccount::assemble(self.keys, AcceptedPairs::default(), None)
    }

    /// An account in `store` under `name`; its pairs are in the same store.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Store`], with
    /// [`StoreError::Exists`](cc_core::store::StoreError::Exists) where there is an account of that name.
    pub fn create(
        self,
        store: impl Store + Clone + 'static,
        name: &str,
    ) -> Result<PairAccount, Error> {
        let store = AccountStore::create(store, name)?;
        let mut account = PairAccount::assemble(self.keys, AcceptedPairs::default(), Some(store))?;
        account.save()?;
        Ok(account)
    }
}

impl PairAccount {
    /// Collects keys, those of the bottom layer first.
    pub fn builder() -> PairAccountBuilder {
        PairAccountBuilder::default()
    }

    /// Opens the account that was [created](PairAccountBuilder::create) in `store` under `name`. `catalog`
    /// lists the types of its keys ([`Catalog::with_pair_keys`]).
    ///
    /// # Errors
    /// [`Error::Store`], with [`StoreError::Missing`](cc_core::store::StoreError::Missing) where there is none
    /// of that name, [`Error::UnknownLayer`] for keys that `catalog` does not list, [`Error::Layer`] for keys
    /// that do not come back.
    pub fn open(
        store: impl Store + Clone + 'static,
        name: &str,
        catalog: &Catalog,
    ) -> Result<Self, Error> {
        let (store, Stored { keys, accepted }) = AccountStore::open(store, name, catalog)?;
        Self::assemble(keys, accepted, Some(store))
    }

    /// This person: a digest of the long-lived public keys in all layers.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.member
    }

    /// A bundle for any number of pairs. The first messages of these have their forward secrecy only with the
    /// rotation of the keys in it.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::Store`].
    pub fn bundle(&mut self) -> Result<Vec<u8>, Error> {
        self.make_bundle(false)
    }

    /// A bundle with keys that are used for one pair, and gone then. A server gives it to one person.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::Store`].
    pub fn one_time_bundle(&mut self) -> Result<Vec<u8>, Error> {
        self.make_bundle(true)
    }

    /// Verifies a bundle, and says whose it is.
    ///
    /// # Errors
    /// [`Error::Decode`] for another stack or what is no bundle, [`Error::Layer`] for keys or a signature that
    /// are not acceptable, [`Error::UnsignedBundle`].
    pub fn inspect_bundle(&self, bundle: impl AsRef<[u8]>) -> Result<MemberId, Error> {
        self.verify(bundle.as_ref()).map(|(_, peer)| peer)
    }

    /// Whose message it claims to be, and of which pair, before anything is computed with a private key.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::Layer`] for keys that are not acceptable.
    pub fn inspect_first(&self, wire: impl AsRef<[u8]>) -> Result<FirstView, Error> {
        let (opening, _) = PairOpening::decode(wire.as_ref(), &self.stack)?;
        let peer = self.member_of(opening.parts().iter().map(|part| part.identity.as_slice()))?;
        Ok(FirstView { pair: opening.id()?, peer })
    }

    /// Begins a pair with the owner of `bundle`: a manager that can send at once. With a store it is in it, under
    /// `name`. Compare [`member ids`](Self::inspect_bundle) first: whoever gave out the bundle may have swapped
    /// it for their own.
    ///
    /// Where both sides begin at the same time there are two pairs: take what comes in both, and send in the one
    /// with the smaller [`PairId`].
    ///
    /// # Errors
    /// As [`inspect_bundle`](Self::inspect_bundle); [`Error::OwnBundle`]; as
    /// [`create`](crate::ManagerBuilder::create).
    pub fn initiate(
        &mut self,
        bundle: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<CascadingCipherManager, Error> {
        let (bundle, peer) = self.verify(bundle.as_ref())?;
        if peer == self.member {
            return Err(Error::OwnBundle);
        }
        let (mut layers, mut parts) = (Vec::new(), Vec::new());
        for ((at, keys), part) in (0..).zip(&mut self.keys).zip(bundle.parts()) {
            let of =
                PairKeysOf { identity: part.identity.as_slice(), setup: part.prekeys.as_slice() };
            let begun = keys.initiate(&of);
            let begun = begun.map_err(|source| failed(at, &keys.descriptor(), source))?;
            layers.push(begun.layer);
            parts.push(PairOpeningPart {
                identity: Opaque(keys.identity()),
                setup: Opaque(begun.setup),
            });
        }
        let opening = PairOpening::new(&self.stack, parts);
        let identities = bundle.parts().iter().map(|part| part.identity.as_slice());
        let pairing = Pairing {
            id: opening.id()?,
            transcript: opening.transcript(&self.stack, identities),
            peer,
            opening: opening.encode()?,
        };
        let persistence = self.place_for_pair(name)?;
        let state = State { pair: Some(Arc::new(pairing)), ..State::default() };
        let beginning = Beginning { state, with: None };
        let reports = Reports::new(default_clock());
        CascadingCipherManager::assemble_with(layers, reports, persistence, beginning, |_, _, _| {
            Ok(())
        })
        .map(|(manager, ())| manager)
    }

    /// Accepts the pair that a first message begins, whoever it is from: its manager, with the message. With a
    /// store the manager is in it, under `name`, and the message in its inbox, by the commit that takes the
    /// keys away which the opening uses up. Any message of who began serves until this side has answered.
    ///
    /// # Errors
    /// Only for what is wrong at this end: [`Error::Store`], [`Error::Random`], and [`Error::Layer`] for a layer
    /// that fails. Nothing has changed then.
    pub fn accept_first(
        &mut self,
        wire: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        self.accept_first_with(wire, [], name)
    }

    /// As [`accept_first`](Self::accept_first), for a message that was encrypted with `associated_data`.
    ///
    /// # Errors
    /// As [`accept_first`](Self::accept_first).
    pub fn accept_first_with(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        match self.accept(wire.as_ref(), associated_data.as_ref(), name) {
            Ok(incoming) => Ok(incoming),
            Err(error) => match Cause::of(&error, None, None) {
                Cause::Local => Err(error),
                Cause::Foreign(why) => Ok(IncomingFirst::Foreign(why)),
                Cause::Duplicate | Cause::Stale(_) => Ok(IncomingFirst::Stale),
                Cause::Own | Cause::Early(_) | Cause::Forged => Ok(IncomingFirst::Forged(error)),
            },
        }
    }

    /// Lets `change` do the upkeep of the keys of type `K` (of several, the bottommost), such as a rotation of
    /// prekeys. It is in force at once; with a store it is saved before this returns.
    ///
    /// # Errors
    /// [`Error::NoLayerOfType`], [`Error::Layer`] with what `change` gave, [`Error::Store`].
    pub fn configure<K: PairKeys, T>(
        &mut self,
        change: impl FnOnce(&mut K) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.usable()?;
        let found = (0..).zip(&mut self.keys).find_map(|(at, keys)| {
            let descriptor = keys.descriptor();
            let keys: &mut dyn Any = &mut **keys;
            keys.downcast_mut::<K>().map(|keys| (at, descriptor, keys))
        });
        let (at, descriptor, keys) = found.ok_or(Error::NoLayerOfType(type_name::<K>()))?;
        let value = change(keys).map_err(|source| failed(at, &descriptor, source))?;
        self.save()?;
        Ok(value)
    }

    fn assemble(
        keys: Vec<Box<dyn PairKeys>>,
        accepted: AcceptedPairs,
        store: Option<AccountStore>,
    ) -> Result<Self, Error> {
        match keys.len() {
            0 => return Err(StackProblem::Empty.into()),
            1..=MAX_LAYERS => {}
            count => return Err(StackProblem::TooManyLayers(count).into()),
        }
        let descriptors: Vec<_> = keys.iter().map(|keys| keys.descriptor()).collect();
        let stack = StackId::of(&descriptors);
        let member = MemberId::from_bytes([0; 32]);
        let mut account = Self { keys, descriptors, stack, member, accepted, store };
        let identities: Vec<_> = account.keys.iter().map(|keys| keys.identity()).collect();
        account.member = account.member_of(identities.iter().map(Vec::as_slice))?;
        // Nothing is given out that nobody can verify.
        let signs = (0..).zip(&account.keys).try_fold(false, |signs, (at, keys)| {
            let signature = keys.sign(&[0; 32]);
            let signature = signature.map_err(|source| failed(at, &keys.descriptor(), source))?;
            Ok::<_, Error>(signs | signature.is_some())
        })?;
        if signs { Ok(account) } else { Err(Error::UnsignedBundle) }
    }

    fn make_bundle(&mut self, one_time: bool) -> Result<Vec<u8>, Error> {
        self.usable()?;
        let mut parts = Vec::new();
        for (at, keys) in (0..).zip(&mut self.keys) {
            let prekeys = keys.prekeys(one_time);
            let prekeys = prekeys.map_err(|source| failed(at, &keys.descriptor(), source))?;
            parts.push(PairBundlePart {
                identity: Opaque(keys.identity()),
                prekeys: Opaque(prekeys),
                signature: Opaque::default(),
            });
        }
        let mut bundle = PairBundle::new(&self.stack, parts);
        let digest = bundle.digest(&self.stack);
        for ((at, keys), part) in (0..).zip(&self.keys).zip(bundle.parts_mut()) {
            let signature = keys.sign(&digest);
            let signature = signature.map_err(|source| failed(at, &keys.descriptor(), source))?;
            part.signature = Opaque(signature.unwrap_or_default());
        }
        let encoded = bundle.encode()?;
        self.save()?;
        Ok(encoded)
    }

    /// Reads a bundle and verifies its keys and signatures.
    fn verify(&self, bundle: &[u8]) -> Result<(PairBundle, MemberId), Error> {
        let bundle = PairBundle::decode(bundle, &self.stack)?;
        let peer = self.member_of(bundle.parts().iter().map(|part| part.identity.as_slice()))?;
        let digest = bundle.digest(&self.stack);
        let mut signed = false;
        for ((at, keys), part) in (0..).zip(&self.keys).zip(bundle.parts()) {
            let verified =
                keys.verify(part.identity.as_slice(), &digest, part.signature.as_slice());
            signed |= verified.map_err(|source| failed(at, &keys.descriptor(), source))?;
        }
        if signed { Ok((bundle, peer)) } else { Err(Error::UnsignedBundle) }
    }

    /// The member with these identities, of which there must be one for each layer.
    fn member_of<'a>(
        &self,
        identities: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<MemberId, Error> {
        if identities.len() != self.keys.len() {
            return Err(DecodeError::Malformed.into());
        }
        let mut commitments = Vec::new();
        for ((at, keys), identity) in (0..).zip(&self.keys).zip(identities) {
            let commitment = keys.commitment(identity);
            commitments.push(commitment.map_err(|source| failed(at, &keys.descriptor(), source))?);
        }
        let known = self.descriptors.iter().zip(commitments);
        Ok(MemberId::of(known.filter_map(|(descriptor, known)| Some((descriptor, known?)))))
    }

    fn accept(
        &mut self,
        wire: &[u8],
        associated_data: &[u8],
        name: &str,
    ) -> Result<IncomingFirst, Error> {
        self.usable()?;
        let (opening, _) = PairOpening::decode(wire, &self.stack)?;
        let pair = opening.id()?;
        if self.accepted.has(&pair) {
            return Ok(IncomingFirst::Known(pair));
        }
        let peer = self.member_of(opening.parts().iter().map(|part| part.identity.as_slice()))?;
        if peer == self.member {
            // Nobody begins a pair with oneself.
            return Ok(IncomingFirst::Forged(Error::OwnBundle));
        }
        let persistence = self.place_for_pair(name)?;
        let own: Vec<_> = self.keys.iter().map(|keys| keys.identity()).collect();
        let transcript = opening.transcript(&self.stack, own.iter().map(Vec::as_slice));
        let pairing = Pairing { id: pair, transcript, peer, opening: Vec::new() };
        let state = State { pair: Some(Arc::new(pairing)), ..State::default() };
        let mut accepting = Accepting { keys: &mut self.keys, kept: false };
        let layers = accepting.layers(&opening)?;
        let accepted = self.accepted.with(pair);
        let (store, descriptors) = (&self.store, &self.descriptors);
        let mut counters = None;
        let mut with = |batch: &mut Batch| {
            if let Some(store) = store {
                counters =
                    Some(store.write(accepting.keys, descriptors, Some(&accepted), batch)?);
            }
            Ok(())
        };
        let beginning = Beginning { state, with: Some(&mut with) };
        let reports = Reports::new(default_clock());
        let begun = CascadingCipherManager::assemble_with(
            layers,
            reports,
            persistence,
            beginning,
            |stack, reports, draft| open_message(stack, reports, draft, wire, associated_data),
        );
        accepting.kept = begun.is_ok();
        drop(accepting);
        if let Some(store) = &mut self.store {
            store.settle(counters, &begun);
        }
        let (manager, message) = begun?;
        self.accepted = accepted;
        Ok(IncomingFirst::Begun(Box::new(AcceptedPair { manager, message, pair, peer })))
    }

    fn place_for_pair(&self, name: &str) -> Result<Option<Persistence>, Error> {
        self.usable()?;
        let place = self.store.as_ref();
        let place = place.map(|store| Persistence::create(store.handle(), name, self.keys.len()));
        Ok(place.transpose()?)
    }

    fn usable(&self) -> Result<(), Error> {
        Ok(self.store.as_ref().map_or(Ok(()), AccountStore::usable)?)
    }

    /// Writes what changed of the keys.
    fn save(&mut self) -> Result<(), Error> {
        let mut saving = Accepting { keys: &mut self.keys, kept: false };
        if let Some(store) = &mut self.store {
            let mut batch = Batch::new();
            let counters = store.write(saving.keys, &self.descriptors, None, &mut batch)?;
            let outcome = store.commit(&batch).map_err(Error::from);
            store.settle(Some(counters), &outcome);
            outcome?;
        }
        saving.kept = true;
        Ok(())
    }
}

/// Applies what the keys staged when it is dropped, or reverts it, by a panic as well.
struct Accepting<'a> {
    keys: &'a mut Vec<Box<dyn PairKeys>>,
    kept: bool,
}

impl Accepting<'_> {
    /// The layers of a pair that somebody else began.
    fn layers(&mut self, opening: &PairOpening) -> Result<Vec<Box<dyn CipherLayer>>, Error> {
        let mut layers = Vec::new();
        for ((at, keys), part) in (0..).zip(self.keys.iter_mut()).zip(opening.parts()) {
            let of =
                PairKeysOf { identity: part.identity.as_slice(), setup: part.setup.as_slice() };
            let layer = keys.accept(&of);
            layers.push(layer.map_err(|source| failed(at, &keys.descriptor(), source))?);
        }
        Ok(layers)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        for keys in self.keys.iter_mut() {
            if self.kept {
                keys.apply();
            } else {
                keys.revert();
            }
        }
    }
}

impl CascadingCipherManager {
    /// The name of the pair, where this manager is one of a [`PairAccount`]: the same on both sides.
    #[must_use]
    pub fn pair_id(&self) -> Option<PairId> {
        self.state.pair.as_ref().map(|pair| pair.id)
    }

    /// The other person of the pair.
    #[must_use]
    pub fn peer(&self) -> Option<MemberId> {
        self.state.pair.as_ref().map(|pair| pair.peer)
    }

    /// Whether the other side is known to have the pair: until then each message that this side sends has the
    /// opening in front. `true` where this side accepted; `false` without a pair.
    #[must_use]
    pub fn is_pair_answered(&self) -> bool {
        self.state.pair.as_ref().is_some_and(|pair| pair.opening.is_empty())
    }
}

/// The error of the keys at a position.
fn failed(position: u32, descriptor: &LayerDescriptor, source: LayerError) -> Error {
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    Error::Layer { position, layer: descriptor.id, source }
}

impl fmt::Debug for PairAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<_> = self.descriptors.iter().map(|layer| layer.id).collect();
        f.debug_struct("PairAccount")
            .field("member", &self.member)
            .field("layers", &layers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PairAccountBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|keys| keys.descriptor().id)).finish()
    }
}
