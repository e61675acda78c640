//! Packing: operands in the order in which kernels read them.

use super::micro::{BLOCK, Micro, Packed};
use crate::host::conv::Patches;
use crate::host::kept::Keep;
use crate::host::par;
use core::ops::{Deref, DerefMut, Range};
use ndarray::{ArrayView1, ArrayView2, Axis, s};

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Panels that one task packs at most.
const PANELS_PER_TASK: usize = 4;

/// Where the numbers of a panel lie.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Lanes.
    width: usize,
    /// Steps of the depth of one lane that follow each other before the next lane has its own.
    together: usize,
}

impl Form {
    /// Of left panels.
    #[inline(always)]
    pub(super) const fn left<M: Micro>() -> Self {
        Self { width: M::ROWS, together: M::TOGETHER }
    }

    /// Of right panels.
    #[inline(always)]
    const fn right<M: Micro>() -> Self {
        Self { width: M::COLUMNS, together: 1 }
    }

    /// Where a step of a lane is.
    #[inline(always)]
    const fn at(self, step: usize, lane: usize) -> usize {
        let Self { width, together } = self;
        step / together * together * width + lane * together + step % together
    }
}

/// Steps of the depth that panels have for as many numbers.
pub(super) const fn steps<M: Micro>(numbers: usize) -> usize {
    numbers.div_ceil(M::Packed::NUMBERS).next_multiple_of(M::TOGETHER)
}

/// One panel: `lanes [L, K]` restricted to a range of each, zero where `lanes` end.
#[inline(always)]
pub(super) fn panel<M: Micro>(
    kernel: M,
    lanes: ArrayView2<'_, f32>,
    which: Range<usize>,
    depth: Range<usize>,
    form: Form,
    out: &mut [M::Packed],
) {
    let part = lanes.slice(s![which, depth]);
    if part.len() < out.len() * M::Packed::NUMBERS {
        out.fill(M::Packed::default());
    }
    if part.strides()[1] == 1 {
        let mut slices = [&[][..]; WIDEST];
        for (slice, lane) in slices.iter_mut().zip(part.outer_iter()) {
            *slice = lane.to_slice().expect("the stride along the depth is one");
        }
        along_depth(kernel, &slices[..part.nrows()], form, out);
    } else {
        let mut steps = part.axis_iter(Axis(1));
        let mut later = steps.clone();
        later.by_ref().take(AHEAD).for_each(drop);
        step_by_step(
            kernel,
            form,
            out,
            #[inline(always)]
            |out| across_depth(kernel, &mut steps, &mut later, form.width, out),
        );
    }
}

/// Lanes of the widest panel.
const WIDEST: usize = 32;

/// Each lane is contiguous.
#[inline(always)]
fn along_depth<M: Micro>(kernel: M, slices: &[&[f32]], form: Form, out: &mut [M::Packed]) {
    let depth = slices.first().map_or(0, |lane| lane.len());
    let whole = depth - depth % (BLOCK * M::Packed::NUMBERS);
    if form.together == 1 {
        turned(kernel, slices, whole, form.width, out);
    } else {
        straight(kernel, slices, whole, form, out);
    }
    for (lane, numbers) in slices.iter().enumerate() {
        for (step, numbers) in numbers[whole..].chunks(M::Packed::NUMBERS).enumerate() {
            let numbers = [numbers[0], numbers.get(1).copied().unwrap_or(0.0)];
            out[form.at(whole / M::Packed::NUMBERS + step, lane)] = M::Packed::pack(numbers);
        }
    }
}

/// Steps of a lane stay together: a copy, one lane after the other, since memory is fastest from front to back.
#[inline(always)]
fn straight<M: Micro>(kernel: M, slices: &[&[f32]], whole: usize, form: Form, out: &mut [M::Packed]) {
    for (lane, numbers) in slices.iter().enumerate() {
        for (i, numbers) in numbers[..whole].chunks_exact(BLOCK * M::Packed::NUMBERS).enumerate() {
            let out = &mut out[form.at(i * BLOCK, lane)..];
            kernel.pack_lane(numbers, out.first_chunk_mut().expect("a block lies together"));
        }
    }
}

