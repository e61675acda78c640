//! The relative position bias of one head, a line of keys at a time.
//!
//! For a fixed query the table rows of one line of keys follow each other, backwards. With a head's column of the table turned
//! round, reading a bias is copying one run for every line of keys, and adding up its gradient is adding one.

use crate::host::array::{Array, data, data_mut, zeros};
use crate::host::par;
use crate::host::real::Real;
use crate::ops::{AttentionShape, QkvBias, QkvBiasGrad};
use crate::{relative_position_index, relative_position_rows};
use alloc::vec::Vec;

/// Numbers that are moved at a time: what lies behind a run may be moved along.
const STEP: usize = 8;

/// The tables of a layer, head by head.
pub(super) struct Tables<F: Real> {
    window: [usize; 2],
    /// `[H, R]` and [`STEP`] more, each head's rows between patches in reverse, then the three of \[CLS\] as they are.
    turned: Array<F>,
}

impl<F: Real> Tables<F> {
    /// The sum of the tables there are.
    pub(super) fn new(bias: &QkvBias<'_, Array<F>>, shape: AttentionShape) -> Option<Self> {
        let tables: Vec<&[F]> = [bias.table, bias.shared].into_iter().flatten().map(data).collect();
        if tables.is_empty() {
            return None;
        }
        let rows = relative_position_rows(shape.window);
        let mut turned = zeros([shape.heads * rows + STEP]);
        for table in tables {
            let turned = data_mut(&mut turned);
            for (at, sum) in turned[..shape.heads * rows].iter_mut().enumerate() {
                *sum += table[turn(at % rows, rows) * shape.heads + at / rows];
            }
        }
        Some(Self { window: shape.window, turned })
    }

    /// Writes the bias of the queries from `first` on into `scores [.., T]`, and anything into [`SLACK`] elements behind it.
    pub(super) fn copy(&self, head: usize, first: usize, tokens: usize, scores: &mut [F]) {
        let rows = relative_position_rows(self.window);
        let table = &self.turned[head * rows..];
        let width = self.window[1];
        par::simd(
            #[inline(always)]
            || {
                for q in 0..(scores.len() - SLACK) / tokens {
                    let to = &mut scores[q * tokens..];
                    to[0] = table[turned_row(self.window, first + q, 0)];
                    if first + q == 0 {
                        to[1..tokens].fill(table[rows - 3]);
                        continue;
                    }
                    let mut begin = turned_row(self.window, first + q, 1);
                    for line in 0..self.window[0] {
                        copy_run(&mut to[1 + line * width..], &table[begin..], width);
                        begin += 2 * width - 1;
                    }
                }
            },
        );
    }

    /// Adds the gradient of the scores of the queries from `first` on to `d_table [R]` of one head, turned round;
    /// `d_scores [.., T]` has [`SLACK`] elements more, and so has `d_table`.
    pub(super) fn add(&self, first: usize, tokens: usize, d_scores: &[F], d_table: &mut [F]) {
        let rows = d_table.len() - SLACK;
        let width = self.window[1];
        par::simd(
            #[inline(always)]
            || {
                for q in 0..(d_scores.len() - SLACK) / tokens {
                    let from = &d_scores[q * tokens..];
                    d_table[turned_row(self.window, first + q, 0)] += from[0];
                    if first + q == 0 {
                        d_table[rows - 3] += super::super::rows::sum(tokens - 1, |k| from[1 + k]);
                        continue;
                    }
                    let mut begin = turned_row(self.window, first + q, 1);
                    for line in 0..self.window[0] {
                        add_run(&mut d_table[begin..], &from[1 + line * width..], width);
                        begin += 2 * width - 1;
                    }
                }
            },
        );
    }

    /// Rows of a table.
    pub(super) fn rows(&self) -> usize {
        relative_position_rows(self.window)
    }
}

/// What must be readable and writable behind a run.
pub(super) const SLACK: usize = STEP;

/// Adds the sum over images of `partial [B, H, R + SLACK]`, turned round, to the gradients of the tables.
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
                table[turn(row, rows) * shape.heads + head] += d;
            }
        }
    }
}

/// Where a row of the table is once those between patches are reversed, and back.
#[inline(always)]
fn turn(row: usize, rows: usize) -> usize {
    if row < rows - 3 { rows - 4 - row } else { row }
}

#[inline(always)]
fn turned_row(window: [usize; 2], q: usize, k: usize) -> usize {
    turn(relative_position_index(window, q, k), relative_position_rows(window))
}

/// Copies `len` numbers and what follows them up to a whole number of steps.
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
        for lane in 0..STEP {
            to[lane] += if step * STEP + lane < len { from[lane] } else { F::of(0.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Host;
    use crate::prelude::*;
    use alloc::vec;

    /// Every element of the bias against the index, and the gradient as its transpose, for windows on both sides of a step.
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
                    tables.copy(head, first, tokens, &mut scores);
                    let mut counts = vec![0.0; rows + SLACK];
                    let mut d_table = vec![0.0; rows + SLACK];
                    let d: Vec<f64> = (0..scores.len()).map(|i| (i % 17) as f64).collect();
                    tables.add(first, tokens, &d, &mut d_table);
                    for (i, &score) in scores[..(tokens - first) * tokens].iter().enumerate() {
                        let row = relative_position_index(window, first + i / tokens, i % tokens);
                        assert_eq!(score, (row * heads + head) as f64, "{window:?} {i}");
                        counts[turn(row, rows)] += d[i];
                    }
                    assert_eq!(d_table, counts);
                }
            }
        }
    }
}
