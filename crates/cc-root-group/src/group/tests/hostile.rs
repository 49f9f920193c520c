//! What outsiders and members without the right to it try on a group.

use alloc::collections::BTreeSet;

use super::*;
use crate::{
    DhKeyPair, Suite as _,
    hpke::{self, Sealer, box_len},
    member::Sender,
};

pub(crate) const ID: [MemberId; 4] = [
    MemberId::from_bytes([1; 32]),
    MemberId::from_bytes([2; 32]),
    MemberId::from_bytes([3; 32]),
    MemberId::from_bytes([4; 32]),
];

pub(crate) fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

pub(crate) fn group<K: MemberKeyPair>(suite: SuiteOf<K>, id: MemberId, founding: bool) -> Group<K> {
    let mut group = Group::new(K::generate(suite).unwrap());
    let place = Attachment { stack: StackId::of(&[]), position: 0, member: Some(id), founding };
    group.attach(&place).unwrap();
    group.apply();
    group
}

pub(crate) fn stage<K: MemberKeyPair>(
    group: &mut Group<K>,
    added: &[(MemberId, &Group<K>)],
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
pub(crate) fn four<K: MemberKeyPair>(suite: SuiteOf<K>) -> [Group<K>; 4] {
    let [mut a, mut b, mut c, d] = [0, 1, 2, 3].map(|i| group::<K>(suite, ID[i], i == 0));
    let change = stage(&mut a, &[(ID[1], &b), (ID[2], &c)], &[], 1);
    a.confirm_change().unwrap();
    a.apply();
    for other in [&mut b, &mut c] {
        other.join(&change.welcome, &parts(1)).unwrap();
        other.apply();
    }
    [a, b, c, d]
}

pub(crate) fn snapshot<K: MemberKeyPair>(
    group: &Group<K>,
) -> (Standing, Vec<Member>, Option<Secret<32>>) {
    assert!(!group.state.is_staged());
    let secret = group.contribute().ok().map(|contribution| contribution.secret);
    (group.standing(), group.members(), secret)
}

/// The commit is refused, and nothing has changed.
pub(crate) fn refuses<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) {
    assert_eq!(refusal(group, part, binding), LayerErrorKind::Rejected);
}

/// Why the commit is refused. Nothing has changed.
fn refusal<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) -> LayerErrorKind {
    let before = snapshot(group);
    let error = group.process_commit(part, &parts(binding)).unwrap_err();
    assert_eq!(snapshot(group), before);
    error.kind()
}

/// The commit is refused, for what it says of its generation where that was changed.
fn refuses_altered<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) {
    let Standing::Member { epoch } = group.standing() else { panic!("no member") };
    let body = part.len().saturating_sub(TAG_LEN);
    let expected = match commit::claimed_generation(&part[..body]) {
        Ok(claimed) if claimed < epoch => LayerErrorKind::Stale,
        Ok(claimed) if claimed > epoch => LayerErrorKind::Early,
        _ => LayerErrorKind::Rejected,
    };
    assert_eq!(refusal(group, part, binding), expected);
}

pub(crate) fn refuses_welcome<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) {
    assert_eq!(welcome_refusal(group, part, binding), LayerErrorKind::Rejected);
}

/// The welcome is for somebody else, as far as its public bytes tell.
pub(crate) fn not_invited<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) {
    assert_eq!(group.is_invited(part), Some(false));
    assert_eq!(welcome_refusal(group, part, binding), LayerErrorKind::Stale);
}

/// The welcome is refused; where it shows no invitation any more, as one for somebody else.
fn refuses_altered_welcome<K: MemberKeyPair>(group: &mut Group<K>, part: &[u8], binding: u8) {
    let kind = welcome_refusal(group, part, binding);
    let expected = if group.is_invited(part) == Some(true) {
        &[LayerErrorKind::Rejected][..]
    } else {
        &[LayerErrorKind::Rejected, LayerErrorKind::Stale]
    };
    assert!(expected.contains(&kind), "{kind:?}");
}

