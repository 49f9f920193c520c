//! The epochs that a side knows.

use alloc::{sync::Arc, vec::Vec};

use cc_core::LayerError;

use super::{
    DEFAULT_PAST_EPOCHS, MAX_UNCONFIRMED_EPOCHS, Pair, Role, Schedule,
    epoch::{Agreement, Answered, EpochSecrets, OwnEpoch, PeerEpoch},
    header::{self, Front, Header},
    schedule::Progress,
};
use crate::HybridPublicKey;

/// What changes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The epoch that this side sends in.
    pub(crate) present: Arc<OwnEpoch>,
    /// The header that began it.
    pub(crate) header: Arc<[u8]>,
    /// The epochs of this side before it, oldest first.
    pub(crate) earlier: Vec<Arc<OwnEpoch>>,
    /// The latest of them that the other side is known to have; 0 for none.
    pub(crate) confirmed: u64,
    /// The other side's epochs that were received, by number.
    pub(crate) receiving: Vec<Arc<PeerEpoch>>,
    /// What the other side's latest one announced: where the next epoch of this side goes.
    pub(crate) peer_key: Option<HybridPublicKey>,
    pub(crate) past: usize,
    pub(crate) schedule: Schedule,
    pub(crate) progress: Progress,
}

/// The epoch of a message that was received.
pub(crate) enum Received {
    Known(Arc<PeerEpoch>),
    New { epoch: PeerEpoch, key: HybridPublicKey },
}

impl Received {
    pub(crate) fn secrets(&self) -> &EpochSecrets {
        match self {
            Self::Known(epoch) => &epoch.secrets,
            Self::New { epoch, .. } => &epoch.secrets,
        }
    }
}

impl State {
    pub(crate) fn new(
        (first, header): (OwnEpoch, Vec<u8>),
        received: Option<(PeerEpoch, HybridPublicKey)>,
        confirmed: u64,
    ) -> Self {
        let (epoch, peer_key) = received.unzip();
        Self {
            present: Arc::new(first),
            header: header.into(),
            earlier: Vec::new(),
            confirmed,
            receiving: epoch.into_iter().map(Arc::new).collect(),
            peer_key,
            past: DEFAULT_PAST_EPOCHS,
            schedule: Schedule::default(),
            progress: Progress::default(),
        }
    }

    /// The epochs of this side that are kept, oldest first. As long as nothing was received, the first is
    /// the setup.
    pub(crate) fn own_epochs(&self) -> impl DoubleEndedIterator<Item = &Arc<OwnEpoch>> {
        self.earlier.iter().chain([&self.present])
    }

    pub(crate) fn own(&self, number: u64) -> Option<&OwnEpoch> {
        self.own_epochs().find(|epoch| epoch.number == number).map(AsRef::as_ref)
    }

    pub(crate) fn peers(&self, number: u64) -> Option<&Arc<PeerEpoch>> {
        self.receiving.iter().find(|epoch| epoch.number == number)
    }

    /// The latest epoch of the other side; 0 for none.
    pub(crate) fn received(&self) -> u64 {
        self.receiving.last().map_or(0, |epoch| epoch.number)
    }

