//! Cross-entropy.

use super::case::{Backward, Case, Forward, Input, activation, constant};
use super::check::Check;
use crate::{CrossEntropyOps, Device, Targets};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn train<O: CrossEntropyOps>(check: &mut Check<'_, O>) {
    for (m, v) in [(1, 2), (5, 7), (37, 131), (3, 1028)] {
        for smoothing in [0.0, 0.1] {
            check.pair(&CrossEntropy { m, v, kind: TargetKind::Classes(smoothing) });
        }
        check.pair(&CrossEntropy { m, v, kind: TargetKind::Probabilities });
        for counted in [1, m] {
            check.pair(&CrossEntropy { m, v, kind: TargetKind::Labels { counted } });
        }
    }
}

enum TargetKind {
    Classes(f32),
    Probabilities,
    /// Two of three rows have a class.
    Labels {
        counted: usize,
    },
}

struct CrossEntropy {
    m: usize,
    v: usize,
    kind: TargetKind,
}

impl CrossEntropy {
    fn with<O: Device, R>(
        &self,
        ops: &O,
        probabilities: &O::Tensor,
        f: impl FnOnce(Targets<'_, O>) -> R,
    ) -> R {
        match self.kind {
            TargetKind::Probabilities => f(Targets::Probabilities(probabilities)),
            TargetKind::Classes(smoothing) => {
                let ids: Vec<u32> = (0..self.m).map(|i| (i * 5 % self.v) as u32).collect();
                f(Targets::Classes { ids: &ops.upload_ids(&ids), smoothing })
            }
            TargetKind::Labels { counted } => {
                let class = |i| if i % 3 == 1 { 255.max(self.v) } else { i * 5 % self.v };
                let ids: Vec<u32> = (0..self.m).map(|i| class(i) as u32).collect();
                f(Targets::Labels { ids: &ops.upload_ids(&ids), counted })
            }
        }
    }
}

impl Case for CrossEntropy {
    fn name(&self) -> String {
        let kind = match self.kind {
            TargetKind::Classes(smoothing) => format!("classes smoothed by {smoothing}"),
            TargetKind::Probabilities => "distributions".into(),
            TargetKind::Labels { counted } => format!("labels, the sum over {counted}"),
        };
        format!("cross_entropy {}x{}, {kind}", self.m, self.v)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut targets = constant("targets", [self.m, self.v], 26);
        for row in targets.data.chunks_exact_mut(self.v) {
            let total: f32 = row.iter().map(|v| v.abs()).sum();
            row.iter_mut().for_each(|v| *v = v.abs() / total);
        }
        let mut logits = activation("logits", [self.m, self.v], 25);
        logits.data.iter_mut().for_each(|v| *v *= 8.0);
        vec![logits, targets]
    }
}

impl<O: CrossEntropyOps> Forward<O> for CrossEntropy {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let (metrics, lse) = self.with(ops, &x[1], |targets| ops.cross_entropy(&x[0], &targets));
        vec![metrics, lse]
    }
}

impl<O: CrossEntropyOps> Backward<O> for CrossEntropy {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        // The count of right rows is piecewise constant, so only the first element's gradient counts.
        let scale = ops.read(dy).map_or(f32::NAN, |dy| dy[0]);
        let d_logits = self.with(ops, &x[1], |targets| {
            let (_, lse) = ops.cross_entropy(&x[0], &targets);
            ops.cross_entropy_backward(&x[0], &targets, &lse, scale)
        });
        vec![Some(d_logits), None]
    }
}
