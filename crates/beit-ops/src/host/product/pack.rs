//! Packing: operands in the order in which kernels read them.

use super::micro::{BLOCK, Micro};
use crate::host::par;
use core::ops::Range;
use ndarray::{ArrayView2, Axis, s};

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Panels that one task packs.
const PANELS_PER_TASK: usize = 4;

/// One panel: `lanes [L, K]` restricted to a range of each, `out[k, lane]` with `width` lanes, zero where `lanes` ends.
#[inline(always)]
pub(super) fn panel<M: Micro>(
    kernel: M,
    lanes: ArrayView2<'_, f32>,
    which: Range<usize>,
    depth: Range<usize>,
    width: usize,
    out: &mut [M::Packed],
) {
    let part = lanes.slice(s![which, depth]);
    if part.nrows() < width {
        out.fill(M::Packed::default());
    }
    if part.strides()[1] == 1 {
        along_depth(kernel, part, width, out);
    } else {
        across_depth::<M>(part, width, out);
    }
}

/// Lanes of the widest panel.
const WIDEST: usize = 32;

/// Each lane is contiguous: a transposition, in blocks.
#[inline(always)]
fn along_depth<M: Micro>(kernel: M, part: ArrayView2<'_, f32>, width: usize, out: &mut [M::Packed]) {
    let (lanes, depth) = part.dim();
    let mut slices = [&[][..]; WIDEST];
    for (slice, lane) in slices.iter_mut().zip(part.outer_iter()) {
        *slice = lane.to_slice().expect("the stride along the depth is one");
    }
    let slices = &slices[..lanes];
    let numbers = BLOCK * M::PACKED;
    let whole = depth - depth % numbers;
    // Along the depth first: what is written stays in one piece.
    for begin in (0..whole).step_by(numbers) {
        let out = &mut out[begin / M::PACKED * width..][..BLOCK * width];
        for (group, lanes) in slices.chunks(BLOCK).enumerate() {
            let mut block = [[M::Packed::default(); BLOCK]; BLOCK];
            for (block, lane) in block.iter_mut().zip(lanes) {
                pack_lane::<M>(&lane[begin..begin + numbers], block);
            }
            kernel.turn(&mut block);
            let lanes = lanes.len();
            for (out, block) in out.chunks_exact_mut(width).zip(&block) {
                let out = &mut out[group * BLOCK..];
                // Copies of constant length are single instructions.
                match out.first_chunk_mut::<BLOCK>() {
                    Some(out) if lanes == BLOCK => *out = *block,
                    _ => out.iter_mut().zip(&block[..lanes]).for_each(|(out, &number)| *out = number),
                }
            }
        }
    }
    for (lane, numbers) in slices.iter().enumerate() {
        let out = out[whole / M::PACKED * width..].iter_mut().skip(lane).step_by(width);
        for (out, numbers) in out.zip(numbers[whole..].chunks(M::PACKED)) {
            *out = M::pack([numbers[0], numbers.get(1).copied().unwrap_or(0.0)]);
        }
    }
}

/// A block of one lane.
#[inline(always)]
fn pack_lane<M: Micro>(numbers: &[f32], out: &mut [M::Packed; BLOCK]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = M::pack([numbers[i * M::PACKED], numbers[i * M::PACKED + M::PACKED - 1]]);
    }
}

/// Lanes lie side by side, or nowhere near each other: a copy of rows.
#[inline(always)]
fn across_depth<M: Micro>(part: ArrayView2<'_, f32>, width: usize, out: &mut [M::Packed]) {
    let mut steps = part.axis_iter(Axis(1));
    let zeros = [0.0; WIDEST];
    for out in out.chunks_exact_mut(width) {
        let Some(first) = steps.next() else { break };
        let second = if M::PACKED == 2 { steps.next() } else { None };
        match (first.to_slice(), second.map_or(Some(&zeros[..]), |second| second.to_slice())) {
            // The width is a constant where this is inlined, and so is the length of the loop.
            (Some(first), Some(second)) if first.len() == width => {
                let (first, second) = (&first[..width], &second[..width]);
                for lane in 0..width {
                    out[lane] = M::pack([first[lane], second[lane]]);
                }
            }
            _ => {
                for (lane, out) in out.iter_mut().take(first.len()).enumerate() {
                    *out = M::pack([first[lane], second.as_ref().map_or(0.0, |second| second[lane])]);
                }
            }
        }
    }
}

