//! Packing: operands in the order in which kernels read them.

use super::micro::{BLOCK, Micro, Packed};
use crate::host::conv::Patches;
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
        let mut slices = [&[][..]; WIDEST];
        for (slice, lane) in slices.iter_mut().zip(part.outer_iter()) {
            *slice = lane.to_slice().expect("the stride along the depth is one");
        }
        along_depth(kernel, &slices[..part.nrows()], width, out);
    } else {
        across_depth::<M>(part, width, out);
    }
}

/// Lanes of the widest panel.
const WIDEST: usize = 32;

/// Each lane is contiguous: a transposition, in blocks.
#[inline(always)]
fn along_depth<M: Micro>(kernel: M, slices: &[&[f32]], width: usize, out: &mut [M::Packed]) {
    let depth = slices.first().map_or(0, |lane| lane.len());
    let numbers = BLOCK * M::Packed::NUMBERS;
    let whole = depth - depth % numbers;
    // Along the depth first: what is written stays in one piece.
    for begin in (0..whole).step_by(numbers) {
        let out = &mut out[begin / M::Packed::NUMBERS * width..][..BLOCK * width];
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
        let out = out[whole / M::Packed::NUMBERS * width..].iter_mut().skip(lane).step_by(width);
        for (out, numbers) in out.zip(numbers[whole..].chunks(M::Packed::NUMBERS)) {
            *out = M::Packed::pack([numbers[0], numbers.get(1).copied().unwrap_or(0.0)]);
        }
    }
}

/// A block of one lane.
#[inline(always)]
fn pack_lane<M: Micro>(numbers: &[f32], out: &mut [M::Packed; BLOCK]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = M::Packed::pack([
            numbers[i * M::Packed::NUMBERS],
            numbers[i * M::Packed::NUMBERS + M::Packed::NUMBERS - 1],
        ]);
    }
}

/// Lanes lie side by side, or nowhere near each other: a copy of rows.
#[inline(always)]
fn across_depth<M: Micro>(part: ArrayView2<'_, f32>, width: usize, out: &mut [M::Packed]) {
    let mut steps = part.axis_iter(Axis(1));
    let zeros = [0.0; WIDEST];
    for out in out.chunks_exact_mut(width) {
        let Some(first) = steps.next() else { break };
        let second = if M::Packed::NUMBERS == 2 { steps.next() } else { None };
        match (first.to_slice(), second.map_or(Some(&zeros[..]), |second| second.to_slice())) {
            // The width is a constant where this is inlined, and so is the length of the loop.
            (Some(first), Some(second)) if first.len() == width => {
                let (first, second) = (&first[..width], &second[..width]);
                for lane in 0..width {
                    out[lane] = M::Packed::pack([first[lane], second[lane]]);
                }
            }
            _ => {
                for (lane, out) in out.iter_mut().take(first.len()).enumerate() {
                    *out = M::Packed::pack([first[lane], second.as_ref().map_or(0.0, |second| second[lane])]);
                }
            }
        }
    }
}

/// A panel of the surroundings of pixels: a lane for each pixel. Compiled once for a kernel: it is called rarely.
#[inline(never)]
pub(super) fn pixels<M: Micro>(
    kernel: M,
    patches: Patches<'_, f32>,
    which: Range<usize>,
    depth: Range<usize>,
    out: &mut [M::Packed],
) {
    if which.len() < M::ROWS {
        out.fill(M::Packed::default());
    }
    let pixels = which.len();
    let mut begins = [0; WIDEST];
    begins.iter_mut().zip(which).for_each(|(begin, pixel)| *begin = patches.begin(pixel));
    let begins = &begins[..pixels];
    kernel.simd(
        #[inline(always)]
        || {
            let mut at = depth.start;
            let mut out = out;
            while at < depth.end {
                let run = depth.end.min(at + patches.run() - at % patches.run()) - at;
                let mut slices = [&[][..]; WIDEST];
                let offset = patches.offset(at);
                // Where runs are no whole number of blocks, some numbers of several of them are brought together first.
                let mut mixed = [[0.0; MIXED]; WIDEST];
                let len = if run.is_multiple_of(BLOCK * M::Packed::NUMBERS) {
                    for (slice, begin) in slices.iter_mut().zip(begins) {
                        *slice = &patches.at(begin + offset)[..run];
                    }
                    run
                } else {
                    let len = MIXED.min(depth.end - at);
                    for k in 0..len {
                        let offset = patches.offset(at + k);
                        for (lane, begin) in mixed.iter_mut().zip(begins) {
                            lane[k] = patches.at(begin + offset)[0];
                        }
                    }
                    slices.iter_mut().zip(&mixed).for_each(|(slice, lane)| *slice = &lane[..len]);
                    len
                };
                let (head, rest) =
                    core::mem::take(&mut out).split_at_mut(len.div_ceil(M::Packed::NUMBERS) * M::ROWS);
                along_depth(kernel, &slices[..pixels], M::ROWS, head);
                out = rest;
                at += len;
            }
        },
    );
}

