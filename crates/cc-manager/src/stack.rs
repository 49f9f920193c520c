//! The stack: sealing and opening through all layers, and keeping them together.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use cc_core::{
    Attachment, Binding, Buffer, ChainSecret, CipherLayer, Contribution, DecodeError, GroupLayer,
    Header, Hint, Kind, LayerContext, LayerDescriptor, LayerError, LayerErrorKind, MemberId,
    Opaque, StackId, limits::MAX_MESSAGE_LEN,
};

use crate::{Error, LayerReport};

/// Gives the time since some fixed moment.
pub(crate) type Clock = fn() -> Duration;

/// The layers, bottom first, and what follows from them.
pub(crate) struct Stack {
    layers: Vec<Box<dyn CipherLayer>>,
    descriptors: Vec<LayerDescriptor>,
    id: StackId,
    member: Option<MemberId>,
}

/// The chain secrets of one message or change: what each layer inherits.
#[derive(Default)]
pub(crate) struct Cascade {
    secrets: Vec<ChainSecret>,
    /// For each position passed, how many of `secrets` lie below it.
    below: Vec<usize>,
}

impl Cascade {
    /// What the layer that is passed next inherits.
    pub(crate) fn top(&self) -> Option<&ChainSecret> {
        self.secrets.last()
    }

    /// What the layer at `position` inherits.
    fn at(&self, position: usize) -> Option<&ChainSecret> {
        let below = self.below.get(position)?;
        self.secrets.get(below.checked_sub(1)?)
    }

    /// Passes the layer at `position`.
    pub(crate) fn next_layer(
        &mut self,
        stack: &Stack,
        position: u16,
        contribution: Option<&Contribution>,
    ) {
        self.below.push(self.secrets.len());
        let Some((contribution, descriptor)) =
            contribution.zip(stack.descriptors.get(usize::from(position)))
        else {
            return;
        };
        let next = ChainSecret::extend(self.top(), contribution, &stack.id, descriptor, position);
        self.secrets.push(next);
    }
}

