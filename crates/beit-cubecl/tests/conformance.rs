//! Every operation on a real device, or on Mesa's software renderer, against `Host<f64>`.

use beit_cubecl::Precision;
use beit_ops::conformance::{self, Tolerance};

#[test]
fn wgpu_f32() {
    let gpu = beit_cubecl::wgpu(Precision::F32).expect("a Vulkan driver; Debian: mesa-vulkan-drivers");
    let report = conformance::run(&gpu, Tolerance::F32);
    println!("{}: {report}", gpu.name());
    assert!(report.compared > 100 && report.failures.is_empty(), "{report}");
}
