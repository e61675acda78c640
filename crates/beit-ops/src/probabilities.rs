//! The probabilities of self-attention, for whoever looks at them: no operation keeps them.

use crate::ops::{AttentionShape, QkvBias};
use crate::relative_position_index;
use alloc::vec::Vec;

/// How much of each key some queries take: `qkv [B·T, 3C] -> [B, H, queries, T]`, rows that add up to one.
///
/// `softmax((q + q_bias) D^-1/2 · kᵀ + R)`, see [`AttentionOps::attention`](crate::AttentionOps::attention), whose context is their product
/// with `v + v_bias`. `queries` are tokens, 0 is \[CLS\]. A bias of the keys would add the same number to all scores of a query, so there is
/// none. Sums are of f64.
///
/// ```
/// use beit_ops::{AttentionShape, QkvBias, attention_probabilities};
/// // Two tokens of one channel: the query is the same, the second key is longer.
/// let (zero, qkv) = (vec![0.0], [1.0, 0.0, 5.0, 1.0, 1.0, 7.0]);
/// let bias = QkvBias { q: &zero, v: &zero, table: None, shared: None };
/// let shape = AttentionShape { heads: 1, tokens: 2, window: [1, 1] };
/// let rows = attention_probabilities(&qkv, &bias, shape, &[0]);
/// assert!((rows[1] / rows[0] - 1_f32.exp()).abs() < 1e-6 && (rows[0] + rows[1] - 1.0).abs() < 1e-6);
/// ```
#[must_use]
pub fn attention_probabilities(
    qkv: &[f32],
    bias: &QkvBias<'_, Vec<f32>>,
    shape: AttentionShape,
    queries: &[usize],
) -> Vec<f32> {
    let AttentionShape { heads, tokens, window } = shape;
    let c = bias.q.len();
    let d = c / heads;
    let scale = 1.0 / libm::sqrt(d as f64);
    let relative = |query, key, head| {
        let tables = [bias.table, bias.shared].into_iter().flatten();
        tables
            .map(|table| f64::from(table[relative_position_index(window, query, key) * heads + head]))
            .sum::<f64>()
    };
    let mut all = Vec::with_capacity(qkv.len() / (3 * c) * heads * queries.len());
    for image in qkv.chunks_exact(3 * c * tokens) {
        for head in 0..heads {
            let columns = head * d..(head + 1) * d;
            for &query in queries {
                let q = &image[query * 3 * c..][columns.clone()];
                let score = |key: usize| {
                    let k = &image[key * 3 * c + c..][columns.clone()];
                    let pairs = q.iter().zip(&bias.q[columns.clone()]).zip(k);
                    let product: f64 =
                        pairs.map(|((&q, &b), &k)| (f64::from(q) + f64::from(b)) * f64::from(k)).sum();
                    product * scale + relative(query, key, head)
                };
                all.extend(softmax((0..tokens).map(score).collect()));
            }
        }
    }
    all
}

fn softmax(mut row: Vec<f64>) -> impl Iterator<Item = f32> {
    // `max` passes over NaN, but the sum does not: where one score is NaN, all of the row is.
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|score| *score = libm::exp(*score - largest));
    let total: f64 = row.iter().sum();
    row.into_iter().map(move |weight| (weight / total) as f32)
}
