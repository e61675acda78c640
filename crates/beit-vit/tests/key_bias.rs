//! A bias of the keys, computed: it changes nothing, so a block leaves it out.

use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{AttentionShape, Host, QkvBias, QkvBiasGrad, Shape, relative_position_rows};

type Array = <Host<f64> as beit_ops::Device>::Tensor;

const OPS: Host<f64> = Host::new();
const BATCH: usize = 2;
const HEADS: usize = 2;
const WINDOW: [usize; 2] = [2, 3];
const TOKENS: usize = 7;
/// C, heads of 5.
const C: usize = 10;

/// Sums of ten numbers near 1 in f64, through an exponential: a hundred roundings of 1e-16 and their slope.
const ALLOWED: f64 = 1e-13;

fn random(shape: impl Into<Shape>, stream: u64) -> Array {
    let shape = shape.into();
    OPS.upload(shape, &Stream::new(7, stream).normals(shape.elements(), 1.0))
}

/// `qkv` with a bias on the keys.
fn with_key_bias(qkv: &Array, bias: &Array) -> Array {
    let mut moved = qkv.clone();
    for row in 0..BATCH * TOKENS {
        for column in 0..C {
            moved[row * 3 * C + C + column] += bias[column];
        }
    }
    moved
}

fn close(got: &Array, want: &Array, what: &str) {
    for (i, (got, want)) in got.iter().zip(want.iter()).enumerate() {
        assert!((got - want).abs() <= ALLOWED, "{what}[{i}]: got {got}, want {want}, allowed ±{ALLOWED:e}");
    }
}

#[test]
fn changes_no_output_and_has_no_gradient() {
    let shape = AttentionShape { heads: HEADS, tokens: TOKENS, window: WINDOW };
    let [q, v, k] = [1, 2, 3].map(|stream| random([C], stream));
    let table = random([relative_position_rows(WINDOW), HEADS], 4);
    let bias = QkvBias { q: &q, v: &v, table: Some(&table), shared: None };
    let qkv = random([BATCH * TOKENS, 3 * C], 5);
    let moved = with_key_bias(&qkv, &k);
    assert_ne!(moved, qkv);

    let (context, probs) = OPS.attention_forward(&qkv, &bias, shape);
    let (moved_context, _) = OPS.attention_forward(&moved, &bias, shape);
    close(&moved_context, &context, "context");

    let d_context = random([BATCH * TOKENS, C], 6);
    let [mut dq, mut dv] = [(); 2].map(|()| OPS.zeros([C]));
    let mut d_table = OPS.zeros(OPS.shape(&table));
    let mut d_bias = QkvBiasGrad { q: &mut dq, v: &mut dv, table: Some(&mut d_table), shared: None };
    let d_qkv = OPS.attention_backward(&d_context, &qkv, &bias, &probs, shape, &mut d_bias);
    // What is added to every row of the keys has the sum of their gradients.
    for column in C..2 * C {
        let sum: f64 = (0..BATCH * TOKENS).map(|row| d_qkv[row * 3 * C + column]).sum();
        assert!(sum.abs() <= ALLOWED, "the gradient of element {} is {sum:e}, want 0", column - C);
    }
    assert!(dq.iter().all(|d| d.abs() > ALLOWED), "that of the queries' bias is not");
}
