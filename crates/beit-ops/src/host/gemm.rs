//! Products of matrices: what they multiply, where the results go, and the library's kernels for the types and machines that
//! have none of ours.

use super::array::view;
use super::conv::Patches;
use super::par;
use super::real::Real;
use alloc::vec::Vec;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};

/// What products multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// The numbers as they are.
    #[default]
    Exact,
    /// Rounded to bf16; sums stay f32.
    Bf16,
}

/// The results of a product: where it goes, and what is computed from it on the way.
pub struct Results<'a, F> {
    /// `[M, N]`, its rows contiguous.
    pub c: ArrayViewMut2<'a, F>,
    /// What `finish` writes besides, as large as `c`.
    pub also: Option<ArrayViewMut2<'a, F>>,
    /// Whether the product is added to what is there.
    pub add: bool,
}

impl<'a, F> Results<'a, F> {
    /// Replaces what is in `c`.
    pub(crate) fn replacing(c: ArrayViewMut2<'a, F>) -> Self {
        Self { c, also: None, add: false }
    }

    /// Adds to what is in `c`.
    pub(crate) fn adding(c: ArrayViewMut2<'a, F>) -> Self {
        Self { c, also: None, add: true }
    }
}

/// A left operand `[M, K]`.
#[derive(Clone, Copy)]
pub enum Left<'a, F> {
    /// As it is.
    Matrix(ArrayView2<'a, F>),
    /// A row for each pixel.
    Patches(Patches<'a, F>),
    /// A column for each pixel.
    PatchesTurned(Patches<'a, F>),
}

impl<'a, F> From<ArrayView2<'a, F>> for Left<'a, F> {
    fn from(matrix: ArrayView2<'a, F>) -> Self {
        Self::Matrix(matrix)
    }
}

#[cfg(feature = "std")]
impl<F: Real> Left<'_, F> {
    /// `[M, K]`
    pub(crate) fn extents(&self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => matrix.dim(),
            Self::Patches(patches) => (patches.pixels(), patches.taps()),
            Self::PatchesTurned(patches) => (patches.taps(), patches.pixels()),
        }
    }
}

