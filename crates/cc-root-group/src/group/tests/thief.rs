//! What a copy of a member's state opens, before and after each event.

use super::{
    hostile::{ID, four, group, parts, stage},
    *,
};

/// All that a store has of a member.
fn copy<K: MemberKeyPair>(group: &Group<K>) -> Group<K> {
    let keys = duplicate(&group.keys);
    Group { keys, state: Versions::new(group.state.latest().clone()) }
}

fn transact<T>(f: impl FnOnce(&LayerContext<'_>) -> T) -> T {
    let stack = StackId::of(&[]);
    let binding = cc_core::Header::new(Kind::Application, &stack, Vec::new()).binding(&stack, b"");
    f(&LayerContext { binding: &binding, position: 0, chain: None })
}

pub(crate) fn message<K: MemberKeyPair>(from: &Group<K>) -> Vec<u8> {
    let mut buffer = Buffer::new(b"text");
    transact(|context| from.seal(context, &mut buffer)).unwrap();
    buffer.as_slice().to_vec()
}

pub(crate) fn opens<K: MemberKeyPair>(group: &Group<K>, message: &[u8]) -> bool {
    transact(|context| group.open(context, &mut Buffer::new(message))).is_ok()
}

fn confirm<K: MemberKeyPair>(group: &mut Group<K>) {
    group.confirm_change().unwrap();
    group.apply();
}

fn follow<K: MemberKeyPair>(group: &mut Group<K>, change: &ChangeParts, binding: u8) {
    let _ = group.process_commit(&change.commit, &parts(binding)).unwrap();
    group.apply();
}

fn join<K: MemberKeyPair>(group: &mut Group<K>, change: &ChangeParts, binding: u8) {
    let _ = group.join(&change.welcome, &parts(binding)).unwrap();
    group.apply();
}

/// Whether the thief comes to the root that a commit leads to, with its private key and all secrets of the
/// generation that ends.
fn finds_root<K: MemberKeyPair>(thief: &Group<K>, change: &ChangeParts, binding: u8) -> bool {
    let now = thief.state.latest().present().unwrap();
    let (body, _) = commit::split_tag(&change.commit).unwrap();
    let commit = Commit::decode(thief.suite(), body).unwrap();
    let CommittedChange { removed, added, .. } = &commit.change;
    let roster = now.roster.changed(None, removed, added).unwrap();
    let step = now.step(&roster, &[binding; 32]).unwrap();
    commit.gives_root_to(&thief.keys, now, &step).unwrap()
}

/// The key pair of a member is in its store and stays the same: whoever has a copy follows every change
/// like the member, updates of its own included, until the member is removed.
pub fn a_copy_follows_its_member_until_the_removal<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, mut c, d] = four::<K>(suite);
    let mut thief = copy(&b);
    assert!(opens(&thief, &message(&a)), "the present generation");

    let change = stage(&mut a, &[(ID[3], &d)], &[], 2);
    confirm(&mut a);
    for group in [&mut b, &mut c, &mut thief] {
        follow(group, &change, 2);
    }
    assert!(opens(&thief, &message(&a)), "after an addition");
    let change = stage(&mut b, &[], &[], 3);
    confirm(&mut b);
    for group in [&mut a, &mut c, &mut thief] {
        follow(group, &change, 3);
    }
    assert!(opens(&thief, &message(&a)), "after an update of the member's own");
    let change = stage(&mut a, &[], &[ID[2]], 4);
    confirm(&mut a);
    assert!(finds_root(&thief, &change, 4));
    for group in [&mut b, &mut thief] {
        follow(group, &change, 4);
    }
    assert!(opens(&thief, &message(&a)), "after the removal of somebody else");

    let change = stage(&mut a, &[], &[ID[1]], 5);
    confirm(&mut a);
    let latest = message(&a);
    assert!(!finds_root(&thief, &change, 5), "the box of who is removed holds no root");
    follow(&mut thief, &change, 5);
    assert_eq!(thief.standing(), Standing::Removed);
    assert!(!opens(&thief, &latest), "after the removal of the member");

    // With its old key pair the member comes back, and so does the thief.
    let again = stage(&mut a, &[(ID[1], &b)], &[], 6);
    confirm(&mut a);
    join(&mut thief, &again, 6);
    assert!(opens(&thief, &message(&a)), "the member came back with its old key pair");
}

