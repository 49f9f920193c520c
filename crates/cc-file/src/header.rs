//! The header of a file: who can open it, and its authentication.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic |
//! | 2 | version, 1 |
//! | 1 | layers: 1 recipients, 2 passphrase, 3 both |
//! | 2 | number of stanzas, 1 to 256 |
//! | 4 + length, for each | stanza: type (2), length of the body (2), body |
//! | 32 | MAC of all of it |

use std::{
    fmt,
    io::{self, Read},
};

use cc_aes_layer::{Argon2Params, Password};
use cc_core::Secret;

use crate::{
    FileError, FileKey, Identity, KeyKind, Layers, MAGIC, Recipient, VERSION,
    file_key::{MAC_LEN, Root},
    hpke,
    layout::MAX_STANZAS,
    stanza::Stanza,
};

/// The header of a file: what can be seen without any key, and the way to the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    layers: Layers,
    stanzas: Vec<Stanza>,
    /// Its encoding in front of the MAC.
    bytes: Vec<u8>,
    mac: [u8; MAC_LEN],
}

impl Header {
    /// Reads a header and leaves `reader` behind it. At most 1 049 645 bytes are read and kept, and no
    /// more than arrive; nothing in it is known to be genuine before [`unlock`](Self::unlock).
    ///
    /// # Errors
    /// [`FileError::NotAFile`], [`FileError::Version`], [`FileError::UnknownProtection`],
    /// [`FileError::Header`], [`FileError::Incomplete`], [`FileError::Io`].
    pub fn read(reader: &mut impl Read) -> Result<Self, FileError> {
        let mut bytes = Vec::with_capacity(256);
        for expected in MAGIC {
            // What is shorter than the magic is no file either.
            match take(reader, 1, &mut bytes) {
                Ok(()) if bytes.last() == Some(&expected) => {}
                Ok(()) | Err(FileError::Incomplete) => return Err(FileError::NotAFile),
                Err(error) => return Err(error),
            }
        }
        let version = u16::from_be_bytes(take_array(reader, &mut bytes)?);
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let [layers] = take_array(reader, &mut bytes)?;
        let layers = Layers::from_id(layers).ok_or(FileError::UnknownProtection)?;
        let count = usize::from(u16::from_be_bytes(take_array(reader, &mut bytes)?));
        if !(1..=MAX_STANZAS).contains(&count) {
            return Err(FileError::Header("a wrong number of stanzas"));
        }
        let mut stanzas = Vec::new();
        for _ in 0..count {
            let (id, len) = Stanza::decode_prefix(take_array(reader, &mut bytes)?)?;
            let start = bytes.len();
            take(reader, len, &mut bytes)?;
            let body = bytes.get(start..).unwrap_or_default().to_vec();
            stanzas.push(Stanza::decode(id, body)?);
        }
        check_order(layers, &stanzas)?;
        let mut mac = [0; MAC_LEN];
        reader.read_exact(&mut mac).map_err(incomplete)?;
        Ok(Self { layers, stanzas, bytes, mac })
    }

