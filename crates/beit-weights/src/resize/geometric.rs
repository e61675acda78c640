//! Offsets that grow like a geometric sequence: near ones stay what they are, far ones are stretched.

use core::ops::Range;

/// Where the released code looks for the ratio of the sequence (`beit/run_class_finetuning.py`).
const RATIOS: Range<f64> = 1.01..1.5;
/// How close it looks (same place).
const PRECISION: f64 = 1e-6;

/// The ratio with which the offsets -`from`..=`from` of a window reach `to`.
///
/// `q: 1 + q + ... + q^(from-1) = to`, by bisection
///
/// The last middle, not the last bracket, as in the released code. Where no ratio of the bracket fits it stops at an end: a window
/// that shrinks or stays keeps 1.01, one that grows by more than the sequence can has 1.5.
pub(super) fn ratio(from: usize, to: usize) -> f64 {
    let (mut low, mut high, mut q) = (RATIOS.start, RATIOS.end, RATIOS.start);
    while high - low > PRECISION {
        q = (low + high) / 2.0;
        let reached = (1.0 - q.powi(from as i32)) / (1.0 - q);
        if reached > to as f64 { high = q } else { low = q }
    }
    q
}

/// Where the learned offsets -`from`..=`from` are put when they shall reach `to`.
///
/// `x[±k] = ±(1 + q + ... + q^(k-1))`, so -1, 0 and 1 are exactly themselves.
pub(super) fn learned_offsets(from: usize, to: usize) -> Vec<f64> {
    let q = ratio(from, to);
    let distances = (0..from).scan(0.0, |distance, k| {
        *distance += q.powi(k as i32);
        Some(*distance)
    });
    let distances: Vec<f64> = distances.collect();
    let before = distances.iter().rev().map(|x| -x);
    before.chain([0.0]).chain(distances.iter().copied()).collect()
}

/// The offsets -`reach`..=`reach` of a window.
pub(super) fn offsets(reach: usize) -> Vec<f64> {
    (0..=2 * reach).map(|i| i as f64 - reach as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a unit of the last digit of the expected values.
    const RATIO_DIGITS: f64 = 5e-10;
    const DISTANCE_DIGITS: f64 = 5e-6;

    #[test]
    fn ratios_of_the_released_code() {
        // From 27 and 47 offsets, as the released code prints them.
        let cases = [
            (27, 47, 1.090307446),
            (27, 63, 1.134917812),
            (27, 79, 1.168503628),
            (27, 55, 1.114427624),
            (47, 63, 1.026143360),
            (27, 13, 1.010000935),
        ];
        for (from, to, want) in cases {
            let got = ratio(from / 2, to / 2);
            assert!((got - want).abs() <= RATIO_DIGITS, "{from} -> {to}: got {got}, want {want}");
        }
    }

    #[test]
    fn distances_of_the_released_code() {
        let want = [
            1.0, 2.09031, 3.27908, 4.57520, 5.98838, 7.52917, 9.20911, 11.04076, 13.03783, 15.21524,
            17.58929, 20.17773, 22.99993,
        ];
        let got = learned_offsets(13, 23);
        assert_eq!((got.len(), got[13]), (27, 0.0));
        for (k, want) in want.into_iter().enumerate() {
            assert!((got[14 + k] - want).abs() <= DISTANCE_DIGITS, "{k}: got {}, want {want}", got[14 + k]);
            assert_eq!(got[12 - k], -got[14 + k]);
        }
    }

    #[test]
    fn the_smallest_windows() {
        assert_eq!(learned_offsets(0, 5), [0.0]);
        assert_eq!(learned_offsets(1, 5), [-1.0, 0.0, 1.0]);
        assert_eq!(offsets(0), [0.0]);
        assert_eq!(offsets(2), [-2.0, -1.0, 0.0, 1.0, 2.0]);
    }
}
