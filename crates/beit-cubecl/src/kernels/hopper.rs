//! Launching the matrix products of `cuda/product.cu`: bf16 on the tensor cores of Hopper.

use super::multiply::Product;
use super::native::Native;
use super::product::{Epilogue, Form, Side};
use super::tile::Hopper;
use crate::gpu::Gpu;
use crate::tensor::{Dtype, Tensor};
use cubecl::prelude::*;

const SOURCE: [&str; 2] = [include_str!("cuda/wgmma.cuh"), include_str!("cuda/product.cu")];

/// Threads of its blocks: two warpgroups.
const THREADS: u32 = 256;

/// Elements of bf16 that are copied at once: 16 bytes.
const PIECE: usize = 8;

/// Columns of the result that are written at once.
const WRITTEN: usize = 4;

impl Product<'_> {
    /// Whether all rows begin at 16 bytes, and windows lie along the axis that is summed over.
    pub(super) fn suits_hopper(&self) -> bool {
        let [m, n, k] = self.extents;
        let [_, _, channels] = self.map();
        let fast = |side: Side, outer| match side {
            Side { window: 0, k_fast: true } => k,
            Side { k_fast: true, .. } => channels,
            Side { k_fast: false, .. } => outer,
        };
        let whole = |side, outer: usize| fast(side, outer).is_multiple_of(PIECE);
        let halves = [self.a, self.b].iter().all(|operand| operand.tensor.dtype == Dtype::Bf16);
        let (a, b) = (self.a.side, self.b.side);
        halves
            && whole(a, m)
            && whole(b, n)
            && (a.window == 0 || a.k_fast)
            && b.window == 0
            && n.is_multiple_of(WRITTEN)
    }

    pub(super) fn launch_hopper<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        (form, hopper): (&Form, Hopper),
        count: CubeCount,
        extra: Option<&Tensor>,
        y: &Tensor,
        span: usize,
    ) {
        let [m, n, k] = self.extents;
        let [h, w, c] = self.map();
        let kernel = native(form, hopper, y.dtype);
        let buffers = [Some(self.a.tensor), Some(self.b.tensor), self.bias, extra, Some(y)];
        kernel.launch(gpu, count, &buffers, &[m, n, k, span, h, w, c, 0].map(|extent| extent as u32));
    }
}

fn native(form: &Form, hopper: Hopper, y: Dtype) -> Native {
    let tile = form.tile;
    let epilogue = match form.epilogue {
        Epilogue::Store => 0,
        Epilogue::Gelu => 1,
        Epilogue::GeluBackward => 2,
        Epilogue::Accumulate => 3,
        Epilogue::Piece => 4,
        Epilogue::GeluAlone => 5,
    };
    let defines = vec![
        ("A_K_FAST", form.a.k_fast.into()),
        ("B_K_FAST", form.b.k_fast.into()),
        ("WINDOW", form.a.window),
        ("EPILOGUE", epilogue),
        ("BIAS", form.bias.into()),
        ("Y_F32", (y == Dtype::F32).into()),
        ("TILE_N", tile.n),
        ("STAGES", hopper.stages),
        ("BLOCKS", hopper.blocks),
    ];
    // Tiles of bf16, and 1 KiB so that the first may begin at a multiple of it. They are more than the result in f32 that they make
    // room for.
    let shared = 2 * (tile.m + tile.n) * tile.k * hopper.stages + 1024;
    Native { name: "product", source: &SOURCE, defines, units: THREADS, shared }
}
