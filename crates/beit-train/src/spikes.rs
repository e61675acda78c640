//! Steps whose gradients leap: they are found before they are taken, and may be left out.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which steps are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpikeGuard {
    /// A step is a spike where the norm of its gradients, before clipping, is so many times the mean of the steps before it, or is not
    /// finite.
    pub spike_factor: f64,
    /// So many may be left out; the next one ends the run.
    pub max_spikes: u64,
}

impl SpikeGuard {
    pub(crate) fn check(&self) -> Result<()> {
        match self.spike_factor > 1.0 && self.spike_factor.is_finite() {
            true => Ok(()),
            false => Err(Error::Recipe(format!(
                "a spike is {} times the mean of the norms: expected a finite number, more than 1",
                self.spike_factor
            ))),
        }
    }
}

/// So many of the first steps are no spikes, however much their norms differ, if these are finite: there is no mean yet.
const SETTLED: u64 = 20;
/// How much of the mean a step makes when many were taken.
const SHARE: f64 = 0.01;

/// The norms of the steps that were taken. A run goes on with those of its checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Norms {
    /// Of all at first, later of about the last hundred.
    mean: f64,
    taken: u64,
    pub(crate) left_out: u64,
}

impl Norms {
    /// The norm from which on a step is a spike.
    pub(crate) fn limit(&self, guard: &SpikeGuard) -> f64 {
        if self.taken < SETTLED { f64::INFINITY } else { guard.spike_factor * self.mean }
    }

    /// Counts a step that is taken.
    pub(crate) fn take(&mut self, norm: f64) {
        self.taken += 1;
        self.mean += (norm - self.mean) * (1.0 / self.taken as f64).max(SHARE);
    }

    pub(crate) const fn mean(&self) -> f64 {
        self.mean
    }
}

/// A step that was not taken. Numbers that are not finite are written as null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spike {
    /// Of the task.
    pub phase: &'static str,
    /// Steps before it.
    pub step: u64,
    /// Its epoch, counted from 0.
    pub epoch: u64,
    /// Its learning rate.
    pub lr: f64,
    /// Its mean loss.
    pub loss: f64,
    /// The norm of its gradients, before clipping.
    pub grad_norm: f64,
    /// The mean of the norms before it.
    pub mean_grad_norm: f64,
    /// The norm from which on it is a spike.
    #[serde(skip_serializing_if = "is_infinite")]
    pub limit: f64,
    /// Steps left out before it.
    pub left_out: u64,
    /// What is not finite, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_infinite(limit: &f64) -> bool {
    limit.is_infinite()
}

impl std::fmt::Display for Spike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { phase, step, grad_norm, mean_grad_norm, tensor, .. } = self;
        match tensor {
            Some(tensor) => write!(f, "{phase}, step {step}: {tensor} is not finite"),
            None => write!(
                f,
                "{phase}, step {step}: the gradients have norm {grad_norm:.3}, {:.1} times the mean of the steps before",
                grad_norm / mean_grad_norm
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: SpikeGuard = SpikeGuard { spike_factor: 4.0, max_spikes: 1 };

    #[test]
    fn the_limit_follows_the_mean() {
        let mut norms = Norms::default();
        for i in 0..SETTLED {
            assert!(norms.limit(&GUARD).is_infinite(), "step {i}");
            norms.take(if i % 2 == 0 { 1.0 } else { 3.0 });
        }
        assert!((norms.limit(&GUARD) - 8.0).abs() < 1e-12, "4 times the mean of 1 and 3");
        // Of many the last hundred count: 1 / e of the old mean is left after as many.
        (0..80).for_each(|_| norms.take(2.0));
        (0..100).for_each(|_| norms.take(12.0));
        let expected = 4.0 * (12.0 - 10.0 * (-1f64).exp());
        assert!((norms.limit(&GUARD) / expected - 1.0).abs() < 0.01, "{}", norms.limit(&GUARD));
    }

    #[test]
    fn factors_that_leave_nothing_out_or_all() {
        assert!(GUARD.check().is_ok());
        for spike_factor in [1.0, 0.0, f64::NAN, f64::INFINITY] {
            let text = SpikeGuard { spike_factor, ..GUARD }.check().expect_err("no factor").to_string();
            assert!(text.contains("more than 1"), "{text}");
        }
    }
}
