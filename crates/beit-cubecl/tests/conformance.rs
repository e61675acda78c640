//! Every operation on a device against `Host<f64>`, every gradient against finite differences.

#![allow(clippy::print_stdout)]

mod device;
#[cfg(feature = "nccl")]
mod world;

use beit_cubecl::{Gpu, Precision};
use beit_ops::conformance::{self, Tolerance};
use beit_ops::prelude::*;
use cubecl::prelude::Runtime;
use device::{Check, on_device};

struct Suite(Tolerance);

impl Check for Suite {
    fn name(&self) -> &'static str {
        "the conformance suite"
    }
    fn run<R: Runtime>(&self, gpu: &Gpu<R>)
    where
        Gpu<R>: Ops,
    {
        let report = conformance::run(gpu, self.0);
        println!("{} in {}: {report}", gpu.name(), gpu.precision());
        assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
    }
}

#[test]
fn f32() {
    on_device(Precision::F32, &Suite(Tolerance::F32));
}

/// Needs tensor cores, which no software renderer has: the emulator of the CUDA kernels runs this suite without a device.
#[test]
fn bf16() {
    on_device(Precision::Bf16, &Suite(Tolerance::BF16));
}