/// Numbers of a lane that are brought together: a multiple of all blocks.
const MIXED: usize = 64;

/// A panel of the surroundings of pixels: a lane for each tap, pixels along the depth.
#[inline(never)]
pub(super) fn taps<M: Micro>(
    kernel: M,
    patches: Patches<'_, f32>,
    which: Range<usize>,
    mut depth: Range<usize>,
    out: &mut [M::Packed],
) {
    let taps = which.len();
    let mut offsets = [0; WIDEST];
    offsets.iter_mut().zip(which).for_each(|(offset, tap)| *offset = patches.offset(tap));
    let offsets = &offsets[..taps];
    let together = taps == M::ROWS && offsets.windows(2).all(|two| two[1] == two[0] + 1);
    if taps < M::ROWS {
        out.fill(M::Packed::default());
    }
    kernel.simd(
        #[inline(always)]
        || {
            let zeros = [0.0; WIDEST];
            for out in out.chunks_exact_mut(M::ROWS) {
                let Some(first) = depth.next() else { break };
                let first = patches.begin(first);
                let second = if M::Packed::NUMBERS == 2 {
                    depth.next().map(|pixel| patches.begin(pixel))
                } else {
                    None
                };
                if together {
                    let first = &patches.at(first + offsets[0])[..M::ROWS];
                    let second = second
                        .map_or(&zeros[..M::ROWS], |second| &patches.at(second + offsets[0])[..M::ROWS]);
                    for lane in 0..M::ROWS {
                        out[lane] = M::Packed::pack([first[lane], second[lane]]);
                    }
                } else {
                    for (out, offset) in out.iter_mut().zip(offsets) {
                        let second = second.map_or(0.0, |second| patches.at(second + offset)[0]);
                        *out = M::Packed::pack([patches.at(first + offset)[0], second]);
                    }
                }
            }
        },
    );
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
        let len = depth.div_ceil(M::Packed::NUMBERS) * panels * M::COLUMNS;
        let mut buffer = M::Packed::buffers().take(len + LINE / size_of::<M::Packed>(), M::Packed::default());
        let start = buffer.as_ptr().align_offset(LINE);
        let packed = &mut buffer[start..start + len];
        for block in blocks::<M>(depth) {
            let steps = block.len().div_ceil(M::Packed::NUMBERS);
            let begin = block.start / M::Packed::NUMBERS * panels * M::COLUMNS;
            let out = &mut packed[begin..begin + steps * panels * M::COLUMNS];
            let size = steps * M::COLUMNS;
            for_chunks(out, size * PANELS_PER_TASK, &|task, out| {
                kernel.simd(
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
        let steps = block.len().div_ceil(M::Packed::NUMBERS);
        let begin = self.begin + block.start / M::Packed::NUMBERS * panels * M::COLUMNS;
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
        M::Packed::buffers().give(core::mem::take(&mut self.buffer));
    }
}

/// The depth in blocks of nearly one size, at most [`Micro::DEPTH`] each, all but the last a whole number of
/// [`Packed::NUMBERS`].
pub(super) fn blocks<M: Micro>(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let steps = depth.div_ceil(M::Packed::NUMBERS);
    let block = steps.div_ceil(steps.div_ceil(M::DEPTH).max(1)).max(1) * M::Packed::NUMBERS;
    (0..depth).step_by(block).map(move |begin| begin..depth.min(begin + block))
}
