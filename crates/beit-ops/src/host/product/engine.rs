//! An engine computes the products inside an operation that runs many small ones, each in the calling thread.

use super::destination::Destination;
use super::operand::Left;
#[cfg(feature = "std")]
use crate::host::cached::Cacheable;
use crate::host::real::Real;
use ndarray::ArrayView2;

/// One way to compute products: a kernel of this crate, or the library.
pub(crate) trait Engine<F: Real>: Copy + Send + Sync {
    /// A right operand, prepared for several products.
    #[cfg(feature = "std")]
    type Right: Cacheable + Send + Sync + 'static;
    /// A right operand, prepared for several products.
    #[cfg(not(feature = "std"))]
    type Right: Send + Sync + 'static;
    /// Prepares `right [K, N]`, given as its transpose `[N, K]`.
    fn pack(self, transposed: ArrayView2<'_, F>) -> Self::Right;
    /// `c = left [M, K] · right [K, N]` in the calling thread.
    fn multiply_serial<'a>(self, left: impl Into<Left<'a, F>>, right: &Self::Right, into: Destination<'_, F>)
    where
        F: 'a;
}

/// An operation that is generic over the engine.
pub(crate) trait WithEngine<F: Real> {
    /// What it returns.
    type Output;
    /// Runs it.
    fn run<E: Engine<F>>(self, engine: E) -> Self::Output;
}
