//! Tensors on the device: a shape, an element type and a buffer that clones share until one of them is written to.

use crate::arena::Place;
use beit_ops::Shape;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;
use cubecl::server::Handle;
use std::cell::RefCell;
use std::rc::Rc;

/// The type of the elements of a tensor on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// The upper half of single precision.
    Bf16,
}

impl Dtype {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    pub(crate) fn elem(self) -> ElemType {
        ElemType::Float(match self {
            Self::F32 => FloatKind::F32,
            Self::Bf16 => FloatKind::BF16,
        })
    }
}

/// A contiguous row-major tensor on the device.
///
/// A clone shares the buffer; whoever writes to a shared buffer copies it first.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(crate) shape: Shape,
    pub(crate) dtype: Dtype,
    pub(crate) buffer: Rc<Buffer>,
}

/// Memory on the device, and its bf16 copy where one was made.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) handle: Handle,
    /// What matrix products read of an f32 buffer; gone as soon as the buffer is written to.
    pub(crate) half: RefCell<Option<Handle>>,
    /// Where an f32 buffer lies in an arena.
    pub(crate) place: Option<Place>,
}

impl Tensor {
    pub(crate) fn new(shape: impl Into<Shape>, dtype: Dtype, handle: Handle) -> Self {
        let buffer = Rc::new(Buffer { handle, half: RefCell::new(None), place: None });
        Self { shape: shape.into(), dtype, buffer }
    }

    /// A tensor at its place in an arena.
    pub(crate) fn placed(shape: Shape, handle: Handle, place: Place) -> Self {
        let buffer = Rc::new(Buffer { handle, half: RefCell::new(None), place: Some(place) });
        Self { shape, dtype: Dtype::F32, buffer }
    }

    /// The extents.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.elements()
    }

    /// The width of a row when the last extent is one row: `[..., C]`.
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

    /// `[B, h, w, C]`
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

/// What attention keeps: not the softmax, but what gives it back.
#[derive(Clone, Debug)]
pub struct Probs {
    /// Log-sum-exp of each row of scores, `[B, H, T]`, f32.
    pub(crate) lse: Tensor,
    /// The result of the attention `[B·T, C]`; shares its buffer.
    pub(crate) context: Tensor,
}
