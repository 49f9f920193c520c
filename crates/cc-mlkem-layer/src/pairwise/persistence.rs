//! The records of a pair: written where something changed. The bytes are in the
//! [crate documentation](crate#bytes-in-a-store).

use alloc::{sync::Arc, vec::Vec};

use cc_core::{
    LayerError, SecretBytes,
    membership::Versions,
    store::{ScopeWriter, StoreError},
};
use cc_root_group::{
    MemberPublicKey as _, Suite as _,
    records::{Fields, Records, malformed, record},
};

use super::{
    MAX_PAST_EPOCHS, Pair, Pairwise, Role, Schedule,
    epoch::{EpochSecrets, OwnEpoch, PeerEpoch},
    header,
    schedule::Progress,
    state::State,
};
use crate::{HybridKeyPair, HybridPublicKey, ParameterSet};

/// What is not of one epoch.
const PAIR: &[u8] = b"pair";
/// What each message changes.
const PROGRESS: &[u8] = b"progress";
/// The header of the present epoch.
const HEADER: &[u8] = b"header";
const PEER_KEY: &[u8] = b"peer-key";
/// With the number of the epoch behind it.
const OWN: &[u8] = b"own";
const PEER: &[u8] = b"peer";

impl Pairwise {
    /// The fields of the layer's record.
    pub(crate) fn encode_pair(&self) -> SecretBytes {
        let Pair { keys, peer, role, .. } = &*self.pair;
        let private = keys.private_key();
        record(&[
            &[PAIRWISE],
            &peer.parameter_set().id().to_be_bytes(),
            &[*role as u8],
            private.expose(),
            peer.encoded(),
        ])
    }

    /// Reads what [`encode_pair`](Self::encode_pair) wrote behind the parameter set, and the other records.
    pub(crate) fn restore(
        set: ParameterSet,
        fields: &mut Fields<'_>,
        records: &mut Records,
    ) -> Result<Self, LayerError> {
        let role = Role::from_number(fields.byte()?).ok_or_else(malformed)?;
        let keys = HybridKeyPair::from_private_key(set, fields.slice(PRIVATE_LEN)?)
            .map_err(|_| malformed())?;
        let peer = HybridPublicKey::from_encoded(set, fields.slice(set.public_key_len())?)
            .map_err(|_| malformed())?;
        let pair = Pair::new(keys, peer, role).map_err(|_| malformed())?;
        let state = read(set, records)?;
        let next_number = state.present.number.checked_add(1).ok_or_else(malformed)?;
        Ok(Self { pair: Arc::new(pair), state: Versions::restored(state), next_number })
    }

    pub(crate) fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.state.save(to, |before, after, to| {
            write(before, after, to);
            Ok(())
        })
    }
}

fn write(before: Option<&State>, after: &State, to: &mut ScopeWriter<'_>) {
    for (key, encode) in [(PAIR, encode_head as fn(&State) -> SecretBytes), (PROGRESS, progress)] {
        let record = encode(after);
        if before.map(encode).is_none_or(|before| before != record) {
            to.put(key, record);
        }
    }
    if before.is_none_or(|before| before.header != after.header) {
        to.put(HEADER, record(&[&after.header]));
    }
    match (before.and_then(|before| before.peer_key.as_ref()), &after.peer_key) {
        (Some(_), None) => to.delete(PEER_KEY),
        (before, Some(key)) if before != Some(key) => to.put(PEER_KEY, record(&[key.encoded()])),
        _ => {}
    }
    for epoch in before.iter().flat_map(|before| before.own_epochs()) {
        if after.own(epoch.number).is_none() {
            to.delete(epoch_key(OWN, epoch.number));
        }
    }
    for epoch in after.own_epochs() {
        // An epoch that was reverted has a number that is not used again.
        if before.is_none_or(|before| before.own(epoch.number).is_none()) {
            to.put(epoch_key(OWN, epoch.number), encode_own(epoch));
        }
    }
    for epoch in before.iter().flat_map(|before| &before.receiving) {
        if after.peers(epoch.number).is_none() {
            to.delete(epoch_key(PEER, epoch.number));
        }
    }
    for epoch in &after.receiving {
        let known = before.and_then(|before| before.peers(epoch.number));
        if known.is_none_or(|known| !Arc::ptr_eq(known, epoch)) {
            to.put(epoch_key(PEER, epoch.number), encode_peer(epoch));
        }
    }
}

fn encode_head(state: &State) -> SecretBytes {
    let numbers = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.flat_map(u64::to_be_bytes).collect::<Vec<u8>>()
    };
    let own = numbers(&mut state.own_epochs().map(|epoch| epoch.number));
    let peer = numbers(&mut state.receiving.iter().map(|epoch| epoch.number));
    // At most 82 and 66.
    let [own_count, peer_count] = [own.len() / 8, peer.len() / 8].map(|count| count.to_be_bytes());
    let past = state.past.to_be_bytes();
    let [.., past] = past;
    let ([.., own_count], [.., peer_count]) = (own_count, peer_count);
    record(&[
        &[past],
        &state.schedule.messages.to_be_bytes(),
        &state.schedule.seconds.to_be_bytes(),
        &state.confirmed.to_be_bytes(),
        &[own_count],
        &own,
        &[peer_count],
        &peer,
    ])
}

