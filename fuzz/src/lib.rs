//! What is fuzzed: one function for every place that reads bytes from outside. Each takes any bytes, and
//! panics where a promise is broken: an encoding that is not the only one, or a state that a refused message
//! has changed.
//!
//! `cargo xtask fuzz TARGET SECONDS` runs one under libFuzzer (the package in `libfuzzer/`), the tests of
//! this package run all of them for a moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a finding is a panic")]

use std::{
    cell::RefCell,
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesKey, AesLayer, StreamKey, StreamOpener};
use cc_client::{
    Answer, Body, Client, Command, Content, Download, GroupId, History, Input, Item, JoinLink,
    LogId, Now, OperationId, Page, PairRecipe, Position, Profile, Recipe, Request, Upload,
    read_history, write_history,
};
use cc_core::{
    Attachment, Buffer, Bundle, CipherLayer, Envelope, GroupLayer, Header, Kind, LayerContext,
    MemberId, Opaque, PartContext, PartList, Restore, SecretBytes, StackId,
    store::{Batch, MemoryStore, Scope, Store},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer, DhPublicKey};
use cc_file::{
    ArmorReader, ArmorWriter, Header as FileHeader, Identity, MAGIC, Recipient, VERSION,
    parse_identities,
};
use cc_manager::{
    CascadingCipherManager, Catalog, Incoming, IncomingFirst, IncomingWelcome, ManagerBuilder,
    PairAccount,
};
use cc_mlkem_layer::{HybridKeyPair, HybridPublicKey, MlKemLayer, ParameterSet};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_primitives::hpke::HpkePrimitives;
use cc_relay::{FollowRequest, Notice};
use cc_signal_layer::{Account, Agree, Limits, Session, Sessions, SignalLayer};
use hpke_rs::{
    Hpke, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use sha2::{Digest as _, Sha256};
use tls_codec::SerializeBytes as _;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("envelope", envelope),
    ("aes", aes),
    ("dh_key", dh_key),
    ("mlkem", mlkem),
    ("file", file),
    ("signal", signal),
    ("manager", manager),
    ("pair", pair_account),
    ("store", store),
    ("content", content),
    ("relay", relay),
    ("client", client),
    ("mail", mail),
];

/// The envelope and the bundles: what decodes has one encoding.
pub fn envelope(bytes: &[u8]) {
    let stack = StackId::of(&[]);
    // Past the check of the stack, which random bytes do not get through.
    let mut wire = vec![0, 1, bytes.first().copied().unwrap_or(1)];
    wire.extend(stack.wire());
    wire.extend(bytes.get(1..).unwrap_or_default());
    for wire in [bytes, &wire] {
        if let Ok((header, _, len)) = Header::decode(wire, &stack) {
            assert_eq!(header.encode().unwrap(), wire[..len]);
        }
        for kind in [Kind::KeyPackage, Kind::Welcome] {
            if let Ok(bundle) = Bundle::decode(wire, kind, &stack) {
                assert_eq!(bundle.encode().unwrap(), wire);
            }
        }
    }
    if let Ok(list) = PartList::decode(bytes) {
        assert_eq!(list.encode().unwrap(), bytes);
    }
}

/// Requests and answers of a delivery service, and what is said on a relay's WebSocket: what decodes has one
/// encoding.
pub fn relay(bytes: &[u8]) {
    // Past the version.
    let current = [&[1], bytes].concat();
    for wire in [bytes, &current] {
        if let Ok(request) = Request::from_bytes(wire) {
            assert_eq!(request.to_bytes().unwrap(), wire);
        }
        if let Ok(answer) = Answer::from_bytes(wire) {
            assert_eq!(answer.to_bytes().unwrap(), wire);
        }
        if let Ok(request) = FollowRequest::from_bytes(wire) {
            assert_eq!(request.to_bytes().unwrap(), wire);
        }
        if let Ok(notice) = Notice::from_bytes(wire) {
            assert_eq!(notice.to_bytes(), wire);
        }
    }
}

/// AES messages and streams: nothing opens that was not sealed.
pub fn aes(bytes: &[u8]) {
    let key = AesKey::copy_from(&[7; 32]).unwrap();
    assert!(key.open(b"", bytes).is_err());
    let mut opener = StreamOpener::new(StreamKey::from(&key), b"");
    let mut out = Vec::new();
    let opened = opener.push(bytes, &mut out).is_ok() && opener.finish(&mut out).is_ok();
    assert!(!opened && out.is_empty());
}

