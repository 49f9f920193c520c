//! A committer who shows the members of one group two different things.

use super::{
    hostile::{ID, four, not_invited, parts, refuses, refuses_welcome, stage, tagged},
    *,
};
use crate::{group::root::Step, hpke::box_len};

/// A change that removes the third of [`four`] and adds the fourth, with everything that goes into it.
struct Lie<P: MemberPublicKey> {
    step: Step,
    root: Root,
    commit: Commit<P>,
    entry: Entry<P>,
}

impl<P: MemberPublicKey> Lie<P> {
    fn new<K: MemberKeyPair<PublicKey = P>>(liar: &Group<K>, newcomer: &Group<K>) -> Self {
        let now = liar.state.latest().present().unwrap();
        let entry = Entry { id: ID[3], key: newcomer.keys.public_key().clone() };
        let roster = now.roster.changed(None, &[ID[2]], core::slice::from_ref(&entry)).unwrap();
        let step = now.step(&roster, &[9; 32]).unwrap();
        let root = Root::random(K::PublicKey::LABEL).unwrap();
        let commitment = root.commitment(&step);
        let (removed, added) = (vec![ID[2]], vec![entry.clone()]);
        let change = CommittedChange { ends: now.number, removed, added, commitment };
        let commit = Commit::seal(&liar.keys, ID[0], now, &step, change, &root).unwrap();
        Self { step, root, commit, entry }
    }

    /// A welcome that holds `root` and shows `commitment`.
    fn welcome<K: MemberKeyPair<PublicKey = P>>(
        &self,
        liar: &Group<K>,
        root: &Root,
        commitment: &[u8; 32],
    ) -> Vec<u8> {
        let now = liar.state.latest().present().unwrap();
        let roster =
            now.roster.changed(None, &[ID[2]], core::slice::from_ref(&self.entry)).unwrap();
        let digest = commit::digest::<K::PublicKey>(&self.commit.encode().unwrap());
        let next = Generation::new(root, &self.step, commitment, digest, roster);
        let (keys, step, next) = (&liar.keys, &self.step, &next);
        Invited { keys, sender: ID[0], step, commitment, next, root }
            .welcome(core::slice::from_ref(&self.entry))
            .unwrap()
    }
}

/// Every box opens, under the committer's key: the commitment tells which root is the one.
pub fn two_roots_in_one_commit_are_refused_by_whoever_got_the_other<K: MemberKeyPair>(
    suite: SuiteOf<K>,
) {
    let [a, mut b, mut c, d] = four::<K>(suite);
    let lie = Lie::new(&a, &d);
    let now = a.state.latest().present().unwrap();
    let change = lie.commit.change.clone();
    let other = Root::random(K::PublicKey::LABEL).unwrap();
    let of_other = Commit::seal(&a.keys, ID[0], now, &lie.step, change, &other).unwrap();
    // Bob's box holds the other root, Charlie's the one.
    let mut split = lie.commit.clone();
    let (RootSource::Sealed { boxes, .. }, RootSource::Sealed { boxes: others, .. }) =
        (&mut split.root, &of_other.root)
    else {
        panic!("somebody is removed")
    };
    let len = box_len(suite, Root::LEN);
    boxes[..len].copy_from_slice(&others[..len]);
    let part = tagged(&a, &split, &[9; 32]);
    refuses(&mut b, &part, 9);
    // Who leaves gets no root either way.
    assert!(c.process_commit(&part, &parts(9)).unwrap().removed_self);
    c.revert();

    // The group goes on without it.
    let part = tagged(&a, &lie.commit, &[9; 32]);
    assert!(b.process_commit(&part, &parts(9)).is_ok());
    assert!(c.process_commit(&part, &parts(9)).unwrap().removed_self);
}

/// The invitation opens, and the group under its root.
pub fn a_welcome_with_another_root_than_it_commits_to_is_refused<K: MemberKeyPair>(
    suite: SuiteOf<K>,
) {
    let [a, _, _, mut d] = four::<K>(suite);
    let lie = Lie::new(&a, &d);
    let commitment = lie.commit.change.commitment;
    let other = Root::random(K::PublicKey::LABEL).unwrap();
    refuses_welcome(&mut d, &lie.welcome(&a, &other, &commitment), 9);
    let of_other = other.commitment(&lie.step);
    refuses_welcome(&mut d, &lie.welcome(&a, &lie.root, &of_other), 9);
    let welcome = lie.welcome(&a, &lie.root, &commitment);
    assert_eq!(d.join(&welcome, &parts(9)).unwrap(), ID[0]);
}

