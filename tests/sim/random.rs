//! Everything that is drawn follows from the seed.

use countersign_grants::{digest::Digest, time::Entropy};
use parking_lot::Mutex;

/// A stream of numbers (`SplitMix64`): good enough to choose by, and no secret.
pub(crate) struct Random(u64);

impl Random {
    /// The stream of this name under a seed. Streams of different names have nothing in common.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let digest = Digest::of_parts(&[&seed.to_be_bytes(), name.as_bytes()]);
        let first = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end`, without `end`. The bias is far below anything that matters here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several; nothing of none.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }
}

/// A host's randomness.
pub(crate) struct SeededEntropy(Mutex<Random>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self(Mutex::new(Random::new(seed, name)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_be_bytes()[..chunk.len()]);
        }
    }
}
