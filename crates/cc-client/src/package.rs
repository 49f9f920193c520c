//! Key packages: by which others add this person to groups.

use cc_core::Opaque;

use crate::{
    Client, Fault, Now,
    agenda::Target,
    frame::{self, KeyPackageOffer, package_digest},
    recipe::Role,
    records::{self, PackageRecord},
    seat,
};

impl Client {
    /// `count` new key packages, to be given to people who are to [invite](Self::invite) this person.
    /// Each is for one invitation.
    ///
    /// # Errors
    /// [`Fault`]; none was made then.
    pub fn key_packages(&mut self, now: Now, count: usize) -> Result<Vec<Vec<u8>>, Fault> {
        self.transact(|client| (0..count).map(|_| client.new_package(now)).collect())
    }

    /// Keeps this many key packages in the directory from now on: new ones are published when half of them
    /// are claimed. 0 publishes none.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn publish_key_packages(&mut self, count: u32) -> Result<(), Fault> {
        self.transact(|client| {
            client.state.meta.packages_wanted = count;
            client.timers.agenda.touch(Target::Packages);
            Ok(())
        })
    }

    /// How many key packages were made and not used.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn unused_key_packages(&self) -> Result<usize, Fault> {
        Ok(self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?.len())
    }

    /// Forgets the key packages that have expired, with their keys; gives how many.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn forget_expired(&mut self, now: Now) -> Result<usize, Fault> {
        self.transact(|client| {
            let mut forgotten = 0;
            let packages = client.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
            for (digest, package) in packages {
                let expired = package.expires.is_some_and(|expires| expires < now.seconds());
                if expired && package.rejoins.is_none() {
                    client.erase_seat(&package.seat)?;
                    client.state.delete(&records::packages(), digest)?;
                    forgotten += 1;
                }
            }
            Ok(forgotten)
        })
    }

    /// A key package with a stack of its own, which waits for the welcome: so no one-time key is ever in
    /// two places.
    pub(crate) fn new_package(&mut self, now: Now) -> Result<Vec<u8>, Fault> {
        let seat = self.new_seat(Role::Invited)?;
        let (bundle, expires) = seat::key_package(self.seat(&seat)?, now)?;
        let package = PackageRecord { seat, expires, rejoins: None };
        self.state.put(&records::packages(), package_digest(&bundle), &package)?;
        let mailbox = self.state.meta.mailbox;
        frame::encode(&KeyPackageOffer { mailbox, bundle: Opaque(bundle) })
    }
}
