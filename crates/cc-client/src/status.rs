//! How far the client is with its work, for programs that end when it is done, and what its stacks did.

use cc_manager::{LayerReport, StackReport};

use crate::{Client, Fault, GroupId, OperationId, records::Standing, state::RequestTarget};

/// Messages of which it is remembered what the layers did.
const REPORTS: usize = 1024;

impl Client {
    /// Whether everything that the service has was read since this client was opened, as far as the service
    /// tells: the mailbox, and the log of each group that this person is in.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let read = |log, cursor| {
            self.timers.logs.get(log).is_some_and(|timer| timer.caught_up && timer.head <= cursor)
        };
        let mut groups = self.state.groups.iter();
        read(&self.state.mailbox, self.state.meta.mailbox_cursor)
            && !self.awaits_log()
            && groups
                .all(|(id, group)| group.standing == Standing::Removed || read(id, group.cursor))
    }

    /// How many requests and commands wait for the network. Key packages for the directory count, and what
    /// this member does for the others only if its turn has come.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let groups = self.state.groups.iter();
        let queued = groups.map(|(id, group)| {
            let later = self.timers.due.range((*id, 0)..=(*id, u64::MAX)).count();
            usize::try_from(group.queued).unwrap_or(usize::MAX).saturating_sub(later)
        });
        let requests = self.state.requests.values();
        let requests = requests.filter(|target| !matches!(target, RequestTarget::Group(_)));
        requests.count().saturating_add(queued.sum())
    }

    /// The network is there again after it was not: whatever waits for its next attempt is due now.
    pub fn reconnected(&mut self) {
        for timer in self.timers.logs.values_mut() {
            (timer.failures, timer.next_poll) = (0, 0);
        }
        for offer in self.timers.offers.values_mut() {
            offer.again = 0;
        }
        self.touch_all();
    }

    /// What the stack of a group is and promises.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::Store`].
    pub fn stack_report(&mut self, group: &GroupId) -> Result<StackReport, Fault> {
        self.transact(|client| Ok(client.group_seat(group)?.stack_report()))
    }

    /// What each layer did with a message that was sealed or opened since the client was opened, bottom
    /// first; the last 1024 are remembered.
    #[must_use]
    pub fn layer_report(&self, message: &OperationId) -> Option<&[LayerReport]> {
        let mut reports = self.reports.iter().rev();
        reports.find(|(known, _)| known == message).map(|(_, report)| &report[..])
    }

    /// Remembers what the layers just did with a message.
    pub(crate) fn note_report(&mut self, message: OperationId, report: Vec<LayerReport>) {
        if self.reports.len() >= REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back((message, report));
    }
}
