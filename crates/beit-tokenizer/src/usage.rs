//! How well a codebook is used.

use alloc::vec;
use alloc::vec::Vec;

/// How often each visual token occurs.
///
/// ```
/// let usage = beit_tokenizer::Usage::counted(&[0, 1, 1, 3], 8);
/// assert_eq!(usage.used(), 3);
/// assert_eq!(usage.majority(), 0.5);
/// assert!((usage.perplexity() - 2.83).abs() < 0.01);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    counts: Vec<u64>,
}

impl Usage {
    /// Of a codebook of `vocab` tokens that have not occurred yet.
    #[must_use]
    pub fn new(vocab: usize) -> Self {
        Self { counts: vec![0; vocab] }
    }

    /// Of these codes. Codes outside the vocabulary are a bug of the caller.
    #[must_use]
    pub fn counted(codes: &[u32], vocab: usize) -> Self {
        let mut usage = Self::new(vocab);
        usage.add(codes);
        usage
    }

    /// Counts more codes.
    pub fn add(&mut self, codes: &[u32]) {
        for &code in codes {
            self.counts[code as usize] += 1;
        }
    }

    /// Occurrences of each token, `[V]`.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Codes counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Tokens that occurred.
    #[must_use]
    pub fn used(&self) -> usize {
        self.counts.iter().filter(|&&n| n > 0).count()
    }

    /// `exp(entropy)` of the frequencies: as informative as this many equally frequent tokens.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        let total = self.total() as f64;
        let terms = self.counts.iter().filter(|&&n| n > 0).map(|&n| n as f64 / total);
        libm::exp(-terms.map(|p| p * libm::log(p)).sum::<f64>())
    }

    /// Share of the commonest token: the accuracy of always guessing it.
    #[must_use]
    pub fn majority(&self) -> f64 {
        let most = self.counts.iter().max().copied().unwrap_or(0);
        most as f64 / self.total().max(1) as f64
    }
}
