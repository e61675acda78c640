//! What the kernels of the attention share: loading tiles, the relative position bias, scores.

use super::Form;
use crate::launch::UNITS;
use cubecl::prelude::*;

/// Rows of a tile, from device memory into shared memory.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Source {
    /// The token of the tile's first row.
    pub(crate) first: usize,
    /// Tokens of the image.
    pub(crate) tokens: usize,
    /// The row of the matrix that holds the image's first token.
    pub(crate) image: usize,
    /// Elements of a row of the matrix.
    pub(crate) row: usize,
    /// The column where the head begins.
    pub(crate) column: usize,
    /// Where the head begins in the bias that is added.
    pub(crate) bias: usize,
}

/// `shared = (x + bias) · scale`; zeros beyond the last token and the last element of a head.
#[cube]
pub(crate) fn load<X: Float, S: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    bias: &Array<Vector<f32, N>>,
    shared: &mut SharedMemory<Vector<S, N>>,
    source: Source,
    scale: f32,
    #[comptime] biased: bool,
    #[comptime] form: Form,
) {
    let wide = N::value();
    let per_row = comptime!(form.padded() / wide);
    let distance = comptime!(form.row() / wide);
    let mut e = UNIT_POS as usize;
    while e < comptime!(form.tile * per_row) {
        let row = e / per_row;
        let element = e % per_row * N::value();
        let token = source.first + row;
        let mut value = Vector::<f32, N>::new(0.0f32);
        if token < source.tokens && element < comptime!(form.d) {
            let at = (source.image + token) * source.row + source.column + element;
            value = Vector::cast_from(x[at / N::value()]);
            if comptime!(biased) {
                value += bias[(source.bias + element) / N::value()];
            }
            value *= Vector::new(scale);
        }
        shared[row * distance + e % per_row] = Vector::cast_from(value);
        e += UNITS as usize;
    }
}

/// Row `row` of one head's bias: the sum of the tables `[R, H]` where there are two.
#[cube]
fn bias_at(
    tables: (&Array<f32>, &Array<f32>),
    row: usize,
    head: usize,
    heads: usize,
    #[comptime] form: Form,
) -> f32 {
    let mut value = 0.0f32;
    if comptime!(form.tables[0]) {
        value += tables.0[row * heads + head];
    }
    if comptime!(form.tables[1]) {
        value += tables.1[row * heads + head];
    }
    value
}

/// Keeps the bias of one head in shared memory, where there is room for it.
#[cube]
pub(crate) fn load_bias(
    tables: (&Array<f32>, &Array<f32>),
    kept: &mut SharedMemory<f32>,
    head: usize,
    heads: usize,
    #[comptime] form: Form,
) {
    if comptime!(form.biased() && form.bias_shared) {
        let mut row = UNIT_POS as usize;
        while row < comptime!(form.bias_rows()) {
            kept[row] = bias_at(tables, row, head, heads, form);
            row += UNITS as usize;
        }
    }
}

/// The row of the bias table for query token `q` and key token `k`: see `beit_ops::relative_position_index`.
#[cube]
pub(crate) fn position(q: usize, k: usize, #[comptime] form: Form) -> usize {
    let [height, width] = comptime!(form.window);
    let rows = comptime!(form.bias_rows());
    // One height and one width are added, so that nothing goes below zero where a token is [CLS].
    let from = q + comptime!(width) - 1;
    let to = k + comptime!(width) - 1;
    let down = from / width + comptime!(height) - 1 - to / width;
    let right = from % width + comptime!(width) - 1 - to % width;
    let mut index = down * comptime!(2 * width - 1) + right;
    if q == 0 && k == 0 {
        index = rows - 1;
    } else if k == 0 {
        index = rows - 2;
    } else if q == 0 {
        index = rows - 3;
    }
    index
}

/// The score at `place` of a tile, with the bias of the pair `tokens`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn score(
    scores: &SharedMemory<f32>,
    kept: &SharedMemory<f32>,
    tables: (&Array<f32>, &Array<f32>),
    head: usize,
    heads: usize,
    place: (usize, usize),
    tokens: (usize, usize),
    #[comptime] form: Form,
) -> f32 {
    let mut score = scores[place.0 * comptime!(form.scores_row()) + place.1];
    if comptime!(form.biased()) {
        let row = position(tokens.0, tokens.1, form);
        if comptime!(form.bias_shared) {
            score += kept[row];
        } else {
            score += bias_at(tables, row, head, heads, form);
        }
    }
    score
}
