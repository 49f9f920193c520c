//! Saved state: `kind (1) || version (1) || fields`, integers big-endian.
//!
//! It leaves this crate as [`SecretBytes`] only and belongs into an encrypted store. A later
//! version of this crate reads every earlier version of the state; fixtures in `tests/fixtures`
//! prove it. [`Limits`] are part of a layer's state only: a layer is loaded by whoever holds the stack,
//! who need not know them.

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
pub(crate) const LAYER: u8 = 6;

/// The version written. Only this one exists so far.
const VERSION: u8 = 1;

/// Something that can be saved.
pub(crate) trait State: Sized {
    /// The first byte, so that one kind is never taken for another.
    const KIND: u8;

    fn write(&self, writer: &mut Writer);

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Error>;
}

pub(crate) fn export<T: State>(value: &T) -> SecretBytes {
    let mut writer = Writer::new();
    writer.u8(T::KIND);
    writer.u8(VERSION);
    value.write(&mut writer);
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
    let value = T::read(&mut reader, limits).map_err(|_| Error::InvalidState)?;
    reader.finish().map_err(|_| Error::InvalidState)?;
    Ok(value)
}