    /// A new header, and the key of its file.
    pub(crate) fn create(
        recipients: &[Recipient],
        passphrase: Option<&Password>,
    ) -> Result<(Self, FileKey), FileError> {
        let layers = match (recipients, passphrase) {
            ([], None) => return Err(FileError::NobodyToOpen),
            ([], Some(_)) => Layers::Passphrase,
            (_, None) => Layers::Recipients,
            (_, Some(_)) => Layers::Both,
        };
        if recipients.len() > crate::MAX_RECIPIENTS {
            return Err(FileError::TooManyRecipients(recipients.len()));
        }
        let mut stanzas = Vec::with_capacity(recipients.len() + 1);
        let passphrase_share = match passphrase {
            Some(passphrase) => {
                let stanza = Stanza::passphrase(passphrase.params())?;
                let share = passphrase_share(&stanza, passphrase)?;
                stanzas.push(stanza);
                share
            }
            None => None,
        };
        let recipient_share = match recipients {
            [] => None,
            recipients => {
                let share = Secret::random()?;
                let associated_data = wrap_associated_data(layers);
                for recipient in recipients {
                    let body = hpke::wrap(&share, recipient, &associated_data)?;
                    stanzas.push(Stanza::Recipient { kind: recipient.kind(), body });
                }
                Some(share)
            }
        };
        let count = u16::try_from(stanzas.len()).map_err(|_| FileError::Internal("the header"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(layers.id());
        bytes.extend_from_slice(&count.to_be_bytes());
        stanzas.iter().try_for_each(|stanza| stanza.encode(&mut bytes))?;
        let root = Root::new(layers, recipient_share.as_ref(), passphrase_share.as_ref());
        let mac = *root.mac(&bytes).expose();
        Ok((Self { layers, stanzas, bytes, mac }, root.into_file_key(mac)))
    }

    /// The key of the file, by one of these identities, the passphrase, or both, as the file was encrypted.
    /// What is given is demanded: a file that does not need it is refused, so that nobody who replaced it
    /// can take a layer away.
    ///
    /// Tries every identity with every stanza of its kind: at most 256 times their number, about 0.1 ms
    /// each. Argon2id runs at most once, within what `passphrase` accepts, and where recipients are needed as
    /// well only after one of the identities fitted.
    ///
    /// # Errors
    /// [`FileError::NeedsIdentity`], [`FileError::NeedsPassphrase`], [`FileError::NoRecipients`],
    /// [`FileError::NoPassphrase`] for what is missing or too much, before any work; then
    /// [`FileError::NoMatch`], [`FileError::NoKnownMatch`], [`FileError::Argon2Ceiling`], [`FileError::OutOfMemory`],
    /// [`FileError::WrongPassphrase`], [`FileError::HeaderChanged`].
    pub fn unlock(
        &self,
        identities: &[Identity],
        passphrase: Option<&Password>,
    ) -> Result<FileKey, FileError> {
        match (self.layers.recipients(), identities.is_empty()) {
            (true, true) => return Err(FileError::NeedsIdentity),
            (false, false) => return Err(FileError::NoRecipients),
            _ => {}
        }
        match (self.layers.passphrase(), passphrase) {
            (true, None) => return Err(FileError::NeedsPassphrase),
            (false, Some(_)) => return Err(FileError::NoPassphrase),
            _ => {}
        }
        let recipient_share =
            if self.layers.recipients() { Some(self.recipient_share(identities)?) } else { None };
        let passphrase_share = match (passphrase, self.stanzas.first()) {
            (Some(passphrase), Some(stanza)) => passphrase_share(stanza, passphrase)?,
            _ => None,
        };
        let root = Root::new(self.layers, recipient_share.as_ref(), passphrase_share.as_ref());
        if root.mac(&self.bytes) != Secret::take(&mut self.mac.clone()) {
            return Err(match self.layers {
                Layers::Recipients => FileError::HeaderChanged,
                Layers::Passphrase | Layers::Both => FileError::WrongPassphrase,
            });
        }
        Ok(root.into_file_key(self.mac))
    }

    /// What it takes to open the file.
    #[must_use]
    pub const fn layers(&self) -> Layers {
        self.layers
    }

    /// The kinds of the recipients, in the order of the file. Who they are does not show.
    pub fn recipients(&self) -> impl Iterator<Item = KeyKind> {
        self.stanzas.iter().filter_map(|stanza| match stanza {
            Stanza::Recipient { kind, .. } => Some(*kind),
            Stanza::Passphrase { .. } => None,
        })
    }

    /// The parameters of Argon2id, where the file is under a passphrase.
    #[must_use]
    pub fn argon2(&self) -> Option<Argon2Params> {
        self.stanzas.iter().find_map(|stanza| match stanza {
            Stanza::Passphrase { params, .. } => Some(*params),
            Stanza::Recipient { .. } => None,
        })
    }

    /// The encoding, as it is in the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.bytes[..], &self.mac].concat()
    }

    fn recipient_share(&self, identities: &[Identity]) -> Result<Secret<32>, FileError> {
        let associated_data = wrap_associated_data(self.layers);
        for identity in identities {
            for stanza in &self.stanzas {
                match stanza {
                    Stanza::Recipient { kind, body } if *kind == identity.recipient().kind() => {
                        if let Some(share) = hpke::unwrap(body, identity, &associated_data)? {
                            return Ok(share);
                        }
                    }
                    _ => {}
                }
            }
        }
        if self.recipients().any(|kind| matches!(kind, KeyKind::Unknown(_))) {
            return Err(FileError::NoKnownMatch);
        }
        Err(FileError::NoMatch)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("layers", &self.layers)
            .field("recipients", &self.recipients().collect::<Vec<_>>())
            .field("argon2", &self.argon2())
            .finish_non_exhaustive()
    }
}

/// The stanza of the passphrase is the first where there is one, and there are others where the layers say
/// so.
fn check_order(layers: Layers, stanzas: &[Stanza]) -> Result<(), FileError> {
    let is_passphrase = |stanza: &Stanza| matches!(stanza, Stanza::Passphrase { .. });
    let (passphrases, recipients) = match stanzas.split_first() {
        Some((first, rest)) if is_passphrase(first) => (true, rest),
        _ => (false, stanzas),
    };
    let right = passphrases == layers.passphrase()
        && recipients.is_empty() != layers.recipients()
        && !recipients.iter().any(is_passphrase);
    if right { Ok(()) } else { Err(FileError::Header("stanzas that do not fit the layers")) }
}

fn passphrase_share(
    stanza: &Stanza,
    passphrase: &Password,
) -> Result<Option<Secret<32>>, FileError> {
    match stanza {
        Stanza::Passphrase { salt, params } => Ok(Some(passphrase.derive_secret(salt, *params)?)),
        Stanza::Recipient { .. } => Ok(None),
    }
}

/// Version and layers.
fn wrap_associated_data(layers: Layers) -> [u8; 3] {
    let [a, b] = VERSION.to_be_bytes();
    [a, b, layers.id()]
}

/// Appends exactly `len` bytes.
fn take(reader: &mut impl Read, len: usize, to: &mut Vec<u8>) -> Result<(), FileError> {
    let start = to.len();
    to.resize(start + len, 0);
    reader.read_exact(to.get_mut(start..).unwrap_or_default()).map_err(incomplete)
}

fn take_array<const N: usize>(
    reader: &mut impl Read,
    to: &mut Vec<u8>,
) -> Result<[u8; N], FileError> {
    take(reader, N, to)?;
    to.last_chunk().copied().ok_or(FileError::Incomplete)
}

fn incomplete(error: io::Error) -> FileError {
    if error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none() {
        return FileError::Incomplete;
    }
    error.into()
}
