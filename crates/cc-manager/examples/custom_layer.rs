//! A layer of one's own: ChaCha20-Poly1305 under a key that is inherited from the layers below.
//!
//! `cargo run --release -p cc-manager --example custom_layer`

use cc_core::{
    Buffer, CipherLayer, LayerContext, LayerDescriptor, LayerError, Opened, Properties, Secret,
    random,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::CascadingCipherManager;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Tag,
    aead::{AeadInOut, inout::InOutBuf},
};

struct ChaChaLayer;

impl ChaChaLayer {
    /// A key for one message: a random salt of 32 bytes never repeats, so the nonce may be constant.
    fn cipher(context: &LayerContext<'_>, salt: &[u8; 32]) -> Result<ChaCha20Poly1305, LayerError> {
        let chain =
            context.chain.ok_or_else(|| LayerError::misuse("put a contributing layer below"))?;
        let key: Secret<32> = chain.derive(context.position, salt);
        Ok(ChaCha20Poly1305::new(key.expose().into()))
    }
}

impl CipherLayer for ChaChaLayer {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "example.chacha20poly1305", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties { inherits: true, ..Properties::plain("ChaCha20-Poly1305") }
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        let salt = random::array::<32>()?;
        let content = InOutBuf::from(buffer.as_mut_slice());
        let tag = Self::cipher(context, &salt)?
            .encrypt_inout_detached(&[0; 12].into(), &context.associated_data(), content)
            .map_err(|_| LayerError::misuse("ChaCha20-Poly1305 takes at most 256 GiB"))?;
        buffer.prepend(&salt);
        buffer.append(&tag);
        Ok(())
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        let salt = buffer.take_front::<32>().ok_or(LayerError::rejected())?;
        let tag = Tag::from(buffer.take_back::<16>().ok_or(LayerError::rejected())?);
        let content = InOutBuf::from(buffer.as_mut_slice());
        Self::cipher(context, &salt)?
            .decrypt_inout_detached(&[0; 12].into(), &context.associated_data(), content, &tag)
            .map_err(|_| LayerError::rejected())?;
        Ok(Opened::default())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (alice, bob) = (DhKeyPair::generate(Curve::X25519)?, DhKeyPair::generate(Curve::X25519)?);
    let (of_alice, of_bob) = (*alice.public_key(), *bob.public_key());
    let stack = |keys, peer| -> Result<_, Box<dyn std::error::Error>> {
        let dh = DhLayer::pairwise(keys, peer)?;
        Ok(CascadingCipherManager::builder().layer(dh).layer(ChaChaLayer).build()?)
    };
    let (mut alice, mut bob) = (stack(alice, of_bob)?, stack(bob, of_alice)?);
    let wire = alice.encrypt("a layer of one's own")?;
    println!(
        "{}{} bytes on the wire: {:?}",
        bob.stack_report(),
        wire.len(),
        bob.decrypt(&wire)?.as_str()
    );
    Ok(())
}