impl Stack {
    /// The stack of these layers, which [`attach`](Self::attach) gives their places.
    pub(crate) fn of(layers: Vec<Box<dyn CipherLayer>>) -> Self {
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor()).collect();
        let commitments: Vec<_> = layers
            .iter()
            .zip(&descriptors)
            .filter_map(|(layer, descriptor)| Some((descriptor, layer.group()?.commitment())))
            .collect();
        let member = (!commitments.is_empty()).then(|| MemberId::of(commitments));
        let id = StackId::of(&descriptors);
        Self { layers, descriptors, id, member }
    }

    /// Gives each layer its place. Staged.
    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        let (stack, member) = (self.id, self.member);
        let founding = self.groups().any(|(_, group)| group.founds());
        self.positions().try_for_each(|position| {
            let place = Attachment { stack, position, member, founding };
            self.call(position, |layer| layer.attach(&place))
        })
    }

    pub(crate) fn id(&self) -> &StackId {
        &self.id
    }

    /// This member, where there are group layers.
    pub(crate) fn member(&self) -> Option<MemberId> {
        self.member
    }

    pub(crate) fn layers(&self) -> &[Box<dyn CipherLayer>] {
        &self.layers
    }

    pub(crate) fn layer_mut(&mut self, position: usize) -> Option<&mut dyn CipherLayer> {
        Some(self.layers.get_mut(position)?.as_mut())
    }

    pub(crate) fn into_layers(self) -> Vec<Box<dyn CipherLayer>> {
        self.layers
    }

    pub(crate) fn descriptors(&self) -> &[LayerDescriptor] {
        &self.descriptors
    }

    /// Group layers with their positions, bottom first.
    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = (u16, &dyn GroupLayer)> {
        self.layers
            .iter()
            .enumerate()
            .filter_map(|(position, layer)| Some((u16::try_from(position).ok()?, layer.group()?)))
    }

    /// Whether the layer at `position` knows groups.
    pub(crate) fn is_group(&self, position: impl Into<usize>) -> bool {
        self.layers.get(position.into()).is_some_and(|layer| layer.group().is_some())
    }

    /// Calls `f` on the layer at `position` and names it in the error.
    pub(crate) fn call<T>(
        &mut self,
        position: u16,
        f: impl FnOnce(&mut dyn CipherLayer) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        let layer = self
            .layers
            .get_mut(usize::from(position))
            .ok_or(Error::NoSuchLayer(usize::from(position)))?;
        f(layer.as_mut()).map_err(|source| failed(position, layer.as_ref(), source))
    }

    /// Calls `f` on the group layer at `position`.
    pub(crate) fn call_group<T>(
        &mut self,
        position: u16,
        f: impl FnOnce(&mut dyn GroupLayer) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.call(position, |layer| {
            f(layer.group_mut().ok_or_else(|| {
                LayerError::local(LayerErrorKind::Internal, "group() is Some and group_mut() None")
            })?)
        })
    }

    /// Ends what is staged when it is dropped, also by a panic of whoever is asked: kept where the
    /// answer was yes, and otherwise not.
    pub(crate) fn transaction(&mut self) -> Transaction<'_> {
        Transaction { stack: self, commit: false }
    }

    /// What the layer at `position` contributes to a message or change made now.
    ///
    /// # Errors
    /// A layer that says it contributes does so each time, and one that does not, never: the receiver
    /// could not tell a hint that was taken away.
    pub(crate) fn contribute(&mut self, position: u16) -> Result<Option<Contribution>, Error> {
        self.call(position, |layer| {
            let contribution = layer.contribute()?;
            check_contribution(layer, contribution)
        })
    }

    /// The secret behind a received hint.
    pub(crate) fn recall(
        &mut self,
        position: u16,
        hint: Option<&[u8]>,
    ) -> Result<Option<Contribution>, Error> {
        self.call(position, |layer| match (layer.properties().contributes, hint) {
            (true, Some(hint)) => {
                Ok(Some(Contribution { secret: layer.recall(hint)?.secret, hint: hint.to_vec() }))
            }
            (false, None) => Ok(None),
            _ => Err(LayerError::rejected()),
        })
    }

    /// Seals `plaintext` through all layers. Staged.
    pub(crate) fn seal(
        &mut self,
        kind: Kind,
        plaintext: &[u8],
        associated_data: &[u8],
        reports: &mut Reports,
    ) -> Result<Vec<u8>, Error> {
        if plaintext.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLong.into());
        }
        reports.start(self);
        let mut cascade = Cascade::default();
        let mut hints = Vec::new();
        for position in self.positions() {
            let contribution = reports.time(position, || self.contribute(position))?;
            cascade.next_layer(self, position, contribution.as_ref());
            if let Some(contribution) = contribution {
                hints.push(Hint { position, value: Opaque(contribution.hint) });
            }
        }
        let header = Header::new(kind, &self.id, hints);
        let encoded = header.encode()?;
        let binding = header.binding(&self.id, associated_data);
        let mut buffer = Buffer::new(plaintext);
        for position in self.positions() {
            let before = buffer.len();
            let context = context(&binding, position, &cascade);
            reports.time(position, || {
                self.call(position, |layer| layer.seal(&context, &mut buffer))
            })?;
            reports.size(position, before, buffer.len());
        }
        buffer.prepend(&encoded);
        if buffer.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLong.into());
        }
        Ok(buffer.into_vec())
    }

    /// Opens `wire`, a message of this kind, through all layers. Staged.
    pub(crate) fn open(
        &mut self,
        kind: Kind,
        wire: &[u8],
        associated_data: &[u8],
        reports: &mut Reports,
    ) -> Result<(Buffer, Option<MemberId>), Error> {
        let (header, found, header_len) = Header::decode(wire, &self.id)?;
        if found != kind {
            return Err(DecodeError::Kind(found).into());
        }
        reports.start(self);
        let mut cascade = Cascade::default();
        let mut hints = 0;
        for position in self.positions() {
            let hint = header.hint(position);
            hints += usize::from(hint.is_some());
            let contribution = reports.time(position, || self.recall(position, hint))?;
            cascade.next_layer(self, position, contribution.as_ref());
        }
        if hints != header.hint_count() {
            // A hint for a position that this stack does not have.
            return Err(DecodeError::Malformed.into());
        }
        let binding = header.binding(&self.id, associated_data);
        let mut buffer = Buffer::new(wire.get(header_len..).unwrap_or_default());
        let mut sender = None;
        for position in self.positions().rev() {
            let before = buffer.len();
            let context = context(&binding, position, &cascade);
            let opened = reports.time(position, || {
                self.call(position, |layer| layer.open(&context, &mut buffer))
            })?;
            reports.size(position, before, buffer.len());
            agree(&mut sender, opened.sender)?;
        }
        Ok((buffer, sender))
    }

    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = u16> + use<> {
        0..u16::try_from(self.layers.len()).unwrap_or(u16::MAX)
    }
}

