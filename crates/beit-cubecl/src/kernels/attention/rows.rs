//! What all kernels of the attention use: loading tiles, the relative position bias, scores.
//!
//! ```text
//! qkv, row of an image's token:    | q: head 0, head 1, ... | k: head 0, ... | v: head 0, ... |      3 C elements
//! context, the same row:           | head 0 | head 1 | ...                                            C elements
//!
//! tile of one head in shared memory:   `tile` rows of D elements, padded with zeros to whole fragments, stride `tile_stride`
//! ```

use super::variant::Variant;
use crate::launch::THREADS;
use cubecl::prelude::*;

/// One head of one image.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) head: usize,
    pub(crate) image: usize,
    /// Elements of a row of the context: C.
    pub(crate) width: usize,
    /// Where the head begins in it.
    pub(crate) column: usize,
}

#[cube]
impl Head {
    pub(crate) fn new(head: usize, image: usize, heads: usize, #[comptime] variant: Variant) -> Self {
        Head { head, image, width: heads * comptime!(variant.d), column: head * comptime!(variant.d) }
    }

    /// Rows of the queries (0), keys (1) or values (2) from token `first` on.
    pub(crate) fn part(self, first: usize, tokens: usize, #[comptime] part: usize) -> Source {
        Source {
            first,
            tokens,
            image: self.image * tokens,
            row: 3 * self.width,
            column: part * self.width + self.column,
            bias: self.column,
        }
    }

    /// Rows of the gradient of the context from token `first` on.
    pub(crate) fn d_context(self, first: usize, tokens: usize) -> Source {
        Source {
            first,
            tokens,
            image: self.image * tokens,
            row: self.width,
            column: self.column,
            bias: self.column,
        }
    }
}

/// Where the rows of a tile are in device memory.
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
    #[comptime] variant: Variant,
) {
    let wide = N::value();
    let per_row = comptime!(variant.padded() / wide);
    let stride = comptime!(variant.tile_stride() / wide);
    let mut e = UNIT_POS as usize;
    while e < comptime!(variant.tile * per_row) {
        let row = e / per_row;
        let element = e % per_row * N::value();
        let token = source.first + row;
        let mut value = Vector::<f32, N>::new(0.0f32);
        if token < source.tokens && element < comptime!(variant.d) {
            let at = (source.image + token) * source.row + source.column + element;
            value = Vector::cast_from(x[at / N::value()]);
            if comptime!(biased) {
                value += bias[(source.bias + element) / N::value()];
            }
            value *= Vector::new(scale);
        }
        shared[row * stride + e % per_row] = Vector::cast_from(value);
        e += THREADS as usize;
    }
}

/// Row `row` of one head's bias: the sum of the tables `[R, H]` where there are two.
#[cube]
fn table_bias(
    tables: (&Array<f32>, &Array<f32>),
    row: usize,
    head: usize,
    heads: usize,
    #[comptime] variant: Variant,
) -> f32 {
    let mut value = 0.0f32;
    if comptime!(variant.tables[0]) {
        value += tables.0[row * heads + head];
    }
    if comptime!(variant.tables[1]) {
        value += tables.1[row * heads + head];
    }
    value
}

/// Copies the bias of one head to shared memory, where there is room for it.
#[cube]
pub(crate) fn load_bias(
    tables: (&Array<f32>, &Array<f32>),
    shared: &mut SharedMemory<f32>,
    head: usize,
    heads: usize,
    #[comptime] variant: Variant,
) {
    if comptime!(variant.biased() && variant.bias_shared) {
        let mut row = UNIT_POS as usize;
        while row < comptime!(variant.bias_rows()) {
            shared[row] = table_bias(tables, row, head, heads, variant);
            row += THREADS as usize;
        }
    }
}

/// The row of the bias table for query token `q` and key token `k`: see `beit_ops::relative_position_index`.
#[cube]
pub(crate) fn bias_row(q: usize, k: usize, #[comptime] variant: Variant) -> usize {
    let [height, width] = comptime!(variant.window);
    let rows = comptime!(variant.bias_rows());
    // One height and one width are added, so that nothing is negative where a token is [CLS].
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

/// The score at `at`, (row, column) of a tile, with the bias of the pair `tokens`, (query, key).
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn score(
    scores: &SharedMemory<f32>,
    bias: &SharedMemory<f32>,
    tables: (&Array<f32>, &Array<f32>),
    head: usize,
    heads: usize,
    at: (usize, usize),
    tokens: (usize, usize),
    #[comptime] variant: Variant,
) -> f32 {
    let mut score = scores[at.0 * comptime!(variant.scores_stride()) + at.1];
    if comptime!(variant.biased()) {
        let row = bias_row(tokens.0, tokens.1, variant);
        if comptime!(variant.bias_shared) {
            score += bias[row];
        } else {
            score += table_bias(tables, row, head, heads, variant);
        }
    }
    score
}
