//! NaN in feature maps, and in what is chosen from them.

use super::super::check::Check;
use super::{broken, sound, wanted};
use crate::{Conv2d, ConvOps, RowOps};
use alloc::format;
use alloc::vec::Vec;

pub(in super::super) fn infer<O: ConvOps + RowOps>(check: &mut Check<'_, O>) {
    relu(check);
    max_pool2(check);
    conv2d(check);
    argmax_rows(check);
}

fn relu<O: ConvOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "relu") else { return };
    // Widths that are read as vectors of four, and one at a time.
    for shape in [[1, 2, 2, 4], [1, 1, 3, 5]] {
        for at in 0..shape.iter().product() {
            let y = check.ops.relu(&broken(check.ops, shape, 90, at));
            check.carried(&name, &y, [at]);
        }
    }
}

fn max_pool2<O: ConvOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "max_pool2") else { return };
    for c in [3, 4] {
        for at in 0..8 * c {
            let y = check.ops.max_pool2(&broken(check.ops, [1, 2, 4, c], 91, at));
            let column = at / c % 4 / 2;
            check.carried(&name, &y, [column * c + at % c]);
        }
    }
}

/// A pixel reaches all channels of the pixels around it; a weight reaches its channel wherever the kernel is within the image.
fn conv2d<O: ConvOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "conv2d") else { return };
    const SIDE: usize = 6;
    const OUT: usize = 5;
    for k in [1, 3] {
        let (x, weight, bias) = ([1, SIDE, SIDE, 3], [OUT, 3, k, k], sound(check.ops, [OUT], 94));
        let within = |from: usize, to: usize| from.abs_diff(to) <= k / 2;
        for pixel in [0, 2 * SIDE + 3, SIDE * SIDE - 1] {
            let p = Conv2d { weight: sound(check.ops, weight, 93), bias: Some(bias.clone()) };
            let y = check.ops.conv2d(&broken(check.ops, x, 92, 3 * pixel + 1), &p);
            let near = |&q: &usize| within(q % SIDE, pixel % SIDE) && within(q / SIDE, pixel / SIDE);
            let near = (0..SIDE * SIDE).filter(near).flat_map(|q| q * OUT..(q + 1) * OUT);
            check.carried(&format!("{name} in x, {k}x{k}"), &y, near);
        }
        for at in [0, 3 * k * k * OUT - 1] {
            let p = Conv2d { weight: broken(check.ops, weight, 93, at), bias: Some(bias.clone()) };
            let y = check.ops.conv2d(&sound(check.ops, x, 92), &p);
            let inner = |&q: &usize| [q % SIDE, q / SIDE].iter().all(|&i| i > 0 && i + 1 < SIDE);
            let inner = (0..SIDE * SIDE).filter(inner).map(|q| q * OUT + at / (3 * k * k));
            check.carried(&format!("{name} in the weight, {k}x{k}"), &y, inner);
        }
    }
}

/// The column of the first NaN, wherever the largest number stands.
fn argmax_rows<O: RowOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "argmax_rows") else { return };
    for v in [1, 4, 7, 50, 1032, 1033] {
        let places: Vec<usize> = [0, 1, v / 2, v - 1].into_iter().filter(|&at| at < v).collect();
        for &at in &places {
            let got = check.ops.argmax_rows(&broken(check.ops, [1, v], 95, at));
            check.ids(&format!("{name} at {at} of {v}"), &got, &[at as u32]);
        }
    }
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let x = [1.0, nan, infinity, nan, nan, nan, nan, nan, 2.0, 3.0, -infinity, infinity];
    let got = check.ops.argmax_rows(&check.ops.upload([3, 4], &x));
    check.ids(&format!("{name}, several"), &got, &[1, 0, 3]);
}
