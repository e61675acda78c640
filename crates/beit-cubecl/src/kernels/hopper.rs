//! Launching the matrix products of `cuda/product.cu` and `cuda/product_persistent.cu`: bf16 on the tensor cores of Hopper. The tilings
//! are drawn in those files.

use super::native::{Native, Source};
use super::operand::{Operand, Output, Product};
use super::product_variant::{Epilogue, Variant};
use super::tile::Hopper;
use crate::gpu::Gpu;
use crate::tensor::Dtype;
use cubecl::ir::StorageType;
use cubecl::prelude::*;
use cubecl::server::{TensorMapBinding, TensorMapMeta};
use cubecl::zspace::metadata::Metadata;

const SOURCE: Source = Source::new(&[
    include_str!("cuda/wgmma.cuh"),
    include_str!("cuda/product.cuh"),
    include_str!("cuda/product_loader.cuh"),
    include_str!("cuda/product.cu"),
]);
const PERSISTENT: Source = Source::new(&[
    include_str!("cuda/wgmma.cuh"),
    include_str!("cuda/tma.cuh"),
    include_str!("cuda/product.cuh"),
    include_str!("cuda/product_persistent.cu"),
]);

/// Threads of a block that multiply: two warpgroups. Persistent blocks have another one, which copies.
const THREADS: u32 = 256;
const WARPGROUP: u32 = 128;
/// Shared memory by which a persistent block writes its results: of each warp 16 rows of 32 columns in f32, and 8 of padding.
const STRIPS: usize = THREADS as usize / 32 * 16 * (32 + 8) * 4;

/// Elements of bf16 that one asynchronous copy moves: 16 bytes.
pub(super) const COPIED: usize = 8;

/// Elements of bf16 in the 128 bytes of a line of shared memory.
const PANEL: usize = 64;

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
    Output { aux, y, scale, sums }: Output<'_>,
    k_per_block: usize,
) {
    let [m, n, k] = product.extents;
    let [h, w, c] = product.map();
    let buffers = [Some(product.a.tensor), Some(product.b.tensor), product.bias, aux, Some(y), sums];
    let extents = [m, n, k, k_per_block, h, w, c].map(|extent| extent as u32);
    let numbers = [&extents[..], &[scale.to_bits()]].concat();
    let kernel = kernel(variant, hopper, y.dtype == Dtype::F32, sums.is_some());
    if !hopper.persistent {
        return kernel.launch(gpu, count, &buffers, &numbers);
    }
    let tile = variant.tile;
    let maps = [(product.a, m, tile.m), (product.b, n, tile.n)]
        .map(|(operand, outer, tile)| map(&operand, [outer, k], tile));
    // As many as run at a time. Where the limit of a grid is lowered, as many as it allows.
    let most = gpu.multiprocessors().min(gpu.most_blocks);
    let blocks = (tile.count([m, n]) * k.div_ceil(k_per_block)).min(most);
    let count = CubeCount::Static(blocks as u32, 1, 1);
    kernel.launch_with_maps(gpu, count, maps.into(), &buffers[2..], &numbers);
}

/// Of an operand in memory: boxes of `tile` rows of 64 elements along the sum, or where that is the slow axis of 64 x 64. What lies
/// outside is 0.
fn map(operand: &Operand<'_>, [outer, k]: [usize; 2], tile: usize) -> TensorMapBinding {
    let (shape, tile) = match operand.layout.k_contiguous {
        true => ([outer, k], [tile, PANEL]),
        false => ([k, outer], [PANEL, PANEL]),
    };
    let meta = TensorMapMeta {
        format: TensorMapFormat::Tiled(TiledArgs::new(tile.to_vec().into())),
        metadata: Metadata::new(shape.to_vec(), vec![shape[1], 1]),
        elem_stride: vec![1; 2].into(),
        interleave: TensorMapInterleave::None,
        swizzle: TensorMapSwizzle::B128,
        prefetch: TensorMapPrefetch::B256,
        oob_fill: OobFill::Zero,
        storage_ty: StorageType::Scalar(operand.tensor.elem()),
    };
    TensorMapBinding::new(operand.tensor.handle().clone().binding(), meta)
}

fn kernel(variant: &Variant, hopper: Hopper, f32_result: bool, summed: bool) -> Native {
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
        ("SUMS", summed.into()),
        ("TILE_N", tile.n),
        ("STAGES", hopper.stages),
        ("BLOCKS", hopper.blocks),
    ];
    // The stages, and 1 KiB so that the first can begin at a multiple of 1 KiB. The result in f32 reuses them: product.cu asserts
    // that it is smaller. Persistent blocks have strips for it, a row of sums for each warp where the result is summed, and two
    // barriers for each stage.
    let stages = 2 * (tile.m + tile.n) * tile.k * hopper.stages + 1024;
    if hopper.persistent {
        let sums = if summed { THREADS as usize / 32 * tile.n * 4 } else { 0 };
        let (threads, shared) = (THREADS + WARPGROUP, stages + STRIPS + sums + 16 * hopper.stages);
        return Native { name: "product_persistent", source: PERSISTENT, defines, threads, shared };
    }
    Native { name: "product", source: SOURCE, defines, threads: THREADS, shared: stages }
}
