//! The convolutions of a tokenizer's encoder, at the sizes of a batch.

use crate::case::{Case, Fill, Running};
use crate::models::Model;
use beit_ops::{Conv2d, Ops, Shape, Tree};
use beit_tokenizer::Encoder;
use serde_json::{Value, json};

/// A convolution of feature maps that keeps their sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Convolution {
    name: String,
    batch: usize,
    sides: [usize; 2],
    inside: usize,
    outside: usize,
    kernel: usize,
}

/// Those of the encoder that names the tokens for a model, each size once.
pub(super) fn of_tokenizer(model: &Model) -> Vec<Convolution> {
    let shapes = Encoder::shapes(&model.tokenizer);
    let whole = model.view();
    let convolution = |sides: [usize; 2], weight: Shape| Convolution {
        name: format!("{} tokenizer", model.name),
        batch: model.batch,
        sides,
        inside: weight[1],
        outside: weight[0],
        kernel: weight[2],
    };
    let mut all = vec![convolution(whole, shapes.input.weight)];
    let mut sides = whole;
    for (level, blocks) in shapes.groups.0.iter().enumerate() {
        sides = whole.map(|side| side >> level);
        // Filters have four extents, biases one.
        let filters = blocks.iter().flat_map(Tree::leaves).filter(|shape| shape.len() == 4);
        all.extend(filters.map(|&weight| convolution(sides, weight)));
    }
    all.push(convolution(sides, shapes.output.weight));
    let mut once = Vec::new();
    for convolution in all {
        if !once.contains(&convolution) {
            once.push(convolution);
        }
    }
    once
}

impl Case for Convolution {
    fn name(&self) -> String {
        let Self { name, sides: [height, width], inside, outside, kernel, .. } = self;
        format!("{name} {kernel}x{kernel} {height}x{width} {inside} to {outside}")
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let &Self { batch, sides: [height, width], inside, outside, kernel, .. } = self;
        let x = fill(ops, Shape::from([batch, height, width, inside]));
        let weight = fill(ops, Shape::from([outside, inside, kernel, kernel]));
        let p = Conv2d { weight, bias: Some(fill(ops, Shape::from([outside]))) };
        Box::new(move || drop(ops.conv2d(&x, &p)))
    }

    fn question(&self) -> Option<Value> {
        let Self { batch, sides, inside, outside, kernel, .. } = self;
        Some(json!({
            "row": "convolution", "batch": batch, "sides": sides, "in": inside, "out": outside, "kernel": kernel,
        }))
    }
}
