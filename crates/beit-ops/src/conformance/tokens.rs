//! Patches, embeddings and pooling.

use super::case::{Backward, Case, Forward, Input, activation, constant, param};
use super::check::Check;
use crate::{Embeddings, Shape, TokenOps, TokenTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: TokenOps>(check: &mut Check<'_, O>) {
    check.forward(&Patchify { images: [2, 3, 6, 4], patch: [3, 2] });
    check.forward(&Patchify { images: [1, 1, 5, 5], patch: [1, 5] });
    embeds().for_each(|case| check.half(&case));
    pools().for_each(|case| check.half(&case));
}

pub(super) fn train<O: TokenTraining>(check: &mut Check<'_, O>) {
    embeds().for_each(|case| check.pair(&case));
    pools().for_each(|case| check.pair(&case));
}

/// Images, patches and channels.
const SHAPES: [[usize; 3]; 3] = [[1, 1, 1], [3, 5, 7], [18, 2, 3]];

fn embeds() -> impl Iterator<Item = Embed> {
    SHAPES.into_iter().flat_map(|[batch, patches, c]| {
        let parts = [(true, true), (true, false), (false, true)];
        parts.map(|(mask, pos)| Embed { batch, patches, c, mask, pos })
    })
}

fn pools() -> impl Iterator<Item = MeanPool> {
    SHAPES.into_iter().map(|[batch, patches, c]| MeanPool { batch, tokens: patches + 1, c })
}

struct Embed {
    batch: usize,
    patches: usize,
    c: usize,
    mask: bool,
    pos: bool,
}

impl Embed {
    fn params<T: Clone>(&self, x: &[T]) -> Embeddings<T> {
        Embeddings {
            cls_token: x[2].clone(),
            mask_token: self.mask.then(|| x[3].clone()),
            pos_embed: self.pos.then(|| x[4].clone()),
        }
    }
}

impl Case for Embed {
    fn name(&self) -> String {
        format!(
            "embed {}x{}x{} (mask: {}, positions: {})",
            self.batch, self.patches, self.c, self.mask, self.pos
        )
    }
    fn inputs(&self) -> Vec<Input> {
        let c = self.c;
        let mut mask = constant("mask", [self.batch, self.patches], 18);
        mask.data.iter_mut().for_each(|v| *v = f32::from(u8::from(*v > 0.0)));
        let kind = |used: bool| if used { param } else { constant };
        vec![
            activation("patches", [self.batch * self.patches, c], 17),
            mask,
            param("cls_token", [1, 1, c], 19),
            kind(self.mask)("mask_token", Shape::from([1, 1, c]), 20),
            kind(self.pos)("pos_embed", Shape::from([1, self.patches + 1, c]), 21),
        ]
    }
}

impl<O: TokenOps> Forward<O> for Embed {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let mask = self.mask.then(|| &x[1]);
        vec![ops.embed(&x[0], &self.params(x), mask, self.patches + 1)]
    }
}

impl<O: TokenTraining> Backward<O> for Embed {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mask = self.mask.then(|| &x[1]);
        let mut dp = self.params(&grads);
        let dx = ops.embed_backward(dy, mask, self.patches + 1, &mut dp);
        vec![Some(dx), None, Some(dp.cls_token), dp.mask_token, dp.pos_embed]
    }
}

struct MeanPool {
    batch: usize,
    tokens: usize,
    c: usize,
}

impl Case for MeanPool {
    fn name(&self) -> String {
        format!("mean_pool {}x{}x{}", self.batch, self.tokens, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.batch * self.tokens, self.c], 22)]
    }
}

impl<O: TokenOps> Forward<O> for MeanPool {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.mean_pool(&x[0], self.tokens)]
    }
}

impl<O: TokenTraining> Backward<O> for MeanPool {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.mean_pool_backward(dy, self.tokens))]
    }
}

struct Patchify {
    images: [usize; 4],
    patch: [usize; 2],
}

impl Case for Patchify {
    fn name(&self) -> String {
        format!("patchify {:?} into {:?}", self.images, self.patch)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("images", self.images, 23)]
    }
}

impl<O: TokenOps> Forward<O> for Patchify {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.patchify(&x[0], self.patch)]
    }
}