fn progress(state: &State) -> SecretBytes {
    let Progress { sent, since, now, requested } = state.progress;
    let time = |time: Option<u64>| {
        [[u8::from(time.is_some())].as_slice(), &time.unwrap_or(0).to_be_bytes()].concat()
    };
    record(&[&sent.to_be_bytes(), &time(since), &time(now), &[u8::from(requested)]])
}

fn encode_own(epoch: &OwnEpoch) -> SecretBytes {
    let [chain, messages, contribution] = epoch.secrets.expose();
    let private = epoch.keys.as_ref().map(HybridKeyPair::private_key);
    let private = private.as_ref().map_or(&[][..], |private| private.expose());
    record(&[chain, messages, contribution, private])
}

fn encode_peer(epoch: &PeerEpoch) -> SecretBytes {
    let [chain, messages, contribution] = epoch.secrets.expose();
    let answers = epoch.answers.to_be_bytes();
    record(&[chain, messages, contribution, &answers, &epoch.digest])
}

fn read(set: ParameterSet, records: &mut Records) -> Result<State, StoreError> {
    let head = records.take(PAIR)?;
    let mut fields = head.fields()?;
    let past = usize::from(fields.byte()?);
    let schedule = Schedule { messages: fields.number()?, seconds: fields.number()? };
    let confirmed = fields.number()?;
    let [own, peer] = [read_numbers(&mut fields)?, read_numbers(&mut fields)?];
    fields.end()?;
    let (present, earlier) = own.split_last().ok_or_else(malformed)?;
    if past > MAX_PAST_EPOCHS || confirmed > *present {
        return Err(malformed());
    }
    let earlier: Result<_, _> =
        earlier.iter().map(|number| read_own(*number, set, records)).collect();
    let receiving: Result<_, _> = peer.iter().map(|number| read_peer(*number, records)).collect();
    let peer_key = match peer.is_empty() {
        true => None,
        false => {
            let record = records.take(PEER_KEY)?;
            let key = HybridPublicKey::from_encoded(set, record.fields()?.rest());
            Some(key.map_err(|_| malformed())?)
        }
    };
    Ok(State {
        present: read_own(*present, set, records)?,
        header: read_header(set, records)?,
        earlier: earlier?,
        confirmed,
        receiving: receiving?,
        peer_key,
        past,
        schedule,
        progress: read_progress(records)?,
    })
}

/// Numbers in ascending order, behind their count.
fn read_numbers(fields: &mut Fields<'_>) -> Result<Vec<u64>, StoreError> {
    let count = fields.byte()?;
    let numbers: Vec<_> = (0..count).map(|_| fields.number()).collect::<Result<_, _>>()?;
    let valid = numbers.is_sorted_by(|one, other| one < other) && !numbers.contains(&0);
    if valid { Ok(numbers) } else { Err(malformed()) }
}

fn read_header(set: ParameterSet, records: &mut Records) -> Result<Arc<[u8]>, StoreError> {
    let record = records.take(HEADER)?;
    let header = record.fields()?.rest();
    let fits =
        [false, true].map(|announces| header::len_of(set, announces)).contains(&header.len());
    if fits { Ok(header.into()) } else { Err(malformed()) }
}

fn read_progress(records: &mut Records) -> Result<Progress, StoreError> {
    let record = records.take(PROGRESS)?;
    let mut fields = record.fields()?;
    let progress = Progress {
        sent: fields.number()?,
        since: read_time(&mut fields)?,
        now: read_time(&mut fields)?,
        requested: read_flag(&mut fields)?,
    };
    fields.end()?;
    Ok(progress)
}

fn read_time(fields: &mut Fields<'_>) -> Result<Option<u64>, StoreError> {
    match (read_flag(fields)?, fields.number()?) {
        (true, time) => Ok(Some(time)),
        (false, 0) => Ok(None),
        _ => Err(malformed()),
    }
}

fn read_flag(fields: &mut Fields<'_>) -> Result<bool, StoreError> {
    match fields.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(malformed()),
    }
}

fn read_own(
    number: u64,
    set: ParameterSet,
    records: &mut Records,
) -> Result<Arc<OwnEpoch>, StoreError> {
    let record = records.take(&epoch_key(OWN, number))?;
    let mut fields = record.fields()?;
    let secrets = read_secrets(&mut fields)?;
    let keys = match fields.rest() {
        [] => None,
        private => Some(HybridKeyPair::from_private_key(set, private).map_err(|_| malformed())?),
    };
    Ok(Arc::new(OwnEpoch { number, secrets, keys }))
}

fn read_peer(number: u64, records: &mut Records) -> Result<Arc<PeerEpoch>, StoreError> {
    let record = records.take(&epoch_key(PEER, number))?;
    let mut fields = record.fields()?;
    let secrets = read_secrets(&mut fields)?;
    let (answers, digest) = (fields.number()?, fields.array()?);
    fields.end()?;
    Ok(Arc::new(PeerEpoch { number, answers, secrets, digest }))
}

fn read_secrets(fields: &mut Fields<'_>) -> Result<EpochSecrets, StoreError> {
    Ok(EpochSecrets::from_parts([fields.secret()?, fields.secret()?, fields.secret()?]))
}

fn epoch_key(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

pub(crate) const PAIRWISE: u8 = 1;
const PRIVATE_LEN: usize = 96;
