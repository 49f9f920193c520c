//! When a member should renew its keys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{MlsLayer, tree_shape::TreeShape};

/// When a member should commit to an update: a change that adds and removes nobody.
///
/// A member's keys protect what was sent before they were stolen only until it renews them, so it should
/// do so by and by, however quiet it is. In a large group there is a second reason. After one big add a
/// commit costs a ciphertext for every member, and each update in the right place spares the later
/// commits of the others some; [`MlsLayer::commit_cost`] tells how many the next one takes.
///
/// Members are spread, for of two commits to one epoch only one can win. Of a maximum, a member waits
/// for a share between half and all of it that follows from its place in the tree. Gaps are filled in
/// turns: the member whose update spares most is due at once in every epoch, the next one when nothing
/// happened for the length of a turn.
///
/// ```
/// use cc_mls_layer::{UpdateAge, UpdatePolicy};
///
/// let policy = UpdatePolicy::default().with_max_messages(Some(500));
/// assert!(!policy.is_due(&UpdateAge::default()));
/// assert!(policy.is_due(&UpdateAge { messages: 500, ..Default::default() }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePolicy {
    max_epochs: Option<u64>,
    max_messages: Option<u64>,
    max_time: Option<Duration>,
    min_gap: Option<usize>,
    turn: Duration,
}

impl UpdatePolicy {
    /// The most epochs that others may found before this member renews its keys; 100 unless changed.
    #[must_use]
    pub const fn with_max_epochs(mut self, epochs: Option<u64>) -> Self {
        self.max_epochs = epochs;
        self
    }

    /// The most messages this member may send with the keys it has; 1000 unless changed.
    #[must_use]
    pub const fn with_max_messages(mut self, messages: Option<u64>) -> Self {
        self.max_messages = messages;
        self
    }

    /// The longest time this member may keep its keys, by the layer's clock; a day unless changed.
    #[must_use]
    pub const fn with_max_time(mut self, time: Option<Duration>) -> Self {
        self.max_time = time;
        self
    }

    /// The fewest ciphertexts that an update must spare every later commit of a member elsewhere in the
    /// tree to be made for that alone; 8 unless changed. 1 fills the whole tree, which takes an update
    /// of every other member; `None` leaves it to the other reasons.
    #[must_use]
    pub const fn with_min_gap(mut self, ciphertexts: Option<usize>) -> Self {
        self.min_gap = ciphertexts;
        self
    }

    /// How long the member whose turn it is may let an epoch pass before it is also the turn of the
    /// next; a minute unless changed. It should be longer than a commit takes to reach everybody.
    #[must_use]
    pub const fn with_turn(mut self, turn: Duration) -> Self {
        self.turn = turn;
        self
    }

    /// Whether a member of this age is due for an update.
    #[must_use]
    pub fn is_due(&self, age: &UpdateAge) -> bool {
        let reached = |value: u128, max: u128| {
            value >= max - ((max / 2).saturating_mul(u128::from(age.spread)) >> 32)
        };
        let old = [
            self.max_epochs.map(|max| reached(age.epochs.into(), max.into())),
            self.max_messages.map(|max| reached(age.messages.into(), max.into())),
            self.max_time.map(|max| reached(age.time.as_millis(), max.as_millis())),
        ];
        // A turn of no length is everybody's at once.
        let turns = age.epoch_time.as_millis().checked_div(self.turn.as_millis());
        let its_turn =
            age.ahead.is_some_and(|ahead| turns.is_none_or(|turns| ahead as u128 <= turns));
        its_turn || old.contains(&Some(true))
    }
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            max_epochs: Some(100),
            max_messages: Some(1000),
            max_time: Some(Duration::from_secs(24 * 3600)),
            min_gap: Some(8),
            turn: Duration::from_secs(60),
        }
    }
}

/// How long ago a member renewed its keys, and what an update of its would do for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateAge {
    /// Epochs since.
    pub epochs: u64,
    /// Messages this member sent since, in epochs that were applied.
    pub messages: u64,
    /// The time since.
    pub time: Duration,
    /// The time since the current epoch began for this member.
    pub epoch_time: Duration,
    /// Members whose update would fill a gap and comes first; `None` where this member's fills none.
    pub ahead: Option<usize>,
    /// The member's place among all, as a fraction of 2³².
    pub spread: u32,
}

/// What a commit costs: see [`MlsLayer::commit_cost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitCost {
    /// HPKE ciphertexts, each with 32 bytes of secret: one encapsulation and 80 bytes on the wire with
    /// X25519 and AES-128-GCM.
    pub ciphertexts: usize,
    /// New nodes of the tree, each with a key pair. There is at least one ciphertext for each, so this
    /// is also what the commit would cost in a tree without gaps.
    pub nodes: usize,
}

impl MlsLayer {
    /// What the next commit of this member costs if it adds and removes nobody; `None` without a group,
    /// and once removed. Reading it takes time that grows with the group.
    #[must_use]
    pub fn commit_cost(&self) -> Option<CommitCost> {
        let group = self.active().ok()?;
        let tree = TreeShape::of(group.mls.treesync())?;
        let (ciphertexts, nodes) = tree.cost(group.mls.own_leaf_index().u32());
        Some(CommitCost { ciphertexts, nodes })
    }

