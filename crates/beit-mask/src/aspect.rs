//! Sides of blocks whose aspect is log-uniform.

use crate::draw::STEP;
use crate::rect::{LARGEST, WHOLE, sides};

/// Pieces that the interval of logarithms is cut into.
const PIECES: usize = 32;
/// Bits of a 53-bit draw below those that say which piece it is in.
const BELOW: u32 = 53 - PIECES.ilog2();
/// Far more than all roundings of a square root, relative to it.
const ROUNDING: f64 = 1e-14;

/// Draws sides for aspects e^x, x uniform in an interval.
///
/// Whole sides seldom need all digits of an exponential. A table and a short series give square roots to seven of them, and where
/// a root lies so near to a half that this might not decide, the exponential does: the result is the same, sooner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aspects {
    from: f64,
    span: f64,
    /// e^x and e^-x in the middle of each piece.
    middle: [[f64; 2]; PIECES],
    /// Bound on the error of a root from the series, relative to it.
    error: f64,
}

impl Aspects {
    /// Of an interval of aspects.
    pub(crate) fn new(aspect: [f64; 2]) -> Self {
        let [from, to] = aspect.map(libm::log);
        let span = to - from;
        let middle = core::array::from_fn(|i| {
            let x = from + span * ((i as f64 + 0.5) / PIECES as f64);
            [libm::exp(x), libm::exp(-x)]
        });
        // Up to |r| = 1/2 the series lacks less than r^4 / 12 of e^r, and half as much of its root; beyond, nothing is certain.
        let r = span / (2 * PIECES) as f64;
        let error = if r < 0.5 { r * r * r * r / 24.0 + ROUNDING } else { 1.0 };
        Self { from, span, middle, error }
    }

    /// Height and width of a block of `area` cells whose aspect is at `draw` · 2^-53 of the interval.
    #[inline(always)]
    pub(crate) fn sides(&self, area: f64, draw: u64) -> (usize, usize) {
        let [of_height, of_width] = self.middle[(draw >> BELOW) as usize % PIECES];
        let from_middle = (draw & ((1 << BELOW) - 1)) as i64 - (1 << (BELOW - 1));
        let r = from_middle as f64 * (STEP * self.span);
        let square = r * r;
        let (even, odd) = (1.0 + 0.5 * square, r + square * r * (1.0 / 6.0));
        let height = libm::sqrt(area * of_height * (even + odd));
        let width = libm::sqrt(area * of_width * (even - odd));
        let rounded = [height, width].map(|side| side.min(LARGEST) + WHOLE);
        let decided = |side: f64, rounded: f64| (side - (rounded - WHOLE)).abs() + side * self.error < 0.5;
        if decided(height, rounded[0]) && decided(width, rounded[1]) {
            let [height, width] = rounded.map(|side| side.to_bits() as u32 as usize);
            return (height, width);
        }
        self.exact(area, draw)
    }

    #[cold]
    fn exact(&self, area: f64, draw: u64) -> (usize, usize) {
        sides(area, libm::exp(self.from + self.span * (draw as f64 * STEP)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_rounds_as_the_exponential_does() {
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        for aspect in [[0.3, 1.0 / 0.3], [1.0, 1.0], [1e-3, 1e3], [1e-30, 1e30], [0.5, 0.500_001]] {
            let aspects = Aspects::new(aspect);
            for most in [75.0, 400.0, 1e6] {
                for _ in 0..20_000 {
                    let (area, draw) = (1.0 + draw() as f64 * STEP * most, draw());
                    assert_eq!(
                        aspects.sides(area, draw),
                        aspects.exact(area, draw),
                        "{aspect:?} {area} {draw}"
                    );
                }
            }
        }
    }

    /// Where a root is a half to within less than what the series leaves out.
    #[test]
    fn near_a_half_the_exponential_decides() {
        let aspects = Aspects::new([0.3, 1.0 / 0.3]);
        for draw in (0..1 << 53).step_by((1 << 53) / 997) {
            let aspect = libm::exp(aspects.from + aspects.span * (draw as f64 * STEP));
            for half in [3.5, 4.5, 12.5] {
                for off in [-1e-9, -1e-11, 1e-11, 1e-9] {
                    let root = half + off;
                    let area = root * root / aspect;
                    assert_eq!(aspects.sides(area, draw), sides(area, aspect), "{root} of {aspect}");
                }
            }
        }
    }
}
