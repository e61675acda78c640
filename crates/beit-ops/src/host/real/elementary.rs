//! The elementary functions of `f32`, free of branches so that the compiler vectorises loops that call them.

/// `e^x`, computed as `2^n e^r` with `|r| <= ln 2 / 2` and the Taylor polynomial of degree 7 for `e^r` (remainder below 1e-8).
///
/// `x` is clamped to [-87.3, 88.3], so the result lies between 1.2e-38 and 2.2e38 and is never denormal, zero or infinite.
/// NaN stays NaN.
#[inline(always)]
pub(super) fn exp_f32(x: f32) -> f32 {
    // ln 2 in two parts. The first part has so few bits that its product with n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = (core::f64::consts::LN_2 - LN2_HIGH as f64) as f32;
    // Adding 1.5·2^23 rounds to the nearest integer, which then stands in the low bits. Subtracting it gives the integer back.
    const ROUND: f32 = 12_582_912.0;
    // `clamp` keeps NaN too, but compiles to branches that do not vectorise.
    let x = if x > 88.3 { 88.3 } else { x };
    let x = if x < -87.3 { -87.3 } else { x };
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = (p * r) * r + r;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    scale * p + scale
}

/// `ln x`, computed as `n ln 2 + ln m` with `√½ <= m < √2` and `ln(1 + r) = r - r²/2 + r³ P(r)`. `P` is the minimax polynomial
/// of Cephes' `logf`.
///
/// Zero and positive denormals give -87.3, the logarithm of the smallest normal number. Negative numbers give NaN.
#[inline(always)]
pub(super) fn ln_f32(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    // ln 2 in two parts. The first part has so few bits that its product with n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = (core::f64::consts::LN_2 - LN2_HIGH as f64) as f32;
    let positive = if x < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { x };
    let bits = positive.to_bits() as i32;
    let n = (bits - core::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let r = f32::from_bits((bits - (n << 23)) as u32) - 1.0;
    let mut p = P[0];
    let mut i = 1;
    while i < P.len() {
        p = p * r + P[i];
        i += 1;
    }
    let n = n as f32;
    let z = r * r;
    let ln = (p * r * z + n * LN2_LOW - 0.5 * z) + r + n * LN2_HIGH;
    // Infinity and NaN are their own logarithms. A negative number has none.
    let ln = if positive < f32::INFINITY { ln } else { positive };
    if x < 0.0 { f32::NAN } else { ln }
}

/// `erf(x) = x P(x²) / Q(x²)`, with `x` clamped to [-4, 4] because erf is ±1 in f32 beyond it.
///
/// This is the rational minimax approximation of Eigen and XLA (coefficients from Eigen's `generic_fast_erf_float`). The test
/// below measures its largest absolute error against libm. NaN stays NaN.
#[inline(always)]
pub(super) fn erf_f32(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_5e-8,
        -2.101_024_1e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2];
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let z = x * x;
    let mut p = P[0];
    let mut i = 1;
    while i < P.len() {
        p = p * z + P[i];
        i += 1;
    }
    let mut q = Q[0];
    let mut i = 1;
    while i < Q.len() {
        q = q * z + Q[i];
        i += 1;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured: 1.5e-7 relative, a little over one unit in the last place.
    const EXP_RELATIVE: f64 = 2e-7;
    /// Measured: 4.0e-7 absolute.
    const ERF_ABSOLUTE: f64 = 5e-7;

    /// Relative to the result. Measured: 1.2e-7, one unit in the last place.
    const LN_RELATIVE: f64 = 2e-7;

    /// Every exponent, and the neighbourhood of 1, where the result passes through zero.
    #[test]
    fn ln_against_libm() {
        let mut worst = 0f64;
        let mut check = |x: f32| {
            let want = libm::log(f64::from(x));
            worst = worst.max((f64::from(ln_f32(x)) - want).abs() / want.abs());
        };
        (0x0080_0000..0x7f80_0000).step_by(2003).map(f32::from_bits).for_each(&mut check);
        (1..200_000).for_each(|i| check(1.0 - i as f32 * 2f32.powi(-24)));
        (1..200_000).for_each(|i| check(1.0 + i as f32 * 2f32.powi(-23)));
        assert!(worst < LN_RELATIVE, "{worst:e}");
        assert_eq!(ln_f32(1.0), 0.0);
        assert!((ln_f32(0.0) + 87.336_54).abs() < 1e-5);
        assert_eq!(ln_f32(f32::INFINITY), f32::INFINITY);
        assert!(ln_f32(f32::NAN).is_nan() && ln_f32(-1.0).is_nan());
    }

    #[test]
    fn exp_against_libm() {
        let mut worst = 0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let want = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp_f32(x)) - want).abs() / want);
        }
        assert!(worst < EXP_RELATIVE, "{worst:e}");
        assert!(exp_f32(f32::NAN).is_nan());
        assert!(exp_f32(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn erf_against_libm() {
        let mut worst = 0f64;
        for i in -60_000..60_000 {
            let x = i as f32 * 1e-4;
            worst = worst.max((f64::from(erf_f32(x)) - libm::erf(f64::from(x))).abs());
        }
        assert!(worst < ERF_ABSOLUTE, "{worst:e}");
        assert!(erf_f32(f32::NAN).is_nan());
    }
}
