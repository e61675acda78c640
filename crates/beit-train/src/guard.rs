//! Nothing that is not a number reaches the parameters.

use crate::error::Result;
use crate::hooks::Sums;
use beit_ops::{Ops, Tree};

/// A step whose numbers are on the device still.
pub(crate) struct Pending<T> {
    /// Counted from 0.
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) lr: f64,
    pub(crate) sums: Sums<T>,
    /// Norm of the gradients and factor of clipping.
    pub(crate) clip: T,
}

/// What a step measured, read from the device.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Mean loss over the rows of the step.
    pub(crate) loss: f64,
    /// Rows whose prediction was right, where the task counts them.
    pub(crate) right: Option<f64>,
    /// Norm of the gradients before clipping.
    pub(crate) grad_norm: f64,
    /// Means of the terms that only some tasks have.
    pub(crate) terms: Vec<(&'static str, f64)>,
}

impl<T> Pending<T> {
    /// Waits for the step.
    ///
    /// # Errors
    ///
    /// The device.
    pub(crate) fn read<O: Ops<Tensor = T>>(&self, ops: &O) -> Result<Measured> {
        let (mut loss, mut right, mut terms) = (0.0, None, Vec::new());
        let rows = self.sums.rows() as f64;
        for part in &self.sums.parts {
            // 1 where there is one part.
            let share = part.rows as f64 / rows;
            let metrics = ops.read(&part.metrics)?;
            loss += f64::from(metrics[0]) * share;
            if let Some(&counted) = metrics.get(1) {
                right = Some(right.unwrap_or(0.0) + f64::from(counted));
            }
            if let Some((names, values)) = &part.terms {
                let values = ops.read(values)?;
                terms.extend(names.iter().zip(values).map(|(&name, v)| (name, f64::from(v) * share)));
            }
            terms.extend(part.known.iter().map(|&(name, value)| (name, value * share)));
        }
        let grad_norm = f64::from(ops.read(&self.clip)?[0]);
        Ok(Measured { loss, right, grad_norm, terms })
    }
}

impl Measured {
    /// What is not finite: the loss, or the first gradient that is not, if `grads`, those of the step, are there to be named.
    ///
    /// # Errors
    ///
    /// The device.
    pub(crate) fn broken<O: Ops>(
        &self,
        ops: &O,
        grads: Option<&impl Tree<O::Tensor>>,
    ) -> Result<Option<String>> {
        Ok(match grads {
            _ if self.loss.is_finite() && self.grad_norm.is_finite() => None,
            _ if !self.loss.is_finite() => Some("the loss".to_owned()),
            Some(grads) => Some(first_bad(ops, grads)?),
            None => Some(NORM.to_owned()),
        })
    }
}

/// The first row of `x [M, V]` with an element that is not finite. As long as there is none, little is read from the device.
///
/// # Errors
///
/// The device.
pub fn broken_row<O: Ops>(ops: &O, x: &O::Tensor) -> Result<Option<usize>> {
    let norm = ops.read(&ops.clip_factor(&[x], None, 1.0))?[0];
    if norm.is_finite() {
        return Ok(None);
    }
    let first = ops.read(x)?.iter().position(|v| !v.is_finite());
    Ok(first.map(|at| at / ops.shape(x).matrix()[1]))
}

const NORM: &str = "the norm of the gradients";

fn first_bad<O: Ops>(ops: &O, grads: &impl Tree<O::Tensor>) -> Result<String> {
    for (name, grad) in grads.named() {
        if ops.read(grad)?.iter().any(|v| !v.is_finite()) {
            return Ok(format!("the gradient of {name}"));
        }
    }
    Ok(NORM.to_owned())
}
