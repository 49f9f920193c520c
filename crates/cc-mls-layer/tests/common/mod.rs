//! Members of one group, driven through the layer traits as a manager drives them.
#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use cc_core::{
    Attachment, Binding, Buffer, ChainSecret, ChangeParts, ChangeRequest, CipherLayer,
    CommitOutcome, Contribution, GroupLayer, Header, Hint, Kind, LayerContext, LayerDescriptor,
    LayerError, LayerErrorKind, MemberId, NewMember, Opened, PartContext, Restore as _, Secret,
    StackId, Standing,
    store::{Batch, MemoryStore, Scope, Store as _},
};
use cc_mls_layer::{MlsConfig, MlsIdentity, MlsLayer};

/// Where the layer sits in these tests.
pub(crate) const POSITION: u16 = 1;

/// A member.
pub(crate) struct Peer {
    pub(crate) layer: MlsLayer,
    pub(crate) id: MemberId,
    pub(crate) stack: StackId,
    /// What the layers below contribute; `None` where there are none.
    pub(crate) below: Option<u8>,
    /// Where its layer is kept, if it is.
    pub(crate) store: Option<MemoryStore>,
}

/// A sealed message with what travels around it.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
}

/// A key package with what it is bound to.
#[derive(Clone)]
pub(crate) struct KeyPackage {
    pub(crate) id: MemberId,
    pub(crate) part: Vec<u8>,
    pub(crate) binding: [u8; 32],
}

/// A staged change with what it is bound to.
#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) parts: ChangeParts,
    pub(crate) binding: [u8; 32],
}

impl Peer {
    pub(crate) fn founder(name: &str) -> Self {
        Self::new(MlsLayer::create("Dev Team", MlsIdentity::generate(name).unwrap()).unwrap())
    }

    pub(crate) fn joiner(name: &str) -> Self {
        Self::new(MlsLayer::member(MlsIdentity::generate(name).unwrap()).unwrap())
    }

    pub(crate) fn with(name: &str, founder: bool, config: MlsConfig) -> Self {
        let identity = MlsIdentity::generate_with(name, config.ciphersuite()).unwrap();
        Self::new(if founder {
            MlsLayer::create_with("Dev Team", identity, config).unwrap()
        } else {
            MlsLayer::member_with(identity, config).unwrap()
        })
    }

    pub(crate) fn new(mut layer: MlsLayer) -> Self {
        let descriptor = layer.descriptor();
        let id = MemberId::of([(&descriptor, layer.commitment())]);
        let stack = StackId::of(&[descriptor]);
        let founding = layer.founds();
        layer
            .attach(&Attachment { stack, position: POSITION, member: Some(id), founding })
            .unwrap();
        layer.apply();
        Self { layer, id, stack, below: Some(7), store: None }
    }

    /// From here on the layer is kept in a store.
    pub(crate) fn stored(mut self) -> Self {
        self.store = Some(MemoryStore::new());
        self.keep().unwrap();
        self
    }

    /// What a manager does once an operation succeeded: save, commit, apply.
    pub(crate) fn keep(&mut self) -> Result<(), LayerError> {
        if let Some(store) = &mut self.store {
            let mut batch = Batch::new();
            let mut to = match store.is_empty() {
                true => batch.new_scope(scope()),
                false => batch.scope(scope()),
            };
            let saved = self.layer.save(&mut to);
            if let Err(error) = saved.and_then(|()| Ok(store.commit(&batch)?)) {
                self.layer.revert();
                return Err(error);
            }
        }
        self.layer.apply();
        Ok(())
    }

    /// The process dies, and starts again from the store.
    pub(crate) fn restart(&mut self) {
        let store = self.store.as_ref().unwrap().reopened();
        self.restart_from(store);
    }

    /// As [`restart`](Self::restart), from some other state of the store.
    pub(crate) fn restart_from(&mut self, store: MemoryStore) {
        self.layer = MlsLayer::restore(&scope().of(&store)).unwrap();
        self.store = Some(store);
    }

    /// Nothing below: plain RFC 9420.
    pub(crate) fn alone(mut self) -> Self {
        self.below = None;
        self
    }

