//! How kernels are launched: the shape of the grid, and the one unchecked call.

use cubecl::prelude::*;

/// Threads of a block where nothing asks for another number: eight warps of an NVIDIA device.
pub(crate) const THREADS: u32 = 256;

/// The most blocks along one axis that every runtime takes (the limit of WebGPU).
const MAX_BLOCKS: usize = 65_535;

/// A grid of one block for each `per_block` items, up to the limit. Kernels loop over the items by the size of the grid, so fewer
/// blocks only take more passes.
pub(crate) fn grid(items: usize, per_block: usize) -> CubeCount {
    CubeCount::Static(items.div_ceil(per_block).clamp(1, MAX_BLOCKS) as u32, 1, 1)
}

/// A grid for kernels in which each warp takes one row at a time.
///
/// The largest warp that the device may form decides how many rows a block has. With smaller warps the grid has blocks to
/// spare, and no warp takes a second row while others have none.
pub(crate) fn row_grid<R: Runtime>(client: &cubecl::client::ComputeClient<R>, rows: usize) -> CubeCount {
    let warp = client.properties().hardware.plane_size_max.max(1);
    grid(rows, (THREADS / warp).max(1) as usize)
}

/// Elements that a thread loads at once: the widest vector of at most `most` elements that divides all `extents`.
pub(crate) fn vector_width(most: usize, extents: &[usize]) -> usize {
    let mut width = most;
    while extents.iter().any(|extent| !extent.is_multiple_of(width)) {
        width /= 2;
    }
    width
}

/// Launches a kernel without the bounds checks of CubeCL.
///
/// Each kernel of this crate compares what it reads and writes with the lengths it is given.
macro_rules! launch {
    ($kernel:ident($gpu:expr, $count:expr, $dim:expr, $($arg:expr),+ $(,)?)) => {
        // SAFETY: the kernel checks its own bounds and every loop in it is bounded by an extent.
        unsafe { $kernel::launch_unchecked::<R>(&$gpu.client, $count, $dim, $($arg),+) }
    };
}
pub(crate) use launch;
