//! Where a product is written, and what is computed from it while it is in the cache.

use alloc::vec::Vec;
use ndarray::{ArrayViewMut2, Axis};

/// Where a product is written.
pub(crate) struct Destination<'a, F> {
    /// `[M, N]`, with contiguous rows.
    pub(crate) c: ArrayViewMut2<'a, F>,
    /// A second result of the same size, which the epilogue writes.
    pub(crate) second: Option<ArrayViewMut2<'a, F>>,
    /// Whether the product is added to `c` or replaces it.
    pub(crate) accumulate: bool,
}

impl<'a, F> Destination<'a, F> {
    /// The product replaces `c`.
    pub(crate) fn replace(c: ArrayViewMut2<'a, F>) -> Self {
        Self { c, second: None, accumulate: false }
    }

    /// The product is added to `c`.
    pub(crate) fn add(c: ArrayViewMut2<'a, F>) -> Self {
        Self { c, second: None, accumulate: true }
    }
}

/// What follows a product, for example a bias and an activation.
///
/// `epilogue(row, column, c, second)` is called once for each finished segment of a row, which begins at `row` and `column`.
/// `second` is the same segment of the second result, or empty. A `dyn` function, so that the product is compiled once and not
/// once for every epilogue.
pub(crate) type Epilogue<'a, F> = dyn Fn(usize, usize, &mut [F], &mut [F]) + Send + Sync + 'a;

/// The epilogue that does nothing.
pub(crate) fn no_epilogue<F>(_: usize, _: usize, _: &mut [F], _: &mut [F]) {}

/// Splits a matrix with contiguous rows into its rows.
pub(crate) fn into_rows<F>(mut c: ArrayViewMut2<'_, F>) -> Vec<&mut [F]> {
    let mut rows = Vec::with_capacity(c.nrows());
    while c.nrows() > 0 {
        let (first, rest) = c.split_at(Axis(0), 1);
        let row = first.index_axis_move(Axis(0), 0).into_slice();
        rows.push(row.expect("rows of a result are contiguous"));
        c = rest;
    }
    rows
}

/// Splits a matrix into blocks of at most `rows` by `columns`, in reading order, each with its first row and column.
pub(crate) fn split_blocks<F>(
    c: ArrayViewMut2<'_, F>,
    rows: usize,
    columns: usize,
) -> Vec<(usize, usize, ArrayViewMut2<'_, F>)> {
    let (m, n) = c.dim();
    let mut blocks = Vec::with_capacity(m.div_ceil(rows) * n.div_ceil(columns));
    let mut rest = c;
    for row in (0..m).step_by(rows) {
        let (mut strip, below) = rest.split_at(Axis(0), rows.min(m - row));
        rest = below;
        for column in (0..n).step_by(columns) {
            let (block, right) = strip.split_at(Axis(1), columns.min(n - column));
            strip = right;
            blocks.push((row, column, block));
        }
    }
    blocks
}
