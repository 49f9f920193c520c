//! The parts of key package bundles, commits and welcomes: fanned out to every group layer, bottom to
//! top, and bound into one object.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use cc_core::{
    Bundle, ChangeRequest, CipherLayer, CommitOutcome, Contribution, DecodeError, GroupLayer,
    KeyPackageInfo, Kind, Member, MemberId, NewMember, Opaque, Part, PartContext, PartList,
    Standing, Transcript, limits::MAX_KEY_PACKAGE_LEN, part_digest,
};

use crate::{
    ChangeId, ChangeSummary, Error, Joined, MemberInfo,
    agreement::agree,
    cascade::Cascade,
    layers::failed,
    stack::{Stack, check_contribution},
};

impl Stack {
    /// All members, with the first name that a layer has for each. Outside a group, or where some layer
    /// has left it, there are none.
    pub(crate) fn member_infos(&self) -> Vec<MemberInfo> {
        let mut members = BTreeMap::<MemberId, Option<String>>::new();
        for member in self.group_members() {
            let name = members.entry(member.id).or_default();
            *name = name.take().or(member.name);
        }
        members.into_iter().map(|(id, name)| MemberInfo { id, name }).collect()
    }

    /// All members; none outside a group.
    pub(crate) fn member_ids(&self) -> BTreeSet<MemberId> {
        self.group_members().map(|member| member.id).collect()
    }

    fn group_members(&self) -> impl Iterator<Item = Member> {
        let inside = |group: &dyn GroupLayer| matches!(group.standing(), Standing::Member { .. });
        let all_inside = self.groups().all(|(_, group)| inside(group));
        let groups = self.groups().filter(move |_| all_inside);
        groups.flat_map(|(_, group)| group.members())
    }

    pub(crate) fn group_positions(&self) -> impl DoubleEndedIterator<Item = u16> + use<> {
        self.groups().map(|(position, _)| position).collect::<Vec<_>>().into_iter()
    }

    /// The layers that have a part in a change, bottom first: those that know groups, and those below one
    /// that contribute to its key cascade and have to tell their hint. Above all group layers nothing
    /// takes what is contributed to a change, and nothing would authenticate the part.
    fn part_positions(&self) -> impl Iterator<Item = u16> + use<> {
        let topmost = self.groups().next_back().map(|(topmost, _)| topmost);
        let has_part = |layer: &dyn CipherLayer, position| {
            layer.group().is_some() || (layer.properties().contributes && Some(position) < topmost)
        };
        let layers = self.positions().zip(self.layers().iter());
        let parts = layers.filter(|(position, layer)| has_part(*layer, *position));
        parts.map(|(position, _)| position).collect::<Vec<_>>().into_iter()
    }
}

/// Somebody's key package bundle, taken apart. Each layer still has to verify its part.
pub(crate) struct NewBundle {
    pub(crate) id: MemberId,
    /// Position, part, and what the part is bound to.
    parts: Vec<(u16, Vec<u8>, [u8; 32])>,
}

impl NewBundle {
    pub(crate) fn read(stack: &Stack, bundle: &[u8]) -> Result<Self, Error> {
        if bundle.len() > MAX_KEY_PACKAGE_LEN {
            return Err(DecodeError::TooLong.into());
        }
        let list = Bundle::decode(bundle, Kind::KeyPackage, stack.id())?.into_parts();
        if list.change != [0; 16]
            || !list.parts.iter().map(|p| p.position).eq(stack.group_positions())
        {
            return Err(DecodeError::Malformed.into());
        }
        let mut transcript = Transcript::new(Kind::KeyPackage, stack.id(), &[0; 16]);
        let mut commitments = Vec::new();
        let mut parts = Vec::new();
        for ((position, group), part) in stack.groups().zip(list.parts) {
            if part.counterpart != [0; 32] {
                return Err(DecodeError::Malformed.into());
            }
            let commitment = group
                .inspect_key_package(part.value.as_slice())
                .map_err(|source| failed(position, group, source))?
                .commitment;
            let descriptor = stack.descriptors().get(usize::from(position));
            commitments.extend(descriptor.map(|descriptor| (descriptor, commitment)));
            let digest = part_digest(part.value.as_slice());
            parts.push((position, part.value.0, transcript.binding()));
            transcript = transcript.extend(position, &digest, &[0; 32]);
        }
        Ok(Self { id: MemberId::of(commitments), parts })
    }

