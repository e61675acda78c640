//! One call that proves a device: every operation against `Host<f64>`, every backward against finite differences,
//! and NaN carried on by every operation that meets it.
//!
//! ```
//! use beit_ops::{Host, conformance};
//! let report = conformance::run(&Host::<f32>::new(), conformance::Tolerance::F32);
//! assert!(report.failures.is_empty(), "{report}");
//! ```
//!
//! Devices for inference have a part of it: [`run_transformer`], [`run_tokenizer`] and [`run_segmentation`].

mod attention;
mod batch_norm;
mod case;
mod check;
mod conv;
mod cross_entropy;
mod elbo;
mod inner_norm;
mod linear;
mod maps;
mod nan;
mod optimiser;
mod reference;
mod report;
mod residual;
mod rows;
mod squared_error;
mod tokens;

pub use report::{Report, Tolerance};

use crate::{Ops, SegmentationOps, TokenizerOps, TransformerOps};
use check::Check;

/// Checks every operation of `ops` on odd shapes: one row, one column, primes, larger than a tile.
pub fn run<O: Ops>(ops: &O, tolerance: Tolerance) -> Report {
    run_named(ops, tolerance, &|_| true)
}

/// [`run`], but only the cases whose name `wanted` accepts; names begin with that of the operation.
pub fn run_named<O: Ops>(ops: &O, tolerance: Tolerance, wanted: &dyn Fn(&str) -> bool) -> Report {
    let mut check = Check { ops, tolerance, wanted, trains: true, report: Report::default() };
    infer_transformer(&mut check);
    infer_tokenizer(&mut check);
    infer_segmentation(&mut check);
    linear::train(&mut check);
    residual::train(&mut check);
    inner_norm::train(&mut check);
    attention::train(&mut check);
    tokens::train(&mut check);
    rows::train(&mut check);
    conv::train(&mut check);
    maps::train(&mut check);
    batch_norm::train(&mut check);
    cross_entropy::train(&mut check);
    elbo::train(&mut check);
    squared_error::train(&mut check);
    optimiser::train(&mut check);
    nan::train(&mut check);
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
    infer_tokenizer(&mut check);
    check.report
}

/// Checks what inference with a segmentation head needs, on a device that may have no more.
pub fn run_segmentation<O: SegmentationOps>(ops: &O, tolerance: Tolerance) -> Report {
    let mut check = Check { ops, tolerance, wanted: &|_| true, trains: false, report: Report::default() };
    infer_transformer(&mut check);
    conv::infer(&mut check);
    infer_segmentation(&mut check);
    check.report
}

fn infer_transformer<O: TransformerOps>(check: &mut Check<'_, O>) {
    linear::infer(check);
    residual::infer(check);
    inner_norm::infer(check);
    attention::infer(check);
    tokens::infer(check);
    rows::infer(check);
    nan::infer_transformer(check);
}

fn infer_tokenizer<O: TokenizerOps>(check: &mut Check<'_, O>) {
    conv::infer(check);
    nan::infer_tokenizer(check);
}

fn infer_segmentation<O: SegmentationOps>(check: &mut Check<'_, O>) {
    maps::infer(check);
    batch_norm::infer(check);
    nan::infer_segmentation(check);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Host;

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
        let (exact, numbers) =
            (Tolerance { value: 0.0, gradient: 0.0 }, |name: &str| !name.ends_with(": NaN"));
        let report = run_named(&Host::<f32>::new(), exact, &numbers);
        assert!(report.failures.len() > report.compared / 2, "{report}");
        for operation in [
            "linear ",
            "gelu",
            "layer_norm",
            "attention",
            "cross_entropy",
            "adamw",
            "conv2d",
            "batch_norm",
            "resize",
        ] {
            let found = report.failures.iter().any(|line| line.starts_with(operation));
            assert!(found, "{operation} is compared to nothing");
        }
    }
}
