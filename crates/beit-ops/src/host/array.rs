//! Host tensors: ndarray's arrays, always in standard layout.

use super::real::Real;
use crate::Shape;
use alloc::vec;
use alloc::vec::Vec;
use ndarray::{ArrayD, ArrayView2, ArrayViewMut2, IxDyn};

/// A tensor of the host, row-major and contiguous.
pub type Array<F> = ArrayD<F>;

pub(crate) fn array<F>(shape: impl Into<Shape>, data: Vec<F>) -> Array<F> {
    let shape = shape.into();
    assert_eq!(shape.elements(), data.len(), "a tensor of shape {shape} has another number of elements");
    ArrayD::from_shape_vec(IxDyn(&shape), data).expect("the number of elements was checked")
}

pub(crate) fn zeros<F: Real>(shape: impl Into<Shape>) -> Array<F> {
    let shape = shape.into();
    array(shape, vec![F::of(0.0); shape.elements()])
}

pub(crate) fn shape<F>(x: &Array<F>) -> Shape {
    Shape::from_slice(x.shape()).expect("host tensors have at most four extents")
}

pub(crate) fn reshape<F: Real>(x: Array<F>, shape: impl Into<Shape>) -> Array<F> {
    let (data, offset) = x.into_raw_vec_and_offset();
    debug_assert!(offset.unwrap_or(0) == 0);
    array(shape, data)
}

/// The elements, row-major.
pub(crate) fn data<F>(x: &Array<F>) -> &[F] {
    x.as_slice().expect("host tensors are in standard layout")
}

/// The elements, row-major, to be changed in place.
pub(crate) fn data_mut<F>(x: &mut Array<F>) -> &mut [F] {
    x.as_slice_mut().expect("host tensors are in standard layout")
}

/// First extent by the product of the others.
pub(crate) fn matrix<F>(x: &Array<F>) -> ArrayView2<'_, F> {
    view(data(x), shape(x).matrix())
}

/// First extent by the product of the others.
pub(crate) fn matrix_mut<F>(x: &mut Array<F>) -> ArrayViewMut2<'_, F> {
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
pub(crate) fn last<F>(x: &Array<F>) -> usize {
    *x.shape().last().expect("a tensor of rows has at least one extent")
}