/// The first `whole` numbers of each lane: a transposition, in blocks.
#[inline(always)]
fn turned<M: Micro>(kernel: M, slices: &[&[f32]], whole: usize, width: usize, out: &mut [M::Packed]) {
    let numbers = BLOCK * M::Packed::NUMBERS;
    // Along the depth first: what is written stays in one piece.
    for begin in (0..whole).step_by(numbers) {
        let out = &mut out[begin / M::Packed::NUMBERS * width..];
        for (group, lanes) in slices.chunks(BLOCK).enumerate() {
            let mut block = [[M::Packed::default(); BLOCK]; BLOCK];
            for (block, lane) in block.iter_mut().zip(lanes) {
                kernel.pack_lane(&lane[begin..begin + numbers], block);
            }
            kernel.turn(&mut block);
            let lanes = lanes.len();
            for (step, block) in block.iter().enumerate() {
                let out = &mut out[step * width + group * BLOCK..];
                // Copies of constant length are single instructions. Where a step is narrower than a block, the zeros that are
                // copied with it come before the next step, which is copied over them.
                if lanes == BLOCK || width < BLOCK {
                    if let Some(out) = out.first_chunk_mut::<BLOCK>() {
                        *out = *block;
                        continue;
                    }
                } else if lanes == BLOCK / 2
                    && let Some(out) = out.first_chunk_mut::<{ BLOCK / 2 }>()
                {
                    out.copy_from_slice(&block[..BLOCK / 2]);
                    continue;
                }
                out[..lanes].copy_from_slice(&block[..lanes]);
            }
        }
    }
}

/// Fills a panel with what `fill` has, one step of all lanes after the other: each time it is called it goes on with what fits,
/// then with zeros. Where steps of a lane lie together, as many are turned at a time.
#[inline(always)]
fn step_by_step<M: Micro>(
    kernel: M,
    form: Form,
    out: &mut [M::Packed],
    mut fill: impl FnMut(&mut [M::Packed]),
) {
    if form.together == 1 {
        return fill(out);
    }
    // Lanes that there are not stay zero.
    let mut steps = [M::Packed::default(); LONGEST * WIDEST];
    for out in out.chunks_exact_mut(form.together * form.width) {
        let steps = &mut steps[..form.together * form.width];
        fill(steps);
        for (first, lane) in blocks_of(form) {
            let mut block: [[M::Packed; BLOCK]; BLOCK] = core::array::from_fn(|i| {
                *steps[(first + i) * form.width + lane..].first_chunk().expect("blocks fill the width")
            });
            kernel.turn(&mut block);
            for (i, block) in block.iter().enumerate() {
                out[form.at(first, lane + i)..][..BLOCK].copy_from_slice(block);
            }
        }
    }
}

/// The first step and the first lane of each block that is turned.
#[inline(always)]
fn blocks_of(form: Form) -> impl Iterator<Item = (usize, usize)> {
    let lanes = move |first| (0..form.width).step_by(BLOCK).map(move |lane| (first, lane));
    (0..form.together).step_by(BLOCK).flat_map(lanes)
}

/// Steps of the depth that lie together at most.
const LONGEST: usize = 16;

/// How many steps of the depth are fetched ahead where each is a line of the cache far from the last.
const AHEAD: usize = 12;

