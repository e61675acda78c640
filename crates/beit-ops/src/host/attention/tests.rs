use super::{backward, forward};
use crate::host::array::{Array, zeros};
use crate::host::product::Products;
use crate::init::Stream;
use crate::ops::{AttentionShape, QkvBias, QkvBiasGrad};
use crate::prelude::*;
use crate::{Host, relative_position_index, relative_position_rows};
use alloc::vec::Vec;

/// More than one tile of queries, and the last one smaller.
const SHAPE: AttentionShape = AttentionShape { heads: 2, tokens: 210, window: [11, 19] };
const D: usize = 3;
const C: usize = 2 * D;

/// `qkv`, `q_bias`, `v_bias` and a table.
fn inputs() -> [Array<f64>; 4] {
    let rows = relative_position_rows(SHAPE.window);
    let shapes: [&[usize]; 4] = [&[2 * SHAPE.tokens, 3 * C], &[C], &[C], &[rows, SHAPE.heads]];
    let mut number = 0;
    shapes.map(|shape| {
        number += 1;
        let shape = crate::Shape::from_slice(shape).expect("few extents");
        Host::<f64>::new().upload(shape, &Stream::new(3, number).normals(shape.elements(), 1.0))
    })
}

fn attention([qkv, q, v, table]: &[Array<f64>; 4]) -> (Array<f64>, Array<f64>) {
    let bias = QkvBias { q, v, table: Some(table), shared: None };
    forward(Products::Exact, qkv, &bias, SHAPE)
}

/// One number of the context, by the formula.
fn element([qkv, q_bias, v_bias, table]: &[Array<f64>; 4], image: usize, query: usize, column: usize) -> f64 {
    let (t, head) = (SHAPE.tokens, column / D);
    let at = |token: usize, part: usize, k: usize| qkv[(image * t + token) * 3 * C + part * C + head * D + k];
    let score = |key: usize| {
        let product = |k: usize| (at(query, 0, k) + q_bias[head * D + k]) * at(key, 1, k);
        let row = relative_position_index(SHAPE.window, query, key);
        (0..D).map(product).sum::<f64>() / (D as f64).sqrt() + table[row * SHAPE.heads + head]
    };
    let weights: Vec<f64> = (0..t).map(|key| score(key).exp()).collect();
    let value = |key: usize| at(key, 2, column % D) + v_bias[column];
    (0..t).map(|key| weights[key] * value(key)).sum::<f64>() / weights.iter().sum::<f64>()
}

#[test]
fn several_tiles_against_the_formula() {
    let inputs = inputs();
    let (context, _) = attention(&inputs);
    for (query, column) in [(0, 0), (1, 5), (104, 2), (105, 3), (106, 4), (209, 1)] {
        let (got, want) = (context[(SHAPE.tokens + query) * C + column], element(&inputs, 1, query, column));
        assert!((got - want).abs() < 1e-12, "query {query}, column {column}: got {got}, want {want}");
    }
}

#[test]
fn several_tiles_against_differences() {
    let inputs = inputs();
    let (context, lse) = attention(&inputs);
    let d_context = Host::<f64>::new().upload(context.shape, &Stream::new(3, 9).normals(context.len(), 1.0));
    let [qkv, q, v, table] = &inputs;
    let bias = QkvBias { q, v, table: Some(table), shared: None };
    let [mut dq, mut dv, mut d_table] = [q, v, table].map(|x| zeros(x.shape));
    let mut grads = QkvBiasGrad { q: &mut dq, v: &mut dv, table: Some(&mut d_table), shared: None };
    let d_qkv = backward(Products::Exact, [&d_context, qkv, &lse], &bias, SHAPE, &mut grads);

    let loss =
        |moved: &[Array<f64>; 4]| attention(moved).0.iter().zip(&d_context).map(|(y, d)| y * d).sum::<f64>();
    for (which, gradient) in [&d_qkv, &dq, &dv, &d_table].into_iter().enumerate() {
        for at in (0..gradient.len()).step_by(gradient.len() / 5) {
            let moved = |step: f64| {
                let mut moved = inputs.clone();
                moved[which][at] += step;
                loss(&moved)
            };
            let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[at] - want).abs() < 1e-6, "{which}[{at}]: got {}, want {want}", gradient[at]);
        }
    }
}
