//! The sums of a tile: fragments of tensor cores, or a few numbers in each unit.

use super::product::{Epilogue, Form, stage};
use super::tile::CORE;
use crate::kernels::elementwise::{gelu, gelu_slope};
use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

/// Units along each side of the square that a cube of plain multiply-adds forms.
const SIDE: usize = 16;

/// Distance of the rows of a fragment in shared memory, in f32: the fragment's side and a bank's width of padding.
const STAGED: usize = CORE + 4;

/// The tile's part that a plane, or a unit, adds up. One of the two is used.
#[derive(CubeType)]
pub(crate) struct Sums<N: Size> {
    fragments: Sequence<cmma::Matrix<f32>>,
    numbers: Array<Vector<f32, N>>,
}

/// How many fragments a plane has along the two sides of the tile; how many numbers a unit has.
fn share(form: &Form) -> [usize; 2] {
    let tile = &form.tile;
    if tile.cores {
        [tile.m / tile.planes[0] / CORE, tile.n / tile.planes[1] / CORE]
    } else {
        [tile.m / SIDE, tile.n / SIDE]
    }
}

#[cube]
impl<N: Size> Sums<N> {
    /// Zeros.
    pub(crate) fn new(#[comptime] form: Form) -> Self {
        let [rows, columns] = comptime!(share(&form));
        let count = comptime!(rows * columns);
        let mut fragments = Sequence::<cmma::Matrix<f32>>::new();
        let mut numbers = Array::<Vector<f32, N>>::new(count);
        if comptime!(form.tile.cores) {
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

    /// Adds the product of the two tiles in buffer `buffer`.
    pub(crate) fn multiply<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        b: &SharedMemory<Vector<S, NB>>,
        buffer: usize,
        #[comptime] form: Form,
    ) {
        if comptime!(form.tile.cores) {
            self.multiply_fragments::<S, NA, NB>(a, b, buffer, form);
        } else {
            self.multiply_numbers::<S, NA, NB>(a, b, buffer, form);
        }
    }

    fn multiply_fragments<S: Float, NA: Size, NB: Size>(
        &mut self,
        a: &SharedMemory<Vector<S, NA>>,
        b: &SharedMemory<Vector<S, NB>>,
        buffer: usize,
        #[comptime] form: Form,
    ) {
        let [rows, columns] = comptime!(share(&form));
        let stage_a = comptime!(stage(&form, &form.a, form.tile.m));
        let stage_b = comptime!(stage(&form, &form.b, form.tile.n));
        let plane = UNIT_POS as usize / PLANE_DIM as usize;
        let first_m = plane / comptime!(form.tile.planes[1]) * comptime!(rows * CORE);
        let first_n = plane % comptime!(form.tile.planes[1]) * comptime!(columns * CORE);
        let layout_a =
            comptime!(if form.a.k_fast { MatrixLayout::RowMajor } else { MatrixLayout::ColMajor });
        let layout_b =
            comptime!(if form.b.k_fast { MatrixLayout::ColMajor } else { MatrixLayout::RowMajor });
        let steps = comptime!(form.tile.k / CORE);
        #[unroll]
        for step in 0..steps {
            let k = comptime!(step * CORE);
            let mut parts = Sequence::<cmma::Matrix<S>>::new();
            #[unroll]
            for j in 0..columns {
                let at = first_n + comptime!(j * CORE);
                parts.push(fragment::<S, NB>(b, buffer, at, k, MatrixIdent::B, layout_b, stage_b, form.b.k_fast));
            }
            #[unroll]
            for i in 0..rows {
                let at = first_m + comptime!(i * CORE);
                let part = fragment::<S, NA>(a, buffer, at, k, MatrixIdent::A, layout_a, stage_a, form.a.k_fast);
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
        b: &SharedMemory<Vector<S, NB>>,
        buffer: usize,
        #[comptime] form: Form,
    ) {
        let [rows, columns] = comptime!(share(&form));
        let stage_a = comptime!(stage(&form, &form.a, form.tile.m));
        let stage_b = comptime!(stage(&form, &form.b, form.tile.n));
        let base_a = buffer * comptime!(stage_a[0] * stage_a[2]);
        let base_b = buffer * comptime!(stage_b[0] * stage_b[2]);
        let first_m = UNIT_POS as usize / SIDE;
        let first_n = UNIT_POS as usize % SIDE;
        for k in 0..comptime!(form.tile.k) {
            let mut right = Array::<Vector<f32, N>>::new(columns);
            #[unroll]
            for j in 0..columns {
                let column = first_n + comptime!(j * SIDE);
                right[j] = Vector::cast_from(b[base_b + place(column, k, comptime!(stage_b[2]), form.b.k_fast)]);
            }
            #[unroll]
            for i in 0..rows {
                let row = first_m + comptime!(i * SIDE);
                let left =
                    Vector::<f32, N>::cast_from(a[base_a + place(row, k, comptime!(stage_a[2]), form.a.k_fast)]);
                #[unroll]
                for j in 0..columns {
                    self.numbers[comptime!(i * columns + j)] += left * right[j];
                }
            }
        }
    }

    /// Hands the sums to their place. `first` is where the tile begins, `extents` where the result ends.
    pub(crate) fn write<C: Float>(
        &self,
        bias: &Array<Vector<f32, N>>,
        extra: &mut Array<Vector<C, N>>,
        y: &mut Array<Vector<C, N>>,
        first: (usize, usize),
        extents: (usize, usize),
        #[comptime] form: Form,
    ) {
        let [rows, columns] = comptime!(share(&form));
        if comptime!(form.tile.cores) {
            let planes = comptime!(form.tile.planes[0] * form.tile.planes[1]);
            let mut staged = SharedMemory::<f32>::new_aligned(comptime!(planes * CORE * STAGED), 32usize);
            let plane = UNIT_POS as usize / PLANE_DIM as usize;
            let lane = UNIT_POS as usize % PLANE_DIM as usize;
            let base = plane * comptime!(CORE * STAGED);
            let first_m = first.0 + plane / comptime!(form.tile.planes[1]) * comptime!(rows * CORE);
            let first_n = first.1 + plane % comptime!(form.tile.planes[1]) * comptime!(columns * CORE);
            let vectors = comptime!(CORE * CORE) / N::value();
            #[unroll]
            for i in 0..rows {
                #[unroll]
                for j in 0..columns {
                    let sum = self.fragments.index(comptime!(i * columns + j));
                    let mut slice = staged.slice_mut(base, base + comptime!(CORE * STAGED));
                    cmma::store(&mut slice, sum, comptime!(STAGED as u32), MatrixLayout::RowMajor);
                    sync_plane();
                    let mut e = lane;
                    while e < vectors {
                        let row = e * N::value() / CORE;
                        let column = e * N::value() % CORE;
                        let mut v = Vector::<f32, N>::empty();
                        #[unroll]
                        for l in 0..N::value() {
                            v[l] = staged[base + row * STAGED + column + l];
                        }
                        let row = first_m + comptime!(i * CORE) + row;
                        let column = first_n + comptime!(j * CORE) + column;
                        emit::<C, N>(v, row, column, bias, extra, y, extents, form);
                        e += PLANE_DIM as usize;
                    }
                    sync_plane();
                }
            }
        } else {
            #[unroll]
            for i in 0..rows {
                #[unroll]
                for j in 0..columns {
                    let row = first.0 + UNIT_POS as usize / SIDE + comptime!(i * SIDE);
                    let column = first.1 + UNIT_POS as usize % SIDE + comptime!(j * SIDE);
                    let v = self.numbers[comptime!(i * columns + j)];
                    emit::<C, N>(v, row, column, bias, extra, y, extents, form);
                }
            }
        }
    }
}

/// The place of element (`outer`, `k`) of a tile in shared memory.
#[cube]
fn place(outer: usize, k: usize, #[comptime] distance: usize, #[comptime] k_fast: bool) -> usize {
    if comptime!(k_fast) { outer * distance + k } else { k * distance + outer }
}

/// The fragment of a tile that begins at (`outer`, `k`).
#[cube]
#[allow(clippy::too_many_arguments)]
fn fragment<S: Float, N: Size>(
    tile: &SharedMemory<Vector<S, N>>,
    buffer: usize,
    outer: usize,
    k: usize,
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: MatrixLayout,
    #[comptime] extents: [usize; 3],
    #[comptime] k_fast: bool,
) -> cmma::Matrix<S> {
    // SAFETY: it is loaded in the next line.
    let part = unsafe { cmma::Matrix::<S>::uninitialized(ident, CORE, CORE, CORE, layout) };
    let size = comptime!(extents[0] * extents[2]);
    let first = buffer * size + place(outer, k, comptime!(extents[2]), k_fast);
    let slice = tile.slice(first / N::value(), comptime!(2 * size) / N::value());
    cmma::load(&part, &slice, comptime!(extents[2] as u32));
    part
}

/// Sums at (`row`, `column`) and the columns after it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn emit<C: Float, N: Size>(
    sum: Vector<f32, N>,
    row: usize,
    column: usize,
    bias: &Array<Vector<f32, N>>,
    extra: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    extents: (usize, usize),
    #[comptime] form: Form,
) {
    let (m, n) = extents;
    if row < m && column < n {
        let at = (row * n + column) / N::value();
        let mut v = sum;
        if comptime!(form.bias) {
            v += bias[column / N::value()];
        }
        match comptime!(form.epilogue) {
            Epilogue::Store => {
                y[at] = Vector::cast_from(v);
            }
            Epilogue::Gelu => {
                extra[at] = Vector::cast_from(v);
                y[at] = Vector::cast_from(gelu::<N>(v));
            }
            Epilogue::GeluBackward => {
                y[at] = Vector::cast_from(v * gelu_slope::<N>(Vector::cast_from(extra[at])));
            }
            Epilogue::Accumulate => {
                y[at] = Vector::cast_from(v + Vector::cast_from(y[at]));
            }
            Epilogue::Piece => {
                let piece = CUBE_POS_Z as usize * (m * n / N::value());
                y[piece + at] = Vector::cast_from(v);
            }
        }
    }
}

