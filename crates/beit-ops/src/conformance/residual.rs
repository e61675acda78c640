//! Layer norms and residual sums.

use super::case::{Backward, Case, Definition, Forward, Input, Saving, activation, constant, param};
use super::check::Check;
use crate::{BranchGrads, Norm, Residual, ResidualOps, ResidualTraining, Shape, SumNorm, SumNormGrads};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: ResidualOps>(check: &mut Check<'_, O>) {
    layer_norms().for_each(|case| check.forward(&case));
    sums().for_each(|case| check.half(&case));
    fused_sums().for_each(|case| check.fusion(&case, &Definition(case)));
}

pub(super) fn train<O: ResidualTraining>(check: &mut Check<'_, O>) {
    layer_norms().for_each(|case| check.pair(&Saving(case)));
    sums().for_each(|case| check.pair(&case));
    sums().for_each(|case| check.fusion(&BranchBias(case), &Definition(BranchBias(case))));
    fused_sums().for_each(|case| check.fusion(&Saving(case), &Definition(Saving(case))));
    for [m, c] in [[1, 3], [7, 5], [67, 132]] {
        check.fusion(&NormResidual { m, c }, &Definition(NormResidual { m, c }));
    }
    // In the last a warp of any device takes several rows.
    let wide = [(4, 19, 72), (2, 3, 130), (30, 150, 5)].map(|(batch, tokens, c)| ResidualNorm {
        batch,
        tokens,
        c,
        gamma: true,
        keep: true,
    });
    for case in fused_sums().chain(wide) {
        check.fusion(&SumNormBackward(case), &Definition(SumNormBackward(case)));
    }
}

fn layer_norms() -> impl Iterator<Item = LayerNorm> {
    let narrow = [[1, 3], [1, 7], [5, 5], [7, 3], [13, 13], [67, 132]];
    // Rows that are longer than what a group of units takes at once.
    let wide = [[3, 1028], [2, 1029]];
    narrow.into_iter().chain(wide).map(|[m, c]| LayerNorm { m, c })
}

/// With and without LayerScale and drop path.
const SCALES: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

fn sums() -> impl Iterator<Item = ResidualCase> {
    SCALES.into_iter().map(|(gamma, keep)| ResidualCase { batch: 3, tokens: 5, c: 7, gamma, keep })
}

fn fused_sums() -> impl Iterator<Item = ResidualNorm> {
    SCALES.into_iter().map(|(gamma, keep)| ResidualNorm { batch: 3, tokens: 5, c: 9, gamma, keep })
}

const EPS: f64 = 1e-6;

struct LayerNorm {
    m: usize,
    c: usize,
}

impl Case for LayerNorm {
    fn name(&self) -> String {
        format!("layer_norm {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.m, self.c], 5), param("weight", [self.c], 6), param("bias", [self.c], 7)]
    }
}

impl LayerNorm {
    fn params<T: Clone>(x: &[T]) -> Norm<T> {
        Norm { weight: x[1].clone(), bias: x[2].clone() }
    }
}

impl<O: ResidualOps> Forward<O> for LayerNorm {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.layer_norm(&x[0], &Self::params(x), EPS)]
    }
}

impl Case for Saving<LayerNorm> {
    fn name(&self) -> String {
        self.0.name().replace("layer_norm", "layer_norm_forward")
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

impl<O: ResidualTraining> Forward<O> for Saving<LayerNorm> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.layer_norm_forward(&x[0], &LayerNorm::params(x), EPS).0]
    }
}

impl<O: ResidualTraining> Backward<O> for Saving<LayerNorm> {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = LayerNorm::params(x);
        let mut dp = LayerNorm::params(&grads);
        let (_, stats) = ops.layer_norm_forward(&x[0], &p, EPS);
        let dx = ops.layer_norm_backward(dy, &x[0], &p, &stats, &mut dp);
        vec![Some(dx), Some(dp.weight), Some(dp.bias)]
    }
}

#[derive(Clone, Copy)]
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
}

impl<O: ResidualOps> Forward<O> for ResidualCase {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.scale_residual(&x[0], &x[1], &self.scale(x))]
    }
}

impl<O: ResidualTraining> Backward<O> for ResidualCase {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut d_gamma = self.gamma.then(|| grads.swap_remove(2));
        let into = BranchGrads { gamma: d_gamma.as_mut(), bias: None };
        let d_branch = ops.scale_residual_backward(dy, &x[1], &self.scale(x), into);
        vec![Some(dy.clone()), Some(d_branch), d_gamma, None]
    }
}

