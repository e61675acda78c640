//! From images to tokens: cutting patches, and adding \[CLS\], mask token and positions.
//!
//! ```text
//! image [K, H, W]                    patches [N, K·h·w]          tokens [T, C], T = N + 1
//! +----+----+----+
//! | p0 | p1 | p2 |   cut_patches     | p0 | y, x of channel 0, 1, ... |    -> product ->   | CLS |
//! +----+----+----+   ----------->    | p1 |                                              | p0  | or the mask token
//! | p3 | ...                         | ..                                                | p1  |
//! +----                                                                   make_tokens    | ..  |  + positions
//! ```
//!
//! Both kernels are grid-stride over vectors of the result (see elementwise.rs): each thread computes from which element its
//! vector comes, so that writes are contiguous. Parts of lines of a patch are read as vectors where the width of a patch
//! allows it.

use super::columns::{self, Rows, Term};
use super::move_rows;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{Embeddings, TokenOps, TokenTraining};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;

/// `images [B, K, H, W] -> y [B·N, K·h·w]`; extents along a line are in vectors.
#[cube(launch_unchecked)]
fn cut_patches<X: Float, Y: Float, N: Size>(
    images: &Array<Vector<X, N>>,
    y: &mut Array<Vector<Y, N>>,
    channels: usize,
    height: usize,
    line: usize,
    patch_height: usize,
    patch_line: usize,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let (grid_height, grid_width) = (height / patch_height, line / patch_line);
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let x = i % patch_line;
        let rest = i / patch_line;
        let inner = rest % patch_height;
        let rest = rest / patch_height;
        let channel = rest % channels;
        let patch = rest / channels;
        let column = patch % grid_width;
        let row = patch / grid_width % grid_height;
        let image = patch / grid_width / grid_height;
        let from_line = (image * channels + channel) * height + row * patch_height + inner;
        y[i] = Vector::cast_from(images[from_line * line + column * patch_line + x]);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `patches [B·N, C] -> tokens [B·T, C]`
#[cube(launch_unchecked)]
fn make_tokens<X: Float, N: Size>(
    patches: &Array<Vector<X, N>>,
    cls: &Array<Vector<f32, N>>,
    mask: &Array<f32>,
    mask_token: &Array<Vector<f32, N>>,
    pos: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<f32, N>>,
    tokens: usize,
    #[comptime] masked: bool,
    #[comptime] positions: bool,
    #[define(X)] _elem: ElemType,
) {
    let columns = cls.len();
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let c = i % columns;
        let row = i / columns;
        let token = row % tokens;
        let mut v = cls[c];
        if token > 0 {
            let patch = row / tokens * (tokens - 1) + token - 1;
            v = Vector::cast_from(patches[patch * columns + c]);
            if masked {
                let hidden = Vector::<f32, N>::new(mask[patch]);
                v = v * (Vector::new(1.0f32) - hidden) + mask_token[c] * hidden;
            }
        }
        if positions {
            v += pos[token * columns + c];
        }
        y[i] = v;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `d_patches = (1 - mask) d_tokens`, without the rows of \[CLS\].
#[cube(launch_unchecked)]
fn make_tokens_backward<D: Float, Y: Float, N: Size>(
    d_tokens: &Array<Vector<D, N>>,
    mask: &Array<f32>,
    d_patches: &mut Array<Vector<Y, N>>,
    columns: usize,
    tokens: usize,
    #[comptime] masked: bool,
    #[define(D, Y)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < d_patches.len() {
        let patch = i / columns;
        let row = patch / (tokens - 1) * tokens + patch % (tokens - 1) + 1;
        let mut v = Vector::<f32, N>::cast_from(d_tokens[row * columns + i % columns]);
        if masked {
            v *= Vector::new(1.0 - mask[patch]);
        }
        d_patches[i] = Vector::cast_from(v);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `images [B, K, H, W] -> [B·N, K·h·w]`, elements of a patch in the order (channel, y, x).
pub(crate) fn patchify<R: Runtime>(gpu: &Gpu<R>, images: &Tensor, [ph, pw]: [usize; 2]) -> Tensor {
    let [batch, channels, height, w] = images.map();
    let patches = batch * (height / ph) * (w / pw);
    let y = gpu.empty([patches, channels * ph * pw], gpu.activation());
    let n = vector_width(MAX_VECTOR, &[w, pw]);
    let (count, dim) = (grid(y.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let (line, patch_line, types) = (w / n, pw / n, [images.elem(), y.elem()]);
    let (from, to) = (images.arg(), y.arg());
    launch!(cut_patches(gpu, count, dim, n, from, to, channels, height, line, ph, patch_line, types));
    y
}

/// `patches [B·N, C] -> tokens [B·T, C]`, f32: the residual stream begins here.
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    patches: &Tensor,
    p: &Embeddings<Tensor>,
    mask: Option<&Tensor>,
    tokens: usize,
) -> Tensor {
    let c = patches.last();
    let batch = patches.rows() / (tokens - 1);
    let y = gpu.empty([batch * tokens, c], Dtype::F32);
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(y.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let token = p.mask_token.as_ref().filter(|_| mask.is_some());
    let (masked, positions) = (token.is_some(), p.pos_embed.is_some());
    // The kernel does not read parameters that are absent, so any tensor may be passed for them.
    let pos = p.pos_embed.as_ref().unwrap_or(&p.cls_token).arg();
    let mask = mask.unwrap_or(&p.cls_token).arg();
    let (cls, token) = (p.cls_token.arg(), token.unwrap_or(&p.cls_token).arg());
    let (from, to, elem) = (patches.arg(), y.arg(), patches.elem());
    launch!(make_tokens(
        gpu, count, dim, n, from, cls, mask, token, pos, to, tokens, masked, positions, elem
    ));
    y
}

/// Returns `d_patches [B·N, C]`; adds to the gradients of the three parameters.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    d_tokens: &Tensor,
    mask: Option<&Tensor>,
    tokens: usize,
    dp: &mut Embeddings<Tensor>,
) -> Tensor {
    let c = d_tokens.last();
    let batch = d_tokens.rows() / tokens;
    let d_patches = gpu.empty([batch * (tokens - 1), c], gpu.activation());
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(d_patches.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [d_tokens.elem(), d_patches.elem()];
    let (from, to, masked) = (d_tokens.arg(), d_patches.arg(), mask.is_some());
    let hidden = mask.unwrap_or(d_tokens).arg();
    launch!(make_tokens_backward(gpu, count, dim, n, from, hidden, to, c / n, tokens, masked, types));

    let sum = |term, weights: &Tensor, rows: Rows, width, into: &mut Tensor| {
        let sums = columns::partial_sums(gpu, term, [d_tokens, d_tokens], weights, rows, width, 1.0);
        columns::add_partials(gpu, &sums, 0, into);
    };
    let images = Rows { stride: tokens * c, ..Rows::all(gpu, batch, c) };
    sum(Term::Value, d_tokens, images, c, &mut dp.cls_token);
    if let (Some(d_mask_token), Some(mask)) = (&mut dp.mask_token, mask) {
        let rows = Rows { group: tokens, ..Rows::all(gpu, batch * tokens, c) };
        sum(Term::Masked, mask, rows, c, d_mask_token);
    }
    if let Some(d_pos) = &mut dp.pos_embed {
        sum(Term::Value, d_tokens, Rows::all(gpu, batch, tokens * c), tokens * c, d_pos);
    }
    d_patches
}

impl<R: Runtime> TokenOps for Gpu<R> {
    fn patchify(&self, images: &Tensor, patch: [usize; 2]) -> Tensor {
        patchify(self, images, patch)
    }
    fn embed(
        &self,
        patches: &Tensor,
        p: &Embeddings<Tensor>,
        mask: Option<&Tensor>,
        tokens: usize,
    ) -> Tensor {
        forward(self, patches, p, mask, tokens)
    }
    fn mean_pool(&self, x: &Tensor, tokens: usize) -> Tensor {
        move_rows::mean_pool(self, x, tokens)
    }
}

impl<R: Runtime> TokenTraining for Gpu<R> {
    fn embed_backward(
        &self,
        d_tokens: &Tensor,
        mask: Option<&Tensor>,
        tokens: usize,
        dp: &mut Embeddings<Tensor>,
    ) -> Tensor {
        backward(self, d_tokens, mask, tokens, dp)
    }
    fn mean_pool_backward(&self, dy: &Tensor, tokens: usize) -> Tensor {
        move_rows::mean_pool_backward(self, dy, tokens)
    }
}
