//! One call that proves a device: every operation against `Host<f64>`, every backward against finite differences.
//!
//! ```
//! use beit_ops::{Host, conformance};
//! let report = conformance::run(&Host::<f32>::new(), conformance::Tolerance::F32);
//! assert!(report.failures.is_empty(), "{report}");
//! ```
//!
//! Devices for inference have a part of it: [`run_transformer`] and [`run_tokenizer`].

mod attention;
mod conv;
mod cross_entropy;
mod elbo;
mod linear;
mod optimiser;
mod residual;
mod rows;
mod tokens;

use crate::philox::uniforms;
use crate::{Device, Host, Ops, Shape, TokenizerOps, TransformerOps};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// How far a device may be from the reference, relative to the largest element of the tensor (or to 1 if that is larger).
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Of forward results.
    pub value: f64,
    /// Of gradients.
    pub gradient: f64,
}

impl Tolerance {
    /// `Host<f64>` against itself: the central differences are good to 1e-8, reading as f32 rounds at 6e-8.
    pub const F64: Self = Self { value: 1e-7, gradient: 1e-6 };
    /// f32 storage and sums: reductions here are at most 600 long, 600 roundings of 6e-8 stay below 4e-5.
    pub const F32: Self = Self { value: 5e-6, gradient: 2e-5 };
    /// bf16 operands and activations with sums in f32: operands are rounded to 8 bits, a part in 512; sums of products average
    /// the errors out, results are rounded once more, and gradients pass through two such steps.
    pub const BF16: Self = Self { value: 1e-2, gradient: 2e-2 };
}

/// What [`run`] found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tensors that were compared.
    pub compared: usize,
    /// One line for each tensor that is off: operation, tensor, index, got, want, allowed.
    pub failures: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tensors compared, {} off", self.compared, self.failures.len())?;
        self.failures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Checks every operation of `ops` on odd shapes: one row, one column, primes, larger than a tile.
pub fn run<O: Ops>(ops: &O, tolerance: Tolerance) -> Report {
    run_named(ops, tolerance, &|_| true)
}

/// [`run`], but only the cases whose name `wanted` accepts; names begin with that of the operation.
pub fn run_named<O: Ops>(ops: &O, tolerance: Tolerance, wanted: &dyn Fn(&str) -> bool) -> Report {
    let mut check = Check { ops, tolerance, wanted, trains: true, report: Report::default() };
    infer_transformer(&mut check);
    conv::infer(&mut check);
    linear::train(&mut check);
    residual::train(&mut check);
    attention::train(&mut check);
    tokens::train(&mut check);
    rows::train(&mut check);
    conv::train(&mut check);
    cross_entropy::train(&mut check);
    elbo::train(&mut check);
    optimiser::train(&mut check);
    check.report
}

/// Checks what inference with the transformer needs, on a device that may have no more.
pub fn run_transformer<O: TransformerOps>(ops: &O, tolerance: Tolerance) -> Report {
    let mut check = Check { ops, tolerance, wanted: &|_| true, trains: false, report: Report::default() };
    infer_transformer(&mut check);
    check.report
}

/// Checks what inference with the tokenizer needs, on a device that may have no more.
pub fn run_tokenizer<O: TokenizerOps>(ops: &O, tolerance: Tolerance) -> Report {
    let mut check = Check { ops, tolerance, wanted: &|_| true, trains: false, report: Report::default() };
    rows::infer(&mut check);
    conv::infer(&mut check);
    check.report
}

fn infer_transformer<O: TransformerOps>(check: &mut Check<'_, O>) {
    linear::infer(check);
    residual::infer(check);
    attention::infer(check);
    tokens::infer(check);
    rows::infer(check);
}

/// What an input of a [`Case`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its gradient is returned.
    Activation,
    /// Its gradient is added to.
    Param,
    /// It has no gradient.
    Constant,
}

/// One input of a [`Case`].
struct Input {
    name: &'static str,
    kind: Kind,
    shape: Shape,
    data: Vec<f32>,
}

/// One operation at one shape.
trait Case {
    /// Operation and shape, for the report.
    fn name(&self) -> String;
    fn inputs(&self) -> Vec<Input>;
}

/// What a [`Case`] computes, on devices that have the operation.
trait Forward<O: Device>: Case {
    /// The outputs; only the first has a gradient.
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor>;
}

/// The gradients of a [`Case`], on devices that have them.
trait Backward<O: Device>: Forward<O> {
    /// The gradient of each input, `None` for constants. Those of parameters must be added to the tensors in `grads`.
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>>;
}

/// The same case through the forward that saves what the backward needs.
struct Saving<C>(C);

/// A fusion as what it is made of.
struct Definition<C>(C);

impl<C: Case> Case for Definition<C> {
    fn name(&self) -> String {
        self.0.name()
    }
    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }
}

/// Elements in \[-1, 1) from the counter-based stream; `tag` keeps tensors apart.
fn random(shape: impl Into<Shape>, tag: u64) -> (Shape, Vec<f32>) {
    let shape = shape.into();
    let data = (0..shape.elements()).map(|i| 2.0 * uniforms(17, tag, i as u64 / 4)[i % 4] - 1.0).collect();
    (shape, data)
}

fn input(name: &'static str, kind: Kind, shape: impl Into<Shape>, tag: u64) -> Input {
    let (shape, data) = random(shape, tag);
    Input { name, kind, shape, data }
}

fn activation(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Activation, shape, tag)
}

fn param(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Param, shape, tag)
}

