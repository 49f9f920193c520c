//! The stack: sealing and opening through all layers, and keeping them together.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use cc_core::{
    Binding, Buffer, CipherLayer, Contribution, DecodeError, GroupLayer, Kind, LayerContext,
    LayerDescriptor, LayerError, LayerErrorKind, MemberId, Recalled, StackId, Standing,
    limits::MAX_MESSAGE_LEN,
};

use crate::{
    Error, LayerReport,
    agreement::{EpochCheck, agree},
    cascade::Cascade,
    composition::Composition,
    front::Front,
    layers::{LayerMut, Layers, failed},
};

/// Gives the time since some fixed moment.
pub(crate) type Clock = fn() -> Duration;

/// The layers, bottom first, and what follows from them.
pub(crate) struct Stack {
    layers: Layers,
    composition: Composition,
    /// Seconds since 1970, as the caller gives them.
    pub(crate) now: Option<u64>,
    /// What the last message took.
    room: Room,
    /// Of the last message, where no epoch may have ended since.
    cascade: Cascade,
    front: Option<Front>,
}

/// The bytes that the layers put in front of a plaintext and behind it, and those of randomness. Most stacks take as
/// many for each message, and then nothing is moved to the front when the message is done.
#[derive(Clone, Copy)]
struct Room {
    front: usize,
    back: usize,
    random: usize,
}

/// A message that all layers opened.
pub(crate) struct OpenedMessage {
    pub(crate) buffer: Buffer,
    /// Who sealed it, where a layer authenticates members.
    pub(crate) sender: Option<MemberId>,
    /// The epoch whose keys opened it, where a layer can tell.
    pub(crate) epoch: Option<u64>,
    /// The name in the sender's credential, where a layer has one.
    pub(crate) sender_name: Option<String>,
}

impl Stack {
    /// The stack of these layers, which [`attach`](Self::attach) gives their places.
    pub(crate) fn new(layers: Layers) -> Self {
        let composition = Composition::of(layers.iter());
        let room = Room { front: 256, back: 256, random: 0 };
        Self { layers, composition, now: None, room, cascade: Cascade::default(), front: None }
    }

