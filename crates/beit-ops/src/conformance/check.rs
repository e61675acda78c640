//! A device against the reference.

use super::case::{Backward, Forward, Input, Kind};
use super::reference::{Reference, start};
use super::report::{Report, Tolerance};
use crate::{Device, Host};
use alloc::format;
use alloc::vec::Vec;

pub(super) struct Check<'a, O: Device> {
    pub(super) ops: &'a O,
    pub(super) tolerance: Tolerance,
    pub(super) wanted: &'a dyn Fn(&str) -> bool,
    /// Whether [`pair`](Check::pair) follows.
    pub(super) trains: bool,
    pub(super) report: Report,
}

impl<O: Device> Check<'_, O> {
    /// [`forward`](Check::forward) of a case that [`pair`](Check::pair) compares as well where training is checked.
    pub(super) fn half(&mut self, case: &(impl Forward<O> + Forward<Host<f64>>)) {
        if !self.trains {
            self.forward(case);
        }
    }

    /// The outputs of a case against those of the reference.
    pub(super) fn forward(&mut self, case: &(impl Forward<O> + Forward<Host<f64>>)) {
        self.fusion(case, case);
    }

    /// The outputs of a fusion against its definition on the reference.
    pub(super) fn fusion(&mut self, case: &impl Forward<O>, definition: &impl Forward<Host<f64>>) {
        let name = case.name();
        if !(self.wanted)(&name) {
            return;
        }
        let inputs = case.inputs();
        let x = self.upload(&inputs);
        self.outputs(&name, &case.forward(self.ops, &x), &Reference::new(definition, &inputs));
    }

    /// The outputs of a case against those of the reference, and its gradients against the reference's central differences.
    pub(super) fn pair(&mut self, case: &(impl Backward<O> + Forward<Host<f64>>)) {
        let name = case.name();
        if !(self.wanted)(&name) {
            return;
        }
        let inputs = case.inputs();
        let x = self.upload(&inputs);
        let reference = Reference::new(case, &inputs);
        self.outputs(&name, &case.forward(self.ops, &x), &reference);
        self.gradients(case, &inputs, &x, &reference);
    }

    fn upload(&self, inputs: &[Input]) -> Vec<O::Tensor> {
        inputs.iter().map(|i| self.ops.upload(i.shape, &i.data)).collect()
    }

    fn outputs(&mut self, name: &str, y: &[O::Tensor], reference: &Reference<'_>) {
        assert_eq!(y.len(), reference.outputs.len(), "{name}: as many outputs as the reference");
        for (k, (got, want)) in y.iter().zip(&reference.outputs).enumerate() {
            let want: Vec<_> = want.iter().copied().enumerate().collect();
            self.compare(&format!("{name}: output {k}"), got, &want, self.tolerance.value);
        }
    }

    /// The backward of a case against the central differences of the reference.
    fn gradients<C: Backward<O> + Forward<Host<f64>>>(
        &mut self,
        case: &C,
        inputs: &[Input],
        x: &[O::Tensor],
        reference: &Reference<'_>,
    ) {
        let name = case.name();
        let (shape, dy) = &reference.dy;
        let dy = self.ops.upload(*shape, dy);
        let starts = inputs.iter().map(|i| self.ops.upload(i.shape, &start(i))).collect();
        let grads = case.backward(self.ops, x, &dy, starts);
        assert_eq!(grads.len(), inputs.len(), "{name}: a gradient for every input");
        for (k, (input, grad)) in inputs.iter().zip(&grads).enumerate() {
            let Some(grad) = grad else {
                assert!(input.kind == Kind::Constant, "{name}: no gradient of {}", input.name);
                continue;
            };
            let want = reference.gradient(case, k);
            self.compare(
                &format!("{name}: gradient of {}", input.name),
                grad,
                &want,
                self.tolerance.gradient,
            );
        }
    }

    /// Compares the named elements of `got`.
    pub(super) fn compare(&mut self, what: &str, got: &O::Tensor, want: &[(usize, f64)], tolerance: f64) {
        self.report.compared += 1;
        let got = match self.ops.read(got) {
            Ok(got) => got,
            Err(error) => return self.report.failures.push(format!("{what}: {error}")),
        };
        let scale = want.iter().fold(1f64, |a, w| a.max(w.1.abs()));
        let allowed = tolerance * scale;
        let off = |&(i, want): &(usize, f64)| {
            let error = (f64::from(got[i]) - want).abs();
            if error <= allowed { 0.0 } else { if error.is_nan() { f64::INFINITY } else { error } }
        };
        let worst = want.iter().max_by(|a, b| off(a).total_cmp(&off(b)));
        if let Some(&(i, w)) = worst.filter(|w| off(w) > 0.0) {
            let line = format!("{what}[{i}]: got {}, want {w}, allowed ±{allowed:e}", got[i]);
            self.report.failures.push(line);
        }
    }

    /// Compares integers.
    pub(super) fn ids(&mut self, what: &str, got: &O::Ids, want: &[u32]) {
        self.report.compared += 1;
        match self.ops.read_ids(got) {
            Ok(got) if got == want => {}
            Ok(got) => self.report.failures.push(format!("{what}: got {got:?}, want {want:?}")),
            Err(error) => self.report.failures.push(format!("{what}: {error}")),
        }
    }
}