    /// One transaction: applied where it succeeds, reverted where it fails.
    pub(crate) fn transact<T>(
        &mut self,
        f: impl FnOnce(&mut MlsLayer) -> Result<T, LayerError>,
    ) -> Result<T, LayerErrorKind> {
        match f(&mut self.layer) {
            Ok(value) => {
                self.keep().map_err(|error| error.kind())?;
                Ok(value)
            }
            Err(error) => {
                self.layer.revert();
                Err(error.kind())
            }
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        match self.layer.standing() {
            Standing::Member { epoch } => epoch,
            standing => panic!("{standing:?}"),
        }
    }

    pub(crate) fn key_package(&mut self) -> KeyPackage {
        let binding = cc_core::random::array().unwrap();
        let (id, below) = (self.id, self.below);
        let part =
            self.transact(|layer| layer.key_package(&context(binding, below, None))).unwrap();
        KeyPackage { id, part, binding }
    }

    pub(crate) fn stage(
        &mut self,
        added: &[KeyPackage],
        removed: &[MemberId],
    ) -> Result<Staged, LayerErrorKind> {
        let binding = cc_core::random::array().unwrap();
        let below = self.below;
        let chain = below.map(chain);
        let parts = self.transact(|layer| {
            layer.stage_change(
                &ChangeRequest { added: &news(added), removed },
                &context(binding, below, chain.as_ref()),
            )
        })?;
        Ok(Staged { parts, binding })
    }

    pub(crate) fn confirm(&mut self) {
        self.transact(GroupLayer::confirm_change).unwrap();
    }

    pub(crate) fn process(&mut self, staged: &Staged) -> Result<CommitOutcome, LayerErrorKind> {
        let below = self.below;
        self.process_with(staged, below)
    }

    pub(crate) fn process_with(
        &mut self,
        staged: &Staged,
        below: Option<u8>,
    ) -> Result<CommitOutcome, LayerErrorKind> {
        let chain = below.map(chain);
        self.transact(|layer| {
            layer.process_commit(
                &staged.parts.commit,
                &context(staged.binding, below, chain.as_ref()),
            )
        })
    }

    pub(crate) fn join(&mut self, staged: &Staged) -> Result<Option<MemberId>, LayerErrorKind> {
        let below = self.below;
        self.join_with(staged, below)
    }

    pub(crate) fn join_with(
        &mut self,
        staged: &Staged,
        below: Option<u8>,
    ) -> Result<Option<MemberId>, LayerErrorKind> {
        let chain = below.map(chain);
        self.transact(|layer| {
            layer.join(&staged.parts.welcome, &context(staged.binding, below, chain.as_ref()))
        })
    }

    /// Seals without applying or reverting.
    pub(crate) fn seal_only(&mut self, text: &[u8]) -> Result<Wire, LayerError> {
        seal(&mut self.layer, &self.stack, text)
    }

    pub(crate) fn seal(&mut self, text: &[u8]) -> Wire {
        let wire = self.seal_only(text).unwrap();
        self.keep().unwrap();
        wire
    }

    /// Opens without applying or reverting.
    pub(crate) fn open_only(&mut self, wire: &Wire) -> Result<(Opened, Vec<u8>), LayerError> {
        open(&mut self.layer, &self.stack, wire)
    }

    pub(crate) fn open(&mut self, wire: &Wire) -> Result<(Opened, Vec<u8>), LayerErrorKind> {
        let result = self.open_only(wire);
        match result {
            Ok(opened) => {
                self.keep().map_err(|error| error.kind())?;
                Ok(opened)
            }
            Err(error) => {
                self.layer.revert();
                Err(error.kind())
            }
        }
    }

    pub(crate) fn exporter(&mut self) -> Secret<32> {
        self.layer.contribute().unwrap().unwrap().secret
    }
}

/// Where a layer is in its store.
pub(crate) fn scope() -> Scope {
    Scope::new("stack").indexed(POSITION.into())
}

/// A group of these names, the first its founder.
pub(crate) fn group(names: &[&str]) -> Vec<Peer> {
    let joiners = names.iter().skip(1).map(|name| Peer::joiner(name)).collect();
    assemble(Peer::founder(names[0]), joiners)
}

pub(crate) fn assemble(founder: Peer, joiners: Vec<Peer>) -> Vec<Peer> {
    let mut peers = vec![founder];
    let mut joiners = joiners;
    if !joiners.is_empty() {
        let packages: Vec<_> = joiners.iter_mut().map(Peer::key_package).collect();
        let staged = peers[0].stage(&packages, &[]).unwrap();
        peers[0].confirm();
        for joiner in &mut joiners {
            assert_eq!(joiner.join(&staged), Ok(Some(peers[0].id)));
        }
        peers.extend(joiners);
    }
    peers
}

/// Confirms the change of `peers[who]` and lets all others but `except` process it.
pub(crate) fn settle(peers: &mut [Peer], who: usize, staged: &Staged, except: &[usize]) {
    for (at, peer) in peers.iter_mut().enumerate() {
        if at == who {
            peer.confirm();
        } else if !except.contains(&at) {
            let committer = peer.process(staged).unwrap().committer;
            assert!(committer.is_some());
        }
    }
}

/// Everybody writes to everybody, and all agree on the epoch.
pub(crate) fn all_read_all(peers: &mut [Peer]) {
    for sender in 0..peers.len() {
        let text = format!("from {sender}");
        let wire = peers[sender].seal(text.as_bytes());
        let id = peers[sender].id;
        let exporter = peers[sender].exporter();
        for (at, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.exporter(), exporter);
            if at != sender {
                let (opened, plaintext) = peer.open(&wire).unwrap();
                assert_eq!(opened.sender, Some(id));
                assert_eq!(plaintext, text.as_bytes());
            }
        }
    }
    let members = peers[0].layer.members();
    assert_eq!(members.len(), peers.len());
    for peer in peers.iter() {
        assert_eq!(peer.layer.members(), members);
        let own = members.iter().find(|member| member.id == peer.id).unwrap();
        assert_eq!(own.commitment, peer.layer.commitment());
        assert_eq!(own.name.as_deref(), Some(peer.layer.own_name()));
        assert_eq!(peer.layer.epoch_authenticator(), peers[0].layer.epoch_authenticator());
    }
}

