//! The learning rate of every step.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine: pre-training and classification (`cosine_scheduler` of the released code).
    #[default]
    Cosine,
    /// A straight line: segmentation (mmcv's `PolyLrUpdaterHook` of power 1).
    Linear,
}

impl Decay {
    /// Runs from before there was a choice say nothing.
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What is left of the rate in the first step of warm-up, where it falls in a line (`warmup_ratio`).
const WARMUP_RATIO: f64 = 1e-6;

/// The learning rate of every step: linear warm-up, then a fall.
///
/// [`Decay::Cosine`] is exactly the released code's. Warm-up is `linspace(0, peak, warmup)` with both ends in it, so step 0 has rate
/// 0 and step `warmup - 1` the peak; step `warmup + i` has `min + (peak - min) (1 + cos(π i / n)) / 2` with `n = total - warmup`.
///
/// [`Decay::Linear`] is exactly mmcv's: `min + (peak - min) (1 - step / total)`, in warm-up times
/// `1 - (1 - step / warmup) (1 - 1e-6)`.
///
/// ```
/// use beit_train::{Decay, Schedule};
/// let schedule = Schedule { peak: 1.5e-3, min: 1e-5, warmup: 6250, total: 500_000, decay: Decay::Cosine };
/// assert_eq!(schedule.at(0), 0.0);
/// assert!((schedule.at(250_000) - 7.6981e-4).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// What it falls to.
    pub min: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
    /// How it falls.
    #[serde(default, skip_serializing_if = "Decay::is_usual")]
    pub decay: Decay,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0; that of the last step for later ones.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        let step = step.min(self.total.saturating_sub(1));
        if self.decay == Decay::Linear {
            return self.linear(step);
        }
        if step < self.warmup {
            return self.peak * step as f64 / (self.warmup - 1).max(1) as f64;
        }
        let n = (self.total - self.warmup) as f64;
        let progress = (step - self.warmup) as f64 / n;
        self.min + 0.5 * (self.peak - self.min) * (1.0 + (std::f64::consts::PI * progress).cos())
    }

    fn linear(&self, step: u64) -> f64 {
        let rate = self.min + (self.peak - self.min) * (1.0 - step as f64 / self.total as f64);
        let warming = 1.0 - step as f64 / self.warmup.max(1) as f64;
        if step < self.warmup { rate * (1.0 - warming * (1.0 - WARMUP_RATIO)) } else { rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 800 epochs of ImageNet-1k at batch 2048, the check points of the released schedule.
    #[test]
    fn official_check_points() {
        let schedule =
            Schedule { peak: 1.5e-3, min: 1e-5, warmup: 6250, total: 500_000, decay: Decay::Cosine };
        // The values are given to five digits.
        let rows = [
            (0, 0.0),
            (1, 2.4004e-7),
            (6249, 1.5e-3),
            (6250, 1.5e-3),
            (250_000, 7.6981e-4),
            (499_999, 1.000_00e-5),
        ];
        for (step, want) in rows {
            let got = schedule.at(step);
            assert!((got - want).abs() <= 1e-4 * want, "step {step}: got {got:e}, want {want:e}");
        }
    }

    /// mmcv's `PolyLrUpdaterHook(power=1.0, min_lr=0.0, warmup='linear', warmup_iters=1500, warmup_ratio=1e-6)` in 160,000 steps.
    #[test]
    fn a_line_as_mmcv_draws_it() {
        let schedule = Schedule { peak: 7e-4, min: 0.0, warmup: 1500, total: 160_000, decay: Decay::Linear };
        let rows = [
            (0, 7e-10),
            (750, 7e-4 * (1.0 - 750.0 / 160_000.0) * 0.500_000_5),
            (1500, 7e-4 * (1.0 - 1500.0 / 160_000.0)),
            (80_000, 3.5e-4),
            (159_999, 7e-4 / 160_000.0),
        ];
        for (step, want) in rows {
            let got = schedule.at(step);
            // Both are computed in f64, in another order.
            assert!((got - want).abs() <= 1e-9 * want, "step {step}: got {got:e}, want {want:e}");
        }
    }

    #[test]
    fn no_warm_up_and_nothing_but_warm_up() {
        let schedule = Schedule { peak: 1.0, min: 0.0, warmup: 0, total: 4, decay: Decay::Cosine };
        assert_eq!(schedule.at(0), 1.0);
        let schedule = Schedule { peak: 1.0, min: 0.0, warmup: 4, total: 4, decay: Decay::Cosine };
        assert_eq!([0, 3, 9].map(|step| schedule.at(step)), [0.0, 1.0, 1.0]);
        let schedule = Schedule { peak: 1.0, min: 0.5, warmup: 1, total: 3, decay: Decay::Cosine };
        assert_eq!(schedule.at(0), 0.0);
        assert_eq!(schedule.at(1), 1.0);
    }
}
