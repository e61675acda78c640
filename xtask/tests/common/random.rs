//! Random moments for attacks.
#![allow(clippy::print_stdout)] // To repeat what failed.

use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers that need no library: xorshift.
pub(crate) struct Random(u64);

impl Random {
    /// Says its seed, by which what failed can be repeated.
    pub(crate) fn new(attack: &str) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed =
            std::env::var("ATTACK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now) | 1;
        println!("{attack}: ATTACK_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}
