//! What is not a number, told by its bits: a compiler for fast mathematics may assume that no number is NaN and remove a
//! comparison, and the maximum of a device passes NaN over.

use cubecl::prelude::*;

/// All bits but the sign.
const MAGNITUDE: u32 = 0x7FFF_FFFF;
/// The bits of infinity: all of the exponent. The magnitude of NaN is above it.
const INFINITY: u32 = 0x7F80_0000;
/// The bits of -0.
const SIGN: u32 = 0x8000_0000;

#[cube]
pub(crate) fn is_finite(x: f32) -> bool {
    u32::reinterpret(x) & INFINITY != INFINITY
}

#[cube]
pub(crate) fn is_nan(x: f32) -> bool {
    u32::reinterpret(x) & MAGNITUDE > INFINITY
}

/// Whether an element of a vector is NaN.
#[cube]
pub(crate) fn has_nan<N: Size>(x: Vector<f32, N>) -> bool {
    let magnitudes = magnitude(x);
    let mut most = magnitudes[0];
    #[unroll]
    for i in 1..N::value() {
        most = max(most, magnitudes[i]);
    }
    most > INFINITY
}

/// The position of the first NaN of a vector; where there is none, the number of its elements.
#[cube]
pub(crate) fn first_nan<N: Size>(x: Vector<f32, N>) -> u32 {
    let mut at = u32::cast_from(N::value());
    #[unroll]
    for i in 0..N::value() {
        at = min(at, select(is_nan(x[i]), u32::cast_from(i), at));
    }
    at
}

/// The bits of `x` without the sign.
#[cube]
fn magnitude<N: Size>(x: Vector<f32, N>) -> Vector<u32, N> {
    Vector::<u32, N>::reinterpret(x) & Vector::new(MAGNITUDE)
}

/// `y` where `x > 0` or `x` is NaN, else 0.
#[cube]
pub(crate) fn unless_negative<N: Size>(x: Vector<f32, N>, y: Vector<f32, N>) -> Vector<f32, N> {
    // Without the sign's bit, -0 to -∞ are 0 to ∞, and the bits of all else are above those.
    let bits = Vector::<u32, N>::reinterpret(x);
    let negative = (bits - Vector::new(SIGN)).less_equal(Vector::new(INFINITY));
    let zero = bits.equal(Vector::new(0u32));
    select_many(negative.or(zero), Vector::new(0.0f32), y)
}

/// The largest of four; NaN where one of them is.
#[cube]
pub(crate) fn largest_of_4<N: Size>(
    a: Vector<f32, N>,
    b: Vector<f32, N>,
    c: Vector<f32, N>,
    d: Vector<f32, N>,
) -> Vector<f32, N> {
    let largest = max(max(a, b), max(c, d));
    let magnitudes = max(max(magnitude(a), magnitude(b)), max(magnitude(c), magnitude(d)));
    let broken = magnitudes.greater_than(Vector::new(INFINITY));
    let bits = select_many(broken, magnitudes, Vector::<u32, N>::reinterpret(largest));
    Vector::<f32, N>::reinterpret(bits)
}

/// `p`, but at least the smallest normal number, where `p` is not negative; NaN stays NaN, since its bits are above those of all
/// numbers.
#[cube]
pub(crate) fn at_least_tiny<N: Size>(p: Vector<f32, N>) -> Vector<f32, N> {
    let bits = Vector::<u32, N>::reinterpret(p);
    Vector::<f32, N>::reinterpret(max(bits, Vector::new(comptime!(f32::MIN_POSITIVE.to_bits()))))
}

/// [`at_least_tiny`] of one number.
#[cube]
pub(crate) fn scalar_at_least_tiny(p: f32) -> f32 {
    f32::reinterpret(max(u32::reinterpret(p), comptime!(f32::MIN_POSITIVE.to_bits())))
}