    /// How long ago this member renewed its keys, seen under `policy`; `None` without a group, and once
    /// removed. A member who was just added counts as new.
    #[must_use]
    pub fn update_age(&self, policy: &UpdatePolicy) -> Option<UpdateAge> {
        let group = self.active().ok()?;
        let leaf = group.mls.own_leaf_index().u32();
        let ahead = match policy.min_gap {
            Some(least) => TreeShape::of(group.mls.treesync())?.ahead(leaf, least),
            None => None,
        };
        let Renewed { epoch, at, entered, sent } = group.renewed;
        let now = self.provider.clock.now();
        let since = |then: u64| Duration::from_secs(now.saturating_sub(then));
        Some(UpdateAge {
            epochs: group.epoch().saturating_sub(epoch),
            messages: sent.saturating_add(group.sent_in_epoch().into()),
            time: since(at),
            epoch_time: since(entered),
            ahead,
            spread: leaf.reverse_bits(),
        })
    }

    /// Whether this member should commit to an update now: ask after every change, and now and then.
    /// `false` without a group, and while a change is staged.
    #[must_use]
    pub fn update_due(&self, policy: &UpdatePolicy) -> bool {
        self.active().is_ok_and(|group| group.mls.pending_commit().is_none())
            && self.update_age(policy).is_some_and(|age| policy.is_due(&age))
    }
}

/// When this member renewed its keys last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Renewed {
    epoch: u64,
    /// Seconds since 1970, as is the next.
    at: u64,
    /// When the current epoch began.
    entered: u64,
    /// Messages sent in the epochs since then that are over.
    sent: u64,
}

impl Renewed {
    pub(crate) fn in_epoch(epoch: u64, now: u64) -> Self {
        Self { epoch, at: now, entered: now, sent: 0 }
    }

    /// Another epoch began without new keys, after one in which `sent` messages were sent.
    pub(crate) fn passed(self, sent: u32, now: u64) -> Self {
        Self { entered: now, sent: self.sent.saturating_add(sent.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn never() -> UpdatePolicy {
        UpdatePolicy::default()
            .with_max_epochs(None)
            .with_max_messages(None)
            .with_max_time(None)
            .with_min_gap(None)
    }

    #[test]
    fn each_reason_alone_makes_a_member_due() {
        let old = UpdateAge {
            epochs: u64::MAX,
            messages: u64::MAX,
            time: Duration::MAX,
            epoch_time: Duration::MAX,
            ahead: None,
            spread: u32::MAX,
        };
        assert!(!never().is_due(&old));
        let epochs = never().with_max_epochs(Some(10));
        let messages = never().with_max_messages(Some(10));
        let time = never().with_max_time(Some(HOUR));
        for policy in [&epochs, &messages, &time] {
            assert!(policy.is_due(&old));
            assert!(!policy.is_due(&UpdateAge::default()));
        }
        assert!(!epochs.is_due(&UpdateAge { epochs: 9, messages: 10, ..Default::default() }));
        assert!(epochs.is_due(&UpdateAge { epochs: 10, ..Default::default() }));
        assert!(!time.is_due(&UpdateAge { time: HOUR / 2, ..Default::default() }));
        for max in [u64::MAX, 1, 0] {
            let policy = never().with_max_epochs(Some(max));
            assert!(policy.is_due(&UpdateAge { epochs: max, spread: u32::MAX, ..old.clone() }));
        }
    }

    #[test]
    fn members_are_spread_over_half_of_a_maximum() {
        let policy = never().with_max_time(Some(64 * HOUR));
        let due_after = |leaf: u32| {
            (0..)
                .find(|hours| {
                    let spread = leaf.reverse_bits();
                    policy.is_due(&UpdateAge { time: HOUR * *hours, spread, ..Default::default() })
                })
                .unwrap()
        };
        let mut hours: Vec<u32> = (0..1024).map(due_after).collect();
        hours.sort_unstable();
        assert_eq!((hours[0], hours[1023]), (33, 64));
        for hour in 33..=64 {
            let due = hours.iter().filter(|due| **due == hour).count();
            assert!((30..=34).contains(&due), "{due} members after {hour} hours");
        }
    }

    #[test]
    fn gaps_are_filled_in_turns() {
        let policy = never().with_min_gap(Some(1)).with_turn(HOUR);
        let due = |ahead, epoch_time| {
            policy.is_due(&UpdateAge { ahead, epoch_time, ..Default::default() })
        };
        assert!(due(Some(0), Duration::ZERO));
        assert!(!due(Some(1), HOUR - Duration::from_secs(1)));
        assert!(due(Some(1), HOUR));
        assert!(!due(Some(3), HOUR * 2));
        assert!(!due(None, Duration::MAX));
        let at_once = policy.clone().with_turn(Duration::ZERO);
        assert!(at_once.is_due(&UpdateAge { ahead: Some(900), ..Default::default() }));
    }
}
