//! Host tensors: a shape and its elements, row-major.

use super::real::Real;
use crate::Shape;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use ndarray::{ArrayView2, ArrayViewMut2};

/// A tensor of the host: its elements, row-major, behind `Deref`. Under the feature `std` its buffer serves another tensor
/// once it is dropped.
pub struct Array<F: Real> {
    pub(super) shape: Shape,
    /// At least as many as the shape has elements.
    buffer: Vec<F>,
    #[cfg(feature = "std")]
    kept: super::kept::Kept,
}

impl<F: Real> Deref for Array<F> {
    type Target = [F];
    #[inline]
    fn deref(&self) -> &[F] {
        &self.buffer[..self.shape.elements()]
    }
}

impl<F: Real> DerefMut for Array<F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [F] {
        #[cfg(feature = "std")]
        self.kept.clear();
        &mut self.buffer[..self.shape.elements()]
    }
}

impl<F: Real> Array<F> {
    /// The extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn new(shape: Shape, buffer: Vec<F>) -> Self {
        Self {
            shape,
            buffer,
            #[cfg(feature = "std")]
            kept: super::kept::Kept::default(),
        }
    }

    /// A copy of a parameter in another order, which it keeps if it is used again before it changes.
    #[cfg(feature = "std")]
    pub(crate) fn copied<T: super::kept::Keep + core::any::Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> T,
    ) -> super::kept::Copy<'_, T> {
        self.kept.get(make)
    }
}

impl<'a, F: Real> IntoIterator for &'a Array<F> {
    type Item = &'a F;
    type IntoIter = core::slice::Iter<'a, F>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Of shape and elements.
impl<F: Real> PartialEq for Array<F> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && **self == **other
    }
}

impl<F: Real> Clone for Array<F> {
    fn clone(&self) -> Self {
        let mut copy = unwritten(self.shape);
        copy.copy_from_slice(self);
        copy
    }
}

impl<F: Real> Drop for Array<F> {
    fn drop(&mut self) {
        give(mem::take(&mut self.buffer));
    }
}

impl<F: Real> fmt::Debug for Array<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.shape)?;
        f.debug_list().entries(self.iter()).finish()
    }
}

pub(crate) fn array<F: Real>(shape: impl Into<Shape>, data: Vec<F>) -> Array<F> {
    let shape = shape.into();
    assert_eq!(shape.elements(), data.len(), "a tensor of shape {shape} has another number of elements");
    #[cfg(feature = "std")]
    F::buffers().adopt(&data);
    Array::new(shape, data)
}

pub(crate) fn zeros<F: Real>(shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    Array::new(shape, scratch_zeroed(shape.elements()))
}

/// A tensor that the caller writes before it reads: its elements hold anything.
pub(crate) fn unwritten<F: Real>(shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    #[cfg(feature = "std")]
    let buffer = F::buffers().take(shape.elements(), F::of(0.0));
    #[cfg(not(feature = "std"))]
    let buffer = scratch_zeroed(shape.elements());
    Array::new(shape, buffer)
}

/// Room for `len` elements that hold anything; it goes back to the others of its size when it is dropped.
pub(crate) fn scratch<F: Real>(len: usize) -> Array<F> {
    unwritten([len])
}

fn scratch_zeroed<F: Real>(len: usize) -> Vec<F> {
    #[cfg(feature = "std")]
    return F::buffers().take_zeroed(len, F::of(0.0));
    #[cfg(not(feature = "std"))]
    alloc::vec![F::of(0.0); len]
}

fn give<F: Real>(buffer: Vec<F>) {
    #[cfg(feature = "std")]
    F::buffers().give(buffer);
    #[cfg(not(feature = "std"))]
    drop(buffer);
}

pub(crate) fn shape<F: Real>(x: &Array<F>) -> Shape {
    x.shape
}

pub(crate) fn reshape<F: Real>(mut x: Array<F>, shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    assert_eq!(shape.elements(), x.len(), "{} reshaped to {shape}", x.shape);
    x.shape = shape;
    x
}

/// The elements, row-major.
pub(crate) fn data<F: Real>(x: &Array<F>) -> &[F] {
    x
}

/// The elements, row-major, to be changed in place.
pub(crate) fn data_mut<F: Real>(x: &mut Array<F>) -> &mut [F] {
    x
}

/// First extent by the product of the others.
pub(crate) fn matrix<F: Real>(x: &Array<F>) -> ArrayView2<'_, F> {
    view(data(x), shape(x).matrix())
}

/// First extent by the product of the others.
pub(crate) fn matrix_mut<F: Real>(x: &mut Array<F>) -> ArrayViewMut2<'_, F> {
    let extents = shape(x).matrix();
    view_mut(data_mut(x), extents)
}

/// A row-major matrix over a slice.
pub(crate) fn view<F>(data: &[F], extents: [usize; 2]) -> ArrayView2<'_, F> {
    ArrayView2::from_shape(extents, data).expect("a matrix has rows times columns elements")
}

/// A row-major matrix over a slice.
pub(crate) fn view_mut<F>(data: &mut [F], extents: [usize; 2]) -> ArrayViewMut2<'_, F> {
    ArrayViewMut2::from_shape(extents, data).expect("a matrix has rows times columns elements")
}

/// The width of a row when the last extent is one row: `[..., C]`.
pub(crate) fn last<F: Real>(x: &Array<F>) -> usize {
    *x.shape.last().expect("a tensor of rows has at least one extent")
}
