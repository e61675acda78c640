//! The launches of segmentation heads: every operation on feature maps and its mirror, at the widths at which they are trained.

use beit_ops::prelude::*;
use beit_ops::{Conv2d, ConvTranspose2, Corners, Norm, Running, Targets};

/// Images of a batch. No kernel may depend on their number.
const BATCH: usize = 2;
const EPS: f64 = 1e-5;

/// A head on maps of `side` pixels and `channels` for so many `classes`. Each operation is followed by its mirror, since the values do
/// not matter on a device that executes nothing.
///
/// # Errors
///
/// What the device reported.
pub fn segmentation_step<O: Ops>(
    ops: &O,
    side: usize,
    channels: usize,
    classes: usize,
) -> Result<(), String> {
    let x = conv(ops, &ops.zeros([BATCH, side, side, channels]), channels, 1, true);
    let [larger, smaller] = [transposed(ops, &x), halved(ops, &x)];
    let mut levels = vec![resized(ops, &larger, side), resized(ops, &smaller, side)];
    for to in [1, 2, 3, 6] {
        let pooled = ops.pool_to(&x, [to; 2]);
        ops.pool_to_backward(&pooled, [side; 2]);
        levels.push(resized(ops, &normed(ops, &pooled, channels, 1), side));
    }
    let joined = ops.concat(&levels.iter().collect::<Vec<_>>());
    ops.concat_backward(&joined, &vec![channels; levels.len()]);
    let features = normed(ops, &joined, channels, 3);
    let kept = ops.scale_channels(&features, &ops.zeros([BATCH, channels]));
    let logits = resized(ops, &conv(ops, &kept, classes, 1, true), 4 * side);
    labelled(ops, logits, classes)
}

/// A convolution of `k` by `k` to `o` channels, and its gradients.
fn conv<O: Ops>(ops: &O, x: &O::Tensor, o: usize, k: usize, biased: bool) -> O::Tensor {
    let i = ops.shape(x)[3];
    let params = || Conv2d { weight: ops.zeros([o, i, k, k]), bias: biased.then(|| ops.zeros([o])) };
    let y = ops.conv2d(x, &params());
    ops.conv2d_backward(&y, x, &params(), &mut params());
    y
}

/// A convolution without a bias, its norm and its ReLU, in training and in inference.
fn normed<O: Ops>(ops: &O, x: &O::Tensor, o: usize, k: usize) -> O::Tensor {
    let x = conv(ops, x, o, k, false);
    let params = || Norm { weight: ops.zeros([o]), bias: ops.zeros([o]) };
    let mut running = Running { mean: ops.zeros([o]), variance: ops.zeros([o]) };
    let (y, stats) = ops.batch_norm_forward(&x, &params(), &mut running, EPS);
    ops.batch_norm_backward(&y, &x, &stats, &params(), &mut params());
    let (y, stats) = ops.batch_norm_relu_forward(&x, &params(), &mut running, EPS);
    ops.batch_norm_relu_backward(&y, [&x, &y], &stats, &params(), &mut params());
    ops.batch_norm(&x, &params(), &running, EPS);
    ops.batch_norm_relu(&x, &params(), &running, EPS)
}

/// A map of sides twice as long.
fn transposed<O: Ops>(ops: &O, x: &O::Tensor) -> O::Tensor {
    let c = ops.shape(x)[3];
    let params = || ConvTranspose2 { weight: ops.zeros([c, c, 2, 2]), bias: ops.zeros([c]) };
    let y = ops.conv_transpose2(x, &params());
    ops.conv_transpose2_backward(&y, x, &params(), &mut params());
    y
}

/// A map of sides half as long, in whole pixels.
fn halved<O: Ops>(ops: &O, x: &O::Tensor) -> O::Tensor {
    let y = ops.max_pool2(x);
    ops.max_pool2_backward(&y, x);
    y
}

/// A map of sides of `side` pixels.
fn resized<O: Ops>(ops: &O, x: &O::Tensor, side: usize) -> O::Tensor {
    let shape = ops.shape(x);
    let y = ops.resize(x, [side; 2], Corners::Edges);
    ops.resize_backward(&y, [shape[1], shape[2]], Corners::Edges);
    y
}

/// The loss of labels of which one is ignored.
fn labelled<O: Ops>(ops: &O, logits: O::Tensor, classes: usize) -> Result<(), String> {
    let rows = ops.shape(&logits).elements() / classes;
    let logits = ops.reshape(logits, [rows, classes]);
    let mut labels = vec![1; rows];
    labels[0] = 255;
    let targets = Targets::Labels { ids: &ops.upload_ids(&labels), counted: rows - 1 };
    let (metrics, lse) = ops.cross_entropy(&logits, &targets);
    ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    ops.read(&metrics).map(|_| ()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_ops::Host;

    #[test]
    fn the_host_takes_the_step() {
        segmentation_step(&Host::<f32>::new(), 7, 4, 3).unwrap();
    }
}
