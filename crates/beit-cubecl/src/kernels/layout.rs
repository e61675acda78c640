//! Other orders of the same elements.

use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch};
use crate::tensor::Tensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `x [B, C, P] -> y [B, P, C]`. Writes lie side by side; reads do for each of the few channels that images have.
#[cube(launch_unchecked)]
fn swap_inner<X: Float>(
    x: &Array<X>,
    y: &mut Array<X>,
    channels: usize,
    pixels: usize,
    #[define(X)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let pixel = i / channels % pixels;
        let image = i / channels / pixels;
        y[i] = x[(image * channels + i % channels) * pixels + pixel];
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `[B, C, height, width] -> [B, height, width, C]`
pub(crate) fn channels_last<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Tensor {
    let [b, c, h, w] = x.map();
    let y = gpu.empty([b, h, w, c], x.dtype);
    let (count, dim) = (cubes(y.len(), UNITS as usize), CubeDim::new_1d(UNITS));
    launch!(swap_inner(gpu, count, dim, x.arg(), y.arg(), c, h * w, x.elem()));
    y
}