    /// Lets each layer verify its part, as it does when the member is added. Gives what the parts say,
    /// bottom first.
    pub(crate) fn verify(&self, stack: &Stack) -> Result<Vec<KeyPackageInfo>, Error> {
        let verify = |(position, group): (u16, &dyn GroupLayer)| {
            let new = self.for_layer(position).ok_or(DecodeError::Malformed)?;
            group
                .verify_key_package(&new, stack.now)
                .map_err(|source| failed(position, group, source))
        };
        stack.groups().map(verify).collect()
    }

    /// The part of the layer at this position.
    pub(crate) fn into_part(self, position: usize) -> Option<Vec<u8>> {
        let mut parts = self.parts.into_iter();
        Some(parts.find(|(at, ..)| usize::from(*at) == position)?.1)
    }

    fn for_layer(&self, position: u16) -> Option<NewMember<'_>> {
        let (_, part, binding) = self.parts.iter().find(|(at, ..)| *at == position)?;
        Some(NewMember { id: self.id, part, binding: *binding })
    }
}

/// Asks each layer for its parts, bottom to top. Gives those of the commit and of the welcome.
pub(crate) fn stage(
    stack: &mut Stack,
    id: ChangeId,
    bundles: &[NewBundle],
    removed: &[MemberId],
) -> Result<(PartList, PartList), Error> {
    let mut pass = Pass::new(Kind::Commit, stack, &id.0);
    let (mut commit, mut welcome) = (Vec::new(), Vec::new());
    for position in stack.part_positions() {
        let context = pass.context(position);
        let (commit_part, welcome_part, next) = if stack.is_group(position) {
            let added: Vec<_> =
                bundles.iter().filter_map(|bundle| bundle.for_layer(position)).collect();
            let request = ChangeRequest { added: &added, removed };
            let parts =
                stack.call_group(position, |group| group.stage_change(&request, &context))?;
            (parts.commit, parts.welcome, next_contribution(stack, position)?)
        } else {
            let contribution = stack.contribute(position)?;
            let hint = contribution.as_ref().map(|c| c.hint.clone()).unwrap_or_default();
            (hint.clone(), hint, contribution)
        };
        let (commit_digest, welcome_digest) =
            (part_digest(&commit_part), part_digest(&welcome_part));
        pass.finish(stack, position, (&commit_digest, &welcome_digest), next);
        commit.push(Part { position, value: Opaque(commit_part), counterpart: welcome_digest });
        welcome.push(Part { position, value: Opaque(welcome_part), counterpart: commit_digest });
    }
    // Nothing lies above the topmost part to authenticate its counterpart.
    for parts in [&mut commit, &mut welcome] {
        if let Some(topmost) = parts.last_mut() {
            topmost.counterpart = [0; 32];
        }
    }
    let change = id.0;
    Ok((PartList { change, parts: commit }, PartList { change, parts: welcome }))
}

