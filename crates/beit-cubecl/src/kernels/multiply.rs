//! Launching matrix products: which kernel and tile, how wide the loads, into how many parts the sum is split.
//!
//! ```text
//! operands in bf16 on Hopper, rows that begin at 16 bytes      hopper.rs  -> cuda/product.cu, or where asked for cuda/product_persistent.cu
//! everything else                                              product.rs
//!
//! result with few tiles and a long sum (gradients of weights):
//!
//!   split 0  |=======|
//!   split 1          |=======|           each split writes a partial result [M, N]
//!   split 2                  |=======|
//!   y += partial 0 + partial 1 + ...     one kernel adds them in this order: the same bits in every run
//! ```

use super::columns;
use super::hopper;
use super::product::{MapLaunch, product};
use super::product_variant::{Epilogue, Variant};
use super::tile::{FRAGMENT, Tile};
use crate::gpu::{Gpu, PLACEHOLDER_LEN};
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::{Dtype, Tensor, array};
use beit_ops::Shape;
use cubecl::prelude::*;

pub(crate) use super::operand::{Operand, Output, Product};

impl Product<'_> {
    /// The result as a tensor of `shape`, in the type of activations.
    pub(crate) fn store<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> Tensor {
        let y = gpu.empty(shape, gpu.activation());
        self.launch(gpu, Epilogue::Store, Output::new(&y), self.extents[2]);
        y
    }

    /// The result and its GELU.
    pub(crate) fn gelu<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> (Tensor, Tensor) {
        let y = gpu.empty(shape, gpu.activation());
        let pre = gpu.empty(y.shape, gpu.activation());
        self.launch(gpu, Epilogue::Gelu, Output::new(&y).with(&pre), self.extents[2]);
        (pre, y)
    }

    /// The GELU of the result.
    pub(crate) fn gelu_only<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> Tensor {
        let y = gpu.empty(shape, gpu.activation());
        self.launch(gpu, Epilogue::GeluOnly, Output::new(&y), self.extents[2]);
        y
    }

    /// The result, and 0 where it is negative.
    pub(crate) fn relu<R: Runtime>(&self, gpu: &Gpu<R>, shape: impl Into<Shape>) -> Tensor {
        let y = gpu.empty(shape, gpu.activation());
        self.launch(gpu, Epilogue::Relu, Output::new(&y), self.extents[2]);
        y
    }

    /// `a + scale · result`, for `a` in the type of activations.
    pub(crate) fn add_scaled<R: Runtime>(&self, gpu: &Gpu<R>, a: &Tensor, scale: f64) -> Tensor {
        let y = gpu.empty(a.shape, gpu.activation());
        let output = Output { scale: scale as f32, ..Output::new(&y).with(a) };
        self.launch(gpu, Epilogue::AddScaled, output, self.extents[2]);
        y
    }

    /// The result times the slope of the GELU at `pre`. Its sums over rows are added to `d_bias`, on Hopper in the epilogue.
    pub(crate) fn gelu_backward<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        pre: &Tensor,
        d_bias: Option<&mut Tensor>,
    ) -> Tensor {
        let y = gpu.empty(pre.shape, pre.dtype);
        let ([m, n, k], tile) = (self.extents, self.tile(gpu));
        let summed = d_bias.is_some() && tile.hopper.is_some();
        let sums = summed.then(|| gpu.empty([1, m.div_ceil(tile.m), n], Dtype::F32));
        let output = Output { sums: sums.as_ref(), ..Output::new(&y).with(pre) };
        self.launch(gpu, Epilogue::GeluBackward, output, k);
        if let Some(d_bias) = d_bias {
            match sums {
                Some(sums) => columns::add_partials(gpu, &sums, 0, d_bias),
                None => columns::add_column_sums(gpu, &y, d_bias),
            }
        }
        y
    }

    /// Adds the result to `y`, f32. Where the result has few tiles the sum is split among blocks.
    pub(crate) fn accumulate<R: Runtime>(&self, gpu: &Gpu<R>, y: &mut Tensor) {
        let y = gpu.own(y);
        let [m, n, k] = self.extents;
        let tile = self.tile(gpu);
        let k_per_block = tile.k_per_block([m, n], k, gpu.multiprocessors());
        let splits = k.div_ceil(k_per_block);
        if splits == 1 {
            return self.launch(gpu, Epilogue::Accumulate, Output::new(y), k_per_block);
        }
        let partials = gpu.empty([splits, m, n], Dtype::F32);
        self.launch(gpu, Epilogue::Partial, Output::new(&partials), k_per_block);
        add_partials(gpu, &partials, y);
    }

    fn tile<R: Runtime>(&self, gpu: &Gpu<R>) -> Tile {
        let hopper = gpu.has_wgmma() && hopper::suits(self);
        let windows = self.a.layout.filter > 0;
        let on_hopper = |tile: &Tile| tile.hopper.is_none_or(|kind| hopper && !(kind.persistent && windows));
        let fits = |tile: &Tile| tile.tensor_cores == gpu.tensor_cores() && on_hopper(tile);
        let by_table = || match hopper {
            true => Tile::pick_hopper(self.extents, windows),
            false => Tile::pick(self.extents, gpu.multiprocessors(), gpu.tensor_cores()),
        };
        gpu.tile.filter(fits).unwrap_or_else(by_table)
    }

    /// Writes the result as the epilogue says; each block sums over `k_per_block`.
    fn launch<R: Runtime>(&self, gpu: &Gpu<R>, epilogue: Epilogue, output: Output<'_>, k_per_block: usize) {
        let [m, n, k] = self.extents;
        let tile = self.tile(gpu);
        let (a, b) = (self.a.layout, self.b.layout);
        let [along_x, along_y, splits] = tile.grid([m, n], k.div_ceil(k_per_block), gpu.most_blocks);
        let rows_along_x = along_x as usize > n.div_ceil(tile.n);
        let bias = self.bias.is_some();
        let variant = Variant { a, b, epilogue, bias, rows_along_x, tile };
        let count = CubeCount::Static(along_x, along_y, splits);
        if let Some(hopper) = tile.hopper {
            return hopper::launch(gpu, self, (&variant, hopper), count, output, k_per_block);
        }
        let Output { aux, y, scale, .. } = output;
        let [h, w, c] = self.map();
        let types = [self.a.tensor.elem(), self.b.tensor.elem(), gpu.activation().elem(), y.elem()];
        let [na, nb, nc] = self.vector_widths(tile);
        launch!(product(
            gpu,
            count,
            CubeDim::new_1d(THREADS),
            na,
            nb,
            nc,
            self.a.tensor.arg(),
            self.b.tensor.arg(),
            self.bias.map_or_else(|| array(&gpu.placeholder, PLACEHOLDER_LEN), Tensor::arg),
            aux.map_or_else(|| array(&gpu.placeholder, PLACEHOLDER_LEN), Tensor::arg),
            y.arg(),
            m,
            n,
            k,
            k_per_block,
            scale,
            MapLaunch::new(h, w, c),
            variant,
            types,
        ));
    }

    /// How many elements of A, B and the result a thread moves at once: 16 bytes of bf16 where all rows begin at a multiple of
    /// it. Plain multiply-adds read shared memory element by element.
    fn vector_widths(&self, tile: Tile) -> [usize; 3] {
        if !tile.tensor_cores {
            return [1; 3];
        }
        let [_, n, _] = self.extents;
        let [a, b] = self.contiguous().map(|elements| vector_width(MAX_VECTOR, &[elements]));
        [a, b, vector_width(MAX_VECTOR.min(FRAGMENT), &[n])]
    }
}

/// Elements of bf16 in 16 bytes.
const MAX_VECTOR: usize = 8;

/// `y += Σ_z partials[z]`
#[cube(launch_unchecked)]
fn add_partials_kernel<N: Size>(
    partials: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<f32, N>>,
    splits: usize,
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let mut sum = y[i];
        for z in 0..splits {
            sum += partials[z * y.len() + i];
        }
        y[i] = sum;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

fn add_partials<R: Runtime>(gpu: &Gpu<R>, partials: &Tensor, y: &Tensor) {
    let n = vector_width(4, &[y.len()]);
    let count = grid(y.len() / n, THREADS as usize);
    let splits = partials.shape[0];
    launch!(add_partials_kernel(gpu, count, CubeDim::new_1d(THREADS), n, partials.arg(), y.arg(), splits));
}
