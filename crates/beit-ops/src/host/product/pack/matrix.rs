//! Panels of a matrix in memory.

use super::layout::PanelLayout;
use crate::host::product::micro::{BLOCK, Microkernel, Packed};
use core::ops::Range;
use ndarray::{ArrayView1, ArrayView2, Axis, s};

/// The lanes of the widest panel of any kernel.
pub(super) const MAX_LANES: usize = 32;
/// The largest [`Microkernel::DEPTH_GROUP`] of any kernel.
const MAX_GROUP: usize = 16;
/// How many numbers along the depth are prefetched ahead, where each is on another line of the cache.
const PREFETCH_AHEAD: usize = 12;

/// Packs one panel: the lanes `which` of `lanes [L, K]`, restricted to `depth`.
#[inline(always)]
pub(in crate::host::product) fn matrix_panel<M: Microkernel>(
    kernel: M,
    lanes: ArrayView2<'_, f32>,
    which: Range<usize>,
    depth: Range<usize>,
    layout: PanelLayout,
    out: &mut [M::Packed],
) {
    let part = lanes.slice(s![which, depth]);
    if part.len() < out.len() * M::Packed::NUMBERS {
        out.fill(M::Packed::default());
    }
    if part.strides()[1] == 1 {
        let mut slices = [&[][..]; MAX_LANES];
        for (slice, lane) in slices.iter_mut().zip(part.outer_iter()) {
            *slice = lane.to_slice().expect("the stride along the depth is one");
        }
        pack_contiguous(kernel, &slices[..part.nrows()], layout, out);
    } else {
        let mut steps = part.axis_iter(Axis(1));
        let mut ahead = steps.clone();
        ahead.by_ref().take(PREFETCH_AHEAD).for_each(drop);
        pack_stepwise(
            kernel,
            layout,
            out,
            #[inline(always)]
            |out| copy_steps(kernel, &mut steps, &mut ahead, layout.width, out),
        );
    }
}

/// Packs lanes that are each contiguous in memory.
#[inline(always)]
pub(super) fn pack_contiguous<M: Microkernel>(
    kernel: M,
    lanes: &[&[f32]],
    layout: PanelLayout,
    out: &mut [M::Packed],
) {
    let depth = lanes.first().map_or(0, |lane| lane.len());
    let whole = depth - depth % (BLOCK * M::Packed::NUMBERS);
    if layout.group == 1 {
        transpose_lanes(kernel, lanes, whole, layout.width, out);
    } else {
        copy_lanes(kernel, lanes, whole, layout, out);
    }
    for (lane, numbers) in lanes.iter().enumerate() {
        for (step, numbers) in numbers[whole..].chunks(M::Packed::NUMBERS).enumerate() {
            let numbers = [numbers[0], numbers.get(1).copied().unwrap_or(0.0)];
            out[layout.position(whole / M::Packed::NUMBERS + step, lane)] = M::Packed::pack(numbers);
        }
    }
}

/// Copies the first `whole` numbers of each lane into a layout in which steps of a lane are contiguous. One lane after the other,
/// since memory is fastest from front to back.
#[inline(always)]
fn copy_lanes<M: Microkernel>(
    kernel: M,
    lanes: &[&[f32]],
    whole: usize,
    layout: PanelLayout,
    out: &mut [M::Packed],
) {
    for (lane, numbers) in lanes.iter().enumerate() {
        for (i, numbers) in numbers[..whole].chunks_exact(BLOCK * M::Packed::NUMBERS).enumerate() {
            let out = &mut out[layout.position(i * BLOCK, lane)..];
            kernel.pack_block(numbers, out.first_chunk_mut().expect("groups are whole blocks"));
        }
    }
}

/// Transposes the first `whole` numbers of each lane, in blocks of `BLOCK` lanes and steps. The blocks of all lanes come before
/// the next steps, so that writes stay close to each other.
#[inline(always)]
fn transpose_lanes<M: Microkernel>(
    kernel: M,
    lanes: &[&[f32]],
    whole: usize,
    width: usize,
    out: &mut [M::Packed],
) {
    let numbers = BLOCK * M::Packed::NUMBERS;
    for begin in (0..whole).step_by(numbers) {
        let out = &mut out[begin / M::Packed::NUMBERS * width..];
        for (i, lanes) in lanes.chunks(BLOCK).enumerate() {
            let mut block = [[M::Packed::default(); BLOCK]; BLOCK];
            for (block, lane) in block.iter_mut().zip(lanes) {
                kernel.pack_block(&lane[begin..begin + numbers], block);
            }
            kernel.transpose(&mut block);
            for (step, block) in block.iter().enumerate() {
                store_step(block, lanes.len(), width, &mut out[step * width + i * BLOCK..]);
            }
        }
    }
}

