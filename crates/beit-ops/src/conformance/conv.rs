//! Convolutions and what stands between them.

use super::case::{Backward, Case, Definition, Forward, Input, activation, constant, param};
use super::check::Check;
use crate::{Conv2d, ConvOps, ConvTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: ConvOps>(check: &mut Check<'_, O>) {
    check.forward(&ChannelsLast { shape: [2, 3, 5, 4] });
    check.forward(&ChannelsLast { shape: [1, 1, 1, 1] });
    convolutions().for_each(|case| check.half(&case));
    for case in fusions() {
        check.fusion(&case, &Definition(case));
    }
    for shape in MAPS {
        check.half(&Relu { shape });
        check.half(&MaxPool { shape });
        check.half(&Upsample { shape });
    }
    for shape in ODD {
        check.half(&MaxPool { shape });
    }
    unbiased().for_each(|case| check.half(&case));
    sums().for_each(|case| check.half(&case));
    biases().for_each(|case| check.half(&case));
}

pub(super) fn train<O: ConvTraining>(check: &mut Check<'_, O>) {
    convolutions().for_each(|case| check.pair(&case));
    check.pair(&ParamsOnly(Convolution { x: [2, 5, 1, 3], o: 2, k: 3 }));
    for shape in MAPS {
        check.pair(&Relu { shape });
        check.pair(&MaxPool { shape });
        check.pair(&Upsample { shape });
    }
    for shape in ODD {
        check.pair(&MaxPool { shape });
    }
    unbiased().for_each(|case| check.pair(&case));
    max_pool_of_equals(check);
    sums().for_each(|case| check.pair(&case));
    biases().for_each(|case| check.pair(&case));
}

fn convolutions() -> impl Iterator<Item = Convolution> {
    let shapes = [
        [1, 1, 1, 1, 1, 1],
        [3, 2, 5, 7, 4, 1],
        [1, 1, 1, 2, 3, 3],
        [2, 1, 6, 1, 5, 3],
        [2, 5, 1, 3, 2, 3],
        [3, 4, 6, 8, 17, 3],
        [2, 3, 2, 3, 4, 7],
        [1, 9, 11, 3, 2, 7],
        [2, 37, 33, 9, 3, 3],
    ];
    shapes.into_iter().map(|[b, h, w, i, o, k]| Convolution { x: [b, h, w, i], o, k })
}

fn fusions() -> impl Iterator<Item = Fusion> {
    let shapes = [[2, 5, 1, 3, 2, 3], [3, 2, 5, 7, 4, 1], [2, 37, 33, 9, 3, 3], [1, 9, 11, 16, 72, 3]];
    let convolutions = shapes.into_iter().map(|[b, h, w, i, o, k]| Convolution { x: [b, h, w, i], o, k });
    convolutions.flat_map(|convolution| [None, Some(0.125)].map(|scale| Fusion { convolution, scale }))
}

/// Feature maps whose sides are even.
const MAPS: [[usize; 4]; 3] = [[1, 2, 2, 1], [2, 4, 6, 5], [3, 2, 8, 17]];

/// Feature maps with a line or a column that belongs to no square.
const ODD: [[usize; 4]; 3] = [[2, 3, 2, 5], [1, 4, 5, 4], [3, 5, 3, 1]];

fn unbiased() -> impl Iterator<Item = Unbiased> {
    let shapes = [[2, 3, 4, 5, 3, 1], [1, 5, 3, 4, 6, 3], [2, 37, 33, 9, 3, 3]];
    shapes.into_iter().map(|[b, h, w, i, o, k]| Unbiased(Convolution { x: [b, h, w, i], o, k }))
}

fn sums() -> impl Iterator<Item = AddScaled> {
    [1, 33].into_iter().flat_map(|n| [1.0 / 64.0, -3.0].map(|scale| AddScaled { n, scale }))
}

fn biases() -> impl Iterator<Item = AddBias> {
    [[1, 1], [7, 3], [67, 132]].into_iter().map(|[m, c]| AddBias { m, c })
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
}

impl<O: ConvOps> Forward<O> for ChannelsLast {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.channels_last(&x[0])]
    }
}

#[derive(Clone, Copy)]
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
}

impl<O: ConvOps> Forward<O> for Convolution {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.conv2d(&x[0], &Conv2d { weight: x[1].clone(), bias: Some(x[2].clone()) })]
    }
}

impl<O: ConvTraining> Backward<O> for Convolution {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Conv2d { weight: x[1].clone(), bias: Some(x[2].clone()) };
        let mut dp = Conv2d { weight: grads.remove(1), bias: Some(grads.remove(1)) };
        let dx = ops.conv2d_backward(dy, &x[0], &p, &mut dp);
        vec![Some(dx), Some(dp.weight), dp.bias]
    }
}

