//! The optimiser's step, and sums of gradients.

use super::case::{Case, Forward, Input, constant};
use super::check::Check;
use crate::{AdamW, GradientOps, OptimiserOps};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn train<O: OptimiserOps>(check: &mut Check<'_, O>) {
    for step in [1, 10] {
        check.forward(&AdamWCase { n: 133, step });
        check.forward(&AdamWCase { n: 2052, step });
    }
    for max_norm in [None, Some(1.0), Some(1e6)] {
        for scale in [1.0, 1.0 / 64.0] {
            check.forward(&Clip { max_norm, scale });
        }
    }
    check.forward(&AddAssign);
    broken_gradient(check);
    overwritten(check);
    for gathered in [false, true] {
        adamw_all(check, gathered);
    }
}

/// A gradient that is not a number leaves everything as it was.
fn broken_gradient<O: OptimiserOps>(check: &mut Check<'_, O>) {
    let name = "adamw: a gradient that is not a number";
    if !(check.wanted)(name) {
        return;
    }
    let ops = check.ops;
    for (broken, max_norm) in [(f32::NAN, None), (f32::NAN, Some(1.0)), (f32::INFINITY, Some(1.0))] {
        let grad = ops.upload([3], &[1.0, broken, 2.0]);
        let clip = ops.clip_factor(&[&grad], max_norm, 1.0);
        let factor = ops.read(&clip).map_or(1.0, |clip| clip[1]);
        let [mut param, mut first, mut second] = [1.0f32, 2.0, 3.0].map(|v| ops.upload([3], &[v; 3]));
        ops.adamw(&mut param, &grad, [&mut first, &mut second], &clip, &adamw_of(3, 0.0));
        for (x, want) in [(&param, 1.0), (&first, 2.0), (&second, 3.0)] {
            let want: Vec<_> = (0..3).map(|i| (i, if factor.is_nan() { want } else { f64::NAN })).collect();
            check.compare(name, x, &want, 0.0);
        }
    }
}

/// Elements from the host, in tensors that lie together and of which one is shared.
fn overwritten<O: OptimiserOps>(check: &mut Check<'_, O>) {
    let name = "overwrite: tensors gathered in memory";
    if !(check.wanted)(name) {
        return;
    }
    let ops = check.ops;
    let lens = [3, 2050, 1];
    let mut tensors = lens.map(|len| ops.upload([len], &vec![1.0; len]));
    ops.gather_in_memory(tensors.iter_mut().collect());
    let clone = tensors[1].clone();
    for (tensor, len) in tensors.iter_mut().zip(lens) {
        let values: Vec<f32> = (0..len).map(|i| i as f32 - 1.5).collect();
        ops.overwrite(tensor, &values);
        let want: Vec<_> = values.iter().map(|&value| f64::from(value)).enumerate().collect();
        check.compare(name, tensor, &want, 0.0);
    }
    check.compare(name, &clone, &[(0, 1.0), (2049, 1.0)], 0.0);
}