/// Writes one step of at most `BLOCK` lanes. Copies of constant length compile to single instructions, so the usual numbers of
/// lanes have one each.
#[inline(always)]
fn store_step<P: Packed>(block: &[P; BLOCK], lanes: usize, width: usize, out: &mut [P]) {
    // A panel narrower than a block: the zeros behind the lanes are written too, and then overwritten by the next step.
    if lanes == BLOCK || width < BLOCK {
        if let Some(out) = out.first_chunk_mut::<BLOCK>() {
            *out = *block;
            return;
        }
    } else if lanes == BLOCK / 2
        && let Some(out) = out.first_chunk_mut::<{ BLOCK / 2 }>()
    {
        out.copy_from_slice(&block[..BLOCK / 2]);
        return;
    }
    out[..lanes].copy_from_slice(&block[..lanes]);
}

/// Packs a panel from a source that gives all lanes of one step after the other. `fill(out)` writes as many steps as `out` has
/// room for, each time the next ones, and zeros once there are no more. Where the layout has groups, each group is filled in
/// order of steps first and then transposed in blocks.
#[inline(always)]
pub(super) fn pack_stepwise<M: Microkernel>(
    kernel: M,
    layout: PanelLayout,
    out: &mut [M::Packed],
    mut fill: impl FnMut(&mut [M::Packed]),
) {
    if layout.group == 1 {
        return fill(out);
    }
    // `fill` leaves the lanes beyond the end of the operand as they are: zeros.
    let mut steps = [M::Packed::default(); MAX_GROUP * MAX_LANES];
    for out in out.chunks_exact_mut(layout.group * layout.width) {
        let steps = &mut steps[..layout.group * layout.width];
        fill(steps);
        for first in (0..layout.group).step_by(BLOCK) {
            for lane in (0..layout.width).step_by(BLOCK) {
                let mut block: [[M::Packed; BLOCK]; BLOCK] = core::array::from_fn(|i| {
                    *steps[(first + i) * layout.width + lane..].first_chunk().expect("blocks fill the width")
                });
                kernel.transpose(&mut block);
                for (i, block) in block.iter().enumerate() {
                    out[layout.position(first, lane + i)..][..BLOCK].copy_from_slice(block);
                }
            }
        }
    }
}

/// Copies steps of lanes that lie side by side, or nowhere near each other. `ahead` is the same iterator, [`PREFETCH_AHEAD`]
/// items further.
#[inline(always)]
fn copy_steps<'a, M: Microkernel>(
    kernel: M,
    steps: &mut impl Iterator<Item = ArrayView1<'a, f32>>,
    ahead: &mut impl Iterator<Item = ArrayView1<'a, f32>>,
    width: usize,
    out: &mut [M::Packed],
) {
    let zeros = [0.0; MAX_LANES];
    for out in out.chunks_exact_mut(width) {
        let Some(first) = steps.next() else {
            out.fill(M::Packed::default());
            continue;
        };
        let second = if M::Packed::NUMBERS == 2 { steps.next() } else { None };
        for ahead in ahead.by_ref().take(M::Packed::NUMBERS) {
            kernel.prefetch(&ahead[0]);
        }
        match (first.to_slice(), second.map_or(Some(&zeros[..]), |second| second.to_slice())) {
            (Some(first), Some(second)) if first.len() == width => {
                // The width is a constant once this is inlined, and so is the length of the loops.
                copy_step(kernel, &first[..width], &second[..width], out);
            }
            _ => {
                for (lane, out) in out.iter_mut().take(first.len()).enumerate() {
                    *out = M::Packed::pack([first[lane], second.as_ref().map_or(0.0, |second| second[lane])]);
                }
            }
        }
    }
}

/// Copies one step of all lanes; `second` has the second numbers of pairs.
#[inline(always)]
fn copy_step<M: Microkernel>(kernel: M, first: &[f32], second: &[f32], out: &mut [M::Packed]) {
    let width = out.len();
    let blocks = if M::Packed::NUMBERS == 1 { width / BLOCK } else { 0 };
    for i in 0..blocks {
        let out = out[i * BLOCK..].first_chunk_mut().expect("blocks fit the width");
        kernel.pack_block(&first[i * BLOCK..][..BLOCK], out);
    }
    for lane in blocks * BLOCK..width {
        out[lane] = M::Packed::pack([first[lane], second[lane]]);
    }
}
