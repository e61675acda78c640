//! Initial values of segmentation heads (mmcv's `ConvModule`, mmsegmentation's `BaseDecodeHead`, PyTorch's `ConvTranspose2d`).

use super::config::SegmenterConfig;
use super::head::{Head, HeadRunning};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, Leaf, Role, Shape, Start, Tree};

/// Standard deviation of the weights that score classes.
const SCORES: f32 = 0.01;

/// A new head: convolutions are normal of deviation `√(2 / (O k²))`, those that score classes of deviation 0.01, transposed convolutions
/// uniform in `±1/√(4 O)` with their biases.
pub(super) fn head<O: Device>(ops: &O, config: &SegmenterConfig, seed: u64) -> Head<O::Tensor> {
    let mut number = 0;
    Head::shapes(config).map_described(&mut |leaf, shape| {
        number += 1;
        ops.upload(*shape, &initial(leaf, shape, Stream::new(seed, number)))
    })
}

/// The running statistics of channels that nothing was seen of: mean 0, variance 1.
pub(super) fn running<O: Device>(ops: &O, config: &SegmenterConfig) -> HeadRunning<O::Tensor> {
    let shapes = Head::shapes(config).running();
    shapes.map_described(&mut |leaf, shape| {
        let value = if leaf.role.start() == Start::Ones { 1.0 } else { 0.0 };
        ops.upload(*shape, &vec![value; shape.elements()])
    })
}

/// The initial values of a parameter of a head.
#[must_use]
pub fn initial(leaf: &Leaf, shape: &Shape, mut stream: Stream) -> Vec<f32> {
    let n = shape.elements();
    let transposed = leaf.name.starts_with("fpn") && !leaf.name.starts_with("fpn1.1.");
    match (leaf.role, &**shape) {
        (Role::Weight, &[_, o, 2, 2]) if transposed => stream.uniforms_within(n, uniform(o)),
        (Role::Bias, &[o]) if transposed => stream.uniforms_within(n, uniform(o)),
        (Role::Weight, _) if leaf.name.contains("conv_seg") => stream.normals(n, SCORES),
        (Role::Weight, &[o, _, k, _]) => stream.normals(n, libm::sqrtf(2.0 / (o * k * k) as f32)),
        _ => vec![if leaf.role.start() == Start::Ones { 1.0 } else { 0.0 }; n],
    }
}

/// What PyTorch counts as inputs of a transposed convolution are its outputs times the squares.
fn uniform(o: usize) -> f32 {
    1.0 / libm::sqrtf((4 * o) as f32)
}
