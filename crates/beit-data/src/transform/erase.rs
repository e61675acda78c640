use crate::image::CropBox;
use crate::rng::{SampleRng, at_most, between, chance, log_between, normal_pair};

/// Draws of area and aspect before a picture is left as it is.
const ATTEMPTS: usize = 10;

/// Random erasing: replaces a random rectangle by noise from N(0, 1), each pixel and channel its own (mode `pixel` of timm).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// Probability that anything is erased.
    pub probability: f64,
    /// Least and greatest share of the area; drawn uniformly.
    pub area: [f64; 2],
    /// Least and greatest height / width; drawn uniformly in its logarithm.
    pub aspect: [f64; 2],
}

impl RandomErasing {
    /// Probability 0.25, area 0.02 to 1/3, aspect 0.3 to 1/0.3: BEiT fine-tuning (`--reprob 0.25`).
    pub const STANDARD: Self = Self { probability: 0.25, area: [0.02, 1.0 / 3.0], aspect: [0.3, 1.0 / 0.3] };

    /// Changes normalised `pixels [C, H, W]` of `size [H, W]`; says which region, if any.
    pub fn apply(&self, pixels: &mut [f32], size: [usize; 2], rng: &mut SampleRng) -> Option<CropBox> {
        if !chance(rng, self.probability) {
            return None;
        }
        let region = (0..ATTEMPTS).find_map(|_| self.sample(size, rng))?;
        fill_with_noise(pixels, size, region, rng);
        Some(region)
    }

    /// A rectangle, strictly smaller than the picture in both sides.
    fn sample(&self, [height, width]: [usize; 2], rng: &mut SampleRng) -> Option<CropBox> {
        let area = (height * width) as f64 * between(rng, self.area);
        let aspect = log_between(rng, self.aspect);
        let h = (area * aspect).sqrt().round_ties_even() as usize;
        let w = (area / aspect).sqrt().round_ties_even() as usize;
        (h < height && w < width).then(|| CropBox {
            top: at_most(rng, height - h),
            left: at_most(rng, width - w),
            height: h,
            width: w,
        })
    }
}

fn fill_with_noise(pixels: &mut [f32], [height, width]: [usize; 2], region: CropBox, rng: &mut SampleRng) {
    for plane in pixels.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width).skip(region.top).take(region.height) {
            for pair in row[region.left..region.left + region.width].chunks_mut(2) {
                pair.iter_mut().zip(normal_pair(rng)).for_each(|(pixel, noise)| *pixel = noise as f32);
            }
        }
    }
}
