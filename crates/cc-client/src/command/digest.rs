//! What tells one command from another under the same id.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Command;
use crate::{
    Fault, GroupId, JoinLinkId, JoinRequestId, LogId, OperationId, PersonId,
    operations::{CommandDigest, Known, Place},
    records::{self, Queued, Work},
};

#[derive(Serialize)]
enum Digested<'a> {
    Found(&'a GroupId, &'a str),
    Send(&'a GroupId, &'a [u8]),
    ShareHistory(&'a GroupId, &'a [u8]),
    Add(&'a GroupId, &'a [Vec<u8>]),
    Invite(&'a GroupId, &'a LogId, Option<[u8; 32]>),
    Remove(&'a GroupId, Vec<[u8; 32]>),
    Leave(&'a GroupId),
    Refresh(&'a GroupId),
    Cancel(&'a OperationId),
    Verify(&'a PersonId, &'a [u8]),
    AcceptChange(&'a PersonId),
    Link(&'a [u8]),
    Revoke(&'a [u8; 32]),
    ReplaceKeys,
    AcceptJoin(&'a JoinRequestId),
    DeclineJoin(&'a JoinRequestId),
    RevokeJoinLink(&'a JoinLinkId),
    Rename(&'a str),
    WithdrawJoin(&'a JoinRequestId),
}

impl Digested<'_> {
    /// Tells another command under the same id.
    fn digest(&self) -> Result<CommandDigest, Fault> {
        let bytes = records::encode(self)?;
        let hash = Sha256::new()
            .chain_update(b"cc-client/1 command")
            .chain_update(bytes.expose())
            .finalize();
        let mut digest = CommandDigest::default();
        digest.iter_mut().zip(hash).for_each(|(to, byte)| *to = byte);
        Ok(digest)
    }
}

impl Queued {
    /// Takes note of the command that waits with this number, if it was given by the application.
    pub(crate) fn note(
        &self,
        group: &GroupId,
        number: u64,
        known: &mut BTreeMap<OperationId, Known>,
    ) -> Result<(), Fault> {
        let Some(operation) = self.operation else { return Ok(()) };
        let digested = match &self.work {
            Work::Content { bytes, .. } => Digested::Send(group, bytes),
            Work::History { bytes, .. } => Digested::ShareHistory(group, bytes),
            Work::Add(packages) => Digested::Add(group, packages),
            Work::Remove(members) => Digested::Remove(group, members.clone()),
            Work::Leave => Digested::Leave(group),
            Work::Refresh => Digested::Refresh(group),
            Work::Admit { request, .. } => Digested::AcceptJoin(request),
            // What the client does of itself.
            Work::Title | Work::Introduction | Work::Readmit(_) | Work::CommitLeaves => {
                return Ok(());
            }
        };
        let (digest, place) = (digested.digest()?, Some(Place::Queue(*group, number)));
        known.insert(operation, Known { digest, place });
        Ok(())
    }
}

impl Command {
    pub(crate) fn digest(&self) -> Result<CommandDigest, Fault> {
        let digested = match self {
            Self::Found { group, title } => Digested::Found(group, title),
            Self::Send { group, content } => Digested::Send(group, content),
            Self::ShareHistory { group, history } => {
                let bytes = history.encode().map_err(|_| Fault::TooLong)?;
                return Digested::ShareHistory(group, &bytes).digest();
            }
            Self::Add { group, packages } => Digested::Add(group, packages),
            Self::Invite { group, mailbox, member } => {
                Digested::Invite(group, mailbox, member.map(|member| *member.as_bytes()))
            }
            Self::Remove { group, members } => {
                Digested::Remove(group, members.iter().map(|id| *id.as_bytes()).collect())
            }
            Self::Leave(group) => Digested::Leave(group),
            Self::Refresh(group) => Digested::Refresh(group),
            Self::Cancel(operation) => Digested::Cancel(operation),
            Self::Verify(person, number) => Digested::Verify(person, number.to_bytes()),
            Self::AcceptChange(person) => Digested::AcceptChange(person),
            Self::Link(offer) => Digested::Link(offer),
            Self::Revoke(device) => Digested::Revoke(device.as_bytes()),
            Self::ReplaceKeys => Digested::ReplaceKeys,
            Self::AcceptJoin(request) => Digested::AcceptJoin(request),
            Self::DeclineJoin(request) => Digested::DeclineJoin(request),
            Self::RevokeJoinLink(link) => Digested::RevokeJoinLink(link),
            Self::WithdrawJoin(request) => Digested::WithdrawJoin(request),
            Self::Rename(name) => Digested::Rename(name),
        };
        digested.digest()
    }
}
