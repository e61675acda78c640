//! The operations of the transformer, its losses and the optimiser.

use super::{Case, Check, Input, activation, constant, param};
use crate::{AttentionShape, Embeddings, Linear, Norm, Ops, QkvBias, QkvBiasGrad, Residual, Shape};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn check<O: Ops>(check: &mut Check<'_, O>) {
    for [m, c, n] in [[1, 1, 1], [1, 7, 5], [5, 1, 3], [7, 5, 1], [13, 17, 11], [67, 33, 130]] {
        for bias in [true, false] {
            check.case(&LinearCase { m, c, n, bias });
        }
        check.case(&Gelu { m, n });
        check.case(&LayerNorm { m, c: n + 2 });
    }
    // Rows that are longer than what a group of units takes at once.
    check.case(&LayerNorm { m: 3, c: 1028 });
    check.case(&LayerNorm { m: 2, c: 1029 });
    check.case(&PatchWeight);
    for (batch, heads, d, window) in
        [(1, 1, 1, [1, 1]), (2, 3, 5, [2, 3]), (3, 2, 7, [3, 3]), (19, 1, 3, [1, 2])]
    {
        for tables in [[false, false], [true, false], [false, true], [true, true]] {
            check.case(&Attention { batch, heads, d, window, tables });
        }
    }
    for (gamma, keep) in [(true, true), (true, false), (false, true), (false, false)] {
        check.case(&ResidualCase { batch: 3, tokens: 5, c: 7, gamma, keep });
    }
    for (batch, patches, c) in [(1, 1, 1), (3, 5, 7), (18, 2, 3)] {
        for (mask, pos) in [(true, true), (true, false), (false, true)] {
            check.case(&Embed { batch, patches, c, mask, pos });
        }
        check.case(&MeanPool { batch, tokens: patches + 1, c });
    }
    check.case(&Patchify { images: [2, 3, 6, 4], patch: [3, 2] });
    check.case(&Patchify { images: [1, 1, 5, 5], patch: [1, 5] });
    check.case(&Gather { m: 7, c: 3, rows: vec![6, 0, 3] });
    check.case(&Gather { m: 1, c: 1, rows: vec![0] });
}

struct LinearCase {
    m: usize,
    c: usize,
    n: usize,
    bias: bool,
}

impl LinearCase {
    fn params<T: Clone>(&self, x: &[T]) -> Linear<T> {
        Linear { weight: x[1].clone(), bias: self.bias.then(|| x[2].clone()) }
    }
}

impl Case for LinearCase {
    fn name(&self) -> String {
        format!("linear {}x{} -> {} (bias: {})", self.m, self.c, self.n, self.bias)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut all = vec![activation("x", [self.m, self.c], 1), param("weight", [self.n, self.c], 2)];
        all.extend(self.bias.then(|| param("bias", [self.n], 3)));
        all
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.linear(&x[0], &self.params(x))]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = self.params(&grads);
        let dx = ops.linear_backward(&dy[0], &x[0], &self.params(x), &mut dp);
        let mut all = vec![Some(dx), Some(dp.weight)];
        all.extend(dp.bias.map(Some));
        all
    }
}

/// A patch embedding: weight `[O, I, k, k]`, and nobody needs the gradient of the patches.
struct PatchWeight;

impl Case for PatchWeight {
    fn name(&self) -> String {
        "linear with a weight of rank 4, gradients of parameters only".into()
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("x", [5, 12], 1), param("weight", [7, 3, 2, 2], 2), param("bias", [7], 3)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.linear(&x[0], &Linear { weight: x[1].clone(), bias: Some(x[2].clone()) })]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = Linear { weight: grads[1].clone(), bias: Some(grads[2].clone()) };
        ops.linear_backward_params(&dy[0], &x[0], &mut dp);
        vec![None, Some(dp.weight), dp.bias]
    }
}

struct Gelu {
    m: usize,
    n: usize,
}

impl Case for Gelu {
    fn name(&self) -> String {
        format!("gelu {}x{}", self.m, self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        // Spread to ±5, where the tails of the two formulas differ most.
        let mut x = activation("x", [self.m, self.n], 4);
        x.data.iter_mut().for_each(|v| *v *= 5.0);
        vec![x]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.gelu(&x[0])]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.gelu_backward(&dy[0], &x[0]))]
    }
}

struct LayerNorm {
    m: usize,
    c: usize,
}

const EPS: f64 = 1e-6;

