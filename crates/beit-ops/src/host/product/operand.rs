//! The left operand of a product: a matrix, or the patches of an image.

use super::patches::Patches;
#[cfg(feature = "std")]
use crate::host::real::Real;
use ndarray::ArrayView2;

/// A left operand `[M, K]`.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a, F> {
    /// A matrix in memory.
    Matrix(ArrayView2<'a, F>),
    /// One row for each pixel, one column for each tap.
    Patches(Patches<'a, F>),
    /// One row for each tap, one column for each pixel.
    PatchesTransposed(Patches<'a, F>),
}

impl<'a, F> From<ArrayView2<'a, F>> for Left<'a, F> {
    fn from(matrix: ArrayView2<'a, F>) -> Self {
        Self::Matrix(matrix)
    }
}

#[cfg(feature = "std")]
impl<F: Real> Left<'_, F> {
    /// `(M, K)`
    pub(crate) fn extents(&self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => matrix.dim(),
            Self::Patches(patches) => (patches.pixels(), patches.taps()),
            Self::PatchesTransposed(patches) => (patches.taps(), patches.pixels()),
        }
    }
}
