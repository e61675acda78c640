//! Bilinear resizing and adaptive average pooling of one side of a map: what the elements of the new side are made of.

use crate::ops::Corners;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// For each element of a new side, the elements of the old side it is made of, which stand side by side, and their weights.
///
/// ```
/// use beit_ops::{Corners, Taps};
/// // The centre of the second of four pixels lies a quarter of a pixel before that of the first of two.
/// let taps = Taps::linear(2, 4, Corners::Edges);
/// assert_eq!(taps.of(1), (0, [0.75, 0.25].as_slice()));
/// // Its gradient: the first of two pixels is in three of four.
/// assert_eq!(taps.transposed(2).of(0), (0, [1.0, 0.75, 0.25].as_slice()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// For each element of the new side, its first element of the old one.
    first: Vec<usize>,
    /// For each element of the new side, where its weights begin; then where the last ones end.
    bounds: Vec<usize>,
    weights: Vec<f64>,
}

impl Taps {
    /// Two neighbours each, weighed by their distance. A neighbour of no weight is left out.
    pub fn linear(from: usize, to: usize, corners: Corners) -> Self {
        let step = match corners {
            Corners::Edges => from as f64 / to as f64,
            Corners::Centres if to > 1 => (from - 1) as f64 / (to - 1) as f64,
            Corners::Centres => 0.0,
        };
        let mut taps = Self::with_capacity(to, 2 * to);
        for i in 0..to {
            let at = match corners {
                Corners::Edges => ((i as f64 + 0.5) * step - 0.5).max(0.0),
                Corners::Centres => i as f64 * step,
            };
            let low = (at as usize).min(from - 1);
            let share = at - low as f64;
            if low + 1 == from || share == 0.0 {
                taps.push(low, [1.0]);
            } else {
                taps.push(low, [1.0 - share, share]);
            }
        }
        taps
    }

    /// The mean of a share of the old side: of `to` elements, element `i` covers those from `⌊i from / to⌋` to
    /// `⌈(i + 1) from / to⌉`.
    pub fn means(from: usize, to: usize) -> Self {
        let mut taps = Self::with_capacity(to, from + to);
        for i in 0..to {
            let (begin, end) = (i * from / to, ((i + 1) * from).div_ceil(to));
            taps.push(begin, (begin..end).map(|_| 1.0 / (end - begin) as f64));
        }
        taps
    }

    /// Every element is itself.
    pub fn identity(side: usize) -> Self {
        let mut taps = Self::with_capacity(side, side);
        (0..side).for_each(|i| taps.push(i, [1.0]));
        taps
    }

    /// The other way round, for an old side of `from` elements: which of the new elements each of them is in.
    ///
    /// Those stand side by side too, since what is further on the new side is made of what is further on the old one.
    #[must_use]
    pub fn transposed(&self, from: usize) -> Self {
        let mut uses = vec![(0, 0); from];
        self.each(|i, index, _| {
            let (first, count) = uses[index];
            let first = if count == 0 { i } else { first };
            assert_eq!(i, first + count, "the elements that one is in stand side by side");
            uses[index] = (first, count + 1);
        });
        let mut taps = Self::with_capacity(from, 0);
        taps.weights.resize(self.weights.len(), 0.0);
        for &(first, count) in &uses {
            let begin = taps.bounds[taps.len()];
            taps.first.push(first);
            taps.bounds.push(begin + count);
        }
        self.each(|i, index, weight| taps.weights[taps.bounds[index] + i - taps.first[index]] = weight);
        taps
    }

    /// Those of some elements of the new side.
    ///
    /// # Panics
    ///
    /// If there are no such elements.
    #[must_use]
    pub fn part(&self, elements: Range<usize>) -> Self {
        let bounds = &self.bounds[elements.start..=elements.end];
        Self {
            first: self.first[elements].to_vec(),
            bounds: bounds.iter().map(|bound| bound - bounds[0]).collect(),
            weights: self.weights[bounds[0]..bounds[bounds.len() - 1]].to_vec(),
        }
    }

    /// Elements of the new side.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether the new side has no elements.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// What element `i` of the new side is made of: the first element of the old side, and the weights of it and of those after
    /// it. Where it is made of nothing there are no weights.
    pub fn of(&self, i: usize) -> (usize, &[f64]) {
        (self.first[i], &self.weights[self.bounds[i]..self.bounds[i + 1]])
    }

    /// The weights of all elements, one after the other.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    fn with_capacity(elements: usize, weights: usize) -> Self {
        let mut bounds = Vec::with_capacity(elements + 1);
        bounds.push(0);
        Self { first: Vec::with_capacity(elements), bounds, weights: Vec::with_capacity(weights) }
    }

    /// The next element of the new side.
    fn push(&mut self, first: usize, weights: impl IntoIterator<Item = f64>) {
        self.first.push(first);
        self.weights.extend(weights);
        self.bounds.push(self.weights.len());
    }

    /// Each element of the new side with each element of the old side that it is made of, and the weight.
    fn each(&self, mut f: impl FnMut(usize, usize, f64)) {
        for i in 0..self.len() {
            let (first, weights) = self.of(i);
            weights.iter().enumerate().for_each(|(k, &weight)| f(i, first + k, weight));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let whole = Taps::linear(5, 13, Corners::Edges);
        for part in [0..13, 0..4, 4..9, 9..13, 6..6] {
            let taps = whole.part(part.clone());
            assert_eq!(taps.len(), part.len());
            for (i, of) in part.enumerate() {
                assert_eq!(taps.of(i), whole.of(of));
            }
        }
    }

    /// Weights of an element sum to one, and the mirror has the same weights.
    #[test]
    fn mirrors() {
        let sides = [(1, 1), (1, 7), (7, 1), (3, 6), (7, 3), (4, 13), (14, 56), (56, 14), (5, 5), (32, 6)];
        let kinds: [fn(usize, usize) -> Taps; 3] = [
            |from, to| Taps::linear(from, to, Corners::Edges),
            |from, to| Taps::linear(from, to, Corners::Centres),
            Taps::means,
        ];
        for (from, to) in sides {
            for taps in kinds.map(|kind| kind(from, to)) {
                let mirror = taps.transposed(from);
                assert_eq!((taps.len(), mirror.len()), (to, from));
                for i in 0..to {
                    let total: f64 = taps.of(i).1.iter().sum();
                    assert!((total - 1.0).abs() < 1e-12, "{from} to {to}, element {i}: {total}");
                }
                let mut forward = Vec::new();
                taps.each(|i, index, weight| forward.push((index, i, weight)));
                forward.sort_by_key(|&(index, i, _)| (index, i));
                let mut backward = Vec::new();
                mirror.each(|index, i, weight| backward.push((index, i, weight)));
                assert_eq!(forward, backward, "{from} to {to}");
            }
        }
    }
}
