//! Launching the matrix products of `cuda/product.cu`: bf16 on the tensor cores of Hopper. The tiling is drawn in that file.

use super::native::{Native, Source};
use super::operand::{Output, Product};
use super::product_variant::{Epilogue, Variant};
use super::tile::Hopper;
use crate::gpu::Gpu;
use crate::tensor::Dtype;
use cubecl::prelude::*;

const SOURCE: Source = Source::new(&[
    include_str!("cuda/wgmma.cuh"),
    include_str!("cuda/product.cuh"),
    include_str!("cuda/product.cu"),
]);

/// Threads of a block: two warpgroups.
const THREADS: u32 = 256;

/// Elements of bf16 that one asynchronous copy moves: 16 bytes.
const COPIED: usize = 8;

/// Columns of the result that a thread writes at once.
const WRITTEN: usize = 4;

/// Whether the kernel can do the product: rows begin at 16 bytes, and only A is the patches of a feature map, contiguous along k.
pub(super) fn suits(product: &Product<'_>) -> bool {
    let [_, n, _] = product.extents;
    let (a, b) = (product.a.layout, product.b.layout);
    let bf16 = [product.a, product.b].iter().all(|operand| operand.tensor.dtype == Dtype::Bf16);
    let aligned = product.contiguous().iter().all(|elements| elements.is_multiple_of(COPIED));
    let gathers = (a.filter == 0 || a.k_contiguous) && b.filter == 0;
    bf16 && gathers && aligned && n.is_multiple_of(WRITTEN)
}

/// Launches the kernel; each block sums over `k_per_block`.
pub(super) fn launch<R: Runtime>(
    gpu: &Gpu<R>,
    product: &Product<'_>,
    (variant, hopper): (&Variant, Hopper),
    count: CubeCount,
    Output { aux, y, scale }: Output<'_>,
    k_per_block: usize,
) {
    let [m, n, k] = product.extents;
    let [h, w, c] = product.map();
    let buffers = [Some(product.a.tensor), Some(product.b.tensor), product.bias, aux, Some(y)];
    let extents = [m, n, k, k_per_block, h, w, c].map(|extent| extent as u32);
    let numbers = [&extents[..], &[scale.to_bits()]].concat();
    kernel(variant, hopper, y.dtype == Dtype::F32).launch(gpu, count, &buffers, &numbers);
}

fn kernel(variant: &Variant, hopper: Hopper, f32_result: bool) -> Native {
    let tile = variant.tile;
    let epilogue = match variant.epilogue {
        Epilogue::Store => 0,
        Epilogue::Gelu => 1,
        Epilogue::GeluBackward => 2,
        Epilogue::Accumulate => 3,
        Epilogue::Partial => 4,
        Epilogue::GeluOnly => 5,
        Epilogue::Relu => 6,
        Epilogue::AddScaled => 7,
    };
    let defines = vec![
        ("A_K_CONTIGUOUS", variant.a.k_contiguous.into()),
        ("B_K_CONTIGUOUS", variant.b.k_contiguous.into()),
        ("FILTER", variant.a.filter),
        ("EPILOGUE", epilogue),
        ("BIAS", variant.bias.into()),
        ("Y_F32", f32_result.into()),
        ("TILE_N", tile.n),
        ("STAGES", hopper.stages),
        ("BLOCKS", hopper.blocks),
    ];
    // The stages, and 1 KiB so that the first can begin at a multiple of 1 KiB. The result in f32 reuses them: product.cu asserts
    // that it is smaller.
    let shared = 2 * (tile.m + tile.n) * tile.k * hopper.stages + 1024;
    Native { name: "product", source: SOURCE, defines, threads: THREADS, shared }
}
