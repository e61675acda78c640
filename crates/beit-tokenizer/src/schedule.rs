//! How temperature, weight of the divergence and learning rate move with the step.

use core::f64::consts::PI;

/// Half a cosine from one value to another, constant from then on. All of the paper's schedules have this form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// At step 0.
    pub from: f64,
    /// At `steps` and later.
    pub to: f64,
    /// Optimiser steps.
    pub steps: u64,
}

impl Cosine {
    /// `to + (from - to) (1 + cos(π step / steps)) / 2`
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.to;
        }
        let progress = step as f64 / self.steps as f64;
        self.to + 0.5 * (self.from - self.to) * (1.0 + libm::cos(PI * progress))
    }

    /// The same curve over `to` steps of a run where it took `self.steps` steps of a run of `from`.
    fn rescaled(self, from: u64, to: u64) -> Self {
        let steps = libm::rint(self.steps as f64 * to as f64 / from as f64) as u64;
        Self { steps: steps.max(1), ..self }
    }
}

/// Everything that moves during training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Optimiser steps of the whole run.
    pub steps: u64,
    /// tau of the Gumbel-softmax.
    pub temperature: Cosine,
    /// beta, see [`Objective::kl_weight`](crate::Objective::kl_weight).
    pub kl_weight: Cosine,
    /// Learning rate.
    pub lr: Cosine,
}

impl Schedule {
    /// DALL-E's: 3,000,000 updates (arXiv 2102.12092, appendix A.2).
    #[must_use]
    pub const fn dalle() -> Self {
        Self {
            steps: 3_000_000,
            temperature: Cosine { from: 1.0, to: 1.0 / 16.0, steps: 150_000 },
            kl_weight: Cosine { from: 0.0, to: 6.6, steps: 5_000 },
            lr: Cosine { from: 1e-4, to: 1.25e-6, steps: 1_200_000 },
        }
    }

    /// The same curves for a run of another length.
    #[must_use]
    pub fn rescaled(self, steps: u64) -> Self {
        Self {
            steps,
            temperature: self.temperature.rescaled(self.steps, steps),
            kl_weight: self.kl_weight.rescaled(self.steps, steps),
            lr: self.lr.rescaled(self.steps, steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_starts_halves_and_ends() {
        let tau = Schedule::dalle().temperature;
        assert_eq!(tau.at(0), 1.0);
        assert!((tau.at(75_000) - 0.531_25).abs() < 1e-12);
        assert_eq!(tau.at(150_000), 0.0625);
        assert_eq!(tau.at(u64::MAX), 0.0625);
    }

    #[test]
    fn rescaling_keeps_the_shape() {
        let (long, short) = (Schedule::dalle(), Schedule::dalle().rescaled(30_000));
        assert_eq!(short.temperature.steps, 1_500);
        assert_eq!(short.kl_weight.steps, 50);
        assert_eq!(short.lr.at(6_000), long.lr.at(600_000));
        assert_eq!(Schedule::dalle().rescaled(10).kl_weight.steps, 1);
    }
}
