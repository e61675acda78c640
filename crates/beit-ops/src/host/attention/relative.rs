//! The relative position bias of one head, one row of patches at a time.
//!
//! For a fixed query, the keys of one row of patches read consecutive rows of the table, in descending order. So the column of
//! each head is reversed once. Reading the bias is then one copy for each row of patches, and summing its gradient is one
//! addition:
//!
//! ```text
//!   one head's column of the table, reversed          scores of query q
//!
//!   ... ┌──── w ────┐ ...   2w - 1 later   ┌──── w ────┐ ...      ┌───────┬───────────┬───────────┬───
//!       │ keys of   │                      │ keys of   │     ──►  │ [CLS] │ row 0     │ row 1     │ ...
//!       │ row 0     │                      │ row 1     │          └───────┴───────────┴───────────┴───
//! ```

use crate::host::array::{Array, data, data_mut, zeros};
use crate::host::par;
use crate::host::real::Real;
use crate::host::reduce::sum;
use crate::ops::{AttentionShape, QkvBias, QkvBiasGrad};
use crate::{relative_position_index, relative_position_rows};
use alloc::vec::Vec;

/// Runs are copied and added in steps of this many numbers, so that the loops have a constant length. The last step of a run may
/// reach beyond it.
const STEP: usize = 8;

/// The summed tables of a layer, head by head.
pub(super) struct Tables<F: Real> {
    window: [usize; 2],
    /// `[H, R]`, and [`STEP`] elements more. Of each head first the rows between patches, reversed, then the three of \[CLS\].
    reversed: Array<F>,
}

impl<F: Real> Tables<F> {
    /// The sum of the layer's own table and the shared one, or `None` if there is neither.
    pub(super) fn new(bias: &QkvBias<'_, Array<F>>, shape: AttentionShape) -> Option<Self> {
        let tables: Vec<&[F]> = [bias.table, bias.shared].into_iter().flatten().map(data).collect();
        if tables.is_empty() {
            return None;
        }
        let rows = relative_position_rows(shape.window);
        let mut reversed = zeros([shape.heads * rows + STEP]);
        for table in tables {
            let reversed = data_mut(&mut reversed);
            for (at, sum) in reversed[..shape.heads * rows].iter_mut().enumerate() {
                *sum += table[reverse(at % rows, rows) * shape.heads + at / rows];
            }
        }
        Some(Self { window: shape.window, reversed })
    }

    /// Writes the bias of the queries from `first` on into `scores [.., T]`. The [`SLACK`] elements behind it may be overwritten.
    pub(super) fn write_bias(&self, head: usize, first: usize, tokens: usize, scores: &mut [F]) {
        let rows = relative_position_rows(self.window);
        let table = &self.reversed[head * rows..];
        let width = self.window[1];
        par::simd(
            #[inline(always)]
            || {
                for q in 0..(scores.len() - SLACK) / tokens {
                    let to = &mut scores[q * tokens..];
                    to[0] = table[reversed_row(self.window, first + q, 0)];
                    if first + q == 0 {
                        to[1..tokens].fill(table[rows - 3]);
                        continue;
                    }
                    let mut begin = reversed_row(self.window, first + q, 1);
                    for row in 0..self.window[0] {
                        copy_run(&mut to[1 + row * width..], &table[begin..], width);
                        begin += 2 * width - 1;
                    }
                }
            },
        );
    }

    /// Adds the gradient of the scores of the queries from `first` on to `d_table [R]`, the reversed table of one head. Both
    /// `d_scores [.., T]` and `d_table` have [`SLACK`] elements more.
    pub(super) fn add_gradient(&self, first: usize, tokens: usize, d_scores: &[F], d_table: &mut [F]) {
        let rows = d_table.len() - SLACK;
        let width = self.window[1];
        par::simd(
            #[inline(always)]
            || {
                for q in 0..(d_scores.len() - SLACK) / tokens {
                    let from = &d_scores[q * tokens..];
                    d_table[reversed_row(self.window, first + q, 0)] += from[0];
                    if first + q == 0 {
                        d_table[rows - 3] += sum(tokens - 1, |k| from[1 + k]);
                        continue;
                    }
                    let mut begin = reversed_row(self.window, first + q, 1);
                    for row in 0..self.window[0] {
                        add_run(&mut d_table[begin..], &from[1 + row * width..], width);
                        begin += 2 * width - 1;
                    }
                }
            },
        );
    }

