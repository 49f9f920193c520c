//! Which file it is, whatever it is called: its device and inode.

pub(crate) use system::{Claim, one_name, own_lock, same};

#[cfg(unix)]
mod system {
    use std::{
        collections::BTreeSet,
        fs::{File, Metadata, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
        path::Path,
        sync::{Mutex, PoisonError},
    };

    use cc_core::store::StoreError;

    type Identity = (u64, u64);

    /// The databases that this process has open.
    static OPEN: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

    /// A database that this process has open.
    #[derive(Debug)]
    pub(crate) struct Claim(Identity);

    impl Claim {
        /// [`StoreError::Locked`] where the process has it open already, by whatever name.
        pub(crate) fn of(metadata: &Metadata) -> Result<Self, StoreError> {
            let identity = identity(metadata);
            if OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(identity) {
                Ok(Self(identity))
            } else {
                Err(StoreError::Locked)
            }
        }
    }

    impl Drop for Claim {
        fn drop(&mut self) {
            OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        }
    }

    /// Fails where the database has another name: the lock file and the write-ahead log go by the name,
    /// and who opens it by the other has neither.
    pub(crate) fn one_name(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
        if metadata.nlink() > 1 {
            return Err(StoreError::io(
                "the file has a second name (a hard link), under which it has another lock and log: \
                 remove that, or copy the file",
            ));
        }
        if is_mount(path) {
            return Err(StoreError::io(
                "the file is mounted by itself, without its lock and log: mount its directory",
            ));
        }
        Ok(())
    }

    /// Whether something is mounted just there.
    #[cfg(target_os = "linux")]
    fn is_mount(path: &Path) -> bool {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

        // Linux before 5.8 does not tell.
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
            .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    #[cfg(not(target_os = "linux"))]
    fn is_mount(_: &Path) -> bool {
        false
    }

    /// Makes a lock file that others could open, and hold, one that they cannot.
    pub(crate) fn own_lock(lock: &File, metadata: &Metadata) -> Result<(), StoreError> {
        if metadata.nlink() > 1 {
            return Err(StoreError::io("the lock file has a second name (a hard link): remove it"));
        }
        if metadata.mode() & 0o777 != 0o600 {
            lock.set_permissions(Permissions::from_mode(0o600)).map_err(StoreError::io)?;
        }
        Ok(())
    }

    pub(crate) fn same(a: &Metadata, b: &Metadata) -> bool {
        identity(a) == identity(b)
    }

    fn identity(metadata: &Metadata) -> Identity {
        (metadata.dev(), metadata.ino())
    }
}

/// Where a lock belongs to the handle and goes with nothing else, and the standard library tells no
/// identity.
#[cfg(not(unix))]
mod system {
    use std::{
        fs::{File, Metadata},
        path::Path,
    };

    use cc_core::store::StoreError;

    #[derive(Debug)]
    pub(crate) struct Claim;

    impl Claim {
        pub(crate) fn of(_: &Metadata) -> Result<Self, StoreError> {
            Ok(Self)
        }
    }

    pub(crate) fn one_name(_: &Path, _: &Metadata) -> Result<(), StoreError> {
        Ok(())
    }

    pub(crate) fn own_lock(_: &File, _: &Metadata) -> Result<(), StoreError> {
        Ok(())
    }

    pub(crate) fn same(_: &Metadata, _: &Metadata) -> bool {
        true
    }
}