/// DH public keys: what decodes has one encoding.
pub fn dh_key(bytes: &[u8]) {
    if let Ok(key) = DhPublicKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes);
    }
}

/// Keys, setups, messages, commits, welcomes and stored state of the ML-KEM layer: what is refused changes
/// nothing, and the next good message opens.
pub fn mlkem(bytes: &[u8]) {
    thread_local! {
        static LAYERS: RefCell<([MlKemLayer; 2], MlKemLayer)> = RefCell::new(mlkem_layers());
    }
    if let Ok(key) = HybridPublicKey::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), bytes);
    }
    let _ = restored::<MlKemLayer>(bytes);
    let binding =
        Header::new(Kind::Application, &StackId::of(&[]), vec![]).binding(&StackId::of(&[]), b"");
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let parts =
        PartContext { binding: [7; 32], position: 0, chain: None, group_below: false, now: None };
    LAYERS.with_borrow_mut(|([alice, bob], group)| {
        // As they are, and behind a front that names an epoch and a form.
        let front = |form| [&[form][..], &2u64.to_be_bytes(), &1u64.to_be_bytes(), bytes].concat();
        for wire in [bytes.to_vec(), front(0), front(1), front(2)] {
            for layer in [&mut *alice, bob, group] {
                assert!(layer.open(&context, &mut Buffer::new(&wire)).is_err());
                layer.revert();
            }
        }
        let _ = (alice.recall(bytes).is_ok(), group.recall(bytes).is_ok());
        assert!(group.process_commit(bytes, &parts).is_err());
        assert!(group.join(bytes, &parts).is_err());
        assert_eq!(group.is_invited(bytes), Some(false));
        let _ = group.inspect_key_package(bytes);
        group.revert();
        let mut message = Buffer::new(b"text");
        alice.seal(&context, &mut message).unwrap();
        alice.apply();
        let _ = bob.open(&context, &mut message).unwrap();
        bob.apply();
        assert_eq!(message.as_slice(), b"text");
    });
}

fn mlkem_layers() -> ([MlKemLayer; 2], MlKemLayer) {
    let [a, b, c] = [(); 3].map(|()| HybridKeyPair::generate(ParameterSet::MlKem768).unwrap());
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let (alice, setup) = MlKemLayer::initiate(a, of_b).unwrap();
    let bob = MlKemLayer::accept(b, of_a, &setup).unwrap();
    let mut group = MlKemLayer::group(c);
    let member = Some(MemberId::from_bytes([1; 32]));
    let stack = StackId::of(&[]);
    group.attach(&Attachment { stack, position: 0, member, founding: true }).unwrap();
    group.apply();
    ([alice, bob], group)
}

