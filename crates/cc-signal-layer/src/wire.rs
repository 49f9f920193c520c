//! The first byte of everything this crate sends: the version in the high half, the kind in the
//! low half.

use core::ops::Range;

use alloc::vec::Vec;

use crate::Error;

/// The version all kinds below have.
pub(crate) const VERSION: u8 = 0x10;
/// A message of the Triple Ratchet.
pub(crate) const MESSAGE: u8 = VERSION | 1;
/// An initial message after X3DH.
pub(crate) const INITIAL_X3DH: u8 = VERSION | 2;
/// An initial message after PQXDH.
pub(crate) const INITIAL_PQXDH: u8 = VERSION | 3;
/// A prekey bundle.
pub(crate) const BUNDLE: u8 = VERSION | 4;
/// A Sender Key distribution message.
pub(crate) const SENDER_KEY_DISTRIBUTION: u8 = VERSION | 5;
/// A Sender Key message.
pub(crate) const SENDER_KEY_MESSAGE: u8 = VERSION | 6;

/// Checks a first byte off the wire where one kind only is possible.
pub(crate) fn expect(found: u8, wanted: u8) -> Result<(), Error> {
    if found == wanted {
        Ok(())
    } else if found & 0xf0 == VERSION {
        Err(Error::Malformed)
    } else {
        Err(Error::UnknownVersion(found >> 4))
    }
}

/// Opens a copy of `message` by a function that opens in place and tells where the text is, and gives
/// the text with whatever else that function gives.
pub(crate) fn open_copy<T>(
    message: &[u8],
    open_in_place: impl FnOnce(&mut [u8]) -> Result<(Range<usize>, T), Error>,
) -> Result<(Vec<u8>, T), Error> {
    let mut buffer = Vec::from(message);
    let (range, other) = open_in_place(&mut buffer)?;
    buffer.truncate(range.end);
    buffer.drain(..range.start);
    Ok((buffer, other))
}
