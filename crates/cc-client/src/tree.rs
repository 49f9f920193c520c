//! The ratchet tree of a group, to be drawn.

use cc_mls_layer::{MlsLayer, TreeView};

use crate::{Client, Fault, GroupId};

impl Client {
    /// The public side of the group's ratchet tree in the present epoch; `None` for who is not a member, and where the
    /// recipe has no MLS. It opens the group's stack: ask when it is to be shown, not with every message. To mark what
    /// the next commit renews, keep it.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::Store`], [`Fault::Stack`].
    pub fn ratchet_tree(&mut self, group: &GroupId) -> Result<Option<TreeView>, Fault> {
        self.transact(|client| {
            let mls = client.group_seat(group)?.find::<MlsLayer>();
            Ok(mls.and_then(MlsLayer::tree_view))
        })
    }
}
