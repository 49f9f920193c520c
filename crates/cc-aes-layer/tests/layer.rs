//! The layer in its place in a stack: every mode, and everything that must not open.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cc_aes_layer::{AesKey, AesLayer, Argon2Params, PASSWORD_SALT_LEN, Password};
use cc_core::{
    Buffer, ChainSecret, CipherLayer, Contribution, Header, Hint, Kind, LayerContext,
    LayerDescriptor, LayerError, LayerErrorKind, Secret, StackId,
};

/// Everything around one message, apart from the layer.
struct Around {
    header: Header,
    stack: StackId,
    associated_data: &'static [u8],
    position: u16,
    chain: Option<ChainSecret>,
}

impl Around {
    fn new() -> Self {
        let stack = StackId::of(&[descriptor("below"), descriptor("cc.aes")]);
        let header = Header::new(Kind::Application, &stack, vec![hint(b"epoch 1")]);
        Self { header, stack, associated_data: b"ad", position: 1, chain: Some(chain(1)) }
    }

    fn seal(&self, layer: &mut AesLayer, plaintext: &[u8]) -> Result<Vec<u8>, LayerError> {
        let mut buffer = Buffer::new(plaintext);
        let binding = self.header.binding(&self.stack, self.associated_data);
        let chain = self.chain.as_ref();
        layer.seal(
            &LayerContext { binding: &binding, position: self.position, chain },
            &mut buffer,
        )?;
        Ok(buffer.as_slice().to_vec())
    }

    fn open(&self, layer: &mut AesLayer, message: &[u8]) -> Result<Vec<u8>, LayerErrorKind> {
        let mut buffer = Buffer::new(message);
        let binding = self.header.binding(&self.stack, self.associated_data);
        let chain = self.chain.as_ref();
        layer
            .open(&LayerContext { binding: &binding, position: self.position, chain }, &mut buffer)
            .map_err(|error| error.kind())?;
        Ok(buffer.as_slice().to_vec())
    }
}

fn descriptor(id: &'static str) -> LayerDescriptor {
    LayerDescriptor { id, version: 1, parameters: vec![] }
}

fn hint(value: &[u8]) -> Hint {
    Hint { position: 0, value: value.into() }
}

fn chain(epoch: u8) -> ChainSecret {
    let contribution =
        Contribution { hint: vec![epoch], secret: Secret::copy_from(&[epoch; 32]).unwrap() };
    ChainSecret::extend(None, &contribution, &StackId::of(&[]), &descriptor("below"), 0)
}

fn password(password: &str) -> Password {
    Password::new(password)
        .unwrap()
        .with_params(Argon2Params::LEAST)
        .accept_at_most(Argon2Params::LEAST)
}

type Pair = fn() -> (AesLayer, AesLayer);

/// Two ends of every mode.
const MODES: [(&str, Pair); 5] = [
    ("AES-256", || {
        let key = AesKey::generate().unwrap();
        (AesLayer::new(key.duplicate()), AesLayer::new(key))
    }),
    ("AES-128", || {
        let key = AesKey::generate_128().unwrap();
        (AesLayer::new(key.duplicate()), AesLayer::new(key))
    }),
    ("password", || {
        (AesLayer::password(password("secret")), AesLayer::password(password("secret")))
    }),
    ("inherited", || (AesLayer::inherited(), AesLayer::inherited())),
    ("inherited 128", || (AesLayer::inherited_128(), AesLayer::inherited_128())),
];

#[test]
fn messages_of_every_length_cross() {
    let around = Around::new();
    for (mode, pair) in MODES {
        let (mut alice, mut bob) = pair();
        for length in [0, 1, 15, 16, 17, 1000, 1 << 20] {
            let plaintext = vec![7; length];
            let there = around.seal(&mut alice, &plaintext).unwrap();
            assert_eq!(around.open(&mut bob, &there).unwrap(), plaintext, "{mode}");
            let back = around.seal(&mut bob, &plaintext).unwrap();
            assert_eq!(around.open(&mut alice, &back).unwrap(), plaintext, "{mode}");
            assert_ne!(there, back);
        }
    }
}

/// Bytes that a message under a password begins with.
const SALT_AND_PARAMS: usize = PASSWORD_SALT_LEN + 6;

#[test]
fn no_flip_and_no_truncation_opens_and_none_does_harm() {
    let around = Around::new();
    for (mode, pair) in MODES {
        let (mut alice, mut bob) = pair();
        let message = around.seal(&mut alice, b"text").unwrap();
        // The commitment of a message with the salt that the receiver knows is checked without
        // Argon2id; let it know it, as in the middle of a conversation.
        assert_eq!(around.open(&mut bob, &message).unwrap(), b"text");
        for bit in 0..message.len() * 8 {
            // Another salt or other parameters take a run of Argon2id each: one bit of each byte.
            if mode == "password" && bit < SALT_AND_PARAMS * 8 && bit % 8 != bit / 8 % 8 {
                continue;
            }
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let opened = around.open(&mut bob, &changed);
            assert_eq!(opened, Err(LayerErrorKind::Rejected), "{mode}, bit {bit}");
        }
        for length in 0..message.len() {
            let opened = around.open(&mut bob, &message[..length]);
            assert_eq!(opened, Err(LayerErrorKind::Rejected), "{mode}, {length} bytes");
        }
        let longer = [&message[..], &[0]].concat();
        assert_eq!(around.open(&mut bob, &longer), Err(LayerErrorKind::Rejected), "{mode}");
        assert_eq!(around.open(&mut bob, &message).unwrap(), b"text", "{mode}");
    }
}

