//! RandAugment (arXiv 1909.13719) as the released code has it from timm 0.3.2, `timm/data/auto_augment.py`.

mod kind;
mod operation;
mod parse;
mod point;
mod sharpen;
mod warp;

pub use kind::{AugmentKind, AugmentLevel};
pub use operation::Augment;

use crate::image::Image;
use crate::rng::{SampleRng, at_most, chance, normal_pair};

/// Share of the drawn operations that are carried out.
const PROBABILITY: f64 = 0.5;

/// A few operations, drawn uniformly from fifteen and with replacement, each of which is carried out with probability 1/2.
///
/// It is read from and written as timm's `rand-m9-mstd0.5-inc1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// Mean magnitude, of 0 to [`AugmentLevel::MOST`].
    pub magnitude: f64,
    /// Standard deviation of the magnitudes. What is drawn is cut to 0 to [`AugmentLevel::MOST`].
    pub deviation: f64,
    /// Operations that are drawn for a picture.
    pub layers: usize,
    /// Whether operations change more the greater the magnitude; see [`AugmentLevel::increasing`].
    pub increasing: bool,
}

impl RandAugment {
    /// `rand-m9-mstd0.5-inc1`: BEiT fine-tuning (`--aa`).
    pub const STANDARD: Self = Self { magnitude: 9.0, deviation: 0.5, layers: 2, increasing: true };

    /// Changes the picture. `fill` is the colour of what comes in from outside of it.
    pub fn apply(&self, image: &mut Image, fill: [u8; 3], rng: &mut SampleRng) {
        for _ in 0..self.layers {
            if let Some(operation) = self.draw(rng) {
                operation.apply(image, fill);
            }
        }
    }

    /// One operation, or none. As many numbers are drawn in either case.
    fn draw(&self, rng: &mut SampleRng) -> Option<Augment> {
        let kind = AugmentKind::ALL[at_most(rng, AugmentKind::ALL.len() - 1)];
        let carried_out = chance(rng, PROBABILITY);
        let [noise, _] = normal_pair(rng);
        let magnitude = (self.magnitude + self.deviation * noise).clamp(0.0, AugmentLevel::MOST);
        let level = AugmentLevel { magnitude, negative: chance(rng, 0.5), increasing: self.increasing };
        carried_out.then(|| kind.at(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, sample_rng};

    #[test]
    fn operations_magnitudes_and_signs_have_their_distribution() {
        let draws = 60_000;
        let mut counts = [0_usize; 15];
        let (mut turned, mut sum, mut negative, mut most) = (0.0, 0.0, 0.0, 0.0_f64);
        for index in 0..draws {
            let mut rng = sample_rng(5, 0, index, Purpose::Sample);
            let Some(operation) = RandAugment::STANDARD.draw(&mut rng) else { continue };
            let kind = AugmentKind::ALL.into_iter().position(|kind| kind.makes(operation));
            counts[kind.expect("it is one of the fifteen")] += 1;
            if let Augment::Rotate { degrees } = operation {
                turned += 1.0;
                sum += degrees.abs() / 30.0;
                negative += f64::from(degrees < 0.0);
                most = most.max(degrees.abs());
            }
        }
        let total: usize = counts.iter().sum();
        // Five standard errors of 60,000 coins, and of shares of 1/30: sqrt(60,000 · (1/30) · (29/30)) = 44.
        assert!(total.abs_diff(30_000) < 612, "{total}");
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 220), "{counts:?}");
        // N(0.9, 0.05), of which 2.3 % are cut at 1, which takes 0.0004 off the mean; the error is 0.05 / sqrt(2000).
        assert!((sum / turned - 0.9).abs() < 0.0065 && most == 30.0, "{} {most}", sum / turned);
        assert!((negative / turned - 0.5).abs() < 0.056, "{negative} of {turned}");
    }

    #[test]
    fn the_same_numbers_change_a_picture_alike() {
        let image = Image::new(9, 7, (0..189).map(|i| (i * 41 % 256) as u8).collect());
        let changed = |index| {
            let mut image = image.clone();
            RandAugment::STANDARD.apply(&mut image, [128; 3], &mut sample_rng(1, 0, index, Purpose::Sample));
            image
        };
        assert!((0..50).all(|index| changed(index) == changed(index)));
        assert!((0..50).any(|index| changed(index) != image));
        let none = RandAugment { layers: 0, ..RandAugment::STANDARD };
        let mut same = image.clone();
        none.apply(&mut same, [128; 3], &mut sample_rng(1, 0, 0, Purpose::Sample));
        assert_eq!(same, image);
    }
}
