//! The records of a group: read whole or not at all, and written where something changed.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{
    LayerError, MemberId,
    store::{ScopeWriter, StoreError},
};

use super::{Change, Group, MAX_PAST_GENERATIONS, Past, Phase, State};
use crate::{
    DhKeyPair,
    root::{Generation, Reading, Secrets},
    roster::Roster,
    store::{Records, malformed, record},
};

const GROUP: &[u8] = b"group";
const GENERATION: &[u8] = b"generation";
const CHANGE: &[u8] = b"change";

fn past_key(number: u64) -> Vec<u8> {
    [b"past".as_slice(), &number.to_be_bytes()].concat()
}

impl Group {
    pub(crate) fn restore(keys: DhKeyPair, records: &mut Records) -> Result<Self, LayerError> {
        let current = State::read(records, &keys)?;
        Ok(Self { keys, saved: current.clone(), current, staged: None, saving: None })
    }

    /// Writes what differs from what the store has, which is nothing if it is new.
    pub(crate) fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        let nothing = State::default();
        let before = if to.is_new() { &nothing } else { &self.saved };
        let after = self.view();
        if to.is_new() || !after.is(before) {
            after.write(before, to)?;
            self.saving = Some(after.clone());
        }
        Ok(())
    }
}

impl State {
    /// Whether it is the other one, and not only equal to it.
    fn is(&self, other: &Self) -> bool {
        self.me == other.me
            && self.window == other.window
            && match (&self.phase, &other.phase) {
                (Phase::Outside, Phase::Outside) | (Phase::Removed, Phase::Removed) => true,
                (Phase::Member(one), Phase::Member(other)) => one.is(other),
                _ => false,
            }
            && match (&self.change, &other.change) {
                (None, None) => true,
                (Some(one), Some(other)) => one.next.is(&other.next),
                _ => false,
            }
            && self.past.len() == other.past.len()
            && self.past.iter().zip(&other.past).all(|(one, other)| one.is(other))
    }

    fn write(&self, before: &Self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        let window = u8::try_from(self.window).unwrap_or(u8::MAX);
        let phase = match &self.phase {
            Phase::Outside => 0,
            Phase::Member(_) => 1,
            Phase::Removed => 2,
        };
        let change = match &self.change {
            None => 0,
            Some(Change { founds: false, .. }) => 1,
            Some(Change { founds: true, .. }) => 2,
        };
        let past: Vec<u8> = self.past.iter().flat_map(|past| past.number.to_be_bytes()).collect();
        let me = self.me.as_ref();
        let attached = u8::from(me.is_some());
        let me = me.map_or(&[][..], |me| me.as_bytes());
        to.put(GROUP, record(&[&[window, phase, change, attached], me, &past]));

        write_generation(GENERATION, self.generation(), before.generation(), to)?;
        let next = |state: &Self| state.change.as_ref().map(|change| change.next.clone());
        write_generation(CHANGE, next(self).as_ref(), next(before).as_ref(), to)?;
        for past in &before.past {
            if !self.past.iter().any(|kept| kept.number == past.number) {
                to.delete(past_key(past.number));
            }
        }
        for past in &self.past {
            if !before.past.iter().any(|known| known.is(past)) {
                let Reading { contribution, message } = &*past.reading;
                let fields = [&contribution.expose()[..], message.expose()];
                to.put(past_key(past.number), record(&fields));
            }
        }
        Ok(())
    }

    fn read(records: &mut Records, keys: &DhKeyPair) -> Result<Self, StoreError> {
        let group = records.take(GROUP)?;
        let mut fields = group.fields()?;
        let window = usize::from(fields.byte()?);
        let [phase, change, attached] = fields.array()?;
        let me = match attached {
            0 => None,
            1 => Some(MemberId::from_bytes(fields.array()?)),
            _ => return Err(malformed()),
        };
        let (numbers, []) = fields.rest().as_chunks() else { return Err(malformed()) };
        let numbers: Vec<_> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
        if window > MAX_PAST_GENERATIONS || numbers.len() > MAX_PAST_GENERATIONS {
            return Err(malformed());
        }

        let phase = match phase {
            0 => Phase::Outside,
            1 => Phase::Member(read_generation(GENERATION, records)?),
            2 => Phase::Removed,
            _ => return Err(malformed()),
        };
        let mut next =
            |founds| read_generation(CHANGE, records).map(|next| Some(Change { next, founds }));
        let change = match change {
            0 => None,
            1 => next(false)?,
            2 => next(true)?,
            _ => return Err(malformed()),
        };
        let past = numbers
            .into_iter()
            .map(|number| Past::read(number, records))
            .collect::<Result<Vec<_>, _>>()?;
        let state = Self { me, window, phase, past, change, arrived: false };
        if state.is_consistent(keys) { Ok(state) } else { Err(malformed()) }
    }

    /// Whether the records belong together: what every state holds that this layer makes.
    fn is_consistent(&self, keys: &DhKeyPair) -> bool {
        let contains_me = |generation: &Generation| {
            let key = self.me.and_then(|me| generation.roster.key(&me).copied());
            key == Some(*keys.public_key())
        };
        let ascending = self.past.is_sorted_by(|a, b| a.number < b.number);
        let next = self.change.as_ref().map(|change| &change.next);
        ascending
            && match &self.phase {
                Phase::Outside | Phase::Removed => next.is_none(),
                Phase::Member(now) => {
                    contains_me(now)
                        && self.past.last().is_none_or(|last| last.number < now.number)
                        && next.is_none_or(|next| {
                            contains_me(next) && Some(next.number) == now.number.checked_add(1)
                        })
                }
            }
    }

    fn generation(&self) -> Option<&Generation> {
        match &self.phase {
            Phase::Member(now) => Some(now),
            Phase::Outside | Phase::Removed => None,
        }
    }
}

impl Generation {
    fn is(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.secrets, &other.secrets)
    }
}

impl Past {
    fn is(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.reading, &other.reading)
    }

    fn read(number: u64, records: &mut Records) -> Result<Self, StoreError> {
        let record = records.take(&past_key(number))?;
        let mut fields = record.fields()?;
        let reading = Reading::new(fields.secret()?, fields.secret()?);
        fields.end()?;
        Ok(Self { number, reading: Arc::new(reading) })
    }
}

fn write_generation(
    key: &'static [u8],
    now: Option<&Generation>,
    before: Option<&Generation>,
    to: &mut ScopeWriter<'_>,
) -> Result<(), LayerError> {
    match (now, before) {
        (Some(now), Some(before)) if now.is(before) => {}
        (Some(now), _) => {
            let [contribution, message, membership, link] = now.secrets.expose();
            let roster = now.roster.encode()?;
            let fields: [&[u8]; 6] =
                [&now.number.to_be_bytes(), contribution, message, membership, link, &roster];
            to.put(key, record(&fields));
        }
        (None, Some(_)) => to.delete(key),
        (None, None) => {}
    }
    Ok(())
}

fn read_generation(key: &[u8], records: &mut Records) -> Result<Generation, StoreError> {
    let record = records.take(key)?;
    let mut fields = record.fields()?;
    let number = fields.number()?;
    let reading = Reading::new(fields.secret()?, fields.secret()?);
    let secrets = Secrets::new(reading, fields.secret()?, fields.secret()?);
    let roster = Roster::decode(fields.rest()).map_err(|_| malformed())?;
    Ok(Generation { number, roster: Arc::new(roster), secrets: Arc::new(secrets) })
}
