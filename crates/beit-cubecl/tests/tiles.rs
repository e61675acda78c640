//! Matrix products, convolutions, attention and what segmentation heads do with feature maps, larger than a tile, against `Host<f64>`.

mod device;

use beit_cubecl::{Gpu, Precision};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{
    AttentionShape, Conv2d, ConvTranspose2, Corners, Host, Linear, Norm, QkvBias, QkvBiasGrad, Running,
    Shape, relative_position_rows,
};
use cubecl::prelude::Runtime;
use device::{Check, Turn, on_device};

/// Sums of up to 1000 products of normal numbers in f32: a thousand roundings of 6e-8, relative to the largest result.
const TOLERANCE: f64 = 2e-5;

fn normals(shape: Shape, number: u64) -> Vec<f32> {
    Stream::new(3, number).normals(shape.elements(), 1.0)
}

fn upload<O: Ops>(ops: &O, shape: impl Into<Shape>, number: u64) -> O::Tensor {
    let shape = shape.into();
    ops.upload(shape, &normals(shape, number))
}

fn close<O: Ops, P: Ops>(what: &str, (a, x): (&O, &O::Tensor), (b, y): (&P, &P::Tensor)) {
    let (got, want) = (a.read(x).expect(what), b.read(y).expect(what));
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-6, |s: f64, w| s.max(f64::from(w.abs())));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let error = f64::from((g - w).abs()) / scale;
        assert!(error <= TOLERANCE, "{what}[{i}]: got {g}, want {w}, off by {error:e} of the largest");
    }
}

fn linear<O: Ops>(ops: &O, [m, c, n]: [usize; 3]) -> [O::Tensor; 5] {
    let p = Linear { weight: upload(ops, [n, c], 1), bias: Some(upload(ops, [n], 2)) };
    let mut dp = Linear { weight: upload(ops, [n, c], 3), bias: Some(upload(ops, [n], 4)) };
    let (x, dy) = (upload(ops, [m, c], 5), upload(ops, [m, n], 6));
    let (pre, act) = ops.linear_gelu_forward(&x, &p);
    let dx = ops.linear_backward(&dy, &x, &p, &mut dp);
    [pre, act, dx, dp.weight, dp.bias.expect("given above")]
}

fn conv<O: Ops>(ops: &O, [b, h, w, i, o, k]: [usize; 6]) -> [O::Tensor; 4] {
    let p = Conv2d { weight: upload(ops, [o, i, k, k], 1), bias: Some(upload(ops, [o], 2)) };
    let mut dp = Conv2d { weight: upload(ops, [o, i, k, k], 3), bias: Some(upload(ops, [o], 4)) };
    let (x, dy) = (upload(ops, [b, h, w, i], 5), upload(ops, [b, h, w, o], 6));
    let y = ops.conv2d(&x, &p);
    let dx = ops.conv2d_backward(&dy, &x, &p, &mut dp);
    [y, dx, dp.weight, dp.bias.expect("given above")]
}

/// Heads of `d` elements, a window of patches; both tables.
fn attention<O: Ops>(ops: &O, [batch, heads, d, height, width]: [usize; 5]) -> [O::Tensor; 6] {
    let window = [height, width];
    let (tokens, c, rows) = (height * width + 1, heads * d, relative_position_rows(window));
    let qkv = upload(ops, [batch * tokens, 3 * c], 1);
    let [q, v] = [2, 3].map(|number| upload(ops, [c], number));
    let [table, shared] = [4, 5].map(|number| upload(ops, [rows, heads], number));
    let bias = QkvBias { q: &q, v: &v, table: Some(&table), shared: Some(&shared) };
    let shape = AttentionShape { heads, tokens, window };
    let (context, probs) = ops.attention_forward(&qkv, &bias, shape);
    let d_context = upload(ops, [batch * tokens, c], 6);
    let [mut dq, mut dv] = [7, 8].map(|number| upload(ops, [c], number));
    let [mut d_table, mut d_shared] = [9, 10].map(|number| upload(ops, [rows, heads], number));
    let mut d_bias =
        QkvBiasGrad { q: &mut dq, v: &mut dv, table: Some(&mut d_table), shared: Some(&mut d_shared) };
    let d_qkv = ops.attention_backward(&d_context, &qkv, &bias, &probs, shape, &mut d_bias);
    [context, d_qkv, dq, dv, d_table, d_shared]
}

/// With a ReLU: its output, the statistics of the batch, the running ones, and the gradients.
fn batch_norm<O: Ops>(ops: &O, shape: [usize; 4]) -> [O::Tensor; 7] {
    let [.., c] = shape;
    let p = Norm { weight: upload(ops, [c], 1), bias: upload(ops, [c], 2) };
    let mut dp = Norm { weight: upload(ops, [c], 3), bias: upload(ops, [c], 4) };
    let mut running = Running { mean: upload(ops, [c], 5), variance: upload(ops, [c], 6) };
    let (x, dy) = (upload(ops, shape, 7), upload(ops, shape, 8));
    let (y, stats) = ops.batch_norm_relu_forward(&x, &p, &mut running, 1e-5);
    let dx = ops.batch_norm_relu_backward(&dy, [&x, &y], &stats, &p, &mut dp);
    [y, stats, running.mean, running.variance, dx, dp.weight, dp.bias]
}

