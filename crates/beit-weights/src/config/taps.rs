//! Which blocks a segmentation head reads, and by which numbers a configuration says so.

use beit_heads::SegmenterConfig;
use std::fmt;

/// Which blocks the numbers `out_indices` of a segmenter's configuration mean.
///
/// The released code means the outputs of the blocks with these numbers, from 0: 3, 5, 7 and 11. transformers reads the same file and
/// takes the outputs two blocks before them, 1, 3, 5 and 9, since it counts from 1 and the embeddings first (`modeling_beit.py`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Taps {
    /// As the released code: what the published weights were trained with.
    #[default]
    Official,
    /// As transformers: what a model that transformers trained was trained with.
    Transformers,
}

impl Taps {
    /// What [`Transformers`](Self::Transformers) takes off.
    const EARLIER: usize = 2;

    /// Not this one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Official => Self::Transformers,
            Self::Transformers => Self::Official,
        }
    }

    /// The blocks, from 0, that these numbers mean. None where they mean no block: transformers takes 1 for the embeddings.
    ///
    /// ```
    /// use beit_weights::Taps;
    /// assert_eq!(Taps::Official.blocks([3, 5, 7, 11]), Some([3, 5, 7, 11]));
    /// assert_eq!(Taps::Transformers.blocks([3, 5, 7, 11]), Some([1, 3, 5, 9]));
    /// ```
    #[must_use]
    pub fn blocks(self, out_indices: [usize; 4]) -> Option<[usize; 4]> {
        match self {
            Self::Official => Some(out_indices),
            Self::Transformers => {
                let earlier = out_indices.map(|index| index.checked_sub(Self::EARLIER));
                let [Some(a), Some(b), Some(c), Some(d)] = earlier else { return None };
                Some([a, b, c, d])
            }
        }
    }

    /// The blocks that the usual numbers mean for a transformer of this depth. None where it is too shallow.
    #[must_use]
    pub fn usual(self, depth: usize) -> Option<[usize; 4]> {
        self.blocks(SegmenterConfig::usual_taps(depth)).filter(|taps| fits(taps, depth))
    }

    /// The numbers by which transformers reads these blocks. It cannot read the last block of a transformer, and reads the one before in
    /// its place.
    ///
    /// ```
    /// use beit_weights::Taps;
    /// assert_eq!(Taps::out_indices([1, 3, 5, 9], 12), [3, 5, 7, 11]);
    /// assert_eq!(Taps::out_indices([3, 5, 7, 11], 12), [5, 7, 9, 12]);
    /// ```
    #[must_use]
    pub fn out_indices(taps: [usize; 4], depth: usize) -> [usize; 4] {
        let (mut numbers, mut most) = (taps, depth);
        for number in numbers.iter_mut().rev() {
            *number = (*number + Self::EARLIER).min(most);
            most = number.saturating_sub(1);
        }
        numbers
    }
}

/// Whether there are such blocks, each after the one before.
pub(in crate::config) fn fits(taps: &[usize; 4], depth: usize) -> bool {
    taps.is_sorted_by(|a, b| a < b) && taps[3] < depth
}

impl fmt::Display for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Official => "official",
            Self::Transformers => "transformers",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_blocks() {
        for (depth, official, transformers) in [
            (12, Some([3, 5, 7, 11]), Some([1, 3, 5, 9])),
            (24, Some([7, 11, 15, 23]), Some([5, 9, 13, 21])),
            (4, Some([0, 1, 2, 3]), None),
            (3, None, None),
        ] {
            assert_eq!(Taps::Official.usual(depth), official, "{depth}");
            assert_eq!(Taps::Transformers.usual(depth), transformers, "{depth}");
        }
    }

    /// transformers reads the same blocks wherever it can, and always four, one after the other.
    #[test]
    fn what_transformers_reads_of_a_file() {
        for (taps, depth, read) in [
            ([1, 3, 5, 9], 12, [1, 3, 5, 9]),
            ([0, 1, 2, 10], 12, [0, 1, 2, 10]),
            ([3, 5, 7, 11], 12, [3, 5, 7, 10]),
            ([3, 5, 10, 11], 12, [3, 5, 9, 10]),
        ] {
            let numbers = Taps::out_indices(taps, depth);
            assert_eq!(Taps::Transformers.blocks(numbers), Some(read), "{taps:?} of {depth}");
        }
        assert_eq!(Taps::out_indices([0, 1, 2, 3], 4), [1, 2, 3, 4]);
    }
}
