//! What the CUDA kernels compute, on the emulated device.

#![allow(clippy::print_stdout)]

use beit_cubecl::{CANDIDATES, Gpu, HOPPER, Precision, Tile};
use beit_ops::conformance::{self, Tolerance};
use beit_ops::prelude::*;
use beit_ops::{
    BranchGrads, Conv2d, Host, Linear, Norm, Residual, Shape, SumNorm, SumNormGrads, philox::uniforms,
};
use cubecl::Runtime;
use cuda_check::attention::attention;
use cuda_check::{Emulated, Sm};
use std::io::Write;

/// One device is one thread: tests on different devices run at the same time.
fn gpu(precision: Precision, sm: Sm) -> Gpu<Emulated> {
    Gpu::new(Emulated::client(&sm), precision).expect("the device has everything")
}

/// The same kernels in f32 run on Mesa's renderer in every check, so here they run only where `CUDA_CHECK_ALL` is set: they take as
/// long as all of bf16.
#[test]
fn conformance_f32() {
    if std::env::var_os("CUDA_CHECK_ALL").is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: the conformance suite in f32 on the emulator; CUDA_CHECK_ALL=1 runs it"
        );
        return;
    }
    let report = conformance::run(&gpu(Precision::F32, Sm(80)), Tolerance::F32);
    println!("{} tensors compared", report.compared);
    assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
}

/// Matrix products and convolutions on tensor cores, and the rest of the suite where `CUDA_CHECK_ALL` is set.
#[test]
fn conformance_bf16() {
    let all = std::env::var_os("CUDA_CHECK_ALL").is_some();
    if !all {
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: what is not on tensor cores, in bf16 on the emulator; CUDA_CHECK_ALL=1 runs it"
        );
    }
    let begins = ["linear", "conv2d", "conv_transpose2", "layer_norm inside"];
    let products = |name: &str| begins.iter().any(|start| name.starts_with(start));
    conform_bf16(Sm(80), 100, &|name| !name.starts_with("attention") && (all || products(name)));
}

/// Attention on tensor cores.
#[test]
fn conformance_bf16_attention() {
    conform_bf16(Sm(90), 70, &|name| name.starts_with("attention"));
}

fn conform_bf16(sm: Sm, more_than: usize, wanted: &dyn Fn(&str) -> bool) {
    let report = conformance::run_named(&gpu(Precision::Bf16, sm), Tolerance::BF16, wanted);
    println!("{} tensors compared", report.compared);
    assert!(report.compared > more_than && report.failures.is_empty(), "{report}");
}

/// Products on Hopper's tensor cores: results that end within a tile, sums that are cut into pieces, windows.
#[test]
fn products_on_hopper() {
    let host = Host::<f64>::new();
    let extents = [[200, 136, 264], [136, 520, 128]];
    let wanted = extents.map(|extents| (linear(&host, extents), conv(&host)));
    let of_one_tile = HOPPER.into_iter().filter(|tile| !is_persistent(tile));
    for tile in of_one_tile {
        let gpu = gpu(Precision::Bf16, Sm(90)).with_tile(tile);
        for (extents, (linear_wanted, conv_wanted)) in extents.iter().zip(&wanted) {
            within(&linear(&gpu, *extents), linear_wanted, &format!("{tile:?}: linear {extents:?}"));
            within(&conv(&gpu), conv_wanted, &format!("{tile:?}: conv2d"));
        }
    }
}

/// More tiles along m than a grid has blocks along y: several rows of tiles lie along x, and the last blocks have no tile.
#[test]
fn products_with_more_tiles_than_a_grid_has_along_y() {
    let (host, extents) = (Host::<f64>::new(), [600, 136, 72]);
    let (wanted, conv_wanted) = (linear(&host, extents), conv(&host));
    for (sm, tile) in [(80, CANDIDATES[2]), (90, HOPPER[3])] {
        for most in [1, 2] {
            let gpu = gpu(Precision::Bf16, Sm(sm)).with_tile(tile).with_most_blocks(most);
            let what = format!("{tile:?}, at most {most} along y");
            within(&linear(&gpu, extents), &wanted, &what);
            within(&conv(&gpu), &conv_wanted, &format!("{what}: conv2d"));
        }
    }
}

fn is_persistent(tile: &Tile) -> bool {
    tile.hopper.is_some_and(|hopper| hopper.persistent)
}

