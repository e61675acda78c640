use super::hsv::Hsv;
use crate::image::Image;
use crate::rng::{SampleRng, at_most, between, chance};

/// Random changes of light and colour, each made or not: brightness, contrast, saturation, hue, and contrast last where it was not
/// second. This is mmsegmentation's `PhotoMetricDistortion`.
///
/// Hue and saturation are kept as real numbers, where OpenCV rounds hue to 2 degrees and saturation to 1/255, so that a change by
/// nothing changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhotometricDistortion {
    /// Most that is added to every channel, of 255, either way.
    pub brightness: f64,
    /// Least and greatest factor of every channel.
    pub contrast: [f64; 2],
    /// Least and greatest factor of the saturation.
    pub saturation: [f64; 2],
    /// Most by which the hue is turned either way, in steps of 2 degrees, of which 180 are a whole turn. Whole steps are drawn,
    /// the greatest left out; at most 180.
    pub hue: u32,
    /// Probability of each of the four.
    pub probability: f64,
}

impl PhotometricDistortion {
    /// Brightness up to 32, contrast and saturation 0.5 to 1.5, hue up to 36 degrees, each with probability 1/2: mmsegmentation's
    /// defaults, which the released code uses.
    pub const STANDARD: Self =
        Self { brightness: 32.0, contrast: [0.5, 1.5], saturation: [0.5, 1.5], hue: 18, probability: 0.5 };

    /// Changes the picture.
    pub fn apply(&self, image: &mut Image, rng: &mut SampleRng) {
        if chance(rng, self.probability) {
            image.add_light(between(rng, [-self.brightness, self.brightness]));
        }
        let contrast_is_second = chance(rng, 0.5);
        if contrast_is_second {
            self.contrast(image, rng);
        }
        let saturation = chance(rng, self.probability).then(|| between(rng, self.saturation));
        let turn = chance(rng, self.probability).then(|| self.turn(rng));
        if saturation.is_some() || turn.is_some() {
            image.adjust_colour(saturation.unwrap_or(1.0), turn.unwrap_or(0.0));
        }
        if !contrast_is_second {
            self.contrast(image, rng);
        }
    }

    fn contrast(&self, image: &mut Image, rng: &mut SampleRng) {
        if chance(rng, self.probability) {
            image.scale_light(between(rng, self.contrast));
        }
    }

    /// In degrees.
    fn turn(&self, rng: &mut SampleRng) -> f64 {
        let most = self.hue.min(180);
        let steps = at_most(rng, (2 * most).saturating_sub(1) as usize) as f64;
        2.0 * (steps - f64::from(most))
    }
}

impl Image {
    /// Adds to every channel; cut to 0..=255 and truncated.
    pub fn add_light(&mut self, amount: f64) {
        self.map_values(|value| value + amount as f32);
    }

    /// Multiplies every channel; cut to 255 and truncated.
    pub fn scale_light(&mut self, factor: f64) {
        self.map_values(|value| value * factor as f32);
    }

    /// Multiplies the saturation of each pixel, up to 1, and turns its hue by `degrees`, of -360 to 360. A factor of 1 and a turn of 0 leave
    /// the picture as it is.
    pub fn adjust_colour(&mut self, saturation: f64, degrees: f64) {
        let turn = (degrees / 60.0 % 6.0) as f32;
        for pixel in self.pixels_mut().as_chunks_mut::<3>().0 {
            let hsv = Hsv::of(*pixel).turned(turn);
            *pixel = Hsv { saturation: (hsv.saturation * saturation as f32).min(1.0), ..hsv }.rgb();
        }
    }

    fn map_values(&mut self, map: impl Fn(f32) -> f32) {
        // The conversion of a float to an integer truncates and saturates.
        let table: [u8; 256] = std::array::from_fn(|value| map(value as f32) as u8);
        self.pixels_mut().iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    }
}
