//! NaN in what segmentation heads do with feature maps.

use super::super::check::Check;
use super::{broken, sound, wanted};
use crate::{BatchNormOps, ConvTranspose2, Corners, MapOps, Norm, Running};
use alloc::format;

pub(in super::super) fn infer<O: MapOps + BatchNormOps>(check: &mut Check<'_, O>) {
    resize(check);
    pool_to(check);
    conv_transpose2(check);
    batch_norm(check);
}

/// Doubling spreads a pixel over the four that it becomes, whatever the corners.
fn resize<O: MapOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "resize") else { return };
    for c in [3, 4] {
        for at in 0..4 * c {
            let y = check.ops.resize(&broken(check.ops, [1, 2, 2, c], 140, at), [4, 4], Corners::Edges);
            let (row, column, k) = (at / c / 2, at / c % 2, at % c);
            let near = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let near = near.map(|(r, s)| ((2 * row + r) * 4 + 2 * column + s) * c + k);
            check.carried(&name, &y, near);
        }
    }
}

fn pool_to<O: MapOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "pool_to") else { return };
    for at in 0..4 * 4 * 3 {
        let y = check.ops.pool_to(&broken(check.ops, [1, 4, 4, 3], 141, at), [2, 2]);
        check.carried(&name, &y, [(at / 24 * 2 + at / 3 % 4 / 2) * 3 + at % 3]);
    }
}

/// A pixel reaches all channels of its square.
fn conv_transpose2<O: MapOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "conv_transpose2") else { return };
    let p = ConvTranspose2 { weight: sound(check.ops, [3, 5, 2, 2], 143), bias: sound(check.ops, [5], 144) };
    for at in [0, 4, 11] {
        let y = check.ops.conv_transpose2(&broken(check.ops, [1, 2, 2, 3], 142, at), &p);
        let (row, column) = (at / 3 / 2, at / 3 % 2);
        let square = [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter();
        let square = square.flat_map(|(r, s)| {
            let pixel = (2 * row + r) * 4 + 2 * column + s;
            pixel * 5..(pixel + 1) * 5
        });
        check.carried(&name, &y, square);
    }
}

/// A ReLU after the norm does not hide it.
fn batch_norm<O: BatchNormOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "batch_norm") else { return };
    for c in [3, 4] {
        let ops = check.ops;
        let p = Norm { weight: sound(ops, [c], 146), bias: sound(ops, [c], 147) };
        let ones = || ops.upload([c], &[1.0].repeat(c));
        let running = Running { mean: ones(), variance: ones() };
        for at in 0..4 * c {
            let x = broken(ops, [1, 2, 2, c], 145, at);
            check.carried(&name, &ops.batch_norm(&x, &p, &running, 1e-5), [at]);
            let y = ops.batch_norm_relu(&x, &p, &running, 1e-5);
            check.carried(&format!("{name}, relu"), &y, [at]);
        }
    }
}
