//! What the client does with the stack of one group: a manager that is a member of it.

use std::collections::BTreeSet;

use cc_aes_layer::AesKey;
use cc_core::{Kind, MemberId, Opaque, store::StoreError};
use cc_manager::{
    CascadingCipherManager, Change, ChangeSummary, Error, Incoming, IncomingWelcome, LayerReport,
    Proposal,
};
use cc_mls_layer::{MlsLayer, key_package_signature_key};

use crate::{
    AccessToken, Fault, GroupId, LogId, Now, Position,
    command::MAX_TITLE_LEN,
    frame::{self, KeyPackageOffer},
    introduction::Roster,
    mail::LatestAddress,
    records::Work,
};

/// What each layer did with a message.
pub(crate) type Report = Vec<LayerReport>;

/// Whether the address in an offer is of who made the key package, and was the latest then: a directory puts no key of its own
/// there, and no older one.
pub(crate) fn is_signed(seat: &CascadingCipherManager, offer: &KeyPackageOffer) -> bool {
    let bundle = offer.bundle.as_slice();
    match (package_member(seat, bundle), package_device_key(seat, bundle)) {
        (Ok(member), Some(key)) => {
            offer.address.is_of_device(&member, &key)
                && LatestAddress::is_with_package(seat, bundle, &offer.address)
        }
        _ => false,
    }
}

/// Somebody's key package, as it travels, if it is one of this version.
pub(crate) fn read_offer(bytes: &[u8]) -> Result<KeyPackageOffer, Fault> {
    let offer: KeyPackageOffer = frame::decode(bytes).map_err(|_| Fault::KeyPackage)?;
    match Kind::of(offer.bundle.as_slice()) {
        Ok(Kind::KeyPackage) => Ok(offer),
        Ok(_) | Err(_) => Err(Fault::KeyPackage),
    }
}

/// What an item was to the stack.
pub(crate) enum Opened {
    Message {
        sender: [u8; 32],
        epoch: Option<u64>,
        bytes: Vec<u8>,
    },
    Change(Outcome),
    LeaveRequest,
    OtherRequest,
    Own,
    Duplicate,
    Stale,
    Early,
    /// Not of this stack.
    Foreign,
    Forged,
}

/// A change that is in force.
pub(crate) struct Outcome {
    pub(crate) committer: Option<[u8; 32]>,
    pub(crate) added: Vec<[u8; 32]>,
    pub(crate) removed: Vec<[u8; 32]>,
    pub(crate) removed_self: bool,
    /// Nobody came and nobody went.
    pub(crate) update: bool,
    /// A change of this member's was staged, and is discarded.
    pub(crate) superseded: bool,
}

const UNSIGNED: &str = "the address with the key package is not of who made that";

/// What became of the wish to change the group.
pub(crate) enum Staged {
    Change {
        id: [u8; 16],
        commit: Vec<u8>,
    },
    /// It is done already, or no longer to be done.
    Nothing,
    Refused(String),
}

pub(crate) fn epoch(seat: &CascadingCipherManager) -> u64 {
    seat.epoch().unwrap_or(0)
}

pub(crate) fn member_ids(seat: &CascadingCipherManager) -> Vec<MemberId> {
    seat.members().into_iter().map(|member| member.id).collect()
}

/// Seals encoded frames that the client has to say, and tells what each layer did with each. The group's id is
/// authenticated with them, so that nothing of one group's log opens in another's.
pub(crate) fn seal_all(
    seat: &mut CascadingCipherManager,
    group: &GroupId,
    frames: Vec<Vec<u8>>,
) -> Result<Vec<(Vec<u8>, Report)>, Fault> {
    let mut reports = Vec::with_capacity(frames.len());
    let report = |report: &[LayerReport]| reports.push(report.to_vec());
    let wires = seat.encrypt_all_reporting(frames, group.as_bytes(), report)?;
    Ok(wires.into_iter().zip(reports).collect())
}

/// What each layer did with the last message.
pub(crate) fn last_report(seat: &CascadingCipherManager) -> Report {
    seat.last_report().to_vec()
}

pub(crate) fn leave(seat: &mut CascadingCipherManager) -> Result<Vec<u8>, Fault> {
    Ok(seat.leave()?)
}

/// Opens what the group's log has. Errors are of this machine only.
pub(crate) fn open(
    seat: &mut CascadingCipherManager,
    group: &GroupId,
    wire: &[u8],
) -> Result<Opened, Fault> {
    let incoming = seat.receive_with(wire, group.as_bytes())?;
    Ok(opened(seat, incoming))
}