/// A box that is damaged for one member, by who seals it, keeps that member out: it refuses the commit as forged and is
/// as it was, the others follow, and one of them readmits it.
pub fn a_damaged_box_keeps_one_member_out_until_it_comes_back<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, mut c, mut d] = four::<K>(suite);
    let change = stage(&mut a, &[(ID[3], &d)], &[], 2);
    a.confirm_change().unwrap();
    a.apply();
    for member in [&mut b, &mut c] {
        let _ = member.process_commit(&change.commit, &parts(2)).unwrap();
        member.apply();
    }
    d.join(&change.welcome, &parts(2)).unwrap();
    d.apply();

    let now = a.state.latest().present().unwrap();
    let roster = now.roster.changed(None, &[ID[2]], &[]).unwrap();
    let step = now.step(&roster, &[9; 32]).unwrap();
    let root = Root::random(K::PublicKey::LABEL).unwrap();
    let commitment = root.commitment(&step);
    let change =
        CommittedChange { ends: now.number, removed: vec![ID[2]], added: vec![], commitment };
    let mut commit = Commit::seal(&a.keys, ID[0], now, &step, change, &root).unwrap();
    let RootSource::Sealed { boxes, .. } = &mut commit.root else { panic!("somebody is removed") };
    // Bob's box is the first, by his id.
    boxes[box_len(suite, Root::LEN) - 1] ^= 1;
    let part = tagged(&a, &commit, &[9; 32]);
    refuses(&mut b, &part, 9);
    assert!(!d.process_commit(&part, &parts(9)).unwrap().removed_self);
    d.apply();
    assert!(c.process_commit(&part, &parts(9)).unwrap().removed_self);

    // Removed and added in one change, by a key package that Bob makes where he is.
    let change = stage(&mut d, &[(ID[1], &b)], &[ID[1]], 10);
    d.confirm_change().unwrap();
    d.apply();
    assert_eq!(b.join(&change.welcome, &parts(10)).unwrap(), ID[3]);
    b.apply();
    assert_eq!(b.contribute().unwrap().secret, d.contribute().unwrap().secret);
    assert_eq!(b.members().len(), 3);
}

/// "Add Eve" to Bob and "update" to Charlie, both good commits of one generation: the two have no key in
/// common and different authenticators, and neither takes what follows on the other side.
pub fn two_commits_never_lead_to_the_same_keys<K: MemberKeyPair>(suite: SuiteOf<K>) {
    for adds in [true, false] {
        let [mut liar, mut b, mut c, d] = four::<K>(suite);
        let same = b.epoch_authenticator();
        assert!(same.is_some() && same == liar.epoch_authenticator());
        let eve = [(ID[3], &d)];
        let added = if adds { &eve[..] } else { &[] };
        let one = stage(&mut liar, added, &[], 9).commit;
        liar.discard_change();
        liar.apply();
        let other = stage(&mut liar, &[], &[], 9).commit;
        let _ = b.process_commit(&one, &parts(9)).unwrap();
        let _ = c.process_commit(&other, &parts(9)).unwrap();
        b.apply();
        c.apply();
        assert_eq!(b.standing(), c.standing());
        assert_ne!(b.epoch_authenticator(), c.epoch_authenticator());
        assert_ne!(b.epoch_authenticator(), same);
        let secret = |group: &Group<K>| group.contribute().unwrap().secret;
        assert_ne!(secret(&b), secret(&c));
        liar.confirm_change().unwrap();
        liar.apply();
        assert_eq!(liar.epoch_authenticator(), c.epoch_authenticator());
        let next = stage(&mut b, &[], &[], 10).commit;
        refuses(&mut c, &next, 10);
        let next = stage(&mut liar, &[], &[], 10).commit;
        b.discard_change();
        b.apply();
        refuses(&mut b, &next, 10);
        assert!(c.process_commit(&next, &parts(10)).is_ok());
    }
}

