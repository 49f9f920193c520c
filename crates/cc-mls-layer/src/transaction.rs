//! What was done since the last `apply` or `revert`, and what a revert has to do about it.

use cc_core::MemberId;

/// How far the group in memory is from what was applied. Each step includes the ones before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// It is what was applied, but for the messages that were sent: their keys stay used.
    #[default]
    Applied,
    /// The ratchets were written after a message was sent. A revert takes that checkpoint away, and
    /// the next message writes another.
    Checkpointed,
    /// Something else was done to it. A revert loads the group again.
    Ahead,
    /// Another epoch came into force: a confirmed change, a commit or a welcome.
    NewEpoch,
}

/// What is staged outside the storage.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    progress: Progress,
    /// The member id before the layer was attached anew.
    replaced_id: Option<Option<MemberId>>,
}

impl Transaction {
    /// At least so far.
    pub(crate) fn reach(&mut self, progress: Progress) {
        self.progress = self.progress.max(progress);
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// The member id is about to be another one than `id`.
    pub(crate) fn replace_id(&mut self, id: Option<MemberId>) {
        self.replaced_id.get_or_insert(id);
    }

    /// The member id to go back to, where it was replaced.
    pub(crate) fn replaced_id(&self) -> Option<Option<MemberId>> {
        self.replaced_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_goes_back() {
        let mut transaction = Transaction::default();
        for (reached, expected) in [
            (Progress::Checkpointed, Progress::Checkpointed),
            (Progress::NewEpoch, Progress::NewEpoch),
            (Progress::Ahead, Progress::NewEpoch),
        ] {
            transaction.reach(reached);
            assert_eq!(transaction.progress(), expected);
        }
    }

    #[test]
    fn the_first_id_is_the_one_to_go_back_to() {
        let mut transaction = Transaction::default();
        assert_eq!(transaction.replaced_id(), None);
        transaction.replace_id(None);
        transaction.replace_id(Some(MemberId::from_bytes([1; 32])));
        assert_eq!(transaction.replaced_id(), Some(None));
    }
}
