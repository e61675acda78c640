//! What a step does besides matrix products, at the sizes of a model.

use crate::case::{Case, Fill, Running};
use crate::models::Model;
use beit_heads::Mim;
use beit_ops::relative_position_rows;
use beit_ops::{
    AdamW, AttentionShape, BranchGrads, Norm, Ops, QkvBias, QkvBiasGrad, Residual, Shape, Targets, Tree,
};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Attention,
    LayerNorm,
    Gelu,
    Residual,
    CrossEntropy,
    AdamW,
}

/// A layer, forward or backward.
pub(super) struct Layer<'a> {
    model: &'a Model,
    kind: Kind,
    backward: bool,
}

pub(super) fn of_model(model: &Model) -> Vec<Layer<'_>> {
    let pairs = [Kind::Attention, Kind::LayerNorm, Kind::Gelu, Kind::Residual, Kind::CrossEntropy];
    let layer = |kind, backward| Layer { model, kind, backward };
    let mut all: Vec<_> = pairs.iter().flat_map(|&kind| [false, true].map(|way| layer(kind, way))).collect();
    all.push(layer(Kind::AdamW, false));
    all
}

impl Case for Layer<'_> {
    fn name(&self) -> String {
        let name = match self.kind {
            Kind::Attention => "attention",
            Kind::LayerNorm => "layer norm",
            Kind::Gelu => "gelu",
            Kind::Residual => "residual",
            Kind::CrossEntropy => "cross-entropy",
            Kind::AdamW => "clip, adamw",
        };
        format!("{} {name}{}", self.model.name, if self.backward { " backward" } else { "" })
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        match self.kind {
            Kind::Attention => self.attention(ops, fill),
            Kind::LayerNorm => self.layer_norm(ops, fill),
            Kind::Gelu => self.gelu(ops, fill),
            Kind::Residual => self.residual(ops, fill),
            Kind::CrossEntropy => self.cross_entropy(ops, fill),
            Kind::AdamW => self.adamw(ops, fill),
        }
    }

    fn question(&self) -> Option<Value> {
        let vit = &self.model.vit;
        (self.kind == Kind::Attention).then(|| {
            json!({
                "row": "attention", "batch": self.model.batch, "side": vit.grid()[0], "heads": vit.heads, "width": vit.width,
                "backward": self.backward,
            })
        })
    }
}

impl Layer<'_> {
    /// `[M, width]`
    fn rows<O: Ops>(&self, ops: &O, fill: Fill<O>, width: usize) -> O::Tensor {
        fill(ops, Shape::from([self.model.rows(), width]))
    }

    /// Of the first block, with the table that all blocks share.
    fn attention<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let vit = &self.model.vit;
        let shape = AttentionShape { heads: vit.heads, tokens: vit.tokens(), window: vit.grid() };
        let table = Shape::from([relative_position_rows(vit.grid()), vit.heads]);
        let [q, v] = [(); 2].map(|()| fill(ops, Shape::from([vit.width])));
        let (qkv, shared) = (self.rows(ops, fill, 3 * vit.width), fill(ops, table));
        let bias = move |ops: &O, run: &mut dyn FnMut(&O, &QkvBias<'_, O::Tensor>)| {
            run(ops, &QkvBias { q: &q, v: &v, table: None, shared: Some(&shared) });
        };
        if !self.backward {
            return Box::new(move || {
                bias(ops, &mut |ops, bias| drop(ops.attention_forward(&qkv, bias, shape)));
            });
        }
        let mut probs = None;
        bias(ops, &mut |ops, bias| probs = Some(ops.attention_forward(&qkv, bias, shape).1));
        let d_context = self.rows(ops, fill, vit.width);
        let [mut dq, mut dv] = [(); 2].map(|()| ops.zeros([vit.width]));
        let mut d_shared = ops.zeros(table);
        Box::new(move || {
            let Some(probs) = &probs else { return };
            bias(ops, &mut |ops, bias| {
                let mut grad =
                    QkvBiasGrad { q: &mut dq, v: &mut dv, table: None, shared: Some(&mut d_shared) };
                drop(ops.attention_backward(&d_context, &qkv, bias, probs, shape, &mut grad));
            });
        })
    }

    fn layer_norm<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let (c, eps) = (self.model.vit.width, self.model.vit.layer_norm_eps);
        let norm = || Norm { weight: fill(ops, Shape::from([c])), bias: fill(ops, Shape::from([c])) };
        let (x, p) = (self.rows(ops, fill, c), norm());
        if !self.backward {
            return Box::new(move || drop(ops.layer_norm_forward(&x, &p, eps)));
        }
        let (dy, mut dp) = (self.rows(ops, fill, c), norm());
        let stats = ops.layer_norm_forward(&x, &p, eps).1;
        Box::new(move || drop(ops.layer_norm_backward(&dy, &x, &p, &stats, &mut dp)))
    }

    fn gelu<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let [x, dy] = [(); 2].map(|()| self.rows(ops, fill, self.model.vit.hidden));
        let backward = self.backward;
        Box::new(move || drop(if backward { ops.gelu_backward(&dy, &x) } else { ops.gelu(&x) }))
    }

    fn residual<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let c = self.model.vit.width;
        let [x, branch] = [(); 2].map(|()| self.rows(ops, fill, c));
        let (gamma, mut d_gamma) = (fill(ops, Shape::from([c])), ops.zeros([c]));
        let keep = fill(ops, Shape::from([self.model.batch]));
        let backward = self.backward;
        Box::new(move || {
            let scale = Residual { gamma: Some(&gamma), keep: Some(&keep) };
            drop(match backward {
                true => {
                    let into = BranchGrads { gamma: Some(&mut d_gamma), bias: None };
                    ops.scale_residual_backward(&x, &branch, &scale, into)
                }
                false => ops.scale_residual(&x, &branch, &scale),
            });
        })
    }

    fn cross_entropy<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let (m, v) = (self.model.masked(), self.model.vocab);
        let logits = fill(ops, Shape::from([m, v]));
        let ids = ops.upload_ids(&self.model.codes());
        let lse = ops.cross_entropy(&logits, &Targets::Classes { ids: &ids, smoothing: 0.0 }).1;
        let backward = self.backward;
        Box::new(move || {
            let targets = Targets::Classes { ids: &ids, smoothing: 0.0 };
            match backward {
                true => drop(ops.cross_entropy_backward(&logits, &targets, &lse, 1.0)),
                false => drop(ops.cross_entropy(&logits, &targets)),
            }
        })
    }

    /// Of the whole model for masked image modelling.
    fn adamw<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let shapes = Mim::shapes(&self.model.mim());
        let mut params = shapes.map(&mut |shape| fill(ops, *shape));
        let mut grads = shapes.map(&mut |shape| fill(ops, *shape));
        let [mut first, mut second] = [(); 2].map(|()| shapes.map(&mut |shape| ops.zeros(*shape)));
        for tree in [&mut params, &mut grads, &mut first, &mut second] {
            ops.gather_in_memory(tree.leaves_mut());
        }
        let mut step = 0;
        Box::new(move || {
            step += 1;
            let clip = ops.clip_factor(&grads.leaves(), Some(3.0), 1.0);
            let hyper = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05, step };
            let moments = first.leaves_mut().into_iter().zip(second.leaves_mut());
            let moments: Vec<_> = moments.map(|(m, v)| [m, v]).collect();
            let hyper = vec![hyper; moments.len()];
            ops.adamw_all(params.leaves_mut(), grads.leaves_mut(), moments, &clip, &hyper);
        })
    }
}
