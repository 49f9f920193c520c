//! Saved state: named records, each a plain encoding with big-endian integers.
//!
//! A value writes itself as several records, so that a store gets those alone that changed. A layer
//! saves through a [`Ledger`](crate::ledger::Ledger). Whoever uses a session or an account without a
//! layer gets all records in one string of bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 1 + 1 | kind, version |
//! | 4 | how many records; for each, in the order of names, 4 + n name, 4 + n value |
//!
//! State leaves this crate as [`SecretBytes`] only and belongs into an encrypted store. A later version
//! of this crate reads every earlier version of it; fixtures in `tests/fixtures` prove it. [`Limits`] are
//! part of a layer's state only: a layer is restored by whoever holds the stack, who need not know them.

use alloc::{collections::BTreeMap, vec::Vec};

use cc_core::SecretBytes;

use crate::{
    Error,
    codec::{Reader, Writer},
    limits::Limits,
};

pub(crate) const SESSION: u8 = 1;
pub(crate) const SESSIONS: u8 = 2;
pub(crate) const ACCOUNT: u8 = 3;
pub(crate) const SENDER_CHAIN: u8 = 4;
pub(crate) const SENDER_KEYS: u8 = 5;

/// The version written, of exports and of a layer's records. Only this one exists so far.
pub(crate) const VERSION: u8 = 1;

/// Something that can be saved.
pub(crate) trait State: Sized {
    /// The first byte of an export, so that one kind is never taken for another.
    const KIND: u8;

    fn write(&self, to: &mut Records);

    fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error>;
}

pub(crate) fn export<T: State>(value: &T) -> SecretBytes {
    let mut records = Records::default();
    value.write(&mut records);
    let records = records.into_map();
    let mut writer = Writer::new();
    writer.u8(T::KIND);
    writer.u8(VERSION);
    writer.count(records.len());
    for (name, value) in &records {
        writer.bytes(name);
        writer.bytes(value.expose());
    }
    writer.finish()
}

pub(crate) fn load<T: State>(bytes: &[u8], limits: &Limits) -> Result<T, Error> {
    let mut reader = Reader::new(bytes);
    let (kind, version) = (reader.u8(), reader.u8());
    if kind != Ok(T::KIND) {
        return Err(Error::InvalidState);
    }
    match version {
        Ok(VERSION) => {}
        Ok(version) => return Err(Error::UnknownVersion(version)),
        Err(_) => return Err(Error::InvalidState),
    }
    // Whatever is wrong inside, the caller can do nothing with the detail.
    let load = || {
        let mut records = Vec::new();
        for _ in 0..reader.count(4 + 4, usize::MAX)? {
            let name = Vec::from(reader.bytes(usize::MAX)?);
            if records.last().is_some_and(|(last, _)| *last >= name) {
                return Err(Error::InvalidState);
            }
            records.push((name, SecretBytes::new(Vec::from(reader.bytes(usize::MAX)?))));
        }
        reader.finish()?;
        let mut source = Source::new(records);
        let value = T::read(&mut source, limits)?;
        source.finish()?;
        Ok(value)
    };
    load().map_err(|_| Error::InvalidState)
}

/// Records on their way out.
#[derive(Default)]
pub(crate) struct Records {
    prefix: Vec<u8>,
    all: BTreeMap<Vec<u8>, SecretBytes>,
}

impl Records {
    /// Records whose names begin with `prefix`.
    pub(crate) fn at(prefix: &[u8]) -> Self {
        Self { prefix: Vec::from(prefix), all: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, name: &[u8], write: impl FnOnce(&mut Writer)) {
        let mut writer = Writer::new();
        write(&mut writer);
        self.all.insert([&self.prefix, name].concat(), writer.finish());
    }

    /// What `write` puts gets `name` before its names.
    pub(crate) fn within(&mut self, name: &[u8], write: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.extend_from_slice(name);
        write(self);
        self.prefix.truncate(outer);
    }

    pub(crate) fn into_map(self) -> BTreeMap<Vec<u8>, SecretBytes> {
        self.all
    }
}

/// Records on their way in. Each is taken once, and in the end none may be left.
pub(crate) struct Source {
    prefix: Vec<u8>,
    left: BTreeMap<Vec<u8>, SecretBytes>,
}

impl Source {
    pub(crate) fn new(records: Vec<(Vec<u8>, SecretBytes)>) -> Self {
        Self { prefix: Vec::new(), left: records.into_iter().collect() }
    }

    /// Reads the record with this name, which must be there, to its end.
    pub(crate) fn take<T>(
        &mut self,
        name: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let value = self.left.remove(&[&self.prefix, name].concat()).ok_or(Error::InvalidState)?;
        let mut reader = Reader::new(value.expose());
        let read = read(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    /// The name of the first record that is left.
    pub(crate) fn next_name(&self) -> Option<Vec<u8>> {
        let (name, _) = self.left.range(self.prefix.clone()..).next()?;
        name.strip_prefix(&self.prefix[..]).map(Vec::from)
    }

    /// What [`Records::within`] wrote, all of it.
    pub(crate) fn within<T>(
        &mut self,
        name: &[u8],
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let outer = self.prefix.len();
        self.prefix.extend_from_slice(name);
        let read = read(self).and_then(|value| self.finish().map(|()| value));
        self.prefix.truncate(outer);
        read
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        if self.next_name().is_none() { Ok(()) } else { Err(Error::InvalidState) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_taken_once_and_none_is_left() {
        let mut records = Records::default();
        records.put(b"a", |writer| writer.u8(1));
        records.within(b"b", |records| {
            records.put(b"", |writer| writer.u8(2));
            records.put(b"c", |writer| writer.u8(3));
        });
        let mut source = Source::new(records.into_map().into_iter().collect());
        assert_eq!(source.take(b"a", |_| Ok(())), Err(Error::Malformed), "not to its end");
        assert_eq!(source.take(b"a", |reader| reader.u8()), Err(Error::InvalidState), "taken");
        assert_eq!(source.next_name().unwrap(), b"b");
        let inner = source.within(b"b", |source| {
            assert_eq!(source.next_name().unwrap(), b"");
            source.take(b"", |reader| reader.u8())
        });
        assert_eq!(inner, Err(Error::InvalidState), "one is left");
        assert_eq!(source.take(b"bc", |reader| reader.u8()), Ok(3));
        assert_eq!(source.finish(), Ok(()));
    }
}
