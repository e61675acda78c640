//! One axis resized.

/// What each value along an axis adds to each value along the resized axis.
///
/// `y[i] = sum_j w[i, j] x[j]`, `w [to, from]`
pub(super) struct Weights {
    from: usize,
    rows: Vec<Vec<f64>>,
}

impl Weights {
    /// Rows of `from` weights each, one row for a value of the resized axis.
    pub(super) fn new(from: usize, rows: Vec<Vec<f64>>) -> Self {
        debug_assert!(rows.iter().all(|row| row.len() == from));
        Self { from, rows }
    }

    /// An axis that stays as it is.
    pub(super) fn identity(n: usize) -> Self {
        Self::from_taps(n, n, |i| [(i, 1.0)])
    }

    /// Each value of the resized axis as a few (index, weight). An index may come twice, as it does at the edges.
    pub(super) fn from_taps<I>(from: usize, to: usize, taps: impl Fn(usize) -> I) -> Self
    where
        I: IntoIterator<Item = (usize, f64)>,
    {
        let row = |i| {
            let mut row = vec![0.0; from];
            taps(i).into_iter().for_each(|(j, weight)| row[j] += weight);
            row
        };
        Self::new(from, (0..to).map(row).collect())
    }

    /// Length of the resized axis.
    pub(super) fn to(&self) -> usize {
        self.rows.len()
    }

    /// Resizes the middle axis: `x [outer, from, inner] -> y [outer, to, inner]`.
    pub(super) fn apply(&self, x: &[f64], inner: usize) -> Vec<f64> {
        debug_assert_eq!(x.len() % (self.from * inner), 0);
        let blocks = x.chunks_exact(self.from * inner);
        blocks.flat_map(|block| self.rows.iter().flat_map(move |row| sum(row, block, inner))).collect()
    }
}

/// `row [from]`, `x [from, inner] -> y [inner]`
fn sum(row: &[f64], x: &[f64], inner: usize) -> Vec<f64> {
    let mut y = vec![0.0; inner];
    for (&weight, x) in row.iter().zip(x.chunks_exact(inner)) {
        // Most weights of the short kernels are 0.
        if weight != 0.0 {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_axis_is_resized() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(Weights::identity(3).apply(&x, 2), x);
        // From 3 values to 1: the first plus twice the last.
        let weights = Weights::from_taps(3, 1, |_| [(0, 1.0), (2, 1.0), (2, 1.0)]);
        assert_eq!(weights.to(), 1);
        assert_eq!(weights.apply(&x, 2), [8.0, 11.0, 26.0, 29.0]);
    }
}
