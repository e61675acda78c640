//! Products over all threads, by a kernel, with the epilogue computed while the result is in the cache.
//!
//! The right operand is packed once, by all threads. The result is then split into parts, one task each. A task passes over its
//! part like this (for AVX2: a tile is 6 x 16, a group 128 columns, a part about 66 rows):
//!
//! ```text
//!   for each block of the depth            at most DEPTH steps
//!     pack the rows of the left operand    up to LEFT_BLOCK elements, which stay in the second-level cache
//!     for each group of columns            GROUP panels of the right operand
//!       for each right panel               read once in each task, the next one prefetched meanwhile
//!         for each left panel
//!           tile = left panel · right panel             ┌ group ────────┐┌ group ─ ...
//!           c[tile] = or += tile                        │tile│tile│tile ││
//!       after the last block: epilogue of the group     ├────┼────┼──── ││   ← each row of the group is
//!                                                       │tile│tile│tile ││     one call of the epilogue
//! ```
//!
//! A group is as wide as it is because the epilogue is called for each row of it: 16 numbers a call are slow, 128 cost nothing
//! measurable (docs/bench/cpu.md). It is no wider because its results should still be in the cache.
//!
//! Only the kernel's blocks of the depth split a sum. So neither the number of threads nor the shape of the parts changes a bit.

use super::destination::{Destination, Epilogue, into_rows, no_epilogue, split_blocks};
use super::engine::Engine;
use super::micro::Microkernel;
use super::operand::Left;
use super::pack::{self, AlignedBuffer, PanelLayout, Right};
use crate::host::par;
use crate::host::reduce::add;
use alloc::vec::Vec;
use core::iter::Peekable;
use core::ops::Range;
use core::slice::ChunksExact;
use ndarray::ArrayView2;

/// Right panels in a group.
const GROUP: usize = 8;
/// Columns are split until the time for which threads are idle is at most one part in this many of their work.
const IDLE: usize = 16;
/// Elements of the largest tile of any kernel.
const LARGEST_TILE: usize = 32 * 32;

/// A tile of any kernel, aligned to lines of the cache.
#[repr(align(64))]
struct Tile([f32; LARGEST_TILE]);

/// A part of the result, with its first row and column.
struct Part<'a> {
    row: usize,
    column: usize,
    into: Destination<'a, f32>,
}

/// `c = left [M, K] · right [K, N]` over all threads.
pub(super) fn multiply<M: Microkernel>(
    kernel: M,
    left: ArrayView2<'_, f32>,
    right: &Right<M>,
    into: Destination<'_, f32>,
    epilogue: &Epilogue<'_, f32>,
) {
    assert!(left.ncols() == right.depth(), "matrix product of unequal inner extents");
    assert!(into.c.dim() == (left.nrows(), right.columns()), "matrix product into another extent");
    let parts = split_parts::<M>(into, par::threads());
    par::each(parts, |_, part| multiply_part(kernel, &left.into(), right, part, epilogue));
}

impl<M: Microkernel> Engine<f32> for M {
    type Right = Right<M>;
    fn pack(self, transposed: ArrayView2<'_, f32>) -> Right<M> {
        Right::pack_serial(self, transposed)
    }
    fn multiply_serial<'a>(
        self,
        left: impl Into<Left<'a, f32>>,
        right: &Right<M>,
        into: Destination<'_, f32>,
    ) {
        let left = left.into();
        assert!(left.extents() == (into.c.nrows(), right.depth()), "matrix product of unequal extents");
        for part in split_parts::<M>(into, 1) {
            multiply_part(self, &left, right, part, &no_epilogue);
        }
    }
}