/// Files: a header and armour have one encoding, and nothing opens that was not encrypted.
pub fn file(bytes: &[u8]) {
    // Past the magic and the version, which random bytes do not get through.
    let mut begun = [&MAGIC[..], &VERSION.to_be_bytes()].concat();
    begun.extend(bytes);
    for file in [bytes, &begun] {
        let mut rest = file;
        if let Ok(header) = FileHeader::read(&mut rest) {
            assert_eq!(header.to_bytes(), file[..file.len() - rest.len()]);
            let identity: Identity = FILE_IDENTITY.parse().unwrap();
            assert!(header.unlock(&[identity], None).is_err());
        }
    }
    // Past the first line, with the last one behind it.
    let mut armor = b"-----BEGIN CASCADE FILE-----\n".to_vec();
    armor.extend(bytes);
    for text in [armor.clone(), [&armor[..], b"\n-----END CASCADE FILE-----\n"].concat()] {
        let mut content = Vec::new();
        if ArmorReader::new(&text[..]).read_to_end(&mut content).is_ok() {
            let mut writer = ArmorWriter::new(Vec::new()).unwrap();
            writer.write_all(&content).unwrap();
            let again = writer.finish().unwrap();
            let without = |text: &[u8]| {
                String::from_utf8_lossy(text).replace("\r\n", "\n").trim_end().to_owned()
            };
            assert_eq!(without(&again), without(&text));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(recipient) = text.parse::<Recipient>() {
            assert_eq!(recipient.to_string(), text.to_lowercase());
        }
        let _ = parse_identities(text);
    }
}

/// Signal bundles, messages and stored state.
pub fn signal(bytes: &[u8]) {
    thread_local! {
        static PAIR: RefCell<(Account, Sessions, Account, Sessions)> = RefCell::new(pair());
    }
    if let Ok(bundle) = cc_signal_layer::Bundle::from_bytes(bytes) {
        assert_eq!(bundle.to_bytes(), bytes);
    }
    let _ = Account::load(bytes);
    let _ = Session::load(bytes, Limits::default());
    let _ = cc_signal_layer::SenderKeys::load(bytes, Limits::default());
    let _ = restored::<SignalLayer>(bytes);
    PAIR.with_borrow_mut(|(account, sessions, peer_account, peer)| {
        let before = sessions.export();
        assert!(sessions.decrypt(account, b"", bytes).is_err());
        assert!(sessions.export() == before);
        let wire = peer.encrypt(b"", b"text").unwrap();
        damaged(account, sessions, &wire, bytes);
        let opened = sessions.decrypt(account, b"", &wire);
        assert_eq!(opened.unwrap(), b"text");
        // An answer, so that the exchanges of keys go on and every state of them comes by.
        let answer = sessions.encrypt(b"", b"answer").unwrap();
        assert_eq!(peer.decrypt(peer_account, b"", &answer).unwrap(), b"answer");
    });
}

/// Sessions whose state was changed: 2 place, 1 flipped bits, and so on. They may open or seal or refuse.
fn damaged(account: &Account, sessions: &Sessions, wire: &[u8], bytes: &[u8]) {
    let mut state = sessions.export().expose().to_vec();
    for [high, low, flip] in bytes.as_chunks().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % state.len();
        state[place] ^= flip;
    }
    let Ok(mut sessions) = Sessions::load(&state, Limits::default()) else { return };
    if let Ok(mut account) = Account::load(account.export().expose()) {
        let _ = sessions.decrypt(&mut account, b"", wire);
        let _ = sessions.encrypt(b"", b"text");
    }
}

