//! What is not a number stays so: an operation that meets NaN hands it on to everything that is computed from it.
//!
//! A maximum in which NaN loses, or a comparison that NaN fails, turns a broken model into one that answers. Each operation gets
//! one NaN, in turn in different places, since where it stands in a row decides whether a careless maximum loses it.

mod maps;
mod rows;
mod segmentation;
mod train;

pub(super) use maps::infer as infer_tokenizer;
pub(super) use rows::infer as infer_transformer;
pub(super) use segmentation::infer as infer_segmentation;
pub(super) use train::train;

use super::case::random;
use super::check::Check;
use crate::{Device, Shape};
use alloc::format;
use alloc::string::String;

/// A tensor of random numbers with NaN at `at`.
fn broken<O: Device>(ops: &O, shape: impl Into<Shape>, tag: u64, at: usize) -> O::Tensor {
    let (shape, mut data) = random(shape, tag);
    data[at] = f32::NAN;
    ops.upload(shape, &data)
}

/// A tensor of random numbers.
fn sound<O: Device>(ops: &O, shape: impl Into<Shape>, tag: u64) -> O::Tensor {
    let (shape, data) = random(shape, tag);
    ops.upload(shape, &data)
}

/// The name of a check of `operation`, if it is wanted.
fn wanted<O: Device>(check: &Check<'_, O>, operation: &str) -> Option<String> {
    let name = format!("{operation}: NaN");
    (check.wanted)(&name).then_some(name)
}

impl<O: Device> Check<'_, O> {
    /// The elements `of` must be NaN in `got`.
    fn carried(&mut self, what: &str, got: &O::Tensor, of: impl IntoIterator<Item = usize>) {
        self.report.compared += 1;
        let got = match self.ops.read(got) {
            Ok(got) => got,
            Err(error) => return self.report.failures.push(format!("{what}: {error}")),
        };
        if let Some(i) = of.into_iter().find(|&i| !got[i].is_nan()) {
            self.report.failures.push(format!("{what}[{i}]: got {}, want NaN", got[i]));
        }
    }
}
