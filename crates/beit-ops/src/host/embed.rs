//! From images to tokens: patches, and what is added to their embeddings.

use super::Host;
use super::array::{Array, data, data_mut, last, unwritten};
use super::par;
use super::real::Real;
use super::reduce::{add, add_partials};
use super::rows;
use crate::ops::{Embeddings, TokenOps, TokenTraining};

/// Cuts images into patches of `h x w` pixels: `[B, 3, height, width] -> [B·N, 3·h·w]`.
pub(super) fn patchify<F: Real>(images: &Array<F>, [ph, pw]: [usize; 2]) -> Array<F> {
    let [batch, channels, height, width] = images.shape()[..] else {
        panic!("images have the shape [B, channels, height, width], not {:?}", images.shape())
    };
    let (rows, cols) = (height / ph, width / pw);
    let (patch, image) = (channels * ph * pw, channels * height * width);
    let mut patches = unwritten([batch * rows * cols, patch]);
    let images = data(images);
    par::chunks(data_mut(&mut patches), rows * cols * patch, |b, patches| {
        let image = &images[b * image..][..image];
        for (n, patch) in patches.chunks_exact_mut(patch).enumerate() {
            let (top, left) = (n / cols * ph, n % cols * pw);
            for (line, out) in patch.chunks_exact_mut(pw).enumerate() {
                let (channel, y) = (line / ph, line % ph);
                out.copy_from_slice(&image[(channel * height + top + y) * width + left..][..pw]);
            }
        }
    });
    patches
}

/// Puts \[CLS\] before the patches of each image, replaces masked patches by the mask token, and adds the positions:
/// `[B·N, C] -> [B·T, C]`.
pub(super) fn forward<F: Real>(
    patches: &Array<F>,
    p: &Embeddings<Array<F>>,
    mask: Option<&Array<F>>,
    tokens: usize,
) -> Array<F> {
    let c = last(patches);
    let n = tokens - 1;
    let batch = patches.len() / (n * c);
    let (mask, mask_token) = (mask.map(data), p.mask_token.as_ref().map(data));
    let mut y = unwritten([batch * tokens, c]);
    let patches = data(patches);
    par::chunks(data_mut(&mut y), tokens * c, |b, y| {
        let (cls, y_patches) = y.split_at_mut(c);
        cls.copy_from_slice(data(&p.cls_token));
        y_patches.copy_from_slice(&patches[b * n * c..][..n * c]);
        if let (Some(mask), Some(token)) = (mask, mask_token) {
            for (row, &masked) in y_patches.chunks_exact_mut(c).zip(&mask[b * n..]) {
                for (y, &token) in row.iter_mut().zip(token) {
                    *y = *y * (F::from_f64(1.0) - masked) + token * masked;
                }
            }
        }
        if let Some(pos) = &p.pos_embed {
            par::simd(
                #[inline(always)]
                || add(y, data(pos)),
            );
        }
    });
    y
}

/// Returns `d_patches [B·N, C]`, which is zero where a patch is masked, and adds to the gradients of the parameters.
pub(super) fn backward<F: Real>(
    d_tokens: &Array<F>,
    mask: Option<&Array<F>>,
    tokens: usize,
    dp: &mut Embeddings<Array<F>>,
) -> Array<F> {
    let c = last(d_tokens);
    let n = tokens - 1;
    let batch = d_tokens.len() / (tokens * c);
    let mask = mask.map(data);
    let d_tokens = data(d_tokens);
    let masked = |b: usize, i: usize| mask.map_or(F::from_f64(0.0), |mask| mask[b * n + i]);

    let mut d_patches = unwritten([batch * n, c]);
    par::chunks(data_mut(&mut d_patches), n * c, |b, d_patches| {
        d_patches.copy_from_slice(&d_tokens[(b * tokens + 1) * c..][..n * c]);
        for (i, row) in d_patches.chunks_exact_mut(c).enumerate() {
            let seen = F::from_f64(1.0) - masked(b, i);
            row.iter_mut().for_each(|d| *d *= seen);
        }
    });

    add_param_gradients(d_tokens, [batch, tokens, c], masked, dp);
    d_patches
}

/// Adds the gradients of the tokens and positions. `masked(image, patch)` is 1 for a masked patch, else 0.
fn add_param_gradients<F: Real>(
    d_tokens: &[F],
    [batch, tokens, c]: [usize; 3],
    masked: impl Fn(usize, usize) -> F + Send + Sync,
    dp: &mut Embeddings<Array<F>>,
) {
    let Embeddings { cls_token, mask_token, pos_embed } = dp;
    add_partials(batch, &mut [data_mut(cls_token)], |images, out| {
        images.for_each(|b| add(&mut out[0], &d_tokens[b * tokens * c..][..c]));
    });
    if let Some(d_mask_token) = mask_token {
        add_partials(batch, &mut [data_mut(d_mask_token)], |images, out| {
            for (b, i) in images.flat_map(|b| (0..tokens - 1).map(move |i| (b, i))) {
                let masked = masked(b, i);
                let row = &d_tokens[(b * tokens + 1 + i) * c..][..c];
                out[0].iter_mut().zip(row).for_each(|(d, &v)| *d += masked * v);
            }
        });
    }
    if let Some(d_pos) = pos_embed {
        add_partials(batch, &mut [data_mut(d_pos)], |images, out| {
            images.for_each(|b| add(&mut out[0], &d_tokens[b * tokens * c..][..tokens * c]));
        });
    }
}

on_host! {
    impl TokenOps for Host<F> {
        fn patchify(&self, images: &Tensor, patch: [usize; 2]) -> Tensor {
            patchify(images, patch)
        }
        fn embed(
            &self,
            patches: &Tensor,
            p: &Embeddings<Tensor>,
            mask: Option<&Tensor>,
            tokens: usize,
        ) -> Tensor {
            forward(patches, p, mask, tokens)
        }
        fn mean_pool(&self, x: &Tensor, tokens: usize) -> Tensor {
            rows::mean_pool(x, tokens)
        }
    }

    impl TokenTraining for Host<F> {
        fn embed_backward(
            &self,
            d_tokens: &Tensor,
            mask: Option<&Tensor>,
            tokens: usize,
            dp: &mut Embeddings<Tensor>,
        ) -> Tensor {
            backward(d_tokens, mask, tokens, dp)
        }
        fn mean_pool_backward(&self, dy: &Tensor, tokens: usize) -> Tensor {
            rows::mean_pool_backward(dy, tokens)
        }
    }
}
