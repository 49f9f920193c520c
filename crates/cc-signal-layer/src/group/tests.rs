//! What the secrets of a group are made of: each of them depends on everything that it is to be bound to, so that
//! whoever lacks one piece, or was shown another, has another secret.

use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};

use cc_core::{Buffer, LayerErrorKind, MemberId, Secret};

use super::{
    epoch::Epoch,
    header::EpochMask,
    key_package::{PackageSecrets, reference},
    key_schedule::{JoinerSecret, Roster, history, transcript},
    member_keys::{MemberKeys, MemberSecrets, PrekeyPair},
    message, sealing,
    state::Package,
    welcome::{GroupInfo, Invited},
};
use crate::{Error, IdentityKeyPair, Limits, kem::KemKeyPair};

fn secret(byte: u8) -> Secret<32> {
    Secret::copy_from(&[byte; 32]).unwrap()
}

const fn id(byte: u8) -> MemberId {
    MemberId::from_bytes([byte; 32])
}

/// A member's keys under this id.
fn keys(identity: &IdentityKeyPair, of: u8) -> Arc<MemberKeys> {
    Arc::new(MemberSecrets::generate().unwrap().sign(identity, &id(of)))
}

/// Keys of a new identity, which has signed that it is this member.
pub(crate) fn keys_of_a_new_identity(of: &MemberId) -> Vec<u8> {
    let identity = IdentityKeyPair::generate().unwrap();
    MemberSecrets::generate().unwrap().sign(&identity, of).to_bytes()
}

fn all_different<const N: usize>(mut values: Vec<[u8; N]>) {
    let count = values.len();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), count);
}

/// If the generator of a committer fails, who lacks the epoch before lacks the next one; if that was stolen, who
/// lacks the fresh secret does.
#[test]
fn the_joiner_secret_needs_the_epoch_before_and_the_fresh_secret() {
    let renewed = |init, fresh| JoinerSecret::renewed(&secret(init), &secret(fresh)).unwrap();
    let onward = |init| JoinerSecret::onward(&secret(init)).unwrap();
    let all = [renewed(1, 2), renewed(9, 2), renewed(1, 9), onward(1), onward(9)];
    all_different(all.iter().map(|joiner| *joiner.secret().expose()).collect());
}

#[test]
fn an_epoch_depends_on_the_joiner_secret_and_on_the_transcript() {
    let epoch = |joiner, transcript| {
        let joiner = JoinerSecret::from_secret(secret(joiner));
        let secrets = joiner.epoch(&[transcript; 32]).unwrap();
        let [init, header, chains] =
            [&secrets.init, &secrets.header, &secrets.chains].map(|secret| *secret.expose());
        [init, header, chains, secrets.authenticator]
    };
    all_different([epoch(1, 2), epoch(9, 2), epoch(1, 9)].concat());
}

#[test]
fn a_transcript_depends_on_every_commit_and_on_the_whole_roster() {
    let history_of = |before, committer, part| {
        history(&[before; 32], &id(committer), core::slice::from_ref(&part))
    };
    all_different(vec![
        history_of(1, 2, 3),
        history_of(9, 2, 3),
        history_of(1, 9, 3),
        history_of(1, 2, 9),
    ]);

    let identity = IdentityKeyPair::generate().unwrap();
    let (alice, bob) = (keys(&identity, 1), keys(&identity, 2));
    let roster = |bob: &Arc<MemberKeys>, as_bob| {
        Roster::from([(id(1), alice.clone()), (id(as_bob), bob.clone())])
    };
    let mask = |byte| EpochMask::new(secret(byte));
    let this = roster(&bob, 2);
    all_different(vec![
        transcript(&[1; 32], 2, &mask(3), &this),
        transcript(&[9; 32], 2, &mask(3), &this),
        transcript(&[1; 32], 9, &mask(3), &this),
        transcript(&[1; 32], 2, &mask(9), &this),
        transcript(&[1; 32], 2, &mask(3), &roster(&bob, 9)),
        // The same member with other keys, as after a commit of its own.
        transcript(&[1; 32], 2, &mask(3), &roster(&keys(&identity, 2), 2)),
        transcript(&[1; 32], 2, &mask(3), &Roster::from([(id(1), alice.clone())])),
    ]);
}