/// A layer from records that the bytes are cut into: 1 length of the name, name, 2 length of the value,
/// value.
fn restored<L: Restore>(mut bytes: &[u8]) -> Option<L> {
    let scope = Scope::new("layer");
    let mut batch = Batch::new();
    while let Some((len, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let (len, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        batch.put(&scope, name, SecretBytes::new(value.to_vec()));
        bytes = rest;
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).ok()?;
    L::restore(&scope.of(&store)).ok()
}

fn pair() -> (Account, Sessions, Account, Sessions) {
    let alice = Account::generate().unwrap();
    let bob = Account::generate().unwrap();
    let mut to_bob = Sessions::new(*bob.identity(), Limits::default());
    to_bob.begin(&alice, &bob.bundle(), Agree::Pqxdh).unwrap();
    let to_alice = Sessions::new(*alice.identity(), Limits::default());
    (bob, to_alice, alice, to_bob)
}

fn opened(incoming: &Incoming) -> bool {
    matches!(incoming, Incoming::Message(_) | Incoming::Commit(_) | Incoming::Proposal(_))
}

/// A whole stack, DH -> MLS -> AES: every call that takes bytes, and the next good message opens.
pub fn manager(bytes: &[u8]) {
    thread_local! {
        static GROUP: RefCell<[CascadingCipherManager; 3]> = RefCell::new(group());
    }
    GROUP.with_borrow_mut(|[alice, bob, outsider]| {
        assert!(bob.decrypt(bytes).is_err());
        // Whatever the bytes are, the answer is what they are: never an error of this end.
        let incoming = bob.receive(bytes).unwrap();
        assert!(!opened(&incoming), "{incoming:?}");
        assert!(outsider.receive(bytes).is_ok_and(|incoming| !opened(&incoming)));
        assert!(alice.add_members([bytes]).is_err());
        assert!(alice.inspect_key_package(bytes).is_err());
        let welcome = outsider.receive_welcome(bytes).unwrap();
        assert!(!matches!(welcome, IncomingWelcome::Joined(_)));
        let _ = Envelope::peek(bytes).map(|envelope| (envelope.epoch(), envelope.hints().count()));
        // The same bytes as the body of a well-formed header, and as damage to a good message.
        let good = alice.encrypt("text").unwrap();
        let header = good.len().min(40);
        let mut bodied = good[..header].to_vec();
        bodied.extend(bytes);
        assert!(bob.decrypt(&bodied).is_err());
        let mut damaged = good.clone();
        for (byte, damage) in damaged.iter_mut().zip(bytes) {
            *byte ^= damage;
        }
        if damaged != good {
            assert!(bob.decrypt(&damaged).is_err());
        }
        assert_eq!(bob.decrypt(&good).unwrap(), "text");
    });
}

/// A pair that begins from a bundle: bundles and first messages, and the next good one begins a pair.
pub fn pair_account(bytes: &[u8]) {
    thread_local! {
        static PEOPLE: RefCell<([PairAccount; 2], Vec<u8>)> = RefCell::new(people());
    }
    PEOPLE.with_borrow_mut(|([alice, bob], bundle)| {
        let good = alice.initiate(&*bundle, "").unwrap().encrypt("text").unwrap();
        let refused = |incoming: &IncomingFirst| {
            !matches!(incoming, IncomingFirst::Begun(_) | IncomingFirst::Known(_))
        };
        assert!(alice.initiate(bytes, "").is_err());
        assert!(refused(&bob.accept_first(bytes, "").unwrap()));
        let _ = bob.inspect_first(bytes);
        // The same bytes behind well-formed fronts, and as damage.
        for source in [&*bundle, &good] {
            let fronted = [&source[..19], bytes].concat();
            assert!(alice.initiate(&fronted, "").is_err());
            assert!(refused(&bob.accept_first(&fronted, "").unwrap()));
            let mut damaged = source.clone();
            let start = bytes.first().map_or(0, |at| usize::from(*at) * damaged.len() / 256);
            for (byte, damage) in damaged.iter_mut().skip(start).zip(bytes) {
                *byte ^= damage;
            }
            if damaged != *source {
                assert!(alice.initiate(&damaged, "").is_err());
                assert!(refused(&bob.accept_first(&damaged, "").unwrap()));
            }
        }
        let begun = bob.accept_first(&good, "").unwrap();
        assert!(matches!(begun, IncomingFirst::Begun(pair) if pair.message == "text"));
    });
}

fn people() -> ([PairAccount; 2], Vec<u8>) {
    let mut people = [(); 2].map(|()| {
        let keys = PairRecipe::PostQuantum.keys().unwrap();
        PairAccount::builder().all_keys(keys).build().unwrap()
    });
    let bundle = people[1].bundle().unwrap();
    (people, bundle)
}

/// A member's records, one of them changed: opening them gives an error or a member, and whatever the
/// member is asked for then gives an error or an answer.
pub fn store(bytes: &[u8]) {
    thread_local! {
        static MEMBER: (Shared, Vec<(Scope, Vec<u8>)>) = member();
    }
    let Some((&[record, how], bytes)) = bytes.split_first_chunk() else { return };
    MEMBER.with(|(member, records)| {
        let (scope, key) = &records[usize::from(record) % records.len()];
        let mut value = scope.of(member).get(key).unwrap().unwrap().expose().to_vec();
        match how {
            0..=127 => {
                let start = usize::from(how) * value.len() / 128;
                for (byte, damage) in value[start..].iter_mut().zip(bytes) {
                    *byte ^= damage;
                }
            }
            128..=191 => value.truncate(value.len() * usize::from(how - 128) / 64),
            _ => value = bytes.to_vec(),
        }
        let mut damaged = member.lock().unwrap().reopened();
        let mut batch = Batch::new();
        batch.put(scope, key.as_slice(), SecretBytes::new(value));
        damaged.commit(&batch).unwrap();
        let catalog = Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
        if let Ok(mut member) = CascadingCipherManager::open(damaged, "member", &catalog) {
            // openmls takes a commit that it finds staged for its own, and where assertions are on it
            // asserts that the keys in it are all there. A store gives back what was put into it.
            let trusted = key.first() == Some(&OPENMLS_GROUP_STATE);
            let staged = member.staged_change().map(cc_manager::Change::id).filter(|_| !trusted);
            let _ = (member.inbox(), member.outbox(), member.encrypt("text"));
            let _ = (staged.map(|id| member.confirm(id)), member.restage(), member.update());
            let _ = (member.rejoin_package(), member.commit_proposals(), member.members());
        }
    });
}

/// What the keys of such records of the MLS layer begin with.
const OPENMLS_GROUP_STATE: u8 = 8;

type Shared = Arc<Mutex<MemoryStore>>;

/// Bob, with something unread, something unsent, a staged change and a proposal; and what there is of
/// him.
fn member() -> (Shared, Vec<(Scope, Vec<u8>)>) {
    let store = Shared::default();
    let mut alice = stack("alice", true).build().unwrap();
    let mut bob = stack("bob", false).create(Arc::clone(&store), "member").unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.receive_welcome(&welcome).unwrap();
    bob.decrypt(alice.encrypt("unread").unwrap()).unwrap();
    bob.encrypt("unsent").unwrap();
    let newcomer = stack("newcomer", false).build().unwrap().key_package().unwrap();
    bob.receive(alice.propose_add(&newcomer).unwrap()).unwrap();
    bob.add_members([newcomer]).map(drop).unwrap();
    let root = Scope::new("cascade").child("member");
    let layers = (0..3).map(|slot| root.child("layer").indexed(slot));
    let scopes = [root.clone(), root.child("inbox"), root.child("outbox")].into_iter();
    let keys = |scope: Scope| {
        let records = scope.of(&store).list(b"").unwrap().into_iter();
        records.map(|(key, _)| (scope.clone(), key)).collect::<Vec<_>>()
    };
    let records = scopes.chain(layers).flat_map(keys).collect();
    (store, records)
}

fn group() -> [CascadingCipherManager; 3] {
    let [mut alice, mut bob, outsider] = [("alice", true), ("bob", false), ("outsider", false)]
        .map(|(name, founder)| stack(name, founder).build().unwrap());
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.receive_welcome(&welcome).unwrap();
    [alice, bob, outsider]
}

fn stack(name: &str, founder: bool) -> ManagerBuilder {
    let identity = MlsIdentity::generate(name).unwrap();
    let mls = if founder { MlsLayer::create("g", identity) } else { MlsLayer::member(identity) };
    CascadingCipherManager::builder()
        .layer(DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap()))
        .layer(mls.unwrap())
        .layer(AesLayer::inherited())
}

/// What messengers send, histories, and saved states of attachments: what decodes has one encoding.
pub fn content(bytes: &[u8]) {
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(content.encode().unwrap(), bytes);
        if let Body::Attachment { attachment, .. } = content.body {
            let _refused = Download::resume(attachment, bytes);
        }
    }
    if let Ok(history) = History::decode(bytes) {
        assert_eq!(history.encode().unwrap(), bytes);
    }
    let entries: Vec<_> = read_history(bytes).map_while(Result::ok).collect();
    let mut again = Vec::new();
    write_history(&entries, &mut again).unwrap();
    assert!(bytes.starts_with(&again));
    if let Ok(link) = JoinLink::from_bytes(bytes) {
        assert_eq!(link.to_bytes().unwrap().expose(), bytes);
    }
    if let Ok(upload) = Upload::resume(&SecretBytes::new(bytes.to_vec())) {
        assert_eq!(upload.to_bytes().unwrap().expose(), bytes);
    }
}

