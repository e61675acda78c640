//! One attention, forward and backward, of a random input.

use beit_ops::prelude::*;
use beit_ops::{AttentionShape, QkvBias, QkvBiasGrad, Shape, philox::uniforms, relative_position_rows};

/// Context and gradients by name, of one image and two heads of `d` elements on the patches of `window` and `[CLS]`, with both tables.
///
/// # Errors
///
/// What the device reported.
pub fn attention<O: Ops>(
    ops: &O,
    window: [usize; 2],
    d: usize,
) -> Result<Vec<(&'static str, Vec<f32>)>, String> {
    let (heads, tokens) = (2, window[0] * window[1] + 1);
    let (shape, c) = (AttentionShape { heads, tokens, window }, heads * d);
    let rows = relative_position_rows(window);
    let qkv = random(ops, [tokens, 3 * c], 1, 3.0);
    let [q, v] = [2, 3].map(|tag| random(ops, [c], tag, 1.0));
    let [table, shared] = [4, 5].map(|tag| random(ops, [rows, heads], tag, 1.0));
    let bias = QkvBias { q: &q, v: &v, table: Some(&table), shared: Some(&shared) };
    let (context, probs) = ops.attention_forward(&qkv, &bias, shape);
    let [mut dq, mut dv] = [(); 2].map(|()| ops.zeros([c]));
    let [mut d_table, mut d_shared] = [(); 2].map(|()| ops.zeros([rows, heads]));
    let mut d_bias =
        QkvBiasGrad { q: &mut dq, v: &mut dv, table: Some(&mut d_table), shared: Some(&mut d_shared) };
    let d_context = random(ops, [tokens, c], 6, 1.0);
    let dx = ops.attention_backward(&d_context, &qkv, &bias, &probs, shape, &mut d_bias);
    let named = [
        ("context", &context),
        ("d qkv", &dx),
        ("d q", &dq),
        ("d v", &dv),
        ("d table", &d_table),
        ("d shared", &d_shared),
    ];
    named.into_iter().map(|(name, x)| Ok((name, ops.read(x).map_err(|e| format!("{name}: {e}"))?))).collect()
}

/// Numbers from `-size` to `size`, which follow from `tag`.
fn random<O: Ops>(ops: &O, shape: impl Into<Shape>, tag: u64, size: f32) -> O::Tensor {
    let shape = shape.into();
    let number = |i: usize| size * (2.0 * uniforms(5, tag, i as u64 / 4)[i % 4] - 1.0);
    ops.upload(shape, &(0..shape.elements()).map(number).collect::<Vec<_>>())
}
