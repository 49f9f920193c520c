//! The keys of one file.
//!
//! ```text
//! root[32]   = HKDF-SHA-256(salt = "", ikm = share of the recipients[32] ‖ share of the passphrase[32],
//!                           info = "cascading-cipher/1 file" ‖ layers)
//! mac[32]    = HKDF-Expand(root, "cascading-cipher/1 file header" ‖ header in front of the MAC)
//! stream[32] = HKDF-Expand(root, "cascading-cipher/1 file stream")
//! ```
//!
//! A share that the layers do not name is left out. Behind the header comes a stream of cc-aes-layer under
//! the AES-256 key `stream`, with the MAC as associated data.

use std::fmt;

use cc_aes_layer::AesKey;
use cc_core::{
    Secret, SecretBytes,
    kdf::{hkdf, hkdf_expand},
};

use crate::Layers;

pub(crate) const MAC_LEN: usize = 32;

/// The secret of one file, from all that it takes to open it.
pub(crate) struct Root(Secret<32>);

impl Root {
    pub(crate) fn new(
        layers: Layers,
        recipient_share: Option<&Secret<32>>,
        passphrase_share: Option<&Secret<32>>,
    ) -> Self {
        let mut shares = Vec::with_capacity(64);
        for share in [recipient_share, passphrase_share].into_iter().flatten() {
            shares.extend_from_slice(share.expose());
        }
        let shares = SecretBytes::new(shares);
        Self(hkdf(&[], shares.expose(), &[b"cascading-cipher/1 file", &[layers.id()]]))
    }

    /// The MAC of a header.
    pub(crate) fn mac(&self, header: &[u8]) -> Secret<MAC_LEN> {
        hkdf_expand(&self.0, &[b"cascading-cipher/1 file header", header])
    }

    pub(crate) fn into_file_key(self, mac: [u8; MAC_LEN]) -> FileKey {
        let stream = hkdf_expand(&self.0, &[b"cascading-cipher/1 file stream"]);
        FileKey { stream: AesKey::aes256(stream), mac }
    }
}

/// The key of one file, from [`Header::unlock`](crate::Header::unlock). It opens what is behind that header.
pub struct FileKey {
    pub(crate) stream: AesKey,
    pub(crate) mac: [u8; MAC_LEN],
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Nobody guesses a passphrase who lacks the share of the recipients, and the other way round; and who gives a
    /// header other layers has another key.
    #[test]
    fn the_key_of_a_file_needs_every_share_and_the_layers() {
        let mac = |layers, recipients: Option<u8>, passphrase: Option<u8>| {
            let share = |byte| Secret::copy_from(&[byte; 32]).unwrap();
            let [recipients, passphrase] = [recipients, passphrase].map(|it| it.map(share));
            *Root::new(layers, recipients.as_ref(), passphrase.as_ref()).mac(b"header").expose()
        };
        let macs = [
            mac(Layers::Both, Some(1), Some(2)),
            mac(Layers::Both, Some(9), Some(2)),
            mac(Layers::Both, Some(1), Some(9)),
            mac(Layers::Both, Some(2), Some(1)),
            mac(Layers::Both, Some(1), None),
            mac(Layers::Recipients, Some(1), None),
            mac(Layers::Passphrase, None, Some(1)),
        ];
        assert_eq!(HashSet::from(macs).len(), macs.len());
    }
}
