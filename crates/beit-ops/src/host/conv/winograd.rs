//! Convolutions of 3 x 3 with 16 multiplications instead of 36 for every 2 x 2 pixels: Winograd's minimal filtering F(2x2, 3x3)
//! (Lavin and Gray 2015, arXiv 1509.09308, section 4.1).
//!
//! ```text
//!   image, tiles of 4 x 4 that overlap by 2     transformed tiles [tiles, 16, C]       y, tiles of 2 x 2
//!   ┌───┬───┬───┬───┐                           ┌──┬──┬──┬── ... ──┬──┐
//!   │ · │ · │ · │ · │                           │ 0│ 1│ 2│         │15│ tile 0         ┌───┬───┐
//!   ├───┼───┼───┼───┤      Bᵀ d B               ├──┼──┼──┼── ... ──┼──┤     Aᵀ m A     │ y │ y │
//!   │ · │ y │ y │ · │     ────────►             │ 0│ 1│ 2│         │15│ tile 1   ────► ├───┼───┤
//!   ├───┼───┼───┼───┤                           └──┴──┴──┴── ... ──┴──┘                │ y │ y │
//!   │ · │ y │ y │ · │                             │  │                                 └───┴───┘
//!   ├───┼───┼───┼───┤                             ▼  ▼   for each of the 16 elements:
//!   │ · │ · │ · │ · │                             products [tiles, C] · transformed filters [C, O]
//!   └───┴───┴───┴───┘
//! ```
//!
//! In the transformed basis a convolution is a product of each element by itself. Summed over channels, that is one matrix
//! product for each of the 16 elements. The cost is a few additions a pixel, and one or two more roundings: the transforms add
//! numbers before and after the product, and their sums, with the errors of rounding, may be larger than the result. An
//! infinite input spoils all four outputs of its tiles.

mod tile;

use self::tile::{SIDE, STEP, TILE, VECTOR, inverse_tile, transform_filter, transform_tile};
use super::filters::Filters;
use crate::host::array::{Array, data, data_mut, extents4, scratch, unwritten, view, zeros};
use crate::host::par;
use crate::host::product::{Destination, Engine, WithEngine};
use crate::host::real::Real;
use alloc::vec::Vec;
use core::array::from_fn;
use core::ops::Range;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// With fewer channels the transforms cost more than they save.
const MIN_CHANNELS: usize = 32;
/// Elements of the transformed inputs of a task: 4 MiB of f32.
const TASK_ELEMENTS: usize = 1024 * 1024;
/// A task has at least this many tiles, even if they are more elements: they share one pass over the filters.
const MIN_TILES: usize = 96;
/// Outputs whose filters one task transforms.
const FILTER_OUTPUTS: usize = 8;

/// Whether a convolution by filters `[O, I, k, k]` is computed like this.
pub(super) fn suits([o, i, k, _]: [usize; 4]) -> bool {
    k == 3 && [o, i].iter().all(|&c| c >= MIN_CHANNELS && c.is_multiple_of(VECTOR))
}

/// Elements of the transformed filters.
pub(super) fn packed_elements([o, i, ..]: [usize; 4]) -> usize {
    TILE * o * i
}

/// A convolution of `x [B, h, w, C]`.
pub(super) struct Winograd<'a, F: Real> {
    pub(super) x: &'a Array<F>,
    pub(super) filters: Filters<'a, F>,
    pub(super) bias: Option<&'a [F]>,
}

impl<F: Real> WithEngine<F> for Winograd<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let Self { x, filters, bias } = self;
        let outputs = filters.outputs();
        let filters = filters.copy(|filters| transform_filters(engine, filters));
        let tiles = Tiles::new(x);
        let mut y = unwritten([tiles.count, tiles.h, tiles.w, outputs]);
        par::each(tiles.split(data_mut(&mut y), outputs), |_, (rows, y)| {
            let n = rows.len() * tiles.per_row();
            let (mut inputs, mut products) = (scratch(n * TILE * tiles.c), scratch(n * TILE * outputs));
            tiles.transform(rows.clone(), &mut inputs);
            for (element, filters) in filters.iter().enumerate() {
                let into = Destination::replace(element_mut(&mut products, element, outputs));
                engine.multiply_serial(element_of(&inputs, element, tiles.c), filters, into);
            }
            tiles.inverse(rows, &products, bias, y);
        });
        y
    }
}

/// One element of all tiles `[tiles, 16, C]`, as a matrix `[tiles, C]`.
fn element_of<F>(tiles: &[F], element: usize, c: usize) -> ArrayView2<'_, F> {
    let shape = (tiles.len() / (TILE * c), c).strides((TILE * c, 1));
    ArrayView2::from_shape(shape, &tiles[element * c..]).expect("each tile has every element")
}

/// [`element_of`], to be written.
fn element_mut<F>(tiles: &mut [F], element: usize, c: usize) -> ArrayViewMut2<'_, F> {
    let shape = (tiles.len() / (TILE * c), c).strides((TILE * c, 1));
    ArrayViewMut2::from_shape(shape, &mut tiles[element * c..]).expect("each tile has every element")
}

