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
    for [m, v] in [[1, 2], [5, 7], [3, 130], [67, 8]] {
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
    fn backward<O: Ops>(
        &self,
        _: &O,
        _: &[O::Tensor],
        _: &[O::Tensor],
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![None]
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
