//! One operation at one shape: its inputs, what it computes, and its gradients.

use crate::philox::uniforms;
use crate::{Device, Shape};
use alloc::string::String;
use alloc::vec::Vec;

/// What an input of a [`Case`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its gradient is returned.
    Activation,
    /// Its gradient is added to.
    Param,
    /// It has no gradient.
    Constant,
}

/// One input of a [`Case`].
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) data: Vec<f32>,
}

/// One operation at one shape.
pub(super) trait Case {
    /// Operation and shape, for the report.
    fn name(&self) -> String;
    fn inputs(&self) -> Vec<Input>;
}

/// What a [`Case`] computes, on devices that have the operation.
pub(super) trait Forward<O: Device>: Case {
    /// The outputs; only the first has a gradient.
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor>;
}

/// The gradients of a [`Case`], on devices that have them.
pub(super) trait Backward<O: Device>: Forward<O> {
    /// The gradient of each input, `None` for constants. Those of parameters must be added to the tensors in `grads`.
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>>;
}

/// The same case through the forward that saves what the backward needs.
pub(super) struct Saving<C>(pub(super) C);

/// A fusion as what it is made of.
pub(super) struct Definition<C>(pub(super) C);

impl<C: Case> Case for Definition<C> {
    fn name(&self) -> String {
        self.0.name()
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

/// Elements in \[-1, 1) from the counter-based stream; `tag` keeps tensors apart.
pub(super) fn random(shape: impl Into<Shape>, tag: u64) -> (Shape, Vec<f32>) {
    let shape = shape.into();
    let data = (0..shape.elements()).map(|i| 2.0 * uniforms(17, tag, i as u64 / 4)[i % 4] - 1.0).collect();
    (shape, data)
}

fn input(name: &'static str, kind: Kind, shape: impl Into<Shape>, tag: u64) -> Input {
    let (shape, data) = random(shape, tag);
    Input { name, kind, shape, data }
}

pub(super) fn activation(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Activation, shape, tag)
}

pub(super) fn param(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Param, shape, tag)
}

pub(super) fn constant(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Constant, shape, tag)
}
