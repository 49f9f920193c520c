//! Changes of the group: made by this member, or by others, or joined by a welcome.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use cc_core::{
    ChangeParts, ChangeRequest, CommitOutcome, Contribution, LayerError, MemberId, PartContext,
    Secret,
    limits::{MAX_MEMBERS, MAX_PART_LEN},
};

use super::{
    Change, Group,
    commit::{Commit, CommitHead, sealing_data},
    key_package::{self, Newcomer},
    key_schedule::{self, JoinerSecret, Roster},
    member_keys::{MemberKeys, MemberSecrets},
    outside, removed, sealing,
    state::{NextEpoch, Phase, Plan},
    welcome::{GroupInfo, Invited},
};
use crate::{Error, codec::Reader};

impl Group {
    pub(crate) fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError> {
        let me = self.me()?;
        if self.current().plan.is_some() || self.transaction.change != Change::None {
            return Err(LayerError::misuse("confirm or discard the staged change first"));
        }
        let mut next = self.current().clone();
        let founds = matches!(next.phase, Phase::Outside);
        if founds {
            // Whoever adds the first member founds the group.
            next.found(self.account.identity_pair(), me)?;
        }
        let member = next.member().ok_or_else(removed)?;
        let present = &member.epochs.present;
        let epoch = present.number.checked_add(1);
        let epoch = epoch.ok_or_else(|| LayerError::misuse("no epoch comes after this one"))?;
        if request.removed.contains(&me) {
            return Err(LayerError::misuse("leave the group instead of removing oneself"));
        }
        if request.added.len() > MAX_MEMBERS {
            return Err(LayerError::misuse(TOO_MANY));
        }
        let mut removed = request.removed.to_vec();
        removed.sort_unstable();
        let mut order: Vec<_> = request.added.iter().collect();
        order.sort_unstable_by_key(|new| new.id);
        let (mut added, mut invited) = (Vec::new(), Vec::new());
        for new in order {
            let about = |error: Error| LayerError::from(error).about(new.id);
            let (newcomer, prekeys) = Newcomer::from_package(new).map_err(about)?;
            let (identity, reference) =
                (*newcomer.keys.identity(), key_package::reference(new.part));
            invited.push(Invited { identity, reference, prekeys });
            added.push(newcomer);
        }
        check_change(&member.roster, &removed, &added).map_err(LayerError::misuse)?;

        let secrets = MemberSecrets::generate()?;
        let keys = secrets.sign(self.account.identity_pair(), &me);
        let fresh = if Commit::renews(added.len(), removed.len()) {
            Some(Secret::<32>::random()?)
        } else {
            None
        };
        let joiner = match &fresh {
            Some(fresh) => JoinerSecret::renewed(&member.secrets.init, fresh)?,
            None => JoinerSecret::onward(&member.secrets.init)?,
        };
        let commitment = joiner.commitment()?;
        let (binding, transcript) = (context.binding, present.transcript);
        let head = CommitHead { binding, epoch, transcript, commitment };
        let mut sealed = Vec::new();
        if let Some(fresh) = &fresh {
            for (_, member) in recipients(&member.roster, &me, &removed) {
                let ad = sealing_data(&head, &me, member);
                let (sender, identity) = (self.account.identity_pair(), member.identity());
                let prekeys = member.prekeys();
                sealed.push(sealing::seal(Some(sender), identity, prekeys, &ad, fresh)?);
            }
        }
        let commit = Commit { head, keys, added, removed, sealed };
        let part = commit.encode();
        if part.len() > MAX_PART_LEN {
            return Err(Error::LimitExceeded.into());
        }
        let history = key_schedule::history(&transcript, &me, &part);
        let Commit { keys, added, removed, .. } = commit;
        let mut roster = roster_without(&member.roster, &removed);
        roster.insert(me, Arc::new(keys));
        roster.extend(added.iter().map(|new| (new.id, new.keys.clone())));
        let next_epoch = NextEpoch {
            number: epoch,
            history,
            joiner,
            roster: Arc::new(roster),
            secrets: Arc::new(secrets),
        };
        let welcome = if added.is_empty() {
            Vec::new()
        } else {
            let info = GroupInfo {
                epoch,
                history,
                mask: member.epochs.mask.clone(),
                joiner: JoinerSecret::from_secret(next_epoch.joiner.secret().duplicate()),
                committer: me,
                roster: next_epoch.roster.clone(),
            };
            info.seal(self.account.identity_pair(), &binding, &invited)?
        };
        next.plan = Some(Arc::new(Plan { founds, next: next_epoch }));
        self.staged = Some(next);
        self.transaction.change = Change::Staged;
        Ok(ChangeParts { commit: part, welcome })
    }

