//! Batch norm, by running statistics and by the batch.

use super::case::{Backward, Case, Forward, Input, activation, constant, param};
use super::check::Check;
use crate::{BatchNormOps, BatchNormTraining, Norm, Running};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const EPS: f64 = 1e-5;

pub(super) fn infer<O: BatchNormOps>(check: &mut Check<'_, O>) {
    for shape in SHAPES {
        for relu in [false, true] {
            check.forward(&Known { shape, relu });
        }
    }
}

pub(super) fn train<O: BatchNormTraining>(check: &mut Check<'_, O>) {
    for shape in SHAPES {
        for relu in [false, true] {
            check.pair(&OfBatch { shape, relu });
        }
    }
    // With a ReLU some of so many numbers would lie too near to zero for differences.
    check.pair(&OfBatch { shape: [3, 17, 19, 33], relu: false });
    // One row, which has no variance: the running one stays.
    check.half(&OfBatch { shape: [1, 1, 1, 5], relu: false });
}

/// One channel, odd ones, and more rows than are added up by themselves.
const SHAPES: [[usize; 4]; 4] = [[2, 1, 1, 1], [1, 2, 3, 5], [2, 5, 7, 12], [1, 13, 7, 8]];

/// A name for the operation with or without what follows.
fn name(operation: &str, shape: [usize; 4], relu: bool) -> String {
    format!("{operation} {shape:?}{}", if relu { ", relu" } else { "" })
}

/// Activations, weight and bias, and running statistics whose variances are positive.
fn inputs([b, h, w, c]: [usize; 4]) -> Vec<Input> {
    let mut variance = constant("variance", [c], 64);
    variance.data.iter_mut().for_each(|v| *v = 0.1 + v.abs());
    let mut x = activation("x", [b, h, w, c], 60);
    // Channels that differ in mean and spread, none of which is zero.
    x.data
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = *v * (1.0 + (i % c % 3) as f32) + (i % c) as f32 * 0.1);
    vec![x, param("weight", [c], 61), param("bias", [c], 62), constant("mean", [c], 63), variance]
}

fn split<T: Clone>(x: &[T]) -> (Norm<T>, Running<T>) {
    let norm = Norm { weight: x[1].clone(), bias: x[2].clone() };
    (norm, Running { mean: x[3].clone(), variance: x[4].clone() })
}

struct Known {
    shape: [usize; 4],
    relu: bool,
}

impl Case for Known {
    fn name(&self) -> String {
        name("batch_norm", self.shape, self.relu)
    }
    fn inputs(&self) -> Vec<Input> {
        inputs(self.shape)
    }
}

impl<O: BatchNormOps> Forward<O> for Known {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (p, running) = split(x);
        let y = if self.relu {
            ops.batch_norm_relu(&x[0], &p, &running, EPS)
        } else {
            ops.batch_norm(&x[0], &p, &running, EPS)
        };
        vec![y]
    }
}

struct OfBatch {
    shape: [usize; 4],
    relu: bool,
}

impl Case for OfBatch {
    fn name(&self) -> String {
        name("batch_norm_forward", self.shape, self.relu)
    }
    fn inputs(&self) -> Vec<Input> {
        inputs(self.shape)
    }
}

impl<O: BatchNormTraining> Forward<O> for OfBatch {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (p, mut running) = split(x);
        let (y, stats) = if self.relu {
            ops.batch_norm_relu_forward(&x[0], &p, &mut running, EPS)
        } else {
            ops.batch_norm_forward(&x[0], &p, &mut running, EPS)
        };
        vec![y, stats, running.mean, running.variance]
    }
}

impl<O: BatchNormTraining> Backward<O> for OfBatch {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (p, _) = split(x);
        let mut dp = Norm { weight: grads.remove(1), bias: grads.remove(1) };
        let out = self.forward(ops, x);
        let dx = if self.relu {
            ops.batch_norm_relu_backward(dy, [&x[0], &out[0]], &out[1], &p, &mut dp)
        } else {
            ops.batch_norm_backward(dy, &x[0], &out[1], &p, &mut dp)
        };
        vec![Some(dx), Some(dp.weight), Some(dp.bias), None, None]
    }
}
