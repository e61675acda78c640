//! Linear layers and GELU.

use super::case::{Backward, Case, Definition, Forward, Input, Saving, activation, constant, param};
use super::check::Check;
use crate::{Linear, LinearOps, LinearTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: LinearOps>(check: &mut Check<'_, O>) {
    linears().for_each(|case| check.half(&case));
    gelus().for_each(|case| check.half(&case));
    check.half(&PatchWeight);
    for [m, c, n] in FUSED {
        check.fusion(&LinearGelu { m, c, n }, &Definition(LinearGelu { m, c, n }));
    }
}

pub(super) fn train<O: LinearTraining>(check: &mut Check<'_, O>) {
    linears().for_each(|case| check.pair(&case));
    gelus().for_each(|case| check.pair(&case));
    check.pair(&PatchWeight);
    for [m, c, n] in FUSED {
        let case = || Saving(LinearGelu { m, c, n });
        check.fusion(&case(), &Definition(case()));
        check.pair(&LinearGeluBackward { m, c, n });
    }
}

/// M, C and N.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [1, 7, 5], [5, 1, 3], [7, 5, 1], [13, 17, 11], [67, 33, 130]];

/// M, C and N of the fusions.
const FUSED: [[usize; 3]; 4] = [[1, 1, 1], [5, 3, 2], [13, 17, 11], [67, 33, 130]];

fn linears() -> impl Iterator<Item = LinearCase> {
    SHAPES.into_iter().flat_map(|[m, c, n]| [true, false].map(|bias| LinearCase { m, c, n, bias }))
}

fn gelus() -> impl Iterator<Item = Gelu> {
    SHAPES.into_iter().map(|[m, _, n]| Gelu { m, n })
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
}

impl<O: LinearOps> Forward<O> for LinearCase {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.linear(&x[0], &self.params(x))]
    }
}

impl<O: LinearTraining> Backward<O> for LinearCase {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = self.params(&grads);
        let dx = ops.linear_backward(dy, &x[0], &self.params(x), &mut dp);
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
}

impl<O: LinearOps> Forward<O> for PatchWeight {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.linear(&x[0], &Linear { weight: x[1].clone(), bias: Some(x[2].clone()) })]
    }
}

impl<O: LinearTraining> Backward<O> for PatchWeight {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = Linear { weight: grads[1].clone(), bias: Some(grads[2].clone()) };
        ops.linear_backward_params(dy, &x[0], &mut dp);
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
}

impl<O: LinearOps> Forward<O> for Gelu {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.gelu(&x[0])]
    }
}

impl<O: LinearTraining> Backward<O> for Gelu {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.gelu_backward(dy, &x[0]))]
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
}

impl<O: LinearOps> Forward<O> for LinearGelu {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.linear_gelu(&x[0], &Linear { weight: x[1].clone(), bias: None })]
    }
}

impl<O: LinearOps> Forward<O> for Definition<LinearGelu> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.gelu(&ops.linear(&x[0], &Linear { weight: x[1].clone(), bias: None }))]
    }
}

impl Case for Saving<LinearGelu> {
    fn name(&self) -> String {
        self.0.name().replace("linear_gelu", "linear_gelu_forward")
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

impl<O: LinearTraining> Forward<O> for Saving<LinearGelu> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (pre, act) = ops.linear_gelu_forward(&x[0], &Linear { weight: x[1].clone(), bias: None });
        vec![pre, act]
    }
}

impl<O: LinearTraining> Forward<O> for Definition<Saving<LinearGelu>> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let pre = ops.linear(&x[0], &Linear { weight: x[1].clone(), bias: None });
        let act = ops.gelu(&pre);
        vec![pre, act]
    }
}

/// `y = gelu(x + bias_before) · weightᵀ + bias` and its gradients.
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
        let before = param("bias_before", [self.c], 6);
        vec![pre, param("weight", [self.n, self.c], 4), param("bias", [self.n], 5), before]
    }
}

impl LinearGeluBackward {
    /// What the GELU is taken of: the input and a bias, as a linear layer of ones and zeros adds it.
    fn pre<O: LinearOps>(&self, ops: &O, x: &[O::Tensor]) -> O::Tensor {
        let one: Vec<f32> = (0..self.c * self.c).map(|i| f32::from(i / self.c == i % self.c)).collect();
        ops.linear(&x[0], &Linear { weight: ops.upload([self.c; 2], &one), bias: Some(x[3].clone()) })
    }
}

impl<O: LinearOps> Forward<O> for LinearGeluBackward {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Linear { weight: x[1].clone(), bias: Some(x[2].clone()) };
        vec![ops.linear(&ops.gelu(&self.pre(ops, x)), &p)]
    }
}

impl<O: LinearTraining> Backward<O> for LinearGeluBackward {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Linear { weight: x[1].clone(), bias: Some(x[2].clone()) };
        let mut dp = Linear { weight: grads[1].clone(), bias: Some(grads[2].clone()) };
        let pre = self.pre(ops, x);
        let (act, mut d_before) = (ops.gelu(&pre), grads[3].clone());
        let d_pre = ops.linear_gelu_backward(dy, [&pre, &act], &p, &mut dp, Some(&mut d_before));
        vec![Some(d_pre), Some(dp.weight), dp.bias, Some(d_before)]
    }
}
