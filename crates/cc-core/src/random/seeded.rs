//! Bytes that can be had again.

use core::{cell::RefCell, marker::PhantomData};

use sha2::{Digest as _, Sha256};

std::thread_local! {
    static STREAM: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

/// SHA-256(seed || counter), block after block; each call begins with a new one.
struct Stream {
    seed: u64,
    blocks: u64,
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
        STREAM.set(Some(Stream { seed, blocks: 0 }));
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
                .chain_update(b"cascading-cipher/1 seeded random")
                .chain_update(stream.seed.to_be_bytes())
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

    use super::{super::array, *};

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
}
