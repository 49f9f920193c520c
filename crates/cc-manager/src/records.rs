//! The manager's records in the store. Byte by byte in `docs/wire-format.md`.

use alloc::{format, sync::Arc, vec::Vec};

use cc_core::{
    LayerDescriptor, MemberId, Opaque, PairId, SecretBytes,
    store::{Batch, Scope, ScopeReader, Store, StoreError},
};
use tls_codec::{
    DeserializeBytes, SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{
    change::{Change, ChangeId},
    history::History,
    pair::Pairing,
    place::Place,
    proposal::{Content, Proposal, Proposed},
    state::{Intent, LeaveRequest, Noted, Requests, Staged, State},
};

/// The version of all records of this file.
pub(crate) const STATE_VERSION: u16 = 1;

const SHAPE: &[u8] = b"shape";
const GROUP: &[u8] = b"group";
const STAGED: &[u8] = b"staged";
const OVERTAKEN: &[u8] = b"overtaken";
const HISTORY: &[u8] = b"history";
const PAIR: &[u8] = b"pair";
const ACCEPTED: &[u8] = b"accepted";
pub(crate) const COUNTERS: &[u8] = b"counters";

/// What goes up with every commit, or may.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Counters {
    /// Random. Another manager that is created under the same name later has another one.
    pub(crate) instance: [u8; 16],
    /// How often this manager committed.
    pub(crate) commits: u64,
    /// The number of the next entry of the inbox or outbox.
    pub(crate) next_entry: u64,
}

impl Counters {
    pub(crate) fn read(root: &ScopeReader<'_>) -> Result<Option<Self>, StoreError> {
        read(root, COUNTERS)
    }

    pub(crate) fn write(self, batch: &mut Batch, place: &Place) -> Result<(), StoreError> {
        write(batch, place.root(), COUNTERS, &self)
    }

    /// The change rests on the store having these, or none.
    pub(crate) fn require(
        stored: Option<&Self>,
        batch: &mut Batch,
        place: &Place,
    ) -> Result<(), StoreError> {
        batch.require(place.root(), COUNTERS, stored.map(record).transpose()?);
        Ok(())
    }
}

/// Which layers there are, bottom first, and where each has its records.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Shape {
    pub(crate) next_slot: u32,
    pub(crate) layers: Vec<LayerRecord>,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct LayerRecord {
    pub(crate) slot: u32,
    id: Opaque,
    version: u16,
    parameters: Opaque,
}

impl LayerRecord {
    pub(crate) fn new(slot: u32, descriptor: &LayerDescriptor) -> Self {
        Self {
            slot,
            id: descriptor.id.as_bytes().into(),
            version: descriptor.version,
            parameters: descriptor.parameters.as_slice().into(),
        }
    }

    pub(crate) fn id(&self) -> &[u8] {
        self.id.as_slice()
    }

    pub(crate) fn describes(&self, descriptor: &LayerDescriptor) -> bool {
        self.id() == descriptor.id.as_bytes()
            && self.version == descriptor.version
            && self.parameters.as_slice() == descriptor.parameters
    }
}

impl Shape {
    pub(crate) fn read(root: &ScopeReader<'_>) -> Result<Self, StoreError> {
        read(root, SHAPE)?.ok_or(StoreError::Missing)
    }

    pub(crate) fn exists(root: &ScopeReader<'_>) -> Result<bool, StoreError> {
        Ok(root.get(SHAPE)?.is_some())
    }

