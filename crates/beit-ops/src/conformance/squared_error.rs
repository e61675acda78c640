//! The loss of regression.

use super::case::{Backward, Case, Forward, Input, activation, constant};
use super::check::Check;
use crate::SquaredErrorOps;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn train<O: SquaredErrorOps>(check: &mut Check<'_, O>) {
    for [m, c] in [[1, 1], [7, 3], [130, 48], [64, 1029]] {
        check.pair(&SquaredError { m, c });
    }
}

struct SquaredError {
    m: usize,
    c: usize,
}

impl Case for SquaredError {
    fn name(&self) -> String {
        format!("squared_error {}x{}", self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("y", [self.m, self.c], 11), constant("target", [self.m, self.c], 12)]
    }
}

impl<O: SquaredErrorOps> Forward<O> for SquaredError {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.squared_error(&x[0], &x[1])]
    }
}

impl<O: SquaredErrorOps> Backward<O> for SquaredError {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        // Not a number where the device has failed.
        let scale = ops.read(dy).map_or(f32::NAN, |dy| dy[0]);
        vec![Some(ops.squared_error_backward(&x[0], &x[1], scale)), None]
    }
}