/// All tensors at once against one after the other, to the bit; gathered in memory or not.
fn adamw_all<O: OptimiserOps>(check: &mut Check<'_, O>, gathered: bool) {
    let name = format!("adamw_all, gathered in memory: {gathered}");
    if !(check.wanted)(&name) {
        return;
    }
    let ops = check.ops;
    let lens = [5usize, 1024, 1, 1300];
    let make = |tag: u64, sign: bool| -> Vec<O::Tensor> {
        let tensor = |(i, &n): (usize, &usize)| {
            let (shape, mut data) = super::case::random([n], tag + i as u64);
            data.iter_mut().filter(|_| !sign).for_each(|v| *v = v.abs());
            ops.upload(shape, &data)
        };
        lens.iter().enumerate().map(tensor).collect()
    };
    let mut together = [make(40, true), make(50, true), make(60, true), make(70, false)];
    let mut alone = [make(40, true), make(50, true), make(60, true), make(70, false)];
    if gathered {
        together.iter_mut().for_each(|tensors| ops.gather_in_memory(tensors.iter_mut().collect()));
    }
    let before = together[0].clone();
    // Two steps: the first finds the parameters shared with `before`.
    for step in 1..=2 {
        let hyper: Vec<_> = (0..lens.len()).map(|i| adamw_of(step, 0.05 * i as f64)).collect();
        let clip = ops.clip_factor(&together[1].iter().collect::<Vec<_>>(), Some(1.0), 1.0);
        let [params, grads, first, second] = &mut together;
        let moments = first.iter_mut().zip(second).map(|(first, second)| [first, second]).collect();
        ops.adamw_all(params.iter_mut().collect(), grads.iter_mut().collect(), moments, &clip, &hyper);
        let [params, grads, first, second] = &mut alone;
        let tensors = params.iter_mut().zip(grads).zip(first.iter_mut().zip(second));
        for (((param, grad), (first, second)), hyper) in tensors.zip(&hyper) {
            ops.adamw(param, grad, [first, second], &clip, hyper);
            ops.clear(grad);
        }
        for (got, want) in together.iter().flatten().zip(alone.iter().flatten()) {
            let want = ops.read(want).unwrap_or_default();
            let want: Vec<_> = want.into_iter().map(f64::from).enumerate().collect();
            check.compare(&name, got, &want, 0.0);
        }
        [&mut together, &mut alone].into_iter().for_each(|all| all[1] = make(80, true));
        if gathered {
            together.iter_mut().for_each(|tensors| ops.gather_in_memory(tensors.iter_mut().collect()));
        }
    }
    for (got, want) in before.iter().zip(&make(40, true)) {
        let want = ops.read(want).unwrap_or_default();
        let want: Vec<_> = want.into_iter().map(f64::from).enumerate().collect();
        check.compare(&format!("{name}: a clone"), got, &want, 0.0);
    }
}

fn adamw_of(step: u64, weight_decay: f64) -> AdamW {
    AdamW { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, step }
}

struct AdamWCase {
    n: usize,
    step: u64,
}

impl Case for AdamWCase {
    fn name(&self) -> String {
        format!("adamw, step {}", self.step)
    }
    fn inputs(&self) -> Vec<Input> {
        let n = self.n;
        let mut second = constant("second", [n], 30);
        second.data.iter_mut().for_each(|v| *v = v.abs());
        let mut clip = constant("clip", [2], 31);
        clip.data = vec![4.0, 0.25];
        vec![constant("param", [n], 27), constant("grad", [n], 28), constant("first", [n], 29), second, clip]
    }
}

impl<O: OptimiserOps> Forward<O> for AdamWCase {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let hyper = adamw_of(self.step, 0.05);
        let (mut w, mut m, mut v) = (x[0].clone(), x[2].clone(), x[3].clone());
        ops.adamw(&mut w, &x[1], [&mut m, &mut v], &x[4], &hyper);
        vec![w, m, v]
    }
}

struct Clip {
    max_norm: Option<f32>,
    scale: f32,
}

impl Case for Clip {
    fn name(&self) -> String {
        format!("clip_factor at {:?} of gradients times {}", self.max_norm, self.scale)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("a", [7, 5], 32), constant("b", [1], 33)]
    }
}

impl<O: OptimiserOps> Forward<O> for Clip {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.clip_factor(&x.iter().collect::<Vec<_>>(), self.max_norm, self.scale)]
    }
}

struct AddAssign;

impl Case for AddAssign {
    fn name(&self) -> String {
        "add_assign, clear, zeros, reshape".into()
    }
    fn inputs(&self) -> Vec<Input> {
        vec![constant("a", [3, 11], 34), constant("b", [3, 11], 35)]
    }
}

impl<O: GradientOps> Forward<O> for AddAssign {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        let mut sum = x[0].clone();
        ops.add_assign(&mut sum, &x[1]);
        let mut cleared = x[0].clone();
        ops.clear(&mut cleared);
        vec![ops.reshape(sum, [11, 3]), cleared, ops.zeros([2, 2])]
    }
}
