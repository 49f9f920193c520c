//! The records of a group: read whole or not at all, and written where something changed. The bytes are in
//! the [crate documentation](crate#bytes-in-a-store).

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{
    LayerError, MemberId, SecretBytes,
    membership::{PastEpochs, PendingChange, Phase, Versions},
    store::{ScopeWriter, StoreError},
};

use super::{
    Generation, Group, MAX_PAST_GENERATIONS, MessageSecrets, State,
    generation::Secrets,
    roster::{Roster, Shard, Shards, read_entries, write_entries},
};
use crate::{
    MemberKeyPair, MemberPublicKey,
    records::{Fields, Records, malformed, record},
};

const GROUP: &[u8] = b"group";
const GENERATION: &[u8] = b"generation";
const CHANGE: &[u8] = b"change";
/// With the number of the generation behind it.
const PAST: &[u8] = b"past";
/// With the index of the shard behind it: the roster of the present generation.
const ROSTER: &[u8] = b"roster";
/// The same of the staged change, where it differs.
const NEXT_ROSTER: &[u8] = b"next-roster";

/// `None` for a shard without members.
type ChangedShards<P> = BTreeMap<u8, Option<Arc<Shard<P>>>>;

impl<K: MemberKeyPair> Group<K> {
    /// The group that [`save`](Self::save) wrote, of the owner of `keys`.
    ///
    /// # Errors
    /// [`Storage`](cc_core::LayerErrorKind::Storage) for records that are missing or malformed.
    pub fn restore(keys: K, records: &mut Records) -> Result<Self, LayerError> {
        let state = read(records, &keys)?;
        Ok(Self { keys, state: Versions::restored(state) })
    }

    /// Writes what differs from what the store has, which is nothing if it is new.
    ///
    /// # Errors
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) for a window that no record holds.
    pub fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.state.save(to, write)
    }
}

fn write<P: MemberPublicKey>(
    before: Option<&State<P>>,
    after: &State<P>,
    to: &mut ScopeWriter<'_>,
) -> Result<(), LayerError> {
    let head = write_head(after)?;
    if before.map(write_head).transpose()?.is_none_or(|before| before != head) {
        to.put(GROUP, head);
    }
    write_generation(GENERATION, before.and_then(present), present(after), to);
    write_generation(CHANGE, before.and_then(next), next(after), to);

    let roster = |state: Option<&State<P>>| match state.and_then(present) {
        Some(now) => now.roster.shards().clone(),
        None => Shards::new(),
    };
    write_shards(ROSTER, &roster(before), &roster(Some(after)), to);
    let (changed_before, changed) = (before.map(changed_shards), changed_shards(after));
    write_changed_shards(&changed_before.unwrap_or_default(), &changed, to);

    let known = |number: u64| before.and_then(|before| before.past().get(number));
    if let Some(before) = before {
        for (number, _) in before.past().iter() {
            if after.past().get(number).is_none() {
                to.delete(past_key(number));
            }
        }
    }
    for (number, messages) in after.past().iter() {
        if !known(number).is_some_and(|known| Arc::ptr_eq(known, messages)) {
            let [contribution, key] = messages.expose();
            to.put(past_key(number), record(&[contribution, key]));
        }
    }
    Ok(())
}

/// The record of what the state is made of.
fn write_head<P: MemberPublicKey>(state: &State<P>) -> Result<SecretBytes, LayerError> {
    let window = u8::try_from(state.past().limit())
        .map_err(|_| LayerError::misuse("keep fewer past generations"))?;
    let (phase, last) = match state.phase() {
        Phase::Outside => (0, None),
        Phase::Member(_) => (1, None),
        Phase::Removed { last } => (2, Some(last.to_be_bytes())),
    };
    let change = match state.change() {
        None => 0,
        Some(PendingChange { founds: false, .. }) => 1,
        Some(PendingChange { founds: true, .. }) => 2,
    };
    let member = state.member();
    let attached = u8::from(member.is_some());
    let member = member.as_ref().map_or(&[][..], |member| member.as_bytes());
    let last = last.as_ref().map_or(&[][..], |last| last);
    let past: Vec<u8> = state.past().iter().flat_map(|(number, _)| number.to_be_bytes()).collect();
    Ok(record(&[&[window, phase, change, attached], member, last, &past]))
}

