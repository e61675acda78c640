//! The product of two tiles in shared memory, added to accumulators in registers: on tensor cores, or by plain multiply-adds.
//!
//! ```text
//! tensor cores: 8 warps on a grid                 plain: 256 threads on a grid of 16 x 16
//!
//!        n                                               n
//!   +---------+---------+                           +----+----+----+----+
//!   | warp 0  | warp 1  |  a warp has a              |0..F|0..F|0..F|0..F|  thread (r, c) has the elements
//! m |---------+---------|  rectangle of            m |----+----+----+----|  (r + 16 i, c + 16 j)
//!   | warp 2  | warp 3  |  16 x 16 fragments         |    |    |    |    |
//!   +---------+---------+                           +----+----+----+----+
//! ```
//!
//! For each step of 16 along k a warp loads a column of fragments of B, then each fragment of A once, and multiplies all pairs: a
//! rectangle of 4 x 4 fragments has 16 products for 8 loads. A thread does the same with single elements. Its elements lie 16
//! apart, so that neighbouring threads read neighbouring addresses.

use super::tile::FRAGMENT;
use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

/// Threads along each side of the square that a block of plain multiply-adds forms.
pub(crate) const SQUARE: usize = 16;

/// How a tile lies in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedLayout {
    /// Whether the summed axis is the contiguous one.
    pub(crate) k_contiguous: bool,
    /// Elements from one row to the next.
    pub(crate) stride: usize,
}

/// A product `[m, n]`, summed over k, of tiles in shared memory, by all 256 threads of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TileShape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: SharedLayout,
    pub(crate) b: SharedLayout,
    /// Warps along m and n; only with tensor cores.
    pub(crate) warps: [usize; 2],
    /// Whether tensor cores multiply.
    pub(crate) tensor_cores: bool,
}

impl TileShape {
    /// Accumulators along m and n: fragments of a warp, or elements of a thread.
    pub(crate) fn accumulators(&self) -> [usize; 2] {
        if self.tensor_cores {
            [self.m / self.warps[0] / FRAGMENT, self.n / self.warps[1] / FRAGMENT]
        } else {
            [self.m / SQUARE, self.n / SQUARE]
        }
    }
}

/// The sums of a warp, or of a thread. One of the two fields is used.
#[derive(CubeType)]
pub(crate) struct Accumulators<N: Size> {
    pub(crate) fragments: Sequence<cmma::Matrix<f32>>,
    pub(crate) numbers: Array<Vector<f32, N>>,
}

#[cube]
impl<N: Size> Accumulators<N> {
    /// Zeros.
    pub(crate) fn new(#[comptime] shape: TileShape) -> Self {
        let [rows, columns] = comptime!(shape.accumulators());
        let count = comptime!(rows * columns);
        let mut fragments = Sequence::<cmma::Matrix<f32>>::new();
        let mut numbers = Array::<Vector<f32, N>>::new(count);
        if comptime!(shape.tensor_cores) {
            #[unroll]
            for _ in 0..count {
                fragments.push(cmma::Matrix::<f32>::from_value(
                    MatrixIdent::Accumulator,
                    FRAGMENT,
                    FRAGMENT,
                    FRAGMENT,
                    MatrixLayout::Undefined,
                    0.0,
                ));
            }
        } else {
            #[unroll]
            for i in 0..count {
                numbers[i] = Vector::new(0.0f32);
            }
        }
        Accumulators::<N> { fragments, numbers }
    }

