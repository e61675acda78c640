//! One element in, one element out: casts, sums, activations; and the copies that shared tensors need.
//!
//! ```text
//! elements    | v0 | v1 | v2 | ...            vectors of 4 (16 bytes of f32), 2 or 1: the widest that divides the length
//! thread i      takes vectors i, i + G, ...   G = threads of the grid; neighbours read neighbouring vectors
//! block         256 threads                   no shared memory, no barrier
//! ```
//!
//! These kernels move bytes and little else. Vectors of 16 bytes are the widest loads that a thread has, and the loop by the
//! size of the grid takes any length within the limit of blocks that WebGPU has.

use super::columns;
use super::nan::unless_negative;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::GradientOps;
use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use std::rc::Rc;

/// `y = f(x)`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Map {
    /// `x`, in another type.
    Cast,
    /// `scale · x`
    Scale,
    /// `x Φ(x)`, the exact form.
    Gelu,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

/// `y = f(a, b)`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Zip {
    /// `a + scale · b`
    AddScaled,
    /// `a (Φ(b) + b φ(b))`
    GeluBackward,
    /// 0 where `b <= 0`, else `a`.
    ReluBackward,
}

/// The normal distribution function `(1 + erf(x/√2)) / 2`.
#[cube]
pub(crate) fn phi<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let half = Vector::new(0.5f32);
    half + half * Vector::erf(x * Vector::new(comptime!(FRAC_1_SQRT_2)))
}

/// `x Φ(x)`
#[cube]
pub(crate) fn gelu<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    x * phi(x)
}

/// `Φ(x) + x φ(x)` with `φ(x) = exp(-x²/2) / √(2π)`
#[cube]
pub(crate) fn gelu_slope<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let density_at_0 = Vector::new(comptime!(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2));
    phi(x) + x * density_at_0 * Vector::exp(x * x * Vector::new(-0.5f32))
}

/// `y = op(x)`
#[cube(launch_unchecked)]
fn unary<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    y: &mut Array<Vector<Y, N>>,
    scale: f32,
    #[comptime] op: Map,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let v = Vector::<f32, N>::cast_from(x[i]);
        let result = match op {
            Map::Cast => v,
            Map::Scale => v * Vector::new(scale),
            Map::Gelu => gelu(v),
            Map::Relu => unless_negative(v, v),
        };
        y[i] = Vector::cast_from(result);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `y = op(a, b)`
