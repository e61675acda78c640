//! The global norm of the gradients, and AdamW: one launch for a tensor, or for all that lie in arenas.

use super::elementwise::{cast, clear};
use super::rows::{row_sum, sum_of};
use crate::arena::{self, Arena, BLOCK};
use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch, width};
use crate::tensor::{Dtype, Tensor, array};
use beit_ops::{AdamW, OptimiserOps};
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use std::rc::Rc;

/// Elements that a unit loads at once; a cube of [`UNITS`] takes a [`BLOCK`].
const WIDE: usize = 4;
/// Cubes of the first step of the norm, at most, for each tensor or arena; part of the result's definition, since they fix
/// the order of the additions.
const PARTIALS: usize = 1024;

/// `partials[skip + cube] = Σ x²` over the elements of each cube.
#[cube(launch_unchecked)]
fn add_squares<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    partials: &mut Array<f32>,
    skip: usize,
    #[define(X)] _elem: ElemType,
) {
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        let v = Vector::<f32, N>::cast_from(x[i]);
        sum += v * v;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
    let sum = row_sum(sum_of(sum), true);
    if UNIT_POS == 0 {
        partials[skip + CUBE_POS] = sum;
    }
}

/// One cube: `clip = [norm, scale · min(1, limit / (norm + 1e-6))]` with `norm = scale · √Σ partials`, the factor `nan` where the
/// norm is not finite.
#[cube(launch_unchecked)]
fn limit_norm(
    partials: &Array<f32>,
    clip: &mut Array<f32>,
    limit: f32,
    scale: f32,
    nan: f32,
    #[comptime] limited: bool,
) {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < partials.len() {
        sum += partials[i];
        i += CUBE_DIM as usize;
    }
    let norm = row_sum(sum, true).sqrt() * scale;
    if UNIT_POS == 0 {
        let mut factor = scale;
        if limited {
            factor = min(limit / (norm + 1e-6), 1.0) * scale;
        }
        clip[0] = norm;
        clip[1] = select(is_finite(norm), factor, nan);
    }
}

/// Asks the bits: a device may take comparisons with what is not a number for impossible.
#[cube]
fn is_finite(x: f32) -> bool {
    u32::reinterpret(x) & INFINITY != INFINITY
}

/// The bits of the exponent: all are set where a number is not finite.
const INFINITY: u32 = 0x7F80_0000;

/// Numbers of a step of one tensor, in this order: `1 - lr·wd`, `lr / (1 - β₁ᵗ)`, `1 / √(1 - β₂ᵗ)`, eps, β₁, 1 - β₁, β₂,
/// 1 - β₂.
const NUMBERS: usize = 8;

fn numbers(hyper: &AdamW) -> [f32; NUMBERS] {
    let AdamW { lr, beta1, beta2, eps, weight_decay, step } = *hyper;
    let corrected = |beta: f64| 1.0 - beta.powf(step as f64);
    let (step_size, root) = (lr / corrected(beta1), 1.0 / corrected(beta2).sqrt());
    [1.0 - lr * weight_decay, step_size, root, eps, beta1, 1.0 - beta1, beta2, 1.0 - beta2].map(|x| x as f32)
}

/// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `w -= lr·wd·w + lr · m̂ / (√v̂ + eps)`; nothing where the clip factor is not
/// finite. `owners` names the tensor of each block, if there are several; gradients are cleared and `half` is written if
/// asked for.
#[cube(launch_unchecked)]
fn step_adamw<H: Float, N: Size>(
    w: &mut Array<Vector<f32, N>>,
    grad: &mut Array<Vector<f32, N>>,
    first: &mut Array<Vector<f32, N>>,
    second: &mut Array<Vector<f32, N>>,
    half: &mut Array<Vector<H, N>>,
    clip: &Array<f32>,
    owners: &Array<u32>,
    numbers: &Array<f32>,
    #[comptime] together: bool,
    #[comptime] copied: bool,
    #[define(H)] _elem: ElemType,
) {
    let factor = clip[1];
    let valid = is_finite(factor);
    let mut i = ABSOLUTE_POS;
    while i < w.len() {
        let mut weight = w[i];
        if valid {
            let mut tensor = 0;
            if together {
                tensor = owners[i * N::value() / comptime!(BLOCK)] as usize * comptime!(NUMBERS);
            }
            let g = grad[i] * Vector::new(factor);
            let m = Vector::new(numbers[tensor + 4]) * first[i] + Vector::new(numbers[tensor + 5]) * g;
            let v = Vector::new(numbers[tensor + 6]) * second[i] + Vector::new(numbers[tensor + 7]) * g * g;
            let step = Vector::new(numbers[tensor + 1]) * m;
            let scale = Vector::sqrt(v) * Vector::new(numbers[tensor + 2]) + Vector::new(numbers[tensor + 3]);
            weight = Vector::new(numbers[tensor]) * weight - step / scale;
            first[i] = m;
            second[i] = v;
            w[i] = weight;
        }
        if copied {
            half[i] = Vector::cast_from(weight);
        }
        if together {
            grad[i] = Vector::new(0.0f32);
        }
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Returns `[norm, factor]` of `scale` times the gradients. Tensors that fill an arena are read in one launch.
pub(crate) fn clip_factor<R: Runtime>(
    gpu: &Gpu<R>,
    grads: &[&Tensor],
    max_norm: Option<f32>,
    scale: f32,
) -> Tensor {
    let arena = Arena::of(grads.iter().copied());
    let all = arena.as_ref().map(|arena| [&arena.all]);
    let parts = all.as_ref().map_or(grads, |all| &all[..]);
    let blocks = |x: &Tensor| x.len().div_ceil(8 * BLOCK).clamp(1, PARTIALS);
    let total: usize = parts.iter().map(|x| blocks(x)).sum();
    let partials = gpu.empty([total.max(1)], Dtype::F32);
    let mut skip = 0;
    for x in parts {
        let n = width(WIDE, &[x.len()]);
        let (count, dim) = (cubes(blocks(x), 1), CubeDim::new_1d(UNITS));
        launch!(add_squares(gpu, count, dim, n, x.arg(), partials.arg(), skip, x.elem()));
        skip += blocks(x);
    }
    let clip = gpu.empty([2], Dtype::F32);
    let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS));
    let (limit, limited) = (max_norm.unwrap_or(1.0), max_norm.is_some());
    launch!(limit_norm(gpu, count, dim, partials.arg(), clip.arg(), limit, scale, f32::NAN, limited));
    clip
}

/// One step of one tensor.
pub(crate) fn adamw<R: Runtime>(
    gpu: &Gpu<R>,
    param: &mut Tensor,
    grad: &Tensor,
    [first, second]: [&mut Tensor; 2],
    clip: &Tensor,
    hyper: &AdamW,
) {
    assert_eq!(param.len(), grad.len(), "a gradient {} of {}", grad.shape, param.shape);
    let wide = (grad.dtype != Dtype::F32).then(|| cast(gpu, grad, Dtype::F32));
    let (param, first, second) = (gpu.own(param), gpu.own(first), gpu.own(second));
    let n = width(WIDE, &[param.len()]);
    let (count, dim) = (cubes(param.len() / n, UNITS as usize), CubeDim::new_1d(UNITS));
    let table = gpu.upload_f32([NUMBERS], &numbers(hyper));
    let (w, g, m, v) = (param.arg(), wide.as_ref().unwrap_or(grad).arg(), first.arg(), second.arg());
    // No copy is made and there is only one tensor: the parameter stands for what is not touched.
    let (half, owners) = (param.arg(), array(param.handle(), 1));
    let elem = Dtype::F32.elem();
    launch!(step_adamw(
        gpu,
        count,
        dim,
        n,
        w,
        g,
        m,
        v,
        half,
        clip.arg(),
        owners,
        table.arg(),
        false,
        false,
        elem
    ));
}

