//! Numbers as colours.

use beit_data::Image;
use colorous::VIRIDIS;

/// How much of a pixel is the colour of its number.
const ALPHA: f32 = 0.6;

/// The colour of a number from 0 to 1, from dark violet over green to yellow: viridis, which is lighter the greater the number is, also
/// to people who see fewer colours.
#[must_use]
pub fn colour(share: f32) -> [u8; 3] {
    let colour = VIRIDIS.eval_continuous(f64::from(share).clamp(0.0, 1.0));
    [colour.r, colour.g, colour.b]
}

/// An image in grey under the colours of numbers from 0 to 1, one for each cell of a `[rows, cols]` grid.
pub(crate) fn coloured(image: &Image, shares: &[f32], [rows, cols]: [usize; 2]) -> Image {
    let mut painted = image.shown().into_owned();
    let (height, width) = (image.height(), image.width());
    for (at, pixel) in painted.pixels_mut().chunks_exact_mut(3).enumerate() {
        let cell = at / width * rows / height * cols + at % width * cols / width;
        // Luma of ITU-R BT.601, as everywhere where pictures become grey.
        let grey = 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
        let over = colour(shares[cell]);
        for (value, over) in pixel.iter_mut().zip(over) {
            *value = (ALPHA * f32::from(over) + (1.0 - ALPHA) * grey).round() as u8;
        }
    }
    painted
}

/// An image of `[height, width]` pixels of the colours of a grid's cells; those without one are white.
pub(crate) fn mosaic(
    [height, width]: [usize; 2],
    colours: &[Option<[u8; 3]>],
    [rows, cols]: [usize; 2],
) -> Image {
    let cell = |at: usize| at / width * rows / height * cols + at % width * cols / width;
    Image::new(
        height,
        width,
        (0..height * width).flat_map(|at| colours[cell(at)].unwrap_or([255; 3])).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greater_numbers_are_lighter() {
        // The ends of matplotlib's table.
        assert_eq!((colour(0.0), colour(1.0)), ([68, 1, 84], [253, 231, 37]));
        assert_eq!((colour(-1.0), colour(2.0)), (colour(0.0), colour(1.0)));
        let light = |share: f32| {
            let [r, g, b] = colour(share).map(f32::from);
            0.299 * r + 0.587 * g + 0.114 * b
        };
        assert!((0..20).all(|i| light(i as f32 / 20.0) < light((i + 1) as f32 / 20.0)));
    }

    #[test]
    fn every_cell_of_the_grid_has_its_colour() {
        let image = Image::from_grey(4, 6, &[100; 24]);
        let shares = [0.0, 0.25, 0.5, 0.75, 1.0, 0.1];
        let painted = coloured(&image, &shares, [2, 3]);
        for (cell, &share) in shares.iter().enumerate() {
            let want = colour(share).map(|over| (0.6 * f32::from(over) + 0.4 * 100.0).round() as u8);
            let tile = mosaic([4, 6], &shares.map(|share| (share < 1.0).then(|| colour(share))), [2, 3]);
            for (y, x) in [(0, 0), (1, 1)] {
                let at = (cell / 3 * 2 + y) * 6 + cell % 3 * 2 + x;
                assert_eq!(painted.pixels()[at * 3..][..3], want, "cell {cell}");
                let whole = if share < 1.0 { colour(share) } else { [255; 3] };
                assert_eq!(tile.pixels()[at * 3..][..3], whole, "cell {cell}");
            }
        }
    }
}
