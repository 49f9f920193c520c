//! The layer in a store: the record of what it was made with.

use alloc::boxed::Box;

use cc_core::{LayerError, Restore, SecretBytes, store::ScopeReader};
use cc_root_group::{
    Group, Suite as _,
    records::{Records, malformed, record},
};

use super::{MlKemLayer, Mode};
use crate::{
    HybridKeyPair, ParameterSet,
    pairwise::{PAIRWISE, Pairwise},
};

pub(super) const LAYER: &[u8] = b"layer";
const GROUP: u8 = 2;

impl Restore for MlKemLayer {
    const ID: &'static str = "cc.mlkem";

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut records = Records::read(from)?;
        let record = records.take(LAYER)?;
        let mut fields = record.fields()?;
        let mode = fields.byte()?;
        let set = u16::from_be_bytes(fields.array()?);
        let set = ParameterSet::from_id(set).ok_or_else(malformed)?;
        let mode = match mode {
            PAIRWISE => {
                Mode::Pairwise(Box::new(Pairwise::restore(set, &mut fields, &mut records)?))
            }
            GROUP => {
                let keys =
                    HybridKeyPair::from_private_key(set, fields.rest()).map_err(|_| malformed())?;
                Mode::Group(Box::new(Group::restore(keys, &mut records)?))
            }
            _ => return Err(malformed().into()),
        };
        fields.end()?;
        records.end()?;
        Ok(Self { mode })
    }
}

pub(super) fn encode(mode: &Mode) -> SecretBytes {
    match mode {
        Mode::Pairwise(pairwise) => pairwise.encode_pair(),
        Mode::Group(group) => {
            let set = group.keys().public_key().parameter_set();
            let private = group.keys().private_key();
            record(&[&[GROUP], &set.id().to_be_bytes(), private.expose()])
        }
    }
}
