//! Tensors on the device: a shape, an element type, and a buffer that clones share until one of them is written to.

use crate::buffer::{Buffer, Place};
use beit_ops::Shape;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::server::Handle;
use std::rc::Rc;

pub use crate::dtype::Dtype;

/// A contiguous row-major tensor on the device.
///
/// Clones share the buffer. An operation that writes to a shared buffer copies it first.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) shape: Shape,
    pub(crate) dtype: Dtype,
    pub(crate) buffer: Rc<Buffer>,
}

impl Tensor {
    pub(crate) fn new(shape: impl Into<Shape>, dtype: Dtype, handle: Handle) -> Self {
        Self { shape: shape.into(), dtype, buffer: Rc::new(Buffer::new(handle, None)) }
    }

    /// An f32 tensor at its place in an arena.
    pub(crate) fn in_arena(shape: Shape, handle: Handle, place: Place) -> Self {
        Self { shape, dtype: Dtype::F32, buffer: Rc::new(Buffer::new(handle, Some(place))) }
    }

    /// The extents.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.elements()
    }

    /// The last extent, C of `[..., C]`.
    pub(crate) fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Number of rows of [`last`](Tensor::last) elements.
    pub(crate) fn rows(&self) -> usize {
        self.len() / self.last()
    }

    pub(crate) fn elem(&self) -> ElemType {
        self.dtype.elem()
    }

    /// `[B, h, w, C]` of a feature map.
    pub(crate) fn map(&self) -> [usize; 4] {
        self.shape[..].try_into().expect("feature maps have four extents")
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.buffer.handle
    }

    /// The tensor as an argument of a kernel.
    pub(crate) fn arg<R: Runtime>(&self) -> ArrayArg<R> {
        array(self.handle(), self.len())
    }

    /// The same elements under another shape.
    pub(crate) fn reshaped(mut self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(self.shape.elements(), shape.elements(), "{} reshaped to {shape}", self.shape);
        self.shape = shape;
        self
    }
}

/// `len` elements of a buffer as an argument of a kernel.
pub(crate) fn array<R: Runtime>(handle: &Handle, len: usize) -> ArrayArg<R> {
    // SAFETY: every buffer of this crate is made for the number of elements that its tensor has.
    unsafe { ArrayArg::from_raw_parts(handle.clone(), len) }
}

/// Unsigned integers on the device.
#[derive(Clone, Debug)]
pub struct Ids {
    pub(crate) len: usize,
    pub(crate) handle: Handle,
}

impl Ids {
    pub(crate) fn arg<R: Runtime>(&self) -> ArrayArg<R> {
        array(&self.handle, self.len)
    }
}

/// What attention saves for its backward pass: not the softmax, but what it is computed from again.
#[derive(Clone, Debug)]
pub struct Probs {
    /// Log-sum-exp of each row of scores, `[B, H, T]`, f32.
    pub(crate) lse: Tensor,
    /// The result of the attention `[B·T, C]`. It shares the buffer of that tensor.
    pub(crate) context: Tensor,
}