#[test]
fn everything_around_a_message_counts() {
    for (mode, pair) in MODES {
        let (mut alice, mut bob) = pair();
        let message = Around::new().seal(&mut alice, b"text").unwrap();
        let stack = StackId::of(&[]);
        let with = |header: Header| Around { header, ..Around::new() };
        let others = [
            Around { associated_data: b"ae", ..Around::new() },
            Around { position: 0, ..Around::new() },
            Around { position: 2, ..Around::new() },
            Around { stack, ..Around::new() },
            with(Header::new(Kind::Commit, &Around::new().stack, vec![hint(b"epoch 1")])),
            with(Header::new(Kind::Application, &Around::new().stack, vec![hint(b"epoch 2")])),
            with(Header::new(Kind::Application, &Around::new().stack, vec![])),
        ];
        for (i, other) in others.iter().enumerate() {
            let opened = other.open(&mut bob, &message);
            assert_eq!(opened, Err(LayerErrorKind::Rejected), "{mode}, {i}");
        }
        assert_eq!(Around::new().open(&mut bob, &message).unwrap(), b"text", "{mode}");
    }
}

#[test]
fn no_other_key_or_mode_opens() {
    let around = Around::new();
    for (i, (mode, pair)) in MODES.into_iter().enumerate() {
        let (mut alice, _) = pair();
        let message = around.seal(&mut alice, b"text").unwrap();
        for (j, (other, pair)) in MODES.into_iter().enumerate() {
            // Two inherited layers of one stack do have the same key.
            if i == j && mode.starts_with("inherited") {
                continue;
            }
            let mut mallory = match other {
                "password" => AesLayer::password(password("Secret")),
                _ => pair().1,
            };
            let opened = around.open(&mut mallory, &message);
            assert_eq!(opened, Err(LayerErrorKind::Rejected), "{mode} as {other}");
        }
    }
}

#[test]
fn an_inherited_key_follows_the_chain() {
    for make in [AesLayer::inherited, AesLayer::inherited_128] {
        let (mut alice, mut bob) = (make(), make());
        let epoch = |n| Around { chain: Some(chain(n)), ..Around::new() };
        let one = epoch(1).seal(&mut alice, b"one").unwrap();
        let two = epoch(2).seal(&mut alice, b"two").unwrap();
        for _ in 0..3 {
            assert_eq!(epoch(2).open(&mut bob, &two).unwrap(), b"two");
            assert_eq!(epoch(2).open(&mut bob, &one), Err(LayerErrorKind::Rejected));
            assert_eq!(epoch(1).open(&mut bob, &one).unwrap(), b"one");
            assert_eq!(epoch(1).open(&mut bob, &two), Err(LayerErrorKind::Rejected));
        }
    }
}

#[test]
fn without_a_chain_it_says_what_to_do() {
    let nothing = Around { chain: None, ..Around::new() };
    for mut layer in [AesLayer::inherited(), AesLayer::inherited_128()] {
        let error = nothing.seal(&mut layer, b"").unwrap_err();
        assert_eq!(error.kind(), LayerErrorKind::Misuse);
        let text = cc_core::error_chain(&error).to_string();
        assert!(text.contains("put a DH, Signal or MLS layer below it"), "{text}");
        assert_eq!(nothing.open(&mut layer, &[0; 100]), Err(LayerErrorKind::Misuse));
    }
}

#[test]
fn descriptors_and_properties_tell_the_modes_apart() {
    let layers = MODES.map(|(_, pair)| pair().0);
    let parameters = layers.each_ref().map(|layer| layer.descriptor().parameters);
    assert_eq!(parameters, [[1, 1], [2, 1], [1, 2], [1, 3], [2, 3]].map(Vec::from));
    let inherits = layers.each_ref().map(|layer| layer.properties().inherits);
    assert_eq!(inherits, [false, false, false, true, true]);
    for layer in &layers {
        assert_eq!((layer.descriptor().id, layer.descriptor().version), ("cc.aes", 1));
        assert!(!layer.properties().refuses_replays && !layer.properties().contributes);
        assert_eq!(layer.key_commitment().is_none(), layer.properties().inherits);
    }
}

#[test]
fn commitments_are_equal_exactly_for_equal_keys() {
    let key = AesKey::generate().unwrap();
    let a = AesLayer::new(key.duplicate()).key_commitment();
    assert_eq!(a, AesLayer::new(key).key_commitment());
    assert_ne!(a, AesLayer::generate().unwrap().key_commitment());
    let b = AesLayer::password(password("a")).key_commitment();
    assert_eq!(b, AesLayer::password(password("a")).key_commitment());
    assert_ne!(b, AesLayer::password(password("b")).key_commitment());
}

#[test]
fn debug_shows_no_secret() {
    let layers = [
        AesLayer::new(AesKey::copy_from(&[0xab; 32]).unwrap()),
        AesLayer::password(password("hunter2")),
    ];
    let shown = format!("{layers:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("171") && !shown.contains("ab, ab"));
}
