//! Launching matrix products: which tile, how wide the loads, into how many pieces the sum is cut.

use super::product::{Epilogue, Form, MapLaunch, Side, product};
use super::tile::{CORE, Tile};
use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch, width};
use crate::tensor::{Dtype, Tensor, array};
use beit_ops::Shape;
use cubecl::prelude::*;

/// An operand of a product.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(super) tensor: &'a Tensor,
    pub(super) side: Side,
}

impl<'a> Operand<'a> {
    /// A matrix in which the axis that is summed over is the fast one.
    pub(crate) fn along(tensor: &'a Tensor) -> Self {
        Self { tensor, side: Side { k_fast: true, window: 0 } }
    }

    /// A matrix in which the axis that is summed over is the slow one.
    pub(crate) fn across(tensor: &'a Tensor) -> Self {
        Self { tensor, side: Side { k_fast: false, window: 0 } }
    }

    /// A feature map seen through windows of side `k`, for [`along`](Operand::along) or [`across`](Operand::across) pixels.
    pub(crate) fn windows(mut self, k: usize) -> Self {
        // A window of one pixel is the feature map itself, as a matrix.
        self.side.window = if k == 1 { 0 } else { k };
        self
    }
}

/// A product that is to be launched: `[M, N]`, summed over K.
pub(crate) struct Product<'a> {
    pub(crate) a: Operand<'a>,
    pub(crate) b: Operand<'a>,
    /// M, N, K
    pub(crate) extents: [usize; 3],
    /// `[N]`, f32.
    pub(crate) bias: Option<&'a Tensor>,
}

impl Product<'_> {
    /// The result as a tensor of `shape`, in the type of activations.
    pub(crate) fn store<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> Tensor {
        let y = gpu.empty(shape, gpu.activation());
        self.launch(gpu, Epilogue::Store, None, &y, self.extents[2]);
        y
    }

    /// The result and its GELU.
    pub(crate) fn gelu<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> (Tensor, Tensor) {
        let y = gpu.empty(shape, gpu.activation());
        let pre = gpu.empty(y.shape, gpu.activation());
        self.launch(gpu, Epilogue::Gelu, Some(&pre), &y, self.extents[2]);
        (pre, y)
    }

    /// The GELU of the result.
    pub(crate) fn gelu_alone<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> Tensor {
        let y = gpu.empty(shape, gpu.activation());
        self.launch(gpu, Epilogue::GeluAlone, None, &y, self.extents[2]);
        y
    }

    /// The result times the slope of the GELU at `pre`.
    pub(crate) fn gelu_backward<R: Runtime>(&self, gpu: &Gpu<R>, pre: &Tensor) -> Tensor {
        let y = gpu.empty(pre.shape, pre.dtype);
        self.launch(gpu, Epilogue::GeluBackward, Some(pre), &y, self.extents[2]);
        y
    }

    /// Adds the result to `y`, f32. Where the result has few tiles the sum is cut into pieces that run side by side; they are
    /// added in their order, so the bits do not depend on chance.
    pub(crate) fn accumulate<R: Runtime>(&self, gpu: &Gpu<R>, y: &mut Tensor) {
        let y = gpu.own(y);
        let [m, n, k] = self.extents;
        let tile = self.tile(gpu);
        let span = tile.span([m, n], k, gpu.processors());
        let pieces = k.div_ceil(span);
        if pieces == 1 {
            return self.launch(gpu, Epilogue::Accumulate, None, y, span);
        }
        let parts = gpu.empty([pieces, m, n], Dtype::F32);
        self.launch(gpu, Epilogue::Piece, None, &parts, span);
        add_pieces(gpu, &parts, y);
    }

    fn tile<R: Runtime>(&self, gpu: &Gpu<R>) -> Tile {
        let hopper = gpu.hopper() && self.suits_hopper();
        let fits = |tile: &Tile| tile.cores == gpu.cores() && (tile.hopper.is_none() || hopper);
        let by_table = || match hopper {
            true => Tile::pick_hopper(self.extents),
            false => Tile::pick(self.extents, gpu.processors(), gpu.cores()),
        };
        gpu.tile.filter(fits).unwrap_or_else(by_table)
    }

    fn launch<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        epilogue: Epilogue,
        extra: Option<&Tensor>,
        y: &Tensor,
        span: usize,
    ) {
        let [m, n, k] = self.extents;
        let tile = self.tile(gpu);
        let (a, b) = (self.a.side, self.b.side);
        let form = Form { a, b, epilogue, bias: self.bias.is_some(), tile };
        let count =
            CubeCount::Static(n.div_ceil(tile.n) as u32, m.div_ceil(tile.m) as u32, k.div_ceil(span) as u32);
        if let Some(hopper) = tile.hopper {
            return self.launch_hopper(gpu, (&form, hopper), count, extra, y, span);
        }
        let [h, w, c] = self.map();
        let types = [self.a.tensor.elem(), self.b.tensor.elem(), gpu.activation().elem(), y.elem()];
        let [na, nb, nc] = self.widths(tile, c);
        launch!(product(
            gpu,
            count,
            CubeDim::new_1d(UNITS),
            na,
            nb,
            nc,
            self.a.tensor.arg(),
            self.b.tensor.arg(),
            self.bias.map_or_else(|| array(&gpu.nothing, NOTHING), Tensor::arg),
            extra.map_or_else(|| array(&gpu.nothing, NOTHING), Tensor::arg),
            y.arg(),
            m,
            n,
            k,
            span,
            MapLaunch::new(h, w, c),
            form,
            types,
        ));
    }

    /// The extents of the feature map that an operand is; ones where none is.
    pub(super) fn map(&self) -> [usize; 3] {
        let map = [self.a, self.b].into_iter().find(|operand| operand.side.window > 0);
        map.map_or([1; 3], |operand| {
            let [_, h, w, c] = operand.tensor.map();
            [h, w, c]
        })
    }

    /// How many elements of A, B and the result a unit moves at once: 16 bytes of bf16 where all rows begin at a multiple of
    /// it. Plain multiply-adds read shared memory element by element.
    fn widths(&self, tile: Tile, channels: usize) -> [usize; 3] {
        if !tile.cores {
            return [1; 3];
        }
        let [m, n, k] = self.extents;
        let fast = |operand: Operand<'_>, outer: usize| match operand.side {
            Side { window: 0, k_fast: true } => k,
            Side { window: 0, k_fast: false } => outer,
            Side { .. } => channels,
        };
        [width(WIDE, &[fast(self.a, m)]), width(WIDE, &[fast(self.b, n)]), width(WIDE.min(CORE), &[n])]
    }
}

/// Elements of bf16 in 16 bytes.
const WIDE: usize = 8;

/// Elements of the buffer that stands where a kernel reads nothing.
pub(crate) const NOTHING: usize = 8;

/// `y += Σ_z parts[z]`
#[cube(launch_unchecked)]
fn add_pieces_kernel<N: Size>(parts: &Array<Vector<f32, N>>, y: &mut Array<Vector<f32, N>>, pieces: usize) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let mut sum = y[i];
        for z in 0..pieces {
            sum += parts[z * y.len() + i];
        }
        y[i] = sum;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

fn add_pieces<R: Runtime>(gpu: &Gpu<R>, parts: &Tensor, y: &Tensor) {
    let n = width(4, &[y.len()]);
    let count = cubes(y.len() / n, UNITS as usize);
    let pieces = parts.shape[0];
    launch!(add_pieces_kernel(gpu, count, CubeDim::new_1d(UNITS), n, parts.arg(), y.arg(), pieces));
}
