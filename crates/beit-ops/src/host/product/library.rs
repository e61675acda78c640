//! Products by ndarray, for the element types and machines without a kernel of this crate.

use super::destination::{Destination, Epilogue, into_rows};
use super::engine::Engine;
use super::operand::Left;
use crate::host::array::view;
#[cfg(feature = "std")]
use crate::host::cached::Cacheable;
use crate::host::par;
use crate::host::real::Real;
use alloc::vec::Vec;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

/// No task multiplies fewer rows: ndarray packs the right operand in every task, which would dominate.
const MIN_ROWS: usize = 32;
/// The most tasks of a product.
const MAX_TASKS: usize = 16;
/// Rows of a task are a multiple of this, which is a multiple of the tile height of all of ndarray's kernels.
const ROW_ALIGN: usize = 16;

/// ndarray's products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library;

#[cfg(feature = "std")]
impl<F> Cacheable for Array2<F> {
    /// ndarray allocates what it needs and no more.
    fn shrink(self) -> Self {
        self
    }
}

impl<F: Real> Engine<F> for Library {
    type Right = Array2<F>;
    fn pack(self, transposed: ArrayView2<'_, F>) -> Self::Right {
        transposed.t().to_owned()
    }
    fn multiply_serial<'a>(self, left: impl Into<Left<'a, F>>, right: &Self::Right, into: Destination<'_, F>)
    where
        F: 'a,
    {
        let Destination { mut c, accumulate, .. } = into;
        match left.into() {
            Left::Matrix(left) => multiply(left, right.view(), c, accumulate),
            Left::Patches(patches) => patches.unrolled(|first, rows| {
                let rows = view(rows, [rows.len() / patches.taps(), patches.taps()]);
                let c = c.slice_mut(s![first..first + rows.nrows(), ..]);
                multiply(rows, right.view(), c, accumulate);
            }),
            Left::PatchesTransposed(patches) => patches.unrolled(|first, rows| {
                let rows = view(rows, [rows.len() / patches.taps(), patches.taps()]);
                let right = right.slice(s![first..first + rows.nrows(), ..]);
                multiply(rows.t(), right, c.view_mut(), accumulate || first > 0);
            }),
        }
    }
}

/// `c = left [M, K] · right [K, N]` over all threads, then the epilogue for each row.
pub(crate) fn multiply_parallel<F: Real>(
    left: ArrayView2<'_, F>,
    right: ArrayView2<'_, F>,
    into: Destination<'_, F>,
    epilogue: &Epilogue<'_, F>,
) {
    let Destination { mut c, second, accumulate } = into;
    let rows = rows_per_task(c.nrows());
    let tasks: Vec<_> = c.axis_chunks_iter_mut(Axis(0), rows).collect();
    par::each(tasks, |i, c| {
        let left = left.slice(s![i * rows..i * rows + c.nrows(), ..]);
        multiply(left, right, c, accumulate);
    });
    let mut second = second.map(into_rows).unwrap_or_default().into_iter();
    let rows = into_rows(c).into_iter().map(|row| (row, second.next().unwrap_or_default()));
    par::each(rows.collect(), |m, (row, second)| epilogue(m, 0, row, second));
}

fn multiply<F: Real>(
    left: ArrayView2<'_, F>,
    right: ArrayView2<'_, F>,
    mut c: ArrayViewMut2<'_, F>,
    accumulate: bool,
) {
    let beta = F::from_f64(if accumulate { 1.0 } else { 0.0 });
    ndarray::linalg::general_mat_mul(F::from_f64(1.0), &left, &right, beta, &mut c);
}

fn rows_per_task(rows: usize) -> usize {
    rows.div_ceil(MAX_TASKS).max(MIN_ROWS).next_multiple_of(ROW_ALIGN)
}
