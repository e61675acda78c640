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
}

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
        Self { name: "square".into(), m: side, c: side, n: side, bias: false, part: Part::Forward }
    }
}

/// The linear maps of a block and of the head, in the three parts each.
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
    maps.iter().flat_map(|&map| parts.map(|part| product(map, part))).collect()
}

impl Case for Product {
    fn name(&self) -> String {
        let Self { name, m, c, n, part, .. } = self;
        let part = match part {
            Part::Forward => "forward",
            Part::Weights => "dw",
            Part::Backward => "dx + dw",
        };
        format!("{name} {part} {m}x{c}x{n}")
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let &Self { m, c, n, bias, part, .. } = self;
        let fill = |shape: Shape| fill(ops, shape);
        let x = fill(Shape::from([m, c]));
        let linear =
            || Linear { weight: fill(Shape::from([n, c])), bias: bias.then(|| fill(Shape::from([n]))) };
        let p = linear();
        if part == Part::Forward {
            return Box::new(move || drop(ops.linear(&x, &p)));
        }
        let (dy, mut dp) = (fill(Shape::from([m, n])), linear());
        Box::new(move || match part {
            Part::Weights => ops.linear_backward_params(&dy, &x, &mut dp),
            _ => drop(ops.linear_backward(&dy, &x, &p, &mut dp)),
        })
    }

    fn question(&self) -> Option<Value> {
        let square = self.name == "square";
        square.then(|| json!({ "row": "product", "side": self.m }))
    }
}