/// Lanes lie side by side, or nowhere near each other: a copy of rows. `later` is [`AHEAD`] of `steps`.
#[inline(always)]
fn across_depth<'a, M: Micro>(
    kernel: M,
    steps: &mut impl Iterator<Item = ArrayView1<'a, f32>>,
    later: &mut impl Iterator<Item = ArrayView1<'a, f32>>,
    width: usize,
    out: &mut [M::Packed],
) {
    let zeros = [0.0; WIDEST];
    for out in out.chunks_exact_mut(width) {
        let Some(first) = steps.next() else {
            out.fill(M::Packed::default());
            continue;
        };
        let second = if M::Packed::NUMBERS == 2 { steps.next() } else { None };
        for later in later.by_ref().take(M::Packed::NUMBERS) {
            kernel.prefetch(&later[0]);
        }
        match (first.to_slice(), second.map_or(Some(&zeros[..]), |second| second.to_slice())) {
            // The width is a constant where this is inlined, and so is the length of the loops.
            (Some(first), Some(second)) if first.len() == width => {
                let (first, second) = (&first[..width], &second[..width]);
                let blocks = if M::Packed::NUMBERS == 1 { width / BLOCK } else { 0 };
                for i in 0..blocks {
                    let out = out[i * BLOCK..].first_chunk_mut().expect("blocks fit the width");
                    kernel.pack_lane(&first[i * BLOCK..][..BLOCK], out);
                }
                for lane in blocks * BLOCK..width {
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
    if which.len() * depth.len() < out.len() * M::Packed::NUMBERS {
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
                let len = if run.is_multiple_of(BLOCK.max(M::TOGETHER) * M::Packed::NUMBERS) {
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
                let (head, rest) = core::mem::take(&mut out).split_at_mut(steps::<M>(len) * M::ROWS);
                along_depth(kernel, &slices[..pixels], Form::left::<M>(), head);
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
    if taps * depth.len() < out.len() * M::Packed::NUMBERS {
        out.fill(M::Packed::default());
    }
    kernel.simd(
        #[inline(always)]
        || {
            step_by_step(
                kernel,
                Form::left::<M>(),
                out,
                #[inline(always)]
                |out| pixel_by_pixel::<M>(patches, offsets, &mut depth, out),
            );
        },
    );
}

/// As many pixels as fit, the taps at `offsets` of each.
#[inline(always)]
fn pixel_by_pixel<M: Micro>(
    patches: Patches<'_, f32>,
    offsets: &[usize],
    depth: &mut Range<usize>,
    out: &mut [M::Packed],
) {
    let together = offsets.len() == M::ROWS && offsets.windows(2).all(|two| two[1] == two[0] + 1);
    let zeros = [0.0; WIDEST];
    for out in out.chunks_exact_mut(M::ROWS) {
        let Some(first) = depth.next() else {
            out.fill(M::Packed::default());
            continue;
        };
        let first = patches.begin(first);
        let second =
            if M::Packed::NUMBERS == 2 { depth.next().map(|pixel| patches.begin(pixel)) } else { None };
        if together {
            let first = &patches.at(first + offsets[0])[..M::ROWS];
            let second =
                second.map_or(&zeros[..M::ROWS], |second| &patches.at(second + offsets[0])[..M::ROWS]);
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
}

/// The right operand of a product, packed once and read by every task.
pub struct Right<M: Micro> {
    panels: Lines<M::Packed>,
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
        let together = panels.div_ceil(par::threads()).clamp(1, PANELS_PER_TASK);
        let mut packed = Lines::take(steps::<M>(depth) * panels * M::COLUMNS);
        for block in blocks::<M>(depth) {
            let steps = steps::<M>(block.len());
            let begin = block.start / M::Packed::NUMBERS * panels * M::COLUMNS;
            let out = &mut packed[begin..begin + steps * panels * M::COLUMNS];
            let size = steps * M::COLUMNS;
            for_chunks(out, size * together, &|task, out| {
                kernel.simd(
                    #[inline(always)]
                    || {
                        for (i, out) in out.chunks_exact_mut(size).enumerate() {
                            let first = (task * together + i) * M::COLUMNS;
                            let which = first..columns.min(first + M::COLUMNS);
                            panel(kernel, lanes, which, block.clone(), Form::right::<M>(), out);
                        }
                    },
                );
            });
        }
        Self { panels: packed, depth, columns }
    }

    /// The panels of one block of the depth, from panel `first` on.
    #[inline(always)]
    pub(super) fn panels(
        &self,
        block: &Range<usize>,
        first: usize,
    ) -> core::slice::ChunksExact<'_, M::Packed> {
        let panels = self.columns.div_ceil(M::COLUMNS);
        let begin = block.start / M::Packed::NUMBERS * panels * M::COLUMNS;
        let size = steps::<M>(block.len()) * M::COLUMNS;
        let end = begin + panels * size;
        self.panels[begin + first * size..end].chunks_exact(size)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

impl<M: Micro> Keep for Right<M> {
    fn tight(self) -> Self {
        let mut panels = Lines::of(self.panels.len);
        panels.copy_from_slice(&self.panels);
        Self { panels, ..self }
    }
}

/// Packed numbers from the beginning of a line of the cache on, lest every other load of a kernel touch two.
pub(super) struct Lines<P: Packed> {
    buffer: alloc::vec::Vec<P>,
    begin: usize,
    len: usize,
}

impl<P: Packed> Lines<P> {
    /// As many, of which the caller writes what it reads: they hold anything.
    pub(super) fn take(len: usize) -> Self {
        Self::within(P::buffers().take(len + LINE / size_of::<P>(), P::default()), len)
    }

    /// As many, in memory for no more.
    fn of(len: usize) -> Self {
        let buffer = alloc::vec![P::default(); len + LINE / size_of::<P>()];
        P::buffers().adopt(&buffer);
        Self::within(buffer, len)
    }

    fn within(buffer: alloc::vec::Vec<P>, len: usize) -> Self {
        let begin = buffer.as_ptr().align_offset(LINE);
        Self { buffer, begin, len }
    }
}

impl<P: Packed> Deref for Lines<P> {
    type Target = [P];
    fn deref(&self) -> &[P] {
        &self.buffer[self.begin..][..self.len]
    }
}

impl<P: Packed> DerefMut for Lines<P> {
    fn deref_mut(&mut self) -> &mut [P] {
        &mut self.buffer[self.begin..][..self.len]
    }
}

impl<P: Packed> Drop for Lines<P> {
    fn drop(&mut self) {
        P::buffers().give(core::mem::take(&mut self.buffer));
    }
}

/// The depth in blocks of nearly one size, at most [`Micro::DEPTH`] each, all but the last a whole number of
/// [`Packed::NUMBERS`] and of [`Micro::TOGETHER`].
pub(super) fn blocks<M: Micro>(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let steps = depth.div_ceil(M::Packed::NUMBERS);
    let block = steps.div_ceil(steps.div_ceil(M::DEPTH).max(1)).max(1);
    let block = block.next_multiple_of(M::TOGETHER) * M::Packed::NUMBERS;
    (0..depth).step_by(block).map(move |begin| begin..depth.min(begin + block))
}
