//! What outsiders and members without the right to it try on a group.

use alloc::{vec, vec::Vec};

use cc_core::{LayerErrorKind, NewMember, StackId};

use super::*;
use crate::Curve;

const ID: [MemberId; 4] = [
    MemberId::from_bytes([1; 32]),
    MemberId::from_bytes([2; 32]),
    MemberId::from_bytes([3; 32]),
    MemberId::from_bytes([4; 32]),
];

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

fn group(curve: Curve, id: MemberId, founding: bool) -> Group {
    let mut group = Group::new(DhKeyPair::generate(curve).unwrap());
    let place = Attachment { stack: StackId::of(&[]), position: 0, member: Some(id), founding };
    group.attach(&place).unwrap();
    group.apply();
    group
}

fn stage(
    group: &mut Group,
    added: &[(MemberId, &Group)],
    removed: &[MemberId],
    binding: u8,
) -> ChangeParts {
    let packages: Vec<_> = added.iter().map(|(_, new)| new.key_package().unwrap()).collect();
    let added: Vec<_> = added
        .iter()
        .zip(&packages)
        .map(|((id, _), part)| NewMember { id: *id, part, binding: [0; 32] })
        .collect();
    let change =
        group.stage_change(&ChangeRequest { added: &added, removed }, &parts(binding)).unwrap();
    group.apply();
    change
}

/// Alice, Bob and Charlie at generation 1, and Dora outside.
fn four(curve: Curve) -> [Group; 4] {
    let [mut a, mut b, mut c, d] = [0, 1, 2, 3].map(|i| group(curve, ID[i], i == 0));
    let change = stage(&mut a, &[(ID[1], &b), (ID[2], &c)], &[], 1);
    a.confirm_change().unwrap();
    a.apply();
    for other in [&mut b, &mut c] {
        other.join(&change.welcome, &parts(1)).unwrap();
        other.apply();
    }
    [a, b, c, d]
}

fn snapshot(group: &Group) -> (Standing, Vec<Member>, Option<Secret<32>>) {
    assert!(group.staged.is_none());
    let secret = group.contribute().ok().map(|contribution| contribution.secret);
    (group.standing(), group.members(), secret)
}

/// The commit is refused, and nothing has changed.
fn refuses(group: &mut Group, part: &[u8], binding: u8) {
    let before = snapshot(group);
    let error = group.process_commit(part, &parts(binding)).unwrap_err();
    assert_eq!(error.kind(), LayerErrorKind::Rejected);
    assert_eq!(snapshot(group), before);
}

fn refuses_welcome(group: &mut Group, part: &[u8], binding: u8) {
    let error = group.join(part, &parts(binding)).unwrap_err();
    assert_eq!(error.kind(), LayerErrorKind::Rejected);
    assert_eq!(snapshot(group), (Standing::Outside, vec![], None));
}

/// A commit that an insider puts together: `keys` are theirs, everything else what they claim.
#[derive(Clone, Copy)]
struct Forgery<'a> {
    insider: &'a Group,
    sender: MemberId,
    number: u64,
    added: &'a [Entry],
    removed: &'a [MemberId],
}

impl Forgery<'_> {
    fn commit(&self, edit: impl FnOnce(&mut Commit)) -> Vec<u8> {
        let now = self.insider.generation().unwrap();
        let roster = now
            .roster
            .changed(self.removed, self.added.iter().copied())
            .unwrap_or_else(|_| now.roster.changed(&[], []).unwrap());
        let binding = [9; 32];
        let outgoing = Outgoing {
            keys: &self.insider.keys,
            me: self.sender,
            now,
            number: self.number,
            binding: &binding,
        };
        let root = Root::random().unwrap();
        let part = outgoing.commit(&root, &roster, self.removed, self.added).unwrap();
        let (body, _) = part.split_last_chunk::<TAG_LEN>().unwrap();
        let mut commit = Commit::decode(body).unwrap();
        edit(&mut commit);
        tagged(self.insider, &commit, &binding)
    }
}

fn tagged(insider: &Group, commit: &Commit, binding: &[u8; 32]) -> Vec<u8> {
    let mut part = wire::encode(commit).unwrap();
    let secrets = &insider.generation().unwrap().secrets;
    let tag = secrets.membership_tag(binding, &wire::digest(&part)).unwrap();
    part.extend_from_slice(tag.expose());
    part
}