/// A convolution with what follows it: a ReLU, or, with a scale, the sum with another map.
#[derive(Clone, Copy)]
struct Fusion {
    convolution: Convolution,
    scale: Option<f64>,
}

impl Fusion {
    fn params<T: Clone>(&self, x: &[T]) -> Conv2d<T> {
        Conv2d { weight: x[1].clone(), bias: Some(x[2].clone()) }
    }
}

impl Case for Fusion {
    fn name(&self) -> String {
        let follows = self.scale.map_or("relu".into(), |scale| format!("add_scaled by {scale}"));
        format!("{}, then {follows}", self.convolution.name())
    }
    fn inputs(&self) -> Vec<Input> {
        let Convolution { x: [b, h, w, _], o, .. } = self.convolution;
        let mut inputs = self.convolution.inputs();
        inputs.push(activation("a", [b, h, w, o], 7));
        inputs
    }
}

impl<O: ConvOps> Forward<O> for Fusion {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let p = self.params(x);
        vec![match self.scale {
            None => ops.conv2d_relu(&x[0], &p),
            Some(scale) => ops.conv2d_add_scaled(&x[3], &x[0], &p, scale),
        }]
    }
}

impl<O: ConvOps> Forward<O> for Definition<Fusion> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let y = ops.conv2d(&x[0], &self.0.params(x));
        vec![self.0.scale.map_or_else(|| ops.relu(&y), |scale| ops.add_scaled(&x[3], &y, scale))]
    }
}

/// A convolution without a bias.
struct Unbiased(Convolution);

impl Case for Unbiased {
    fn name(&self) -> String {
        format!("{}, no bias", self.0.name())
    }
    fn inputs(&self) -> Vec<Input> {
        let mut all = self.0.inputs();
        all.truncate(2);
        all
    }
}

impl<O: ConvOps> Forward<O> for Unbiased {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.conv2d(&x[0], &Conv2d { weight: x[1].clone(), bias: None })]
    }
}

impl<O: ConvTraining> Backward<O> for Unbiased {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let p = Conv2d { weight: x[1].clone(), bias: None };
        let mut dp = Conv2d { weight: grads.remove(1), bias: None };
        let dx = ops.conv2d_backward(dy, &x[0], &p, &mut dp);
        vec![Some(dx), Some(dp.weight)]
    }
}

/// A convolution of which nobody needs the gradient of the input.
struct ParamsOnly(Convolution);

impl Case for ParamsOnly {
    fn name(&self) -> String {
        format!("{}, gradients of parameters only", self.0.name())
    }
    fn inputs(&self) -> Vec<Input> {
        let mut all = self.0.inputs();
        all[0] = constant("x", self.0.x, 0);
        all
    }
}

impl<O: ConvOps> Forward<O> for ParamsOnly {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        self.0.forward(ops, x)
    }
}

impl<O: ConvTraining> Backward<O> for ParamsOnly {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = Conv2d { weight: grads.remove(1), bias: Some(grads.remove(1)) };
        ops.conv2d_backward_params(dy, &x[0], &mut dp);
        vec![None, Some(dp.weight), dp.bias]
    }
}

struct Relu {
    shape: [usize; 4],
}

impl Case for Relu {
    fn name(&self) -> String {
        format!("relu {:?}", self.shape)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", self.shape, 37)]
    }
}

impl<O: ConvOps> Forward<O> for Relu {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.relu(&x[0])]
    }
}

impl<O: ConvTraining> Backward<O> for Relu {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.relu_backward(dy, &x[0]))]
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
}

impl<O: ConvOps> Forward<O> for MaxPool {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.max_pool2(&x[0])]
    }
}

impl<O: ConvTraining> Backward<O> for MaxPool {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.max_pool2_backward(dy, &x[0]))]
    }
}

fn max_pool_of_equals<O: ConvTraining>(check: &mut Check<'_, O>) {
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
}

impl<O: ConvOps> Forward<O> for Upsample {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.upsample2(&x[0])]
    }
}

impl<O: ConvTraining> Backward<O> for Upsample {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.upsample2_backward(dy))]
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
}

impl<O: ConvOps> Forward<O> for AddScaled {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.add_scaled(&x[0], &x[1], self.scale)]
    }
}

impl<O: ConvTraining> Backward<O> for AddScaled {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(dy.clone()), Some(ops.scaled(dy, self.scale))]
    }
}

struct AddBias {
    m: usize,
    c: usize,
}

impl Case for AddBias {
    fn name(&self) -> String {
        format!("add_bias {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.m, self.c], 38), param("bias", [self.c], 39)]
    }
}

impl<O: ConvOps> Forward<O> for AddBias {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.add_bias(&x[0], &x[1])]
    }
}

impl<O: ConvTraining> Backward<O> for AddBias {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut d_bias = grads.remove(1);
        ops.add_bias_backward(dy, &mut d_bias);
        vec![Some(dy.clone()), Some(d_bias)]
    }
}