/// Resized, pooled, and twice as large: outputs and gradients.
fn maps<O: Ops>(ops: &O, shape: [usize; 4], to: [usize; 2]) -> [O::Tensor; 8] {
    let [b, h, w, c] = shape;
    let p = ConvTranspose2 { weight: upload(ops, [c, c + 1, 2, 2], 1), bias: upload(ops, [c + 1], 2) };
    let mut dp = ConvTranspose2 { weight: upload(ops, [c, c + 1, 2, 2], 3), bias: upload(ops, [c + 1], 4) };
    let (x, dy) = (upload(ops, shape, 5), upload(ops, [b, to[0], to[1], c], 6));
    let d_large = upload(ops, [b, 2 * h, 2 * w, c + 1], 7);
    let resized = [
        ops.resize(&x, to, Corners::Edges),
        ops.resize_backward(&dy, [h, w], Corners::Edges),
        ops.pool_to(&x, to),
        ops.pool_to_backward(&dy, [h, w]),
    ];
    let [y, dx] = [ops.conv_transpose2(&x, &p), ops.conv_transpose2_backward(&d_large, &x, &p, &mut dp)];
    let [a, b, c, d] = resized;
    [a, b, c, d, y, dx, dp.weight, dp.bias]
}

/// Layers larger than a tile.
enum Larger {
    Transformer,
    Maps,
}

impl Check for Larger {
    fn name(&self) -> &'static str {
        "layers larger than a tile"
    }
    fn run<R: Runtime>(&self, gpu: &Gpu<R>) {
        match self {
            Self::Transformer => compare_transformer(gpu),
            Self::Maps => compare_maps(gpu),
        }
    }
}

#[test]
fn transformers_larger_than_a_tile() {
    on_device(Precision::F32, Turn::First, &Larger::Transformer);
}

#[test]
fn maps_larger_than_a_tile() {
    on_device(Precision::F32, Turn::Second, &Larger::Maps);
}

fn compare_transformer(gpu: &impl Ops) {
    let host = Host::<f64>::new();
    for extents in [[64, 64, 64], [200, 96, 130], [1000, 16, 65], [1, 70, 3]] {
        let names = ["pre", "gelu", "dx", "d_weight", "d_bias"];
        for ((x, y), name) in linear(gpu, extents).iter().zip(&linear(&host, extents)).zip(names) {
            close(&format!("linear {extents:?}: {name}"), (gpu, x), (&host, y));
        }
    }
    for extents in [[2, 2, 24, 7, 7], [2, 2, 64, 9, 11], [1, 2, 88, 5, 8], [1, 1, 16, 14, 14]] {
        let names = ["context", "d_qkv", "d_q_bias", "d_v_bias", "d_table", "d_shared"];
        for ((x, y), name) in attention(gpu, extents).iter().zip(&attention(&host, extents)).zip(names) {
            close(&format!("attention {extents:?}: {name}"), (gpu, x), (&host, y));
        }
    }
}

fn compare_maps(gpu: &impl Ops) {
    let host = Host::<f64>::new();
    for extents in [[2, 9, 7, 20, 70, 3], [1, 16, 16, 3, 8, 7], [3, 8, 8, 65, 5, 1]] {
        let names = ["y", "dx", "d_weight", "d_bias"];
        for ((x, y), name) in conv(gpu, extents).iter().zip(&conv(&host, extents)).zip(names) {
            close(&format!("conv2d {extents:?}: {name}"), (gpu, x), (&host, y));
        }
    }
    for shape in [[2, 70, 80, 12], [1, 40, 7, 260], [3, 31, 29, 5]] {
        let names = ["y", "stats", "mean", "variance", "dx", "d_weight", "d_bias"];
        for ((x, y), name) in batch_norm(gpu, shape).iter().zip(&batch_norm(&host, shape)).zip(names) {
            close(&format!("batch_norm {shape:?}: {name}"), (gpu, x), (&host, y));
        }
    }
    for (shape, to) in [([2, 17, 19, 12], [50, 64]), ([2, 32, 32, 70], [5, 6]), ([1, 14, 14, 33], [1, 1])] {
        let names = ["resize", "dx", "pool_to", "dx", "conv_transpose2", "dx", "d_weight", "d_bias"];
        for ((x, y), name) in maps(gpu, shape, to).iter().zip(&maps(&host, shape, to)).zip(names) {
            close(&format!("maps {shape:?} to {to:?}: {name}"), (gpu, x), (&host, y));
        }
    }
}