impl Case for LayerNorm {
    fn name(&self) -> String {
        format!("layer_norm {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.m, self.c], 5), param("weight", [self.c], 6), param("bias", [self.c], 7)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Norm { weight: x[1].clone(), bias: x[2].clone() };
        vec![ops.layer_norm(&x[0], &p, EPS).0]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Norm { weight: x[1].clone(), bias: x[2].clone() };
        let mut dp = Norm { weight: grads[1].clone(), bias: grads[2].clone() };
        let (_, stats) = ops.layer_norm(&x[0], &p, EPS);
        let dx = ops.layer_norm_backward(&dy[0], &x[0], &p, &stats, &mut dp);
        vec![Some(dx), Some(dp.weight), Some(dp.bias)]
    }
}

struct Attention {
    batch: usize,
    heads: usize,
    d: usize,
    window: [usize; 2],
    /// The layer's own table, the shared table.
    tables: [bool; 2],
}

impl Attention {
    fn shape(&self) -> AttentionShape {
        AttentionShape { heads: self.heads, tokens: self.window[0] * self.window[1] + 1, window: self.window }
    }
    fn bias<'a, T>(&self, x: &'a [T]) -> QkvBias<'a, T> {
        QkvBias {
            q: &x[1],
            v: &x[2],
            table: self.tables[0].then(|| &x[3]),
            shared: self.tables[1].then(|| &x[3 + usize::from(self.tables[0])]),
        }
    }
}

impl Case for Attention {
    fn name(&self) -> String {
        let Self { batch, heads, d, window, tables } = self;
        format!("attention of {batch} images, {heads} heads of {d}, window {window:?}, tables {tables:?}")
    }
    fn inputs(&self) -> Vec<Input> {
        let c = self.heads * self.d;
        let rows = crate::relative_position_rows(self.window);
        let mut all = vec![
            activation("qkv", [self.batch * self.shape().tokens, 3 * c], 8),
            param("q_bias", [c], 9),
            param("v_bias", [c], 10),
        ];
        all.extend(self.tables[0].then(|| param("table", [rows, self.heads], 11)));
        all.extend(self.tables[1].then(|| param("shared table", [rows, self.heads], 12)));
        all
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.attention(&x[0], &self.bias(x), self.shape()).0]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (_, probs) = ops.attention(&x[0], &self.bias(x), self.shape());
        let mut rest = grads.drain(1..);
        let (mut q, mut v) = (rest.next().expect("q_bias"), rest.next().expect("v_bias"));
        let mut table = self.tables[0].then(|| rest.next().expect("table"));
        let mut shared = self.tables[1].then(|| rest.next().expect("shared table"));
        let mut d_bias = QkvBiasGrad { q: &mut q, v: &mut v, table: table.as_mut(), shared: shared.as_mut() };
        let dx = ops.attention_backward(&dy[0], &x[0], &self.bias(x), &probs, self.shape(), &mut d_bias);
        let tables = [table, shared].into_iter().flatten().map(Some);
        [Some(dx), Some(q), Some(v)].into_iter().chain(tables).collect()
    }
}

struct ResidualCase {
    batch: usize,
    tokens: usize,
    c: usize,
    gamma: bool,
    keep: bool,
}

impl ResidualCase {
    fn scale<'a, T>(&self, x: &'a [T]) -> Residual<'a, T> {
        Residual { gamma: self.gamma.then(|| &x[2]), keep: self.keep.then(|| &x[3]) }
    }
}

impl Case for ResidualCase {
    fn name(&self) -> String {
        format!("scale_residual (gamma: {}, keep: {})", self.gamma, self.keep)
    }
    fn inputs(&self) -> Vec<Input> {
        let m = self.batch * self.tokens;
        let kind = if self.gamma { param } else { constant };
        vec![
            activation("x", [m, self.c], 13),
            activation("branch", [m, self.c], 14),
            kind("gamma", Shape::from([self.c]), 15),
            constant("keep", [self.batch], 16),
        ]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.scale_residual(&x[0], &x[1], &self.scale(x))]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut d_gamma = self.gamma.then(|| grads.swap_remove(2));
        let d_branch = ops.scale_residual_backward(&dy[0], &x[1], &self.scale(x), d_gamma.as_mut());
        vec![Some(dy[0].clone()), Some(d_branch), d_gamma, None]
    }
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let mask = self.mask.then(|| &x[1]);
        vec![ops.embed(&x[0], &self.params(x), mask, self.patches + 1)]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mask = self.mask.then(|| &x[1]);
        let mut dp = self.params(&grads);
        let dx = ops.embed_backward(&dy[0], mask, self.patches + 1, &mut dp);
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.mean_pool(&x[0], self.tokens)]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.mean_pool_backward(&dy[0], self.tokens))]
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.patchify(&x[0], self.patch)]
    }
}

struct Gather {
    m: usize,
    c: usize,
    rows: Vec<u32>,
}

impl Case for Gather {
    fn name(&self) -> String {
        format!("gather_rows {:?} of {}x{}", self.rows, self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.m, self.c], 24)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.gather_rows(&x[0], &ops.upload_ids(&self.rows))]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.gather_rows_backward(&dy[0], &ops.upload_ids(&self.rows), self.m))]
    }
}
