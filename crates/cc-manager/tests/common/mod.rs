//! Stacks and layers for the tests.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "each test uses some of it"
)]

pub mod observed;
pub mod wrapped;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cc_aes_layer::AesLayer;
use cc_core::{
    Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties, StackId,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{
    CascadingCipherManager, Change, Incoming, IncomingWelcome, Joined, ManagerBuilder, OutboxEntry,
};
use cc_mls_layer::{MlsIdentity, MlsLayer};

pub fn dh() -> DhLayer {
    DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap())
}

pub fn mls(name: &str, founder: bool) -> MlsLayer {
    let identity = MlsIdentity::generate(name).unwrap();
    if founder {
        MlsLayer::create("Dev Team", identity).unwrap()
    } else {
        MlsLayer::member(identity).unwrap()
    }
}

/// DH -> MLS -> AES.
pub fn full(name: &str, founder: bool) -> ManagerBuilder {
    CascadingCipherManager::builder()
        .layer(dh())
        .layer(mls(name, founder))
        .layer(AesLayer::inherited())
}

/// The id of that stack.
pub fn stack_id() -> StackId {
    StackId::of(&[
        dh().descriptor(),
        mls("x", false).descriptor(),
        AesLayer::inherited().descriptor(),
    ])
}

pub fn founder(name: &str) -> CascadingCipherManager {
    full(name, true).build().unwrap()
}

pub fn joiner(name: &str) -> CascadingCipherManager {
    full(name, false).build().unwrap()
}

/// A group of these names, the first its founder.
pub fn group(names: &[&str]) -> Vec<CascadingCipherManager> {
    let mut members = vec![founder(names[0])];
    let mut joiners: Vec<_> = names[1..].iter().map(|name| joiner(name)).collect();
    if !joiners.is_empty() {
        let bundles: Vec<_> =
            joiners.iter_mut().map(|joiner| joiner.key_package().unwrap()).collect();
        let change = members[0].add_members(bundles).unwrap();
        let welcome = members[0].confirm(change.id()).unwrap().welcome.unwrap();
        for joiner in &mut joiners {
            joiner.join(&welcome).unwrap();
        }
        members.extend(joiners);
    }
    members
}

/// `who` confirms the change and all others but `except` process it. Gives the welcome.
pub fn settle(
    members: &mut [CascadingCipherManager],
    who: usize,
    change: &Change,
    except: &[usize],
) -> Option<Vec<u8>> {
    let mut welcome = None;
    for (i, member) in members.iter_mut().enumerate() {
        if i == who {
            welcome = member.confirm(change.id()).unwrap().welcome;
        } else if !except.contains(&i) {
            member.process(&change.commit).unwrap();
        }
    }
    welcome
}

/// For tests that are about something else than why bytes are refused.
pub trait Follow {
    /// A commit or proposal that counts, or what it was instead.
    fn process(&mut self, wire: impl AsRef<[u8]>) -> Result<Incoming, Incoming>;

    /// The group that was joined, or what the welcome was instead.
    fn join(&mut self, welcome: impl AsRef<[u8]>) -> Result<Joined, IncomingWelcome>;
}

impl Follow for CascadingCipherManager {
    fn process(&mut self, wire: impl AsRef<[u8]>) -> Result<Incoming, Incoming> {
        match self.receive(wire).unwrap() {
            good @ (Incoming::Commit(_) | Incoming::Proposal(_)) => Ok(good),
            other => Err(other),
        }
    }

    fn join(&mut self, welcome: impl AsRef<[u8]>) -> Result<Joined, IncomingWelcome> {
        match self.receive_welcome(welcome).unwrap() {
            IncomingWelcome::Joined(joined) => Ok(joined),
            other => Err(other),
        }
    }
}

/// The bytes in an outbox.
pub fn wires(outbox: Vec<OutboxEntry>) -> Vec<Vec<u8>> {
    outbox.into_iter().map(|entry| entry.bytes).collect()
}

/// Everyone in `members` reads a message of everyone else.
pub fn all_read_all(members: &mut [CascadingCipherManager]) {
    for sender in 0..members.len() {
        let text = format!("from {sender}");
        let wire = members[sender].encrypt(&text).unwrap();
        let id = members[sender].member_id();
        for (receiver, member) in members.iter_mut().enumerate() {
            if receiver != sender {
                let message = member.decrypt(&wire).unwrap();
                assert_eq!(message, text);
                assert_eq!(message.sender(), id);
            }
        }
    }
}

/// A layer that changes nothing, and refuses to open while it is armed.
pub struct Tripwire {
    pub armed: Arc<AtomicBool>,
}

impl Tripwire {
    pub fn new() -> (Self, Arc<AtomicBool>) {
        let armed = Arc::new(AtomicBool::new(false));
        (Self { armed: armed.clone() }, armed)
    }
}

impl CipherLayer for Tripwire {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.tripwire", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("tripwire")
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        if self.armed.load(Ordering::Relaxed) {
            return Err(LayerError::misuse("the test wants this"));
        }
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        if self.armed.load(Ordering::Relaxed) {
            return Err(LayerError::rejected());
        }
        Ok(Opened::default())
    }
}
