//! Feature maps of other sizes: bilinear resizing and adaptive average pooling, which are one computation with other weights.
//!
//! ```text
//! x [B, h, w, C]                        y [B, height, width, C]
//!
//!   lines i of y   +---+---+            thread = one vector of channels of one pixel of y (see elementwise.rs)
//!   are made of    | a | b |     ->
//!   its lines      |---+---|            y = Σ pixels[j] Σ lines[i] x, over the few lines and pixels of x that it is made of
//!                  | c | d |
//!                  +---+---+
//! ```
//!
//! - The gradient is the same computation by the transposed taps: which elements of y an element of x is in. So every element has one
//!   writer, and reads what it needs.
//! - The taps are made on the host in f64, as for the CPU, and uploaded as one table: a few numbers for each line and column.
//! - A pixel that is made of many others takes two passes, lines before pixels, which read the sum of both numbers of taps and not
//!   their product. [`MOST`] is what one pass for bilinear resizing by four reads, backward.

use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::{Dtype, Ids, Tensor};
use beit_ops::{Corners, Taps};
use core::ops::Range;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;
/// Elements that a pixel is made of in one pass.
const MOST: usize = 64;
/// Numbers of the table for each line and column: its first element, where its weights are, and how many.
const NUMBERS: usize = 3;

/// `y[b, i, j] = Σ pixels[j] Σ lines[i] x[b]`; `x` has `lines` of `side` pixels, `y` has `height` lines of `width` pixels.
#[cube(launch_unchecked)]
fn mix<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    taps: &Array<u32>,
    y: &mut Array<Vector<Y, N>>,
    columns: usize,
    lines: usize,
    side: usize,
    height: usize,
    width: usize,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let pixel = i / columns;
        let (image, line, column) = (pixel / (width * height), pixel / width % height, pixel % width);
        let (l, p) = (NUMBERS * line, NUMBERS * (height + column));
        let first = (image * lines + taps[l] as usize) * side + taps[p] as usize;
        let (of_lines, of_pixels) = (taps[l + 1] as usize, taps[p + 1] as usize);
        let (many_lines, many_pixels) = (taps[l + 2] as usize, taps[p + 2] as usize);
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for q in 0..many_pixels {
            let mut mixed = Vector::<f32, N>::new(0.0f32);
            for r in 0..many_lines {
                let v = Vector::<f32, N>::cast_from(x[(first + r * side + q) * columns + i % columns]);
                mixed += v * Vector::new(f32::reinterpret(taps[of_lines + r]));
            }
            sum += mixed * Vector::new(f32::reinterpret(taps[of_pixels + q]));
        }
        y[i] = Vector::cast_from(sum);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// For every line and every column where it begins and where its weights are, then the bits of all weights.
fn table(sides: [&Taps; 2]) -> Vec<u32> {
    let elements: usize = sides.iter().map(|taps| taps.len()).sum();
    let mut table = Vec::new();
    let mut begin = NUMBERS * elements;
    for taps in sides {
        for i in 0..taps.len() {
            let (first, weights) = taps.of(i);
            table.extend([first, begin, weights.len()].map(|number| number as u32));
            begin += weights.len();
        }
    }
    table.extend(sides.iter().flat_map(|taps| taps.weights()).map(|&weight| (weight as f32).to_bits()));
    table
}

/// One pass, to a map of the type `dtype`.
fn pass<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, sides: [&Taps; 2], dtype: Dtype) -> Tensor {
    let [b, h, w, c] = x.map();
    let [height, width] = sides.map(Taps::len);
    let y = gpu.empty([b, height, width, c], dtype);
    let taps: Ids = gpu.upload_u32(&table(sides));
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(y.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [x.elem(), y.elem()];
    launch!(mix(gpu, count, dim, n, x.arg(), taps.arg(), y.arg(), c / n, h, w, height, width, types));
    y
}

/// Each line of the new map from lines of the old one, and each pixel from pixels.
fn resample<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, [lines, pixels]: [Taps; 2]) -> Tensor {
    let [_, _, w, _] = x.map();
    let most = [&lines, &pixels].map(|taps| taps.weights().len().div_ceil(taps.len()));
    if most[0] * most[1] <= MOST || most.contains(&1) {
        return pass(gpu, x, [&lines, &pixels], x.dtype);
    }
    let mixed = pass(gpu, x, [&lines, &Taps::identity(w)], Dtype::F32);
    pass(gpu, &mixed, [&Taps::identity(lines.len()), &pixels], x.dtype)
}

fn linear(from: [usize; 2], to: [usize; 2], corners: Corners) -> [Taps; 2] {
    [0, 1].map(|side| Taps::linear(from[side], to[side], corners))
}

fn means(from: [usize; 2], to: [usize; 2]) -> [Taps; 2] {
    [0, 1].map(|side| Taps::means(from[side], to[side]))
}

fn transposed([lines, pixels]: [Taps; 2], [h, w]: [usize; 2]) -> [Taps; 2] {
    [lines.transposed(h), pixels.transposed(w)]
}

/// `[B, h, w, C] -> [B, rows, width, C]`
pub(crate) fn resize_rows<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    to: [usize; 2],
    rows: Range<usize>,
    corners: Corners,
) -> Tensor {
    let [_, h, w, _] = x.map();
    let [lines, pixels] = linear([h, w], to, corners);
    resample(gpu, x, [lines.part(rows), pixels])
}

/// `[B, h, w, C] -> [B, height, width, C]`
pub(crate) fn pool_to<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, to: [usize; 2]) -> Tensor {
    let [_, h, w, _] = x.map();
    resample(gpu, x, means([h, w], to))
}

/// Returns `dx` of the sides `from`.
pub(crate) fn pool_to_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, from: [usize; 2]) -> Tensor {
    let [_, h, w, _] = dy.map();
    resample(gpu, dy, transposed(means(from, [h, w]), from))
}

/// Returns `dx` of the sides `from`.
pub(crate) fn resize_backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    from: [usize; 2],
    corners: Corners,
) -> Tensor {
    let [_, h, w, _] = dy.map();
    resample(gpu, dy, transposed(linear(from, [h, w], corners), from))
}