/// How the products inside an operation are done: by a kernel of ours or by the library.
pub trait Engine<F: Real>: Copy + Send + Sync {
    /// The right operand of several products.
    #[cfg(feature = "std")]
    type Right: super::kept::Keep + Send + Sync + 'static;
    /// The right operand of several products.
    #[cfg(not(feature = "std"))]
    type Right: Send + Sync + 'static;
    /// Prepares `right [K, N]`, given as its transpose `[N, K]`.
    fn pack(self, turned: ArrayView2<'_, F>) -> Self::Right;
    /// `c = left [M, K] · right [K, N]` in the calling thread.
    fn multiply_serial<'a>(self, left: impl Into<Left<'a, F>>, right: &Self::Right, into: Results<'_, F>)
    where
        F: 'a;
}

/// What runs on an [`Engine`].
pub trait WithEngine<F: Real> {
    /// What it returns.
    type Output;
    /// Runs on this one.
    fn run<E: Engine<F>>(self, engine: E) -> Self::Output;
}

/// The library's kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library;

#[cfg(feature = "std")]
impl<F> super::kept::Keep for ndarray::Array2<F> {
    /// It is.
    fn tight(self) -> Self {
        self
    }
}

impl<F: Real> Engine<F> for Library {
    type Right = ndarray::Array2<F>;
    fn pack(self, turned: ArrayView2<'_, F>) -> Self::Right {
        turned.t().to_owned()
    }
    fn multiply_serial<'a>(self, left: impl Into<Left<'a, F>>, right: &Self::Right, into: Results<'_, F>)
    where
        F: 'a,
    {
        let Results { mut c, add, .. } = into;
        match left.into() {
            Left::Matrix(left) => multiply_serial(left, right.view(), c, add),
            Left::Patches(patches) => patches.unrolled(|first, rows| {
                let rows = view(rows, [rows.len() / patches.taps(), patches.taps()]);
                let c = c.slice_mut(s![first..first + rows.nrows(), ..]);
                multiply_serial(rows, right.view(), c, add);
            }),
            Left::PatchesTurned(patches) => patches.unrolled(|first, rows| {
                let rows = view(rows, [rows.len() / patches.taps(), patches.taps()]);
                let right = right.slice(s![first..first + rows.nrows(), ..]);
                multiply_serial(rows.t(), right, c.view_mut(), add || first > 0);
            }),
        }
    }
}

/// What is done to a piece of a row once it is finished: `finish(row, column, results, also)`. A pointer, so that a product is
/// compiled once for all that follows it.
pub(crate) type Finish<'a, F> = dyn Fn(usize, usize, &mut [F], &mut [F]) + Send + Sync + 'a;

/// For products that nothing follows.
pub(crate) fn nothing<F>(_: usize, _: usize, _: &mut [F], _: &mut [F]) {}

/// `c = left [M, K] · right [K, N]` by the library over all cores, then `finish` for each row.
pub(crate) fn by_library<F: Real>(
    left: ArrayView2<'_, F>,
    right: ArrayView2<'_, F>,
    into: Results<'_, F>,
    finish: &Finish<'_, F>,
) {
    let Results { mut c, also, add } = into;
    let rows = rows_per_task(c.nrows());
    let tasks: Vec<_> = c.axis_chunks_iter_mut(Axis(0), rows).collect();
    par::each(tasks, |i, c| {
        let left = left.slice(s![i * rows..i * rows + c.nrows(), ..]);
        multiply_serial(left, right, c, add);
    });
    let mut also = also.map(rows_of).unwrap_or_default().into_iter();
    let rows = rows_of(c).into_iter().map(|row| (row, also.next().unwrap_or_default()));
    par::each(rows.collect(), |m, (row, also)| finish(m, 0, row, also));
}

fn multiply_serial<F: Real>(
    left: ArrayView2<'_, F>,
    right: ArrayView2<'_, F>,
    mut c: ArrayViewMut2<'_, F>,
    add: bool,
) {
    let beta = F::of(if add { 1.0 } else { 0.0 });
    ndarray::linalg::general_mat_mul(F::of(1.0), &left, &right, beta, &mut c);
}

/// The rows of a result.
pub(crate) fn rows_of<F>(mut c: ArrayViewMut2<'_, F>) -> Vec<&mut [F]> {
    let mut rows = Vec::with_capacity(c.nrows());
    while c.nrows() > 0 {
        let (first, rest) = c.split_at(Axis(0), 1);
        let row = first.index_axis_move(Axis(0), 0).into_slice();
        rows.push(row.expect("rows of a result are contiguous"));
        c = rest;
    }
    rows
}

/// Cuts a matrix into pieces of at most `rows` by `columns`, each with its first row and column; rows of pieces follow each
/// other.
pub(crate) fn pieces<F>(
    c: ArrayViewMut2<'_, F>,
    rows: usize,
    columns: usize,
) -> Vec<(usize, usize, ArrayViewMut2<'_, F>)> {
    let (m, n) = c.dim();
    let mut all = Vec::with_capacity(m.div_ceil(rows) * n.div_ceil(columns));
    let mut rest = c;
    for row in (0..m).step_by(rows) {
        let (mut strip, below) = rest.split_at(Axis(0), rows.min(m - row));
        rest = below;
        for column in (0..n).step_by(columns) {
            let (piece, right) = strip.split_at(Axis(1), columns.min(n - column));
            strip = right;
            all.push((row, column, piece));
        }
    }
    all
}

/// No task multiplies fewer rows than this: packing the right-hand side would dominate.
const MIN_ROWS: usize = 32;
/// At most this many tasks a product.
const MAX_TASKS: usize = 16;
/// A multiple of every kernel's tile height.
const ROW_ALIGN: usize = 16;

fn rows_per_task(rows: usize) -> usize {
    rows.div_ceil(MAX_TASKS).max(MIN_ROWS).next_multiple_of(ROW_ALIGN)
}
