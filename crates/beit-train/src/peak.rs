//! Where accuracy over the blocks of a model is the greatest.

use serde::Serialize;

/// How accuracy goes over the blocks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// The block with the greatest accuracy, from 1; the first of equally good ones.
    pub best_block: usize,
    /// Its accuracy.
    pub best: f64,
    /// How many blocks there are.
    pub blocks: usize,
    /// The accuracy of the last.
    pub last: f64,
    /// What chance makes of the difference between two accuracies: twice its standard error, `2 √((a(1-a) + b(1-b)) / images)`, as if each
    /// were of images of its own.
    pub chance: f64,
}

impl Peak {
    /// Of the accuracies of the blocks on so many images; none without a block.
    #[must_use]
    pub fn of(accuracies: &[f64], images: usize) -> Option<Self> {
        let last = *accuracies.last()?;
        // The last of equal ones is what `max_by` returns.
        let (index, &best) = accuracies.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1))?;
        let variance = best * (1.0 - best) + last * (1.0 - last);
        let chance = 2.0 * (variance / images.max(1) as f64).sqrt();
        Some(Self { best_block: index + 1, best, blocks: accuracies.len(), last, chance })
    }

    /// Whether the last block is so far behind the best that it is not by chance.
    #[must_use]
    pub fn falls(&self) -> bool {
        self.best - self.last > self.chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_good_blocks_the_first_is_the_best() {
        let peak = Peak::of(&[0.5, 0.7, 0.7, 0.6], 100).expect("four blocks");
        assert_eq!((peak.best_block, peak.best, peak.blocks, peak.last), (2, 0.7, 4, 0.6));
        // √((0.21 + 0.24) / 100) is 0.067.
        assert!((peak.chance - 0.134_164).abs() < 1e-6 && !peak.falls(), "{peak:?}");
        assert!(Peak::of(&[0.5, 0.7, 0.7, 0.6], 1000).expect("four blocks").falls());
        assert_eq!(Peak::of(&[], 100), None);
    }
}
