//! Convolutions of 3 x 3 with 16 products in place of 36 for every 2 x 2 pixels: Winograd's minimal filtering F(2x2, 3x3)
//! (Lavin and Gray 2015, arXiv 1509.09308, section 4.1).
//!
//! A tile of 4 x 4 pixels and a kernel are both brought into another basis, where convolving is multiplying element by element;
//! summed over channels that is one product of matrices for each of the 16 elements. What it costs is a few additions a pixel
//! and a rounding or two more: numbers that are added first may be larger than what is left of them. What is infinite spoils
//! all four outputs of its tiles.

use super::{Weight, extents};
use crate::host::array::{Array, data, data_mut, scratch, unwritten, zeros};
use crate::host::gemm::{Engine, Results, WithEngine};
use crate::host::par;
use crate::host::real::Real;
use alloc::vec::Vec;
use core::array::from_fn;
use core::ops::Range;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// Side of a tile of inputs.
const SIDE: usize = 4;
/// Elements of a tile.
const TILE: usize = SIDE * SIDE;
/// Side of a tile of outputs, and how far tiles of inputs are from each other.
const STEP: usize = 2;
/// Channels that are transformed together: a vector.
const LANES: usize = 8;
/// With fewer channels the transformations cost more than they save.
const FEWEST: usize = 32;
/// Transformed inputs that a task has at a time: 4 MiB of f32,
const ELEMENTS: usize = 1024 * 1024;
/// or what belongs to as many tiles, if that is more: all share one pass over the kernels.
const MIN_TILES: usize = 96;
/// Outputs whose kernels are transformed by a task.
const OUTPUTS: usize = 8;

/// Whether a kernel `[O, I, k, k]` is convolved like this.
pub(super) fn suits([o, i, k, _]: [usize; 4]) -> bool {
    k == 3 && [o, i].iter().all(|&c| c >= FEWEST && c.is_multiple_of(LANES))
}

/// Elements of the transformed kernels.
pub(super) fn packed_elements([o, i, ..]: [usize; 4]) -> usize {
    TILE * o * i
}

/// A convolution of `x [B, h, w, C]` by transformed kernels.
pub(super) struct Winograd<'a, F: Real> {
    pub(super) x: &'a Array<F>,
    pub(super) weight: Weight<'a, F>,
    pub(super) bias: Option<&'a [F]>,
}

impl<F: Real> WithEngine<F> for Winograd<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let Self { x, weight, bias } = self;
        let outputs = weight.outputs();
        let kernels = weight.copied(|weight| transform_kernels(engine, weight));
        let tiles = Tiles::new(x);
        let mut y = unwritten([tiles.count, tiles.h, tiles.w, outputs]);
        par::each(tiles.cut(data_mut(&mut y), outputs), |_, (lines, y)| {
            let n = lines.len() * tiles.across();
            let (mut inputs, mut products) = (scratch(n * TILE * tiles.c), scratch(n * TILE * outputs));
            tiles.transform(lines.clone(), &mut inputs);
            for (element, kernels) in kernels.iter().enumerate() {
                let into = Results::replacing(part_mut(&mut products, element, outputs));
                engine.multiply_serial(part(&inputs, element, tiles.c), kernels, into);
            }
            tiles.back(lines, &products, bias, y);
        });
        y
    }
}

/// One element of all tiles, of `[tiles, 16, C]`.
fn part<F>(tiles: &[F], element: usize, c: usize) -> ArrayView2<'_, F> {
    let shape = (tiles.len() / (TILE * c), c).strides((TILE * c, 1));
    ArrayView2::from_shape(shape, &tiles[element * c..]).expect("each tile has every element")
}

/// [`part`], to be written.
fn part_mut<F>(tiles: &mut [F], element: usize, c: usize) -> ArrayViewMut2<'_, F> {
    let shape = (tiles.len() / (TILE * c), c).strides((TILE * c, 1));
    ArrayViewMut2::from_shape(shape, &mut tiles[element * c..]).expect("each tile has every element")
}