fn write_generation<P: MemberPublicKey>(
    key: &'static [u8],
    before: Option<&Generation<P>>,
    after: Option<&Generation<P>>,
    to: &mut ScopeWriter<'_>,
) {
    match (before, after) {
        (Some(before), Some(after)) if Arc::ptr_eq(&before.secrets, &after.secrets) => {}
        (_, Some(Generation { number, history, commit, roster, secrets })) => {
            let [contribution, messages, membership, onward, authenticator] = secrets.expose();
            let fields: [&[u8]; 9] = [
                &number.to_be_bytes(),
                history,
                commit,
                &roster.digest(),
                contribution,
                messages,
                membership,
                onward,
                authenticator,
            ];
            to.put(key, record(&fields));
        }
        (Some(_), None) => to.delete(key),
        (None, None) => {}
    }
}

fn write_shards<P: MemberPublicKey>(
    prefix: &[u8],
    before: &Shards<P>,
    after: &Shards<P>,
    to: &mut ScopeWriter<'_>,
) {
    for index in before.keys().filter(|index| !after.contains_key(index)) {
        to.delete(shard_key(prefix, *index));
    }
    for (index, shard) in after {
        if !before.get(index).is_some_and(|before| Arc::ptr_eq(before, shard)) {
            to.put(shard_key(prefix, *index), record(&[&write_entries(shard.entries())]));
        }
    }
}

/// The shards that the staged change makes anew; `None` for one that it empties.
fn changed_shards<P: MemberPublicKey>(state: &State<P>) -> ChangedShards<P> {
    let (Some(now), Some(next)) = (present(state), next(state)) else { return BTreeMap::new() };
    let (now, next) = (now.roster.shards(), next.roster.shards());
    let emptied = now.keys().filter(|index| !next.contains_key(index)).map(|index| (*index, None));
    let shared = |index, shard| now.get(index).is_some_and(|now| Arc::ptr_eq(now, shard));
    let changed = next.iter().filter(|(index, shard)| !shared(index, shard));
    emptied.chain(changed.map(|(index, shard)| (*index, Some(Arc::clone(shard))))).collect()
}

fn write_changed_shards<P: MemberPublicKey>(
    before: &ChangedShards<P>,
    after: &ChangedShards<P>,
    to: &mut ScopeWriter<'_>,
) {
    for index in before.keys().filter(|index| !after.contains_key(index)) {
        to.delete(shard_key(NEXT_ROSTER, *index));
    }
    for (index, shard) in after {
        let same = match (before.get(index), shard) {
            (Some(Some(before)), Some(shard)) => Arc::ptr_eq(before, shard),
            (Some(None), None) => true,
            _ => false,
        };
        if !same {
            let entries = shard.as_ref().map_or(&[][..], |shard| shard.entries());
            to.put(shard_key(NEXT_ROSTER, *index), record(&[&write_entries(entries)]));
        }
    }
}

fn read<K: MemberKeyPair>(
    records: &mut Records,
    keys: &K,
) -> Result<State<K::PublicKey>, StoreError> {
    let suite = keys.public_key().suite();
    let head = records.take(GROUP)?;
    let mut fields = head.fields()?;
    let window = usize::from(fields.byte()?);
    let [phase, change, attached] = fields.array()?;
    let member = match attached {
        0 => None,
        1 => Some(MemberId::from_bytes(fields.array()?)),
        _ => return Err(malformed()),
    };
    let mut next = None;
    let phase = match phase {
        0 => Phase::Outside,
        1 => {
            let shards = read_shards(records, suite)?;
            if change != 0 {
                let shards = overlaid(&shards, records, suite)?;
                next = Some(read_generation(CHANGE, records, suite, shards)?);
            }
            Phase::Member(read_generation(GENERATION, records, suite, shards)?)
        }
        2 => Phase::Removed { last: fields.number()? },
        _ => return Err(malformed()),
    };
    let change = match (change, next) {
        (0, None) => None,
        (1, Some(next)) => Some(PendingChange { next, founds: false }),
        (2, Some(next)) => Some(PendingChange { next, founds: true }),
        _ => return Err(malformed()),
    };
    let (numbers, []) = fields.rest().as_chunks() else { return Err(malformed()) };
    if window > MAX_PAST_GENERATIONS || numbers.len() > window {
        return Err(malformed());
    }
    let mut past = Vec::with_capacity(numbers.len());
    for number in numbers {
        let number = u64::from_be_bytes(*number);
        past.push((number, read_past::<K::PublicKey>(number, records)?));
    }
    let past = PastEpochs::restored(window, past).ok_or_else(malformed)?;
    let state = State::restored(member, phase, past, change).ok_or_else(malformed)?;
    if contains_member(&state, keys.public_key()) { Ok(state) } else { Err(malformed()) }
}

