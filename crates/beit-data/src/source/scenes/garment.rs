use crate::image::Image;
use crate::rng::{SampleRng, at_most, between, chance};
use crate::transform::Filter;

/// Pixels of each side of a picture of Fashion-MNIST.
const SIDE: usize = 28;
/// How much larger garments are shown.
const SCALE: [f64; 2] = [0.8, 1.6];
/// Darker pixels are beside the garment: pictures of Fashion-MNIST have a black ground.
const LEAST: u8 = 16;
/// Probability that a garment is mirrored.
const FLIP: f64 = 0.5;

/// A garment of random size and direction, in its own greys.
pub(super) struct Garment(Image);

impl Garment {
    /// `grey [28, 28]`
    pub(super) fn draw(grey: &[u8], rng: &mut SampleRng) -> Self {
        let side = (SIDE as f64 * between(rng, SCALE)).round() as usize;
        let mut picture = Image::from_grey(SIDE, SIDE, grey).resize([side; 2], Filter::Bilinear);
        if chance(rng, FLIP) {
            picture.flip_horizontal();
        }
        Self(picture)
    }

    /// Puts the garment at a random place, with its middle inside a picture of `side` pixels, and shows each pixel of it that is inside: its
    /// number in the picture and its colour.
    pub(super) fn visible(&self, side: usize, rng: &mut SampleRng, mut show: impl FnMut(usize, [u8; 3])) {
        let own = self.0.width();
        // Places are counted from half a garment above and left of the picture.
        let (top, left) = (at_most(rng, side - 1), at_most(rng, side - 1));
        for (at, pixel) in self.0.pixels().as_chunks::<3>().0.iter().enumerate() {
            let (y, x) = (top + at / own, left + at % own);
            let inside = |i: usize| (own / 2..own / 2 + side).contains(&i);
            if pixel[0] >= LEAST && inside(y) && inside(x) {
                show((y - own / 2) * side + x - own / 2, *pixel);
            }
        }
    }
}