/// `G g Gᵀ` of every kernel, as right operands: one for each element of a tile.
fn transform_kernels<F: Real, E: Engine<F>>(engine: E, weight: &Weight<'_, F>) -> Vec<E::Right> {
    let (outputs, inputs) = (weight.outputs(), weight.inputs());
    let plane = outputs * inputs;
    let mut transformed = scratch(TILE * plane);
    let mut rest =
        data_mut(&mut transformed).chunks_exact_mut(plane).map(|plane| plane.chunks_mut(OUTPUTS * inputs));
    let mut planes: [_; TILE] = from_fn(|_| rest.next().expect("a plane for each element"));
    let tasks = (0..outputs.div_ceil(OUTPUTS))
        .map(|_| planes.each_mut().map(|plane| plane.next().unwrap_or_default()));
    par::each(tasks.collect(), |task, mut planes: [&mut [F]; TILE]| {
        for at in 0..planes[0].len() {
            let elements = transform_kernel(weight.kernel(task * OUTPUTS + at / inputs, at % inputs));
            for (plane, element) in planes.iter_mut().zip(elements) {
                plane[at] = element;
            }
        }
    });
    let planes = transformed.chunks_exact(plane);
    planes.map(|plane| engine.pack(super::view(plane, [outputs, inputs]))).collect()
}

/// `G g Gᵀ` with `G = [[1, 0, 0], [½, ½, ½], [½, -½, ½], [0, 0, 1]]`.
fn transform_kernel<F: Real>(g: [F; 9]) -> [F; TILE] {
    let half = F::of(0.5);
    let along = |[a, b, c]: [F; 3]| {
        let ends = half * (a + c);
        [a, ends + half * b, ends - half * b, c]
    };
    // Columns of `G g`, then its rows.
    let columns: [[F; SIDE]; 3] = from_fn(|x| along([g[x], g[3 + x], g[6 + x]]));
    let rows: [[F; SIDE]; SIDE] = from_fn(|y| along([columns[0][y], columns[1][y], columns[2][y]]));
    from_fn(|i| rows[i / SIDE][i % SIDE])
}

/// The tiles of images: lines of tiles, counted over all images, of as many tiles each.
struct Tiles<'a, F> {
    x: &'a [F],
    count: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl<'a, F: Real> Tiles<'a, F> {
    fn new(x: &'a Array<F>) -> Self {
        let [count, h, w, c] = extents(x);
        Self { x: data(x), count, h, w, c }
    }

    /// Tiles of a line.
    fn across(&self) -> usize {
        self.w.div_ceil(STEP)
    }

    /// Lines of tiles of an image.
    fn down(&self) -> usize {
        self.h.div_ceil(STEP)
    }

    /// Cuts the work into lines of tiles and the outputs `y [B, h, w, O]` that belong to them, as much for each thread.
    fn cut<'b>(&self, mut y: &'b mut [F], outputs: usize) -> Vec<(Range<usize>, &'b mut [F])> {
        let all = self.count * self.down();
        let most = (ELEMENTS / (TILE * self.c)).max(MIN_TILES).div_ceil(self.across().max(1));
        let tasks = all.div_ceil(most).next_multiple_of(par::threads());
        let lines = all.div_ceil(tasks.max(1)).max(1);
        let cut = (0..all).step_by(lines).map(|first| {
            let lines = first..all.min(first + lines);
            let pixels: usize = lines.clone().map(|line| self.rows(line).len() * self.w).sum();
            (lines, y.split_off_mut(..pixels * outputs).expect("as many pixels as the lines have together"))
        });
        cut.collect()
    }

    /// The lines of pixels of its image that a line of tiles gives.
    fn rows(&self, line: usize) -> Range<usize> {
        let first = line % self.down() * STEP;
        first..self.h.min(first + STEP)
    }

    /// `Bᵀ d B` of the tiles of some lines: `[tiles, 16, C]`.
    fn transform(&self, lines: Range<usize>, out: &mut [F]) {
        let outside = zeros([self.c]);
        let tiles = lines.flat_map(|line| (0..self.across()).map(move |tile| (line, tile)));
        par::simd(
            #[inline(always)]
            || {
                for ((line, tile), out) in tiles.zip(out.chunks_exact_mut(TILE * self.c)) {
                    let mut pixels = [&outside[..]; TILE];
                    for (i, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = self.pixel(line, tile, i).unwrap_or(pixel);
                    }
                    transform_tile(&pixels, out);
                }
            },
        );
    }

    /// Pixel `i` of a tile, if it is inside the image.
    #[inline(always)]
    fn pixel(&self, line: usize, tile: usize, i: usize) -> Option<&'a [F]> {
        // Tiles begin a pixel before their outputs.
        let y = (line % self.down() * STEP + i / SIDE).checked_sub(1).filter(|&y| y < self.h)?;
        let x = (tile * STEP + i % SIDE).checked_sub(1).filter(|&x| x < self.w)?;
        let row = line / self.down() * self.h + y;
        Some(&self.x[(row * self.w + x) * self.c..][..self.c])
    }

    /// `Aᵀ m A + bias` of the products `[tiles, 16, O]` of some lines.
    fn back(&self, lines: Range<usize>, products: &[F], bias: Option<&[F]>, y: &mut [F]) {
        let outputs = products.len() / (lines.len() * self.across() * TILE);
        let none = zeros([outputs]);
        let bias = bias.unwrap_or(&none);
        let mut products = products.chunks_exact(TILE * outputs);
        let mut rest = y;
        par::simd(
            #[inline(always)]
            || {
                for line in lines {
                    let rows = self.rows(line).len();
                    let both = rest.split_off_mut(..rows * self.w * outputs).expect("outputs of every line");
                    let (first, second) = both.split_at_mut(self.w * outputs);
                    for tile in 0..self.across() {
                        let Some(products) = products.next() else { return };
                        let width = STEP.min(self.w - tile * STEP);
                        let at = tile * STEP * outputs;
                        let first = &mut first[at..at + width * outputs];
                        let second = second.get_mut(at..at + width * outputs).unwrap_or_default();
                        back_tile(products, bias, [first, second]);
                    }
                }
            },
        );
    }
}