fn constant(name: &'static str, shape: impl Into<Shape>, tag: u64) -> Input {
    input(name, Kind::Constant, shape, tag)
}

/// What gradients of parameters start from: a backward that overwrites instead of adding is found out.
const GRAD_START: f32 = 0.5;
/// Step of the central differences: truncation (1e-8) and cancellation (1e-16 / 1e-4) both stay below 1e-7.
const STEP: f64 = 1e-4;
/// At most this many elements of one input are differenced.
const DIFFERENCED: usize = 48;

struct Check<'a, O: Device> {
    ops: &'a O,
    tolerance: Tolerance,
    wanted: &'a dyn Fn(&str) -> bool,
    /// Whether [`pair`](Check::pair) follows.
    trains: bool,
    report: Report,
}

impl<O: Device> Check<'_, O> {
    /// [`forward`](Check::forward) of a case that [`pair`](Check::pair) compares as well where training is checked.
    fn half(&mut self, case: &(impl Forward<O> + Forward<Host<f64>>)) {
        if !self.trains {
            self.forward(case);
        }
    }

    /// The outputs of a case against those of the reference.
    fn forward(&mut self, case: &(impl Forward<O> + Forward<Host<f64>>)) {
        self.fusion(case, case);
    }

    /// The outputs of a fusion against its definition on the reference.
    fn fusion(&mut self, case: &impl Forward<O>, definition: &impl Forward<Host<f64>>) {
        let name = case.name();
        if !(self.wanted)(&name) {
            return;
        }
        let inputs = case.inputs();
        let x = self.upload(&inputs);
        self.outputs(&name, &case.forward(self.ops, &x), &Reference::new(definition, &inputs));
    }

    /// The outputs of a case against those of the reference, and its gradients against the reference's central differences.
    fn pair(&mut self, case: &(impl Backward<O> + Forward<Host<f64>>)) {
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
    fn compare(&mut self, what: &str, got: &O::Tensor, want: &[(usize, f64)], tolerance: f64) {
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
    fn ids(&mut self, what: &str, got: &O::Ids, want: &[u32]) {
        self.report.compared += 1;
        match self.ops.read_ids(got) {
            Ok(got) if got == want => {}
            Ok(got) => self.report.failures.push(format!("{what}: got {got:?}, want {want:?}")),
            Err(error) => self.report.failures.push(format!("{what}: {error}")),
        }
    }
}

fn start(input: &Input) -> Vec<f32> {
    input.data.iter().map(|_| GRAD_START).collect()
}

/// The results of `Host<f64>`.
struct Reference<'a> {
    inputs: &'a [Input],
    outputs: Vec<Vec<f64>>,
    /// A random gradient of the first output.
    dy: (Shape, Vec<f32>),
}

impl<'a> Reference<'a> {
    fn new(case: &impl Forward<Host<f64>>, inputs: &'a [Input]) -> Self {
        let host = Host::<f64>::new();
        let x: Vec<_> = inputs.iter().map(|i| host.upload(i.shape, &i.data)).collect();
        let y = case.forward(&host, &x);
        let dy = random(host.shape(&y[0]), 1000);
        let outputs = y.iter().map(|y| y.iter().copied().collect()).collect();
        Self { inputs, outputs, dy }
    }

    /// Central differences of `Σ y · dy` in some elements of input `k`, and what they are added to.
    fn gradient(&self, case: &impl Forward<Host<f64>>, k: usize) -> Vec<(usize, f64)> {
        let input = &self.inputs[k];
        let stride = input.data.len().div_ceil(DIFFERENCED).max(1);
        let begin = if input.kind == Kind::Param { f64::from(GRAD_START) } else { 0.0 };
        let loss = |i: usize, step: f64| self.loss(case, k, i, step);
        let difference = |i| (loss(i, STEP) - loss(i, -STEP)) / (2.0 * STEP);
        (0..input.data.len()).step_by(stride).map(|i| (i, begin + difference(i))).collect()
    }

    /// `Σ y · dy` with element `i` of input `k` moved by `step`.
    fn loss(&self, case: &impl Forward<Host<f64>>, k: usize, i: usize, step: f64) -> f64 {
        let host = Host::<f64>::new();
        let mut x: Vec<_> = self.inputs.iter().map(|i| host.upload(i.shape, &i.data)).collect();
        x[k][i] += step;
        let y = case.forward(&host, &x);
        y[0].iter().zip(&self.dy.1).map(|(y, &dy)| y * f64::from(dy)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_f64() {
        let report = run(&Host::<f64>::new(), Tolerance::F64);
        assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
    }

    #[test]
    fn host_f32() {
        let report = run(&Host::<f32>::new(), Tolerance::F32);
        assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
    }

    #[test]
    #[cfg(feature = "std")]
    fn host_bf16() {
        let report = run(&Host::bf16(), Tolerance::BF16);
        assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
    }

    /// Nothing rounds to f32 without a difference that a tolerance of nothing finds; what only moves numbers is exact.
    #[test]
    fn differences_are_found() {
        let report = run(&Host::<f32>::new(), Tolerance { value: 0.0, gradient: 0.0 });
        assert!(report.failures.len() > report.compared / 2, "{report}");
        for operation in ["linear ", "gelu", "layer_norm", "attention", "cross_entropy", "adamw", "conv2d"] {
            let found = report.failures.iter().any(|line| line.starts_with(operation));
            assert!(found, "{operation} is compared to nothing");
        }
    }
}