    pub(crate) fn next_contribution(&self) -> Result<Option<Contribution>, LayerError> {
        if self.transaction.change == Change::InForce || self.current().plan.is_some() {
            Ok(None)
        } else {
            Err(no_change())
        }
    }

    pub(crate) fn confirm_change(&mut self) -> Result<(), LayerError> {
        let me = self.me()?;
        let mut next = self.current().clone();
        let plan = next.plan.take().ok_or_else(no_change)?;
        next.enter(me, &plan.next)?;
        self.staged = Some(next);
        self.transaction.change = Change::InForce;
        Ok(())
    }

    pub(crate) fn discard_change(&mut self) {
        if self.current().plan.is_none() {
            return;
        }
        let next = self.staged_mut();
        if next.plan.take().is_some_and(|plan| plan.founds) {
            next.phase = Phase::Outside;
        }
        self.transaction.change = match self.transaction.change {
            Change::Staged => Change::None,
            _ => Change::Discarded,
        };
    }

    pub(crate) fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError> {
        let me = self.me()?;
        self.expect_member()?;
        if self.transaction.change != Change::None {
            return Err(LayerError::misuse("one change at a time"));
        }
        // The part travels inside a message: whose it is, opening that has proved.
        let (committer, sent_in) = self.transaction.received.ok_or(LayerError::rejected())?;
        let mut next = self.current().clone();
        let member = next.member().ok_or_else(outside)?;
        let present = &member.epochs.present;
        if sent_in != present.number {
            return Err(LayerError::stale(Some(sent_in)));
        }
        let mut reader = Reader::new(part);
        let head = CommitHead::read(&mut reader)?;
        if head.binding != context.binding
            || head.transcript != present.transcript
            || Some(head.epoch) != present.number.checked_add(1)
        {
            return Err(LayerError::rejected());
        }
        let known = member.roster.get(&committer).ok_or(LayerError::rejected())?;
        let commit = Commit::read(head, &committer, reader)?;
        let renews = Commit::renews(commit.added.len(), commit.removed.len());
        if commit.keys.identity() != known.identity()
            || commit.removed.binary_search(&committer).is_ok()
        {
            return Err(LayerError::rejected());
        }
        check_change(&member.roster, &commit.removed, &commit.added)
            .map_err(|_| LayerError::rejected())?;
        let removed_self = commit.removed.binary_search(&me).is_ok();
        let outcome = CommitOutcome {
            committer: Some(committer),
            added: commit.added.iter().map(|new| new.id).collect(),
            removed: commit.removed.clone(),
            removed_self,
        };
        let expected = if renews {
            recipients(&member.roster, &committer, &commit.removed).count()
        } else {
            0
        };
        if commit.sealed.len() != expected {
            return Err(LayerError::rejected());
        }
        if removed_self {
            next.leave();
        } else {
            let joiner = if renews {
                let mut all = recipients(&member.roster, &committer, &commit.removed);
                let place = all.position(|(id, _)| *id == me).ok_or(LayerError::rejected())?;
                let sealed = commit.sealed.get(place).ok_or(LayerError::rejected())?;
                let own = member.roster.get(&me).ok_or(LayerError::rejected())?;
                let ad = sealing_data(&commit.head, &committer, own);
                let identity = self.account.identity_pair();
                let prekeys = &member.secrets.member.prekeys;
                let fresh = sealing::open(Some(known.identity()), identity, prekeys, &ad, sealed)?;
                JoinerSecret::renewed(&member.secrets.init, &fresh)?
            } else {
                JoinerSecret::onward(&member.secrets.init)?
            };
            if joiner.commitment()? != commit.head.commitment {
                // The committer gave others another secret, or this member none.
                return Err(LayerError::rejected());
            }
            let mut roster = roster_without(&member.roster, &commit.removed);
            roster.insert(committer, Arc::new(commit.keys));
            roster.extend(commit.added.into_iter().map(|new| (new.id, new.keys)));
            let next_epoch = NextEpoch {
                number: commit.head.epoch,
                history: key_schedule::history(&present.transcript, &committer, part),
                joiner,
                roster: Arc::new(roster),
                secrets: member.secrets.member.clone(),
            };
            next.enter(me, &next_epoch)?;
        }
        self.staged = Some(next);
        self.transaction.change = Change::InForce;
        Ok(outcome)
    }

