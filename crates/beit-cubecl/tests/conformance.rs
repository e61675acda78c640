//! Every operation on a device against `Host<f64>`, every gradient against finite differences.

#![allow(clippy::print_stdout)]

mod device;
#[cfg(feature = "nccl")]
mod world;

use beit_cubecl::{Gpu, Precision};
use beit_ops::conformance::{self, Tolerance};
use beit_ops::prelude::*;
use cubecl::prelude::Runtime;
use device::{Check, Turn, on_device};

/// Environment variable with the beginnings of the names of the only cases to run, with commas between them: for tools that make all of
/// them take too long.
const CASES: &str = "BEIT_CASES";

/// The cases that `wanted` accepts by their names, and more than how many tensors these compare.
struct Suite {
    tolerance: Tolerance,
    wanted: fn(&str) -> bool,
    more_than: usize,
}

impl Check for Suite {
    fn name(&self) -> &'static str {
        "the conformance suite"
    }
    fn run<R: Runtime>(&self, gpu: &Gpu<R>)
    where
        Gpu<R>: Ops,
    {
        let cases = std::env::var(CASES).ok();
        let asked = |name: &str| {
            cases.as_ref().is_none_or(|cases| cases.split(',').any(|begin| name.starts_with(begin)))
        };
        let report = conformance::run_named(gpu, self.tolerance, &|name| asked(name) && (self.wanted)(name));
        println!("{} in {}: {report}", gpu.name(), gpu.precision());
        let more_than = if cases.is_some() { 0 } else { self.more_than };
        assert!(report.compared > more_than && report.failures.is_empty(), "{report}");
    }
}

/// Attention takes a renderer in software nearly as long as all the rest.
fn is_attention(name: &str) -> bool {
    name.starts_with("attention")
}

/// With [`f32_others`] the whole suite: a renderer in software uses one core, and the tests run side by side.
#[test]
fn f32_attention() {
    let suite = Suite { tolerance: Tolerance::F32, wanted: is_attention, more_than: 100 };
    on_device(Precision::F32, Turn::First, &suite);
}

#[test]
fn f32_others() {
    let suite = Suite { tolerance: Tolerance::F32, wanted: |name| !is_attention(name), more_than: 100 };
    on_device(Precision::F32, Turn::Second, &suite);
}

/// Needs tensor cores, which no software renderer has: the emulator of the CUDA kernels runs this suite without a device.
#[test]
fn bf16() {
    let suite = Suite { tolerance: Tolerance::BF16, wanted: |_| true, more_than: 200 };
    on_device(Precision::Bf16, Turn::First, &suite);
}
