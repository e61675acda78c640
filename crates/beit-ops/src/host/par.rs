//! Loops over chunks of work, spread over all threads.
//!
//! The size of a chunk depends on shapes only, and partial sums are added in the order of the chunks. One thread and many
//! therefore give the same bits.

use alloc::vec::Vec;
#[cfg(feature = "std")]
use rayon::prelude::*;

/// A task should touch at least this many elements: below this, handing it to another thread costs more than it gains.
const GRAIN: usize = 16 * 1024;
/// The most partial sums of a reduction over rows.
const PARTIALS: usize = 16;

/// The most tasks of a [`map`].
#[cfg(feature = "std")]
const MAP_TASKS: usize = 256;

/// How many rows of `width` elements one task takes.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}

/// How many rows one partial sum covers when `rows` rows are reduced.
pub(crate) fn rows_per_partial(rows: usize) -> usize {
    rows.div_ceil(PARTIALS).max(1)
}

/// The number of threads that share the work. Nothing that changes a result may depend on it.
#[cfg(feature = "std")]
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

/// One: without `std` there are no threads.
#[cfg(not(feature = "std"))]
pub(crate) fn threads() -> usize {
    1
}

/// Runs `f` compiled for the vector instructions that this machine has.
///
/// Only code that is inlined into `f` is compiled for them; the rest is compiled for the baseline of the target. So write
/// `simd(#[inline(always)] || …)`, and loops instead of `for_each` inside.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(feature = "std")]
    return pulp::Arch::new().dispatch(f);
    #[cfg(not(feature = "std"))]
    f()
}

/// Calls `f(i)` for `i` in `0..n`. All other loops are built on this one, so rayon's code, which is many times larger than most
/// loops, is compiled once.
#[cfg(feature = "std")]
fn indices(n: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().for_each(f);
}

/// The results of `f(i)` for `i` in `0..n`, in that order.
#[cfg(feature = "std")]
pub(crate) fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..n).map(|_| None).collect();
    let chunk = n.div_ceil(MAP_TASKS).max(1);
    chunks(&mut results, chunk, |i, results| {
        for (j, result) in results.iter_mut().enumerate() {
            *result = Some(f(i * chunk + j));
        }
    });
    results.into_iter().map(|result| result.expect("every index was visited")).collect()
}

/// The results of `f(i)` for `i` in `0..n`, in that order.
#[cfg(not(feature = "std"))]
pub(crate) fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    (0..n).map(f).collect()
}

/// Calls `f(i, item)` for every item.
#[cfg(feature = "std")]
pub(crate) fn each<T: Send>(items: Vec<T>, f: impl Fn(usize, T) + Send + Sync) {
    use std::sync::{Mutex, PoisonError};
    // Each item is taken once, by the thread that gets its index.
    let items: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    indices(items.len(), &|i| {
        if let Some(item) = items[i].lock().unwrap_or_else(PoisonError::into_inner).take() {
            f(i, item);
        }
    });
}

/// Calls `f(i, item)` for every item.
#[cfg(not(feature = "std"))]
pub(crate) fn each<T: Send>(items: Vec<T>, f: impl Fn(usize, T) + Send + Sync) {
    items.into_iter().enumerate().for_each(|(i, item)| f(i, item));
}

/// Calls `f(i, chunk)` for every chunk of `a`.
pub(crate) fn chunks<A: Send>(a: &mut [A], chunk: usize, f: impl Fn(usize, &mut [A]) + Send + Sync) {
    each(a.chunks_mut(chunk).collect(), f);
}

/// Calls `f(i, chunk of a, chunk of b)`. Both slices must have the same number of chunks.
pub(crate) fn chunks2<A: Send, B: Send>(
    (a, chunk_a): (&mut [A], usize),
    (b, chunk_b): (&mut [B], usize),
    f: impl Fn(usize, &mut [A], &mut [B]) + Send + Sync,
) {
    debug_assert_eq!(a.len().div_ceil(chunk_a), b.len().div_ceil(chunk_b));
    each(a.chunks_mut(chunk_a).zip(b.chunks_mut(chunk_b)).collect(), |i, (a, b)| f(i, a, b));
}

/// [`chunks2`] for three slices.
pub(crate) fn chunks3<A: Send, B: Send, C: Send>(
    (a, chunk_a): (&mut [A], usize),
    (b, chunk_b): (&mut [B], usize),
    (c, chunk_c): (&mut [C], usize),
    f: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Send + Sync,
) {
    let all = a.chunks_mut(chunk_a).zip(b.chunks_mut(chunk_b)).zip(c.chunks_mut(chunk_c));
    each(all.collect(), |i, ((a, b), c)| f(i, a, b, c));
}

/// [`chunks2`] for four slices.
pub(crate) fn chunks4<A: Send, B: Send, C: Send, D: Send>(
    (a, chunk_a): (&mut [A], usize),
    (b, chunk_b): (&mut [B], usize),
    (c, chunk_c): (&mut [C], usize),
    (d, chunk_d): (&mut [D], usize),
    f: impl Fn(usize, &mut [A], &mut [B], &mut [C], &mut [D]) + Send + Sync,
) {
    let first = a.chunks_mut(chunk_a).zip(b.chunks_mut(chunk_b));
    let second = c.chunks_mut(chunk_c).zip(d.chunks_mut(chunk_d));
    each(first.zip(second).collect(), |i, ((a, b), (c, d))| f(i, a, b, c, d));
}
