//! The learning rate of every step.

use serde::{Deserialize, Serialize};

/// Linear warm-up, then half a cosine, set per step, exactly as the released code's `cosine_scheduler`.
///
/// Warm-up is `linspace(0, peak, warmup)` with both ends in it, so step 0 has rate 0 and step `warmup - 1` the peak; step
/// `warmup + i` has `min + (peak - min) (1 + cos(π i / n)) / 2` with `n = total - warmup`.
///
/// ```
/// use beit_train::Schedule;
/// let schedule = Schedule { peak: 1.5e-3, min: 1e-5, warmup: 6250, total: 500_000 };
/// assert_eq!(schedule.at(0), 0.0);
/// assert!((schedule.at(250_000) - 7.6981e-4).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// What the cosine falls to.
    pub min: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0; that of the last step for later ones.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        let step = step.min(self.total.saturating_sub(1));
        if step < self.warmup {
            return self.peak * step as f64 / (self.warmup - 1).max(1) as f64;
        }
        let n = (self.total - self.warmup) as f64;
        let progress = (step - self.warmup) as f64 / n;
        self.min + 0.5 * (self.peak - self.min) * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 800 epochs of ImageNet-1k at batch 2048, the check points of the released schedule.
    #[test]
    fn official_check_points() {
        let schedule = Schedule { peak: 1.5e-3, min: 1e-5, warmup: 6250, total: 500_000 };
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

    #[test]
    fn no_warm_up_and_nothing_but_warm_up() {
        let schedule = Schedule { peak: 1.0, min: 0.0, warmup: 0, total: 4 };
        assert_eq!(schedule.at(0), 1.0);
        let schedule = Schedule { peak: 1.0, min: 0.0, warmup: 4, total: 4 };
        assert_eq!([0, 3, 9].map(|step| schedule.at(step)), [0.0, 1.0, 1.0]);
        let schedule = Schedule { peak: 1.0, min: 0.5, warmup: 1, total: 3 };
        assert_eq!(schedule.at(0), 0.0);
        assert_eq!(schedule.at(1), 1.0);
    }
}
