//! How kernels are launched: geometry, and the one unchecked call.

use cubecl::prelude::*;

/// Units of a cube where nothing asks for another number: eight planes of an NVIDIA device.
pub(crate) const UNITS: u32 = 256;

/// The largest number of cubes along one axis that every runtime takes (the limit of WebGPU).
const CUBES: usize = 65_535;

/// One cube for each `per_cube` items; kernels stride over what is left.
pub(crate) fn cubes(items: usize, per_cube: usize) -> CubeCount {
    CubeCount::Static(items.div_ceil(per_cube).clamp(1, CUBES) as u32, 1, 1)
}

/// Rows a cube handles at a time when each plane takes one. The smallest plane that a device may form decides, so that no
/// plane is left without a row for lack of cubes.
pub(crate) fn row_cubes<R: Runtime>(client: &cubecl::client::ComputeClient<R>, rows: usize) -> CubeCount {
    let plane = client.properties().hardware.plane_size_max.max(1);
    cubes(rows, (UNITS / plane).max(1) as usize)
}

/// Elements that are loaded at once: the widest vector of at most `most` that divides all `extents`.
pub(crate) fn width(most: usize, extents: &[usize]) -> usize {
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
