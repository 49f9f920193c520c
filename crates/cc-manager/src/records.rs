//! The manager's records in the store. Byte by byte in `docs/wire-format.md`.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use cc_core::{
    LayerDescriptor, MemberId, Opaque, SecretBytes, part_digest,
    store::{Batch, Scope, ScopeReader, Store, StoreError},
};
use tls_codec::{
    DeserializeBytes, SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{
    Change, ChangeId, Message, MessageId, Proposed,
    proposal::Content,
    state::{Intent, Roster, Staged, State},
};

/// The version of all records of this file.
pub(crate) const STATE_VERSION: u16 = 1;

const SHAPE: &[u8] = b"shape";
const GROUP: &[u8] = b"group";
const STAGED: &[u8] = b"staged";
const OVERTAKEN: &[u8] = b"overtaken";
const COUNTERS: &[u8] = b"counters";

/// Where the records of one manager are.
#[derive(Clone)]
pub(crate) struct Place(Scope);

impl Place {
    pub(crate) fn of(name: &str) -> Self {
        Self(index().child(name))
    }

    pub(crate) fn root(&self) -> &Scope {
        &self.0
    }

    pub(crate) fn layer(&self, slot: u32) -> Scope {
        self.0.child("layer").indexed(slot)
    }

    fn inbox(&self) -> Scope {
        self.0.child("inbox")
    }

    fn outbox(&self) -> Scope {
        self.0.child("outbox")
    }
}

/// Has one empty record for each manager, under its name.
pub(crate) fn index() -> Scope {
    Scope::new("cascade")
}

/// The names of all managers in the store, in the order of their bytes.
pub(crate) fn names(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let names = index().of(store).list(b"")?;
    names
        .into_iter()
        .map(|(name, _)| {
            String::from_utf8(name).map_err(|_| StoreError::corrupt("a name is not UTF-8"))
        })
        .collect()
}

/// There is a manager of this name.
pub(crate) fn register(batch: &mut Batch, name: &str) {
    batch.put(&index(), name, SecretBytes::new(Vec::new()));
}

/// What goes up with every commit, or may.
#[derive(Clone, Copy, Default, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Counters {
    /// How often this manager committed.
    pub(crate) commits: u64,
    /// The number of the next entry of the inbox or outbox.
    pub(crate) next_entry: u64,
}

impl Counters {
    pub(crate) fn read(root: &ScopeReader<'_>) -> Result<Self, StoreError> {
        Ok(read(root, COUNTERS)?.unwrap_or_default())
    }

    pub(crate) fn write(self, batch: &mut Batch, place: &Place) -> Result<(), StoreError> {
        write(batch, place.root(), COUNTERS, &self)
    }

