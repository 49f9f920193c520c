//! Requests that are over without an answer of this person's.

use super::{
    AdmittedRecord, LinkRecord, RequestRecord, admitted, links, received::MAX_ASKED,
    request::JoinAnswer, request_id, requests,
};
use crate::{Client, Fault, GroupId, JoinLinkId, JoinRequestId, records};

impl Client {
    /// These have come into the group, by whatever way: they do not ask any more.
    pub(crate) fn end_requests_to(
        &mut self,
        group: &GroupId,
        members: &[[u8; 32]],
        committer: Option<&[u8; 32]>,
    ) -> Result<(), Fault> {
        if !members.is_empty() && self.is_of_other_device(committer)? {
            return self.let_in_elsewhere(group, members);
        }
        for (id, link) in if members.is_empty() { Vec::new() } else { self.known_links()? } {
            if link.group == *group {
                self.end_requests(&id, link, members, JoinAnswer::MemberAlready)?;
            }
        }
        Ok(())
    }

    /// This device is revoked: it asks in vain.
    pub(crate) fn end_requests_of(&mut self, member: &[u8; 32]) -> Result<(), Fault> {
        for (id, link) in self.known_links()? {
            self.end_requests(&id, link, &[*member], JoinAnswer::Declined)?;
        }
        Ok(())
    }

    /// These are not in the group any more, or came in anew: what they asked for before is over.
    pub(crate) fn end_admitted_of(
        &mut self,
        group: &GroupId,
        members: &[[u8; 32]],
    ) -> Result<(), Fault> {
        if members.is_empty() {
            return Ok(());
        }
        for (link, record) in self.known_links()? {
            for member in members.iter().filter(|_| record.group == *group) {
                self.reopen(&link, member)?;
            }
        }
        for (key, record) in self.state.list::<AdmittedRecord>(&admitted(), usize::MAX)? {
            if record.request.group == *group && members.contains(&record.request.member) {
                let request = JoinRequestId::from_bytes(*records::log_id(&key)?.as_bytes());
                self.end_admitted(&request, None)?;
            }
        }
        Ok(())
    }

    fn end_requests(
        &mut self,
        id: &JoinLinkId,
        mut link: LinkRecord,
        members: &[[u8; 32]],
        answer: JoinAnswer,
    ) -> Result<(), Fault> {
        let before = link.open;
        for member in members {
            let request = request_id(id, member);
            let waiting = self.state.get::<RequestRecord>(&requests(), request.as_bytes())?;
            if let Some(waiting) = waiting {
                let (key, address) = (&waiting.answer_key, &waiting.address);
                self.answer_asker(&request, key, address, answer)?;
                self.state.delete(&requests(), *request.as_bytes())?;
                link.open = link.open.saturating_sub(1);
            }
        }
        if link.open == before {
            return Ok(());
        }
        link.told &= link.asked >= MAX_ASKED;
        self.state.put(&links(), *id.as_bytes(), &link)
    }
}
