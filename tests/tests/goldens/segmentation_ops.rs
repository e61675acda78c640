//! Operations of segmentation heads against `torch.nn.functional` on odd shapes, forward and backward.

use beit_ops::prelude::*;
use beit_ops::{ConvTranspose2, Corners, Host, Norm, Running, Targets};
use beit_tests::{Comparison, Golden, tolerance, wgpu};

/// Of `golden_segmentation_ops.py`.
const EPS: f64 = 1e-5;

/// The golden on a device, and what was compared.
struct Case<'a, O: Ops> {
    ops: &'a O,
    golden: Golden,
    comparison: Comparison,
}

impl<O: Ops> Case<'_, O> {
    /// The cases of an operation, as `OPERATION.CASE`.
    fn of(&self, operation: &str) -> Vec<String> {
        let prefix = format!("{operation}.");
        let names = self.golden.names(&prefix);
        let cases: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".x"))
            .map(|case| format!("{prefix}{case}"))
            .collect();
        assert!(!cases.is_empty(), "{operation}");
        cases
    }

    fn tensor(&self, case: &str, name: &str) -> O::Tensor {
        self.golden.upload(self.ops, &format!("{case}.{name}"))
    }

    /// Height and width of a map.
    fn sides(&self, case: &str, name: &str) -> [usize; 2] {
        let shape = self.golden.io.shape(&format!("{case}.{name}")).unwrap();
        [shape[1], shape[2]]
    }

    fn compare(&mut self, case: &str, name: &str, got: &O::Tensor) {
        self.compare_within(case, name, got, tolerance::OPERATIONS);
    }

    fn compare_within(&mut self, case: &str, name: &str, got: &O::Tensor, allowed: f64) {
        let name = format!("{case}.{name}");
        let got = self.ops.read(got).unwrap();
        self.comparison.tensor(&name, &got, &self.golden.floats(&name), allowed);
    }

    fn zeros(&self, like: &O::Tensor) -> O::Tensor {
        self.ops.zeros(self.ops.shape(like))
    }
}

fn resizing<O: Ops>(all: &mut Case<'_, O>) {
    for case in all.of("resize") {
        let (x, dy) = (all.tensor(&case, "x"), all.tensor(&case, "dy"));
        let (old, new) = (all.sides(&case, "x"), all.sides(&case, "dy"));
        for (corners, name) in [(Corners::Edges, "edges"), (Corners::Centres, "centres")] {
            all.compare(&case, &format!("y_{name}"), &all.ops.resize(&x, new, corners));
            all.compare(&case, &format!("dx_{name}"), &all.ops.resize_backward(&dy, old, corners));
        }
    }
}

fn pooling<O: Ops>(all: &mut Case<'_, O>) {
    for case in all.of("pool") {
        let (x, dy) = (all.tensor(&case, "x"), all.tensor(&case, "dy"));
        let (old, new) = (all.sides(&case, "x"), all.sides(&case, "dy"));
        all.compare(&case, "y", &all.ops.pool_to(&x, new));
        all.compare(&case, "dx", &all.ops.pool_to_backward(&dy, old));
    }
    for case in all.of("squares") {
        let (x, dy) = (all.tensor(&case, "x"), all.tensor(&case, "dy"));
        all.compare(&case, "y", &all.ops.max_pool2(&x));
        all.compare(&case, "dx", &all.ops.max_pool2_backward(&dy, &x));
    }
}

fn transposed<O: Ops>(all: &mut Case<'_, O>) {
    for case in all.of("transposed") {
        let (x, dy) = (all.tensor(&case, "x"), all.tensor(&case, "dy"));
        let p = ConvTranspose2 { weight: all.tensor(&case, "weight"), bias: all.tensor(&case, "bias") };
        let mut dp = ConvTranspose2 { weight: all.zeros(&p.weight), bias: all.zeros(&p.bias) };
        all.compare(&case, "y", &all.ops.conv_transpose2(&x, &p));
        all.compare(&case, "dx", &all.ops.conv_transpose2_backward(&dy, &x, &p, &mut dp));
        all.compare(&case, "dweight", &dp.weight);
        all.compare(&case, "dbias", &dp.bias);
    }
}

