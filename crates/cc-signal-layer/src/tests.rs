//! Tests of the protocol as a whole. They live inside the crate for the sake of the collector of
//! message keys (`message_key::tests`) and of peers that break the rules.

mod bad_input;
mod group;
mod handshakes;
mod interleaving;
mod loss;
mod order;
mod saved_state;
mod secrecy;
mod simultaneous;
mod transcript;
mod triple;

use alloc::vec::Vec;

use crate::{Account, Agree, Error, Limits, Session, Sessions};

pub(super) const AD: &[u8] = b"associated data";

/// One side of a conversation.
pub(super) struct Party {
    pub(super) account: Account,
    pub(super) sessions: Sessions,
}

impl Party {
    pub(super) fn encrypt(&mut self, text: &[u8]) -> Vec<u8> {
        self.sessions.encrypt(AD, text).unwrap()
    }

    pub(super) fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sessions.decrypt(&mut self.account, AD, message)
    }

    /// Everything this party knows, to compare.
    pub(super) fn snapshot(&self) -> (Vec<u8>, Vec<u8>) {
        (self.account.export().expose().to_vec(), self.sessions.export().expose().to_vec())
    }

    pub(super) fn restart(&mut self) {
        let (account, sessions) = self.snapshot();
        self.account = Account::load(&account).unwrap();
        self.sessions = Sessions::load(&sessions, Limits::default()).unwrap();
        assert_eq!(self.snapshot(), (account, sessions));
    }

    /// A copy of everything, as a thief has it.
    pub(super) fn stolen(&self) -> Party {
        let (account, sessions) = self.snapshot();
        Party {
            account: Account::load(&account).unwrap(),
            sessions: Sessions::load(&sessions, Limits::default()).unwrap(),
        }
    }

    pub(super) fn begin(&mut self, peer: &mut Party) {
        let bundle = peer.account.one_time_bundles(1).pop().unwrap();
        self.sessions.begin(&self.account, &bundle, Agree::Pqxdh).unwrap();
    }

    pub(super) fn active_id(&self) -> [u8; 32] {
        *self.sessions.active().unwrap().id()
    }
}

/// Two parties that know each other and have no session.
pub(super) fn strangers() -> (Party, Party) {
    let mut accounts = [(); 2].map(|()| Account::generate().unwrap());
    for account in &mut accounts {
        account.replenish(3).unwrap();
    }
    let [alice, bob] = accounts;
    let (a, b) = (*alice.identity(), *bob.identity());
    (
        Party { account: alice, sessions: Sessions::new(b, Limits::default()) },
        Party { account: bob, sessions: Sessions::new(a, Limits::default()) },
    )
}

/// Two parties with a session in which both have spoken.
pub(super) fn acquainted() -> (Party, Party) {
    let (mut alice, mut bob) = strangers();
    alice.begin(&mut bob);
    let hello = alice.encrypt(b"hello");
    assert_eq!(bob.decrypt(&hello).unwrap(), b"hello");
    let answer = bob.encrypt(b"answer");
    assert_eq!(alice.decrypt(&answer).unwrap(), b"answer");
    (alice, bob)
}

/// The two ends of one acknowledged session.
pub(super) fn session_pair(limits: Limits) -> (Session, Session) {
    let alice = Account::generate().unwrap();
    let mut bob = Account::generate().unwrap();
    let mut a = alice.begin(&bob.bundle(), Agree::Pqxdh, limits).unwrap();
    let hello = a.encrypt(AD, b"hello").unwrap();
    let (_, staged) = bob.open_initial(AD, &hello, limits).unwrap();
    let mut b = bob.apply(staged).unwrap();
    let answer = b.encrypt(AD, b"answer").unwrap();
    a.decrypt(AD, &answer).unwrap();
    (a, b)
}