/// Opens messages that follow one another in the group's log, as [`open`] does one by one, and has the stack
/// write once what they change; tells what each layer did with each.
pub(crate) fn open_messages(
    seat: &mut CascadingCipherManager,
    group: &GroupId,
    wires: &[Opaque],
) -> Result<Vec<(Opened, Report)>, Fault> {
    let mut reports = Vec::with_capacity(wires.len());
    let report = |report: &[LayerReport]| reports.push(report.to_vec());
    let wires = wires.iter().map(Opaque::as_slice);
    let received = seat.receive_all_reporting(wires, group.as_bytes(), report)?;
    let received = received.into_iter().zip(reports);
    received.map(|(incoming, report)| Ok((opened(seat, incoming?), report))).collect()
}

fn opened(seat: &CascadingCipherManager, incoming: Incoming) -> Opened {
    match incoming {
        Incoming::Message(message) => {
            let Some(sender) = message.sender() else { return Opened::Forged };
            if Some(sender) == seat.member_id() {
                return Opened::Own;
            }
            let (sender, epoch) = (*sender.as_bytes(), message.epoch());
            Opened::Message { sender, epoch, bytes: message.into_bytes() }
        }
        Incoming::Commit(summary) => Opened::Change(outcome(&summary)),
        Incoming::Proposal(proposed) => match proposed.proposal {
            Proposal::Leave => Opened::LeaveRequest,
            _ => Opened::OtherRequest,
        },
        Incoming::Own { .. } => Opened::Own,
        Incoming::Duplicate => Opened::Duplicate,
        Incoming::Stale { .. } => Opened::Stale,
        Incoming::Early { .. } => Opened::Early,
        Incoming::Foreign(_) => Opened::Foreign,
        Incoming::Forged(_) => Opened::Forged,
        _ => Opened::Foreign,
    }
}

/// Stages what is left to do of a command, with what this member's leaf is to say.
pub(crate) fn stage(
    seat: &mut CascadingCipherManager,
    work: &Work,
    latest: LatestAddress,
    now: Now,
) -> Result<Staged, Fault> {
    seat.set_time(Some(now.seconds()));
    latest.put_into(seat)?;
    let members: BTreeSet<MemberId> = member_ids(seat).into_iter().collect();
    let staged = match work {
        Work::Add(offers) | Work::Admit { offers, .. } => {
            let mut bundles = Vec::new();
            for offer in offers {
                let offer = read_offer(offer)?;
                match seat.inspect_key_package(offer.bundle.as_slice()) {
                    Ok(view) if members.contains(&view.id) => {}
                    Ok(_) if is_signed(seat, &offer) => bundles.push(offer.bundle.0),
                    Ok(_) => return Ok(Staged::Refused(UNSIGNED.to_owned())),
                    Err(error) => return refused(error),
                }
            }
            if bundles.is_empty() {
                return Ok(Staged::Nothing);
            }
            seat.add_members(bundles)
        }
        Work::Readmit(offers) => {
            let mut bundles = Vec::new();
            for offer in offers {
                let offer = read_offer(offer)?;
                if is_signed(seat, &offer) && may_rejoin(seat, offer.bundle.as_slice()) {
                    bundles.push(offer.bundle.0);
                }
            }
            if bundles.is_empty() {
                return Ok(Staged::Nothing);
            }
            seat.readmit_members(bundles)
        }
        Work::Remove(ids) => {
            let ids = ids.iter().map(|id| MemberId::from_bytes(*id));
            let ids: Vec<_> = ids.filter(|id| members.contains(id)).collect();
            if ids.is_empty() {
                return Ok(Staged::Nothing);
            }
            seat.remove_members(ids)
        }
        Work::CommitLeaves if seat.leaving().next().is_none() => return Ok(Staged::Nothing),
        Work::Refresh | Work::CommitLeaves => seat.update(),
        Work::Content { .. }
        | Work::History { .. }
        | Work::Title
        | Work::Introduction
        | Work::Leave => return Ok(Staged::Nothing),
    };
    match staged {
        Ok(change) => Ok(Staged::Change { id: *change.id().as_bytes(), commit: change.commit }),
        Err(error) => refused(error),
    }
}

