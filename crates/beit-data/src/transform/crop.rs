use crate::image::CropBox;
use crate::rng::{SampleRng, at_most, between, log_between};

/// Draws of area and aspect before the central crop is taken (torchvision).
const ATTEMPTS: usize = 10;

/// Chooses a random region to be resized, as torchvision's `RandomResizedCrop` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// Least and greatest share of the picture's area; drawn uniformly.
    pub scale: [f64; 2],
    /// Least and greatest width / height; drawn uniformly in its logarithm.
    pub aspect: [f64; 2],
}

impl RandomResizedCrop {
    /// Area 0.08 to 1, aspect 3/4 to 4/3: torchvision's default, used by BEiT throughout.
    pub const STANDARD: Self = Self { scale: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0] };
    /// Area 0.9 to 1: for pictures of a few dozen pixels, whose models are judged by the whole. On Fashion-MNIST, training from
    /// scratch for 300 steps of 64 gives 65 % with whole images and 53 % with regions from 0.6 on.
    pub const TINY: Self = Self { scale: [0.9, 1.0], ..Self::STANDARD };
    /// Area 0.6 to 1: for pictures so small that a twelfth of one shows nothing.
    pub const SMALL: Self = Self { scale: [0.6, 1.0], ..Self::STANDARD };

    /// A region inside a picture of `height` x `width` pixels: w = round(sqrt(area · aspect)), h = round(sqrt(area / aspect)),
    /// each place equally likely. After ten regions that do not fit, the largest central one within the aspect limits.
    pub fn sample(&self, height: usize, width: usize, rng: &mut SampleRng) -> CropBox {
        let area = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let part = area * between(rng, self.scale);
            let aspect = log_between(rng, self.aspect);
            let w = (part * aspect).sqrt().round_ties_even() as usize;
            let h = (part / aspect).sqrt().round_ties_even() as usize;
            if (1..=height).contains(&h) && (1..=width).contains(&w) {
                let (top, left) = (at_most(rng, height - h), at_most(rng, width - w));
                return CropBox { top, left, height: h, width: w };
            }
        }
        self.centre(height, width)
    }

    fn centre(&self, height: usize, width: usize) -> CropBox {
        let [narrow, wide] = self.aspect;
        let aspect = width as f64 / height as f64;
        let round = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most);
        let (h, w) = if aspect < narrow {
            (round(width as f64 / narrow, height), width)
        } else if aspect > wide {
            (height, round(height as f64 * wide, width))
        } else {
            (height, width)
        };
        CropBox { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
    }
}

impl CropBox {
    /// The region in a picture of `size [height, width]` that was decoded as `to [height, width]`, smaller or not: edges go to the
    /// pixel at the same share of a side, and at least one row and one column remain.
    #[must_use]
    pub fn scaled(self, size: [usize; 2], to: [usize; 2]) -> Self {
        let span = |start: usize, length: usize, side: usize| {
            let place = |edge: usize| (2 * edge * to[side] + size[side]) / (2 * size[side]);
            let first = place(start).min(to[side] - 1);
            (first, place(start + length).max(first + 1) - first)
        };
        let ((top, height), (left, width)) = (span(self.top, self.height, 0), span(self.left, self.width, 1));
        Self { top, left, height, width }
    }

    /// How many times smaller a picture may be decoded, 1, 2, 4 or 8, so that this region of it still has `least [height, width]` pixels.
    #[must_use]
    pub fn reduction(self, least: [usize; 2]) -> u32 {
        let enough = |factor: &u32| {
            let factor = *factor as usize;
            self.height / factor >= least[0] && self.width / factor >= least[1]
        };
        [8, 4, 2].into_iter().find(enough).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_region_stays_large_enough() {
        let region = |height, width| CropBox { top: 0, left: 0, height, width };
        let rows = [
            ([224, 224], 1),
            ([447, 900], 1),
            ([448, 448], 2),
            ([900, 895], 2),
            ([896, 896], 4),
            ([9000, 1792], 8),
        ];
        for ([height, width], factor) in rows {
            assert_eq!(region(height, width).reduction([224, 224]), factor, "{height} x {width}");
        }
    }

    proptest! {
        #[test]
        fn a_scaled_region_lies_in_the_picture_near_its_place(
            size in [1_usize..3000, 1..3000], factor in prop::sample::select(&[1_usize, 2, 4, 8][..]), places in [0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0_f64],
        ) {
            let place = |share: f64, of: usize| (share * of as f64) as usize;
            let (top, left) = (place(places[0], size[0]), place(places[1], size[1]));
            let (height, width) = (1 + place(places[2], size[0] - top - 1), 1 + place(places[3], size[1] - left - 1));
            let (region, to) = (CropBox { top, left, height, width }, size.map(|side| side.div_ceil(factor)));
            let scaled = region.scaled(size, to);
            prop_assert!(scaled.height > 0 && scaled.top + scaled.height <= to[0]);
            prop_assert!(scaled.width > 0 && scaled.left + scaled.width <= to[1]);
            prop_assert!(factor > 1 || scaled == region);
            // The last pixel of a side may stand for fewer than the others, and one pixel always remains.
            let near = |place: usize, full: usize| (place * factor).abs_diff(full) < 2 * factor;
            prop_assert!(near(scaled.top, top) && near(scaled.left + scaled.width, left + width), "{scaled:?}");
        }
    }
}
