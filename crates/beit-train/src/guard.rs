//! Nothing that is not a number reaches the parameters.

use crate::error::{Error, Result};
use beit_ops::{Ops, Tree};

/// What a micro-batch measured, on the device.
pub(crate) struct Outcome<T> {
    /// `[mean loss]`, or `[mean loss, rows that are right]`.
    pub(crate) metrics: T,
    /// Rows that the predictions are about.
    pub(crate) rows: usize,
    /// Terms that only some phases have: their names, and as many numbers.
    pub(crate) terms: Option<(&'static [&'static str], T)>,
}

impl<T> Outcome<T> {
    pub(crate) fn new(metrics: T, rows: usize) -> Self {
        Self { metrics, rows, terms: None }
    }
}

/// A step whose numbers are on the device still.
pub(crate) struct Pending<T> {
    /// Counted from 0.
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    pub(crate) lr: f64,
    /// Of its micro-batches.
    pub(crate) outcomes: Vec<Outcome<T>>,
    /// Norm of the gradients and factor of clipping.
    pub(crate) clip: T,
}

/// What a step measured, read from the device.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Mean loss of the step.
    pub(crate) loss: f64,
    /// Rows whose prediction was right.
    pub(crate) right: f64,
    /// Norm of the gradients before clipping.
    pub(crate) grad_norm: f64,
    /// Means of the terms that only some phases have.
    pub(crate) terms: Vec<(&'static str, f64)>,
}

impl<T> Pending<T> {
    /// Waits for the step. `grads` are its gradients, where it is not taken yet.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`], naming the loss or the first gradient that is not finite, if that is there to be named.
    pub(crate) fn read<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        phase: &'static str,
        grads: Option<&impl Tree<T>>,
    ) -> Result<Measured> {
        let (mut loss, mut right, mut terms) = (0.0, 0.0, Vec::new());
        let share = 1.0 / self.outcomes.len() as f64;
        for outcome in &self.outcomes {
            let metrics = ops.read(&outcome.metrics)?;
            loss += f64::from(metrics[0]) * share;
            right += metrics.get(1).copied().map_or(0.0, f64::from);
            if let Some((names, values)) = &outcome.terms {
                let values = ops.read(values)?;
                terms.extend(names.iter().zip(values).map(|(&name, v)| (name, f64::from(v) * share)));
            }
        }
        let grad_norm = f64::from(ops.read(&self.clip)?[0]);
        if loss.is_finite() && grad_norm.is_finite() {
            return Ok(Measured { loss, right, grad_norm, terms });
        }
        let tensor = match grads {
            _ if !loss.is_finite() => "the loss".to_owned(),
            Some(grads) => first_bad(ops, grads)?,
            None => NORM.to_owned(),
        };
        Err(Error::NotFinite { phase, step: self.step, tensor })
    }
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
