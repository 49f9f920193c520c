//! Key packages with anything in them, signed as they should be: what whoever wants to be added can make.

use openmls::prelude::tls_codec::{Serialize as _, VLByteSlice};
use openmls_traits::signatures::Signer as _;

use crate::{MlsLayer, key_package_view, reader::Reader};

/// What to replace in a key package; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forged {
    pub(super) init_key: Option<Vec<u8>>,
    pub(super) leaf_key: Option<Vec<u8>>,
    /// Of the leaf, in seconds since 1970.
    pub(super) lifetime: Option<(u64, u64)>,
    /// All of a credential.
    pub(super) credential: Option<Vec<u8>>,
    /// The extensions of the key package, without the length in front.
    pub(super) extensions: Option<Vec<u8>>,
    /// The extensions of the leaf, without the length in front.
    pub(super) leaf_extensions: Option<Vec<u8>>,
}

impl Forged {
    /// A key package as `owner` made it, with this in it, and its signatures anew.
    pub(super) fn sign(&self, owner: &MlsLayer, part: &[u8]) -> Vec<u8> {
        let mut reader = Reader::new(part);
        let front = &part[..8];
        let _ = reader.u64().unwrap();
        let init_key = reader.vector().unwrap();
        let leaf_key = reader.vector().unwrap();
        let signature_key = reader.vector().unwrap();
        let after_keys = reader.rest();
        let _credential = (reader.u16().unwrap(), reader.vector().unwrap());
        let credential = &after_keys[..after_keys.len() - reader.rest().len()];
        let after_credential = reader.rest();
        for _ in 0..5 {
            reader.vector().unwrap();
        }
        let capabilities = &after_credential[..after_credential.len() - reader.rest().len()];
        assert_eq!(reader.u8(), Some(1));
        let lifetime = (reader.u64().unwrap(), reader.u64().unwrap());
        let leaf_extensions = reader.vector().unwrap();
        let _leaf_signature = reader.vector().unwrap();
        let extensions = reader.vector().unwrap();

        let or = |new: &Option<Vec<u8>>, old: &[u8]| new.clone().unwrap_or_else(|| old.to_vec());
        let (from, until) = self.lifetime.unwrap_or(lifetime);
        let mut leaf = [
            vector(&or(&self.leaf_key, leaf_key)),
            vector(signature_key),
            or(&self.credential, credential),
            capabilities.to_vec(),
            vec![1],
            from.to_be_bytes().to_vec(),
            until.to_be_bytes().to_vec(),
            vector(&or(&self.leaf_extensions, leaf_extensions)),
        ]
        .concat();
        leaf.extend(vector(&sign(owner, b"MLS 1.0 LeafNodeTBS", &leaf)));
        let mut package = [
            front[4..].to_vec(),
            vector(&or(&self.init_key, init_key)),
            leaf,
            vector(&or(&self.extensions, extensions)),
        ]
        .concat();
        package.extend(vector(&sign(owner, b"MLS 1.0 KeyPackageTBS", &package)));
        [&front[..4], &package].concat()
    }
}

/// SignWithLabel (RFC 9420 section 5.1.2); `label` with its prefix.
fn sign(owner: &MlsLayer, label: &[u8], content: &[u8]) -> Vec<u8> {
    owner.identity.signer().sign(&[vector(label), vector(content)].concat()).unwrap()
}

pub(super) fn vector(content: &[u8]) -> Vec<u8> {
    VLByteSlice(content).tls_serialize_detached().unwrap()
}

/// An extension.
pub(super) fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(content)].concat()
}

/// The content of the extension that binds a key package.
pub(super) fn bound(part: &[u8]) -> Vec<u8> {
    let view = key_package_view::KeyPackageView::read(Reader::new(&part[4..])).unwrap();
    view.binding.unwrap().to_vec()
}