#[test]
fn every_flip_and_truncation_of_a_commit_is_refused() {
    for (curve, stride) in [(Curve::X25519, 1), (Curve::P256, 7)] {
        let [mut a, mut b, mut c, d] = four(curve);
        let change = stage(&mut a, &[(ID[3], &d)], &[ID[2]], 9);
        let part = change.commit;
        for bit in (0..part.len() * 8).step_by(stride) {
            let mut flipped = part.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refuses(&mut b, &flipped, 9);
            refuses(&mut c, &flipped, 9);
        }
        for len in 0..part.len() {
            refuses(&mut b, &part[..len], 9);
        }
        let longer = [part.clone(), vec![0]].concat();
        refuses(&mut b, &longer, 9);
        refuses(&mut b, &part, 8);
        // The untouched one is still good.
        assert_eq!(b.process_commit(&part, &parts(9)).unwrap().added, [ID[3]]);
        assert!(c.process_commit(&part, &parts(9)).unwrap().removed_self);
    }
}

#[test]
fn every_flip_and_truncation_of_a_welcome_is_refused() {
    for (curve, stride) in [(Curve::X25519, 3), (Curve::P256, 13)] {
        let [mut a, .., mut d] = four(curve);
        let mut e = group(curve, MemberId::from_bytes([5; 32]), false);
        let e_id = MemberId::from_bytes([5; 32]);
        let part = stage(&mut a, &[(ID[3], &d), (e_id, &e)], &[], 9).welcome;
        for bit in (0..part.len() * 8).step_by(stride) {
            let mut flipped = part.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refuses_welcome(&mut d, &flipped, 9);
        }
        for len in 0..part.len() {
            refuses_welcome(&mut d, &part[..len], 9);
        }
        refuses_welcome(&mut d, &[part.clone(), vec![0]].concat(), 9);
        refuses_welcome(&mut d, &part, 8);
        let mut uninvited = group(curve, ID[3], false);
        refuses_welcome(&mut uninvited, &part, 9);
        assert_eq!(d.join(&part, &parts(9)).unwrap(), ID[0]);
        assert_eq!(e.join(&part, &parts(9)).unwrap(), ID[0]);
        d.apply();
        // In the group, it keeps what it has when a welcome is refused.
        let before = snapshot(&d);
        let spoiled = &part[..part.len() - 1];
        assert_eq!(d.join(spoiled, &parts(9)).unwrap_err().kind(), LayerErrorKind::Rejected);
        assert_eq!(snapshot(&d), before);
    }
}

#[test]
fn a_welcome_shows_neither_ids_nor_the_other_members_keys() {
    let [mut a, b, _, d] = four(Curve::X25519);
    let part = stage(&mut a, &[(ID[3], &d)], &[], 9).welcome;
    let shows = |bytes: &[u8]| part.windows(bytes.len()).any(|window| window == bytes);
    assert!(shows(a.keys.public_key().point()), "Auth mode needs it");
    assert!(!shows(b.keys.public_key().point()) && !shows(d.keys.public_key().point()));
    assert!(!ID.iter().any(|id| shows(&id.as_bytes()[..8])));
}

#[test]
fn an_insider_cannot_speak_for_another_member() {
    let [a, mut b, c, d] = four(Curve::X25519);
    let honest = Forgery { insider: &c, sender: ID[2], number: 2, added: &[], removed: &[] };
    assert!(b.process_commit(&honest.commit(|_| {}), &parts(9)).is_ok());
    b.revert();

    let forged = Forgery { sender: ID[0], ..honest };
    refuses(&mut b, &forged.commit(|_| {}), 9);
    let removal = Forgery { removed: &[ID[1]], ..forged };
    refuses(&mut b, &removal.commit(|_| {}), 9);

    // Nor invite in another's name: the roster says whose key it is.
    let now = c.generation().unwrap();
    let entry = Entry { id: ID[3], key: *d.keys.public_key() };
    let roster = now.roster.changed(&[], [entry]).unwrap();
    let root = Root::random().unwrap();
    let outgoing = Outgoing { keys: &c.keys, me: ID[0], now, number: 2, binding: &[9; 32] };
    let welcome = outgoing.welcome(&root, &roster, &[entry]).unwrap();
    let mut d = d;
    refuses_welcome(&mut d, &welcome, 9);
    let outgoing = Outgoing { me: ID[2], ..outgoing };
    let welcome = outgoing.welcome(&root, &roster, &[entry]).unwrap();
    assert_eq!(d.join(&welcome, &parts(9)).unwrap(), ID[2]);
    let _ = a;
}

