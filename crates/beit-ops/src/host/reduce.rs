//! Reductions along rows and columns, in an order of additions that depends on shapes only.

use super::array::{Array, zeros};
use super::par;
use super::real::Real;

/// Independent accumulators of a reduction along a row: one vector register of AVX-512 holds as many f32. Their number is part of
/// the definition of every sum, because it fixes the order of the additions.
const ACCUMULATORS: usize = 16;

/// `Σ f(i)` over `0..n`. Accumulator `j` takes every `i` with `i % 16 = j`; then halves are added pairwise.
#[inline(always)]
pub(super) fn sum<F: Real>(n: usize, f: impl Fn(usize) -> F) -> F {
    let mut sums = [F::from_f64(0.0); ACCUMULATORS];
    let whole = n - n % ACCUMULATORS;
    let mut i = 0;
    while i < whole {
        for j in 0..ACCUMULATORS {
            sums[j] += f(i + j);
        }
        i += ACCUMULATORS;
    }
    for (j, i) in (whole..n).enumerate() {
        sums[j] += f(i);
    }
    let mut width = ACCUMULATORS / 2;
    while width > 0 {
        for j in 0..width {
            let upper = sums[j + width];
            sums[j] += upper;
        }
        width /= 2;
    }
    sums[0]
}

/// The largest element of a row, which must not be empty. NaN is passed over: the exponentials of a softmax carry it on, and who
/// needs more asks [`has_nan`].
#[inline(always)]
pub(super) fn maximum<F: Real>(row: &[F]) -> F {
    let mut largest = [row[0]; ACCUMULATORS];
    let mut chunks = row.chunks_exact(ACCUMULATORS);
    for chunk in &mut chunks {
        for j in 0..ACCUMULATORS {
            largest[j] = largest[j].max(chunk[j]);
        }
    }
    for &v in chunks.remainder() {
        largest[0] = largest[0].max(v);
    }
    largest.iter().fold(largest[0], |a, &b| a.max(b))
}

/// Whether none of the numbers is NaN or infinite.
///
/// ```
/// assert!(beit_ops::host::all_finite(&[0.0, -1.0, f32::MAX]));
/// assert!(!beit_ops::host::all_finite(&[0.0, f32::NAN]));
/// ```
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    const MAGNITUDE: u32 = 0x7FFF_FFFF;
    // What is added to the bits of infinity, or of more, that they reach the bit of the sign.
    const CARRY: u32 = (1 << 31) - f32::INFINITY.to_bits();
    let carried = par::simd(
        #[inline(always)]
        || values.iter().fold(0, |all, v| all | ((v.to_bits() & MAGNITUDE) + CARRY)),
    );
    carried >> 31 == 0
}

/// Whether an element of a row is NaN.
#[inline(always)]
pub(super) fn has_nan<F: Real>(row: &[F]) -> bool {
    let mut found = [false; ACCUMULATORS];
    let mut chunks = row.chunks_exact(ACCUMULATORS);
    for chunk in &mut chunks {
        for j in 0..ACCUMULATORS {
            found[j] |= chunk[j].is_nan();
        }
    }
    found.contains(&true) || chunks.remainder().iter().any(|v| v.is_nan())
}

/// The softmax of a row, in place.
#[inline(always)]
pub(super) fn softmax_row<F: Real>(row: &mut [F]) {
    let largest = maximum(row);
    for v in row.iter_mut() {
        *v = (*v - largest).exp();
    }
    let scale = F::from_f64(1.0) / sum(row.len(), |i| row[i]);
    for v in row.iter_mut() {
        *v *= scale;
    }
}

/// With `p` the softmax of a row: `d = p ⊙ (d - Σ d ⊙ p)`, in place.
#[inline(always)]
pub(super) fn softmax_row_backward<F: Real>(d: &mut [F], p: &[F]) {
    let dot = sum(d.len(), |i| d[i] * p[i]);
    for (d, &p) in d.iter_mut().zip(p) {
        *d = p * (*d - dot);
    }
}

/// `sums[c] += Σ_m x[m, c]` for `x [M, C]`.
pub(super) fn add_column_sums<F: Real>(x: &[F], sums: &mut [F]) {
    let c = sums.len();
    add_partials(x.len() / c, &mut [sums], |rows, out| {
        par::simd(
            #[inline(always)]
            || {
                for row in x[rows.start * c..rows.end * c].chunks_exact(c) {
                    add(&mut out[0], row);
                }
            },
        );
    });
}

/// Reduces over `m` rows into `sums`.
///
/// The rows are split into ranges, which run in parallel: `f(range, partial)` adds a range of rows to zeroed partial sums of the
/// shapes of `sums`. The partial sums are then added to `sums` in the order of the ranges.
pub(super) fn add_partials<F: Real, const K: usize>(
    m: usize,
    sums: &mut [&mut [F]; K],
    f: impl Fn(core::ops::Range<usize>, &mut [Array<F>; K]) + Send + Sync,
) {
    let rows = par::rows_per_partial(m);
    let widths: [usize; K] = core::array::from_fn(|k| sums[k].len());
    let partials = par::map(m.div_ceil(rows), |i| {
        let mut out: [Array<F>; K] = core::array::from_fn(|k| zeros([widths[k]]));
        f(i * rows..((i + 1) * rows).min(m), &mut out);
        out
    });
    for partial in &partials {
        for (sum, part) in sums.iter_mut().zip(partial) {
            add(sum, part);
        }
    }
}

/// `a += b`
#[inline(always)]
pub(super) fn add<F: Real>(a: &mut [F], b: &[F]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}
