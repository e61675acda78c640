//! Matrix products: `x [M, C] · weight [N, C]ᵀ`.

use crate::case::{Case, Fill, Running};
use crate::models::Model;
use beit_ops::{Linear, Ops, Shape};
use serde_json::{Value, json};

/// Which of the products of a linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `y = x Wᵀ + b`
    Forward,
    /// `dW = dyᵀ x`
    Weights,
    /// `dx = dy W` and `dW`
    Backward,
    /// `y` and its GELU
    Gelu,
    /// `dx = dy W` times the slope of the GELU that gave `x`, and `dW`
    GeluBackward,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Weights => "dw",
            Self::Backward => "dx + dw",
            Self::Gelu => "forward, gelu",
            Self::GeluBackward => "dx with gelu + dw",
        }
    }
}

/// The product that other rows are compared with.
const SQUARE: &str = "square";

/// A product of a certain size.
pub(super) struct Product {
    name: String,
    m: usize,
    c: usize,
    n: usize,
    bias: bool,
    part: Part,
}

impl Product {
    pub(super) fn square(side: usize) -> Self {
        Self { name: SQUARE.into(), m: side, c: side, n: side, bias: false, part: Part::Forward }
    }
}

/// The linear maps of a block and of the head, in three parts each, and the two that have a GELU between them.
pub(super) fn of_model(model: &Model) -> Vec<Product> {
    let (m, c, hidden) = (model.rows(), model.vit.width, model.vit.hidden);
    let maps = [
        ("qkv", m, c, 3 * c, false),
        ("proj", m, c, c, true),
        ("fc1", m, c, hidden, true),
        ("fc2", m, hidden, c, true),
        ("head", model.masked(), c, model.vocab, true),
    ];
    let parts = [Part::Forward, Part::Weights, Part::Backward];
    let product = |(name, m, c, n, bias): (&str, _, _, _, _), part| Product {
        name: format!("{} {name}", model.name),
        m,
        c,
        n,
        bias,
        part,
    };
    let plain = maps.iter().flat_map(|&map| parts.map(|part| product(map, part)));
    plain.chain([product(maps[2], Part::Gelu), product(maps[3], Part::GeluBackward)]).collect()
}

impl Case for Product {
    fn name(&self) -> String {
        let Self { name, m, c, n, part, .. } = self;
        format!("{name} {} {m}x{c}x{n}", part.name())
    }

    fn is_square(&self) -> bool {
        self.name == SQUARE
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let &Self { m, c, n, bias, part, .. } = self;
        let fill = |shape: Shape| fill(ops, shape);
        let x = fill(Shape::from([m, c]));
        let linear =
            || Linear { weight: fill(Shape::from([n, c])), bias: bias.then(|| fill(Shape::from([n]))) };
        let p = linear();
        match part {
            Part::Forward => return Box::new(move || drop(ops.linear(&x, &p))),
            Part::Gelu => return Box::new(move || drop(ops.linear_gelu_forward(&x, &p))),
            _ => (),
        }
        let (dy, mut dp, mut d_bias) = (fill(Shape::from([m, n])), linear(), ops.zeros([c]));
        Box::new(move || match part {
            Part::Weights => ops.linear_backward_params(&dy, &x, &mut dp),
            Part::GeluBackward => {
                drop(ops.linear_gelu_backward(&dy, [&x, &x], &p, &mut dp, Some(&mut d_bias)))
            }
            _ => drop(ops.linear_backward(&dy, &x, &p, &mut dp)),
        })
    }

    fn question(&self) -> Option<Value> {
        let Self { m, c, n, bias, part, .. } = self;
        let part = part.name();
        Some(json!({ "row": "product", "m": m, "c": c, "n": n, "bias": bias, "part": part }))
    }
}