/// The gradient of the bias of the layer that made the branch.
#[derive(Clone, Copy)]
struct BranchBias(ResidualCase);

impl Case for BranchBias {
    fn name(&self) -> String {
        self.0.name().replace("scale_residual", "scale_residual_backward, bias")
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

impl<O: ResidualTraining> Forward<O> for BranchBias {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let mut d_bias = ops.zeros([self.0.c]);
        let mut d_gamma = self.0.gamma.then(|| ops.zeros([self.0.c]));
        let into = BranchGrads { gamma: d_gamma.as_mut(), bias: Some(&mut d_bias) };
        vec![ops.scale_residual_backward(&x[0], &x[1], &self.0.scale(x), into), d_bias]
    }
}

impl<O: ResidualTraining> Forward<O> for Definition<BranchBias> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let Self(BranchBias(case)) = self;
        let mut d_bias = ops.zeros([case.c]);
        let mut d_gamma = case.gamma.then(|| ops.zeros([case.c]));
        let into = BranchGrads { gamma: d_gamma.as_mut(), bias: None };
        let d_branch = ops.scale_residual_backward(&x[0], &x[1], &case.scale(x), into);
        ops.add_column_sums(&d_branch, &mut d_bias);
        vec![d_branch, d_bias]
    }
}

#[derive(Clone, Copy)]
struct ResidualNorm {
    batch: usize,
    tokens: usize,
    c: usize,
    gamma: bool,
    keep: bool,
}

impl Case for ResidualNorm {
    fn name(&self) -> String {
        format!("scale_residual_norm (gamma: {}, keep: {})", self.gamma, self.keep)
    }
    fn inputs(&self) -> Vec<Input> {
        let (m, c) = (self.batch * self.tokens, self.c);
        vec![
            constant("x", [m, c], 6),
            constant("branch", [m, c], 7),
            constant("gamma", [c], 8),
            constant("keep", [self.batch], 9),
            constant("weight", [c], 10),
            constant("bias", [c], 11),
            constant("d_normed", [m, c], 12),
        ]
    }
}

impl ResidualNorm {
    fn scale<'a, T>(&self, x: &'a [T]) -> Residual<'a, T> {
        Residual { gamma: self.gamma.then(|| &x[2]), keep: self.keep.then(|| &x[3]) }
    }
    fn norm<T: Clone>(x: &[T]) -> Norm<T> {
        Norm { weight: x[4].clone(), bias: x[5].clone() }
    }
    /// The outputs, the statistics among them: they are seen through the gradient that they give.
    fn seen<O: ResidualTraining>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        [y, normed]: [O::Tensor; 2],
        stats: &O::Stats,
    ) -> Vec<O::Tensor> {
        let mut dp = Norm { weight: ops.zeros([self.c]), bias: ops.zeros([self.c]) };
        let dx = ops.layer_norm_backward(&x[6], &y, &Self::norm(x), stats, &mut dp);
        vec![y, normed, dx, dp.weight]
    }
}

impl<O: ResidualOps> Forward<O> for ResidualNorm {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (y, normed) = ops.scale_residual_norm(&x[0], &x[1], &self.scale(x), &Self::norm(x), EPS);
        vec![y, normed]
    }
}

impl<O: ResidualOps> Forward<O> for Definition<ResidualNorm> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let y = ops.scale_residual(&x[0], &x[1], &self.0.scale(x));
        let normed = ops.layer_norm(&y, &ResidualNorm::norm(x), EPS);
        vec![y, normed]
    }
}

impl Case for Saving<ResidualNorm> {
    fn name(&self) -> String {
        self.0.name().replace("scale_residual_norm", "scale_residual_norm_forward")
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

impl<O: ResidualTraining> Forward<O> for Saving<ResidualNorm> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (scale, p) = (self.0.scale(x), ResidualNorm::norm(x));
        let (y, normed, stats) = ops.scale_residual_norm_forward(&x[0], &x[1], &scale, &p, EPS);
        self.0.seen(ops, x, [y, normed], &stats)
    }
}

impl<O: ResidualTraining> Forward<O> for Definition<Saving<ResidualNorm>> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let Self(Saving(case)) = self;
        let y = ops.scale_residual(&x[0], &x[1], &case.scale(x));
        let (normed, stats) = ops.layer_norm_forward(&y, &ResidualNorm::norm(x), EPS);
        case.seen(ops, x, [y, normed], &stats)
    }
}

/// The gradients of a sum and the norm after it.
#[derive(Clone, Copy)]
struct SumNormBackward(ResidualNorm);

