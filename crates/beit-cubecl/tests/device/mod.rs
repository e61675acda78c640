//! Which device the tests run on: `BEIT_DEVICE=wgpu` (the default; a software renderer will do), `cuda` or `cuda:N`.

use beit_cubecl::testing::not_run;
use beit_cubecl::{Gpu, OpenError, Precision};
use beit_ops::prelude::*;
use cubecl::prelude::Runtime;
use cubecl::wgpu::{AutoGraphicsApi, RuntimeOptions, WgpuDevice, WgpuRuntime, init_setup};

/// What is run on a device.
pub(crate) trait Check {
    /// What a test that did not run is called.
    fn name(&self) -> &'static str;
    /// The body of the test.
    fn run<R: Runtime>(&self, gpu: &Gpu<R>)
    where
        Gpu<R>: Ops;
}

/// Whether a test shares its device with one that runs at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has the device that was asked for.
    First,
    /// It has a software renderer of its own, where the device is one; a GPU is shared.
    Second,
}

/// Runs `check` on the device that was asked for. Without such a device the test says that it did not run; with
/// `BEIT_REQUIRE_GPU=1` it fails.
pub(crate) fn on_device(precision: Precision, turn: Turn, check: &impl Check) {
    let device = std::env::var("BEIT_DEVICE").unwrap_or_else(|_| "wgpu".to_owned());
    let outcome = match device.split_once(':').unwrap_or((&device, "0")) {
        ("wgpu", _) => wgpu(precision, turn).map(|gpu| check.run(&gpu)),
        ("cuda", index) => cuda(index, precision, check),
        _ => panic!("BEIT_DEVICE={device}: expected wgpu, cuda or cuda:N"),
    };
    if let Err(error) = outcome {
        not_run(&format!("{} in {precision} on {device}", check.name()), &error);
    }
}

/// The default device. A renderer in software, whose name says `Cpu`, is opened a second time by CubeCL's other name for it: each has a
/// queue and a thread of its own.
fn wgpu(precision: Precision, turn: Turn) -> Result<Gpu<WgpuRuntime>, OpenError> {
    let first = beit_cubecl::wgpu(precision)?;
    if turn == Turn::First || !first.name().contains("(Cpu, ") {
        return Ok(first);
    }
    let renderer = WgpuDevice::Cpu;
    let _ = init_setup::<AutoGraphicsApi>(&renderer, RuntimeOptions::default());
    Gpu::new(WgpuRuntime::client(&renderer), precision)
}

#[cfg(feature = "cuda")]
fn cuda(index: &str, precision: Precision, check: &impl Check) -> Result<(), OpenError> {
    let index = index.parse().expect("BEIT_DEVICE=cuda:N with a number N");
    beit_cubecl::cuda(index, precision).map(|gpu| check.run(&gpu))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &str, _: Precision, _: &impl Check) -> Result<(), OpenError> {
    panic!("BEIT_DEVICE=cuda: this build has no CUDA; test with --features cuda")
}