/// The right operand of a product, packed once and read by every task.
pub struct Right<M: Micro> {
    buffer: alloc::vec::Vec<M::Packed>,
    /// Where the panels begin: on a line of the cache, lest every other load of a kernel touch two.
    begin: usize,
    /// Numbers along the depth.
    depth: usize,
    columns: usize,
}

impl<M: Micro> Right<M> {
    /// Packs `right [K, N]`, given as its transpose `[N, K]`, over all cores.
    pub(crate) fn pack(kernel: M, lanes: ArrayView2<'_, f32>) -> Self {
        Self::pack_by(kernel, lanes, |out, chunk, f| par::chunks(out, chunk, f))
    }

    /// [`pack`](Right::pack) in the calling thread.
    pub(crate) fn pack_serial(kernel: M, lanes: ArrayView2<'_, f32>) -> Self {
        Self::pack_by(kernel, lanes, |out, chunk, f| {
            out.chunks_mut(chunk).enumerate().for_each(|(i, out)| f(i, out))
        })
    }

    fn pack_by(
        kernel: M,
        lanes: ArrayView2<'_, f32>,
        for_chunks: impl Fn(&mut [M::Packed], usize, &(dyn Fn(usize, &mut [M::Packed]) + Send + Sync)),
    ) -> Self {
        let (columns, depth) = lanes.dim();
        let panels = columns.div_ceil(M::COLUMNS);
        let len = depth.div_ceil(M::PACKED) * panels * M::COLUMNS;
        let mut buffer = M::buffers().take(len + LINE / size_of::<M::Packed>(), M::Packed::default());
        let start = buffer.as_ptr().align_offset(LINE);
        let packed = &mut buffer[start..start + len];
        for block in blocks::<M>(depth) {
            let steps = block.len().div_ceil(M::PACKED);
            let begin = block.start / M::PACKED * panels * M::COLUMNS;
            let out = &mut packed[begin..begin + steps * panels * M::COLUMNS];
            let size = steps * M::COLUMNS;
            for_chunks(out, size * PANELS_PER_TASK, &|task, out| {
                par::simd(
                    #[inline(always)]
                    || {
                        for (i, out) in out.chunks_exact_mut(size).enumerate() {
                            let first = (task * PANELS_PER_TASK + i) * M::COLUMNS;
                            let which = first..columns.min(first + M::COLUMNS);
                            panel(kernel, lanes, which, block.clone(), M::COLUMNS, out);
                        }
                    },
                );
            });
        }
        Self { buffer, begin: start, depth, columns }
    }

    /// The panels of one block of the depth, from panel `first` on.
    #[inline(always)]
    pub(super) fn panels(
        &self,
        block: &Range<usize>,
        first: usize,
    ) -> core::slice::ChunksExact<'_, M::Packed> {
        let panels = self.columns.div_ceil(M::COLUMNS);
        let steps = block.len().div_ceil(M::PACKED);
        let begin = self.begin + block.start / M::PACKED * panels * M::COLUMNS;
        let end = begin + panels * steps * M::COLUMNS;
        let size = steps * M::COLUMNS;
        self.buffer[begin + first * size..end].chunks_exact(size)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

impl<M: Micro> Drop for Right<M> {
    fn drop(&mut self) {
        M::buffers().give(core::mem::take(&mut self.buffer));
    }
}

/// The depth in blocks of nearly one size, at most [`Micro::DEPTH`] each, all but the last a whole number of
/// [`Micro::PACKED`].
pub(super) fn blocks<M: Micro>(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let steps = depth.div_ceil(M::PACKED);
    let block = steps.div_ceil(steps.div_ceil(M::DEPTH).max(1)).max(1) * M::PACKED;
    (0..depth).step_by(block).map(move |begin| begin..depth.min(begin + block))
}