    pub(crate) fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<MemberId, LayerError> {
        let me = self.me()?;
        let mut next = self.current().clone();
        let packages = next.packages.iter().map(|(number, package)| (*number, &**package));
        let identity = self.account.identity_pair();
        let (number, info) = GroupInfo::open(identity, &me, &context.binding, part, packages)?;
        // The private keys for the welcome are gone with it.
        let package = Arc::make_mut(&mut next.packages).remove(&number);
        let package = package.ok_or(LayerError::rejected())?;
        let GroupInfo { epoch, history, mask, joiner, committer, roster } = info;
        let secrets = package.secrets.member.clone();
        let first = NextEpoch { number: epoch, history, joiner, roster, secrets };
        // What was known of the group before is forgotten, a staged change too: whoever comes back
        // may have gone back to an old copy, which does not know what it has opened.
        next.plan = None;
        next.begin(me, mask, &first)?;
        self.staged = Some(next);
        self.transaction.change = Change::InForce;
        Ok(committer)
    }
}

/// Whether these may go, and these may come; who is among both comes back. Both in the order of ids.
/// `Err` says what is wrong.
fn check_change(
    roster: &Roster,
    removed: &[MemberId],
    added: &[Newcomer],
) -> Result<(), &'static str> {
    if !removed.is_sorted_by(|a, b| a < b) || !removed.iter().all(|id| roster.contains_key(id)) {
        return Err("only a member can be removed, and only once");
    }
    let goes = |id: &MemberId| removed.binary_search(id).is_ok();
    let stays = |id: &MemberId| roster.contains_key(id) && !goes(id);
    if !added.is_sorted_by(|a, b| a.id < b.id) || added.iter().any(|new| stays(&new.id)) {
        return Err("the member is in the group already");
    }
    if roster.len() + added.len() > MAX_MEMBERS + removed.len() {
        return Err(TOO_MANY);
    }
    if added.is_empty() {
        return Ok(());
    }
    let staying = roster.iter().filter(|(id, _)| !goes(id));
    let mut identities: BTreeSet<_> = staying.map(|(_, keys)| keys.identity().keys()).collect();
    if !added.iter().all(|new| identities.insert(new.keys.identity().keys())) {
        return Err("another member has this identity: let the new member make a new one");
    }
    Ok(())
}

/// To whom a commit seals its secret: the members before it, but for the committer and those it
/// removes, in the order of ids.
fn recipients<'a>(
    roster: &'a Roster,
    committer: &'a MemberId,
    removed: &'a [MemberId],
) -> impl Iterator<Item = (&'a MemberId, &'a MemberKeys)> {
    roster
        .iter()
        .filter(move |(id, _)| *id != committer && removed.binary_search(id).is_err())
        .map(|(id, keys)| (id, &**keys))
}

fn roster_without(roster: &Roster, removed: &[MemberId]) -> Roster {
    let stays = |(id, _): &(&MemberId, _)| removed.binary_search(id).is_err();
    roster.iter().filter(stays).map(|(id, keys)| (*id, keys.clone())).collect()
}

fn no_change() -> LayerError {
    LayerError::not_ready("there is no staged change")
}

const TOO_MANY: &str = "too many members: see cc_core::limits::MAX_MEMBERS";
