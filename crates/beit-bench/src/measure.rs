//! Time on a device that may run behind.

use beit_ops::{Ops, Shape};
use std::time::Instant;

/// How times are taken.
pub(super) struct Stopwatch {
    /// Of which the median is taken.
    pub(super) runs: usize,
    /// The least length of a run.
    pub(super) seconds: f64,
}

/// Calls before anything is timed: kernels are compiled in the first, weights packed in the second.
const WARM_UP: usize = 2;

/// What comes before the first time is taken.
pub(super) fn warm_up(run: &mut dyn FnMut()) {
    (0..WARM_UP).for_each(|_| run());
}

impl Stopwatch {
    /// Seconds of one call. One call more than the runs, as of the peer: it says how many fill a run.
    pub(super) fn time<O: Ops>(&self, ops: &O, run: &mut dyn FnMut()) -> anyhow::Result<f64> {
        wait(ops)?;
        let once = seconds(ops, 1, run)?;
        let calls = (self.seconds / once).ceil().clamp(1.0, 10_000.0) as usize;
        let mut all = (0..self.runs).map(|_| seconds(ops, calls, run)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(median(&mut all))
    }
}

pub(super) fn seconds<O: Ops>(ops: &O, calls: usize, run: &mut dyn FnMut()) -> anyhow::Result<f64> {
    let start = Instant::now();
    (0..calls).for_each(|_| run());
    wait(ops)?;
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

/// Until the device has done everything: what is read was written last.
fn wait<O: Ops>(ops: &O) -> anyhow::Result<()> {
    ops.read(&ops.zeros([1]))?;
    Ok(())
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    (low + high) / 2.0
}

/// Numbers between -0.05 and 0.05 without a pattern that a multiplier could save work on.
pub(super) fn filled<O: Ops>(ops: &O, shape: Shape) -> O::Tensor {
    let number = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
    let values: Vec<f32> = (0..shape.elements()).map(|i| 0.1 * (number(i) - 0.5)).collect();
    ops.upload(shape, &values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_ops::Host;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn calls_are_counted() {
        let (mut calls, ops) = (0, Host::<f32>::new());
        let stopwatch = Stopwatch { runs: 3, seconds: 1e-9 };
        let time = stopwatch.time(&ops, &mut || calls += 1).expect("the host works");
        assert!(time > 0.0);
        assert_eq!(calls, 1 + 3);
    }

    #[test]
    fn fillings_differ() {
        let x = filled(&Host::<f32>::new(), Shape::from([64, 64]));
        let (low, high) = x.iter().fold((0.0_f32, 0.0_f32), |(l, h), &v| (l.min(v), h.max(v)));
        assert!((-0.05..-0.045).contains(&low) && (0.045..0.05).contains(&high), "{low} {high}");
    }
}
