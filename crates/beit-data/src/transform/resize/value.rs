//! Samples of either size, and the arithmetic of their sums.

use std::ops::{AddAssign, Mul};

/// Bits behind the point of a weight of bytes: with 8 of a pixel and two for the overshoot of a filter, a sum fits 32.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// A sample that is resampled.
pub(super) trait Value: Copy + Default {
    /// A weight, and a sum of weighted samples.
    type Number: Copy + AddAssign + Mul<Output = Self::Number>;
    /// What a sum begins with.
    const START: Self::Number;

    fn weight(weight: f64) -> Self::Number;
    fn number(self) -> Self::Number;
    fn of_sum(sum: Self::Number) -> Self;
}

/// Whole numbers: sums are exact in any order. They begin with a half, so that cutting off rounds.
impl Value for u8 {
    type Number = i32;
    const START: i32 = 1 << (PRECISION - 1);

    /// To the nearest multiple of `2^-PRECISION`, halves away from zero.
    #[inline(always)]
    fn weight(weight: f64) -> i32 {
        (weight * f64::from(1 << PRECISION) + 0.5_f64.copysign(weight)) as i32
    }

    #[inline(always)]
    fn number(self) -> i32 {
        i32::from(self)
    }

    #[inline(always)]
    fn of_sum(sum: i32) -> Self {
        (sum >> PRECISION).clamp(0, 255) as Self
    }
}

/// Double precision, summed in the order of the samples, as Pillow does for its mode `I;16`. What overshoots is cut at the greatest value;
/// Pillow then cuts each byte by itself.
impl Value for u16 {
    type Number = f64;
    const START: f64 = 0.0;

    #[inline(always)]
    fn weight(weight: f64) -> f64 {
        weight
    }

    #[inline(always)]
    fn number(self) -> f64 {
        f64::from(self)
    }

    /// To the nearest; the conversion saturates.
    #[inline(always)]
    fn of_sum(sum: f64) -> Self {
        (sum + 0.5) as Self
    }
}