/// A newcomer cannot see the commit, so it is told of the history; told something else of the roster or of
/// the commit, it has none of the members' keys, and another authenticator.
pub fn a_newcomer_who_was_lied_to_has_other_keys<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [a, mut b, _, d] = four::<K>(suite);
    let lie = Lie::new(&a, &d);
    let part = tagged(&a, &lie.commit, &[9; 32]);
    let _ = b.process_commit(&part, &parts(9)).unwrap();
    let now = a.state.latest().present().unwrap();
    let commit = commit::digest::<K::PublicKey>(&lie.commit.encode().unwrap());
    let true_roster =
        now.roster.changed(None, &[ID[2]], core::slice::from_ref(&lie.entry)).unwrap();
    let other_roster = now.roster.changed(None, &[], core::slice::from_ref(&lie.entry)).unwrap();
    let other_before = [7; 32];
    for (roster, before, commit, honest) in [
        (true_roster.clone(), now.history, commit, true),
        (true_roster.clone(), now.history, [7; 32], false),
        (true_roster, other_before, commit, false),
        (other_roster, now.history, commit, false),
    ] {
        let step = Step {
            kind: K::PublicKey::LABEL,
            generation: 2,
            binding: [9; 32],
            before,
            roster: roster.digest(),
        };
        let commitment = lie.root.commitment(&step);
        let next = Generation::new(&lie.root, &step, &commitment, commit, roster);
        let (keys, step, next, root) = (&a.keys, &step, &next, &lie.root);
        let invited = Invited { keys, sender: ID[0], step, commitment: &commitment, next, root };
        let mut newcomer = Group::new(duplicate(&d.keys));
        let stack = StackId::of(&[]);
        let place = Attachment { stack, position: 0, member: Some(ID[3]), founding: false };
        newcomer.attach(&place).unwrap();
        let _ = newcomer
            .join(&invited.welcome(core::slice::from_ref(&lie.entry)).unwrap(), &parts(9))
            .unwrap();
        assert_eq!(newcomer.epoch_authenticator() == b.epoch_authenticator(), honest);
        let same = newcomer.contribute().unwrap().secret == b.contribute().unwrap().secret;
        assert_eq!(same, honest);
    }
}

/// Somebody publishes a key package with another person's key, and is added. That keeps nobody out: who
/// holds the key joins under its own id, in a later change or the same one, and stays when the other goes.
pub fn a_stolen_public_key_does_not_keep_its_owner_out<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, _, mut owner] = four::<K>(suite);
    let thief = MemberId::from_bytes([7; 32]);
    let package = owner.key_package().unwrap();
    let new = |id| NewMember { id, part: &package, binding: [0; 32] };
    let mut change = |added: &[NewMember<'_>], removed: &[MemberId], binding: u8| {
        let request = ChangeRequest { added, removed };
        let change = a.stage_change(&request, &parts(binding)).unwrap();
        a.confirm_change().unwrap();
        a.apply();
        let _ = b.process_commit(&change.commit, &parts(binding)).unwrap();
        b.apply();
        (change, a.contribute().unwrap().secret)
    };
    // The invitation is for another id: the owner does not take it.
    let (for_thief, _) = change(&[new(thief)], &[], 5);
    not_invited(&mut owner, &for_thief.welcome, 5);
    let (later, secret) = change(&[new(ID[3])], &[], 6);
    owner.join(&later.welcome, &parts(6)).unwrap();
    assert_eq!(owner.contribute().unwrap().secret, secret);
    owner.apply();
    let (gone, secret) = change(&[], &[thief], 7);
    assert!(!owner.process_commit(&gone.commit, &parts(7)).unwrap().removed_self);
    assert_eq!(owner.contribute().unwrap().secret, secret);
    owner.apply();
    let _ = change(&[], &[ID[3]], 8);
    let (both, secret) = change(&[new(thief), new(ID[3])], &[], 9);
    owner.join(&both.welcome, &parts(9)).unwrap();
    assert_eq!(owner.contribute().unwrap().secret, secret);
    assert_eq!(owner.members().len(), 5);
}