#[test]
fn an_insider_cannot_alter_a_genuine_commit() {
    let [mut a, mut b, c, d] = four(Curve::X25519);
    let part = stage(&mut a, &[(ID[3], &d)], &[], 9).commit;
    let (body, _) = part.split_last_chunk::<TAG_LEN>().unwrap();
    let original = Commit::decode(body).unwrap();
    let eve = group(Curve::X25519, ID[3], false);
    let alterations: [fn(&mut Commit, &Group); 5] = [
        |commit, eve| {
            commit.added = vec![(&Entry { id: ID[3], key: *eve.keys.public_key() }).into()];
        },
        |commit, _| commit.added.clear(),
        |commit, _| commit.removed = vec![*ID[2].as_bytes()],
        |commit, _| commit.boxes.reverse(),
        |commit, _| commit.sender = *ID[2].as_bytes(),
    ];
    for alter in alterations {
        let mut altered = original.clone();
        alter(&mut altered, &eve);
        assert_ne!(altered, original);
        refuses(&mut b, &tagged(&c, &altered, &[9; 32]), 9);
    }
    // A member moves the genuine boxes to a change with another binding.
    refuses(&mut b, &tagged(&c, &original, &[8; 32]), 8);
    assert!(b.process_commit(&part, &parts(9)).is_ok());
}

#[test]
fn commits_that_do_not_follow_are_refused() {
    let [_, mut b, c, d] = four(Curve::X25519);
    let entry = Entry { id: ID[3], key: *d.keys.public_key() };
    let of_b = Entry { id: ID[3], key: *b.keys.public_key() };
    let base = Forgery { insider: &c, sender: ID[2], number: 2, added: &[], removed: &[] };
    for number in [0, 1, 3, u64::MAX] {
        refuses(&mut b, &Forgery { number, ..base }.commit(|_| {}), 9);
    }
    refuses(&mut b, &Forgery { removed: &[ID[2]], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { removed: &[ID[3]], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { added: &[entry, entry], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { added: &[of_b], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { sender: ID[3], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { sender: ID[1], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &base.commit(|commit| commit.boxes.clear()), 9);
    let twice = |commit: &mut Commit| commit.removed = vec![*ID[0].as_bytes(); 2];
    refuses(&mut b, &Forgery { removed: &[ID[0]], ..base }.commit(twice), 9);
}

#[test]
fn an_old_commit_is_refused() {
    let [mut a, mut b, mut c, _] = four(Curve::X25519);
    let first = stage(&mut a, &[], &[], 9).commit;
    a.confirm_change().unwrap();
    a.apply();
    for other in [&mut b, &mut c] {
        let _ = other.process_commit(&first, &parts(9)).unwrap();
        other.apply();
        refuses(other, &first, 9);
    }
    refuses(&mut a, &first, 9);
}

#[test]
fn every_flip_and_truncation_of_a_message_is_refused() {
    let [a, b, ..] = four(Curve::X25519);
    let stack = StackId::of(&[]);
    let header = cc_core::Header::new(cc_core::Kind::Application, &stack, vec![]);
    let [binding, other] = [header.binding(&stack, b"ad"), header.binding(&stack, b"other")];
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(b"text");
    a.seal(&context, &mut buffer).unwrap();
    let wire = buffer.as_slice().to_vec();
    assert_eq!(wire.len(), 4 + 56);
    let open =
        |bytes: &[u8], context: &LayerContext<'_>| b.open(context, &mut Buffer::new(bytes)).is_ok();
    for bit in 0..wire.len() * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!open(&flipped, &context), "{bit}");
    }
    for len in 0..wire.len() {
        assert!(!open(&wire[..len], &context), "{len}");
    }
    assert!(!open(&wire, &LayerContext { position: 1, ..context }));
    assert!(!open(&wire, &LayerContext { binding: &other, ..context }));
    assert!(open(&wire, &context));
}