#[cube(launch_unchecked)]
fn binary<A: Float, B: Float, Y: Float, N: Size>(
    a: &Array<Vector<A, N>>,
    b: &Array<Vector<B, N>>,
    y: &mut Array<Vector<Y, N>>,
    scale: f32,
    #[comptime] op: Zip,
    #[define(A, B, Y)] _types: [ElemType; 3],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let u = Vector::<f32, N>::cast_from(a[i]);
        let v = Vector::<f32, N>::cast_from(b[i]);
        let result = match op {
            Zip::AddScaled => u + v * Vector::new(scale),
            Zip::GeluBackward => u * gelu_slope(v),
            Zip::ReluBackward => unless_negative(v, u),
        };
        y[i] = Vector::cast_from(result);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `a += b`
#[cube(launch_unchecked)]
fn accumulate<A: Float, B: Float, N: Size>(
    a: &mut Array<Vector<A, N>>,
    b: &Array<Vector<B, N>>,
    #[define(A, B)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < a.len() {
        let sum = Vector::<f32, N>::cast_from(a[i]) + Vector::<f32, N>::cast_from(b[i]);
        a[i] = Vector::cast_from(sum);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `x = value`
#[cube(launch_unchecked)]
fn fill<X: Float, N: Size>(x: &mut Array<Vector<X, N>>, value: f32, #[define(X)] _elem: ElemType) {
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        x[i] = Vector::cast_from(Vector::<f32, N>::new(value));
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Vector width, grid and block for `len` elements.
fn geometry<R: Runtime>(gpu: &Gpu<R>, len: usize) -> (usize, CubeCount, CubeDim) {
    let n = gpu.vector(&[len]);
    (n, grid(len / n, THREADS as usize), CubeDim::new_1d(THREADS))
}

/// `y = op(x)` in the type `dtype`.
pub(crate) fn map<R: Runtime>(gpu: &Gpu<R>, op: Map, scale: f32, x: &Tensor, dtype: Dtype) -> Tensor {
    let y = gpu.empty(x.shape, dtype);
    write(gpu, op, scale, x, &y);
    y
}

/// Writes `op(x)` to `y`.
fn write<R: Runtime>(gpu: &Gpu<R>, op: Map, scale: f32, x: &Tensor, y: &Tensor) {
    let (n, count, dim) = geometry(gpu, x.len());
    launch!(unary(gpu, count, dim, n, x.arg(), y.arg(), scale, op, [x.elem(), y.elem()]));
}

/// Writes the elements of `x` to `y`, which must not share its buffer with another tensor.
pub(crate) fn copy<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, y: &Tensor) {
    write(gpu, Map::Cast, 1.0, x, y);
}

/// A copy of `x` in the type `dtype`.
pub(crate) fn cast<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, dtype: Dtype) -> Tensor {
    map(gpu, Map::Cast, 1.0, x, dtype)
}

/// `y = op(a, b)` in the type `dtype`.
pub(crate) fn zip<R: Runtime>(
    gpu: &Gpu<R>,
    op: Zip,
    scale: f32,
    [a, b]: [&Tensor; 2],
    dtype: Dtype,
) -> Tensor {
    assert_eq!(a.len(), b.len(), "two tensors of one shape: {} and {}", a.shape, b.shape);
    let y = gpu.empty(a.shape, dtype);
    let (n, count, dim) = geometry(gpu, a.len());
    let types = [a.elem(), b.elem(), y.elem()];
    launch!(binary(gpu, count, dim, n, a.arg(), b.arg(), y.arg(), scale, op, types));
    y
}

/// `a += b`
pub(crate) fn add_assign<R: Runtime>(gpu: &Gpu<R>, a: &mut Tensor, b: &Tensor) {
    assert_eq!(a.len(), b.len(), "two tensors of one shape: {} and {}", a.shape, b.shape);
    let a = gpu.own(a);
    let (n, count, dim) = geometry(gpu, a.len());
    launch!(accumulate(gpu, count, dim, n, a.arg(), b.arg(), [a.elem(), b.elem()]));
}

/// Every element becomes `value`.
pub(crate) fn set<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, value: f32) {
    let (n, count, dim) = geometry(gpu, x.len());
    launch!(fill(gpu, count, dim, n, x.arg(), value, x.elem()));
}

/// Every element becomes zero.
pub(crate) fn clear<R: Runtime>(gpu: &Gpu<R>, x: &mut Tensor) {
    set(gpu, renewed(gpu, x), 0.0);
}

/// The elements become those of `with`.
pub(crate) fn overwrite<R: Runtime>(gpu: &Gpu<R>, x: &mut Tensor, with: &Tensor) {
    copy(gpu, with, renewed(gpu, x));
}

/// Makes ready for all elements to be written. A shared buffer is left to the other tensors, and `x` gets a new one.
fn renewed<'a, R: Runtime>(gpu: &Gpu<R>, x: &'a mut Tensor) -> &'a Tensor {
    if Rc::strong_count(&x.buffer) > 1 {
        *x = gpu.empty(x.shape, x.dtype);
    }
    x.buffer.half.borrow_mut().take();
    x
}

impl<R: Runtime> Gpu<R> {
    /// Makes `x` the only owner of its buffer, before a kernel writes to it. Drops its bf16 copy, which is about to be outdated.
    pub(crate) fn own<'a>(&self, x: &'a mut Tensor) -> &'a Tensor {
        if Rc::strong_count(&x.buffer) > 1 {
            *x = cast(self, x, x.dtype);
        } else {
            x.buffer.half.borrow_mut().take();
        }
        x
    }

    /// `x` as a matrix product reads it: `x` itself, or its bf16 copy, which is cached until `x` is written to.
    pub(crate) fn operand(&self, x: &Tensor) -> Tensor {
        if x.dtype == self.activation() {
            return x.clone();
        }
        let mut half = x.buffer.half.borrow_mut();
        let handle = half.get_or_insert_with(|| cast(self, x, Dtype::Bf16).handle().clone());
        Tensor::new(x.shape, Dtype::Bf16, handle.clone())
    }
}

impl<R: Runtime> GradientOps for Gpu<R> {
    fn clear(&self, x: &mut Tensor) {
        clear(self, x);
    }
    fn add_assign(&self, a: &mut Tensor, b: &Tensor) {
        add_assign(self, a, b);
    }
    fn add_column_sums(&self, x: &Tensor, into: &mut Tensor) {
        columns::add_column_sums(self, x, into);
    }
}
