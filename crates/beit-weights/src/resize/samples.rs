//! Interpolation between samples that lie in the middles of equal cells, as `torch.nn.functional.interpolate` does it with
//! `align_corners=False`.

use super::weights::Weights;

/// Sharpness of the cubic kernel in torch (`UpSample.h`).
const SHARPNESS: f64 = -0.75;
/// The same where torch antialiases, which is Pillow's.
const ANTIALIASED_SHARPNESS: f64 = -0.5;
/// How far from its middle the cubic kernel reaches, in cells.
const REACH: f64 = 2.0;

/// `mode="bilinear"`: lines between the middles.
pub(super) fn linear(from: usize, to: usize) -> Weights {
    Weights::from_taps(from, to, |i| {
        let x = (middle(i, from, to) - 0.5).max(0.0);
        let (left, t) = (x.floor() as usize, x.fract());
        [(left, 1.0 - t), ((left + 1).min(from - 1), t)]
    })
}

/// `mode="bicubic"`: Keys' kernel over four samples. Samples outside are those at the edge.
pub(super) fn cubic(from: usize, to: usize) -> Weights {
    Weights::from_taps(from, to, |i| {
        let x = middle(i, from, to) - 0.5;
        let last = from as f64 - 1.0;
        [-1.0, 0.0, 1.0, 2.0].map(|step| {
            let sample = x.floor() + step;
            (sample.clamp(0.0, last) as usize, keys(sample - x, SHARPNESS))
        })
    })
}

/// `mode="bicubic", antialias=True`: the kernel is as wide as the wider cells. Samples outside do not count, and the others share
/// their weight.
pub(super) fn antialiased_cubic(from: usize, to: usize) -> Weights {
    let cell = (from as f64 / to as f64).max(1.0);
    Weights::from_taps(from, to, |i| {
        let x = middle(i, from, to);
        let first = (x - REACH * cell + 0.5).max(0.0) as usize;
        let end = ((x + REACH * cell + 0.5) as usize).min(from);
        let weight = |j: usize| keys((j as f64 + 0.5 - x) / cell, ANTIALIASED_SHARPNESS);
        let sum: f64 = (first..end).map(weight).sum();
        (first..end).map(move |j| (j, weight(j) / sum)).collect::<Vec<_>>()
    })
}

/// The middle of cell `i` of the resized axis, where the axis goes from 0 to `from`.
fn middle(i: usize, from: usize, to: usize) -> f64 {
    (i as f64 + 0.5) * from as f64 / to as f64
}

/// Keys' cubic convolution kernel: 1 at 0, 0 at the other whole numbers and beyond 2.
fn keys(x: f64, a: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < REACH => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of float64 in sums of a few terms.
    const ROUNDING: f64 = 1e-14;

    const ALL: [fn(usize, usize) -> Weights; 3] = [linear, cubic, antialiased_cubic];

    #[test]
    fn equal_lengths_change_nothing() {
        let values = [0.1, -0.7, 0.3, 11.0, -5.0];
        for weights in ALL {
            assert_eq!(weights(5, 5).apply(&values, 1), values);
        }
    }

    #[test]
    fn constants_stay_constant() {
        for weights in ALL {
            for (from, to) in [(1, 4), (4, 1), (7, 14), (14, 9), (3, 20)] {
                let got = weights(from, to).apply(&vec![3.0; from], 1);
                assert!(got.iter().all(|x| (x - 3.0).abs() <= ROUNDING), "{from} -> {to}: {got:?}");
            }
        }
    }

    #[test]
    fn twice_as_many_samples() {
        assert_eq!(linear(2, 4).apply(&[0.0, 4.0], 1), [0.0, 1.0, 3.0, 4.0]);
        // An impulse shows the kernel from right to left: at 7/4, 3/4, -1/4 and -5/4 of a sample, or mirrored.
        let shown = |resize: fn(usize, usize) -> Weights| {
            let shown = resize(8, 16).apply(&[0.0, 0.0, 0.0, 256.0, 0.0, 0.0, 0.0, 0.0], 1);
            <[f64; 8]>::try_from(&shown[3..11]).unwrap()
        };
        assert_eq!(shown(cubic), [-9.0, -27.0, 67.0, 225.0, 225.0, 67.0, -27.0, -9.0]);
        assert_eq!(shown(antialiased_cubic), [-6.0, -18.0, 58.0, 222.0, 222.0, 58.0, -18.0, -6.0]);
    }
}