/// Whether the owner of `keys` is in the present generation and in the next.
fn contains_member<P: MemberPublicKey>(state: &State<P>, key: &P) -> bool {
    let contains = |generation: &Generation<P>| {
        state.member().and_then(|member| generation.roster.key(&member)) == Some(key)
    };
    present(state).is_none_or(contains) && next(state).is_none_or(contains)
}

fn read_generation<P: MemberPublicKey>(
    key: &[u8],
    records: &mut Records,
    suite: P::Suite,
    shards: Shards<P>,
) -> Result<Generation<P>, StoreError> {
    let record = records.take(key)?;
    let mut fields = record.fields()?;
    let number = fields.number()?;
    let [history, commit, digest] = [fields.array()?, fields.array()?, fields.array()?];
    let messages = read_messages::<P>(&mut fields)?;
    let (membership, onward) = (fields.secret()?, fields.secret()?);
    let secrets = Secrets::from_parts(P::LABEL, messages, membership, onward, fields.array()?);
    fields.end()?;
    let roster = Roster::from_shards(suite, shards).ok_or_else(malformed)?;
    if roster.digest() != digest {
        return Err(malformed());
    }
    let (roster, secrets) = (Arc::new(roster), Arc::new(secrets));
    Ok(Generation { number, history, commit, roster, secrets })
}

fn read_shards<P: MemberPublicKey>(
    records: &mut Records,
    suite: P::Suite,
) -> Result<Shards<P>, StoreError> {
    let mut shards = Shards::new();
    for (index, record) in records.take_indexed(ROSTER) {
        shards.insert(index, read_shard(record.fields()?.rest(), suite)?);
    }
    Ok(shards)
}

/// The shards of the staged change, where `shards` are those of the present generation.
fn overlaid<P: MemberPublicKey>(
    shards: &Shards<P>,
    records: &mut Records,
    suite: P::Suite,
) -> Result<Shards<P>, StoreError> {
    let mut shards = shards.clone();
    for (index, record) in records.take_indexed(NEXT_ROSTER) {
        match record.fields()?.rest() {
            [] if shards.remove(&index).is_some() => {}
            entries => {
                shards.insert(index, read_shard(entries, suite)?);
            }
        }
    }
    Ok(shards)
}

fn read_shard<P: MemberPublicKey>(
    entries: &[u8],
    suite: P::Suite,
) -> Result<Arc<Shard<P>>, StoreError> {
    let entries = read_entries(suite, entries).map_err(|_| malformed())?;
    if entries.is_empty() {
        return Err(malformed());
    }
    Ok(Arc::new(Shard::new(suite, entries)))
}

fn read_past<P: MemberPublicKey>(
    number: u64,
    records: &mut Records,
) -> Result<Arc<MessageSecrets>, StoreError> {
    let record = records.take(&past_key(number))?;
    let mut fields = record.fields()?;
    let messages = read_messages::<P>(&mut fields)?;
    fields.end()?;
    Ok(Arc::new(messages))
}

fn read_messages<P: MemberPublicKey>(
    fields: &mut Fields<'_>,
) -> Result<MessageSecrets, StoreError> {
    Ok(MessageSecrets::new(P::LABEL, fields.secret()?, fields.secret()?))
}

fn present<P: MemberPublicKey>(state: &State<P>) -> Option<&Generation<P>> {
    state.present().ok()
}

fn next<P: MemberPublicKey>(state: &State<P>) -> Option<&Generation<P>> {
    state.change().map(|change| &change.next)
}

fn past_key(number: u64) -> Vec<u8> {
    [PAST, &number.to_be_bytes()].concat()
}

fn shard_key(prefix: &[u8], index: u8) -> Vec<u8> {
    [prefix, &[index]].concat()
}
