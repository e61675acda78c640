//! Visual tokens at the positions of a grid.

use beit_tokenizer::Usage;

/// How often each visual token occurs, at each position.
pub(crate) struct PositionUsage {
    all: Usage,
    positions: Vec<Usage>,
    cols: usize,
    /// Patches that have one to their left, and those with the same token.
    pairs: [usize; 2],
}

impl PositionUsage {
    /// Of a codebook of `vocab` tokens on a grid of rows and columns.
    pub(crate) fn new(vocab: usize, [rows, cols]: [usize; 2]) -> Self {
        let usage = Usage::new(vocab);
        Self { positions: vec![usage.clone(); rows * cols], all: usage, cols, pairs: [0; 2] }
    }

    /// Counts the `codes [images · rows · columns]` of whole images.
    pub(crate) fn add(&mut self, codes: &[u32]) {
        self.all.add(codes);
        for image in codes.chunks_exact(self.positions.len()) {
            for (usage, &code) in self.positions.iter_mut().zip(image) {
                usage.add(&[code]);
            }
            for pair in image.chunks_exact(self.cols).flat_map(|row| row.windows(2)) {
                self.pairs[0] += 1;
                self.pairs[1] += usize::from(pair[0] == pair[1]);
            }
        }
    }

    /// Counts a code at a position of `[images · rows · columns]`.
    pub(crate) fn add_at(&mut self, position: usize, code: u32) {
        self.all.add(&[code]);
        let cells = self.positions.len();
        self.positions[position % cells].add(&[code]);
    }

    /// Share of patches whose token is the commonest one at their position.
    pub(crate) fn position_majority(&self) -> f64 {
        let most: u64 = self.positions.iter().filter_map(|usage| usage.counts().iter().max()).sum();
        most as f64 / self.all.total().max(1) as f64
    }

    /// Share of patches whose token is also that of the patch to their left.
    pub(crate) fn repeated(&self) -> f64 {
        self.pairs[1] as f64 / self.pairs[0].max(1) as f64
    }

    /// Wherever they occur.
    pub(crate) fn into_usage(self) -> Usage {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_neighbours() {
        let mut usage = PositionUsage::new(4, [2, 2]);
        usage.add(&[0, 0, 1, 2, 0, 3, 1, 1]);
        // The commonest at each position: 0 twice, 0 or 3 once, 1 twice, 2 or 1 once.
        assert_eq!(usage.position_majority(), 6.0 / 8.0);
        // Of four rows, [0, 0] and [1, 1] repeat.
        assert_eq!(usage.repeated(), 0.5);
        assert_eq!(usage.into_usage().counts(), [3, 3, 1, 1]);
    }
}