/// That of the test vectors.
const FILE_IDENTITY: &str =
    "CASCADE-SECRET-KEY-1QQSFDAJEUU0QJUCGEQ98FVWS4RCAZ6RR9ZUHUCDFZX8P48SCQKWV65QT5Q2PM";

/// What reaches a client from outside: items of its mailbox and of a group's log, offers of devices, and
/// exports. Nothing comes of any bytes.
pub fn client(bytes: &[u8]) {
    thread_local! {
        static CLIENT: RefCell<(Client, GroupId, u64)> = RefCell::new(founder());
    }
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    CLIENT.with_borrow_mut(|(client, group, last)| {
        // As they are, and as an item of each known kind.
        let mut items = vec![bytes.to_vec()];
        items.extend((1..=5).map(|kind| [&[1, kind][..], bytes].concat()));
        let link = client.join_links().unwrap().remove(0).link.id();
        items.push([&[1, 2][..], link.as_bytes(), bytes].concat());
        let members = client.group(group).unwrap().members;
        for item in items {
            for log in [client.mailbox(), *group] {
                let position = Position(*last + 1);
                let items = vec![Item { position, commit: false, bytes: item.clone() }];
                let page = Page { items, forgotten: Position::START, head: position };
                let ledger = client.handle(now, Input::Page { log, page }).unwrap();
                assert_eq!(ledger.fates.len(), 1);
            }
            *last += 1;
            let link = Command::Link(item);
            assert!(client.submit(OperationId::random().unwrap(), link).is_err());
        }
        assert_eq!(client.group(group).unwrap().members, members);
        assert_eq!(client.people().unwrap().len(), 1);
    });
    let key = AesKey::copy_from(&[7; 32]).unwrap();
    assert!(Client::restore(MemoryStore::new(), bytes, &key, now).is_err());
}