/// A member that was stolen from is removed and comes back with a new key pair, as somebody else.
pub fn a_new_key_pair_keeps_a_copy_out<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, b, mut c, _] = four::<K>(suite);
    let mut thief = copy(&b);
    let new_id = MemberId::from_bytes([9; 32]);
    let mut renewed = group::<K>(suite, new_id, false);
    let change = stage(&mut a, &[(new_id, &renewed)], &[ID[1]], 2);
    confirm(&mut a);
    follow(&mut c, &change, 2);
    join(&mut renewed, &change, 2);
    let mut removed = copy(&thief);
    follow(&mut removed, &change, 2);
    for group in [&mut thief, &mut removed] {
        assert!(group.join(&change.welcome, &parts(2)).is_err());
        assert!(!opens(group, &message(&a)) && !opens(group, &message(&renewed)));
    }
    // Also after changes that derive one root from the last.
    let update = stage(&mut a, &[], &[], 3);
    confirm(&mut a);
    for group in [&mut c, &mut renewed] {
        follow(group, &update, 3);
        assert!(opens(group, &message(&a)));
    }
    let error = thief.process_commit(&update.commit, &parts(3)).unwrap_err();
    assert_eq!(error.kind(), LayerErrorKind::Early);
    assert!(!opens(&thief, &message(&a)));
}

/// Of a generation's secrets without the private key: additions and updates do not heal, and any removal
/// does.
pub fn stolen_secrets_without_the_private_key_last_until_any_removal<K: MemberKeyPair>(
    suite: SuiteOf<K>,
) {
    let [mut a, mut b, _, d] = four::<K>(suite);
    let keys = K::generate(suite).unwrap();
    let mut thief = Group { keys, state: Versions::new(b.state.latest().clone()) };
    let change = stage(&mut a, &[(ID[3], &d)], &[], 2);
    confirm(&mut a);
    follow(&mut b, &change, 2);
    follow(&mut thief, &change, 2);
    let change = stage(&mut a, &[], &[], 3);
    confirm(&mut a);
    follow(&mut b, &change, 3);
    follow(&mut thief, &change, 3);
    assert!(opens(&thief, &message(&b)));

    let change = stage(&mut a, &[], &[ID[3]], 4);
    confirm(&mut a);
    assert!(finds_root(&b, &change, 4) && !finds_root(&thief, &change, 4));
    follow(&mut b, &change, 4);
    assert!(thief.process_commit(&change.commit, &parts(4)).is_err());
    assert!(!opens(&thief, &message(&b)));
}

/// A copy opens the window behind it and nothing older, although each root was derived from the last.
pub fn a_copy_alone_opens_nothing_older_than_the_window<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, ..] = four::<K>(suite);
    b.set_window(2);
    let mut sent = Vec::from([message(&a)]);
    for binding in 2..8 {
        let change = stage(&mut a, &[], &[], binding);
        confirm(&mut a);
        follow(&mut b, &change, binding);
        sent.push(message(&a));
    }
    let thief = copy(&b);
    let opened: Vec<_> = sent.iter().map(|message| opens(&thief, message)).collect();
    assert_eq!(opened, [false, false, false, false, true, true, true]);
}

/// Who kept the welcome of a member, and later has its private key, comes to everything since it joined:
/// the key is static.
pub fn a_private_key_opens_a_recorded_welcome_and_what_followed<K: MemberKeyPair>(
    suite: SuiteOf<K>,
) {
    let [mut a, mut b, mut c, mut d] = four::<K>(suite);
    let before = message(&a);
    let welcome = stage(&mut a, &[(ID[3], &d)], &[], 2);
    confirm(&mut a);
    let joined = message(&a);
    let mut recorded = Vec::new();
    for group in [&mut b, &mut c] {
        follow(group, &welcome, 2);
    }
    join(&mut d, &welcome, 2);
    for (removed, binding) in [(None, 3), (Some(ID[2]), 4), (None, 5)] {
        let change = stage(&mut a, &[], removed.as_slice(), binding);
        confirm(&mut a);
        follow(&mut d, &change, binding);
        recorded.push((change, binding, message(&a)));
    }
    let keys = duplicate(&d.keys);
    let mut thief = Group::new(keys);
    let place =
        Attachment { stack: StackId::of(&[]), position: 0, member: Some(ID[3]), founding: false };
    thief.attach(&place).unwrap();
    thief.apply();
    join(&mut thief, &welcome, 2);
    assert!(opens(&thief, &joined));
    for (change, binding, message) in &recorded {
        follow(&mut thief, change, *binding);
        assert!(opens(&thief, message));
    }
    assert!(!opens(&thief, &before), "from before the member joined");
    assert!(!opens(&d, &before), "which the member cannot open either");
}
