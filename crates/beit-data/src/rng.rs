//! Randomness as a function of (seed, epoch, index, purpose): counter-based, so it depends neither on threads nor on ranks nor
//! on where a run was resumed.

use rand::{RngExt, SeedableRng};

/// The generator behind every random decision on the host: ChaCha with 8 rounds.
pub type SampleRng = rand_chacha::ChaCha8Rng;

/// What random numbers are for. Two purposes never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Augmentation and mask of one image.
    Sample,
    /// The order of an epoch.
    Shuffle,
    /// Which images of a batch skip a residual branch.
    DropPath,
    /// Mixing images of a batch (Mixup, CutMix).
    Mix,
    /// Choosing a subset of labels.
    Subset,
    /// Initial weights.
    Init,
    /// Noise inside the model (Gumbel, dropout).
    Noise,
    /// Which patches of an image are looked at.
    Patches,
    /// Which training images are held out for validation.
    Validation,
    /// What a composed scene shows.
    Scene,
    /// Whatever else a batch is changed by before a model sees it.
    Batch,
}

/// A generator for one purpose of one sample in one epoch. `index` may as well be a step or a rank: whatever numbers the
/// draws. The first three and the purpose are the key, `index` is the stream, so no two generators overlap.
#[must_use]
pub fn sample_rng(seed: u64, epoch: u64, index: u64, purpose: Purpose) -> SampleRng {
    let words = [seed, epoch, purpose as u64, u64::from_le_bytes(*b"beitdata")];
    let mut key = [0; 32];
    key.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    let mut rng = SampleRng::from_seed(key);
    rng.set_stream(index);
    rng
}

/// The numbers 0..n in an order that depends on (seed, epoch) only.
#[must_use]
pub fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(&mut order, &mut sample_rng(seed, epoch, 0, Purpose::Shuffle));
    order
}

/// Fisher-Yates.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut SampleRng) {
    for last in (1..items.len()).rev() {
        items.swap(last, at_most(rng, last));
    }
}

/// Uniform in [low, high), or constant where they are equal.
pub(crate) fn between(rng: &mut SampleRng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// exp of a uniform number between the logarithms of the bounds.
pub(crate) fn log_between(rng: &mut SampleRng, bounds: [f64; 2]) -> f64 {
    between(rng, bounds.map(f64::ln)).exp()
}

/// Uniform in 0..=last, the same on 32-bit and 64-bit machines.
pub(crate) fn at_most(rng: &mut SampleRng, last: usize) -> usize {
    rng.random_range(0..=last as u64) as usize
}

/// True with probability `p`.
pub(crate) fn chance(rng: &mut SampleRng, p: f64) -> bool {
    rng.random::<f64>() < p
}

/// Two independent numbers from N(0, 1) (Box and Muller).
pub(crate) fn normal_pair(rng: &mut SampleRng) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    [radius * angle.cos(), radius * angle.sin()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coordinate_changes_the_numbers() {
        let first = |seed, epoch, index, purpose| sample_rng(seed, epoch, index, purpose).random::<u64>();
        let mut draws = vec![
            first(0, 0, 0, Purpose::Sample),
            first(1, 0, 0, Purpose::Sample),
            first(0, 1, 0, Purpose::Sample),
            first(0, 0, 1, Purpose::Sample),
            first(0, 0, 0, Purpose::DropPath),
        ];
        assert_eq!(draws[0], first(0, 0, 0, Purpose::Sample));
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 5);
    }

    #[test]
    fn shuffling_is_a_permutation_of_its_seed_and_epoch() {
        let order = shuffled(100, 7, 3);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order, shuffled(100, 7, 3));
        assert_ne!(order, shuffled(100, 7, 4));
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut rng = sample_rng(1, 0, 0, Purpose::Noise);
        let draws: Vec<f64> = (0..50_000).flat_map(|_| normal_pair(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        // Five standard errors: 5 / sqrt(1e5) and 5 · sqrt(2 / 1e5).
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023, "{mean} {variance}");
    }
}
