//! The format of the stored state: a member in a group and one outside, as an earlier version wrote
//! them, go on from there.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use cc_core::{
    Header, Hint, Kind, LayerErrorKind, MemberId, Restore as _, SecretBytes, Standing,
    store::{Batch, MemoryStore, Store as _},
};
use cc_mls_layer::MlsLayer;
use common::{POSITION, Peer, Staged, Wire, all_read_all, group, scope};
use serde::{Deserialize, Serialize};

/// In postcard.
#[derive(Serialize, Deserialize)]
struct Fixture {
    alice: [u8; 32],
    /// In the group since epoch 1, now in epoch 2, with an update staged.
    bob: Member,
    /// Outside, with a key package.
    carol: Member,
    /// By Alice in epoch 1: one that Bob has read, and one that he has not.
    read: Message,
    late: Message,
    /// By Alice in epoch 2, which Carol joins.
    new: Message,
    welcome: Change,
    update: Change,
}

#[derive(Serialize, Deserialize)]
struct Member {
    id: [u8; 32],
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    epoch: u64,
    body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Change {
    commit: Vec<u8>,
    welcome: Vec<u8>,
    binding: [u8; 32],
}

impl Member {
    fn of(peer: &Peer) -> Self {
        let records = scope().of(peer.store.as_ref().unwrap()).list(b"").unwrap();
        let records = records.into_iter().map(|(key, value)| (key, value.expose().to_vec()));
        Self { id: *peer.id.as_bytes(), records: records.collect() }
    }

    fn restore(self) -> Peer {
        let mut batch = Batch::new();
        for (key, value) in self.records {
            batch.put(&scope(), key, SecretBytes::new(value));
        }
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let mut peer = Peer::new(MlsLayer::restore(&scope().of(&store)).unwrap());
        assert_eq!(peer.id, MemberId::from_bytes(self.id));
        peer.store = Some(store);
        peer
    }
}

impl Message {
    fn of(epoch: u64, wire: &Wire) -> Self {
        Self { epoch, body: wire.body.clone() }
    }

    fn wire(self, peer: &Peer) -> Wire {
        let hint = Hint { position: POSITION, value: self.epoch.to_be_bytes().as_slice().into() };
        Wire { header: Header::new(Kind::Application, &peer.stack, vec![hint]), body: self.body }
    }
}

impl Change {
    fn of(staged: &Staged) -> Self {
        let parts = staged.parts.clone();
        Self { commit: parts.commit, welcome: parts.welcome, binding: staged.binding }
    }

    fn staged(self) -> Staged {
        let parts = cc_core::ChangeParts { commit: self.commit, welcome: self.welcome };
        Staged { parts, binding: self.binding }
    }
}

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1.postcard")
}

#[test]
#[ignore = "writes the fixture; to be run by hand when there is a new format, under a new name"]
fn write_the_fixture() {
    let mut peers: Vec<Peer> = group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    all_read_all(&mut peers);
    let [alice, bob] = &mut peers[..] else { unreachable!() };
    let read = alice.seal(b"read");
    bob.open(&read).unwrap();
    let late = alice.seal(b"late");
    let mut carol = Peer::joiner("Carol").stored();
    let welcome = alice.stage(&[carol.key_package()], &[]).unwrap();
    alice.confirm();
    assert_eq!(bob.process(&welcome).unwrap().added, [carol.id]);
    let new = alice.seal(b"new");
    bob.seal(b"sent");
    let update = bob.stage(&[], &[]).unwrap();
    let fixture = Fixture {
        alice: *alice.id.as_bytes(),
        bob: Member::of(bob),
        carol: Member::of(&carol),
        read: Message::of(1, &read),
        late: Message::of(1, &late),
        new: Message::of(2, &new),
        welcome: Change::of(&welcome),
        update: Change::of(&update),
    };
    std::fs::write(path(), postcard::to_stdvec(&fixture).unwrap()).unwrap();
}

#[test]
fn what_an_earlier_version_stored_goes_on() {
    let fixture = std::fs::read(path()).unwrap();
    let Fixture { alice, bob, carol, read, late, new, welcome, update } =
        postcard::from_bytes(&fixture).unwrap();
    let alice = Some(MemberId::from_bytes(alice));
    let (mut bob, mut carol) = (bob.restore(), carol.restore());
    assert_eq!(bob.layer.group_name().as_deref(), Some("Dev Team"));
    assert_eq!((bob.layer.own_name(), carol.layer.own_name()), ("Bob", "Carol"));
    assert_eq!(bob.epoch(), 2);
    assert_eq!(cc_core::GroupLayer::standing(&carol.layer), Standing::Outside);

    let (read, late, new) = (read.wire(&bob), late.wire(&bob), new.wire(&bob));
    assert_eq!(bob.open(&read), Err(LayerErrorKind::Duplicate));
    assert_eq!(carol.join(&welcome.staged()), Ok(alice));
    let once = |peer: &mut Peer, wire: &Wire, text: &[u8]| {
        let (opened, plaintext) = peer.open(wire).unwrap();
        assert_eq!((opened.sender, plaintext.as_slice()), (alice, text));
        assert_eq!(peer.open(wire), Err(LayerErrorKind::Duplicate));
    };
    once(&mut bob, &late, b"late");
    once(&mut carol, &new, b"new");
    once(&mut bob, &new, b"new");

    let wire = bob.seal(b"from Bob");
    assert_eq!(carol.open(&wire).unwrap().0.sender, Some(bob.id));
    bob.confirm();
    assert_eq!(carol.process(&update.staged()).unwrap().committer, Some(bob.id));
    assert_eq!(bob.layer.epoch_authenticator(), carol.layer.epoch_authenticator());
    for _ in 0..2 {
        let wire = carol.seal(b"from Carol");
        assert_eq!(bob.open(&wire).unwrap().1, b"from Carol");
        bob.restart();
        carol.restart();
    }
    // What a leaf says, which that version did not know.
    bob.layer.set_leaf_data("bob").unwrap();
    let staged = bob.stage(&[], &[]).unwrap();
    bob.confirm();
    assert_eq!(carol.process(&staged).unwrap().committer, Some(bob.id));
    assert_eq!(carol.layer.leaf_data(&bob.id), Some(&b"bob"[..]));
}
