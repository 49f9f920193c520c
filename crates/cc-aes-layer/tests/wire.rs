//! The bytes on the wire, against vectors that were computed with pyca/cryptography 48 from the
//! descriptions in the documentation. A change here breaks every message that was ever stored.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cc_aes_layer::{AesKey, AesLayer, Argon2Params, Password, StreamKey, decrypt_stream};
use cc_core::{
    Buffer, ChainSecret, CipherLayer, Contribution, Header, Hint, Kind, LayerContext,
    LayerDescriptor, Secret, StackId,
};

const ASSOCIATED_DATA: &[u8] = b"associated data";
const PLAINTEXT: &[u8] = b"attack at dawn";

const AES256: &str = "6465666768696a6b6c6d6e6f707172737475767778797a7ba3b1aafdd8ed934c4013a9ae790a9fcd\
     a3e0fe8261786faae2f29ea37a37";
const AES128: &str = "6465666768696a6b6c6d6e6f707172737475767778797a7b2e6c61b8e0693c21fed370a48f4db81b\
     23cf6be36b917da74e5748105b13";
const PASSWORD: &str = "32333435363738393a3b3c3d3e3f404100004c00020141274cb7cd00413f40c5f257a7416a03251a\
     6a419dc216423dee3bbe1f0ae2726465666768696a6b6c6d6e6f707172737475767778797a7b18d4\
     a6cab03a9ab8dc99a3816f1c091c3ff2e5aef9a1a8334e90cf814e1c";
const INHERITED_AES256: &str = "6465666768696a6b6c6d6e6f707172737475767778797a7be785aeebfd1aa257013c6a88bdd2138e\
     be1876944ac780d958669ccee92d";
const INHERITED_AES128: &str = "6465666768696a6b6c6d6e6f707172737475767778797a7b3aaf6fb8fdfcfba0683b04d1f8128e1c\
     40198341e542d6a98294cb099e32";
const STREAM_AES256: &str = "0101c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e746b4e855cd1f\
     1c926ed5afc4c6d0cdfd46850449d5c3673e4704fab49332ecd50f2f00c1cb776ee280ca9a0f374a\
     32acdb365c06b90d5128f2c15b0c1f0e";
const STREAM_AES128: &str = "0102c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7f7c59b0f69c1\
     99fd9714400b7c5d376dbccad57d440a2d68aef93c1dc4c2460ef4f44df484fc16d368f72dabeee3\
     12e0214532e3d96d7501782f30f91fb3";
const STREAM_PASSWORD: &str = "010332333435363738393a3b3c3d3e3f404100004c00020141274cb7cd00413f40c5f257a7416a03\
     251a6a419dc216423dee3bbe1f0ae272c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
     e0e1e2e3e4e5e6e79b57d67b9a71375cd195254f380b4ffb622dbd2f1c22d723bcd613e400ac57fa\
     99e39add3bbbf4a2c511415e04efd94243cebb40cd2d15e1408a90696fb7";
const STREAM_EMPTY: &str = "0101c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e746b4e855cd1f\
     1c926ed5afc4c6d0cdfd46850449d5c3673e4704fab49332ecd500ded391c46c3a7c3c23b4300dca\
     aba3";

fn key<const N: u8>() -> AesKey {
    AesKey::copy_from(&(0..N).collect::<Vec<_>>()).unwrap()
}

fn password() -> Password {
    Password::new("correct horse battery staple").unwrap().with_params(Argon2Params::LEAST)
}

#[test]
fn messages() {
    let bytes = |hex| hex::decode(hex).unwrap();
    assert_eq!(key::<32>().open(ASSOCIATED_DATA, &bytes(AES256)).unwrap(), PLAINTEXT);
    assert_eq!(key::<16>().open(ASSOCIATED_DATA, &bytes(AES128)).unwrap(), PLAINTEXT);
    assert_eq!(password().open(ASSOCIATED_DATA, &bytes(PASSWORD)).unwrap(), PLAINTEXT);
}

#[test]
fn inherited_messages() {
    for (mut layer, message) in
        [(AesLayer::inherited(), INHERITED_AES256), (AesLayer::inherited_128(), INHERITED_AES128)]
    {
        let below = LayerDescriptor { id: "below", version: 1, parameters: vec![] };
        let stack = StackId::of(&[below.clone(), layer.descriptor()]);
        let secret = Secret::copy_from(&[9; 32]).unwrap();
        let contribution = Contribution { hint: vec![1], secret };
        let chain = ChainSecret::extend(None, &contribution, &stack, &below, 0);
        let hint = Hint { position: 0, value: (&[1][..]).into() };
        let header = Header::new(Kind::Application, &stack, vec![hint]);
        let binding = header.binding(&stack, ASSOCIATED_DATA);
        let context = LayerContext { binding: &binding, position: 1, chain: Some(&chain) };
        let mut buffer = Buffer::new(&hex::decode(message).unwrap());
        layer.open(&context, &mut buffer).unwrap();
        assert_eq!(buffer.as_slice(), PLAINTEXT);
    }
}

#[test]
fn streams() {
    fn open<'k>(key: impl Into<StreamKey<'k>>, sealed: &str) -> Vec<u8> {
        let mut plaintext = vec![];
        let sealed = hex::decode(sealed).unwrap();
        decrypt_stream(key, ASSOCIATED_DATA, &sealed[..], &mut plaintext).unwrap();
        plaintext
    }
    assert_eq!(open(&key::<32>(), STREAM_AES256), PLAINTEXT);
    assert_eq!(open(&key::<16>(), STREAM_AES128), PLAINTEXT);
    assert_eq!(open(&mut password(), STREAM_PASSWORD), PLAINTEXT);
    assert_eq!(open(&key::<32>(), STREAM_EMPTY), b"");
}
