//! A third execution: no numbers, only shapes. Proves the wiring and counts work and memory before a run starts.
//!
//! What each operation does to shapes stands beside its definition, in `ops`.

use crate::Shape;
use alloc::rc::Rc;
use core::cell::Cell;

/// A device without numbers: a tensor is its shape, and its lifetime is metered.
///
/// A wrong shape panics with both shapes. Memory is counted as the device of the [`Footprint`] holds it; what operations
/// allocate and free inside themselves (packing buffers, partial sums) is not in it.
///
/// ```
/// use beit_ops::prelude::*;
/// use beit_ops::{Linear, Plan};
/// let plan = Plan::default();
/// let p = Linear { weight: plan.zeros([10, 4]), bias: Some(plan.zeros([10])) };
/// let y = plan.linear(&plan.zeros([3, 4]), &p);
/// assert_eq!(&*plan.shape(&y), [3, 10]);
/// assert_eq!(plan.flops(), 2 * 3 * 4 * 10);
/// assert_eq!(plan.peak_bytes(), 4 * (40 + 10 + 12 + 30));
/// ```
#[derive(Debug, Default)]
pub struct Plan {
    footprint: Footprint,
    flops: Cell<u64>,
    memory: Rc<Memory>,
}

/// How a device holds what the model keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of an element that matrix products make or read: 4 for f32, 2 for bf16. All else is f32.
    pub activation: usize,
    /// Whether weights that are used again before they change keep a copy in the order of the kernels, as the
    /// [`Host`](crate::Host) does: in inference, and where several batches make a step.
    pub keeps_packed: bool,
}

impl Footprint {
    /// That of a device, a GPU, whose products make and read numbers of as many bytes, and which packs nothing.
    pub const fn gpu(activation: usize) -> Self {
        Self { activation, keeps_packed: false }
    }
}

impl Default for Footprint {
    /// That of [`Host<f32>`](crate::Host).
    fn default() -> Self {
        Self { activation: F32, keeps_packed: cfg!(feature = "std") }
    }
}

/// Bytes of an element in single precision.
const F32: usize = 4;

impl Plan {
    /// A plan for a device of this footprint.
    pub fn new(footprint: Footprint) -> Self {
        Self { footprint, ..Self::default() }
    }

    /// Floating-point operations so far: two for each multiply-add of matrix products, attention and convolutions.
    pub fn flops(&self) -> u64 {
        self.flops.get()
    }

    /// Bytes of the tensors that are alive.
    pub fn live_bytes(&self) -> usize {
        self.memory.live.get()
    }

    /// The largest number of bytes that were alive at once.
    pub fn peak_bytes(&self) -> usize {
        self.memory.peak.get()
    }

    /// A tensor in f32.
    pub(crate) fn tensor(&self, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, F32)
    }

    /// A tensor that a matrix product makes or reads.
    pub(crate) fn activation(&self, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, self.footprint.activation)
    }

    /// A tensor of the type of `x`.
    pub(crate) fn like(&self, x: &Planned, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, x.element)
    }

    fn sized(&self, shape: impl Into<Shape>, element: usize) -> Planned {
        let shape = shape.into();
        self.memory.take(element * shape.elements());
        Planned {
            shape,
            element,
            copied: Cell::new(0),
            used: Cell::new(false),
            memory: Rc::clone(&self.memory),
        }
    }

    /// Notes that a matrix product reads the weight `x`: it is copied to the type of activations once, or kept packed in
    /// `packed` elements from the second time on.
    pub(crate) fn operand(&self, x: &Planned, packed: usize) {
        if x.copied.get() > 0 {
            return;
        }
        let again = x.used.replace(true);
        let elements = match x.element == self.footprint.activation {
            false => x.shape.elements(),
            true if again && self.footprint.keeps_packed => packed,
            true => return,
        };
        let bytes = self.footprint.activation * elements;
        x.copied.set(bytes);
        self.memory.take(bytes);
    }

    /// [`operand`](Plan::operand) on a device that keeps packed weights; others read a convolution's as they are.
    pub(crate) fn operand_if_packed(&self, x: &Planned, packed: usize) {
        if self.footprint.keeps_packed {
            self.operand(x, packed);
        }
    }

    /// Notes that `x` changes: what was packed of it is dropped.
    pub(crate) fn changes(&self, x: &mut Planned) {
        if self.footprint.keeps_packed {
            x.used.set(false);
            self.memory.give(x.copied.take());
        }
    }

    pub(crate) fn ids(&self, len: usize) -> PlannedIds {
        PlannedIds(self.tensor([len]))
    }

    /// Counts `products` products of `[m, k]` and `[k, n]`.
    pub(crate) fn products(&self, products: usize, m: usize, k: usize, n: usize) {
        self.flops.set(self.flops.get() + 2 * products as u64 * m as u64 * k as u64 * n as u64);
    }
}

#[derive(Debug, Default)]
struct Memory {
    live: Cell<usize>,
    peak: Cell<usize>,
}

impl Memory {
    fn take(&self, bytes: usize) {
        self.live.set(self.live.get() + bytes);
        self.peak.set(self.peak.get().max(self.live.get()));
    }

    fn give(&self, bytes: usize) {
        self.live.set(self.live.get() - bytes);
    }
}

/// A tensor of [`Plan`]: its shape.
#[derive(Debug)]
pub struct Planned {
    pub(crate) shape: Shape,
    /// Bytes of an element.
    element: usize,
    /// Bytes of the copy that matrix products read.
    copied: Cell<usize>,
    /// Whether a product read it since it last changed.
    used: Cell<bool>,
    memory: Rc<Memory>,
}

impl Planned {
    pub(crate) fn rows(&self) -> usize {
        self.shape.elements() / self.last()
    }
    pub(crate) fn last(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }
    /// `[B, h, w, C]`
    pub(crate) fn map(&self) -> [usize; 4] {
        let &[b, h, w, c] = &*self.shape else {
            panic!("a feature map has four extents, not {}", self.shape)
        };
        [b, h, w, c]
    }
}

impl Clone for Planned {
    fn clone(&self) -> Self {
        self.memory.take(self.element * self.shape.elements());
        Self { copied: Cell::new(0), used: Cell::new(false), memory: Rc::clone(&self.memory), ..*self }
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        let bytes = self.element * self.shape.elements() + self.copied.get();
        self.memory.give(bytes);
    }
}

/// Integers of [`Plan`]: their number.
#[derive(Clone, Debug)]
pub struct PlannedIds(Planned);

impl PlannedIds {
    pub(crate) fn len(&self) -> usize {
        self.0.last()
    }
}

#[track_caller]
pub(crate) fn same(a: &Planned, b: &Planned) {
    assert_eq!(a.shape, b.shape, "two tensors of one shape");
}

#[track_caller]
pub(crate) fn is(x: &Planned, shape: impl Into<Shape>) {
    assert_eq!(x.shape, shape.into(), "a tensor of another shape than its place asks for");
}
