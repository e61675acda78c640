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
        let report = conformance::run_named(gpu, self.tolerance, &self.wanted);
        println!("{} in {}: {report}", gpu.name(), gpu.precision());
        assert!(report.compared > self.more_than && report.failures.is_empty(), "{report}");
    }
}

/// Whether a case is of the larger kernels, on which a renderer in software spends most of its time.
fn is_product(name: &str) -> bool {
    ["linear", "conv", "attention"].iter().any(|begin| name.starts_with(begin))
}

/// With [`f32_others`] the whole suite: a renderer in software uses one core, and the tests run side by side.
#[test]
fn f32_products() {
    let suite = Suite { tolerance: Tolerance::F32, wanted: is_product, more_than: 100 };
    on_device(Precision::F32, Turn::First, &suite);
}

#[test]
fn f32_others() {
    let suite = Suite { tolerance: Tolerance::F32, wanted: |name| !is_product(name), more_than: 100 };
    on_device(Precision::F32, Turn::Second, &suite);
}

/// Needs tensor cores, which no software renderer has: the emulator of the CUDA kernels runs this suite without a device.
#[test]
fn bf16() {
    let suite = Suite { tolerance: Tolerance::BF16, wanted: |_| true, more_than: 200 };
    on_device(Precision::Bf16, Turn::First, &suite);
}
