//! Sharpness.

use super::super::jitter::blend;
use crate::image::Image;

/// Weights of a pixel and of its eight neighbours: Pillow's `ImageFilter.SMOOTH`.
const CENTRE: u16 = 5;
const NEIGHBOUR: u16 = 1;
const SUM: u16 = CENTRE + 8 * NEIGHBOUR;

impl Image {
    /// Blends with the smoothed picture, whose borders are those of the picture: factor 0 is smoothed, 1 the picture, more than 1 sharper.
    pub fn adjust_sharpness(&mut self, factor: f64) {
        let (height, stride) = (self.height(), self.width() * 3);
        if height < 3 || stride < 9 {
            return;
        }
        let original = self.pixels().to_vec();
        let mut columns = vec![0; stride];
        for (y, out) in self.pixels_mut().chunks_exact_mut(stride).enumerate().take(height - 1).skip(1) {
            let [above, row, below] = [y - 1, y, y + 1].map(|y| &original[y * stride..][..stride]);
            for (i, sum) in columns.iter_mut().enumerate() {
                *sum = u16::from(above[i]) + u16::from(row[i]) + u16::from(below[i]);
            }
            let sums = columns.iter().zip(&columns[3..]).zip(&columns[6..]);
            let pixels = row[3..].iter().zip(&mut out[3..stride - 3]);
            for (((left, middle), right), (value, out)) in sums.zip(pixels) {
                *out = blend(smooth(left + middle + right, *value), *value, factor as f32);
            }
        }
    }
}

/// From the sum of a pixel and its neighbours to their weighted mean, to the nearest; no mean lies halfway, since the weights add up to an
/// odd number.
fn smooth(neighbourhood: u16, centre: u8) -> u8 {
    let sum = NEIGHBOUR * neighbourhood + (CENTRE - NEIGHBOUR) * u16::from(centre);
    ((2 * sum + SUM) / (2 * SUM)) as u8
}
