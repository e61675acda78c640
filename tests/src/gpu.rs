//! The GPU that goldens run on: Vulkan through wgpu, a software renderer where there is no other.

use beit_cubecl::cubecl::wgpu::WgpuRuntime;
use beit_cubecl::testing::not_run;
use beit_cubecl::{Gpu, Precision};

/// The default adapter in f32. Without one, says so and returns none, or fails where `BEIT_REQUIRE_GPU` asks for it.
pub fn wgpu() -> Option<Gpu<WgpuRuntime>> {
    beit_cubecl::wgpu(Precision::F32).inspect_err(|error| not_run("goldens in f32 on wgpu", error)).ok()
}