/// See [`Stack::end`].
pub(crate) struct Transaction<'a> {
    pub(crate) stack: &'a mut Stack,
    pub(crate) commit: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        for layer in &mut self.stack.layers {
            if self.commit {
                layer.apply();
            } else {
                layer.revert();
            }
        }
    }
}

/// Takes over what one more layer says of the sender; two layers must not name two members.
pub(crate) fn agree(known: &mut Option<MemberId>, says: Option<MemberId>) -> Result<(), Error> {
    match (*known, says) {
        (Some(a), Some(b)) if a != b => Err(Error::Disagreement),
        (None, _) => {
            *known = says;
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_contribution(
    layer: &dyn CipherLayer,
    contribution: Option<Contribution>,
) -> Result<Option<Contribution>, LayerError> {
    if contribution.is_some() == layer.properties().contributes {
        return Ok(contribution);
    }
    Err(LayerError::local(
        LayerErrorKind::Internal,
        "the layer's properties do not tell whether it contributes",
    ))
}

fn context<'a>(binding: &'a Binding, position: u16, cascade: &'a Cascade) -> LayerContext<'a> {
    LayerContext { binding, position, chain: cascade.at(usize::from(position)) }
}

/// The error of the layer at `position`.
pub(crate) fn failed(position: u16, layer: &dyn CipherLayer, source: LayerError) -> Error {
    Error::Layer { position: usize::from(position), layer: layer.properties().name, source }
}

/// The reports of one message.
pub(crate) struct Reports {
    clock: Option<Clock>,
    layers: Vec<LayerReport>,
}

impl Reports {
    pub(crate) const fn new(clock: Option<Clock>) -> Self {
        Self { clock, layers: Vec::new() }
    }

    pub(crate) fn layers(&self) -> &[LayerReport] {
        &self.layers
    }

    fn start(&mut self, stack: &Stack) {
        self.layers.clear();
        let layers = stack.layers.iter().zip(&stack.descriptors).enumerate();
        self.layers.extend(layers.map(|(position, (layer, descriptor))| LayerReport {
            position,
            name: layer.properties().name,
            version: descriptor.version,
            bytes_in: 0,
            bytes_out: 0,
            elapsed: self.clock.map(|_| Duration::ZERO),
        }));
    }

    fn time<T>(&mut self, position: u16, f: impl FnOnce() -> T) -> T {
        let start = self.clock.map(|clock| clock());
        let result = f();
        if let (Some(clock), Some(start)) = (self.clock, start)
            && let Some(report) = self.layers.get_mut(usize::from(position))
        {
            let spent = clock().saturating_sub(start);
            report.elapsed = Some(report.elapsed.unwrap_or_default() + spent);
        }
        result
    }

    fn size(&mut self, position: u16, bytes_in: usize, bytes_out: usize) {
        if let Some(report) = self.layers.get_mut(usize::from(position)) {
            report.bytes_in = bytes_in;
            report.bytes_out = bytes_out;
        }
    }
}