fn welcome_refusal<K: MemberKeyPair>(
    group: &mut Group<K>,
    part: &[u8],
    binding: u8,
) -> LayerErrorKind {
    let error = group.join(part, &parts(binding)).unwrap_err();
    assert_eq!(snapshot(group), (Standing::Outside, vec![], None));
    error.kind()
}

/// With a KEM beside the Diffie-Hellman keys a box is bound to what HPKE does not know of: the ciphertext of the
/// KEM and the whole keys of both sides. Who has the secret opens it with no others.
///
/// For kinds of keys with a KEM alone.
pub fn a_box_is_of_one_ciphertext_and_of_whole_keys<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [a, b, other] = [(); 3].map(|()| K::generate(suite).unwrap());
    let [sent, spare] = [(); 2].map(|()| b.public_key().encapsulate().unwrap().unwrap());
    let mut sealed = Vec::new();
    let mut sealer = Sealer::new(&a).unwrap();
    sealer.seal(b.public_key(), Some(&sent), b"i", b"ad", b"content", &mut sealed).unwrap();
    let open = |sealed: &[u8], recipient: &K, sender: &Sender| {
        hpke::open_with(sealed, recipient, Some(&sent.secret), sender, b"i", b"ad", 7).ok()
    };
    let sender = Sender::of(a.public_key());
    assert_eq!(open(&sealed, &b, &sender).unwrap().expose(), b"content");

    let (_, rest) = sealed.split_at(suite.ciphertext_len());
    assert!(open(&[&spare.ciphertext, rest].concat(), &b, &sender).is_none(), "another ciphertext");
    let digest = Sender::of(other.public_key()).digest;
    assert!(open(&sealed, &b, &Sender { digest, key: sender.key }).is_none(), "another sender");
    // Bob's Diffie-Hellman key, which is in front, with the KEM's of another pair.
    let (of_bob, of_other) = (b.private_bytes(), other.private_bytes());
    let bytes = [&of_bob.expose()[..32], &of_other.expose()[32..]].concat();
    let half = K::from_private_bytes(suite, &bytes).unwrap();
    assert!(half.diffie_hellman_keys().public_key() == b.diffie_hellman_keys().public_key());
    assert!(open(&sealed, &half, &sender).is_none(), "another recipient");
}

/// A commit that an insider puts together: `keys` are theirs, everything else what they claim.
struct Forgery<'a, K: MemberKeyPair> {
    insider: &'a Group<K>,
    committer: MemberId,
    ends: u64,
    added: &'a [Entry<K::PublicKey>],
    removed: &'a [MemberId],
}

impl<K: MemberKeyPair> Clone for Forgery<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: MemberKeyPair> Copy for Forgery<'_, K> {}

impl<K: MemberKeyPair> Forgery<'_, K> {
    fn commit(&self, edit: impl FnOnce(&mut Commit<K::PublicKey>)) -> Vec<u8> {
        let now = self.insider.state.latest().present().unwrap();
        let roster = now
            .roster
            .changed(None, self.removed, self.added)
            .unwrap_or_else(|_| now.roster.changed(None, &[], &[]).unwrap());
        let binding = [9; 32];
        let step = now.step(&roster, &binding).unwrap();
        let (removed, added) = (self.removed.to_vec(), self.added.to_vec());
        let mut change = CommittedChange { ends: self.ends, removed, added, commitment: [0; 32] };
        let mut commit = if self.removed.is_empty() {
            let (root, salt) = now.secrets.next_root(&binding).unwrap();
            change.commitment = root.commitment(&step);
            Commit { change, root: RootSource::Derived { salt } }
        } else {
            let root = Root::random(K::PublicKey::LABEL).unwrap();
            change.commitment = root.commitment(&step);
            let (keys, committer) = (&self.insider.keys, self.committer);
            Commit::seal(keys, committer, now, &step, change, &root).unwrap()
        };
        edit(&mut commit);
        tagged(self.insider, &commit, &binding)
    }
}

