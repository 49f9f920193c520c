//! Key packages: by which others add this person to groups.

use cc_core::Opaque;

use crate::{
    Client, Fault, Now, RequestId,
    agenda::Target,
    frame::{self, KeyPackageOffer, package_digest},
    recipe::Role,
    records::{self, PackageRecord, RequestRecord},
    seat,
    state::RequestTarget,
};

/// Key packages that are made in one call, at the most.
const MAX_PACKAGES: u32 = 1_000;
/// Key packages in the directory, at the most.
const MAX_PUBLISHED: u32 = 100;
/// Seconds before key packages in the directory expire, at which others are put there.
const MARGIN: u64 = 14 * 24 * 3600;
/// Seconds for which an expired key package still opens a welcome that is on its way.
const GRACE: u64 = 7 * 24 * 3600;

impl Client {
    /// `count` new key packages, to be given to people who are to [invite](Self::invite) this person.
    /// Each is for one invitation.
    ///
    /// # Errors
    /// [`Fault::QueueFull`] for more than 1000; [`Fault`]. None was made then.
    pub fn key_packages(&mut self, now: Now, count: usize) -> Result<Vec<Vec<u8>>, Fault> {
        if u32::try_from(count).is_ok_and(|count| count <= MAX_PACKAGES) {
            self.transact(|client| {
                (0..count).map(|_| Ok(client.new_package(now, false)?.0)).collect()
            })
        } else {
            Err(Fault::QueueFull)
        }
    }

    /// Keeps this many key packages in the directory from now on, at most 100, and one of last resort,
    /// which the directory hands out when it has no other. New ones are published when half of them are
    /// claimed, and two weeks before those that lie there expire; expired ones are forgotten a week later,
    /// with their keys. 0 publishes none.
    ///
    /// The key package of last resort is for any number of invitations until it is replaced: who steals
    /// its keys reads every welcome that was made for it. Publish enough that it is not needed.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn publish_key_packages(&mut self, count: u32) -> Result<(), Fault> {
        self.transact(|client| {
            client.state.meta.packages_wanted = count.min(MAX_PUBLISHED);
            client.timers.agenda.touch(Target::Packages);
            Ok(())
        })
    }

    /// How many key packages were made and not used, those of last resort among them.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn unused_key_packages(&self) -> Result<usize, Fault> {
        Ok(self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?.len())
    }

    /// Forgets the key packages that have expired, with their keys, without the week in which welcomes for
    /// them may still come; gives how many.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn forget_expired(&mut self, now: Now) -> Result<usize, Fault> {
        self.transact(|client| client.forget_expired_at(now.seconds()))
    }

    fn forget_expired_at(&mut self, seconds: u64) -> Result<usize, Fault> {
        self.forget_withdrawn(seconds)?;
        let mut forgotten = 0;
        for (digest, package) in
            self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?
        {
            let expired = package.expires.is_some_and(|expires| expires < seconds);
            if expired {
                self.erase_seat(&package.seat)?;
                if let Some(asked) = package.asked {
                    self.note_expired_request(&asked.group)?;
                }
                self.end_asks_of(&digest, true)?;
                self.state.delete(&records::last_resorts(), digest.clone())?;
                self.state.delete(&records::packages(), digest)?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// Makes a request that puts key packages into the directory, where it has too few, or old ones.
    pub(crate) fn replenish(&mut self, now: Now) -> Result<Option<RequestId>, Fault> {
        self.renew_mail_key_if_due(now)?;
        let meta = &self.state.meta;
        let (wanted, there) = (meta.packages_wanted, meta.packages_there.unwrap_or(0));
        let under_way = self.state.requests.values().any(|t| *t == RequestTarget::Publish);
        if wanted == 0 || under_way {
            return Ok(None);
        }
        let soon = now.seconds().saturating_add(MARGIN);
        let stale = |expires: Option<u64>| expires.is_some_and(|expires| expires <= soon);
        let all_stale = stale(meta.packages_expire);
        let last_resort = meta.last_resort_expires.is_none() || stale(meta.last_resort_expires);
        let missing = match (all_stale, there <= wanted / 2) {
            (true, _) => wanted,
            (false, true) => wanted.saturating_sub(there),
            (false, false) => 0,
        };
        if missing == 0 && !last_resort {
            return Ok(None);
        }
        self.forget_expired_at(now.seconds().saturating_sub(GRACE))?;
        let mut packages = Vec::new();
        for _ in 0..missing {
            let (package, expires) = self.new_package(now, false)?;
            let meta = &mut self.state.meta;
            if all_stale || meta.packages_expire.is_none() {
                meta.packages_expire = expires;
            }
            packages.push((package, false));
        }
        if last_resort {
            let (package, expires) = self.new_package(now, true)?;
            // One that does not expire is replaced by none.
            self.state.meta.last_resort_expires = Some(expires.unwrap_or(u64::MAX));
            packages.push((package, true));
        }
        self.state.add_request(&RequestRecord::Publish { packages }).map(Some)
    }

    /// A key package with a stack of its own, which waits for the welcome: so no one-time key is ever in
    /// two places. And when it expires.
    pub(crate) fn new_package(
        &mut self,
        now: Now,
        last_resort: bool,
    ) -> Result<(Vec<u8>, Option<u64>), Fault> {
        let name = self.new_seat(Role::Invited)?;
        let latest = self.latest_address()?;
        let seat = self.seat(&name)?;
        if last_resort {
            seat::set_last_resort(seat)?;
        }
        let (bundle, expires) = seat::key_package(seat, latest, now)?;
        let package = PackageRecord { seat: name, expires, asked: None };
        let digest = package_digest(&bundle);
        self.state.put(&records::packages(), digest, &package)?;
        if last_resort {
            self.state.put(&records::last_resorts(), digest, &())?;
        }
        let address = self.mail_address()?;
        let offer = frame::encode(&KeyPackageOffer { address, bundle: Opaque(bundle) })?;
        Ok((offer, expires))
    }

    /// Joins by a welcome for this key package, in a copy of the stack that waits for one, and gives the copy;
    /// `None` where the welcome is none. The key package is used up when its group is known to be the one
    /// that the welcome names.
    pub(crate) fn join_by(
        &mut self,
        package: &PackageRecord,
        welcome: &[u8],
    ) -> Result<Option<String>, Fault> {
        let seat = self.copy_seat(&package.seat)?;
        if !seat::join(self.seat(&seat)?, welcome)? {
            self.erase_seat(&seat)?;
            return Ok(None);
        }
        seat::forget_key_packages(self.seat(&seat)?)?;
        Ok(Some(seat))
    }

    /// The key package has led into a group: nothing else opens with it, unless it is of last resort.
    pub(crate) fn use_package(
        &mut self,
        digest: &[u8; 32],
        package: &PackageRecord,
    ) -> Result<(), Fault> {
        if self.state.get::<()>(&records::last_resorts(), digest)?.is_some() {
            return Ok(());
        }
        self.end_asks_of(digest, false)?;
        self.state.delete(&records::packages(), *digest)?;
        self.erase_seat(&package.seat)
    }
}
