//! The two element types of the host and their elementary functions.

mod elementary;

#[cfg(feature = "std")]
use super::buffers::Buffers;
use core::iter::Sum;
use core::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

/// `f32`, which trains and ships, or `f64`, the oracle of the gradients.
///
/// The functions of `f32` are branch-free polynomials that the compiler vectorises. Those of `f64` are libm's.
pub trait Real:
    ndarray::LinalgScalar
    + PartialOrd
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + Send
    + Sync
    + core::fmt::Debug
{
    /// The nearest value to a number in double precision.
    fn from_f64(v: f64) -> Self;
    /// The same value in double precision.
    fn to_f64(self) -> f64;
    /// `e^self`
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The pool that buffers of tensors are taken from and returned to.
    #[cfg(feature = "std")]
    #[doc(hidden)]
    fn buffers() -> &'static Buffers<Self>;
    /// The larger of two numbers. If one of them is NaN, the result is `other`: `bound.max(x)` carries on an `x` that is NaN, and
    /// `x.max(bound)` loses it.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    /// Whether this is not a number.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
}

impl Real for f64 {
    fn from_f64(v: f64) -> f64 {
        v
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn exp(self) -> f64 {
        libm::exp(self)
    }
    fn ln(self) -> f64 {
        libm::log(self)
    }
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    fn sqrt(self) -> f64 {
        libm::sqrt(self)
    }
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[cfg(feature = "std")]
    fn buffers() -> &'static Buffers<f64> {
        static F64: Buffers<f64> = Buffers::new();
        &F64
    }
}

impl Real for f32 {
    #[inline(always)]
    fn from_f64(v: f64) -> f32 {
        v as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        elementary::exp_f32(self)
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        elementary::ln_f32(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        elementary::erf_f32(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        #[cfg(feature = "std")]
        return std::primitive::f32::sqrt(self);
        #[cfg(not(feature = "std"))]
        libm::sqrtf(self)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[cfg(feature = "std")]
    fn buffers() -> &'static Buffers<f32> {
        static F32: Buffers<f32> = Buffers::new();
        &F32
    }
}
