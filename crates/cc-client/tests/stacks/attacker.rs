//! Somebody with copies of all that people have, who works layer by layer.

use cc_aes_layer::AesLayer;
use cc_core::{
    Binding, Buffer, ChainSecret, CipherLayer, Contribution, Header, Hint, Kind, LayerContext,
    LayerDescriptor, Opaque, Restore, StackId,
    store::{MemoryStore, Scope, Store},
};
use cc_dh_layer::DhLayer;
use cc_mlkem_layer::MlKemLayer;
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{SignalLayer, SignalPairLayer};

use crate::world::{NAME, Shared};

/// The layers of one person, as they are in its store.
pub struct Stolen {
    pub layers: Vec<Box<dyn CipherLayer>>,
    descriptors: Vec<LayerDescriptor>,
    stack: StackId,
}

/// Makes the bytes of a layer of those that it is to seal, or none.
pub type Instead<'a> = &'a mut dyn FnMut(&LayerContext<'_>, Vec<u8>) -> Option<Vec<u8>>;

/// What goes around one message.
struct Around {
    binding: Binding,
    /// What each layer inherits, whoever contributed it.
    chains: Vec<Option<ChainSecret>>,
    header: Vec<u8>,
}

impl Stolen {
    pub fn from(store: &Shared) -> Self {
        // A copy: what happens to it happens to nobody else.
        let store: MemoryStore = store.lock().unwrap().reopened();
        let layers: Vec<_> = (0..).map_while(|slot| restore(&store, slot)).collect();
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor()).collect();
        Self { stack: StackId::of(&descriptors), layers, descriptors }
    }

    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// What the layers from the top down to `lowest` leave of `wire`, with all secrets of theirs, and with every
    /// key that is inherited.
    pub fn strip(&mut self, wire: &[u8], associated_data: &[u8], lowest: usize) -> Option<Vec<u8>> {
        let around = self.around(wire, associated_data)?;
        let body = &wire[around.header.len()..];
        self.open_through(body, &around, lowest..self.len())
    }

    /// Opens `wire` with all secrets but those of the layer at `missing`, whose bytes are guessed to be the text
    /// with `overhead` bytes around it, or to open with the layer of somebody else, which inherits what it does
    /// elsewhere.
    pub fn attack(
        &mut self,
        wire: &[u8],
        associated_data: &[u8],
        missing: usize,
        overhead: usize,
        other: &mut Stolen,
    ) -> Vec<Vec<u8>> {
        let Some(left) = self.strip(wire, associated_data, missing + 1) else { return Vec::new() };
        let around = self.around(wire, associated_data).unwrap();
        let mut guesses = Vec::new();
        if let Some(len) = left.len().checked_sub(overhead) {
            guesses.extend((0..=overhead).map(|start| left[start..start + len].to_vec()));
        }
        let mut buffer = Buffer::new(&left);
        let chains = other.own_chains();
        let layer = &mut other.layers[missing];
        let context = LayerContext { chain: chains[missing].as_ref(), ..around.context(missing) };
        if layer.open(&context, &mut buffer).is_ok() {
            guesses.push(buffer.into_vec());
        }
        layer.revert();
        let opened = guesses.iter().map(|guess| self.open_through(guess, &around, 0..missing));
        opened.flatten().collect()
    }

    /// Seals `text` with all secrets of this person; what `instead` gives takes the place of the layer at
    /// `missing`.
    pub fn forge(
        &mut self,
        text: &[u8],
        associated_data: &[u8],
        missing: Option<usize>,
        instead: Instead<'_>,
    ) -> Option<Vec<u8>> {
        let contributed: Vec<_> =
            self.layers.iter_mut().map(|layer| layer.contribute().unwrap()).collect();
        let hints = contributed.iter().zip(0..).filter_map(|(contribution, position)| {
            let value = Opaque(contribution.as_ref()?.hint.clone());
            Some(Hint { position, value })
        });
        let header = Header::new(Kind::Application, &self.stack, hints.collect());
        let around = Around {
            binding: header.binding(&self.stack, associated_data),
            chains: self.chains(contributed),
            header: header.encode().unwrap(),
        };
        let mut bytes = text.to_vec();
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let context = around.context(at);
            if missing == Some(at) {
                bytes = instead(&context, bytes)?;
                continue;
            }
            let mut buffer = Buffer::new(&bytes);
            layer.seal(&context, &mut buffer).unwrap();
            layer.apply();
            bytes = buffer.into_vec();
        }
        Some([around.header, bytes].concat())
    }

    /// What each layer inherits for a message made now.
    pub fn own_chains(&mut self) -> Vec<Option<ChainSecret>> {
        let contributed = self.layers.iter_mut().map(|layer| layer.contribute().unwrap()).collect();
        self.chains(contributed)
    }

    fn around(&mut self, wire: &[u8], associated_data: &[u8]) -> Option<Around> {
        let (header, _, len) = Header::decode(wire, &self.stack).ok()?;
        let mut contributed = Vec::new();
        for (layer, position) in self.layers.iter_mut().zip(0..) {
            contributed.push(match header.hint(position) {
                Some(hint) => {
                    let secret = layer.recall(hint).ok()?.secret;
                    Some(Contribution { hint: hint.to_vec(), secret })
                }
                None => None,
            });
        }
        Some(Around {
            binding: header.binding(&self.stack, associated_data),
            chains: self.chains(contributed),
            header: wire[..len].to_vec(),
        })
    }

    fn chains(&self, contributed: Vec<Option<Contribution>>) -> Vec<Option<ChainSecret>> {
        let mut chains = vec![None];
        for ((contribution, layer), position) in contributed.iter().zip(&self.descriptors).zip(0..)
        {
            let below: Option<&ChainSecret> = chains.last().and_then(Option::as_ref);
            let next = match contribution {
                Some(contribution) => {
                    Some(ChainSecret::extend(below, contribution, &self.stack, layer, position))
                }
                None => below.map(ChainSecret::duplicate),
            };
            chains.push(next);
        }
        chains
    }

    fn open_through(
        &mut self,
        bytes: &[u8],
        around: &Around,
        positions: std::ops::Range<usize>,
    ) -> Option<Vec<u8>> {
        let mut buffer = Buffer::new(bytes);
        for at in positions.rev() {
            let layer = &mut self.layers[at];
            let opened = layer.open(&around.context(at), &mut buffer);
            // The same bytes may be tried again.
            layer.revert();
            opened.ok()?;
        }
        Some(buffer.into_vec())
    }
}

impl Around {
    fn context(&self, at: usize) -> LayerContext<'_> {
        let position = u16::try_from(at).unwrap();
        LayerContext { binding: &self.binding, position, chain: self.chains[at].as_ref() }
    }
}

/// The layer in this slot, whatever type it is of.
fn restore(store: &MemoryStore, slot: u32) -> Option<Box<dyn CipherLayer>> {
    let scope = Scope::new("cascade").child(NAME).child("layer").indexed(slot);
    fn of<L: Restore>(store: &dyn Store, scope: &Scope) -> Option<Box<dyn CipherLayer>> {
        Some(Box::new(L::restore(&scope.of(store)).ok()?))
    }
    let types = [
        of::<DhLayer>,
        of::<MlKemLayer>,
        of::<SignalPairLayer>,
        of::<SignalLayer>,
        of::<MlsLayer>,
        of::<AesLayer>,
    ];
    types.iter().find_map(|of| of(store, &scope))
}