impl SumNormBackward {
    /// `y` and the statistics of its rows.
    fn forward<O: ResidualTraining>(&self, ops: &O, x: &[O::Tensor]) -> (O::Tensor, O::Stats) {
        let (y, _, stats) =
            ops.scale_residual_norm_forward(&x[0], &x[1], &self.0.scale(x), &ResidualNorm::norm(x), EPS);
        (y, stats)
    }
    /// Where gradients of the norm are added, and those of gamma and of the bias of the branch.
    fn zeros<O: ResidualTraining>(&self, ops: &O) -> (Norm<O::Tensor>, [Option<O::Tensor>; 2]) {
        let zeros = || ops.zeros([self.0.c]);
        // Of a branch that is not dropped the bias is left out, so that both are seen.
        (Norm { weight: zeros(), bias: zeros() }, [self.0.gamma, self.0.keep].map(|there| there.then(zeros)))
    }
}

impl Case for SumNormBackward {
    fn name(&self) -> String {
        let Self(ResidualNorm { batch, tokens, c, .. }) = self;
        self.0
            .name()
            .replace("scale_residual_norm", &format!("scale_residual_norm_backward {}x{c}", batch * tokens))
    }
    fn inputs(&self) -> Vec<Input> {
        let mut inputs = self.0.inputs();
        inputs.push(constant("dy", [self.0.batch * self.0.tokens, self.0.c], 18));
        inputs
    }
}

impl<O: ResidualTraining> Forward<O> for SumNormBackward {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (y, stats) = self.forward(ops, x);
        let (mut dp, [mut d_gamma, mut d_bias]) = self.zeros(ops);
        let norm = ResidualNorm::norm(x);
        let given = SumNorm { y: &y, stats: &stats, branch: &x[1], scale: self.0.scale(x), norm: &norm };
        let grads = SumNormGrads { normed: &x[6], y: &x[7] };
        let into = BranchGrads { gamma: d_gamma.as_mut(), bias: d_bias.as_mut() };
        let (dx, d_branch) = ops.scale_residual_norm_backward(grads, &given, &mut dp, into);
        [dx, d_branch, dp.weight, dp.bias].into_iter().chain(d_gamma).chain(d_bias).collect()
    }
}

impl<O: ResidualTraining> Forward<O> for Definition<SumNormBackward> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let Self(case) = self;
        let (y, stats) = case.forward(ops, x);
        let (mut dp, [mut d_gamma, mut d_bias]) = case.zeros(ops);
        let mut dx = ops.layer_norm_backward(&x[6], &y, &ResidualNorm::norm(x), &stats, &mut dp);
        ops.add_assign(&mut dx, &x[7]);
        let into = BranchGrads { gamma: d_gamma.as_mut(), bias: None };
        let d_branch = ops.scale_residual_backward(&dx, &x[1], &case.0.scale(x), into);
        if let Some(d_bias) = &mut d_bias {
            ops.add_column_sums(&d_branch, d_bias);
        }
        [dx, d_branch, dp.weight, dp.bias].into_iter().chain(d_gamma).chain(d_bias).collect()
    }
}

struct NormResidual {
    m: usize,
    c: usize,
}

impl Case for NormResidual {
    fn name(&self) -> String {
        format!("layer_norm_backward_residual {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        let (m, c) = (self.m, self.c);
        vec![
            constant("x", [m, c], 13),
            constant("weight", [c], 14),
            constant("bias", [c], 15),
            constant("d_normed", [m, c], 16),
            constant("dy", [m, c], 17),
        ]
    }
}

impl<O: ResidualTraining> Forward<O> for NormResidual {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Norm { weight: x[1].clone(), bias: x[2].clone() };
        let mut dp = Norm { weight: ops.zeros([self.c]), bias: ops.zeros([self.c]) };
        let (_, stats) = ops.layer_norm_forward(&x[0], &p, EPS);
        let dx = ops.layer_norm_backward_residual(&x[3], &x[0], &p, &stats, &mut dp, &x[4]);
        vec![dx, dp.weight, dp.bias]
    }
}

impl<O: ResidualTraining> Forward<O> for Definition<NormResidual> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let c = self.0.c;
        let p = Norm { weight: x[1].clone(), bias: x[2].clone() };
        let mut dp = Norm { weight: ops.zeros([c]), bias: ops.zeros([c]) };
        let (_, stats) = ops.layer_norm_forward(&x[0], &p, EPS);
        let mut dx = ops.layer_norm_backward(&x[3], &x[0], &p, &stats, &mut dp);
        ops.add_assign(&mut dx, &x[4]);
        vec![dx, dp.weight, dp.bias]
    }
}
