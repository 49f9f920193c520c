//! The layer in a store: the record of what it was made with.

use alloc::boxed::Box;

use cc_core::{LayerError, Restore, SecretBytes, store::ScopeReader};

use super::{DhLayer, Mode};
use cc_root_group::{
    Group,
    records::{Records, malformed, record},
};

use crate::{Curve, DhKeyPair, DhPublicKey, pairwise::Pairwise};

pub(super) const LAYER: &[u8] = b"layer";

const PAIRWISE: u8 = 1;
const GROUP: u8 = 2;

impl Restore for DhLayer {
    const ID: &'static str = "cc.dh";

    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError> {
        let mut records = Records::read(from)?;
        let record = records.take(LAYER)?;
        let mut fields = record.fields()?;
        let mode = fields.byte()?;
        let curve = Curve::from_id(u16::from_be_bytes(fields.array()?)).ok_or_else(malformed)?;
        let point = fields.slice(curve.public_key_len())?;
        let public = DhPublicKey::from_point(curve, point).map_err(|_| malformed())?;
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
        Ok(Self { public, mode })
    }
}

pub(super) fn encode(public: &DhPublicKey, mode: &Mode) -> SecretBytes {
    let curve = public.curve().id().to_be_bytes();
    let point = public.point();
    match mode {
        Mode::Pairwise(pairwise) => {
            let [a, b, c] = pairwise.secrets();
            record(&[&[PAIRWISE], &curve, point, a, b, c])
        }
        Mode::Group(group) => {
            record(&[&[GROUP], &curve, point, group.keys().private_key().expose()])
        }
    }
}
