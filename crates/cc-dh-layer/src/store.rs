//! The layer in a store: the record of what it was made with, and what all records have in common.
//! The bytes are in the [crate documentation](crate#bytes-in-a-store).

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use cc_core::{
    LayerError, Restore, Secret, SecretBytes,
    store::{ScopeReader, StoreError},
};

use crate::{DhKeyPair, DhLayer, DhPublicKey, group::Group, layer::Mode, pairwise::Pairwise};

pub(crate) const LAYER: &[u8] = b"layer";

const VERSION: u16 = 1;
const PAIRWISE: u8 = 1;
const GROUP: u8 = 2;

impl Restore for DhLayer {
    const ID: &'static str = "cc.dh";

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut records = Records::read(from)?;
        let record = records.take(LAYER)?;
        let mut fields = record.fields()?;
        let mode = fields.byte()?;
        let len = usize::from(fields.byte()?);
        let public = DhPublicKey::from_bytes(fields.slice(len)?).map_err(|_| malformed())?;
        let mode = match mode {
            PAIRWISE => {
                let secrets = [fields.secret()?, fields.secret()?, fields.secret()?];
                Mode::Pairwise(Pairwise::from_secrets(secrets))
            }
            GROUP => {
                let keys = DhKeyPair::from_private_key(public.curve(), fields.secret()?)
                    .map_err(|_| malformed())?;
                if *keys.public_key() != public {
                    return Err(malformed().into());
                }
                Mode::Group(Box::new(Group::restore(keys, &mut records)?))
            }
            _ => return Err(malformed().into()),
        };
        fields.end()?;
        records.end()?;
        Ok(Self::from_parts(public, mode))
    }
}

pub(crate) fn encode(public: &DhPublicKey, mode: &Mode) -> SecretBytes {
    let public = public.to_bytes();
    // 35 or 69.
    let len = u8::try_from(public.len()).unwrap_or_default();
    match mode {
        Mode::Pairwise(pairwise) => {
            let [a, b, c] = pairwise.secrets();
            record(&[&[PAIRWISE, len], &public, a, b, c])
        }
        Mode::Group(group) => record(&[&[GROUP, len], &public, group.private_key().expose()]),
    }
}

/// A record: the version, and these fields one behind the other.
pub(crate) fn record(fields: &[&[u8]]) -> SecretBytes {
    let version = VERSION.to_be_bytes();
    // Of the right size at once: a vector that grows leaves copies of secrets behind.
    let len = version.len() + fields.iter().map(|field| field.len()).sum::<usize>();
    let mut record = Vec::with_capacity(len);
    record.extend_from_slice(&version);
    fields.iter().for_each(|field| record.extend_from_slice(field));
    SecretBytes::new(record)
}

pub(crate) fn malformed() -> StoreError {
    StoreError::corrupt("the records of a DH layer are malformed, or do not belong together")
}

/// All records of a layer, to be taken out one by one.
pub(crate) struct Records(BTreeMap<Vec<u8>, SecretBytes>);

impl Records {
    fn read(from: &ScopeReader<'_>) -> Result<Self, StoreError> {
        Ok(Self(from.list(b"")?.into_iter().collect()))
    }

    pub(crate) fn take(&mut self, key: &[u8]) -> Result<Record, StoreError> {
        let record = self.0.remove(key).map(Record);
        record.ok_or_else(|| StoreError::corrupt("a record of a DH layer is missing"))
    }

    /// A record that nothing refers to shows that another one is not what it was.
    fn end(self) -> Result<(), StoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

/// A record that was read.
pub(crate) struct Record(SecretBytes);

impl Record {
    /// What is behind the version.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, StoreError> {
        let mut fields = Fields(self.0.expose());
        match u16::from_be_bytes(fields.array()?) {
            0 => Err(malformed()),
            VERSION => Ok(fields),
            newer => Err(StoreError::Newer { version: newer.into() }),
        }
    }
}

/// The rest of a record. Each method takes something off its front.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(slice)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Not for secrets.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.slice(N)?.try_into().map_err(|_| malformed())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StoreError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn secret(&mut self) -> Result<Secret<32>, StoreError> {
        Secret::copy_from(self.slice(32)?).ok_or_else(malformed)
    }

    pub(crate) fn end(self) -> Result<(), StoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}
