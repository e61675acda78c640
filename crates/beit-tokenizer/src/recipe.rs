//! A tokenizer's whole training in one value.

use crate::objective::Objective;
use crate::schedule::{Cosine, Schedule};
use beit_ops::AdamW;

/// How a tokenizer is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Images per step.
    pub batch: usize,
    /// What moves with the step.
    pub schedule: Schedule,
    /// See [`Objective::usage_weight`].
    pub usage_weight: f64,
    /// Width of the random shift of each pixel, see [`dithered`](crate::pixels::dithered).
    pub dither: f32,
    /// Limit on the norm of the gradient.
    pub max_norm: Option<f32>,
    /// Steps over which the learning rate rises from zero to its schedule.
    pub warmup: u64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Recipe {
    /// DALL-E's (arXiv 2102.12092, appendix A.2).
    #[must_use]
    pub const fn dalle() -> Self {
        Self {
            batch: 512,
            schedule: Schedule::dalle(),
            usage_weight: 0.0,
            dither: 0.0,
            max_norm: None,
            warmup: 0,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 1e-4,
        }
    }

    /// Ours for [`Config::small`](crate::Config::small).
    #[must_use]
    pub const fn small() -> Self {
        let steps = 600;
        let schedule = Schedule {
            steps,
            temperature: Cosine { from: 1.0, to: 1.0 / 16.0, steps },
            kl_weight: Cosine { from: 0.0, to: 0.0, steps },
            lr: Cosine { from: 3e-3, to: 3e-5, steps },
        };
        Self { batch: 64, schedule, usage_weight: 0.1, ..Self::dalle() }
    }

    /// The loss of step `step`, counted from zero.
    #[must_use]
    pub fn objective(&self, step: u64) -> Objective {
        Objective {
            temperature: self.schedule.temperature.at(step),
            kl_weight: self.schedule.kl_weight.at(step),
            usage_weight: self.usage_weight,
        }
    }

    /// The optimiser's settings in step `step`, counted from zero.
    #[must_use]
    pub fn adamw(&self, step: u64) -> AdamW {
        let warm = (step + 1).min(self.warmup) as f64 / self.warmup.max(1) as f64;
        AdamW {
            lr: self.schedule.lr.at(step) * if self.warmup == 0 { 1.0 } else { warm },
            beta1: self.beta1,
            beta2: self.beta2,
            eps: 1e-8,
            weight_decay: self.weight_decay,
            step: step + 1,
        }
    }
}
