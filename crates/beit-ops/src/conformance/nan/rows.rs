//! NaN in what a transformer computes.

use super::super::check::Check;
use super::{broken, sound, wanted};
use crate::params::{Linear, Norm};
use crate::{AttentionOps, AttentionShape, LinearOps, QkvBias, ResidualOps, TokenOps, TransformerOps};
use alloc::format;

pub(in super::super) fn infer<O: TransformerOps>(check: &mut Check<'_, O>) {
    linear(check);
    gelu(check);
    layer_norm(check);
    attention(check);
    mean_pool(check);
}

/// A row of `x` reaches its row, a row of the weight its column.
fn linear<O: LinearOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "linear") else { return };
    let (m, c, n) = (5, 19, 7);
    for at in [0, 2 * c + 3, m * c - 1] {
        let p = Linear { weight: sound(check.ops, [n, c], 101), bias: Some(sound(check.ops, [n], 102)) };
        let x = broken(check.ops, [m, c], 100, at);
        let row = at / c * n..(at / c + 1) * n;
        check.carried(&format!("{name} in x"), &check.ops.linear(&x, &p), row.clone());
        check.carried(&format!("{name} in x, with gelu"), &check.ops.linear_gelu(&x, &p), row);
    }
    for at in [0, 2 * c + 3, n * c - 1] {
        let p = Linear { weight: broken(check.ops, [n, c], 101, at), bias: None };
        let y = check.ops.linear(&sound(check.ops, [m, c], 100), &p);
        check.carried(&format!("{name} in the weight"), &y, (0..m).map(|row| row * n + at / c));
    }
}

fn gelu<O: LinearOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "gelu") else { return };
    for n in [8, 5] {
        for at in 0..n {
            check.carried(&name, &check.ops.gelu(&broken(check.ops, [1, n], 103, at)), [at]);
        }
    }
}

/// A row reaches all of its row, a weight its column.
fn layer_norm<O: ResidualOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "layer_norm") else { return };
    let (m, c) = (3, 20);
    for at in [0, c + 7, m * c - 1] {
        let p = Norm { weight: sound(check.ops, [c], 105), bias: sound(check.ops, [c], 106) };
        let y = check.ops.layer_norm(&broken(check.ops, [m, c], 104, at), &p, 1e-6);
        check.carried(&format!("{name} in x"), &y, at / c * c..(at / c + 1) * c);
    }
    for at in [0, c - 1] {
        let p = Norm { weight: broken(check.ops, [c], 105, at), bias: sound(check.ops, [c], 106) };
        let y = check.ops.layer_norm(&sound(check.ops, [m, c], 104), &p, 1e-6);
        check.carried(&format!("{name} in the weight"), &y, (0..m).map(|row| row * c + at));
    }
}

/// With one head of one image: a query reaches its row, a key every row, a value its column.
fn attention<O: AttentionOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "attention") else { return };
    let (t, d) = (5, 8);
    let shape = AttentionShape { heads: 1, tokens: t, window: [2, 2] };
    let [q, v] = [111, 112].map(|tag| sound(check.ops, [d], tag));
    let table = sound(check.ops, [crate::relative_position_rows([2, 2]), 1], 113);
    for token in [0, t - 1] {
        for (part, what) in ["queries", "keys", "values"].into_iter().enumerate() {
            let column = part * d + token;
            let qkv = broken(check.ops, [t, 3 * d], 110, token * 3 * d + column);
            for table in [None, Some(&table)] {
                let y = check.ops.attention(&qkv, &QkvBias { q: &q, v: &v, table, shared: None }, shape);
                let reached = |&i: &usize| match part {
                    0 => i / d == token,
                    1 => true,
                    _ => i % d == column % d,
                };
                check.carried(&format!("{name} in the {what}"), &y, (0..t * d).filter(reached));
            }
        }
    }
}

fn mean_pool<O: TokenOps>(check: &mut Check<'_, O>) {
    let Some(name) = wanted(check, "mean_pool") else { return };
    let (t, c) = (4, 6);
    for at in c..t * c {
        check.carried(&name, &check.ops.mean_pool(&broken(check.ops, [t, c], 114, at), t), [at % c]);
    }
}
