//! Attention.

use super::case::{Backward, Case, Forward, Input, Saving, activation, param};
use super::check::Check;
use crate::{AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: AttentionOps>(check: &mut Check<'_, O>) {
    cases().for_each(|case| check.forward(&case));
}

pub(super) fn train<O: AttentionTraining>(check: &mut Check<'_, O>) {
    cases().for_each(|case| check.pair(&Saving(case)));
}

fn cases() -> impl Iterator<Item = Attention> {
    let odd = [(1, 1, 1, [1, 1]), (2, 3, 5, [2, 3]), (3, 2, 7, [3, 3]), (19, 1, 3, [1, 2])];
    let odd = odd.into_iter().flat_map(|(batch, heads, d, window)| {
        let tables = [[false, false], [true, false], [false, true], [true, true]];
        tables.map(|tables| Attention { batch, heads, d, window, tables })
    });
    // Heads of published models: most have 64 elements, those of EVA's giant 88. Two tiles of tokens where a tile has 16.
    let published = [(32, true), (64, true), (88, false), (88, true), (96, false), (128, true)];
    let published = published.map(|(d, table)| Attention {
        batch: 1,
        heads: 2,
        d,
        window: [4, 5],
        tables: [table, false],
    });
    odd.chain(published)
}

struct Attention {
    batch: usize,
    heads: usize,
    d: usize,
    window: [usize; 2],
    /// The layer's own table, the shared table.
    tables: [bool; 2],
}

impl Attention {
    fn shape(&self) -> AttentionShape {
        AttentionShape { heads: self.heads, tokens: self.window[0] * self.window[1] + 1, window: self.window }
    }
    fn bias<'a, T>(&self, x: &'a [T]) -> QkvBias<'a, T> {
        QkvBias {
            q: &x[1],
            v: &x[2],
            table: self.tables[0].then(|| &x[3]),
            shared: self.tables[1].then(|| &x[3 + usize::from(self.tables[0])]),
        }
    }
}

impl Case for Attention {
    fn name(&self) -> String {
        let Self { batch, heads, d, window, tables } = self;
        format!("attention of {batch} images, {heads} heads of {d}, window {window:?}, tables {tables:?}")
    }
    fn inputs(&self) -> Vec<Input> {
        let c = self.heads * self.d;
        let rows = crate::relative_position_rows(self.window);
        let mut all = vec![
            activation("qkv", [self.batch * self.shape().tokens, 3 * c], 8),
            param("q_bias", [c], 9),
            param("v_bias", [c], 10),
        ];
        all.extend(self.tables[0].then(|| param("table", [rows, self.heads], 11)));
        all.extend(self.tables[1].then(|| param("shared table", [rows, self.heads], 12)));
        all
    }
}

impl<O: AttentionOps> Forward<O> for Attention {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.attention(&x[0], &self.bias(x), self.shape())]
    }
}

impl Case for Saving<Attention> {
    fn name(&self) -> String {
        self.0.name().replace("attention", "attention_forward")
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

impl<O: AttentionTraining> Forward<O> for Saving<Attention> {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.attention_forward(&x[0], &self.0.bias(x), self.0.shape()).0]
    }
}

impl<O: AttentionTraining> Backward<O> for Saving<Attention> {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let (_, probs) = ops.attention_forward(&x[0], &self.0.bias(x), self.0.shape());
        let mut rest = grads.drain(1..);
        let (mut q, mut v) = (rest.next().expect("q_bias"), rest.next().expect("v_bias"));
        let mut table = self.0.tables[0].then(|| rest.next().expect("table"));
        let mut shared = self.0.tables[1].then(|| rest.next().expect("shared table"));
        let mut d_bias = QkvBiasGrad { q: &mut q, v: &mut v, table: table.as_mut(), shared: shared.as_mut() };
        let dx = ops.attention_backward(dy, &x[0], &self.0.bias(x), &probs, self.0.shape(), &mut d_bias);
        let tables = [table, shared].into_iter().flatten().map(Some);
        [Some(dx), Some(q), Some(v)].into_iter().chain(tables).collect()
    }
}
