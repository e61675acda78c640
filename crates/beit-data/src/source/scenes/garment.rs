use super::ground::COLOURS;
use crate::image::Image;
use crate::rng::{SampleRng, at_most, between, chance};
use crate::transform::Filter;

/// Pixels of each side of a picture of Fashion-MNIST.
const SIDE: usize = 28;
/// How much larger garments are shown.
const SCALE: [f64; 2] = [0.8, 1.6];
/// Light of black and of white texture. Cloth of middle brightness has the colour of its tint, so that garments are on average as
/// bright as the ground.
const LIGHT: [f32; 2] = [0.6, 1.25];
/// Darker pixels are beside the garment: pictures of Fashion-MNIST have a black ground.
const LEAST: u8 = 16;
/// Probability that a garment is mirrored.
const FLIP: f64 = 0.5;

/// A garment of random size, direction and colour.
pub(super) struct Garment {
    picture: Image,
    tint: [f32; 3],
}

impl Garment {
    /// `grey [28, 28]`
    pub(super) fn draw(grey: &[u8], rng: &mut SampleRng) -> Self {
        let side = (SIDE as f64 * between(rng, SCALE)).round() as usize;
        let mut picture = Image::from_grey(SIDE, SIDE, grey).resize([side; 2], Filter::Bilinear);
        if chance(rng, FLIP) {
            picture.flip_horizontal();
        }
        Self { picture, tint: std::array::from_fn(|_| between(rng, COLOURS) as f32) }
    }

    /// Puts the garment at a random place, with its middle inside a picture of `side` pixels, and shows each pixel of it that is inside: its
    /// number in the picture and its colour.
    pub(super) fn visible(&self, side: usize, rng: &mut SampleRng, mut show: impl FnMut(usize, [u8; 3])) {
        let own = self.picture.width();
        // Places are counted from half a garment above and left of the picture.
        let (top, left) = (at_most(rng, side - 1), at_most(rng, side - 1));
        for (at, pixel) in self.picture.pixels().as_chunks::<3>().0.iter().enumerate() {
            let (y, x) = (top + at / own, left + at % own);
            let inside = |i: usize| (own / 2..own / 2 + side).contains(&i);
            if pixel[0] >= LEAST && inside(y) && inside(x) {
                show((y - own / 2) * side + x - own / 2, self.colour(pixel[0]));
            }
        }
    }

    fn colour(&self, grey: u8) -> [u8; 3] {
        let [black, white] = LIGHT;
        let light = black + (white - black) * f32::from(grey) / 255.0;
        // The conversion of a float to an integer cuts it at 255.
        self.tint.map(|tint| (tint * light).round() as u8)
    }
}
