//! The product of two blocks in shared memory: on tensor cores, or by plain multiply-adds.

use super::tile::CORE;
use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

/// Units along each side of the square that a cube of plain multiply-adds forms.
pub(crate) const SIDE: usize = 16;

/// How an operand lies in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stage {
    /// Whether the axis that is summed over is the fast one.
    pub(crate) k_fast: bool,
    /// Elements from one row to the next.
    pub(crate) distance: usize,
}

/// A product `[m, n]`, summed over k, of blocks in shared memory, by all 256 units of a cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Stage,
    pub(crate) b: Stage,
    /// Planes along m and n; only with tensor cores.
    pub(crate) planes: [usize; 2],
    /// Whether tensor cores multiply.
    pub(crate) cores: bool,
}

impl Block {
    /// How many fragments a plane has along m and n, or how many numbers a unit has.
    pub(crate) fn share(&self) -> [usize; 2] {
        if self.cores {
            [self.m / self.planes[0] / CORE, self.n / self.planes[1] / CORE]
        } else {
            [self.m / SIDE, self.n / SIDE]
        }
    }
}

/// What a plane, or a unit, has added up. One of the two is used.
#[derive(CubeType)]
pub(crate) struct Sums<N: Size> {
    pub(crate) fragments: Sequence<cmma::Matrix<f32>>,
    pub(crate) numbers: Array<Vector<f32, N>>,
}

#[cube]
impl<N: Size> Sums<N> {
    /// Zeros.
    pub(crate) fn new(#[comptime] block: Block) -> Self {
        let [rows, columns] = comptime!(block.share());
        let count = comptime!(rows * columns);
        let mut fragments = Sequence::<cmma::Matrix<f32>>::new();
        let mut numbers = Array::<Vector<f32, N>>::new(count);
        if comptime!(block.cores) {
            #[unroll]
            for _ in 0..count {
                fragments.push(cmma::Matrix::<f32>::from_value(
                    MatrixIdent::Accumulator,
                    CORE,
                    CORE,
                    CORE,
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
        Sums::<N> { fragments, numbers }
    }

    /// Adds the product of the blocks that begin at element `first_a` of `a` and `first_b` of `b`.
    pub(crate) fn multiply<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        first_a: usize,
        b: &SharedMemory<Vector<S, NB>>,
        first_b: usize,
        #[comptime] block: Block,
    ) {
        if comptime!(block.cores) {
            self.multiply_fragments::<S, NA, NB>(a, first_a, b, first_b, block);
        } else {
            self.multiply_numbers::<S, NA, NB>(a, first_a, b, first_b, block);
        }
    }

    fn multiply_fragments<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        first_a: usize,
        b: &SharedMemory<Vector<S, NB>>,
        first_b: usize,
        #[comptime] block: Block,
    ) {
        let [rows, columns] = comptime!(block.share());
        let (first_m, first_n) = plane_corner(block);
        let layout_a =
            comptime!(if block.a.k_fast { MatrixLayout::RowMajor } else { MatrixLayout::ColMajor });
        let layout_b =
            comptime!(if block.b.k_fast { MatrixLayout::ColMajor } else { MatrixLayout::RowMajor });
        let steps = comptime!(block.k / CORE);
        #[unroll]
        for step in 0..steps {
            let k = comptime!(step * CORE);
            let mut parts = Sequence::<cmma::Matrix<S>>::new();
            #[unroll]
            for j in 0..columns {
                let at = first_b + place(first_n + comptime!(j * CORE), k, block.b);
                parts.push(fragment::<S, NB>(b, at, MatrixIdent::B, layout_b, comptime!(block.b.distance)));
            }
            #[unroll]
            for i in 0..rows {
                let at = first_a + place(first_m + comptime!(i * CORE), k, block.a);
                let part = fragment::<S, NA>(a, at, MatrixIdent::A, layout_a, comptime!(block.a.distance));
                #[unroll]
                for j in 0..columns {
                    let sum = self.fragments.index(comptime!(i * columns + j));
                    cmma::execute::<S, S, f32, f32>(&part, parts.index(j), sum, sum);
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
        #[comptime] block: Block,
    ) {
        let [rows, columns] = comptime!(block.share());
        let (first_m, first_n) = unit_corner();
        for k in 0..comptime!(block.k) {
            let mut right = Array::<Vector<f32, N>>::new(columns);
            #[unroll]
            for j in 0..columns {
                let at = first_b + place(first_n + comptime!(j * SIDE), k, block.b);
                right[j] = Vector::cast_from(b[at]);
            }
            #[unroll]
            for i in 0..rows {
                let at = first_a + place(first_m + comptime!(i * SIDE), k, block.a);
                let left = Vector::<f32, N>::cast_from(a[at]);
                #[unroll]
                for j in 0..columns {
                    self.numbers[comptime!(i * columns + j)] += left * right[j];
                }
            }
        }
    }

    /// Writes the sums to shared memory, rows `distance` elements apart.
    pub(crate) fn share(
        &self,
        y: &mut SharedMemory<f32>,
        #[comptime] distance: usize,
        #[comptime] block: Block,
    ) {
        let [rows, columns] = comptime!(block.share());
        #[unroll]
        for i in 0..rows {
            #[unroll]
            for j in 0..columns {
                let nth = comptime!(i * columns + j);
                if comptime!(block.cores) {
                    let (first_m, first_n) = plane_corner(block);
                    let at = (first_m + comptime!(i * CORE)) * distance + first_n + comptime!(j * CORE);
                    let mut slice = y.slice_mut(at, comptime!(block.m * distance));
                    let layout = comptime!(MatrixLayout::RowMajor);
                    cmma::store(&mut slice, self.fragments.index(nth), comptime!(distance as u32), layout);
                } else {
                    let (first_m, first_n) = unit_corner();
                    let at = (first_m + comptime!(i * SIDE)) * distance + first_n + comptime!(j * SIDE);
                    y[at] = f32::cast_from(self.numbers[nth]);
                }
            }
        }
    }
}

/// Where the part of the block begins that this plane adds up.
#[cube]
pub(crate) fn plane_corner(#[comptime] block: Block) -> (usize, usize) {
    let [rows, columns] = comptime!(block.share());
    let plane = UNIT_POS as usize / PLANE_DIM as usize;
    let across = comptime!(block.planes[1]);
    (plane / across * comptime!(rows * CORE), plane % across * comptime!(columns * CORE))
}

/// Where the first number is that this unit adds up; the others are [`SIDE`] apart.
#[cube]
pub(crate) fn unit_corner() -> (usize, usize) {
    (UNIT_POS as usize / SIDE, UNIT_POS as usize % SIDE)
}

/// The place of element (`outer`, `k`) of a block in shared memory.
#[cube]
fn place(outer: usize, k: usize, #[comptime] stage: Stage) -> usize {
    if comptime!(stage.k_fast) { outer * stage.distance + k } else { k * stage.distance + outer }
}

/// The fragment that begins at element `at`.
#[cube]
fn fragment<S: Float, N: Size>(
    block: &SharedMemory<Vector<S, N>>,
    at: usize,
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: MatrixLayout,
    #[comptime] distance: usize,
) -> cmma::Matrix<S> {
    // SAFETY: it is loaded before anything reads it.
    let part = unsafe { cmma::Matrix::<S>::uninitialized(ident, CORE, CORE, CORE, layout) };
    let slice = block.slice(at / N::value(), block.len());
    cmma::load(&part, &slice, comptime!(distance as u32));
    part
}
