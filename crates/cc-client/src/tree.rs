//! The ratchet tree of a group, to be drawn.

use cc_mls_layer::{MlsLayer, TreeView};

use crate::{Client, Fault, GroupId, Person};

impl Client {
    /// The public side of the group's ratchet tree in the present epoch; `None` for who is not a member, and where the
    /// recipe has no MLS. It opens the group's stack: ask when it is to be shown, not with every message. To mark what
    /// the next commit renews, keep it. Members are named as their certificates have it.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::Store`], [`Fault::Stack`].
    pub fn ratchet_tree(&mut self, group: &GroupId) -> Result<Option<TreeView>, Fault> {
        self.transact(|client| {
            let mls = client.group_seat(group)?.find::<MlsLayer>();
            let Some(mut tree) = mls.and_then(MlsLayer::tree_view) else { return Ok(None) };
            tree.try_rename(|member| {
                let mut person = Person::new(*member.as_bytes());
                client.describe(&mut person)?;
                Ok::<_, Fault>(person.name)
            })?;
            Ok(Some(tree))
        })
    }
}