/// A vector of channels.
type Lanes<F> = [F; LANES];

#[inline(always)]
fn load<F: Real>(from: &[F], at: usize) -> Lanes<F> {
    *from[at..].first_chunk().expect("channels are whole vectors")
}

#[inline(always)]
fn store<F: Real>(to: &mut [F], at: usize, v: Lanes<F>) {
    *to[at..].first_chunk_mut().expect("channels are whole vectors") = v;
}

// Loops instead of `from_fn` in all that follows: what that calls is not always inlined, and then compiled for the oldest machine.

#[inline(always)]
fn sum<F: Real>(mut a: Lanes<F>, b: Lanes<F>) -> Lanes<F> {
    for i in 0..LANES {
        a[i] += b[i];
    }
    a
}

#[inline(always)]
fn difference<F: Real>(mut a: Lanes<F>, b: Lanes<F>) -> Lanes<F> {
    for i in 0..LANES {
        a[i] -= b[i];
    }
    a
}

/// `Bᵀ d` of a line, `Bᵀ = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]`.
#[inline(always)]
fn transform_line<F: Real>([a, b, c, d]: [Lanes<F>; SIDE]) -> [Lanes<F>; SIDE] {
    [difference(a, c), sum(b, c), difference(c, b), difference(b, d)]
}

/// `Aᵀ m` of a line, `Aᵀ = [[1, 1, 1, 0], [0, 1, -1, -1]]`.
#[inline(always)]
fn back_line<F: Real>([a, b, c, d]: [Lanes<F>; SIDE]) -> [Lanes<F>; STEP] {
    [sum(sum(a, b), c), difference(difference(b, c), d)]
}

/// `Bᵀ d B` of a tile of pixels `[C]` each: `[16, C]`.
#[inline(always)]
fn transform_tile<F: Real>(pixels: &[&[F]; TILE], out: &mut [F]) {
    let channels = pixels[0].len();
    for c in (0..channels).step_by(LANES) {
        let mut columns = [[[F::of(0.0); LANES]; SIDE]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            for (y, v) in column.iter_mut().enumerate() {
                *v = load(pixels[SIDE * y + x], c);
            }
            *column = transform_line(*column);
        }
        for y in 0..SIDE {
            let mut row = [[F::of(0.0); LANES]; SIDE];
            for x in 0..SIDE {
                row[x] = columns[x][y];
            }
            for (x, v) in transform_line(row).into_iter().enumerate() {
                store(out, (SIDE * y + x) * channels + c, v);
            }
        }
    }
}

/// `Aᵀ m A + bias` of a tile `[16, O]`: of each of two lines the pixels `[O]` that there are.
#[inline(always)]
fn back_tile<F: Real>(products: &[F], bias: &[F], lines: [&mut [F]; STEP]) {
    let outputs = bias.len();
    let [first, second] = lines;
    for o in (0..outputs).step_by(LANES) {
        let mut columns = [[[F::of(0.0); LANES]; STEP]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            let mut whole = [[F::of(0.0); LANES]; SIDE];
            for (y, v) in whole.iter_mut().enumerate() {
                *v = load(products, (SIDE * y + x) * outputs + o);
            }
            *column = back_line(whole);
        }
        let bias = load(bias, o);
        for (y, line) in [&mut *first, &mut *second].into_iter().enumerate() {
            let mut row = [[F::of(0.0); LANES]; SIDE];
            for x in 0..SIDE {
                row[x] = columns[x][y];
            }
            for (pixel, v) in line.chunks_exact_mut(outputs).zip(back_line(row)) {
                store(pixel, o, sum(v, bias));
            }
        }
    }
}
