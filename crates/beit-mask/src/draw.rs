//! Random numbers, one 64-bit word each.

use rand::Rng;

/// Distance of neighbouring [`unit`]s.
pub(crate) const STEP: f64 = 1.0 / (1_u64 << 53) as f64;

/// 53 bits.
pub(crate) fn bits<R: Rng + ?Sized>(rng: &mut R) -> u64 {
    rng.next_u64() >> 11
}

/// Uniform in [0, 1) with 53 bits.
pub(crate) fn unit<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    bits(rng) as f64 * STEP
}

/// `from + (to - from) · u`. The interval may be reversed: the released code relies on that when fewer cells are
/// missing than the smallest block has.
pub(crate) fn between<R: Rng + ?Sized>(rng: &mut R, from: f64, to: f64) -> f64 {
    from + (to - from) * unit(rng)
}

/// Uniform in 0..n, for n > 0: floor(n · u), u as [`unit`] draws it. The bias, n / 2^53, is far below anything a mask could show.
pub(crate) fn below<R: Rng + ?Sized>(rng: &mut R, n: usize) -> usize {
    ((u128::from(bits(rng)) * n as u128) >> 53) as usize
}
