//! The terms of the tokenizer's loss.

use super::case::{Backward, Case, Forward, Input, activation, constant};
use super::check::Check;
use crate::{ConvTraining, Device, ElboOps, GumbelNoise, Shape};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn train<O: ElboOps + ConvTraining>(check: &mut Check<'_, O>) {
    for [m, v] in [[1, 2], [5, 7], [3, 130], [67, 8], [3, 1028], [2, 1029]] {
        check.pair(&GumbelSoftmax { shape: [m, v].into(), tau: 1.0 });
        check.pair(&PosteriorKl { m, v });
    }
    check.pair(&GumbelSoftmax { shape: [2, 3, 2, 5].into(), tau: 0.25 });
    for [m, c] in [[1, 1], [7, 3], [130, 5]] {
        check.pair(&LogitLaplace { m, c });
    }
}

/// The noise itself is part of what is compared: it must be the same on every device.
struct GumbelSoftmax {
    shape: Shape,
    tau: f64,
}

impl Case for GumbelSoftmax {
    fn name(&self) -> String {
        format!("gumbel_softmax {} at tau {}", self.shape, self.tau)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("logits", self.shape, 7)]
    }
}

impl<O: ElboOps> Forward<O> for GumbelSoftmax {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let noise = GumbelNoise { seed: 0x1234_5678_9abc, step: 0x1_0000_0003 };
        vec![ops.gumbel_softmax(&x[0], noise, self.tau)]
    }
}

impl<O: ElboOps> Backward<O> for GumbelSoftmax {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let y = self.forward(ops, x).remove(0);
        vec![Some(ops.gumbel_softmax_backward(dy, &y, self.tau))]
    }
}

struct PosteriorKl {
    m: usize,
    v: usize,
}

impl Case for PosteriorKl {
    fn name(&self) -> String {
        format!("posterior_kl {}x{}", self.m, self.v)
    }
    fn inputs(&self) -> Vec<Input> {
        // Spread to ±4: from nearly uniform to nearly certain.
        let mut logits = activation("logits", [self.m, self.v], 8);
        logits.data.iter_mut().for_each(|v| *v *= 4.0);
        vec![logits]
    }
}

impl<O: ElboOps> Forward<O> for PosteriorKl {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (divergences, [q, mean]) = ops.posterior_kl(&x[0]);
        vec![divergences, q, mean]
    }
}

impl<O: ElboOps> Backward<O> for PosteriorKl {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (_, saved) = ops.posterior_kl(&x[0]);
        vec![Some(ops.posterior_kl_backward(&saved, [scalar(ops, dy, 0), scalar(ops, dy, 1)]))]
    }
}

struct LogitLaplace {
    m: usize,
    c: usize,
}

impl Case for LogitLaplace {
    fn name(&self) -> String {
        format!("logit_laplace {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut x = constant("x", [self.m, self.c], 9);
        x.data.iter_mut().for_each(|v| *v = 0.5 + 0.4 * *v);
        vec![activation("params", [self.m, 2 * self.c], 10), x]
    }
}

impl<O: ElboOps> Forward<O> for LogitLaplace {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.logit_laplace(&x[0], &x[1])]
    }
}

impl<O: ElboOps + ConvTraining> Backward<O> for LogitLaplace {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let d_params = ops.logit_laplace_backward(&x[0], &x[1]);
        vec![Some(ops.scaled(&d_params, scalar(ops, dy, 0))), None]
    }
}

/// One element; not a number where the device has failed.
fn scalar<O: Device>(ops: &O, x: &O::Tensor, i: usize) -> f64 {
    ops.read(x).map_or(f64::NAN, |x| f64::from(x[i]))
}
