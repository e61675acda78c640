//! NaN in losses, gradients and the optimiser.

use super::super::check::Check;
use super::{broken, sound, wanted};
use crate::{CrossEntropyOps, ElboOps, GumbelNoise, Norm, Ops, RowOps, SquaredErrorOps, Targets};
use alloc::format;
use alloc::vec::Vec;

/// The columns of rows that a warp takes, and that a block takes, on devices that have them.
const WIDTHS: [usize; 4] = [4, 7, 1032, 1033];

pub(in super::super) fn train<O: Ops>(check: &mut Check<'_, O>) {
    gelu_backward(check);
    relu_backward(check);
    max_pool2(check);
    layer_norm(check);
    for v in WIDTHS {
        for at in [0, v / 2, v - 1] {
            cross_entropy(check, v, at);
            gumbel_softmax(check, v, at);
            posterior_kl(check, v, at);
        }
    }
    logit_laplace(check);
    squared_error(check);
    clip_factor(check);
}

/// Both the gradient and the input are carried on.
fn gelu_backward<O: Ops>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "gelu_backward") else { return };
    for n in [8, 5] {
        for at in 0..n {
            let (x, dy) = (sound(check.ops, [1, n], 121), broken(check.ops, [1, n], 120, at));
            check.carried(&format!("{name} in dy"), &check.ops.gelu_backward(&dy, &x), [at]);
            let (x, dy) = (broken(check.ops, [1, n], 121, at), sound(check.ops, [1, n], 120));
            check.carried(&format!("{name} in x"), &check.ops.gelu_backward(&dy, &x), [at]);
        }
    }
}

/// The gradient passes where the input is positive, and where it is NaN: as in PyTorch, only what is known to be negative stops it.
fn relu_backward<O: Ops>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "relu_backward") else { return };
    for n in [8, 5] {
        for at in 0..n {
            let dy = broken(check.ops, [1, n], 120, at);
            let mut x = [-1.0].repeat(n);
            for passes in [0.5, f32::NAN] {
                x[at] = passes;
                let dx = check.ops.relu_backward(&dy, &check.ops.upload([1, n], &x));
                check.carried(&format!("{name} in dy where x is {passes}"), &dx, [at]);
            }
        }
    }
}

/// The gradient of a square with NaN is not lost: one of the four elements gets it.
fn max_pool2<O: Ops>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "max_pool2_backward") else { return };
    let dy = check.ops.upload([1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    for at in 0..16 {
        let dx = check.ops.max_pool2_backward(&dy, &broken(check.ops, [1, 2, 2, 4], 122, at));
        let dx = check.ops.read(&dx).unwrap_or_default();
        let sums: Vec<f32> = (0..4).map(|k| dx.iter().skip(k).step_by(4).sum()).collect();
        check.report.compared += 1;
        if sums != [1.0, 2.0, 3.0, 4.0] {
            check.report.failures.push(format!("{name} at {at}: got {sums:?}, want 1, 2, 3, 4"));
        }
    }
}

fn layer_norm<O: Ops>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "layer_norm_backward") else { return };
    let (ops, m, c) = (check.ops, 3, 20);
    let p = Norm { weight: sound(ops, [c], 124), bias: sound(ops, [c], 125) };
    for at in [0, c + 7, m * c - 1] {
        let row = at / c * c..(at / c + 1) * c;
        for (x, dy, what) in [
            (broken(ops, [m, c], 123, at), sound(ops, [m, c], 126), "x"),
            (sound(ops, [m, c], 123), broken(ops, [m, c], 126, at), "dy"),
        ] {
            let mut dp = Norm { weight: ops.zeros([c]), bias: ops.zeros([c]) };
            let (_, stats) = ops.layer_norm_forward(&x, &p, 1e-6);
            let dx = ops.layer_norm_backward(&dy, &x, &p, &stats, &mut dp);
            check.carried(&format!("{name} in {what}"), &dx, row.clone());
            check.carried(&format!("{name} in {what}, d_weight"), &dp.weight, [at % c]);
        }
    }
}

