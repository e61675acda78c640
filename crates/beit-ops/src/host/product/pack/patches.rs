//! Panels of the patches of an image.

use super::layout::{PanelLayout, steps};
use super::matrix::{MAX_LANES, pack_contiguous, pack_stepwise};
use crate::host::product::micro::{BLOCK, Microkernel, Packed};
use crate::host::product::patches::Patches;
use core::ops::Range;

/// How many numbers of a lane are gathered at a time: a multiple of all blocks and groups.
const GATHERED: usize = 64;

/// Packs one panel whose lanes are pixels, taps along the depth. Compiled once for each kernel, since it is called rarely.
#[inline(never)]
pub(in crate::host::product) fn pixel_panel<M: Microkernel>(
    kernel: M,
    patches: Patches<'_, f32>,
    pixels: Range<usize>,
    depth: Range<usize>,
    out: &mut [M::Packed],
) {
    if pixels.len() * depth.len() < out.len() * M::Packed::NUMBERS {
        out.fill(M::Packed::default());
    }
    let count = pixels.len();
    let mut begins = [0; MAX_LANES];
    begins.iter_mut().zip(pixels).for_each(|(begin, pixel)| *begin = patches.begin(pixel));
    kernel.simd(
        #[inline(always)]
        || {
            let mut gathered = [[0.0; GATHERED]; MAX_LANES];
            let mut out = out;
            let mut tap = depth.start;
            while tap < depth.end {
                let mut lanes = [&[][..]; MAX_LANES];
                let lanes = &mut lanes[..count];
                let len = contiguous::<M>(patches, &begins, tap..depth.end, &mut gathered, lanes);
                let (head, rest) = core::mem::take(&mut out).split_at_mut(steps::<M>(len) * M::ROWS);
                pack_contiguous(kernel, lanes, PanelLayout::left::<M>(), head);
                out = rest;
                tap += len;
            }
        },
    );
}

/// Finds the next few taps of each pixel in contiguous memory, and returns how many there are.
///
/// Where a run of the image is a whole number of blocks, the lanes are read in place. Otherwise the numbers of several runs are
/// gathered first.
#[inline(always)]
fn contiguous<'a, M: Microkernel>(
    patches: Patches<'a, f32>,
    begins: &[usize; MAX_LANES],
    taps: Range<usize>,
    gathered: &'a mut [[f32; GATHERED]; MAX_LANES],
    lanes: &mut [&'a [f32]],
) -> usize {
    let run = taps.end.min(taps.start + patches.run() - taps.start % patches.run()) - taps.start;
    if run.is_multiple_of(BLOCK.max(M::DEPTH_GROUP) * M::Packed::NUMBERS) {
        let offset = patches.offset(taps.start);
        for (lane, begin) in lanes.iter_mut().zip(begins) {
            *lane = &patches.starting_at(begin + offset)[..run];
        }
        return run;
    }
    let len = GATHERED.min(taps.len());
    let count = lanes.len();
    for k in 0..len {
        let offset = patches.offset(taps.start + k);
        for (lane, begin) in gathered[..count].iter_mut().zip(begins) {
            lane[k] = patches.starting_at(begin + offset)[0];
        }
    }
    lanes.iter_mut().zip(&*gathered).for_each(|(lane, gathered)| *lane = &gathered[..len]);
    len
}

/// Packs one panel whose lanes are taps, pixels along the depth. Compiled once for each kernel, since it is called rarely.
#[inline(never)]
pub(in crate::host::product) fn tap_panel<M: Microkernel>(
    kernel: M,
    patches: Patches<'_, f32>,
    taps: Range<usize>,
    mut depth: Range<usize>,
    out: &mut [M::Packed],
) {
    if taps.len() * depth.len() < out.len() * M::Packed::NUMBERS {
        out.fill(M::Packed::default());
    }
    let count = taps.len();
    let mut offsets = [0; MAX_LANES];
    offsets.iter_mut().zip(taps).for_each(|(offset, tap)| *offset = patches.offset(tap));
    let offsets = &offsets[..count];
    kernel.simd(
        #[inline(always)]
        || {
            pack_stepwise(
                kernel,
                PanelLayout::left::<M>(),
                out,
                #[inline(always)]
                |out| copy_pixels::<M>(patches, offsets, &mut depth, out),
            );
        },
    );
}

/// Copies the taps at `offsets` of the next pixels, as many pixels as `out` has room for.
#[inline(always)]
fn copy_pixels<M: Microkernel>(
    patches: Patches<'_, f32>,
    offsets: &[usize],
    pixels: &mut Range<usize>,
    out: &mut [M::Packed],
) {
    let contiguous = offsets.len() == M::ROWS && offsets.windows(2).all(|two| two[1] == two[0] + 1);
    let zeros = [0.0; MAX_LANES];
    for out in out.chunks_exact_mut(M::ROWS) {
        let Some(first) = pixels.next() else {
            out.fill(M::Packed::default());
            continue;
        };
        let first = patches.begin(first);
        let second =
            if M::Packed::NUMBERS == 2 { pixels.next().map(|pixel| patches.begin(pixel)) } else { None };
        if contiguous {
            let taps = |begin: usize| &patches.starting_at(begin + offsets[0])[..M::ROWS];
            let (first, second) = (taps(first), second.map_or(&zeros[..M::ROWS], taps));
            for lane in 0..M::ROWS {
                out[lane] = M::Packed::pack([first[lane], second[lane]]);
            }
        } else {
            for (out, offset) in out.iter_mut().zip(offsets) {
                let second = second.map_or(0.0, |second| patches.starting_at(second + offset)[0]);
                *out = M::Packed::pack([patches.starting_at(first + offset)[0], second]);
            }
        }
    }
}