/// Splits the result into parts. The rows of a part are as many as fit the cache once they are packed. If they alone do not make
/// enough parts for all threads, columns are split too.
fn split_parts<M: Microkernel>(into: Destination<'_, f32>, threads: usize) -> Vec<Part<'_>> {
    let (m, n) = into.c.dim();
    if m == 0 || n == 0 {
        return Vec::new();
    }
    let most = (M::LEFT_BLOCK / M::DEPTH).next_multiple_of(M::ROWS);
    let rows = m.div_ceil(m.div_ceil(most)).next_multiple_of(M::ROWS);
    let wide = column_splits(m.div_ceil(rows), threads);
    let columns = n.div_ceil(wide).next_multiple_of(M::COLUMNS);
    let Destination { c, second, accumulate } = into;
    let mut second = second.map(|second| split_blocks(second, rows, columns).into_iter());
    split_blocks(c, rows, columns)
        .into_iter()
        .map(|(row, column, c)| {
            let second = second.as_mut().and_then(Iterator::next).map(|(_, _, second)| second);
            Part { row, column, into: Destination { c, second, accumulate } }
        })
        .collect()
}

/// Into how many parts to split the columns when the rows make `tall` parts.
///
/// Each split packs the same rows of the left operand again. So this is the smallest number with which few threads are idle while
/// the last parts are computed. With one split for each thread, none is.
pub(super) fn column_splits(tall: usize, threads: usize) -> usize {
    let few_idle = |wide: &usize| {
        let parts = tall * wide;
        IDLE * (parts.next_multiple_of(threads) - parts) <= parts
    };
    (1..threads).find(few_idle).unwrap_or(threads)
}

/// Computes one part of the result in the calling thread.
fn multiply_part<M: Microkernel>(
    kernel: M,
    left: &Left<'_, f32>,
    right: &Right<M>,
    part: Part<'_>,
    epilogue: &Epilogue<'_, f32>,
) {
    let (m, n) = part.into.c.dim();
    let mut c = into_rows(part.into.c);
    let mut second = part.into.second.map(into_rows).unwrap_or_default();
    let (depth, panels) = (right.depth(), m.div_ceil(M::ROWS));
    let steps = pack::steps::<M>(depth).min(M::DEPTH);
    let mut packed = AlignedBuffer::<M::Packed>::take(panels * steps * M::ROWS);
    kernel.simd_configured(
        #[inline(always)]
        || {
            let mut tile = Tile([0.0; LARGEST_TILE]);
            let tile = &mut tile.0[..M::ROWS * M::COLUMNS];
            for block in pack::blocks::<M>(depth) {
                let panel_len = pack::steps::<M>(block.len()) * M::ROWS;
                let left_panels = &mut packed[..panels * panel_len];
                pack_left(kernel, left, part.row..part.row + m, block.clone(), left_panels);
                let replace = block.start == 0 && !part.into.accumulate;
                let block_of_left = LeftBlock { kernel, panels: left_panels, panel_len, replace };
                let mut right_panels = right.panels(&block, part.column / M::COLUMNS).peekable();
                for begin in (0..n).step_by(GROUP * M::COLUMNS) {
                    let group = begin..n.min(begin + GROUP * M::COLUMNS);
                    block_of_left.multiply_group(&mut right_panels, &mut c, group.clone(), tile);
                    if block.end < depth {
                        continue;
                    }
                    for (row, c) in c.iter_mut().enumerate() {
                        let second = second.get_mut(row).map_or(&mut [][..], |row| &mut row[group.clone()]);
                        epilogue(part.row + row, part.column + begin, &mut c[group.clone()], second);
                    }
                }
            }
        },
    );
}

/// Packs some rows of the left operand, one block of the depth, panel after panel.
#[inline(always)]
fn pack_left<M: Microkernel>(
    kernel: M,
    left: &Left<'_, f32>,
    rows: Range<usize>,
    depth: Range<usize>,
    out: &mut [M::Packed],
) {
    let panel_len = pack::steps::<M>(depth.len()) * M::ROWS;
    for (i, out) in out.chunks_exact_mut(panel_len).enumerate() {
        let first = rows.start + i * M::ROWS;
        let which = first..rows.end.min(first + M::ROWS);
        match *left {
            Left::Matrix(left) => {
                pack::matrix_panel(kernel, left, which, depth.clone(), PanelLayout::left::<M>(), out)
            }
            Left::Patches(patches) => pack::pixel_panel(kernel, patches, which, depth.clone(), out),
            Left::PatchesTransposed(patches) => pack::tap_panel(kernel, patches, which, depth.clone(), out),
        }
    }
}

/// The packed rows of the left operand of one part, one block of the depth.
struct LeftBlock<'a, M: Microkernel> {
    kernel: M,
    panels: &'a [M::Packed],
    /// Packed elements of a panel.
    panel_len: usize,
    /// Whether tiles replace what is in the result, or are added to it.
    replace: bool,
}

impl<M: Microkernel> LeftBlock<'_, M> {
    /// Multiplies by the right panels of a group of columns.
    #[inline(always)]
    fn multiply_group(
        &self,
        right: &mut Peekable<ChunksExact<'_, M::Packed>>,
        c: &mut [&mut [f32]],
        group: Range<usize>,
        tile: &mut [f32],
    ) {
        for column in group.clone().step_by(M::COLUMNS) {
            let Some(panel) = right.next() else { break };
            let next = right.peek().copied().unwrap_or_default();
            self.multiply_panel([panel, next], c, column..group.end.min(column + M::COLUMNS), tile);
        }
    }

    /// Multiplies by one right panel. The next one lies in memory or the third-level cache, so each left panel prefetches an
    /// equal share of it.
    #[inline(always)]
    fn multiply_panel(
        &self,
        [right, next]: [&[M::Packed]; 2],
        c: &mut [&mut [f32]],
        columns: Range<usize>,
        tile: &mut [f32],
    ) {
        let count = self.panels.len() / self.panel_len;
        for (i, left) in self.panels.chunks_exact(self.panel_len).enumerate() {
            let prefetch = &next[next.len() * i / count..];
            let first = i * M::ROWS;
            let last = c.len().min(first + M::ROWS);
            let rows = &mut c[first..last];
            for row in rows.iter() {
                // The rows of a tile are far from each other, so the prefetcher of the hardware does not see them coming.
                self.kernel.prefetch(&row[columns.start]);
            }
            self.kernel.multiply(left, right, prefetch, tile);
            for (row, sums) in rows.iter_mut().zip(tile.chunks_exact(M::COLUMNS)) {
                let row = &mut row[columns.clone()];
                if row.len() == M::COLUMNS {
                    // The constant length compiles to a few instructions instead of a call.
                    self.store(&mut row[..M::COLUMNS], &sums[..M::COLUMNS]);
                } else {
                    self.store(row, &sums[..row.len()]);
                }
            }
        }
    }

    #[inline(always)]
    fn store(&self, c: &mut [f32], sums: &[f32]) {
        if self.replace {
            c.copy_from_slice(sums);
        } else {
            add(c, sums);
        }
    }
}
