//! Labels that keep apart what is derived from one key, and the kinds of member keys.

use alloc::vec::Vec;

/// `"cascading-cipher/1 " ‖ kind ‖ " " ‖ purpose`. `kind` is that of the layer, as
/// [`MemberPublicKey::LABEL`](crate::MemberPublicKey::LABEL).
#[must_use]
pub fn label(kind: &str, purpose: &str) -> Vec<u8> {
    [b"cascading-cipher/1 ", kind.as_bytes(), b" ", purpose.as_bytes()].concat()
}