/// Brings a commit into force in each layer, bottom to top. Gives the members as well, unless this one
/// was removed.
pub(crate) fn process_commit(
    stack: &mut Stack,
    list: &PartList,
    sender: Option<MemberId>,
) -> Result<(ChangeSummary, BTreeSet<MemberId>), Error> {
    let mut committer = sender;
    let mut agreed: Option<CommitOutcome> = None;
    check_parts(stack, &list.parts)?;
    let mut pass = Pass::new(Kind::Commit, stack, &list.change);
    for part in &list.parts {
        let position = part.position;
        let context = pass.context(position);
        let digests = (&part_digest(part.value.as_slice()), &part.counterpart);
        let next = if stack.is_group(position) {
            let mut outcome = stack.call_group(position, |group| {
                group.process_commit(part.value.as_slice(), &context)
            })?;
            agree(&mut committer, outcome.committer.take())?;
            outcome.added.sort_unstable();
            outcome.removed.sort_unstable();
            let removed_self = outcome.removed_self;
            if *agreed.get_or_insert_with(|| outcome.clone()) != outcome {
                return Err(Error::Disagreement);
            }
            if removed_self { None } else { next_contribution(stack, position)? }
        } else {
            stack.recall(position, Some(part.value.as_slice()))?.0
        };
        pass.finish(stack, position, digests, next);
    }
    let outcome = agreed.ok_or(DecodeError::Malformed)?;
    let mut members = BTreeSet::new();
    if !outcome.removed_self {
        members = check_roster(stack)?;
        if committer.is_some_and(|committer| !members.contains(&committer)) {
            return Err(Error::Disagreement);
        }
        expect_fit(stack.layers().iter(), members.len())?;
    }
    let summary = ChangeSummary {
        id: ChangeId(list.change),
        committer,
        added: outcome.added,
        removed: outcome.removed,
        removed_self: outcome.removed_self,
        superseded: None,
        leave_again: false,
    };
    Ok((summary, members))
}

/// Joins the group of a welcome in each layer, bottom to top.
pub(crate) fn join(stack: &mut Stack, welcome: &[u8]) -> Result<Joined, Error> {
    let list = Bundle::decode(welcome, Kind::Welcome, stack.id())?.into_parts();
    let mut inviter = None;
    check_parts(stack, &list.parts)?;
    expect_invited(stack, &list.parts)?;
    let mut pass = Pass::new(Kind::Commit, stack, &list.change);
    for part in &list.parts {
        let position = part.position;
        let context = pass.context(position);
        let digests = (&part.counterpart, &part_digest(part.value.as_slice()));
        let next = if stack.is_group(position) {
            let sender =
                stack.call_group(position, |group| group.join(part.value.as_slice(), &context))?;
            agree(&mut inviter, sender)?;
            next_contribution(stack, position)?
        } else {
            stack.recall(position, Some(part.value.as_slice()))?.0
        };
        pass.finish(stack, position, digests, next);
    }
    let members = check_roster(stack)?;
    if inviter.is_some_and(|inviter| !members.contains(&inviter)) {
        return Err(Error::Disagreement);
    }
    expect_fit(stack.layers().iter(), members.len())?;
    Ok(Joined { id: ChangeId(list.change), inviter, members: stack.member_infos() })
}

/// No layer says that the welcome is for somebody else.
fn expect_invited(stack: &Stack, parts: &[Part]) -> Result<(), Error> {
    let part_of = |position| parts.iter().find(|part| part.position == position);
    for (position, group) in stack.groups() {
        let invited = part_of(position).and_then(|part| group.is_invited(part.value.as_slice()));
        if invited == Some(false) {
            return Err(Error::NotInvited);
        }
    }
    Ok(())
}

/// There is a part for each layer that has one, and nothing where nothing authenticates it.
fn check_parts(stack: &Stack, parts: &[Part]) -> Result<(), Error> {
    let complete = parts.iter().map(|part| part.position).eq(stack.part_positions());
    if complete && parts.last().is_none_or(|topmost| topmost.counterpart == [0; 32]) {
        Ok(())
    } else {
        Err(DecodeError::Malformed.into())
    }
}

/// Passes the layers that have a part, bottom to top, keeping what binds the parts and what each
/// inherits.
struct Pass {
    transcript: Transcript,
    cascade: Cascade,
    passed: u16,
    group_below: bool,
    now: Option<u64>,
}

