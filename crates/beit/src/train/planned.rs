//! What a run will take.

use super::advice::time_for;
use serde::Serialize;

/// What a run will take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedRun {
    /// Optimiser steps.
    pub steps: u64,
    /// Images of a step of all processes.
    pub images_per_step: u64,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Floating-point operations of a step of all processes, without the tokenizer's.
    pub flops_per_step: u64,
    /// The most bytes that are alive at once, in one process.
    pub peak_bytes: usize,
    /// Images a second of one process, forward and backward; none where nobody measured it.
    pub images_per_second: Option<f64>,
}

impl PlannedRun {
    /// Seconds of the run with one process, where the speed was measured.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let images = self.steps as f64 * self.images_per_step as f64;
        self.images_per_second.map(|rate| images / rate)
    }

    /// Work, memory and time, for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (steps, flops) = (self.steps, self.flops_per_step as f64);
        let mut text = format!(
            "{:.2} M parameters; a step of {} images: {:.1} GFLOP, {:.0} MiB; the run: {steps} steps, {:.1} TFLOP (tokenizer not counted)",
            self.parameters as f64 / 1e6,
            self.images_per_step,
            flops / 1e9,
            self.peak_bytes as f64 / (1 << 20) as f64,
            flops * steps as f64 / 1e12,
        );
        if let (Some(rate), Some(seconds)) = (self.images_per_second, self.seconds()) {
            text += &format!(
                "\none process with {rate:.1} images/s: {} (tokenizer, optimiser and data not counted)",
                time_for(seconds)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_as_long_as_its_images() {
        let plan = PlannedRun {
            steps: 500_000,
            images_per_step: 2048,
            parameters: 92_000_000,
            flops_per_step: 1 << 40,
            peak_bytes: 1 << 30,
            images_per_second: Some(1024.0),
        };
        assert_eq!(plan.seconds(), Some(1e6));
        assert!(
            plan.sentence().contains("one process with 1024.0 images/s: 11.6 days"),
            "{}",
            plan.sentence()
        );
        let unknown = PlannedRun { images_per_second: None, ..plan };
        assert_eq!((unknown.seconds(), unknown.sentence().lines().count()), (None, 1));
    }
}
