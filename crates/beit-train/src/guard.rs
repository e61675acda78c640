//! Nothing that is not a number reaches the parameters.

use crate::error::{Error, Result};
use beit_ops::{Ops, Tree};

/// What a step measured, read from the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Mean loss of the step.
    pub(crate) loss: f64,
    /// Rows whose prediction was right.
    pub(crate) right: f64,
    /// Norm of the gradients before clipping.
    pub(crate) grad_norm: f64,
}

/// Reads the losses `[mean, right]` of a step's micro-batches and its clipping factor, before the step is taken.
///
/// # Errors
///
/// [`Error::NotFinite`], naming the loss or the first gradient that is not finite.
pub(crate) fn measure<O: Ops>(
    ops: &O,
    (phase, step): (&'static str, u64),
    losses: &[O::Tensor],
    clip: &O::Tensor,
    grads: &impl Tree<O::Tensor>,
) -> Result<Measured> {
    let (mut loss, mut right) = (0.0, 0.0);
    for metrics in losses {
        let metrics = ops.read(metrics)?;
        loss += f64::from(metrics[0]) / losses.len() as f64;
        right += metrics.get(1).copied().map_or(0.0, f64::from);
    }
    let grad_norm = f64::from(ops.read(clip)?[0]);
    if loss.is_finite() && grad_norm.is_finite() {
        return Ok(Measured { loss, right, grad_norm });
    }
    let tensor = if loss.is_finite() { first_bad(ops, grads)? } else { "the loss".to_owned() };
    Err(Error::NotFinite { phase, step, tensor })
}

fn first_bad<O: Ops>(ops: &O, grads: &impl Tree<O::Tensor>) -> Result<String> {
    for (name, grad) in grads.named() {
        if ops.read(grad)?.iter().any(|v| !v.is_finite()) {
            return Ok(format!("the gradient of {name}"));
        }
    }
    Ok("the norm of the gradients".to_owned())
}
