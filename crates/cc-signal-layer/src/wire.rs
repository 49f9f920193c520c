//! The first byte of everything this crate sends: the version in the high half, the kind in the
//! low half.

/// The version all kinds below have.
pub(crate) const VERSION: u8 = 0x10;
/// A Double Ratchet message.
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
pub(crate) fn expect(found: u8, wanted: u8) -> Result<(), crate::Error> {
    if found == wanted {
        Ok(())
    } else if found & 0xf0 == VERSION {
        Err(crate::Error::Malformed)
    } else {
        Err(crate::Error::UnknownVersion(found >> 4))
    }
}