/// What is sealed to a client, as `docs/client-wire-format.md` says how: nothing comes of any bytes in it.
pub fn mail(bytes: &[u8]) {
    thread_local! {
        static CLIENT: RefCell<(Client, GroupId, u64)> = RefCell::new(founder());
    }
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    CLIENT.with_borrow_mut(|(client, group, last)| {
        if *last == 0 {
            let offer = client.key_packages(now, 1).unwrap().remove(0);
            READER.with_borrow_mut(|reader| reader.copy_from_slice(&offer[76..108]));
        }
        // As the whole of it, and as mail of each kind.
        let mut plains = vec![bytes.to_vec()];
        for kind in 1..=6 {
            let mut plain = u32::try_from(bytes.len() + 2).unwrap().to_be_bytes().to_vec();
            plain.extend([1, kind]);
            plain.extend(bytes);
            plain.resize(plain.len().max(8 << 10), 0);
            plains.push(plain);
        }
        let members = client.group(group).unwrap().members;
        for plain in plains {
            *last += 1;
            let (log, position) = (client.mailbox(), Position(*last));
            let bytes = READER.with_borrow(|key| sealed_mail(key, &log, &plain));
            let items = vec![Item { position, commit: false, bytes }];
            let page = Page { items, forgotten: Position::START, head: position };
            let ledger = client.handle(now, Input::Page { log, page }).unwrap();
            assert_eq!(ledger.fates.len(), 1);
        }
        assert_eq!(client.group(group).unwrap().members, members);
        assert_eq!((client.people().unwrap().len(), client.groups().count()), (1, 1));
    });
}

thread_local! {
    /// The key to which the client's mail is sealed.
    static READER: RefCell<[u8; 32]> = const { RefCell::new([0; 32]) };
}

fn sealed_mail(key: &[u8; 32], mailbox: &LogId, plain: &[u8]) -> Vec<u8> {
    let mut hpke: Hpke<HpkePrimitives> = Hpke::new(
        Mode::Base,
        KemAlgorithm::DhKem25519,
        KdfAlgorithm::HkdfSha256,
        AeadAlgorithm::Aes256Gcm,
    );
    let (to, info, aad) =
        (HpkePublicKey::new(key.to_vec()), b"cc-client/1 mail", mailbox.as_bytes());
    let (encapsulated, ciphertext) = hpke.seal(&to, info, aad, plain, None, None, None).unwrap();
    let hint = Sha256::new().chain_update(b"cc-client/1 mail hint").chain_update(key);
    let hint = hint.chain_update(&encapsulated).finalize();
    let opaque = |bytes: Vec<u8>| Opaque(bytes).tls_serialize_bytes().unwrap();
    [&[1, 1][..], &hint[..4], &opaque(encapsulated), &opaque(ciphertext)].concat()
}

fn founder() -> (Client, GroupId, u64) {
    let mut client =
        Client::create(MemoryStore::new(), Profile::new("Alice"), Recipe::group()).unwrap();
    let group = LogId::random().unwrap();
    let found = Command::Found { group, title: "A group".to_owned() };
    client.submit(OperationId::random().unwrap(), found).unwrap();
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    let _link = client.join_link(now, group, 1_000).unwrap();
    (client, group, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mail that this target's own way of sealing makes is read, or it would not be fuzzed.
    #[test]
    fn what_is_sealed_here_is_opened() {
        let (mut client, _, _) = founder();
        let now = Now { wall: 1_790_000_000_000, mono: 0 };
        let offer = client.key_packages(now, 1).unwrap().remove(0);
        let (log, position) = (client.mailbox(), Position(1));
        let mut plain = vec![0, 0, 0, 1, 2];
        plain.resize(8 << 10, 0);
        let bytes = sealed_mail(&offer[76..108].try_into().unwrap(), &log, &plain);
        let items = vec![Item { position, commit: false, bytes }];
        let page = Page { items, forgotten: Position::START, head: position };
        let ledger = client.handle(now, Input::Page { log, page }).unwrap();
        // Of a later version: so it was opened.
        assert_eq!(ledger.fates, [(log, position, cc_client::Fate::Unsupported)]);
    }
}