impl Pass {
    fn new(kind: Kind, stack: &Stack, change: &[u8; 16]) -> Self {
        Self {
            transcript: Transcript::new(kind, stack.id(), change),
            cascade: Cascade::default(),
            passed: 0,
            group_below: false,
            now: stack.now,
        }
    }

    fn context(&self, position: u16) -> PartContext<'_> {
        PartContext {
            binding: self.transcript.binding(),
            position,
            chain: self.cascade.top(),
            group_below: self.group_below,
            now: self.now,
        }
    }

    fn finish(
        &mut self,
        stack: &Stack,
        position: u16,
        (commit, welcome): (&[u8; 32], &[u8; 32]),
        contribution: Option<Contribution>,
    ) {
        for skipped in self.passed..position {
            self.cascade.next_layer(stack.composition(), skipped, None);
        }
        self.cascade.next_layer(stack.composition(), position, contribution);
        self.passed = position + 1;
        self.transcript = self.transcript.extend(position, commit, welcome);
        self.group_below = true;
    }
}

fn next_contribution(stack: &mut Stack, position: u16) -> Result<Option<Contribution>, Error> {
    stack.call_group(position, |group| {
        let contribution = group.next_contribution()?;
        check_contribution(group, contribution)
    })
}

/// A bundle with each layer's key package.
pub(crate) fn key_package(stack: &mut Stack) -> Result<Vec<u8>, Error> {
    let mut pass = Pass::new(Kind::KeyPackage, stack, &[0; 16]);
    let mut parts = Vec::new();
    for position in stack.group_positions() {
        let context = pass.context(position);
        let part = stack.call_group(position, |group| group.key_package(&context))?;
        pass.finish(stack, position, (&part_digest(&part), &[0; 32]), None);
        parts.push(Part { position, value: Opaque(part), counterpart: [0; 32] });
    }
    let parts = PartList { change: [0; 16], parts };
    let bundle = Bundle::new(Kind::KeyPackage, stack.id(), parts).encode()?;
    // Nobody would take a longer one.
    if bundle.len() > MAX_KEY_PACKAGE_LEN { Err(DecodeError::TooLong.into()) } else { Ok(bundle) }
}

/// All group layers are in the same epoch and have the same members, and each member's id is the digest of the keys that the
/// layers have for it: nobody's key in one layer stands beside somebody else's in another. Gives the members.
pub(crate) fn check_roster(stack: &Stack) -> Result<BTreeSet<MemberId>, Error> {
    let mut commitments = BTreeMap::<MemberId, Vec<_>>::new();
    let (mut layers, mut epoch) = (0, None);
    for (position, group) in stack.groups() {
        let Standing::Member { epoch: reached } = group.standing() else {
            return Err(Error::Disagreement);
        };
        agree(&mut epoch, Some(reached))?;
        let descriptor =
            stack.descriptors().get(usize::from(position)).ok_or(Error::Disagreement)?;
        for member in group.members() {
            let known = commitments.entry(member.id).or_default();
            if known.len() != layers {
                return Err(Error::Disagreement);
            }
            known.push((descriptor, member.commitment));
        }
        layers += 1;
    }
    let check = |(id, known): (MemberId, Vec<_>)| {
        let consistent = known.len() == layers && MemberId::of(known) == id;
        if consistent { Ok(id) } else { Err(Error::Disagreement) }
    };
    commitments.into_iter().map(check).collect()
}

/// A layer for two does not fit a group of more.
pub(crate) fn expect_fit<'a>(
    mut layers: impl Iterator<Item = &'a dyn CipherLayer>,
    members: usize,
) -> Result<(), Error> {
    match layers.position(|layer| layer.properties().pairwise) {
        Some(position) if members > 2 => Err(Error::PairwiseInGroup { position, members }),
        _ => Ok(()),
    }
}
