//! Who asks to join by a link, takes that back, and is let in or not.

use cc_client::{Command, GroupId, JoinLink, JoinRequestId, OperationId};

use super::world::{Asked, What, World, YEAR};

/// A request to join by a link.
pub struct JoinRequest {
    pub id: JoinRequestId,
    pub member: usize,
    pub group: GroupId,
    /// Who asked has taken it back, and was not in by it then.
    pub withdrawn: bool,
}

impl World {
    /// Somebody asks to join by a link of a member's.
    pub fn ask_to_join(&mut self, host: usize, of: usize, group: GroupId) {
        let known = self.members[host].client.join_links().unwrap().into_iter();
        let link = match known.rev().find(|view| view.group == group) {
            Some(view) => view.link,
            None => {
                let made = self.members[host]
                    .attempt(|client, now| client.join_link(now, group, 10 * YEAR));
                // Whoever is not a member any more has none.
                let Ok(Some(link)) = made else { return };
                link
            }
        };
        self.ask_by(&link, of, group);
    }

    /// Asks by a link; asked twice, it is one request.
    fn ask_by(&mut self, link: &JoinLink, of: usize, group: GroupId) {
        let before = self.members[of].client.join_asks().unwrap();
        let number = self.joins.len().to_string();
        let asked = self.members[of].attempt(|client, now| client.ask_to_join(now, link, &number));
        let mailbox = self.members[of].client.mailbox();
        assert!(asked.is_ok() || link.mailboxes().contains(&mailbox), "{asked:?}");
        // Also where the process died of it, and the request is there.
        let open = self.members[of].client.join_asks().unwrap().into_iter();
        let made = open.filter(|ask| before.iter().all(|known| known.id != ask.id));
        self.joins.extend(made.map(|ask| JoinRequest {
            id: ask.id,
            member: of,
            group,
            withdrawn: false,
        }));
    }

    /// Somebody takes back what it asked for by a link.
    pub fn withdraw(&mut self, at: usize) {
        let open = self.members[at].client.join_asks().unwrap();
        if open.is_empty() {
            return;
        }
        let id = open[self.dice.below(open.len())].id;
        let of = |join: &JoinRequest| join.member == at && join.id == id;
        let last = self.joins.iter().rposition(of).unwrap();
        self.withdraw_request(last);
    }

    fn withdraw_request(&mut self, number: usize) {
        let JoinRequest { id, member, group, .. } = self.joins[number];
        let operation = OperationId::from_bytes(self.dice.bytes());
        if self.members[member].submit(operation, &Command::WithdrawJoin(id)) {
            self.joins[number].withdrawn = true;
            let asked = Asked { member, group, what: What::Other, of: None, accepts: None };
            self.asked.insert(operation, asked);
        }
    }

    /// A member answers one of those who ask.
    pub fn answer(&mut self, at: usize) {
        let open = self.members[at].client.join_requests().unwrap();
        let open: Vec<_> =
            open.into_iter().filter(|view| !self.is_forked(at, &view.group)).collect();
        if open.is_empty() {
            return;
        }
        let which = &open[self.dice.below(open.len())];
        let (command, accepts) = match self.dice.below(3) {
            0 => (Command::DeclineJoin(which.id), None),
            _ => (Command::AcceptJoin(which.id), Some(which.message.parse().unwrap())),
        };
        let id = OperationId::from_bytes(self.dice.bytes());
        if self.members[at].submit(id, &command) {
            let (group, what) = (which.group, What::Other);
            self.asked.insert(id, Asked { member: at, group, what, of: None, accepts });
        }
        let Some(number) = accepts.filter(|_| self.dice.below(3) == 0) else { return };
        let join = &self.joins[number];
        let (member, id) = (join.member, join.id);
        let last = self.joins.iter().rposition(|it| it.member == member && it.id == id);
        if last == Some(number) {
            // At the same time, so that the one who accepts it hears of that before its commit or behind it.
            self.withdraw_request(number);
        }
    }
}