/// What cannot be done is told; what failed here is a fault.
fn refused(error: Error) -> Result<Staged, Fault> {
    match error {
        Error::Store(_) | Error::Random(_) => Err(error.into()),
        error => {
            let mut why = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                why = format!("{why}: {cause}");
                source = cause.source();
            }
            Ok(Staged::Refused(why))
        }
    }
}

/// Brings the staged change into force; gives the welcome, where somebody was added.
pub(crate) fn confirm(
    seat: &mut CascadingCipherManager,
    change: [u8; 16],
) -> Result<(Outcome, Option<Vec<u8>>), Fault> {
    let staged = seat.staged_change().map(Change::id).filter(|id| *id.as_bytes() == change);
    let staged = staged.ok_or_else(|| StoreError::corrupt("the staged change is another one"))?;
    let confirmed = seat.confirm(staged)?;
    Ok((outcome(&confirmed.summary), confirmed.welcome))
}

/// Forgets the staged change, if there is one.
pub(crate) fn discard(seat: &mut CascadingCipherManager) -> Result<(), Fault> {
    match seat.staged_change().map(Change::id) {
        Some(change) => Ok(seat.discard(change)?),
        None => Ok(()),
    }
}

pub(crate) fn staged_commit(seat: &CascadingCipherManager) -> Option<Vec<u8>> {
    seat.staged_change().map(|change| change.commit.clone())
}

/// Joins by a welcome; `false` where it is none for this stack.
pub(crate) fn join(seat: &mut CascadingCipherManager, welcome: &[u8]) -> Result<bool, Fault> {
    Ok(matches!(seat.receive_welcome(welcome)?, IncomingWelcome::Joined(_)))
}

/// A new key package whose leaf says this, and when it expires, in seconds since 1970.
pub(crate) fn key_package(
    seat: &mut CascadingCipherManager,
    latest: LatestAddress,
    now: Now,
) -> Result<(Vec<u8>, Option<u64>), Fault> {
    seat.set_time(Some(now.seconds()));
    latest.put_into(seat)?;
    let bundle = seat.key_package()?;
    let expires = seat.inspect_key_package(&bundle)?.expires;
    Ok((bundle, expires))
}

/// The MLS group that the stack is in, or was.
pub(crate) fn mls_group(seat: &CascadingCipherManager) -> Option<Vec<u8>> {
    seat.find::<MlsLayer>()?.group_id().map(<[u8]>::to_vec)
}

/// Whether a bundle is of a member that asks to be added anew.
pub(crate) fn may_rejoin(seat: &CascadingCipherManager, bundle: &[u8]) -> bool {
    let view = seat.inspect_key_package(bundle);
    view.is_ok_and(|view| member_ids(seat).contains(&view.id))
}

/// Whether a key package is of no use any more, or not yet.
pub(crate) fn is_expired(seat: &mut CascadingCipherManager, bundle: &[u8], now: Now) -> bool {
    seat.set_time(Some(now.seconds()));
    let view = seat.inspect_key_package(bundle);
    view.map_or(true, |view| view.expires.is_some_and(|expires| expires <= now.seconds()))
}

/// Key packages that are made from now on are of last resort, in the layer that marks them.
pub(crate) fn set_last_resort(seat: &mut CascadingCipherManager) -> Result<(), Fault> {
    if seat.find::<MlsLayer>().is_none() {
        return Ok(());
    }
    Ok(seat.configure::<MlsLayer, ()>(|mut settings| {
        settings.set_last_resort(true);
        Ok(())
    })?)
}

/// Forgets the private keys of key packages that are of last resort: another copy of the stack keeps them.
pub(crate) fn forget_key_packages(seat: &mut CascadingCipherManager) -> Result<(), Fault> {
    let Some(mls) = seat.find::<MlsLayer>() else { return Ok(()) };
    let references: Vec<_> = mls.key_packages()?.into_iter().map(|it| it.reference).collect();
    Ok(seat.configure::<MlsLayer, ()>(|mut settings| {
        for reference in &references {
            settings.forget_key_package(reference)?;
        }
        Ok(())
    })?)
}

/// Whose key package a bundle says it is, also where it has expired since it was verified.
pub(crate) fn package_member(
    seat: &CascadingCipherManager,
    bundle: &[u8],
) -> Result<MemberId, Fault> {
    Ok(seat.key_package_member(bundle)?)
}

