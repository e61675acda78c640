//! Convolutions as products of patches, and the gradient of their filters.
//!
//! ```text
//!   y, one task a block               d_filters, one task a span of blocks
//!
//!             k·k·I         O                       pixels         O
//!            ┌──────┐    ┌──────┐                 ┌────────┐    ┌──────┐
//!   block 0  │ task │ ·  │      │          k·k·I  │ block  │ ·  │ task │  block of dy
//!   block 1  │ task │    │filter│                 │ of     │    │      │
//!   ...      │ ...  │    │      │                 │patches │    └──────┘
//!            └──────┘    └──────┘                 └────────┘
//!              patches                              patches, transposed
//! ```
//!
//! A block is a few rows of one image (`product/patches.rs` has its size and the reason).

use super::filters::Filters;
use crate::host::array::{Array, data_mut, matrix_mut, scratch, unwritten, view, view_mut, zeros};
use crate::host::par;
use crate::host::product::{Destination, Engine, Images, Left, WithEngine};
use crate::host::real::Real;
use crate::host::reduce::add;
use alloc::vec::Vec;
use core::ops::Range;

/// The most partial sums of a weight gradient.
const PARTIALS: usize = 16;
/// The most elements of these partial sums together: 128 MiB of f32.
const PARTIAL_ELEMENTS: usize = 32 * 1024 * 1024;

/// A convolution `y [B, h, w, O]` of images.
pub(super) struct Convolve<'a, F: Real> {
    pub(super) images: Images<'a, F>,
    pub(super) filters: Filters<'a, F>,
    pub(super) bias: Option<&'a [F]>,
}

impl<F: Real> WithEngine<F> for Convolve<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let Self { images, filters, bias } = self;
        let o = filters.outputs();
        let filters = filters.copy(|filters| filters.pack(engine));
        let mut y = unwritten([images.count, images.h, images.w, o]);
        par::each(split_by_block(&images, data_mut(&mut y), o), |n, y| {
            if let Some(bias) = bias {
                y.chunks_exact_mut(o).for_each(|pixel| pixel.copy_from_slice(bias));
            }
            let mut buffer = scratch(images.buffer_len());
            let patches = images.patches(n, &mut buffer);
            let c = view_mut(y, [patches.pixels(), o]);
            let into = Destination { c, second: None, accumulate: bias.is_some() };
            engine.multiply_serial(Left::Patches(patches), &filters, into);
        });
        y
    }
}

/// Splits `y [B, h, w, O]` into the blocks of its images.
fn split_by_block<'a, F: Real>(images: &Images<'_, F>, mut y: &'a mut [F], o: usize) -> Vec<&'a mut [F]> {
    (0..images.blocks())
        .map(|n| y.split_off_mut(..images.pixels(n) * o).expect("the blocks have all pixels of y"))
        .collect()
}

/// `Σ patchesᵀ [k·k·I, M] · dy [M, O]`, in at most [`PARTIALS`] partial sums that are added in order.
pub(super) struct Correlate<'a, F> {
    pub(super) images: Images<'a, F>,
    pub(super) dy: &'a [F],
    pub(super) o: usize,
}

impl<F: Real> WithEngine<F> for Correlate<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let inner = self.images.taps();
        let blocks = self.images.blocks();
        let span = blocks.div_ceil((PARTIAL_ELEMENTS / (inner * self.o)).clamp(1, PARTIALS));
        let partials =
            par::map(blocks.div_ceil(span), |n| self.partial(engine, n * span..blocks.min((n + 1) * span)));
        partials.into_iter().reduce(sum).unwrap_or_else(|| zeros([inner, self.o]))
    }
}

impl<F: Real> Correlate<'_, F> {
    /// The partial sum over some blocks.
    fn partial<E: Engine<F>>(&self, engine: E, blocks: Range<usize>) -> Array<F> {
        let mut sum = zeros([self.images.taps(), self.o]);
        let mut buffer = scratch(self.images.buffer_len());
        for block in blocks {
            let patches = self.images.patches(block, &mut buffer);
            let dy = &self.dy[self.images.first_pixel(block) * self.o..][..patches.pixels() * self.o];
            let dy = view(dy, [patches.pixels(), self.o]);
            let into = Destination::add(matrix_mut(&mut sum));
            engine.multiply_serial(Left::PatchesTransposed(patches), &engine.pack(dy.t()), into);
        }
        sum
    }
}

/// `a + b`
fn sum<F: Real>(mut a: Array<F>, b: Array<F>) -> Array<F> {
    par::simd(
        #[inline(always)]
        || add(&mut a, &b),
    );
    a
}