/// One step of all tensors, whose gradients are then zero: one launch where all four kinds lie in arenas of one layout and
/// nobody else holds them.
pub(crate) fn adamw_all<R: Runtime>(
    gpu: &Gpu<R>,
    params: Vec<&mut Tensor>,
    grads: Vec<&mut Tensor>,
    moments: Vec<[&mut Tensor; 2]>,
    clip: &Tensor,
    hyper: &[AdamW],
) {
    let (first, second): (Vec<_>, Vec<_>) =
        moments.into_iter().map(|[first, second]| (first, second)).unzip();
    let arenas = [&params, &grads, &first, &second].map(|tensors| owned_arena(tensors));
    let same = |arenas: &[Rc<Arena>; 4]| arenas.iter().all(|arena| arena.like(&arenas[0]));
    let [Some(w), Some(g), Some(m), Some(v)] = arenas else {
        return one_by_one(gpu, (params, grads), (first, second), clip, hyper);
    };
    let arenas = [w, g, m, v];
    if hyper.len() != params.len() || !same(&arenas) {
        return one_by_one(gpu, (params, grads), (first, second), clip, hyper);
    }
    step_arenas(gpu, &arenas, clip, hyper);
    let written = [grads, first, second];
    written.into_iter().flatten().for_each(|tensor| drop(tensor.buffer.half.borrow_mut().take()));
    let halves = (gpu.activation() == Dtype::Bf16).then(|| arenas[0].parts(arenas[0].half(gpu), Dtype::Bf16));
    let mut halves = halves.into_iter().flatten();
    params.into_iter().for_each(|param| drop(param.buffer.half.replace(halves.next())));
}

/// The arena that the tensors fill, if they alone use it.
fn owned_arena(tensors: &[&mut Tensor]) -> Option<Rc<Arena>> {
    let alone = tensors.iter().all(|tensor| Rc::strong_count(&tensor.buffer) == 1);
    Arena::of(tensors.iter().map(|tensor| &**tensor)).filter(|_| alone)
}

fn step_arenas<R: Runtime>(gpu: &Gpu<R>, [w, g, m, v]: &[Rc<Arena>; 4], clip: &Tensor, hyper: &[AdamW]) {
    let table: Vec<f32> = hyper.iter().flat_map(numbers).collect();
    let table = gpu.upload_f32([table.len()], &table);
    let (count, dim) = (cubes(w.all.len(), BLOCK), CubeDim::new_1d(UNITS));
    let copied = gpu.activation() == Dtype::Bf16;
    let half = if copied { w.half(gpu) } else { w.all.handle() };
    let half = array(half, w.all.len());
    let (w, owners, g, m, v) = (w.all.arg(), w.owners.arg(), g.all.arg(), m.all.arg(), v.all.arg());
    let elem = gpu.activation().elem();
    launch!(step_adamw(
        gpu,
        count,
        dim,
        WIDE,
        w,
        g,
        m,
        v,
        half,
        clip.arg(),
        owners,
        table.arg(),
        true,
        copied,
        elem
    ));
}

type Tensors<'a> = Vec<&'a mut Tensor>;

fn one_by_one<R: Runtime>(
    gpu: &Gpu<R>,
    (params, grads): (Tensors<'_>, Tensors<'_>),
    (first, second): (Tensors<'_>, Tensors<'_>),
    clip: &Tensor,
    hyper: &[AdamW],
) {
    let moments = first.into_iter().zip(second);
    for (((param, grad), (first, second)), hyper) in params.into_iter().zip(grads).zip(moments).zip(hyper) {
        adamw(gpu, param, grad, [first, second], clip, hyper);
        clear(gpu, grad);
    }
}

impl<R: Runtime> OptimiserOps for Gpu<R> {
    fn clip_factor(&self, grads: &[&Tensor], max_norm: Option<f32>, scale: f32) -> Tensor {
        clip_factor(self, grads, max_norm, scale)
    }
    fn adamw(
        &self,
        param: &mut Tensor,
        grad: &Tensor,
        moments: [&mut Tensor; 2],
        clip: &Tensor,
        hyper: &AdamW,
    ) {
        adamw(self, param, grad, moments, clip, hyper);
    }
    fn adamw_all(
        &self,
        params: Vec<&mut Tensor>,
        grads: Vec<&mut Tensor>,
        moments: Vec<[&mut Tensor; 2]>,
        clip: &Tensor,
        hyper: &[AdamW],
    ) {
        adamw_all(self, params, grads, moments, clip, hyper);
    }
    fn gather_in_memory(&self, tensors: Vec<&mut Tensor>) {
        arena::gather(self, tensors);
    }
}
