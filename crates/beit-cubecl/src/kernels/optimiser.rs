//! The global norm of the gradients, and AdamW: one launch for a tensor, or for all that lie in arenas.
//!
//! ```text
//! arena    |  block of 1,024  |  block of 1,024  | ...      parameters, gradients and both moments have the same layout
//! owner            0                   0                    which eight numbers of the table a block takes
//!
//! step_adamw    thread = one vector of 4 of each; a block of 256 threads passes over one block of the arena at a time
//! add_squares   a grid-stride sum of squares, then one partial sum a block
//! limit_norm    one block adds the partial sums
//! ```
//!
//! The step reads and writes every parameter, gradient and moment once, which is the least that it can move.

use super::elementwise::{cast, clear};
use super::nan::is_finite;
use super::rows::{row_sum, vector_sum};
use crate::arena::{self, filled_by};
use crate::buffer::{Arena, BLOCK};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::{Dtype, Tensor, array};
use beit_ops::{AdamW, OptimiserOps};
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::server::Handle;
use std::rc::Rc;

/// Elements that a thread loads at once, so that a block of [`THREADS`] takes a [`BLOCK`] of an arena.
const MAX_VECTOR: usize = 4;
/// The most blocks of the first step of the norm, for each tensor or arena. The number is part of the result's definition,
/// since it fixes the order of the additions.
const PARTIALS: usize = 1024;

/// `partials[skip + block] = Σ x²` over the elements that each block takes.
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
    let sum = row_sum(vector_sum(sum), true);
    if UNIT_POS == 0 {
        partials[skip + CUBE_POS] = sum;
    }
}

/// One block: `clip = [norm, scale · min(1, limit / (norm + 1e-6))]` with `norm = scale · √Σ partials`, the factor `nan` where
/// the norm is not finite.
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

/// Numbers of the table for the step of one tensor, in this order:
/// `1 - lr·wd`, `lr / (1 - β₁ᵗ)`, `1 / √(1 - β₂ᵗ)`, eps, β₁, `1 - β₁`, β₂, `1 - β₂`.
const NUMBERS: usize = 8;

fn numbers(hyper: &AdamW) -> [f32; NUMBERS] {
    let AdamW { lr, beta1, beta2, eps, weight_decay, step } = *hyper;
    let corrected = |beta: f64| 1.0 - beta.powf(step as f64);
    let (step_size, root) = (lr / corrected(beta1), 1.0 / corrected(beta2).sqrt());
    [1.0 - lr * weight_decay, step_size, root, eps, beta1, 1.0 - beta1, beta2, 1.0 - beta2].map(|x| x as f32)
}

/// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `w -= lr·wd·w + lr · m̂ / (√v̂ + eps)`; nothing where the clip factor is not
/// finite. With `in_arenas`, `owners` has the tensor of each block, and the gradients become zero. With `copied`, `half`
/// becomes the bf16 copy of `w`.
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
    #[comptime] in_arenas: bool,
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
            if in_arenas {
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
        if in_arenas {
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
    let arena = filled_by(grads.iter().copied()).map(|arena| elements(&arena));
    let whole = arena.as_ref().map(|arena| [arena]);
    let parts = whole.as_ref().map_or(grads, |whole| &whole[..]);
    let blocks = |x: &Tensor| x.len().div_ceil(8 * BLOCK).clamp(1, PARTIALS);
    let total: usize = parts.iter().map(|x| blocks(x)).sum();
    let partials = gpu.empty([total.max(1)], Dtype::F32);
    let mut skip = 0;
    for x in parts {
        let n = vector_width(MAX_VECTOR, &[x.len()]);
        let (count, dim) = (grid(blocks(x), 1), CubeDim::new_1d(THREADS));
        launch!(add_squares(gpu, count, dim, n, x.arg(), partials.arg(), skip, x.elem()));
        skip += blocks(x);
    }
    let clip = gpu.empty([2], Dtype::F32);
    let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(THREADS));
    let (limit, limited) = (max_norm.unwrap_or(1.0), max_norm.is_some());
    launch!(limit_norm(gpu, count, dim, partials.arg(), clip.arg(), limit, scale, f32::NAN, limited));
    clip
}

/// All elements of an arena as one tensor.
fn elements(arena: &Arena) -> Tensor {
    Tensor::new([arena.len], Dtype::F32, arena.elements.clone())
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
    let n = vector_width(MAX_VECTOR, &[param.len()]);
    let (count, dim) = (grid(param.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let table = gpu.upload_f32([NUMBERS], &numbers(hyper));
    let (w, g, m, v) = (param.arg(), wide.as_ref().unwrap_or(grad).arg(), first.arg(), second.arg());
    // No copy is made and there is only one tensor, so the parameter is passed for buffers that are not touched.
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

/// One step of all tensors, after which their gradients are zero. One launch where all four kinds lie in arenas of one layout
/// and no clones share them.
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
    let same = |arenas: &[Rc<Arena>; 4]| arenas.iter().all(|arena| arena.same_layout(&arenas[0]));
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
    let halves =
        (gpu.activation() == Dtype::Bf16).then(|| arenas[0].parts(half(gpu, &arenas[0]), Dtype::Bf16));
    let mut halves = halves.into_iter().flatten();
    params.into_iter().for_each(|param| drop(param.buffer.half.replace(halves.next())));
}

/// The arena that the tensors fill, if no clones share it.
fn owned_arena(tensors: &[&mut Tensor]) -> Option<Rc<Arena>> {
    let unshared = tensors.iter().all(|tensor| Rc::strong_count(&tensor.buffer) == 1);
    filled_by(tensors.iter().map(|tensor| &**tensor)).filter(|_| unshared)
}

/// The bf16 copies of an arena, allocated when they are asked for first.
fn half<'a, R: Runtime>(gpu: &Gpu<R>, arena: &'a Arena) -> &'a Handle {
    arena.half.get_or_init(|| gpu.buffer(arena.len, Dtype::Bf16))
}

/// One launch for all tensors: parameters, gradients, first and second moments.
fn step_arenas<R: Runtime>(gpu: &Gpu<R>, [w, g, m, v]: &[Rc<Arena>; 4], clip: &Tensor, hyper: &[AdamW]) {
    let table: Vec<f32> = hyper.iter().flat_map(numbers).collect();
    let table = gpu.upload_f32([table.len()], &table);
    let (count, dim) = (grid(w.len, BLOCK), CubeDim::new_1d(THREADS));
    let copied = gpu.activation() == Dtype::Bf16;
    let half = array(if copied { half(gpu, w) } else { &w.elements }, w.len);
    let owners = array(&w.owners, w.blocks());
    let [w, g, m, v] = [w, g, m, v].map(|arena| array(&arena.elements, arena.len));
    let elem = gpu.activation().elem();
    launch!(step_adamw(
        gpu,
        count,
        dim,
        MAX_VECTOR,
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

/// A launch for each tensor, after which its gradient is zero.
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
