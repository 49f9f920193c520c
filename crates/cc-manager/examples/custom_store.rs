//! A store of your own: all records in one sealed file, which each commit replaces.
//!
//! That suits a few small groups, for every commit writes everything. What it shows is what any store
//! has to do; the conformance suite judges it (`cargo test -p cc-manager --example custom_store`).

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Catalog};

struct FileStore {
    path: PathBuf,
    key: AesKey,
    records: BTreeMap<(Scope, Vec<u8>), SecretBytes>,
    in_doubt: bool,
    /// Held until the store is dropped or the process ends: nobody else moves the same ratchets.
    _lock: File,
}

impl FileStore {
    fn open(path: &Path, key: AesKey) -> Result<Self, StoreError> {
        let lock = File::create(path.with_extension("lock")).map_err(StoreError::io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked,
            TryLockError::Error(error) => StoreError::io(error),
        })?;
        let records = match fs::read(path) {
            Ok(sealed) => {
                let bytes = key.open(b"my store", &sealed).map_err(|_| StoreError::WrongKey)?;
                let bytes = SecretBytes::new(bytes);
                decode(bytes.expose()).ok_or_else(|| StoreError::corrupt("a malformed record"))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(StoreError::io(error)),
        };
        Ok(Self { path: path.into(), key, records, in_doubt: false, _lock: lock })
    }

    fn usable(&self) -> Result<(), StoreError> {
        let doubt = || StoreError::in_doubt("a commit failed on its way to the disk");
        if self.in_doubt { Err(doubt()) } else { Ok(()) }
    }
}

impl Store for FileStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.usable()?;
        Ok(self.records.get(&(scope.clone(), key.to_vec())).map(SecretBytes::duplicate))
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        for ((at, key), value) in self.records.range((scope.clone(), prefix.to_vec())..) {
            let over = at != scope || !key.starts_with(prefix);
            if over || visit(key, value.duplicate()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.usable()?;
        batch.check(self)?;
        let copy = |(name, value): (&_, &SecretBytes)| (Clone::clone(name), value.duplicate());
        let mut records: BTreeMap<_, _> = self.records.iter().map(copy).collect();
        for (scope, key, change) in batch.changes() {
            let name = (scope.clone(), key.to_vec());
            match change {
                Change::Put(value) => records.insert(name, value.duplicate()),
                Change::Delete => records.remove(&name),
            };
        }
        let sealed = self.key.seal(b"my store", encode(&records).expose());
        let draft = self.path.with_extension("draft");
        // Until the file is replaced, nothing has happened.
        replacement(&draft, &sealed.map_err(StoreError::io)?).map_err(StoreError::io)?;
        // From here on it may have, whatever the system says.
        replace(&draft, &self.path).map_err(|error| {
            self.in_doubt = true;
            StoreError::in_doubt(error)
        })?;
        self.records = records;
        Ok(())
    }
}

fn replacement(draft: &Path, sealed: &[u8]) -> io::Result<()> {
    let mut file = File::create(draft)?;
    file.write_all(sealed)?;
    file.sync_all()
}

/// The name is durable once the directory is.
fn replace(draft: &Path, path: &Path) -> io::Result<()> {
    fs::rename(draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn encode(records: &BTreeMap<(Scope, Vec<u8>), SecretBytes>) -> SecretBytes {
    let parts = |((scope, key), value): (&(Scope, Vec<u8>), &SecretBytes)| {
        [scope.as_bytes(), key, value.expose()].map(|part| part.len() + 8).iter().sum::<usize>()
    };
    let mut bytes = Vec::with_capacity(records.iter().map(parts).sum());
    for ((scope, key), value) in records {
        for part in [scope.as_bytes(), key, value.expose()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    SecretBytes::new(bytes)
}

fn decode(mut bytes: &[u8]) -> Option<BTreeMap<(Scope, Vec<u8>), SecretBytes>> {
    let mut part = || {
        let (len, rest) = bytes.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u64::from_be_bytes(*len).try_into().ok()?)?;
        bytes = rest;
        Some(part)
    };
    let mut records = BTreeMap::new();
    while let Some(scope) = part() {
        let name = (Scope::from_bytes(scope)?, part()?.to_vec());
        records.insert(name, SecretBytes::new(part()?.to_vec()));
    }
    bytes.is_empty().then_some(records)
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("alice");
    let key = Secret::random()?; // from the system's key store
    let open = || FileStore::open(&path, AesKey::aes256(key.duplicate()));

    let (alice, bob) = (DhKeyPair::generate(Curve::X25519)?, DhKeyPair::generate(Curve::X25519)?);
    let (of_alice, of_bob) = (*alice.public_key(), *bob.public_key());
    let stack = |keys, peer| -> Result<_, Box<dyn Error>> {
        let dh = DhLayer::pairwise(keys, peer)?;
        Ok(CascadingCipherManager::builder().layer(dh).layer(AesLayer::inherited()))
    };
    let mut bob = stack(bob, of_alice)?.build()?;
    let mut manager = stack(alice, of_bob)?.create(open()?, "bob")?;
    println!("{}", bob.decrypt(&manager.encrypt("before the restart")?)?.as_str().unwrap_or("?"));

    drop(manager);
    let catalog = Catalog::new().with::<DhLayer>().with::<AesLayer>();
    let mut manager = CascadingCipherManager::open(open()?, "bob", &catalog)?;
    println!("{}", bob.decrypt(&manager.encrypt("after the restart")?)?.as_str().unwrap_or("?"));
    println!("{} messages wait to be marked as sent", manager.outbox()?.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            let key = Secret::take(&mut [7; 32]);
            FileStore::open(path, AesKey::aes256(key)).unwrap()
        };
        let mut number = 0;
        let fresh = || {
            number += 1;
            open(&directory.path().join(number.to_string()))
        };
        cc_core::store::tests::conformance_persistent(fresh, |store| {
            let path = store.path.clone();
            drop(store);
            open(&path)
        });
    }
}
