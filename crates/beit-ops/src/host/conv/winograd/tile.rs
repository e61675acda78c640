//! The transforms of one tile and one filter, for a vector of channels at a time.

use crate::host::real::Real;
use core::array::from_fn;

/// Side of a tile of inputs.
pub(super) const SIDE: usize = 4;
/// Elements of a tile of inputs.
pub(super) const TILE: usize = SIDE * SIDE;
/// Side of a tile of outputs, which is also the distance between tiles of inputs.
pub(super) const STEP: usize = 2;
/// Channels that are transformed together: a register of AVX2.
pub(super) const VECTOR: usize = 8;

/// `G g Gᵀ` with `G = [[1, 0, 0], [½, ½, ½], [½, -½, ½], [0, 0, 1]]`.
pub(super) fn transform_filter<F: Real>(g: [F; 9]) -> [F; TILE] {
    let half = F::from_f64(0.5);
    let along = |[a, b, c]: [F; 3]| {
        let ends = half * (a + c);
        [a, ends + half * b, ends - half * b, c]
    };
    // First `G g`, column by column, then `(G g) Gᵀ`, row by row.
    let columns: [[F; SIDE]; 3] = from_fn(|x| along([g[x], g[3 + x], g[6 + x]]));
    let rows: [[F; SIDE]; SIDE] = from_fn(|y| along([columns[0][y], columns[1][y], columns[2][y]]));
    from_fn(|i| rows[i / SIDE][i % SIDE])
}

/// A vector of channels.
type Vector<F> = [F; VECTOR];

#[inline(always)]
fn load<F: Real>(from: &[F], at: usize) -> Vector<F> {
    *from[at..].first_chunk().expect("channels are a multiple of a vector")
}

#[inline(always)]
fn store<F: Real>(to: &mut [F], at: usize, v: Vector<F>) {
    *to[at..].first_chunk_mut().expect("channels are a multiple of a vector") = v;
}

// The functions below have loops instead of `from_fn`, which is not always inlined and would then be compiled for the baseline
// of the target instead of the vector instructions of the machine.

#[inline(always)]
fn sum<F: Real>(mut a: Vector<F>, b: Vector<F>) -> Vector<F> {
    for i in 0..VECTOR {
        a[i] += b[i];
    }
    a
}

#[inline(always)]
fn difference<F: Real>(mut a: Vector<F>, b: Vector<F>) -> Vector<F> {
    for i in 0..VECTOR {
        a[i] -= b[i];
    }
    a
}

/// `Bᵀ d` of four numbers, `Bᵀ = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]`.
#[inline(always)]
fn transform_four<F: Real>([a, b, c, d]: [Vector<F>; SIDE]) -> [Vector<F>; SIDE] {
    [difference(a, c), sum(b, c), difference(c, b), difference(b, d)]
}

/// `Aᵀ m` of four numbers, `Aᵀ = [[1, 1, 1, 0], [0, 1, -1, -1]]`.
#[inline(always)]
fn inverse_four<F: Real>([a, b, c, d]: [Vector<F>; SIDE]) -> [Vector<F>; STEP] {
    [sum(sum(a, b), c), difference(difference(b, c), d)]
}

/// `Bᵀ d B` of a tile of pixels `[C]` each: `[16, C]`.
#[inline(always)]
pub(super) fn transform_tile<F: Real>(pixels: &[&[F]; TILE], out: &mut [F]) {
    let channels = pixels[0].len();
    for c in (0..channels).step_by(VECTOR) {
        let mut columns = [[[F::from_f64(0.0); VECTOR]; SIDE]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            for (y, v) in column.iter_mut().enumerate() {
                *v = load(pixels[SIDE * y + x], c);
            }
            *column = transform_four(*column);
        }
        for y in 0..SIDE {
            let mut row = [[F::from_f64(0.0); VECTOR]; SIDE];
            for x in 0..SIDE {
                row[x] = columns[x][y];
            }
            for (x, v) in transform_four(row).into_iter().enumerate() {
                store(out, (SIDE * y + x) * channels + c, v);
            }
        }
    }
}

/// `Aᵀ m A + bias` of a tile `[16, O]`, into the pixels `[O]` of two rows. At the edge of an image a row may have one pixel, or
/// none.
#[inline(always)]
pub(super) fn inverse_tile<F: Real>(products: &[F], bias: &[F], rows: [&mut [F]; STEP]) {
    let outputs = bias.len();
    let [first, second] = rows;
    for o in (0..outputs).step_by(VECTOR) {
        let mut columns = [[[F::from_f64(0.0); VECTOR]; STEP]; SIDE];
        for (x, column) in columns.iter_mut().enumerate() {
            let mut numbers = [[F::from_f64(0.0); VECTOR]; SIDE];
            for (y, v) in numbers.iter_mut().enumerate() {
                *v = load(products, (SIDE * y + x) * outputs + o);
            }
            *column = inverse_four(numbers);
        }
        let bias = load(bias, o);
        for (y, pixels) in [&mut *first, &mut *second].into_iter().enumerate() {
            let mut row = [[F::from_f64(0.0); VECTOR]; SIDE];
            for x in 0..SIDE {
                row[x] = columns[x][y];
            }
            for (pixel, v) in pixels.chunks_exact_mut(outputs).zip(inverse_four(row)) {
                store(pixel, o, sum(v, bias));
            }
        }
    }
}