pub(crate) fn tagged<K: MemberKeyPair>(
    insider: &Group<K>,
    commit: &Commit<K::PublicKey>,
    binding: &[u8; 32],
) -> Vec<u8> {
    let mut part = commit.encode().unwrap();
    let now = insider.state.latest().present().unwrap();
    commit::append_tag(&mut part, now, binding);
    part
}

fn boxes<P>(commit: &mut Commit<P>) -> &mut Vec<u8> {
    match &mut commit.root {
        RootSource::Sealed { boxes, .. } => boxes,
        RootSource::Derived { .. } => panic!("no boxes"),
    }
}

fn set_committer<P>(commit: &mut Commit<P>, id: MemberId) {
    match &mut commit.root {
        RootSource::Sealed { committer, .. } => *committer = id,
        RootSource::Derived { .. } => panic!("no committer"),
    }
}

pub fn every_flip_and_truncation_of_a_commit_is_refused<K: MemberKeyPair>(suite: SuiteOf<K>) {
    for removed in [&[][..], &[ID[2]]] {
        let [mut a, mut b, mut c, d] = four::<K>(suite);
        let part = stage(&mut a, &[(ID[3], &d)], removed, 9).commit;
        for bit in some(part.len() * 8) {
            let mut flipped = part.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refuses_altered(&mut b, &flipped, 9);
            refuses_altered(&mut c, &flipped, 9);
        }
        for len in some(part.len()) {
            refuses_altered(&mut b, &part[..len], 9);
        }
        let longer = [part.clone(), vec![0]].concat();
        refuses(&mut b, &longer, 9);
        refuses(&mut b, &part, 8);
        // The untouched one is still good.
        assert_eq!(b.process_commit(&part, &parts(9)).unwrap().added, [ID[3]]);
        let outcome = c.process_commit(&part, &parts(9)).unwrap();
        assert_eq!(outcome.removed_self, !removed.is_empty());
    }
}

pub fn every_flip_and_truncation_of_a_welcome_is_refused<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, .., mut d] = four::<K>(suite);
    let mut e = group::<K>(suite, MemberId::from_bytes([5; 32]), false);
    let e_id = MemberId::from_bytes([5; 32]);
    let part = stage(&mut a, &[(ID[3], &d), (e_id, &e)], &[], 9).welcome;
    for bit in some(part.len() * 8) {
        let mut flipped = part.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refuses_altered_welcome(&mut d, &flipped, 9);
    }
    for len in some(part.len()) {
        refuses_welcome(&mut d, &part[..len], 9);
    }
    refuses_welcome(&mut d, &[part.clone(), vec![0]].concat(), 9);
    refuses_welcome(&mut d, &part, 8);
    let mut uninvited = group::<K>(suite, ID[3], false);
    not_invited(&mut uninvited, &part, 9);
    assert_eq!([&d, &e].map(|group| group.is_invited(&part)), [Some(true); 2]);
    assert_eq!(d.join(&part, &parts(9)).unwrap(), ID[0]);
    assert_eq!(e.join(&part, &parts(9)).unwrap(), ID[0]);
    d.apply();
    // In the group, it keeps what it has when a welcome is refused.
    let before = snapshot(&d);
    let spoiled = &part[..part.len() - 1];
    assert_eq!(d.join(spoiled, &parts(9)).unwrap_err().kind(), LayerErrorKind::Rejected);
    assert_eq!(snapshot(&d), before);
}

/// A stranger can send a welcome: what it says of lengths and counts is looked at before anything else.
pub fn a_welcome_with_no_or_too_many_invitations_is_refused<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let keys = DhKeyPair::generate(suite.curve()).unwrap();
    let len = 16 + Sender::encoded_len(suite) + box_len(suite, Root::LEN);
    let part = |invitations: usize, group: usize| {
        let mut part = keys.public_key().to_bytes();
        part.extend([7; 32]);
        crate::codec::put_opaque(&mut part, &vec![0; invitations]).unwrap();
        crate::codec::put_opaque(&mut part, &vec![0; group]).unwrap();
        part
    };
    let most = K::PublicKey::MAX_MEMBERS;
    for (invitations, fits) in [
        (0, false),
        (len - 1, false),
        (len, true),
        (len + 1, false),
        (len * most, true),
        (len * (most + 1), false),
    ] {
        let part = part(invitations, 100);
        let decoded = Welcome::decode::<K::PublicKey>(suite, &part);
        assert_eq!(decoded.is_ok(), fits, "{invitations}");
        drop(decoded);
        let mut d = group::<K>(suite, ID[3], false);
        refuses_altered_welcome(&mut d, &part, 9);
    }
}

