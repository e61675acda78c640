//! A layer norm between the layers of an MLP: it reads what a product made, and a product reads it, so on a device with several
//! types of numbers it meets others than the norm of the residual stream does.

use super::case::{Backward, Case, Forward, Input, activation, param};
use super::check::Check;
use crate::{Linear, LinearOps, LinearTraining, Norm, ResidualOps, ResidualTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: LinearOps + ResidualOps>(check: &mut Check<'_, O>) {
    cases().for_each(|case| check.half(&case));
}

pub(super) fn train<O: LinearTraining + ResidualTraining>(check: &mut Check<'_, O>) {
    cases().for_each(|case| check.pair(&case));
}

/// M, C and hidden; the last is longer than what a group of units takes at once.
fn cases() -> impl Iterator<Item = NormedMlp> {
    [[7, 5, 12], [13, 17, 31], [67, 33, 132], [3, 8, 1028]].into_iter().map(|[m, c, hidden]| NormedMlp {
        m,
        c,
        hidden,
    })
}

/// `fc2(norm(gelu(fc1(x))))`
struct NormedMlp {
    m: usize,
    c: usize,
    hidden: usize,
}

/// BEiT-3's.
const EPS: f64 = 1e-5;

struct Mlp<T> {
    fc1: Linear<T>,
    norm: Norm<T>,
    fc2: Linear<T>,
}

impl<T: Clone> Mlp<T> {
    fn of(x: &[T]) -> Self {
        let linear = |i: usize| Linear { weight: x[i].clone(), bias: Some(x[i + 1].clone()) };
        Self { fc1: linear(1), norm: Norm { weight: x[3].clone(), bias: x[4].clone() }, fc2: linear(5) }
    }
}

impl Case for NormedMlp {
    fn name(&self) -> String {
        format!("layer_norm inside an MLP {}x{} -> {}", self.m, self.c, self.hidden)
    }
    fn inputs(&self) -> Vec<Input> {
        let Self { m, c, hidden } = *self;
        let mut fc2 = param("fc2.weight", [c, hidden], 25);
        // As a model has them, lest sums over the hidden layer grow with its width.
        fc2.data.iter_mut().for_each(|w| *w /= libm::sqrtf(hidden as f32));
        vec![
            activation("x", [m, c], 20),
            param("fc1.weight", [hidden, c], 21),
            param("fc1.bias", [hidden], 22),
            param("norm.weight", [hidden], 23),
            param("norm.bias", [hidden], 24),
            fc2,
            param("fc2.bias", [c], 26),
        ]
    }
}

impl<O: LinearOps + ResidualOps> Forward<O> for NormedMlp {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = Mlp::of(x);
        let act = ops.linear_gelu(&x[0], &p.fc1);
        vec![ops.linear(&ops.layer_norm(&act, &p.norm, EPS), &p.fc2)]
    }
}

impl<O: LinearTraining + ResidualTraining> Backward<O> for NormedMlp {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (p, mut dp) = (Mlp::of(x), Mlp::of(&grads));
        let (pre, act) = ops.linear_gelu_forward(&x[0], &p.fc1);
        let (normed, stats) = ops.layer_norm_forward(&act, &p.norm, EPS);
        let d_normed = ops.linear_backward(dy, &normed, &p.fc2, &mut dp.fc2);
        let d_act = ops.layer_norm_backward(&d_normed, &act, &p.norm, &stats, &mut dp.norm);
        let d_pre = ops.gelu_backward(&d_act, &pre);
        let dx = ops.linear_backward(&d_pre, &x[0], &p.fc1, &mut dp.fc1);
        let [fc1, norm, fc2] = [
            [Some(dp.fc1.weight), dp.fc1.bias],
            [Some(dp.norm.weight), Some(dp.norm.bias)],
            [Some(dp.fc2.weight), dp.fc2.bias],
        ];
        [vec![Some(dx)], fc1.to_vec(), norm.to_vec(), fc2.to_vec()].concat()
    }
}
