//! Host tensors: a shape and its elements, row-major.

#[cfg(feature = "std")]
use super::cached::{Cacheable, CopyCache, MaybeCached};
use super::real::Real;
use crate::Shape;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use ndarray::{ArrayView2, ArrayViewMut2};

/// A tensor of the host. `Deref` gives its elements, row-major.
///
/// Under the feature `std` the buffer of a dropped tensor is reused by a later one of about the same size.
pub struct Array<F: Real> {
    pub(super) shape: Shape,
    /// At least as long as the shape has elements.
    buffer: Vec<F>,
    #[cfg(feature = "std")]
    cache: CopyCache,
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
        self.cache.clear();
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
            cache: CopyCache::default(),
        }
    }

    /// A copy of the tensor in another order, made by `make`. It is cached if the tensor is used again before it changes.
    #[cfg(feature = "std")]
    pub(crate) fn cached_copy<T: Cacheable + core::any::Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> T,
    ) -> MaybeCached<'_, T> {
        self.cache.get(make)
    }
}

impl<'a, F: Real> IntoIterator for &'a Array<F> {
    type Item = &'a F;
    type IntoIter = core::slice::Iter<'a, F>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Equal shapes and equal elements.
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

/// A tensor that owns `data`.
pub(crate) fn array<F: Real>(shape: impl Into<Shape>, data: Vec<F>) -> Array<F> {
    let shape = shape.into();
    assert_eq!(shape.elements(), data.len(), "a tensor of shape {shape} has another number of elements");
    #[cfg(feature = "std")]
    F::buffers().adopt(&data);
    Array::new(shape, data)
}

/// A tensor of zeros.
pub(crate) fn zeros<F: Real>(shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    Array::new(shape, scratch_zeroed(shape.elements()))
}

/// A tensor with arbitrary elements. The caller must write each of them before reading it.
pub(crate) fn unwritten<F: Real>(shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    #[cfg(feature = "std")]
    let buffer = F::buffers().take(shape.elements(), F::from_f64(0.0));
    #[cfg(not(feature = "std"))]
    let buffer = scratch_zeroed(shape.elements());
    Array::new(shape, buffer)
}

/// A working buffer of `len` arbitrary elements, which goes back to the pool when it is dropped.
pub(crate) fn scratch<F: Real>(len: usize) -> Array<F> {
    unwritten([len])
}

fn scratch_zeroed<F: Real>(len: usize) -> Vec<F> {
    #[cfg(feature = "std")]
    return F::buffers().take_zeroed(len, F::from_f64(0.0));
    #[cfg(not(feature = "std"))]
    alloc::vec![F::from_f64(0.0); len]
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

/// The same elements under another shape.
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

/// The elements, row-major, to be changed in place. This drops a cached copy.
pub(crate) fn data_mut<F: Real>(x: &mut Array<F>) -> &mut [F] {
    x
}

/// The tensor as a matrix: first extent by the product of the others.
pub(crate) fn matrix<F: Real>(x: &Array<F>) -> ArrayView2<'_, F> {
    view(data(x), shape(x).matrix())
}

/// [`matrix`], to be written.
pub(crate) fn matrix_mut<F: Real>(x: &mut Array<F>) -> ArrayViewMut2<'_, F> {
    let extents = shape(x).matrix();
    view_mut(data_mut(x), extents)
}

/// A slice as a row-major matrix `[rows, columns]`.
pub(crate) fn view<F>(data: &[F], extents: [usize; 2]) -> ArrayView2<'_, F> {
    ArrayView2::from_shape(extents, data).expect("a matrix has rows times columns elements")
}

/// [`view`], to be written.
pub(crate) fn view_mut<F>(data: &mut [F], extents: [usize; 2]) -> ArrayViewMut2<'_, F> {
    ArrayViewMut2::from_shape(extents, data).expect("a matrix has rows times columns elements")
}

/// The width of a row of `[..., C]`: the last extent.
pub(crate) fn last<F: Real>(x: &Array<F>) -> usize {
    *x.shape.last().expect("a tensor of rows has at least one extent")
}

/// The four extents of images, feature maps and convolution filters.
pub(crate) fn extents4<F: Real>(x: &Array<F>) -> [usize; 4] {
    x.shape[..].try_into().expect("images, feature maps and filters have four extents")
}