    /// The number of rows of a table.
    pub(super) fn rows(&self) -> usize {
        relative_position_rows(self.window)
    }
}

/// How many elements behind a run must exist: the last step reads and writes them.
pub(super) const SLACK: usize = STEP;

/// Adds the sum over images of `partials [B, H, R + SLACK]`, gradients of the reversed table, to the gradients of the tables.
pub(super) fn add_to_tables<F: Real>(
    partials: &[F],
    shape: AttentionShape,
    d_bias: &mut QkvBiasGrad<'_, Array<F>>,
) {
    let rows = relative_position_rows(shape.window);
    for table in [&mut d_bias.table, &mut d_bias.shared].into_iter().flatten() {
        let table = data_mut(table);
        for (task, partial) in partials.chunks_exact(rows + SLACK).enumerate() {
            let head = task % shape.heads;
            for (row, &d) in partial[..rows].iter().enumerate() {
                table[reverse(row, rows) * shape.heads + head] += d;
            }
        }
    }
}

/// The position of a row in the reversed table, and of a row of the reversed table in the original.
#[inline(always)]
fn reverse(row: usize, rows: usize) -> usize {
    if row < rows - 3 { rows - 4 - row } else { row }
}

/// The row of the reversed table for query `q` and key `k`.
#[inline(always)]
fn reversed_row(window: [usize; 2], q: usize, k: usize) -> usize {
    reverse(relative_position_index(window, q, k), relative_position_rows(window))
}

/// Copies `len` numbers, and those that follow up to a whole number of steps.
#[inline(always)]
fn copy_run<F: Real>(to: &mut [F], from: &[F], len: usize) {
    let whole = len.next_multiple_of(STEP);
    for (to, from) in
        to[..whole].as_chunks_mut::<STEP>().0.iter_mut().zip(from[..whole].as_chunks::<STEP>().0)
    {
        *to = *from;
    }
}

/// Adds `len` numbers, and zeros up to a whole number of steps.
#[inline(always)]
fn add_run<F: Real>(to: &mut [F], from: &[F], len: usize) {
    let whole = len.next_multiple_of(STEP);
    let steps = to[..whole].as_chunks_mut::<STEP>().0.iter_mut().zip(from[..whole].as_chunks::<STEP>().0);
    for (step, (to, from)) in steps.enumerate() {
        for i in 0..STEP {
            to[i] += if step * STEP + i < len { from[i] } else { F::from_f64(0.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Host;
    use crate::prelude::*;
    use alloc::vec;

    /// Every element of the bias against the index, and the gradient as its transpose. Some windows are narrower than a step.
    #[test]
    fn against_the_index() {
        for window in [[1, 1], [2, 3], [3, 9], [14, 14], [2, 8]] {
            let (tokens, heads) = (window[0] * window[1] + 1, 2);
            let rows = relative_position_rows(window);
            let shape = AttentionShape { heads, tokens, window };
            let numbers: Vec<f32> = (0..rows * heads).map(|i| i as f32).collect();
            let table = Host::<f64>::new().upload([rows, heads], &numbers);
            let zero = Host::<f64>::new().zeros([1]);
            let bias = QkvBias { q: &zero, v: &zero, table: Some(&table), shared: None };
            let tables = Tables::new(&bias, shape).expect("there is a table");
            for head in 0..heads {
                for first in [0, 1] {
                    let mut scores = vec![0.0; (tokens - first) * tokens + SLACK];
                    tables.write_bias(head, first, tokens, &mut scores);
                    let mut counts = vec![0.0; rows + SLACK];
                    let mut d_table = vec![0.0; rows + SLACK];
                    let d: Vec<f64> = (0..scores.len()).map(|i| (i % 17) as f64).collect();
                    tables.add_gradient(first, tokens, &d, &mut d_table);
                    for (i, &score) in scores[..(tokens - first) * tokens].iter().enumerate() {
                        let row = relative_position_index(window, first + i / tokens, i % tokens);
                        assert_eq!(score, (row * heads + head) as f64, "{window:?} {i}");
                        counts[reverse(row, rows)] += d[i];
                    }
                    assert_eq!(d_table, counts);
                }
            }
        }
    }
}