/// Whoever knows all ids and public keys finds none of them, and nothing that two welcomes to the same
/// people by the same member have in common.
pub fn a_welcome_shows_no_ids_and_no_keys<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, b, c, d] = four::<K>(suite);
    let one = stage(&mut a, &[(ID[3], &d)], &[], 9).welcome;
    a.discard_change();
    a.apply();
    let other = stage(&mut a, &[(ID[3], &d)], &[], 9).welcome;
    let shown: BTreeSet<&[u8]> = one.windows(8).collect();
    for group in [&a, &b, &c, &d] {
        let point = group.keys.public_key().encoded();
        assert!(point.windows(8).all(|piece| !shown.contains(piece)));
    }
    assert!(!ID.iter().any(|id| shown.contains(&id.as_bytes()[..8])));
    assert!(other.windows(8).all(|piece| !shown.contains(piece)));
}

pub fn an_insider_cannot_remove_or_invite_in_another_members_name<K: MemberKeyPair>(
    suite: SuiteOf<K>,
) {
    let [_, mut b, c, mut d] = four::<K>(suite);
    let removed = &[ID[0]];
    let honest = Forgery { insider: &c, committer: ID[2], ends: 1, added: &[], removed };
    let outcome = b.process_commit(&honest.commit(|_| {}), &parts(9)).unwrap();
    assert_eq!(outcome.committer, Some(ID[2]));
    b.revert();
    for removed in [[ID[1]], [ID[2]]] {
        let forged = Forgery { committer: ID[0], removed: &removed, ..honest };
        refuses(&mut b, &forged.commit(|_| {}), 9);
    }

    // An addition names nobody: any member makes it.
    let entry = Entry { id: ID[3], key: d.keys.public_key().clone() };
    let addition = Forgery { removed: &[], added: core::slice::from_ref(&entry), ..honest };
    assert_eq!(b.process_commit(&addition.commit(|_| {}), &parts(9)).unwrap().committer, None);
    b.revert();

    // The welcome says who invites, and the roster whose key it is.
    let now = c.state.latest().present().unwrap();
    let roster = now.roster.changed(None, &[], core::slice::from_ref(&entry)).unwrap();
    let step = now.step(&roster, &[9; 32]).unwrap();
    let root = Root::random(K::PublicKey::LABEL).unwrap();
    let commitment = root.commitment(&step);
    let next = Generation::new(&root, &step, &commitment, [7; 32], roster);
    let (keys, step, next, root) = (&c.keys, &step, &next, &root);
    let invited = Invited { keys, sender: ID[0], step, commitment: &commitment, next, root };
    refuses_welcome(&mut d, &invited.welcome(core::slice::from_ref(&entry)).unwrap(), 9);
    let invited = Invited { sender: ID[2], ..invited };
    assert_eq!(
        d.join(&invited.welcome(core::slice::from_ref(&entry)).unwrap(), &parts(9)).unwrap(),
        ID[2]
    );
}

/// How an insider changes a commit.
type Alteration<K> = fn(&mut Commit<<K as MemberKeyPair>::PublicKey>, &Group<K>);