    /// Adds the product of the tiles that begin at element `first_a` of `a` and `first_b` of `b`.
    pub(crate) fn multiply<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        first_a: usize,
        b: &SharedMemory<Vector<S, NB>>,
        first_b: usize,
        #[comptime] shape: TileShape,
    ) {
        if comptime!(shape.tensor_cores) {
            self.multiply_fragments::<S, NA, NB>(a, first_a, b, first_b, shape);
        } else {
            self.multiply_numbers::<S, NA, NB>(a, first_a, b, first_b, shape);
        }
    }

    fn multiply_fragments<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        first_a: usize,
        b: &SharedMemory<Vector<S, NB>>,
        first_b: usize,
        #[comptime] shape: TileShape,
    ) {
        let [rows, columns] = comptime!(shape.accumulators());
        let (first_m, first_n) = warp_origin(shape);
        let layout_a =
            comptime!(if shape.a.k_contiguous { MatrixLayout::RowMajor } else { MatrixLayout::ColMajor });
        let layout_b =
            comptime!(if shape.b.k_contiguous { MatrixLayout::ColMajor } else { MatrixLayout::RowMajor });
        let steps = comptime!(shape.k / FRAGMENT);
        #[unroll]
        for step in 0..steps {
            let k = comptime!(step * FRAGMENT);
            let mut right = Sequence::<cmma::Matrix<S>>::new();
            #[unroll]
            for j in 0..columns {
                let at = first_b + offset(first_n + comptime!(j * FRAGMENT), k, shape.b);
                right.push(fragment::<S, NB>(b, at, MatrixIdent::B, layout_b, comptime!(shape.b.stride)));
            }
            #[unroll]
            for i in 0..rows {
                let at = first_a + offset(first_m + comptime!(i * FRAGMENT), k, shape.a);
                let left = fragment::<S, NA>(a, at, MatrixIdent::A, layout_a, comptime!(shape.a.stride));
                #[unroll]
                for j in 0..columns {
                    let sum = self.fragments.index(comptime!(i * columns + j));
                    cmma::execute::<S, S, f32, f32>(&left, right.index(j), sum, sum);
                }
            }
        }
    }

    fn multiply_numbers<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        first_a: usize,
        b: &SharedMemory<Vector<S, NB>>,
        first_b: usize,
        #[comptime] shape: TileShape,
    ) {
        let [rows, columns] = comptime!(shape.accumulators());
        let (first_m, first_n) = thread_origin();
        for k in 0..comptime!(shape.k) {
            let mut right = Array::<Vector<f32, N>>::new(columns);
            #[unroll]
            for j in 0..columns {
                let at = first_b + offset(first_n + comptime!(j * SQUARE), k, shape.b);
                right[j] = Vector::cast_from(b[at]);
            }
            #[unroll]
            for i in 0..rows {
                let at = first_a + offset(first_m + comptime!(i * SQUARE), k, shape.a);
                let left = Vector::<f32, N>::cast_from(a[at]);
                #[unroll]
                for j in 0..columns {
                    self.numbers[comptime!(i * columns + j)] += left * right[j];
                }
            }
        }
    }

    /// Writes the sums to shared memory, in rows `stride` elements apart.
    pub(crate) fn store_shared(
        &self,
        y: &mut SharedMemory<f32>,
        #[comptime] stride: usize,
        #[comptime] shape: TileShape,
    ) {
        let [rows, columns] = comptime!(shape.accumulators());
        #[unroll]
        for i in 0..rows {
            #[unroll]
            for j in 0..columns {
                let nth = comptime!(i * columns + j);
                if comptime!(shape.tensor_cores) {
                    let (first_m, first_n) = warp_origin(shape);
                    let at = (first_m + comptime!(i * FRAGMENT)) * stride + first_n + comptime!(j * FRAGMENT);
                    let mut slice = y.slice_mut(at, comptime!(shape.m * stride));
                    let layout = comptime!(MatrixLayout::RowMajor);
                    cmma::store(&mut slice, self.fragments.index(nth), comptime!(stride as u32), layout);
                } else {
                    let (first_m, first_n) = thread_origin();
                    let at = (first_m + comptime!(i * SQUARE)) * stride + first_n + comptime!(j * SQUARE);
                    y[at] = f32::cast_from(self.numbers[nth]);
                }
            }
        }
    }
}

/// The first row and column of the rectangle that this warp adds up.
#[cube]
pub(crate) fn warp_origin(#[comptime] shape: TileShape) -> (usize, usize) {
    let [rows, columns] = comptime!(shape.accumulators());
    let warp = UNIT_POS as usize / PLANE_DIM as usize;
    let across = comptime!(shape.warps[1]);
    (warp / across * comptime!(rows * FRAGMENT), warp % across * comptime!(columns * FRAGMENT))
}

/// The first row and column that this thread adds up. Its others are [`SQUARE`] apart.
#[cube]
pub(crate) fn thread_origin() -> (usize, usize) {
    (UNIT_POS as usize / SQUARE, UNIT_POS as usize % SQUARE)
}

/// The offset of element (`outer`, `k`) of a tile in shared memory.
#[cube]
fn offset(outer: usize, k: usize, #[comptime] layout: SharedLayout) -> usize {
    if comptime!(layout.k_contiguous) { outer * layout.stride + k } else { k * layout.stride + outer }
}

/// The fragment that begins at element `at`.
#[cube]
fn fragment<S: Float, N: Size>(
    tile: &SharedMemory<Vector<S, N>>,
    at: usize,
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: MatrixLayout,
    #[comptime] stride: usize,
) -> cmma::Matrix<S> {
    // SAFETY: it is loaded before anything reads it.
    let matrix = unsafe { cmma::Matrix::<S>::uninitialized(ident, FRAGMENT, FRAGMENT, FRAGMENT, layout) };
    let slice = tile.slice(at / N::value(), tile.len());
    cmma::load(&matrix, &slice, comptime!(stride as u32));
    matrix
}
