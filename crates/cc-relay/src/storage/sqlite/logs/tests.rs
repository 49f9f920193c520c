//! What no engine's interface shows of the logs.

use super::*;
use crate::storage::{
    sqlite::connection,
    tests::{self, Epochs},
};

struct Logs<'a>(&'a Connection);

impl Epochs for Logs<'_> {
    fn commit(&mut self, commit: &StoredAppend) -> Result<Position, Refusal> {
        let (id, retention) = (RequestId::random().unwrap(), Retention::default());
        let room = Room::new(&retention);
        append(self.0, id, commit, Hour(0), &retention, &room).unwrap()
    }

    fn head(&mut self, log: LogId, token: AccessHash) -> Result<Position, Refusal> {
        let (reader, retention) = (Reader::Token(token), Retention::default());
        match read(self.0, &log, Position(u64::MAX), reader, Hour(0), &retention).unwrap() {
            ReadOutcome::Done(result) => result.map(|read| read.page.head),
            ReadOutcome::OwnerChangesLog => panic!("it is a group's"),
        }
    }
}

#[test]
fn the_hashes_of_the_last_epochs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connection::open_writer(&folder.path().join("relay.db")).unwrap();
    let transaction = connection.unchecked_transaction().unwrap();
    tests::the_hashes_of_the_last_epochs_are_kept(&mut Logs(&transaction));
}

/// An owner that has read very much makes nobody wait for all of it.
#[test]
fn a_step_of_tidying_a_mailbox_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connection::open_writer(&folder.path().join("relay.db")).unwrap();
    let (mailbox, retention) = (LogId::from_bytes([1; 32]), Retention::default());
    let room = Room::new(&retention);
    let begin = connection.unchecked_transaction().unwrap();
    let mut head = 0;
    while head < 2 * FORGET_MOST {
        let items = vec![Vec::new(); cc_client::MAX_APPEND];
        let mail = StoredAppend { log: mailbox, access: None, commit: None, items, begins: true };
        let id = RequestId::random().unwrap();
        head = append(&connection, id, &mail, Hour(0), &retention, &room).unwrap().unwrap().0;
    }
    begin.commit().unwrap();
    let read = || {
        tidy_mailbox(&connection, &mailbox, Position(head), Hour(0), &retention).unwrap();
        find(&connection, Address::Mailbox(mailbox)).unwrap().unwrap().forgotten
    };
    assert_eq!([read(), read(), read()], [FORGET_MOST, 2 * FORGET_MOST, head]);
}