pub fn an_insider_cannot_alter_a_genuine_commit<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, c, d] = four::<K>(suite);
    let part = stage(&mut a, &[(ID[3], &d)], &[ID[2]], 9).commit;
    let (body, _) = part.split_last_chunk::<TAG_LEN>().unwrap();
    let original = Commit::decode(suite, body).unwrap();
    let eve = group::<K>(suite, ID[3], false);
    let alterations: [Alteration<K>; 7] = [
        |commit, eve| {
            commit.change.added = vec![Entry { id: ID[3], key: eve.keys.public_key().clone() }];
        },
        |commit, _| commit.change.added.clear(),
        |commit, _| commit.change.removed = vec![ID[0]],
        |commit, _| commit.change.removed.push(ID[3]),
        |commit, eve| boxes(commit).rotate_left(box_len(eve.suite(), Root::LEN)),
        |commit, _| set_committer(commit, ID[2]),
        |commit, _| commit.change.commitment = [7; 32],
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

pub fn commits_that_do_not_follow_are_refused<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [_, mut b, c, d] = four::<K>(suite);
    let entry = Entry { id: ID[3], key: d.keys.public_key().clone() };
    let of_b = Entry { id: ID[1], key: b.keys.public_key().clone() };
    let base = Forgery { insider: &c, committer: ID[2], ends: 1, added: &[], removed: &[] };
    for (ends, kind) in
        [(0, LayerErrorKind::Stale), (2, LayerErrorKind::Early), (u64::MAX, LayerErrorKind::Early)]
    {
        let part = Forgery { ends, ..base }.commit(|_| {});
        assert_eq!(refusal(&mut b, &part, 9), kind);
        assert_eq!(b.process_commit(&part, &parts(9)).unwrap_err().epoch(), Some(ends));
    }
    // Those who are removed could derive the next root: then it is never derived.
    refuses(&mut b, &base.commit(|commit| commit.change.removed = vec![ID[0]]), 9);
    refuses(&mut b, &Forgery { added: &[entry.clone(), entry], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { added: &[of_b], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &base.commit(|commit| commit.change.commitment = [7; 32]), 9);

    let base = Forgery { removed: &[ID[0]], ..base };
    refuses(&mut b, &Forgery { removed: &[ID[2]], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { removed: &[ID[3]], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { committer: ID[3], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &Forgery { committer: ID[1], ..base }.commit(|_| {}), 9);
    refuses(&mut b, &base.commit(|commit| boxes(commit).clear()), 9);
    refuses(&mut b, &base.commit(|commit| boxes(commit).push(0)), 9);
    let root = RootSource::Derived { salt: [1; 32] };
    refuses(&mut b, &base.commit(|commit| commit.root = root), 9);
    refuses(&mut b, &base.commit(|commit| commit.change.removed.push(ID[0])), 9);
}

pub fn a_commit_that_comes_again_is_known<K: MemberKeyPair>(suite: SuiteOf<K>) {
    use LayerErrorKind::{Duplicate, Early, Own, Stale};
    let [mut a, mut b, mut c, _] = four::<K>(suite);
    let first = stage(&mut a, &[], &[], 9).commit;
    assert_eq!(refusal(&mut a, &first, 9), Own);
    a.confirm_change().unwrap();
    a.apply();
    assert_eq!(refusal(&mut a, &first, 9), Duplicate);
    let second = stage(&mut a, &[], &[ID[2]], 10).commit;
    assert_eq!(refusal(&mut b, &second, 10), Early);
    for other in [&mut b, &mut c] {
        let _ = other.process_commit(&first, &parts(9)).unwrap();
        other.apply();
        assert_eq!(refusal(other, &first, 9), Duplicate);
        let _ = other.process_commit(&second, &parts(10)).unwrap();
        other.apply();
        assert_eq!(refusal(other, &first, 9), Stale);
    }
    // A removed member that waits for its welcome: later commits wait with it.
    a.confirm_change().unwrap();
    a.apply();
    let third = stage(&mut a, &[], &[], 11).commit;
    assert_eq!(refusal(&mut c, &third, 11), Early);
    assert_eq!(c.process_commit(&third, &parts(11)).unwrap_err().epoch(), Some(3));
}

pub fn every_flip_and_truncation_of_a_message_is_refused<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [a, b, ..] = four::<K>(suite);
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

/// All numbers below `count`, or some thousand of them.
fn some(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by((count / 1500).max(1) | 1)
}
