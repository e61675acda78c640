//! The GPU that goldens run on: Vulkan through wgpu, a software renderer where there is no other.

use beit_cubecl::cubecl::wgpu::WgpuRuntime;
use beit_cubecl::{Gpu, Precision};

/// The default adapter in f32. Without one, says so and returns none; with `BEIT_REQUIRE_GPU=1` that is a failure.
///
/// # Panics
///
/// Where a GPU is required and missing.
pub fn wgpu() -> Option<Gpu<WgpuRuntime>> {
    match beit_cubecl::wgpu(Precision::F32) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(std::env::var_os("BEIT_REQUIRE_GPU").is_none(), "BEIT_REQUIRE_GPU is set, but {error}");
            println!("NOT RUN on a GPU: {error}");
            None
        }
    }
}
