//! The space in which patches are near or far.

use alloc::vec;
use alloc::vec::Vec;

/// A linear map of patches: the mean patch `μ` of the data is taken away, and what is left of the mean `m_c` of each channel is
/// weighed by `mean_weight`.
///
/// `f(x)_c = (y_c - m_c) + mean_weight · m_c` with `y = x - μ` and `m_c` the mean of channel c of y.
///
/// For patches of n pixels a channel, whose differences have the channel means `m_c`, the squared distance is therefore
///
/// `|f(x) - f(x')|² = |x - x'|² - (1 - mean_weight²) · n · Σ_c m_c²`.
///
/// A `mean_weight` of 1 is the distance of plain pixels. Below it, structure counts for more than brightness; at 0 brightness does not
/// count at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// `[C·h·w]`
    mean: Vec<f32>,
    /// Pixels of a channel of a patch.
    plane: usize,
    mean_weight: f32,
}

impl Features {
    /// For `patches [M, C·h·w]`, at least one, of C channels of `plane = h·w` pixels.
    #[must_use]
    pub fn new(patches: &[f32], [channels, plane]: [usize; 2], mean_weight: f32) -> Self {
        let elements = channels * plane;
        let mut sums = vec![0.0f64; elements];
        for patch in patches.chunks_exact(elements) {
            sums.iter_mut().zip(patch).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let count = (patches.len() / elements).max(1) as f64;
        let mean = sums.into_iter().map(|sum| (sum / count) as f32).collect();
        Self { mean, plane, mean_weight }
    }

    /// The features of a patch: `x [C·h·w] -> f(x) [C·h·w]`.
    #[must_use]
    pub fn describe(&self, patch: &[f32]) -> Vec<f32> {
        let mut y: Vec<f32> = patch.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        self.weigh(&mut y);
        y
    }

    /// Weighs the mean of each channel. The map is its own transpose, `a · f(y) = f(a) · y`.
    fn weigh(&self, y: &mut [f32]) {
        for channel in y.chunks_exact_mut(self.plane) {
            let mean = channel.iter().sum::<f32>() / self.plane as f32;
            let less = (1.0 - self.mean_weight) * mean;
            channel.iter_mut().for_each(|y| *y -= less);
        }
    }

    /// Weight and bias of a centroid's logit at plain pixels: `w · x + b = a · f(x) - |a|²/2`.
    pub(super) fn logit(&self, centroid: &[f32]) -> (Vec<f32>, f32) {
        let mut weight = centroid.to_vec();
        self.weigh(&mut weight);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let bias = -dot(&weight, &self.mean) - dot(centroid, centroid) / 2.0;
        (weight, bias as f32)
    }
}
