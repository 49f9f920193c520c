//! Numbers that a seed gives.

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// A seed for each round, new ones unless the environment says otherwise.
pub(crate) fn seeds(rounds: usize) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = number("CC_FAULTS_SEED")
        .unwrap_or_else(|| u64::from(u32::from_be_bytes(cc_core::random::array().unwrap())));
    let rounds = number("CC_FAULTS_ROUNDS").unwrap_or(u64::try_from(rounds).unwrap());
    (first..first + rounds).collect()
}