pub(crate) fn seal(layer: &mut MlsLayer, stack: &StackId, text: &[u8]) -> Result<Wire, LayerError> {
    let hint = layer.contribute()?.unwrap().hint;
    let hint = Hint { position: POSITION, value: hint.as_slice().into() };
    let header = Header::new(Kind::Application, stack, vec![hint]);
    let mut buffer = Buffer::new(text);
    let binding = header.binding(stack, b"");
    layer.seal(&message_context(&binding), &mut buffer)?;
    Ok(Wire { header, body: buffer.as_slice().to_vec() })
}

pub(crate) fn open(
    layer: &mut MlsLayer,
    stack: &StackId,
    wire: &Wire,
) -> Result<(Opened, Vec<u8>), LayerError> {
    let mut buffer = Buffer::new(&wire.body);
    let binding = wire.header.binding(stack, b"");
    let opened = layer.open(&message_context(&binding), &mut buffer)?;
    Ok((opened, buffer.as_slice().to_vec()))
}

pub(crate) fn context(
    binding: [u8; 32],
    below: Option<u8>,
    chain: Option<&ChainSecret>,
) -> PartContext<'_> {
    PartContext { binding, position: POSITION, chain, group_below: below.is_some(), now: None }
}

pub(crate) fn message_context(binding: &Binding) -> LayerContext<'_> {
    LayerContext { binding, position: POSITION, chain: None }
}

pub(crate) fn news(packages: &[KeyPackage]) -> Vec<NewMember<'_>> {
    packages
        .iter()
        .map(|package| NewMember { id: package.id, part: &package.part, binding: package.binding })
        .collect()
}

/// What some layer below contributes.
pub(crate) fn chain(byte: u8) -> ChainSecret {
    let layer = LayerDescriptor { id: "below", version: 1, parameters: vec![] };
    let secret = Secret::copy_from(&[byte; 32]).unwrap();
    let contribution = Contribution { hint: vec![], secret };
    ChainSecret::extend(None, &contribution, &StackId::of(&[]), &layer, 0)
}

/// `bytes` with one bit changed.
pub(crate) fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}