    pub(crate) fn write(&self, batch: &mut Batch, place: &Place) -> Result<(), StoreError> {
        write(batch, place.root(), SHAPE, self)
    }
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct GroupRecord {
    rejoining: u8,
    joined: Vec<[u8; 16]>,
    own_leave: LeaveRecord,
    leaving: Vec<LeavingRecord>,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct LeavingRecord {
    member: [u8; 32],
    request: LeaveRecord,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct LeaveRecord {
    number: u64,
    leaves: u8,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct ProposedRecord {
    proposer: [u8; 32],
    /// Whom an addition adds, otherwise zero.
    adds: [u8; 32],
    content: Content,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct StagedRecord {
    id: [u8; 16],
    commit: Opaque,
    welcome: Opaque,
    added: Vec<[u8; 32]>,
    removed: Vec<[u8; 32]>,
    intent: IntentRecord,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct IntentRecord {
    added: Vec<AdditionRecord>,
    removed: Vec<[u8; 32]>,
    update: u8,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct AdditionRecord {
    member: [u8; 32],
    bundle: Opaque,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct PairRecord {
    id: [u8; 32],
    transcript: [u8; 32],
    peer: [u8; 32],
    opening: Opaque,
}

impl PairRecord {
    fn of(pair: &Pairing) -> Self {
        Self {
            id: pair.id.0,
            transcript: pair.transcript,
            peer: *pair.peer.as_bytes(),
            opening: pair.opening.as_slice().into(),
        }
    }

    fn into_pairing(self) -> Pairing {
        Pairing {
            id: PairId(self.id),
            transcript: self.transcript,
            peer: MemberId::from_bytes(self.peer),
            opening: self.opening.0,
        }
    }
}

/// The pairs that an account accepted lately, oldest first.
#[derive(Clone, Default, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct AcceptedPairs {
    pairs: Vec<[u8; 32]>,
}

/// Pairs that are remembered.
const MAX_ACCEPTED: usize = 256;

impl AcceptedPairs {
    pub(crate) fn has(&self, pair: &PairId) -> bool {
        self.pairs.contains(&pair.0)
    }

    /// The same with this one.
    pub(crate) fn with(&self, pair: PairId) -> Self {
        let dropped = (self.pairs.len() + 1).saturating_sub(MAX_ACCEPTED);
        let mut pairs: Vec<_> = self.pairs.iter().skip(dropped).copied().collect();
        pairs.push(pair.0);
        Self { pairs }
    }

    pub(crate) fn read(root: &ScopeReader<'_>) -> Result<Self, StoreError> {
        Ok(read(root, ACCEPTED)?.unwrap_or_default())
    }

    pub(crate) fn write(&self, batch: &mut Batch, place: &Place) -> Result<(), StoreError> {
        write(batch, place.root(), ACCEPTED, self)
    }
}

impl GroupRecord {
    fn of(state: &State) -> Self {
        let leaving = state.requests.leaving.iter().map(|(member, request)| LeavingRecord {
            member: *member.as_bytes(),
            request: LeaveRecord::of(*request),
        });
        Self {
            rejoining: u8::from(state.rejoining),
            joined: state.joined.to_vec(),
            own_leave: LeaveRecord::of(state.requests.own_leave),
            leaving: leaving.collect(),
        }
    }
}

impl LeaveRecord {
    fn of(request: LeaveRequest) -> Self {
        Self { number: request.number, leaves: u8::from(request.leaves) }
    }

    fn into_request(self) -> LeaveRequest {
        LeaveRequest { number: self.number, leaves: self.leaves != 0 }
    }
}

impl ProposedRecord {
    fn of(noted: &Noted) -> Self {
        Self {
            proposer: *noted.proposed.proposer.as_bytes(),
            adds: noted.adds.map_or([0; 32], |member| *member.as_bytes()),
            content: Content::new(&noted.proposed.proposal, 0),
        }
    }

    fn into_noted(self) -> Option<Noted> {
        let (proposal, _) = self.content.into_proposal()?;
        let adds = match proposal {
            Proposal::Add(_) => Some(MemberId::from_bytes(self.adds)),
            Proposal::Remove(_) => None,
            Proposal::Leave | Proposal::Stay => return None,
        };
        let proposer = MemberId::from_bytes(self.proposer);
        Some(Noted { proposed: Proposed { proposer, proposal }, adds })
    }
}

impl StagedRecord {
    fn of(staged: &Staged) -> Self {
        Self {
            id: staged.change.id.0,
            commit: staged.change.commit.as_slice().into(),
            welcome: staged.welcome.as_deref().unwrap_or_default().into(),
            added: to_bytes(&staged.added),
            removed: to_bytes(&staged.removed),
            intent: IntentRecord::of(&staged.intent),
        }
    }

    fn into_staged(self) -> Staged {
        Staged {
            change: Change { id: ChangeId(self.id), commit: self.commit.0 },
            welcome: Some(self.welcome.0).filter(|welcome| !welcome.is_empty()),
            added: from_bytes(self.added),
            removed: from_bytes(self.removed),
            intent: self.intent.into_intent(),
        }
    }
}

impl IntentRecord {
    fn of(intent: &Intent) -> Self {
        let added = intent.added.iter().map(|(member, bundle)| AdditionRecord {
            member: *member.as_bytes(),
            bundle: bundle.as_slice().into(),
        });
        Self {
            added: added.collect(),
            removed: to_bytes(&intent.removed),
            update: u8::from(intent.update),
        }
    }

    fn into_intent(self) -> Intent {
        let added = self.added.into_iter();
        Intent {
            added: added
                .map(|added| (MemberId::from_bytes(added.member), added.bundle.0))
                .collect(),
            removed: from_bytes(self.removed),
            update: self.update != 0,
        }
    }
}

impl State {
    pub(crate) fn read(store: &dyn Store, place: &Place) -> Result<Self, StoreError> {
        let root = place.root().of(store);
        let next_entry = Counters::read(&root)?.map_or(0, |counters| counters.next_entry);
        let mut state = Self { next_entry, ..Self::default() };
        let mut requests = Requests::default();
        if let Some(group) = read::<GroupRecord>(&root, GROUP)? {
            state.rejoining = group.rejoining != 0;
            state.joined = Arc::new(group.joined);
            requests.own_leave = group.own_leave.into_request();
            let leaving = group.leaving.into_iter();
            requests.leaving = leaving
                .map(|record| (MemberId::from_bytes(record.member), record.request.into_request()))
                .collect();
        }
        for (key, value) in place.proposals().of(store).list(b"")? {
            let number = key.try_into().map(u64::from_be_bytes);
            let number = number.map_err(|_| malformed("a proposal"))?;
            let noted = decode::<ProposedRecord>(&value)?.into_noted();
            let noted = noted.ok_or_else(|| malformed("a proposal"))?;
            requests.proposed.insert(number, Arc::new(noted));
        }
        state.requests = Arc::new(requests);
        let staged = read::<StagedRecord>(&root, STAGED)?;
        state.staged = staged.map(|record| Arc::new(record.into_staged()));
        state.history = Arc::new(read::<History>(&root, HISTORY)?.unwrap_or_default());
        let pair = read::<PairRecord>(&root, PAIR)?;
        state.pair = pair.map(|record| Arc::new(record.into_pairing()));
        let overtaken = read::<IntentRecord>(&root, OVERTAKEN)?;
        state.overtaken = overtaken.map(|record| Arc::new(record.into_intent()));
        Ok(state)
    }

    /// Writes what is not as it is in `before`.
    pub(crate) fn write(
        &self,
        before: &Self,
        batch: &mut Batch,
        place: &Place,
    ) -> Result<(), StoreError> {
        let root = place.root();
        let group =
            |state: &Self| (state.rejoining, Arc::clone(&state.joined), state.requests.own_leave);
        let (requests, requests_before) = (&*self.requests, &*before.requests);
        let same_requests = Arc::ptr_eq(&self.requests, &before.requests);
        if group(self) != group(before)
            || (!same_requests && requests.leaving != requests_before.leaving)
        {
            write(batch, root, GROUP, &GroupRecord::of(self))?;
        }
        if !same_requests {
            let scope = place.proposals();
            let (now, then) = (&requests.proposed, &requests_before.proposed);
            for number in then.keys().filter(|number| !now.contains_key(number)) {
                batch.delete(&scope, number.to_be_bytes());
            }
            for (number, noted) in now.iter().filter(|(number, _)| !then.contains_key(number)) {
                write(batch, &scope, &number.to_be_bytes(), &ProposedRecord::of(noted))?;
            }
        }
        if self.staged != before.staged {
            match &self.staged {
                None => batch.delete(root, STAGED),
                Some(staged) => write(batch, root, STAGED, &StagedRecord::of(staged))?,
            }
        }
        if self.history != before.history {
            write(batch, root, HISTORY, &*self.history)?;
        }
        if self.pair != before.pair
            && let Some(pair) = &self.pair
        {
            write(batch, root, PAIR, &PairRecord::of(pair))?;
        }
        if self.overtaken != before.overtaken {
            match &self.overtaken {
                None => batch.delete(root, OVERTAKEN),
                Some(intent) => write(batch, root, OVERTAKEN, &IntentRecord::of(intent))?,
            }
        }
        Ok(())
    }
}

fn write<T: SerializeBytes>(
    batch: &mut Batch,
    scope: &Scope,
    key: &[u8],
    value: &T,
) -> Result<(), StoreError> {
    batch.put(scope, key, record(value)?);
    Ok(())
}

fn record<T: SerializeBytes>(value: &T) -> Result<SecretBytes, StoreError> {
    let encoded = value.tls_serialize_bytes().map_err(|_| StoreError::TooLong)?;
    Ok(SecretBytes::new([&STATE_VERSION.to_be_bytes()[..], &encoded].concat()))
}

fn read<T: DeserializeBytes>(root: &ScopeReader<'_>, key: &[u8]) -> Result<Option<T>, StoreError> {
    root.get(key)?.map(|record| decode(&record)).transpose()
}

fn decode<T: DeserializeBytes>(record: &SecretBytes) -> Result<T, StoreError> {
    let (version, encoded) =
        record.expose().split_first_chunk().ok_or_else(|| malformed("a record"))?;
    match u16::from_be_bytes(*version) {
        STATE_VERSION => T::tls_deserialize_exact_bytes(encoded).map_err(|_| malformed("a record")),
        0 => Err(malformed("a record")),
        version => Err(StoreError::Newer { version: version.into() }),
    }
}

pub(crate) fn malformed(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} of a manager is malformed"))
}

fn to_bytes<'a>(ids: impl IntoIterator<Item = &'a MemberId>) -> Vec<[u8; 32]> {
    ids.into_iter().map(|id| *id.as_bytes()).collect()
}

fn from_bytes<C: FromIterator<MemberId>>(ids: Vec<[u8; 32]>) -> C {
    ids.into_iter().map(MemberId::from_bytes).collect()
}
