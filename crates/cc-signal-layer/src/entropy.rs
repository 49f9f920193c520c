//! Where random bytes come from: the operating system, or a fixed stream in the transcript test.

use cc_core::Secret;

use crate::Error;

/// A source of random bytes.
pub(crate) trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error>;

    /// `N` secret bytes.
    fn secret<const N: usize>(&mut self) -> Result<Secret<N>, Error> {
        let mut secret = Secret::zeroed();
        self.fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// `N` public bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// The operating system's generator.
pub(crate) struct System;

impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        Ok(cc_core::random::fill(bytes)?)
    }
}

/// A reproducible stream, SHA-256(seed || counter), for transcripts and tests only.
#[cfg(test)]
pub(crate) struct Fixed {
    seed: alloc::vec::Vec<u8>,
    counter: u64,
}

#[cfg(test)]
impl Fixed {
    pub(crate) fn new(seed: &[u8]) -> Self {
        Self { seed: seed.to_vec(), counter: 0 }
    }
}

#[cfg(test)]
impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        use sha2::{Digest, Sha256};
        // One block of the stream begins at every call, so that a reader can follow it.
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(&self.seed)
                .chain_update(self.counter.to_be_bytes())
                .finalize();
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}
