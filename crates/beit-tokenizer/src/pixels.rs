//! The interval that pixels live in: the logit of 0 and 1 is infinite, so both are kept away (arXiv 2102.12092, appendix A.3).

use alloc::vec;
use alloc::vec::Vec;

/// Pixels keep this distance from 0 and 1 (openai/DALL-E `utils.py`, `logit_laplace_eps`).
pub const EPS: f32 = 0.1;

/// `0.8 x + 0.1`: a pixel in 0 to 1 to what the encoder takes.
#[inline]
#[must_use]
pub fn map(x: f32) -> f32 {
    (1.0 - 2.0 * EPS) * x + EPS
}

/// [`map`] of a pixel that has been moved by up to half of `width`, `uniform` being a random number in 0 to 1.
///
/// Pictures with flat areas have points of unlimited density, and a likelihood spends itself on them. A pixel spread over an
/// interval has none. (DALL-E's photographs have no such areas; its `width` is 0.)
///
/// ```
/// use beit_tokenizer::pixels::{dithered, map};
/// assert_eq!(dithered(0.5, 0.0, 0.9), map(0.5));
/// assert!(dithered(0.0, 0.2, 0.01) > 0.0 && dithered(1.0, 0.2, 0.99) < 1.0);
/// ```
#[inline]
#[must_use]
pub fn dithered(x: f32, width: f32, uniform: f32) -> f32 {
    map(x + width * (uniform - 0.5))
}

/// The inverse of [`map`], clamped to 0 to 1.
#[inline]
#[must_use]
pub fn unmap(x: f32) -> f32 {
    ((x - EPS) / (1.0 - 2.0 * EPS)).clamp(0.0, 1.0)
}

/// The most likely pixels: `params [B, H, W, 2C]`, the first C of each row `mu`, to `unmap(sigmoid(mu)) [B, C, H, W]`.
pub(crate) fn from_params(params: &[f32], [height, width, channels]: [usize; 3]) -> Vec<f32> {
    let area = height * width;
    let mut pixels = vec![0.0; params.len() / 2];
    let images = params.chunks_exact(2 * channels * area).zip(pixels.chunks_exact_mut(channels * area));
    for (params, pixels) in images {
        for (i, row) in params.chunks_exact(2 * channels).enumerate() {
            for (c, &mu) in row[..channels].iter().enumerate() {
                pixels[c * area + i] = unmap(sigmoid(mu));
            }
        }
    }
    pixels
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_and_back() {
        for pixel in 0..=255u8 {
            let x = f32::from(pixel) / 255.0;
            assert!((unmap(map(x)) - x).abs() < 1e-6, "{pixel}");
        }
        assert_eq!(unmap(0.0), 0.0);
        assert_eq!(unmap(1.0), 1.0);
    }

    /// Two pixels of two channels: the means are moved into planes, the scales are not looked at.
    #[test]
    fn parameters_become_planes() {
        let logit = |x: f32| (map(x) / (1.0 - map(x))).ln();
        let params = [logit(0.25), logit(0.5), 9.0, 9.0, logit(0.75), logit(1.0), 9.0, 9.0];
        let pixels = from_params(&params, [1, 2, 2]);
        for (got, want) in pixels.iter().zip([0.25, 0.75, 0.5, 1.0]) {
            assert!((got - want).abs() < 1e-6, "{pixels:?}");
        }
    }
}
