//! The matrix product, cut over the rows of its result.

use super::par;
use super::real::Real;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};

/// No task multiplies fewer rows than this: packing the right-hand side would dominate.
const MIN_ROWS: usize = 32;
/// At most this many tasks a product.
const MAX_TASKS: usize = 16;
/// A multiple of every kernel's tile height.
const ROW_ALIGN: usize = 16;

fn rows_per_task(rows: usize) -> usize {
    rows.div_ceil(MAX_TASKS).max(MIN_ROWS).next_multiple_of(ROW_ALIGN)
}

/// `c = a · b + beta c`, over all cores.
pub(crate) fn gemm<F: Real>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    beta: F,
    mut c: ArrayViewMut2<'_, F>,
) {
    let rows = rows_per_task(c.nrows());
    if c.nrows() <= rows {
        return gemm_serial(a, b, beta, c);
    }
    let tasks: alloc::vec::Vec<_> = c.axis_chunks_iter_mut(Axis(0), rows).collect();
    let product = |i: usize, c: ArrayViewMut2<'_, F>| {
        let a = a.slice(s![i * rows..i * rows + c.nrows(), ..]);
        gemm_serial(a, b, beta, c);
    };
    par::each(tasks, product);
}

/// `c = a · b + beta c`, in the calling thread.
#[cfg(feature = "std")]
#[allow(unsafe_code)]
pub(crate) fn gemm_serial<F: Real>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    beta: F,
    mut c: ArrayViewMut2<'_, F>,
) {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    assert!(b.nrows() == k && c.nrows() == m && c.ncols() == n, "matrix product of unequal inner extents");
    let (c_strides, a_strides, b_strides) =
        (strides(c.strides()), strides(a.strides()), strides(b.strides()));
    let read_c = beta != F::of(0.0);
    // SAFETY: the views prove that every element addressed by extents and strides is in bounds, `c` is borrowed mutably and
    // so overlaps neither input, and F is f32 or f64, which `gemm` knows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_strides.1,
            c_strides.0,
            read_c,
            a.as_ptr(),
            a_strides.1,
            a_strides.0,
            b.as_ptr(),
            b_strides.1,
            b_strides.0,
            beta,
            F::of(1.0),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(feature = "std")]
fn strides(s: &[isize]) -> (isize, isize) {
    (s[0], s[1])
}

/// `c = a · b + beta c`.
#[cfg(not(feature = "std"))]
pub(crate) fn gemm_serial<F: Real>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    beta: F,
    mut c: ArrayViewMut2<'_, F>,
) {
    ndarray::linalg::general_mat_mul(F::of(1.0), &a, &b, beta, &mut c);
}
