//! The settings for groups with members that use another library.

use super::MlsConfig;

impl MlsConfig {
    /// For a group with members that use another library, in a stack where this is the only group
    /// layer; off unless changed, and the same for all members of this crate. A member's id is then
    /// the one that follows from their signature key, leaves carry no `application_id` (mls-rs
    /// takes none), and a key package need not have the binding extension, though one that is there
    /// must be right. A member whose id follows from other layers too cannot be in such a group.
    #[must_use]
    pub const fn with_plain_peers(mut self, plain: bool) -> Self {
        self.plain_peers = plain;
        self
    }

    /// For a group that is plain RFC 9420 throughout: [plain peers](Self::with_plain_peers), of whom nothing is
    /// asked that the RFC does not. No binding is in key packages and `authenticated_data`, which is the
    /// caller's; off unless changed. The layer is driven by [`send`](crate::MlsLayer::send),
    /// [`receive`](crate::MlsLayer::receive), [`stage_plain_change`](crate::MlsLayer::stage_plain_change) and
    /// [`join_plain`](crate::MlsLayer::join_plain) in place of what a stack calls, which is `Misuse`.
    #[must_use]
    pub const fn with_plain_group(mut self, plain: bool) -> Self {
        self.plain_group = plain;
        self
    }

    /// Whether the welcomes that this member makes for [plain peers](Self::with_plain_peers) have the ratchet tree
    /// in their GroupInfo (RFC 9420 section 12.4.3.3); on unless changed. With it adding many takes the square of
    /// their number. Without it they need
    /// [`staged_ratchet_tree`](crate::MlsLayer::staged_ratchet_tree) by other means. (Without plain peers a welcome
    /// has the tree beside its GroupInfo, whatever is set here.)
    #[must_use]
    pub const fn with_tree_in_welcome(mut self, included: bool) -> Self {
        self.tree_in_welcome = included;
        self
    }

    /// Whether members may use another library.
    #[must_use]
    pub const fn plain_peers(&self) -> bool {
        self.plain_peers || self.plain_group
    }

    /// Whether the group is plain RFC 9420 throughout.
    #[must_use]
    pub const fn plain_group(&self) -> bool {
        self.plain_group
    }

    /// Whether a welcome carries the ratchet tree within its GroupInfo (RFC 9420 section 12.4.3.3), where
    /// every library finds it. It costs the square of the number of members added.
    pub(crate) const fn ratchet_tree_in_group_info(&self) -> bool {
        self.plain_peers() && self.tree_in_welcome
    }
}
