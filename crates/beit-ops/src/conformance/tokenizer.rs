//! The operations of the tokenizer.

use super::{Case, Check, Input, activation, constant, param};
use crate::{Conv2d, GumbelNoise, Ops, Shape};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn check<O: Ops>(check: &mut Check<'_, O>) {
    check.case(&ChannelsLast { shape: [2, 3, 5, 4] });
    check.case(&ChannelsLast { shape: [1, 1, 1, 1] });
    for [b, h, w, i, o, k] in [
        [1, 1, 1, 1, 1, 1],
        [3, 2, 5, 7, 4, 1],
        [1, 1, 1, 2, 3, 3],
        [2, 1, 6, 1, 5, 3],
        [2, 5, 1, 3, 2, 3],
        [3, 4, 6, 8, 17, 3],
        [2, 3, 2, 3, 4, 7],
        [1, 9, 11, 3, 2, 7],
        [2, 37, 33, 9, 3, 3],
    ] {
        check.case(&Convolution { x: [b, h, w, i], o, k });
    }
    for shape in [[1, 2, 2, 1], [2, 4, 6, 5], [3, 2, 8, 17]] {
        check.case(&MaxPool { shape });
        check.case(&Upsample { shape });
    }
    max_pool_of_equals(check);
    for n in [1, 33] {
        check.case(&AddScaled { n, scale: 1.0 / 64.0 });
        check.case(&AddScaled { n, scale: -3.0 });
    }
    for [m, v] in [[1, 2], [5, 7], [3, 130], [67, 8], [3, 1028], [2, 1029]] {
        check.case(&GumbelSoftmax { shape: [m, v].into(), tau: 1.0 });
        check.case(&PosteriorKl { m, v });
    }
    check.case(&GumbelSoftmax { shape: [2, 3, 2, 5].into(), tau: 0.25 });
    for [m, c] in [[1, 1], [7, 3], [130, 5]] {
        check.case(&LogitLaplace { m, c });
    }
}

struct ChannelsLast {
    shape: [usize; 4],
}

impl Case for ChannelsLast {
    fn name(&self) -> String {
        format!("channels_last {:?}", self.shape)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("x", self.shape, 0)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.channels_last(&x[0])]
    }
}

struct Convolution {
    /// B, h, w, I
    x: [usize; 4],
    o: usize,
    k: usize,
}

impl Case for Convolution {
    fn name(&self) -> String {
        format!("conv2d {:?} -> {} with {k}x{k}", self.x, self.o, k = self.k)
    }
    fn inputs(&self) -> Vec<Input> {
        let weight = [self.o, self.x[3], self.k, self.k];
        vec![activation("x", self.x, 0), param("weight", weight, 1), param("bias", [self.o], 2)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.conv2d(&x[0], &Conv2d { weight: x[1].clone(), bias: x[2].clone() })]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Conv2d { weight: x[1].clone(), bias: x[2].clone() };
        let mut dp = Conv2d { weight: grads.remove(1), bias: grads.remove(1) };
        let dx = ops.conv2d_backward(&dy[0], &x[0], &p, &mut dp);
        vec![Some(dx), Some(dp.weight), Some(dp.bias)]
    }
}

struct MaxPool {
    shape: [usize; 4],
}

impl Case for MaxPool {
    fn name(&self) -> String {
        format!("max_pool2 {:?}", self.shape)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", self.shape, 3)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.max_pool2(&x[0])]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.max_pool2_backward(&dy[0], &x[0]))]
    }
}

fn max_pool_of_equals<O: Ops>(check: &mut Check<'_, O>) {
    let name = "max_pool2: the first of equals";
    if !(check.wanted)(name) {
        return;
    }
    let x = check.ops.upload([1, 2, 4, 1], &[1., 1., 0., 2., 1., 1., 2., 2.]);
    let dy = check.ops.upload([1, 1, 2, 1], &[3., 5.]);
    let dx = check.ops.max_pool2_backward(&dy, &x);
    let want: Vec<_> = [3., 0., 0., 5., 0., 0., 0., 0.].into_iter().enumerate().collect();
    check.compare(name, &dx, &want, 0.0);
}

struct Upsample {
    shape: [usize; 4],
}

impl Case for Upsample {
    fn name(&self) -> String {
        format!("upsample2 {:?}", self.shape)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", self.shape, 4)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.upsample2(&x[0])]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.upsample2_backward(&dy[0]))]
    }
}

struct AddScaled {
    n: usize,
    scale: f64,
}

impl Case for AddScaled {
    fn name(&self) -> String {
        format!("add_scaled {} by {}", self.n, self.scale)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("a", [self.n], 5), activation("b", [self.n], 6)]
    }
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.add_scaled(&x[0], &x[1], self.scale)]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(dy[0].clone()), Some(ops.scaled(&dy[0], self.scale))]
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let noise = GumbelNoise { seed: 0x1234_5678_9abc, step: 0x1_0000_0003 };
        vec![ops.gumbel_softmax(&x[0], noise, self.tau)]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let y = self.forward(ops, x).remove(0);
        vec![Some(ops.gumbel_softmax_backward(&dy[0], &y, self.tau))]
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (divergences, [q, mean]) = ops.posterior_kl(&x[0]);
        vec![divergences, q, mean]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (_, saved) = ops.posterior_kl(&x[0]);
        vec![Some(ops.posterior_kl_backward(&saved, [scalar(ops, &dy[0], 0), scalar(ops, &dy[0], 1)]))]
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
    fn forward<O: Ops>(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.logit_laplace(&x[0], &x[1])]
    }
    fn backward<O: Ops>(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let d_params = ops.logit_laplace_backward(&x[0], &x[1]);
        vec![Some(ops.scaled(&d_params, scalar(ops, &dy[0], 0))), None]
    }
}

/// One element; not a number where the device has failed.
fn scalar<O: Ops>(ops: &O, x: &O::Tensor, i: usize) -> f64 {
    ops.read(x).map_or(f64::NAN, |x| f64::from(x[i]))
}