/// The key with which the maker of a bundle signs in the MLS layer, if it is Ed25519.
pub(crate) fn package_device_key(seat: &CascadingCipherManager, bundle: &[u8]) -> Option<[u8; 32]> {
    let part = seat.key_package_part::<MlsLayer>(bundle).ok()?;
    key_package_signature_key(&part)?.try_into().ok()
}

/// The key with which a member signs in the MLS layer, if it is Ed25519.
pub(crate) fn device_key(seat: &CascadingCipherManager, member: &MemberId) -> Option<[u8; 32]> {
    let members = seat.find::<MlsLayer>()?.mls_members();
    members.iter().find(|known| known.id == *member)?.signature_key.as_slice().try_into().ok()
}

/// Under which the tokens of logs are exported.
const ACCESS_LABEL: &[u8] = b"cc-client/1 log access";

/// The token of the group's log in the present epoch; `None` outside the group.
pub(crate) fn access(
    seat: &CascadingCipherManager,
    group: &GroupId,
) -> Result<Option<AccessToken>, Fault> {
    Ok(seat.export_secret(ACCESS_LABEL, group.as_bytes())?.map(AccessToken::new))
}

/// The token in the epoch that the staged change leads to.
pub(crate) fn next_access(
    seat: &CascadingCipherManager,
    group: &GroupId,
) -> Result<Option<AccessToken>, Fault> {
    Ok(seat.export_next_secret(ACCESS_LABEL, group.as_bytes())?.map(AccessToken::new))
}

/// Under which the key of what newcomers are told is exported, and with which that is sealed.
const ROSTER_LABEL: &[u8] = b"cc-client/1 roster";

/// Where a welcome leads, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The log of the group.
    pub(crate) log: GroupId,
    /// Of the commit that added who is invited.
    pub(crate) position: Position,
    /// The mailbox of who invites.
    pub(crate) inviter: LogId,
}

impl Place {
    /// What the roster is bound to, beside the group.
    fn binding(&self) -> Vec<u8> {
        let (position, inviter) = (self.position.0.to_be_bytes(), self.inviter);
        [ROSTER_LABEL, &position, inviter.as_bytes()].concat()
    }
}

/// What a sealed roster was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenedRoster {
    /// Made in this epoch for this place.
    Genuine(Roster),
    /// Made in this epoch for this place, and no roster of this version.
    Malformed,
    /// Of another epoch or place, or of nobody in the group.
    Foreign,
}

/// Seals for all who are in the present epoch who the members are, and with it where the group is: who is not in the epoch
/// makes none for another place.
pub(crate) fn seal_roster(
    seat: &CascadingCipherManager,
    place: &Place,
    roster: &Roster,
) -> Result<Vec<u8>, Fault> {
    let key = roster_key(seat, &place.log)?.ok_or(Fault::NotAMember(place.log))?;
    Ok(key.seal(&place.binding(), &frame::encode(roster)?)?)
}

/// Opens what [`seal_roster`] gave in the same epoch.
pub(crate) fn open_roster(
    seat: &CascadingCipherManager,
    place: &Place,
    sealed: &[u8],
) -> Result<OpenedRoster, Fault> {
    let key = roster_key(seat, &place.log)?;
    let opened = key.and_then(|key| key.open(&place.binding(), sealed).ok());
    let Some(roster) = opened else { return Ok(OpenedRoster::Foreign) };
    Ok(frame::decode(&roster).map_or(OpenedRoster::Malformed, OpenedRoster::Genuine))
}

fn roster_key(seat: &CascadingCipherManager, group: &GroupId) -> Result<Option<AesKey>, Fault> {
    Ok(seat.export_secret(ROSTER_LABEL, group.as_bytes())?.map(AesKey::aes256))
}

/// What the group is called, as far as a layer knows.
pub(crate) fn title(seat: &CascadingCipherManager) -> String {
    let title = seat.find::<MlsLayer>().and_then(MlsLayer::group_name);
    title.filter(|title| title.len() <= MAX_TITLE_LEN).unwrap_or_default()
}

fn outcome(summary: &ChangeSummary) -> Outcome {
    let ids = |ids: &[MemberId]| ids.iter().map(|id| *id.as_bytes()).collect();
    Outcome {
        committer: summary.committer.map(|id| *id.as_bytes()),
        added: ids(&summary.added),
        removed: ids(&summary.removed),
        removed_self: summary.removed_self,
        update: summary.added.is_empty() && summary.removed.is_empty(),
        superseded: summary.superseded.is_some(),
    }
}