/// `G g Gᵀ` of every filter, as 16 right operands, one for each element of a tile.
fn transform_filters<F: Real, E: Engine<F>>(engine: E, filters: &Filters<'_, F>) -> Vec<E::Right> {
    let (outputs, inputs) = (filters.outputs(), filters.inputs());
    let plane = outputs * inputs;
    let mut transformed = scratch(TILE * plane);
    let mut rest = data_mut(&mut transformed)
        .chunks_exact_mut(plane)
        .map(|plane| plane.chunks_mut(FILTER_OUTPUTS * inputs));
    let mut planes: [_; TILE] = from_fn(|_| rest.next().expect("a plane for each element"));
    let tasks = (0..outputs.div_ceil(FILTER_OUTPUTS))
        .map(|_| planes.each_mut().map(|plane| plane.next().unwrap_or_default()));
    par::each(tasks.collect(), |task, mut planes: [&mut [F]; TILE]| {
        for at in 0..planes[0].len() {
            let output = task * FILTER_OUTPUTS + at / inputs;
            let elements = transform_filter(filters.filter(output, at % inputs));
            for (plane, element) in planes.iter_mut().zip(elements) {
                plane[at] = element;
            }
        }
    });
    let planes = transformed.chunks_exact(plane);
    planes.map(|plane| engine.pack(view(plane, [outputs, inputs]))).collect()
}

/// The tiles of images. Rows of tiles are counted over all images.
struct Tiles<'a, F> {
    x: &'a [F],
    count: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl<'a, F: Real> Tiles<'a, F> {
    fn new(x: &'a Array<F>) -> Self {
        let [count, h, w, c] = extents4(x);
        Self { x: data(x), count, h, w, c }
    }

    /// Tiles in a row of tiles.
    fn per_row(&self) -> usize {
        self.w.div_ceil(STEP)
    }

    /// Rows of tiles in an image.
    fn rows_per_image(&self) -> usize {
        self.h.div_ceil(STEP)
    }

    /// Splits the work into tasks of nearly one size, a multiple of the number of threads: rows of tiles, and their outputs in
    /// `y [B, h, w, O]`.
    fn split<'b>(&self, mut y: &'b mut [F], outputs: usize) -> Vec<(Range<usize>, &'b mut [F])> {
        let all = self.count * self.rows_per_image();
        let most = (TASK_ELEMENTS / (TILE * self.c)).max(MIN_TILES).div_ceil(self.per_row().max(1));
        let tasks = all.div_ceil(most).next_multiple_of(par::threads());
        let rows = all.div_ceil(tasks.max(1)).max(1);
        let tasks = (0..all).step_by(rows).map(|first| {
            let rows = first..all.min(first + rows);
            let pixels: usize = rows.clone().map(|row| self.pixel_rows(row).len() * self.w).sum();
            (rows, y.split_off_mut(..pixels * outputs).expect("the rows of tiles have all pixels of y"))
        });
        tasks.collect()
    }

    /// The rows of pixels of its image that a row of tiles outputs.
    fn pixel_rows(&self, row: usize) -> Range<usize> {
        let first = row % self.rows_per_image() * STEP;
        first..self.h.min(first + STEP)
    }

    /// `Bᵀ d B` of the tiles of some rows: `[tiles, 16, C]`.
    fn transform(&self, rows: Range<usize>, out: &mut [F]) {
        let outside = zeros([self.c]);
        let tiles = rows.flat_map(|row| (0..self.per_row()).map(move |tile| (row, tile)));
        par::simd(
            #[inline(always)]
            || {
                for ((row, tile), out) in tiles.zip(out.chunks_exact_mut(TILE * self.c)) {
                    let mut pixels = [&outside[..]; TILE];
                    for (i, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = self.pixel(row, tile, i).unwrap_or(pixel);
                    }
                    transform_tile(&pixels, out);
                }
            },
        );
    }

    /// Pixel `i` of a tile, if it is inside the image. A tile begins one pixel before its outputs.
    #[inline(always)]
    fn pixel(&self, row: usize, tile: usize, i: usize) -> Option<&'a [F]> {
        let y = (row % self.rows_per_image() * STEP + i / SIDE).checked_sub(1).filter(|&y| y < self.h)?;
        let x = (tile * STEP + i % SIDE).checked_sub(1).filter(|&x| x < self.w)?;
        let y = row / self.rows_per_image() * self.h + y;
        Some(&self.x[(y * self.w + x) * self.c..][..self.c])
    }

    /// `Aᵀ m A + bias` of the products `[tiles, 16, O]` of some rows.
    fn inverse(&self, rows: Range<usize>, products: &[F], bias: Option<&[F]>, y: &mut [F]) {
        let outputs = products.len() / (rows.len() * self.per_row() * TILE);
        let no_bias = zeros([outputs]);
        let bias = bias.unwrap_or(&no_bias);
        let mut products = products.chunks_exact(TILE * outputs);
        let mut rest = y;
        par::simd(
            #[inline(always)]
            || {
                for row in rows {
                    let height = self.pixel_rows(row).len();
                    let both = rest.split_off_mut(..height * self.w * outputs).expect("outputs of every row");
                    let (first, second) = both.split_at_mut(self.w * outputs);
                    for tile in 0..self.per_row() {
                        let Some(products) = products.next() else { return };
                        let width = STEP.min(self.w - tile * STEP);
                        let at = tile * STEP * outputs;
                        let first = &mut first[at..at + width * outputs];
                        let second = second.get_mut(at..at + width * outputs).unwrap_or_default();
                        inverse_tile(products, bias, [first, second]);
                    }
                }
            },
        );
    }
}
