//! A layer that contributes nothing: a wrapper that, from when it is told so, leaves the text as it is and adds as
//! many bytes as the layer within would. It shows that the attacks of these tests find such a layer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, GroupLayer, Initiated, LayerContext,
    LayerDescriptor, LayerError, Opened, PairKeys, PairKeysOf, Properties, Recalled, Secret,
    store::ScopeWriter,
};

pub struct Hollow {
    pub inner: Box<dyn CipherLayer>,
    pub hollow: Switch,
}

/// Whether the layer is hollow from now on.
pub type Switch = Arc<AtomicBool>;

impl CipherLayer for Hollow {
    fn descriptor(&self) -> LayerDescriptor {
        self.inner.descriptor()
    }

    fn properties(&self) -> Properties {
        self.inner.properties()
    }

    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        self.inner.attach(place)
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        self.inner.contribute()
    }

    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        self.inner.recall(hint)
    }

    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError> {
        if !self.hollow.load(Ordering::Relaxed) {
            return self.inner.seal(context, buffer);
        }
        let mut sealed = Buffer::new(buffer.as_slice());
        self.inner.seal(context, &mut sealed)?;
        buffer.prepend(&framing(sealed.len() - buffer.len()));
        Ok(())
    }

    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError> {
        if !self.hollow.load(Ordering::Relaxed) {
            return self.inner.open(context, buffer);
        }
        let len = buffer.as_slice().first_chunk().map_or(0, |len| u32::from_be_bytes(*len));
        if len < 4 || !buffer.drop_front(usize::try_from(len).unwrap()) {
            return Err(LayerError::rejected());
        }
        Ok(Opened::default())
    }

    fn apply(&mut self) {
        self.inner.apply();
    }

    fn revert(&mut self) {
        self.inner.revert();
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.inner.save(to)
    }

    fn key_commitment(&self) -> Option<Secret<32>> {
        self.inner.key_commitment()
    }

    fn group(&self) -> Option<&dyn GroupLayer> {
        self.inner.group()
    }

    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        self.inner.group_mut()
    }
}

/// What a hollow layer puts in front: `len` bytes.
pub fn framing(len: usize) -> Vec<u8> {
    let mut framing = vec![0; len];
    framing[..4].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
    framing
}

/// The same for the layers that are made of these keys.
pub struct HollowKeys {
    pub inner: Box<dyn PairKeys>,
    pub hollow: Switch,
}

impl PairKeys for HollowKeys {
    fn descriptor(&self) -> LayerDescriptor {
        self.inner.descriptor()
    }

    fn identity(&self) -> Vec<u8> {
        self.inner.identity()
    }

    fn commitment(&self, identity: &[u8]) -> Result<Option<[u8; 32]>, LayerError> {
        self.inner.commitment(identity)
    }

    fn prekeys(&mut self, one_time: bool) -> Result<Vec<u8>, LayerError> {
        self.inner.prekeys(one_time)
    }

    fn sign(&self, bundle: &[u8; 32]) -> Result<Option<Vec<u8>>, LayerError> {
        self.inner.sign(bundle)
    }

    fn verify(
        &self,
        identity: &[u8],
        bundle: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, LayerError> {
        self.inner.verify(identity, bundle, signature)
    }

    fn initiate(&mut self, bundle: &PairKeysOf<'_>) -> Result<Initiated, LayerError> {
        let Initiated { layer, setup } = self.inner.initiate(bundle)?;
        Ok(Initiated {
            layer: Box::new(Hollow { inner: layer, hollow: Arc::clone(&self.hollow) }),
            setup,
        })
    }

    fn accept(&mut self, peer: &PairKeysOf<'_>) -> Result<Box<dyn CipherLayer>, LayerError> {
        let inner = self.inner.accept(peer)?;
        Ok(Box::new(Hollow { inner, hollow: Arc::clone(&self.hollow) }))
    }

    fn apply(&mut self) {
        self.inner.apply();
    }

    fn revert(&mut self) {
        self.inner.revert();
    }

    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        self.inner.save(to)
    }
}
