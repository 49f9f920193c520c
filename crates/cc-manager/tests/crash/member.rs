//! A member, within its process: does what it is told on its input, and says what came of it.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{Secret, store::StoreError};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{
    CascadingCipherManager, Catalog, Change, Error, Incoming, IncomingWelcome, Kind,
    ManagerBuilder, MemberId, OutboxEntry, Standing,
};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_signal_layer::{Account, SignalLayer};
use cc_store_sqlite::{Credential, Durability, SqliteStore};

use crate::{
    process::{END, MARK, Part},
    uses::Logged,
};

const GROUP: &str = "the group";

pub(crate) fn play(part: &Part) {
    let store = Arc::new(Mutex::new(Logged::open(part.store(), open_store)));
    let mut member = open(part, &store);
    let answer = |lines: &[String]| {
        store.lock().unwrap().hand_out();
        say(lines);
    };
    answer(&report(&mut member));
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let command = words.next().unwrap();
        let arguments: Vec<Vec<u8>> = words.map(|word| hex::decode(word).unwrap()).collect();
        let done = obey(&mut member, command, &arguments);
        answer(&[done.unwrap_or_else(|error| format!("refused {error}"))]);
    }
}

/// A kill spares what the kernel has, so nothing is gained by waiting for the disk here.
fn open_store(path: &Path) -> SqliteStore {
    let key = Secret::copy_from(&[5; 32]).unwrap();
    let options = SqliteStore::options().durability(Durability::ProcessEnd);
    options.open_or_create(path, Credential::key(key)).unwrap()
}

fn open(part: &Part, store: &Arc<Mutex<Logged>>) -> CascadingCipherManager {
    let catalog = Catalog::new()
        .with::<AesLayer>()
        .with::<DhLayer>()
        .with::<MlsLayer>()
        .with::<SignalLayer>();
    match CascadingCipherManager::open(store.clone(), GROUP, &catalog) {
        Err(Error::Store(StoreError::Missing)) => stack(part).create(store.clone(), GROUP).unwrap(),
        opened => {
            store.lock().unwrap().restored();
            opened.unwrap()
        }
    }
}

fn stack(part: &Part) -> ManagerBuilder {
    let dh = DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap());
    let identity = MlsIdentity::generate(part.name.as_str()).unwrap();
    let mls = if part.name.starts_with("founder") {
        MlsLayer::create("Crash", identity).unwrap()
    } else {
        MlsLayer::member(identity).unwrap()
    };
    let builder = CascadingCipherManager::builder();
    match part.stack.as_str() {
        "mls" => builder.layer(dh).layer(mls).layer(AesLayer::inherited()),
        _ => builder
            .layer(AesLayer::new(AesKey::copy_from(&[7; 32]).unwrap()))
            .layer(dh)
            .layer(SignalLayer::group(Account::generate().unwrap()))
            .layer(mls),
    }
}

/// What a program asks for when it starts.
fn report(member: &mut CascadingCipherManager) -> Vec<String> {
    let standing = match member.standing() {
        Some(Standing::Member { epoch }) => format!("{epoch}"),
        Some(Standing::Removed) => "removed".into(),
        _ => "outside".into(),
    };
    let id = hex::encode(member.member_id().unwrap().as_bytes());
    let mut lines = vec![format!("standing {standing} {id}")];
    lines.extend(member.inbox().unwrap().iter().map(received));
    lines.extend(member.outbox().unwrap().iter().map(out));
    lines.extend(member.staged_change().map(staged));
    lines
}

fn obey(
    member: &mut CascadingCipherManager,
    command: &str,
    arguments: &[Vec<u8>],
) -> Result<String, Error> {
    let argument = || arguments.first().unwrap();
    Ok(match command {
        "say" => format!("out {}", hex::encode(member.encrypt(argument())?)),
        "sent" => {
            member.sent(arguments)?;
            "sent".into()
        }
        "take" if Kind::of(argument())? == Kind::Commit => match member.receive(argument())? {
            Incoming::Commit(summary) if summary.removed_self => "removed".into(),
            incoming => {
                assert!(matches!(incoming, Incoming::Commit(_)));
                format!("epoch {}", member.epoch().unwrap())
            }
        },
        "take" => received(&member.decrypt(argument())?),
        "acknowledge" => {
            let number = u64::from_be_bytes(argument().as_slice().try_into().unwrap());
            member.acknowledge([cc_manager::MessageId::from_u64(number)])?;
            "acknowledged".into()
        }
        "package" => hex::encode(member.key_package()?),
        "rejoin" => hex::encode(member.rejoin_package()?),
        "update" => staged(&member.update()?),
        "add" => staged(&member.add_members(arguments)?),
        "readmit" => staged(&member.readmit_members(arguments)?),
        "remove" => {
            let id = MemberId::from_bytes(argument().as_slice().try_into().unwrap());
            staged(&member.remove_members([id])?)
        }
        "restage" => member.restage()?.as_ref().map_or("nothing".into(), staged),
        "confirm" => {
            let change = member.staged_change().unwrap().id();
            member.confirm(change)?;
            format!("epoch {}", member.epoch().unwrap())
        }
        "welcome" => {
            let outbox = member.outbox()?;
            let welcome = outbox.iter().find(|entry| entry.kind == Kind::Welcome);
            welcome.map_or("none".into(), hex::encode)
        }
        "join" => {
            let incoming = member.receive_welcome(argument())?;
            assert!(matches!(incoming, IncomingWelcome::Joined(_)));
            format!("epoch {}", member.epoch().unwrap())
        }
        "authenticator" => {
            let mls = member.find::<MlsLayer>();
            hex::encode(mls.unwrap().epoch_authenticator().unwrap())
        }
        other => panic!("what is {other}?"),
    })
}

fn received(message: &cc_manager::Message) -> String {
    let id = message.id().unwrap().as_u64();
    format!("in {} {}", hex::encode(id.to_be_bytes()), message.as_str().unwrap())
}

fn staged(change: &Change) -> String {
    format!("staged {}", hex::encode(&change.commit))
}

fn out(entry: &OutboxEntry) -> String {
    format!("out {}", hex::encode(&entry.bytes))
}

fn say(lines: &[String]) {
    for line in lines.iter().map(String::as_str).chain([END]) {
        println!("{MARK}{line}");
    }
    std::io::stdout().flush().unwrap();
}