/// Persistent blocks: one that takes all tiles, with more steps than it has stages; five that share more rows of tiles than are taken
/// together, and sums that are cut into pieces.
#[test]
fn products_by_persistent_blocks() {
    let tile = HOPPER.into_iter().find(is_persistent).expect("one of the tiles is persistent");
    for (extents, blocks) in [([136, 264, 72], 1), ([1040, 40, 264], 5)] {
        let gpu = gpu(Precision::Bf16, Sm(90)).with_tile(tile).with_most_blocks(blocks);
        let wanted = linear(&Host::<f64>::new(), extents);
        within(&linear(&gpu, extents), &wanted, &format!("{tile:?}, {extents:?} by {blocks}"));
    }
}

type Named = Vec<(&'static str, Vec<f32>)>;

/// Within 2 % of the largest element: some are made of others that were rounded to bf16.
fn within(got: &Named, want: &Named, what: &str) {
    for ((name, got), (_, want)) in got.iter().zip(want) {
        let scale = want.iter().fold(0.0f32, |a, w| a.max(w.abs()));
        let off = got.iter().zip(want).map(|(g, w)| if g.is_nan() { f32::INFINITY } else { (g - w).abs() });
        let off = off.fold(0.0, f32::max) / scale;
        assert!(off <= 0.02, "{what}: {name} is off by {off:e} of the largest element");
    }
}

fn random<O: Ops>(ops: &O, shape: impl Into<Shape>, tag: u64) -> O::Tensor {
    let shape = shape.into();
    let number = |i: usize| 2.0 * uniforms(9, tag, i as u64 / 4)[i % 4] - 1.0;
    ops.upload(shape, &(0..shape.elements()).map(number).collect::<Vec<_>>())
}

fn read<O: Ops, const N: usize>(ops: &O, named: [(&'static str, &O::Tensor); N]) -> Named {
    named.map(|(name, x)| (name, ops.read(x).expect("the device works"))).to_vec()
}

fn linear<O: Ops>(ops: &O, [m, c, n]: [usize; 3]) -> Named {
    let p = Linear { weight: random(ops, [n, c], 1), bias: Some(random(ops, [n], 2)) };
    let mut dp = Linear { weight: random(ops, [n, c], 3), bias: Some(random(ops, [n], 4)) };
    let (x, dy) = (random(ops, [m, c], 5), random(ops, [m, n], 6));
    let (pre, act) = ops.linear_gelu_forward(&x, &p);
    let dx = ops.linear_backward(&dy, &x, &p, &mut dp);
    let next = Linear { weight: random(ops, [c, n], 7), bias: None };
    let mut d_next = Linear { weight: random(ops, [c, n], 8), bias: None };
    let mut d_before = random(ops, [n], 10);
    let d_pre = ops.linear_gelu_backward(&dx, [&pre, &act], &next, &mut d_next, Some(&mut d_before));
    let gradients = [("d weight", &dp.weight), ("d next", &d_next.weight), ("d bias before", &d_before)];
    let results = [("pre", &pre), ("gelu", &act), ("dx", &dx), ("d pre", &d_pre)];
    [read(ops, results), read(ops, gradients)].concat()
}

fn conv<O: Ops>(ops: &O) -> Named {
    let [b, h, w, i, o, k] = [2, 9, 7, 24, 40, 3];
    let p = Conv2d { weight: random(ops, [o, i, k, k], 1), bias: Some(random(ops, [o], 2)) };
    let mut dp = Conv2d { weight: random(ops, [o, i, k, k], 3), bias: Some(random(ops, [o], 4)) };
    let (x, dy) = (random(ops, [b, h, w, i], 5), random(ops, [b, h, w, o], 6));
    let [y, positive] = [ops.conv2d(&x, &p), ops.conv2d_relu(&x, &p)];
    let sum = ops.conv2d_add_scaled(&y, &x, &p, -0.25);
    let dx = ops.conv2d_backward(&dy, &x, &p, &mut dp);
    let few = Conv2d { weight: random(ops, [o, 3, 7, 7], 7), bias: Some(random(ops, [o], 8)) };
    let few = ops.conv2d(&random(ops, [b, h, w, 3], 9), &few);
    let results = [("y", &y), ("relu", &positive), ("sum", &sum), ("dx", &dx), ("of 3 channels", &few)];
    [read(ops, results).as_slice(), &read(ops, [("d weight", &dp.weight)])].concat()
}

/// Rows of the base model, which warps read in vectors of eight elements: the norm with the sum before it, and all of its gradients.
#[test]
fn rows_of_the_base_model() {
    let want = residual_norm(&Host::<f64>::new());
    let got = residual_norm(&gpu(Precision::Bf16, Sm(90)));
    within(&got, &want, "rows of 768");
    let named = |wanted| &got.iter().find(|(name, _)| *name == wanted).expect("it is among them").1;
    assert_eq!(named("norm"), named("norm alone"), "a block that is run again from its input has other bits");
}

fn residual_norm<O: Ops>(ops: &O) -> Named {
    let (images, m, c) = (3, 15, 768);
    let [x, branch, dy] = [1, 2, 3].map(|tag| random(ops, [m, c], tag));
    let [gamma, weight, bias] = [4, 5, 6].map(|tag| random(ops, [c], tag));
    let keep = random(ops, [images], 7);
    let scale = Residual { gamma: Some(&gamma), keep: Some(&keep) };
    let p = Norm { weight, bias };
    let (y, normed, stats) = ops.scale_residual_norm_forward(&x, &branch, &scale, &p, 1e-6);
    let zeros = || Norm { weight: ops.zeros([c]), bias: ops.zeros([c]) };
    let (mut dp, mut d_last, [mut d_gamma, mut d_bias]) =
        (zeros(), zeros(), [(); 2].map(|()| ops.zeros([c])));
    let given = SumNorm { y: &y, stats: &stats, branch: &branch, scale, norm: &p };
    let grads = SumNormGrads { normed: &dy, y: &branch };
    let into = BranchGrads { gamma: Some(&mut d_gamma), bias: Some(&mut d_bias) };
    let (dx, d_branch) = ops.scale_residual_norm_backward(grads, &given, &mut dp, into);
    let d_first = ops.layer_norm_backward_residual(&dy, &y, &p, &stats, &mut d_last, &branch);
    let (alone, _) = ops.layer_norm_forward(&y, &p, 1e-6);
    let results = [
        ("y", &y),
        ("norm", &normed),
        ("norm alone", &alone),
        ("dx", &dx),
        ("d branch", &d_branch),
        ("dx alone", &d_first),
    ];
    let gradients = [
        ("d weight", &dp.weight),
        ("d bias", &dp.bias),
        ("d gamma", &d_gamma),
        ("d bias of the branch", &d_bias),
    ];
    [read(ops, results).as_slice(), &read(ops, gradients), &read(ops, [("d weight alone", &d_last.weight)])]
        .concat()
}

/// The attention of the base model: two heads of 64 on 197 tokens, with both tables.
#[test]
fn attention_at_base_size() {
    let precisions = [(Precision::F32, Tolerance::F32), (Precision::Bf16, Tolerance::BF16)];
    attention_agrees([14, 14], 64, &precisions);
}

/// A window too wide for the kernel that has all of a head in shared memory: the one that long sequences take.
#[test]
fn attention_in_stages() {
    attention_agrees([2, 17], 64, &[(Precision::Bf16, Tolerance::BF16)]);
    attention_agrees([6, 20], 64, &[(Precision::Bf16, Tolerance::BF16)]);
}

/// Heads of other sizes: those whose rows in shared memory are an odd number of chunks long, those with zeros behind their own elements,
/// and the largest; more than one stage of keys in the backward pass, and in the forward pass of the last.
#[test]
fn attention_of_other_heads() {
    for (window, d) in [([5, 14], 32), ([5, 14], 88), ([11, 20], 128)] {
        attention_agrees(window, d, &[(Precision::Bf16, Tolerance::BF16)]);
    }
}

fn attention_agrees(window: [usize; 2], d: usize, precisions: &[(Precision, Tolerance)]) {
    let run = |result: Result<_, String>| result.unwrap_or_else(|e| panic!("heads of {d}: {e}"));
    let reference: Vec<(&str, Vec<f32>)> = run(attention(&Host::<f64>::new(), window, d));
    for &(precision, tolerance) in precisions {
        for (got, (name, want)) in run(attention(&gpu(precision, Sm(90)), window, d)).iter().zip(&reference) {
            let scale = want.iter().fold(1.0f32, |a, w| a.max(w.abs()));
            let off =
                got.1.iter().zip(want).map(|(g, w)| if g.is_nan() { f32::INFINITY } else { (g - w).abs() });
            let (at, off) = off.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("it has elements");
            let allowed = scale * tolerance.gradient as f32;
            println!("{precision} {name}: off by {:.1e} of {scale:.2}", off / scale);
            assert!(
                off <= allowed,
                "{precision} {name}[{at}]: got {}, want {}, allowed ±{allowed:e}",
                got.1[at],
                want[at]
            );
        }
    }
}