/// The loss, the log-sum-exp of the row and its gradient are NaN, and the row is not right, whatever its class.
fn cross_entropy<O: CrossEntropyOps + RowOps>(check: &mut Check<'_, O>, v: usize, at: usize) {
    let Some(name) = wanted(check, "cross_entropy") else { return };
    let (ops, what) = (check.ops, format!("{name} at {at} of {v}"));
    let logits = broken(ops, [2, v], 127, v + at);
    let mut shares = [0.0].repeat(2 * v);
    (shares[0], shares[v + at]) = (1.0, 1.0);
    let (shares, row) = (ops.upload([2, v], &shares), v..2 * v);
    for class in [0, at, v - 1] {
        let ids = ops.upload_ids(&[0, class as u32]);
        let ignored = ops.upload_ids(&[0, u32::MAX]);
        let all = [
            Targets::Classes { ids: &ids, smoothing: 0.0 },
            Targets::Classes { ids: &ids, smoothing: 0.1 },
            Targets::Probabilities(&shares),
            Targets::Labels { ids: &ids, counted: 2 },
            Targets::Labels { ids: &ignored, counted: 1 },
        ];
        for targets in all {
            let (metrics, lse) = ops.cross_entropy(&logits, &targets);
            check.carried(&format!("{what}, loss"), &metrics, [0]);
            check.carried(&format!("{what}, log-sum-exp"), &lse, [1]);
            let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
            check.carried(&format!("{what}, gradient"), &d_logits, row.clone());
            let right = ops.read(&metrics).map_or(f32::NAN, |metrics| metrics[1]);
            let first = ops.read_ids(&ops.argmax_rows(&logits)).unwrap_or_default();
            let want = if first.first() == Some(&0) { 1.0 } else { 0.0 };
            if right != want {
                check.report.failures.push(format!("{what}, rows that are right: got {right}, want {want}"));
            }
        }
    }
}

fn gumbel_softmax<O: ElboOps>(check: &mut Check<'_, O>, v: usize, at: usize) {
    let Some(name) = wanted(check, "gumbel_softmax") else { return };
    let noise = GumbelNoise { seed: 5, step: 3 };
    let y = check.ops.gumbel_softmax(&broken(check.ops, [2, v], 128, v + at), noise, 0.5);
    check.carried(&format!("{name} at {at} of {v}"), &y, v..2 * v);
    let dy = sound(check.ops, [2, v], 129);
    check.carried(&format!("{name}, backward"), &check.ops.gumbel_softmax_backward(&dy, &y, 0.5), v..2 * v);
}

/// The mean over rows takes NaN to all rows.
fn posterior_kl<O: ElboOps>(check: &mut Check<'_, O>, v: usize, at: usize) {
    let Some(name) = wanted(check, "posterior_kl") else { return };
    let (divergences, saved) = check.ops.posterior_kl(&broken(check.ops, [2, v], 130, at));
    check.carried(&format!("{name} at {at} of {v}"), &divergences, [0, 1]);
    check.carried(&format!("{name} at {at} of {v}, q"), &saved[0], 0..v);
    check.carried(&format!("{name} at {at} of {v}, mean"), &saved[1], 0..v);
    let d_logits = check.ops.posterior_kl_backward(&saved, [1.0, 1.0]);
    check.carried(&format!("{name} at {at} of {v}, gradient"), &d_logits, 0..2 * v);
}

/// Of an element whose mean or width is NaN, both gradients are.
fn logit_laplace<O: ElboOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "logit_laplace") else { return };
    let c = 3;
    let x = check.ops.upload([2, c], &[0.1, 0.4, 0.5, 0.6, 0.7, 0.8]);
    for at in 0..4 * c {
        let params = broken(check.ops, [2, 2 * c], 131, at);
        check.carried(&name, &check.ops.logit_laplace(&params, &x), [0]);
        let mean = at / (2 * c) * 2 * c + at % c;
        let d_params = check.ops.logit_laplace_backward(&params, &x);
        check.carried(&format!("{name}, gradient at {at}"), &d_params, [mean, mean + c]);
    }
}

/// Of either side; the gradient of that element alone.
fn squared_error<O: SquaredErrorOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "squared_error") else { return };
    let shape = [2, 5];
    for at in [0, 4, 9] {
        for (y, target) in [
            (broken(check.ops, shape, 134, at), sound(check.ops, shape, 135)),
            (sound(check.ops, shape, 134), broken(check.ops, shape, 135, at)),
        ] {
            check.carried(&name, &check.ops.squared_error(&y, &target), [0]);
            let dy = check.ops.squared_error_backward(&y, &target, 1.0);
            check.carried(&format!("{name}, gradient at {at}"), &dy, [at]);
        }
    }
}

/// One NaN in any gradient is one in the norm and in the factor, limited or not.
fn clip_factor<O: Ops>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "clip_factor") else { return };
    for at in [0, 2, 34] {
        let grads = [sound(check.ops, [3], 132), broken(check.ops, [7, 5], 133, at)];
        for max_norm in [None, Some(1.0)] {
            let clip = check.ops.clip_factor(&grads.iter().collect::<Vec<_>>(), max_norm, 0.5);
            check.carried(&format!("{name} at {at}, at most {max_norm:?}"), &clip, [0, 1]);
        }
    }
}