fn norms<O: Ops>(all: &mut Case<'_, O>) {
    for case in all.of("norm") {
        let (x, dy) = (all.tensor(&case, "x"), all.tensor(&case, "dy"));
        let p = Norm { weight: all.tensor(&case, "weight"), bias: all.tensor(&case, "bias") };
        let running = Running { mean: all.tensor(&case, "mean"), variance: all.tensor(&case, "variance") };
        all.compare(&case, "y_running", &all.ops.batch_norm(&x, &p, &running, EPS));
        let zero = || Norm { weight: all.zeros(&p.weight), bias: all.zeros(&p.bias) };
        let (mut dp, mut dp_relu, mut after, mut after_relu) = (zero(), zero(), running.clone(), running);
        let (y, stats) = all.ops.batch_norm_forward(&x, &p, &mut after, EPS);
        let dx = all.ops.batch_norm_backward(&dy, &x, &stats, &p, &mut dp);
        let (y_relu, stats) = all.ops.batch_norm_relu_forward(&x, &p, &mut after_relu, EPS);
        let dx_relu = all.ops.batch_norm_relu_backward(&dy, [&x, &y_relu], &stats, &p, &mut dp_relu);
        for (name, got) in [("y", &y), ("y_relu", &y_relu)] {
            all.compare(&case, name, got);
        }
        for (kind, dx, dp) in [("", &dx, &dp), ("_relu", &dx_relu, &dp_relu)] {
            let all_of = [("dx", dx), ("dweight", &dp.weight), ("dbias", &dp.bias)];
            for (name, got) in all_of {
                all.compare_within(&case, &format!("{name}{kind}"), got, tolerance::NORM_GRADIENTS);
            }
        }
        for running in [&after, &after_relu] {
            all.compare(&case, "mean_after", &running.mean);
            all.compare(&case, "variance_after", &running.variance);
        }
    }
}

fn entropy<O: Ops>(all: &mut Case<'_, O>) {
    let case = "entropy.ignored";
    let (ops, logits) = (all.ops, all.tensor(case, "logits"));
    let labels = all.golden.ids(&format!("{case}.labels"));
    let (labelled, right) = (labels.iter().filter(|&&label| label < 255).count(), format!("{case}.right"));
    assert!(0 < labelled && labelled < labels.len());
    let ids = ops.upload_ids(&labels);
    for (name, counted) in [("labelled", labelled), ("all", labels.len())] {
        let targets = Targets::Labels { ids: &ids, counted };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        all.compare(case, &format!("d{name}"), &d);
        let (name, metrics) = (format!("{case}.{name}"), ops.read(&metrics).unwrap());
        all.comparison.tensor(&name, &metrics[..1], &all.golden.floats(&name), tolerance::LOSS);
        all.comparison.tensor(&right, &metrics[1..], &all.golden.floats(&right), 0.0);
    }
}

fn check<O: Ops>(ops: &O, device: &str) {
    let comparison = Comparison::new(format!("segmentation-operations on {device}"));
    let mut all = Case { ops, golden: Golden::open("segmentation-operations"), comparison };
    resizing(&mut all);
    pooling(&mut all);
    transposed(&mut all);
    norms(&mut all);
    entropy(&mut all);
    all.comparison.finish();
}

#[test]
fn operations_f32() {
    check(&Host::<f32>::new(), "f32");
}

#[test]
fn operations_f64() {
    check(&Host::<f64>::new(), "f64");
}

#[test]
fn operations_gpu() {
    if let Some(gpu) = wgpu() {
        check(&gpu, "gpu");
    }
}