    /// Gives each layer its place. Staged.
    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        self.composition.attach(self.layers.iter_mut())
    }

    /// The layers become those that `edit` makes of them, which have their places already.
    pub(crate) fn reshape<T>(
        &mut self,
        composition: Composition,
        edit: impl FnOnce(&mut Layers) -> T,
    ) -> T {
        self.composition = composition;
        self.cascade = Cascade::default();
        self.front = None;
        edit(&mut self.layers)
    }

    pub(crate) fn id(&self) -> &StackId {
        &self.composition.id
    }

    /// This member, where there are group layers.
    pub(crate) fn member(&self) -> Option<MemberId> {
        self.composition.member
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> impl DoubleEndedIterator<Item = LayerMut<'_>> {
        self.layers.iter_mut()
    }

    /// The layers, and what follows from them.
    pub(crate) fn parts_mut(&mut self) -> (impl Iterator<Item = LayerMut<'_>>, &Composition) {
        (self.layers.iter_mut(), &self.composition)
    }

    pub(crate) fn composition(&self) -> &Composition {
        &self.composition
    }

    pub(crate) fn descriptors(&self) -> &[LayerDescriptor] {
        &self.composition.descriptors
    }

    /// Group layers with their positions, bottom first.
    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = (u16, &dyn GroupLayer)> {
        let group = |at: u16| Some((at, self.layers.get(usize::from(at))?.group()?));
        self.positions().filter_map(group)
    }

    /// Whether the layer at `position` knows groups.
    pub(crate) fn is_group(&self, position: impl Into<usize>) -> bool {
        self.layers.get(position.into()).is_some_and(|layer| layer.group().is_some())
    }

    /// The epoch of the group, if this member is in one.
    pub(crate) fn epoch(&self) -> Option<u64> {
        // All group layers move together, so any of them can tell.
        match self.groups().next_back()?.1.standing() {
            Standing::Member { epoch } => Some(epoch),
            Standing::Outside | Standing::Removed => None,
        }
    }

    /// What a removed member says to a proposal that its keys of the past still open.
    pub(crate) fn out_of_epoch(&self, epoch: Option<u64>) -> Error {
        match self.groups().next_back() {
            Some((position, group)) => failed(position, group, LayerError::stale(epoch)),
            None => Error::NoGroupLayer,
        }
    }

    /// Calls `f` on the layer at `position` and names it in the error.
    fn call<T>(
        &mut self,
        position: u16,
        f: impl FnOnce(&mut dyn CipherLayer) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        let layer = self
            .layers
            .get_mut(usize::from(position))
            .ok_or(Error::NoSuchLayer(usize::from(position)))?;
        f(layer).map_err(|source| failed(position, layer, source))
    }

    /// Lets `f` change the layer at `position`, for which an epoch may end by that.
    pub(crate) fn change<T>(
        &mut self,
        position: u16,
        f: impl FnOnce(&mut dyn CipherLayer) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.cascade = Cascade::default();
        self.call(position, f)
    }

    /// As [`change`](Self::change), for a group layer.
    pub(crate) fn call_group<T>(
        &mut self,
        position: u16,
        f: impl FnOnce(&mut dyn GroupLayer) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.change(position, |layer| {
            f(layer.group_mut().ok_or_else(|| {
                LayerError::local(LayerErrorKind::Internal, "group() is Some and group_mut() None")
            })?)
        })
    }

    /// Finishes what is staged when it is dropped, by a panic as well: applies it where `commit` was
    /// set, and otherwise reverts it.
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

    /// The secret behind a received hint, and the epoch it is of where the layer can tell.
    pub(crate) fn recall(
        &mut self,
        position: u16,
        hint: Option<&[u8]>,
    ) -> Result<(Option<Contribution>, Option<u64>), Error> {
        self.call(position, |layer| match (layer.properties().contributes, hint) {
            (true, Some(hint)) => {
                let Recalled { secret, epoch } = layer.recall(hint)?;
                Ok((Some(Contribution { secret, hint: hint.to_vec() }), epoch))
            }
            (false, None) => Ok((None, None)),
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
        let mut cascade = core::mem::take(&mut self.cascade).begin();
        for position in self.positions() {
            let contribution = self.contribute(position)?;
            cascade.next_layer(&self.composition, position, contribution);
        }
        let front = match self.front.take() {
            Some(front) if front.is_for(kind, &cascade) => front,
            _ => Front::new(kind, self.id(), &cascade)?,
        };
        let binding = front.binding(self.id(), associated_data);
        let mut buffer = Buffer::with_room(plaintext, self.room.front, self.room.back)
            .expecting_random(self.room.random);
        let mut lap = reports.lap();
        for position in self.positions() {
            let before = buffer.len();
            let context = context(&binding, position, &cascade);
            self.call(position, |layer| layer.seal(&context, &mut buffer))?;
            lap = reports.passed(position, lap, before, buffer.len());
        }
        buffer.prepend(front.encoded());
        self.front = Some(front);
        self.cascade = cascade;
        if buffer.len() > MAX_MESSAGE_LEN {
            return Err(DecodeError::TooLong.into());
        }
        let back = buffer.len().saturating_sub(buffer.prepended() + plaintext.len());
        let (front, random) = (buffer.room_taken(), buffer.taken_random());
        self.room = Room { front, back, random };
        Ok(buffer.into_vec())
    }

    /// Opens `wire`, a message of this kind, through all layers. Staged.
    ///
    /// # Errors
    /// [`Error::Disagreement`] where layers name two epochs or two senders. For commits and proposals,
    /// [`Error::StaleEpoch`] and [`Error::EarlyEpoch`] where they were not sealed under the present
    /// keys, [`Error::EpochUnknown`] where no layer can tell.
    pub(crate) fn open(
        &mut self,
        kind: Kind,
        wire: &[u8],
        associated_data: &[u8],
        reports: &mut Reports,
    ) -> Result<OpenedMessage, Error> {
        let front = match self.front.take() {
            Some(front) if front.is_of(kind, wire) => front,
            _ => Front::decode(kind, wire, self.id())?,
        };
        reports.start(self);
        let mut epoch = EpochCheck::new(kind, || self.epoch());
        let mut cascade = core::mem::take(&mut self.cascade).begin();
        let mut hints = 0;
        for position in self.positions() {
            let hint = front.hint(position);
            hints += usize::from(hint.is_some());
            let (contribution, of) = self.recall(position, hint)?;
            epoch.add(of)?;
            cascade.next_layer(&self.composition, position, contribution);
        }
        if hints != front.hint_count() {
            // A hint for a position that this stack does not have.
            return Err(DecodeError::Malformed.into());
        }
        let binding = front.binding(self.id(), associated_data);
        let body = wire.get(front.encoded().len()..).ok_or(DecodeError::Malformed)?;
        let mut buffer = Buffer::with_room(body, 0, 0);
        let (mut sender, mut sender_name) = (None, None);
        let mut lap = reports.lap();
        for position in self.positions().rev() {
            let before = buffer.len();
            let context = context(&binding, position, &cascade);
            let opened = self.call(position, |layer| layer.open(&context, &mut buffer))?;
            lap = reports.passed(position, lap, before, buffer.len());
            epoch.add(opened.epoch)?;
            agree(&mut sender, opened.sender)?;
            sender_name = sender_name.or(opened.sender_name);
        }
        self.front = Some(front);
        self.cascade = cascade;
        Ok(OpenedMessage { buffer, sender, epoch: epoch.finish()?, sender_name })
    }

    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = u16> + use<> {
        0..u16::try_from(self.layers.len()).unwrap_or(u16::MAX)
    }
}

/// See [`Stack::transaction`].
pub(crate) struct Transaction<'a> {
    pub(crate) stack: &'a mut Stack,
    pub(crate) commit: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.stack.layers.finish(self.commit);
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
        let layers = stack.layers.iter().zip(stack.descriptors()).enumerate();
        self.layers.extend(layers.map(|(position, (layer, descriptor))| LayerReport {
            position,
            name: layer.properties().name,
            version: descriptor.version,
            bytes_in: 0,
            bytes_out: 0,
            elapsed: self.clock.map(|_| Duration::ZERO),
        }));
    }

    /// The layer at `position` made so many bytes of so many, in the time since `since`; the time now, at
    /// which the next layer begins.
    fn passed(
        &mut self,
        position: u16,
        since: Option<Duration>,
        bytes_in: usize,
        bytes_out: usize,
    ) -> Option<Duration> {
        let now = self.lap();
        if let Some(report) = self.layers.get_mut(usize::from(position)) {
            report.bytes_in = bytes_in;
            report.bytes_out = bytes_out;
            report.elapsed = now.zip(since).map(|(now, since)| now.saturating_sub(since));
        }
        now
    }

    /// The time now, where there is a clock.
    fn lap(&self) -> Option<Duration> {
        self.clock.map(|clock| clock())
    }
}

#[cfg(test)]
mod tests;
