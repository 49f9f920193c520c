//! Bytes that can be had again.

use core::{cell::RefCell, marker::PhantomData};

use sha2::{Digest as _, Sha256};

std::thread_local! {
    static STREAM: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

/// SHA-256(seed || counter), block after block; each call begins with a new one.
pub(super) struct Stream {
    seed: [u8; 32],
    blocks: u64,
}

impl Stream {
    fn new(seed: &[u8], purpose: &[&[u8]]) -> Self {
        let mut hash =
            Sha256::new().chain_update(b"cascading-cipher/1 seeded random").chain_update(seed);
        for part in purpose {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self { seed: hash.finalize().into(), blocks: 0 }
    }

    /// 32 bytes of this thread's stream, if it has one.
    pub(super) fn draw() -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        fill(&mut bytes).then_some(bytes)
    }

    /// Gives this thread another stream until what comes back is dropped.
    pub(super) fn replace(seed: &[u8; 32], purpose: &[&[u8]]) -> Replaced {
        Replaced(STREAM.replace(Some(Self::new(seed, purpose))))
    }
}

/// The stream that a thread had before.
pub(super) struct Replaced(Option<Stream>);

impl Drop for Replaced {
    fn drop(&mut self) {
        STREAM.set(self.0.take());
    }
}

/// While this lives, what its thread draws comes from a seed, and is no secret. For tests alone.
///
/// Of two on one thread the later one holds, and when either is dropped the operating system's generator is
/// back.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Seeded {
    /// It is of the thread that it was made in.
    not_send: PhantomData<*const ()>,
}

impl Seeded {
    /// The same seed gives the same bytes to the same calls.
    pub fn start(seed: u64) -> Self {
        STREAM.set(Some(Stream::new(&seed.to_be_bytes(), &[])));
        Self { not_send: PhantomData }
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        STREAM.set(None);
    }
}

/// Whether there is a seed, and `bytes` are of it.
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    STREAM.with_borrow_mut(|stream| {
        let Some(stream) = stream else { return false };
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(stream.seed)
                .chain_update(stream.blocks.to_be_bytes())
                .finalize();
            stream.blocks += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::{Source, array},
        *,
    };

    fn draw() -> ([u8; 7], [u8; 80]) {
        (array().unwrap(), array().unwrap())
    }

    #[test]
    fn a_seed_gives_the_same_bytes_again_and_another_others() {
        let of = |seed| {
            let _seeded = Seeded::start(seed);
            (draw(), draw())
        };
        let (first, second) = of(1);
        assert_eq!(of(1), (first, second));
        assert_ne!(first, second);
        assert_ne!(of(2).0, first);
        assert_ne!(first.1[..32], first.1[32..64]);
    }

    #[test]
    fn without_a_seed_no_bytes_come_again() {
        assert_ne!(draw(), draw());
        let seeded = Seeded::start(1);
        let with = draw();
        drop(seeded);
        let (one, other) = (draw(), draw());
        assert!(one != other && one != with && other != with);
    }

    #[test]
    fn other_threads_are_not_seeded() {
        let _seeded = Seeded::start(1);
        let there = || thread::spawn(draw).join().unwrap();
        let (one, other) = (there(), there());
        assert_ne!(one, other);
        let here = draw();
        assert!(here != one && here != other);
    }
    #[test]
    fn work_in_other_threads_is_seeded_by_a_source_in_any_order() {
        let of = |seed, order: [&[u8]; 2]| {
            let _seeded = Seeded::start(seed);
            let source = Source::of_this_thread();
            let drawn = order.map(|purpose| {
                let work = || {
                    let drawn = source.draw_for(&[b"key", purpose], draw);
                    assert_ne!(draw(), drawn, "the thread itself is not seeded");
                    (purpose.to_vec(), drawn)
                };
                thread::scope(|scope| scope.spawn(work).join().unwrap())
            });
            (std::collections::BTreeMap::from(drawn), draw())
        };
        let first = of(1, [b"one", b"other"]);
        assert_eq!(of(1, [b"other", b"one"]), first);
        assert_ne!(of(2, [b"one", b"other"]).0, first.0);
        assert_ne!(first.0[&b"one"[..]], first.0[&b"other"[..]]);
        let unseeded = || Source::of_this_thread().draw_for(&[b"one"], draw);
        assert_ne!(unseeded(), unseeded());
    }

    #[test]
    fn a_thread_has_its_own_stream_back_after_work_for_a_source() {
        let _seeded = Seeded::start(1);
        let source = Source::of_this_thread();
        let then = draw();
        let _seeded = Seeded::start(1);
        let _source = Source::of_this_thread();
        source.draw_for(&[], draw);
        assert_eq!(draw(), then);
    }
}
