//! Which mail address of a device is the latest, as its leaf in the MLS layer says: it is the same for all who are in the
//! group, newcomers included, and nobody says it for another.
//!
//! Each leaf that a device makes says it: that of a key package, and with each change of its own that of the group. (Not the
//! first one of who founds a group, which nobody else sees.) A new key for mail makes no change. So there may be later addresses
//! than the leaf says, and older ones do not count.

use cc_core::MemberId;
use cc_manager::CascadingCipherManager;
use cc_mls_layer::{MlsLayer, key_package_leaf_data};

use super::address::{AddressBody, MailAddress, rank};
use crate::{
    Client, Fault, GroupId, Now,
    records::{Standing, Work},
};

const VERSION: u8 = 1;

/// The serial of the latest address of a device when it made its leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatestAddress(pub(super) u64);

impl LatestAddress {
    /// As a leaf has it.
    fn encode(self) -> Vec<u8> {
        [&[VERSION][..], &self.0.to_be_bytes()].concat()
    }

    /// `None` for a leaf that does not say it, or of a later version.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, serial) = bytes.split_first()?;
        let serial = u64::from_be_bytes(serial.try_into().ok()?);
        (*version == VERSION).then_some(Self(serial))
    }

    /// The leaves that this stack makes from now on say it.
    pub(crate) fn put_into(self, seat: &mut CascadingCipherManager) -> Result<(), Fault> {
        if seat.find::<MlsLayer>().is_none() {
            return Ok(());
        }
        let put = seat.configure::<MlsLayer, ()>(|mut mls| mls.set_leaf_data(self.encode()));
        Ok(put?)
    }

    /// What a member's leaf says.
    pub(crate) fn of_member(seat: &CascadingCipherManager, member: &MemberId) -> Option<Self> {
        Self::decode(seat.find::<MlsLayer>()?.leaf_data(member)?)
    }

    /// Whether an address was made with a key package, as far as that says so.
    pub(crate) fn is_with_package(
        seat: &CascadingCipherManager,
        bundle: &[u8],
        address: &MailAddress,
    ) -> bool {
        let Ok(part) = seat.key_package_part::<MlsLayer>(bundle) else { return false };
        let said = key_package_leaf_data(&part).and_then(Self::decode);
        said.is_none_or(|said| said == Self(address.body.serial))
    }

    /// Whether the device had a later address than this when it made its leaf.
    fn outdates(self, address: &AddressBody, now: Now) -> bool {
        rank(address.serial, now) < rank(self.0, now)
    }
}

impl Client {
    /// What the leaves that this device makes are to say.
    pub(crate) fn latest_address(&self) -> Result<LatestAddress, Fault> {
        Ok(LatestAddress(self.mail_address()?.body.serial))
    }

    /// Whether the device had a later address: it is known, or the leaf of the device in this group says so.
    pub(crate) fn is_outdated(
        &mut self,
        group: &GroupId,
        address: &MailAddress,
        now: Now,
    ) -> Result<bool, Fault> {
        let body = &address.body;
        let known = self.state.device(&body.member)?.map(|device| device.address()).transpose()?;
        let known = known.flatten().map(|known| LatestAddress(known.body.serial));
        let standing = self.state.groups.get(group).map(|group| group.standing);
        let said = match standing {
            // There is no stack.
            None | Some(Standing::Restored(_)) => None,
            Some(_) => {
                let member = MemberId::from_bytes(body.member);
                LatestAddress::of_member(self.group_seat(group)?, &member)
            }
        };
        Ok(known.into_iter().chain(said).any(|latest| latest.outdates(body, now)))
    }

    /// The own address has an earlier serial than the one before, of a clock that was ahead: leaves that say that one would
    /// outdate it once that time has come.
    pub(super) fn renew_later_leaves(&mut self) -> Result<(), Fault> {
        let (own, latest) = (self.identity.id, self.latest_address()?);
        let groups = self.state.groups.iter();
        let groups = groups.filter(|(_, group)| group.standing == Standing::Member);
        for group in groups.map(|(id, _)| *id).collect::<Vec<_>>() {
            let said = LatestAddress::of_member(self.group_seat(&group)?, &own);
            if said.is_some_and(|said| said.0 > latest.0) {
                self.enqueue(&group, None, Work::Refresh)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod killer;
#[cfg(test)]
mod liar;