/// A secret in a commit takes the reader's identity, both halves of its prekeys, and the sender's identity: who
/// lacks one of these, ML-KEM alone included, does not open it.
#[test]
fn a_sealed_secret_needs_every_key() {
    let [sender, reader, other] = [(); 3].map(|()| IdentityKeyPair::generate().unwrap());
    let (prekeys, others) = (PrekeyPair::generate().unwrap(), PrekeyPair::generate().unwrap());
    let kem = |of: &PrekeyPair| KemKeyPair::from_seed(of.kem.seed().duplicate());
    let with = |curve: &PrekeyPair, of_kem: &PrekeyPair| PrekeyPair {
        curve: curve.curve.duplicate(),
        kem: kem(of_kem),
    };
    for from in [Some(&sender), None] {
        let to = (reader.public(), prekeys.public());
        let sealed = sealing::seal(from, to.0, &to.1, b"to", &secret(7)).unwrap();
        let open = |from: Option<&IdentityKeyPair>, identity, prekeys: &PrekeyPair, ad: &[u8]| {
            let from = from.map(IdentityKeyPair::public);
            sealing::open(from, identity, prekeys, ad, &sealed).map(|secret| *secret.expose())
        };
        assert_eq!(open(from, &reader, &prekeys, b"to"), Ok([7; 32]));
        let closed = Err(Error::Undecryptable);
        assert_eq!(open(from, &other, &prekeys, b"to"), closed, "another identity");
        assert_eq!(
            open(from, &reader, &with(&others, &prekeys), b"to"),
            closed,
            "X25519 broken not"
        );
        assert_eq!(
            open(from, &reader, &with(&prekeys, &others), b"to"),
            closed,
            "ML-KEM broken not"
        );
        assert_eq!(open(from, &reader, &prekeys, b"ot"), closed, "said to be for another");
        let impostor =
            if from.is_some() { [Some(&other), None] } else { [Some(&other), Some(&sender)] };
        for from in impostor {
            assert_eq!(open(from, &reader, &prekeys, b"to"), closed, "another sender");
        }
    }
}

/// The transcript is authenticated beside the keys that come from it: with the keys of an epoch alone nobody takes
/// a message of another history.
#[test]
fn a_message_is_of_one_transcript() {
    let identities = [(); 2].map(|()| IdentityKeyPair::generate().unwrap());
    let secrets = [(); 2].map(|()| MemberSecrets::generate().unwrap());
    let mut roster = Roster::new();
    for (of, (identity, secrets)) in (1..).zip(identities.iter().zip(&secrets)) {
        roster.insert(id(of), Arc::new(secrets.sign(identity, &id(of))));
    }
    let begin = |me| {
        let joiner = JoinerSecret::from_secret(secret(5));
        Epoch::begin(3, [6; 32], &joiner, &roster, &id(me)).unwrap()
    };
    let (alice, bob) = (begin(1), begin(2));
    let mask = EpochMask::new(secret(8));
    let (number, key, _) = alice.chain.step().unwrap();
    let mut wire = Buffer::new(b"text");
    let signing = &secrets[0].sender;
    message::seal(&alice.epoch, &mask, signing, (number, key), b"ad", &mut wire).unwrap();
    let open = |epoch: &Epoch| {
        let mut buffer = Buffer::new(wire.as_slice());
        let front = message::Front::take(&mut buffer).unwrap();
        let opened = message::open(epoch, &front, b"ad", &mut buffer, &Limits::default());
        opened.map(|_| buffer.as_slice().to_vec()).map_err(|error| error.kind())
    };
    assert_eq!(open(&bob.epoch), Ok(b"text".to_vec()));
    let other = Epoch { transcript: [9; 32], ..bob.epoch };
    assert_eq!(open(&other), Err(LayerErrorKind::Rejected));
}

/// Who has a key package of Eve can make a welcome for her, and not in the name of a member: the inviter's
/// identity signs it.
#[test]
fn nobody_welcomes_in_another_members_name() {
    let [alice, mallory, eve] = [(); 3].map(|()| IdentityKeyPair::generate().unwrap());
    let (me, binding) = (id(3), [4; 32]);
    let secrets = PackageSecrets::generate().unwrap();
    let part = secrets.sign(&eve, &me, &[0; 32]);
    let own = Arc::new(secrets.member.sign(&eve, &me));
    let invited = Invited {
        identity: *eve.public(),
        reference: reference(&part),
        prekeys: secrets.welcome.public(),
    };
    let package = Package { reference: reference(&part), secrets };
    let roster = [(id(1), keys(&alice, 1)), (id(2), keys(&mallory, 2)), (me, own)];
    let info = GroupInfo {
        epoch: 1,
        history: [5; 32],
        mask: Arc::new(EpochMask::new(secret(6))),
        joiner: JoinerSecret::from_secret(secret(7)),
        committer: id(1),
        roster: Arc::new(Roster::from(roster)),
    };
    let invited = Box::new([invited]);
    let open = |signer: &IdentityKeyPair| {
        let welcome = info.seal(signer, &binding, &*invited).unwrap();
        let opened = GroupInfo::open(&eve, &me, &binding, &welcome, [(0, &package)]);
        opened.map(|(_, info)| info.committer).map_err(|error| error.kind())
    };
    assert_eq!(open(&alice), Ok(id(1)));
    assert_eq!(open(&mallory), Err(LayerErrorKind::Rejected));
}
