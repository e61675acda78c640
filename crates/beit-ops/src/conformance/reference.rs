//! What `Host<f64>` computes, and central differences of it.

use super::case::{Forward, Input, Kind, random};
use crate::{Device, Host, Shape};
use alloc::vec::Vec;

/// What gradients of parameters start from: a backward that overwrites instead of adding is found out.
const GRAD_START: f32 = 0.5;
/// Step of the central differences: truncation (1e-8) and cancellation (1e-16 / 1e-4) both stay below 1e-7.
const STEP: f64 = 1e-4;
/// At most this many elements of one input are differenced.
const DIFFERENCED: usize = 48;

pub(super) fn start(input: &Input) -> Vec<f32> {
    input.data.iter().map(|_| GRAD_START).collect()
}

/// The results of `Host<f64>`.
pub(super) struct Reference<'a> {
    inputs: &'a [Input],
    pub(super) outputs: Vec<Vec<f64>>,
    /// A random gradient of the first output.
    pub(super) dy: (Shape, Vec<f32>),
}

impl<'a> Reference<'a> {
    pub(super) fn new(case: &impl Forward<Host<f64>>, inputs: &'a [Input]) -> Self {
        let host = Host::<f64>::new();
        let x: Vec<_> = inputs.iter().map(|i| host.upload(i.shape, &i.data)).collect();
        let y = case.forward(&host, &x);
        let dy = random(host.shape(&y[0]), 1000);
        let outputs = y.iter().map(|y| y.iter().copied().collect()).collect();
        Self { inputs, outputs, dy }
    }

    /// Central differences of `Σ y · dy` in some elements of input `k`, and what they are added to.
    pub(super) fn gradient(&self, case: &impl Forward<Host<f64>>, k: usize) -> Vec<(usize, f64)> {
        let input = &self.inputs[k];
        let stride = input.data.len().div_ceil(DIFFERENCED).max(1);
        let begin = if input.kind == Kind::Param { f64::from(GRAD_START) } else { 0.0 };
        let loss = |i: usize, step: f64| self.loss(case, k, i, step);
        let difference = |i| (loss(i, STEP) - loss(i, -STEP)) / (2.0 * STEP);
        (0..input.data.len()).step_by(stride).map(|i| (i, begin + difference(i))).collect()
    }

    /// `Σ y · dy` with element `i` of input `k` moved by `step`.
    fn loss(&self, case: &impl Forward<Host<f64>>, k: usize, i: usize, step: f64) -> f64 {
        let host = Host::<f64>::new();
        let mut x: Vec<_> = self.inputs.iter().map(|i| host.upload(i.shape, &i.data)).collect();
        x[k][i] += step;
        let y = case.forward(&host, &x);
        y[0].iter().zip(&self.dy.1).map(|(y, &dy)| y * f64::from(dy)).sum()
    }
}
