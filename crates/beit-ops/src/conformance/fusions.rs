//! The fusions, whatever a device makes of them, against their definitions.

use super::{Case, Check, Input, activation, constant, param};
use crate::{Linear, Norm, Ops, Residual};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn check<O: Ops>(check: &mut Check<'_, O>) {
    for [m, c, n] in [[1, 1, 1], [5, 3, 2], [13, 17, 11], [67, 33, 130]] {
        check.case(&LinearGelu { m, c, n });
        check.case(&LinearGeluBackward { m, c, n });
    }
    for (gamma, keep) in [(true, true), (true, false), (false, true), (false, false)] {
        check.case(&ResidualNorm { batch: 3, tokens: 5, c: 9, gamma, keep });
    }
    for [m, c] in [[1, 3], [7, 5], [67, 132]] {
        check.case(&NormResidual { m, c });
    }
}

struct LinearGelu {
    m: usize,
    c: usize,
    n: usize,
}

impl Case for LinearGelu {
    fn name(&self) -> String {
        format!("linear_gelu {}x{} -> {}", self.m, self.c, self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("x", [self.m, self.c], 1), constant("weight", [self.n, self.c], 2)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Linear { weight: x[1].clone(), bias: None };
        let (pre, act) = ops.linear_gelu(&x[0], &p);
        vec![pre, act, ops.linear_gelu_infer(&x[0], &p)]
    }
}

/// `y = gelu(pre) · weightᵀ + bias` and its gradients.
struct LinearGeluBackward {
    m: usize,
    c: usize,
    n: usize,
}

impl Case for LinearGeluBackward {
    fn name(&self) -> String {
        format!("linear_gelu_backward {}x{} -> {}", self.m, self.c, self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut pre = activation("pre", [self.m, self.c], 3);
        pre.data.iter_mut().for_each(|v| *v *= 3.0);
        vec![pre, param("weight", [self.n, self.c], 4), param("bias", [self.n], 5)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Linear { weight: x[1].clone(), bias: Some(x[2].clone()) };
        vec![ops.linear(&ops.gelu(&x[0]), &p)]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Linear { weight: x[1].clone(), bias: Some(x[2].clone()) };
        let mut dp = Linear { weight: grads[1].clone(), bias: Some(grads[2].clone()) };
        let act = ops.gelu(&x[0]);
        let d_pre = ops.linear_gelu_backward(&dy[0], [&x[0], &act], &p, &mut dp);
        vec![Some(d_pre), Some(dp.weight), dp.bias]
    }
}

const EPS: f64 = 1e-6;

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
    /// The statistics are seen through the gradient that they give.
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let scale = Residual { gamma: self.gamma.then(|| &x[2]), keep: self.keep.then(|| &x[3]) };
        let p = Norm { weight: x[4].clone(), bias: x[5].clone() };
        let mut dp = Norm { weight: ops.zeros([self.c]), bias: ops.zeros([self.c]) };
        let (y, normed, stats) = ops.scale_residual_norm(&x[0], &x[1], &scale, &p, EPS);
        let dx = ops.layer_norm_backward(&x[6], &y, &p, &stats, &mut dp);
        vec![y, normed, dx, dp.weight]
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Norm { weight: x[1].clone(), bias: x[2].clone() };
        let mut dp = Norm { weight: ops.zeros([self.c]), bias: ops.zeros([self.c]) };
        let (_, stats) = ops.layer_norm(&x[0], &p, EPS);
        let dx = ops.layer_norm_backward_residual(&x[3], &x[0], &p, &stats, &mut dp, &x[4]);
        vec![dx, dp.weight, dp.bias]
    }
}