    /// The change rests on the store having these.
    pub(crate) fn require(self, batch: &mut Batch, place: &Place) -> Result<(), StoreError> {
        let stored = if self == Self::default() { None } else { Some(record(&self)?) };
        batch.require(place.root(), COUNTERS, stored);
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
    leaving: Vec<[u8; 32]>,
    joined_at: Vec<CameRecord>,
    proposed: Vec<ProposedRecord>,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct ProposedRecord {
    proposer: [u8; 32],
    content: Content,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct CameRecord {
    member: [u8; 32],
    epoch: u64,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct StagedRecord {
    id: [u8; 16],
    commit: Opaque,
    welcome: Opaque,
    added: Vec<[u8; 32]>,
    intent: IntentRecord,
}

#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct IntentRecord {
    key_packages: Vec<Opaque>,
    removed: Vec<[u8; 32]>,
}

impl IntentRecord {
    fn of(intent: &Intent) -> Self {
        Self {
            key_packages: intent.key_packages.iter().map(|kp| kp.as_slice().into()).collect(),
            removed: to_bytes(&intent.removed),
        }
    }

    fn into_intent(self) -> Intent {
        Intent {
            key_packages: self.key_packages.into_iter().map(|kp| kp.0).collect(),
            removed: from_bytes(self.removed),
        }
    }
}

impl State {
    pub(crate) fn read(root: &ScopeReader<'_>) -> Result<Self, StoreError> {
        let Counters { next_entry, .. } = Counters::read(root)?;
        let mut state = Self { next_entry, ..Self::default() };
        if let Some(group) = read::<GroupRecord>(root, GROUP)? {
            let joined_at = group.joined_at.into_iter();
            let proposed = group.proposed.into_iter().map(|record| {
                let proposer = MemberId::from_bytes(record.proposer);
                Some(Proposed { proposer, proposal: record.content.into_proposal()? })
            });
            state.rejoining = group.rejoining != 0;
            state.joined = Arc::new(group.joined);
            state.roster = Arc::new(Roster {
                leaving: from_bytes(group.leaving),
                joined_at: joined_at
                    .map(|joined_at| (MemberId::from_bytes(joined_at.member), joined_at.epoch))
                    .collect(),
                proposed: proposed.collect::<Option<_>>().ok_or_else(|| malformed("a proposal"))?,
            });
        }
        state.staged = read::<StagedRecord>(root, STAGED)?.map(|record| {
            Arc::new(Staged {
                change: Change {
                    id: ChangeId(record.id),
                    commit: record.commit.0,
                    welcome: record.welcome.0,
                },
                added: from_bytes(record.added),
                intent: record.intent.into_intent(),
            })
        });
        state.overtaken =
            read::<IntentRecord>(root, OVERTAKEN)?.map(|record| Arc::new(record.into_intent()));
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
        let Self { rejoining, joined, roster, .. } = before;
        if (self.rejoining, &self.joined, &self.roster) != (*rejoining, joined, roster) {
            let joined_at = self.roster.joined_at.iter();
            let proposed = self.roster.proposed.iter().map(|proposed| ProposedRecord {
                proposer: *proposed.proposer.as_bytes(),
                content: Content::of(&proposed.proposal),
            });
            let record = GroupRecord {
                rejoining: u8::from(self.rejoining),
                joined: self.joined.to_vec(),
                leaving: to_bytes(&self.roster.leaving),
                joined_at: joined_at
                    .map(|(id, epoch)| CameRecord { member: *id.as_bytes(), epoch: *epoch })
                    .collect(),
                proposed: proposed.collect(),
            };
            write(batch, root, GROUP, &record)?;
        }
        if self.staged != before.staged {
            match &self.staged {
                None => batch.delete(root, STAGED),
                Some(staged) => {
                    let record = StagedRecord {
                        id: staged.change.id.0,
                        commit: staged.change.commit.as_slice().into(),
                        welcome: staged.change.welcome.as_slice().into(),
                        added: to_bytes(&staged.added),
                        intent: IntentRecord::of(&staged.intent),
                    };
                    write(batch, root, STAGED, &record)?;
                }
            }
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

/// What one operation puts into the inbox and the outbox.
pub(crate) struct Entries {
    place: Place,
    batch: Batch,
}

impl Entries {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.clone(), batch: Batch::new() }
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }

    /// Changes that belong to the same operation.
    pub(crate) fn extend(&mut self, changes: Batch) {
        self.batch.extend(changes);
    }

    /// The sender, if there is one, and the plaintext.
    pub(crate) fn receive(&mut self, number: u64, plaintext: &[u8], sender: Option<MemberId>) {
        let mut value = Vec::with_capacity(33 + plaintext.len());
        value.push(u8::from(sender.is_some()));
        value.extend(sender.iter().flat_map(|sender| sender.as_bytes()));
        value.extend_from_slice(plaintext);
        self.batch.put(&self.place.inbox(), number.to_be_bytes(), SecretBytes::new(value));
    }

    /// The number, by which they are in order, and the bytes.
    pub(crate) fn send(&mut self, number: u64, wire: &[u8]) {
        let value = [&number.to_be_bytes()[..], wire].concat();
        self.batch.put(&self.place.outbox(), part_digest(wire), SecretBytes::new(value));
    }
}

/// Oldest first.
pub(crate) fn read_inbox(store: &dyn Store, place: &Place) -> Result<Vec<Message>, StoreError> {
    let entries = place.inbox().of(store).list(b"")?;
    let message = |(key, value): (Vec<u8>, SecretBytes)| {
        let id = MessageId(u64::from_be_bytes(key.try_into().ok()?));
        let (sender, plaintext) = match value.expose().split_first()? {
            (0, plaintext) => (None, plaintext),
            (1, rest) => {
                let (sender, plaintext) = rest.split_first_chunk()?;
                (Some(MemberId::from_bytes(*sender)), plaintext)
            }
            _ => return None,
        };
        Some(Message::new(plaintext.to_vec(), sender).received(id))
    };
    entries
        .into_iter()
        .map(|entry| message(entry).ok_or_else(|| malformed("an entry of the inbox")))
        .collect()
}

/// Oldest first.
pub(crate) fn read_outbox(store: &dyn Store, place: &Place) -> Result<Vec<Vec<u8>>, StoreError> {
    let entries = place.outbox().of(store).list(b"")?;
    let mut wires = entries
        .iter()
        .map(|(_, value)| {
            let (number, wire) = value
                .expose()
                .split_first_chunk()
                .ok_or_else(|| malformed("an entry of the outbox"))?;
            Ok((u64::from_be_bytes(*number), wire.to_vec()))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    wires.sort_unstable_by_key(|(number, _)| *number);
    Ok(wires.into_iter().map(|(_, wire)| wire).collect())
}

pub(crate) fn forget_received(batch: &mut Batch, place: &Place, id: MessageId) {
    batch.delete(&place.inbox(), id.0.to_be_bytes());
}

pub(crate) fn forget_sent(batch: &mut Batch, place: &Place, wire: &[u8]) {
    batch.delete(&place.outbox(), part_digest(wire));
}

/// Deletes everything of a manager with these layers.
pub(crate) fn erase(
    store: &dyn Store,
    place: &Place,
    slots: impl IntoIterator<Item = u32>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let layers = slots.into_iter().map(|slot| place.layer(slot));
    for scope in layers.chain([place.inbox(), place.outbox(), place.root().clone()]) {
        erase_scope(store, &scope, batch)?;
    }
    Ok(())
}

pub(crate) fn erase_scope(
    store: &dyn Store,
    scope: &Scope,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    store.scan(scope, b"", &mut |key, _| {
        batch.delete(scope, key);
        core::ops::ControlFlow::Continue(())
    })
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
    let Some(record) = root.get(key)? else { return Ok(None) };
    let (version, encoded) =
        record.expose().split_first_chunk().ok_or_else(|| malformed("a record"))?;
    match u16::from_be_bytes(*version) {
        STATE_VERSION => {
            T::tls_deserialize_exact_bytes(encoded).map(Some).map_err(|_| malformed("a record"))
        }
        0 => Err(malformed("a record")),
        version => Err(StoreError::Newer { version: version.into() }),
    }
}

fn malformed(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} of a manager is malformed"))
}

fn to_bytes<'a>(ids: impl IntoIterator<Item = &'a MemberId>) -> Vec<[u8; 32]> {
    ids.into_iter().map(|id| *id.as_bytes()).collect()
}

fn from_bytes<C: FromIterator<MemberId>>(ids: Vec<[u8; 32]>) -> C {
    ids.into_iter().map(MemberId::from_bytes).collect()
}
