//! When a member renews its own secrets without being told to.

use sha2::{Digest as _, Sha256};

use crate::{Client, Fault, GroupId, Now, records::Work};

/// Milliseconds of a day.
const DAY: u64 = 24 * 3_600_000;
/// Milliseconds between the first steps of two groups, so that who was away for long does not do all at once.
const PACE: u64 = 10_000;

/// After how much a member renews its secrets in a group, which ends what a thief of its store can read. A
/// share of up to a half more, which differs from member to member and group to group, is added to both, so
/// that not all members do it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// Days since it last did, by the wall clock.
    pub days: u32,
    /// Messages that it sent since.
    pub messages: u32,
}

impl Default for RefreshPolicy {
    /// A week, or 2000 messages.
    fn default() -> Self {
        Self { days: 7, messages: 2_000 }
    }
}

impl RefreshPolicy {
    /// Whether it is due `elapsed` milliseconds and so many messages after the last time. `share` is of
    /// 65535.
    fn is_due(self, share: u16, elapsed: u64, messages: u64) -> bool {
        let with_share = |value: u64| {
            value.saturating_add(value.saturating_mul(u64::from(share)) / (2 * u64::from(u16::MAX)))
        };
        elapsed >= with_share(u64::from(self.days).saturating_mul(DAY))
            || messages >= with_share(self.messages.into()).max(1)
    }
}

impl Client {
    /// Renews this person's secrets in every group by this policy; `None` leaves it to
    /// [`Command::Refresh`](crate::Command::Refresh). [`RefreshPolicy::default`] unless set. It is not
    /// kept: set it after opening.
    pub fn set_refresh_policy(&mut self, policy: Option<RefreshPolicy>) {
        self.timers.refresh = policy;
    }

    /// Queues an update of this member's own in a group that is at rest, where it is due.
    pub(crate) fn refresh_if_due(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        let Some(policy) = self.timers.refresh else { return Ok(()) };
        let record = self.state.group(group)?;
        let sent = record.sent_since_refresh;
        let Some(since) = record.refreshed.filter(|since| *since <= now.wall) else {
            // The first look since the last time, or the clock went backwards.
            self.state.group_mut(group)?.refreshed = Some(now.wall);
            return Ok(());
        };
        let share = share(self.identity.id.as_bytes(), group);
        if !policy.is_due(share, now.wall.saturating_sub(since), sent)
            || self.timers.next_refresh > now.mono
        {
            return Ok(());
        }
        self.timers.next_refresh = now.mono.saturating_add(PACE);
        self.enqueue(group, None, Work::Refresh)
    }

    /// This member's secrets in a group were renewed.
    pub(crate) fn refreshed(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        (record.refreshed, record.sent_since_refresh) = (None, 0);
        Ok(())
    }
}

fn share(member: &[u8; 32], group: &GroupId) -> u16 {
    let hash = Sha256::new()
        .chain_update(b"cc-client/1 refresh")
        .chain_update(member)
        .chain_update(group.as_bytes())
        .finalize();
    hash.iter().take(2).fold(0, |share, byte| share << 8 | u16::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_or_messages_and_a_share_of_up_to_a_half_more() {
        let policy = RefreshPolicy { days: 10, messages: 100 };
        assert!(!policy.is_due(0, 10 * DAY - 1, 99));
        assert!(policy.is_due(0, 10 * DAY, 0));
        assert!(policy.is_due(0, 0, 100));
        assert!(!policy.is_due(u16::MAX, 15 * DAY - 1, 149));
        assert!(policy.is_due(u16::MAX, 15 * DAY, 0));
        assert!(policy.is_due(u16::MAX, 0, 150));
    }
}