    /// Whether the other side is known to have the present epoch.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed >= self.present.number
    }

    /// Whether the next message begins a new epoch.
    pub(crate) fn is_due(&self) -> bool {
        let unconfirmed = self.own_epochs().filter(|epoch| epoch.number > self.confirmed);
        let allowed =
            u64::try_from(unconfirmed.count()).is_ok_and(|it| it < MAX_UNCONFIRMED_EPOCHS);
        // The first epoch of who began goes to a long-lived key: the first answer ends it.
        let unanswered = self.present.keys.is_none() && !self.receiving.is_empty();
        allowed && (unanswered || self.progress.is_over(self.schedule))
    }

    /// Where the next epoch of this side goes.
    pub(crate) fn agreement<'a>(&'a self, pair: &'a Pair) -> Agreement<'a> {
        match (self.receiving.last(), &self.peer_key) {
            (Some(epoch), Some(key)) => {
                Agreement { answers: epoch.number, base: &epoch.secrets.chain, key }
            }
            _ => {
                let setup = self.earlier.first().unwrap_or(&self.present);
                Agreement { answers: 0, base: &setup.secrets.chain, key: &pair.peer }
            }
        }
    }

    pub(crate) fn begin(&mut self, (epoch, header): (OwnEpoch, Vec<u8>)) {
        let over = core::mem::replace(&mut self.present, Arc::new(epoch));
        self.earlier.push(over);
        self.header = header.into();
        self.progress = self.progress.next();
    }

    pub(crate) fn count(&mut self) {
        self.progress.sent = self.progress.sent.saturating_add(1);
    }

    pub(crate) fn set_past(&mut self, past: usize) {
        self.past = past;
        self.forget();
    }

    /// The epoch of a message. Nothing is authenticated before the message opens.
    pub(crate) fn receive(&self, pair: &Pair, front: &Front<'_>) -> Result<Received, LayerError> {
        let known = self.peers(front.number);
        let Some(header) = front.header else {
            return match known {
                Some(epoch) => Ok(Received::Known(Arc::clone(epoch))),
                // An earlier message has its header.
                None if front.number > self.received() => Err(LayerError::early(None)),
                None => Err(LayerError::stale(None)),
            };
        };
        // A side that went back to an old copy of its state may begin an epoch of the same number again.
        if let Some(epoch) = known.filter(|known| known.digest == header::digest(header)) {
            return Ok(Received::Known(Arc::clone(epoch)));
        }
        let header = Header::parse(pair, front.number, header)?;
        let later = self.receiving.iter().filter(|epoch| epoch.number > front.number);
        if known.is_none() && later.count() > self.past {
            return Err(LayerError::stale(None));
        }
        let answered = match header.answers {
            // Who began, and has received nothing yet. What has the setup below it comes from who made that.
            0 if pair.role == Role::Acceptor && front.number > 1 => {
                let setup = self.peers(1).ok_or(LayerError::stale(None))?;
                Answered { base: &setup.secrets.chain, keys: &pair.keys }
            }
            0 => return Err(LayerError::rejected()),
            number => match self.own(number) {
                Some(epoch) => Answered {
                    base: &epoch.secrets.chain,
                    keys: epoch.keys.as_ref().unwrap_or(&pair.keys),
                },
                None if number > self.present.number => return Err(LayerError::rejected()),
                None => return Err(LayerError::stale(None)),
            },
        };
        let epoch = PeerEpoch::open(pair, front.number, &header, &answered)?;
        Ok(Received::New { epoch, key: header.announced(pair) })
    }

    /// The state once a message of this epoch has opened, whose sender has this side's epoch `confirmed`;
    /// `None` where it is the same.
    pub(crate) fn after(&self, received: Received, confirmed: u64) -> Option<Self> {
        let is_known = matches!(received, Received::Known(_));
        if is_known && confirmed <= self.confirmed {
            return None;
        }
        let mut state = self.clone();
        state.confirmed = state.confirmed.max(confirmed);
        if let Received::New { epoch, key } = received {
            if epoch.number >= self.received() {
                state.peer_key = Some(key);
            }
            state.receiving.retain(|known| known.number != epoch.number);
            let at = state.receiving.partition_point(|known| known.number < epoch.number);
            state.receiving.insert(at, Arc::new(epoch));
        }
        state.forget();
        Some(state)
    }

    /// Keeps what late messages need, within the window.
    fn forget(&mut self) {
        let past = u64::try_from(self.past).unwrap_or(u64::MAX);
        let oldest = self.confirmed.saturating_sub(past);
        self.earlier.retain(|epoch| epoch.number >= oldest);
        // As long as the other side has received nothing, it contributes the setup.
        let is_unanswered = |epoch: &Arc<PeerEpoch>| epoch.answers == 0;
        let surplus = self.receiving.len().saturating_sub(self.past + 1);
        let mut index = 0;
        let keeps_setup = self.receiving.iter().skip(surplus).any(is_unanswered);
        self.receiving.retain(|epoch| {
            index += 1;
            index > surplus || (keeps_setup && epoch.number == 1)
        });
    }
}
