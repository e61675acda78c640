//! Opening a device.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::gpu::Gpu;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::precision::{OpenError, Precision};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl::prelude::*;
#[cfg(feature = "wgpu")]
use std::sync::OnceLock;

/// Environment variable that names the [`Tile`](crate::Tile::named) of every matrix product on tensor cores that it suits, instead of the
/// table's. For measurements: one program can be timed with each tile.
#[cfg(feature = "cuda")]
pub const TILE: &str = "BEIT_CUDA_TILE";

/// NVIDIA GPU number `index`, with the tile that [`TILE`] names, where it is set.
///
/// # Errors
///
/// No driver, no such device, a precision that it does not have, or a tile that there is not.
#[cfg(feature = "cuda")]
pub fn cuda(index: usize, precision: Precision) -> Result<Gpu<cubecl::cuda::CudaRuntime>, OpenError> {
    use cubecl::cuda::{CudaDevice, CudaRuntime};
    let device = format!("cuda:{index}");
    let name = cuda_name(index).map_err(|reason| OpenError::Missing { device: device.clone(), reason })?;
    let client = CudaRuntime::client(&CudaDevice::new(index));
    let gpu = Gpu::new(client, precision)?.named(format!("{device} {name}")).numbered(index);
    Ok(match asked_tile(&device)? {
        Some(tile) => gpu.with_tile(tile),
        None => gpu,
    })
}

/// What the environment variable [`TILE`] asks for.
#[cfg(feature = "cuda")]
fn asked_tile(device: &str) -> Result<Option<crate::Tile>, OpenError> {
    let Some(name) = std::env::var_os(TILE) else { return Ok(None) };
    let known = name.to_str().and_then(crate::Tile::named);
    known.map(Some).ok_or_else(|| OpenError::Unsupported {
        device: device.to_owned(),
        reason: format!(
            "{TILE}={}: expected portable-0 to portable-{}, or hopper-0 to hopper-{}",
            name.display(),
            crate::CANDIDATES.len() - 1,
            crate::HOPPER.len() - 1,
        ),
    })
}

/// The default device of the machine's Vulkan, Metal or DirectX 12 driver; a software renderer too.
///
/// # Errors
///
/// No adapter, or a precision that it does not have.
#[cfg(feature = "wgpu")]
pub fn wgpu(precision: Precision) -> Result<Gpu<cubecl::wgpu::WgpuRuntime>, OpenError> {
    use cubecl::wgpu::{AutoGraphicsApi, RuntimeOptions, WgpuDevice, WgpuRuntime, init_setup};
    let missing = || {
        OpenError::Missing {
        device: "wgpu".to_owned(),
        reason: "no Vulkan, Metal or DirectX 12 driver found; install one (Debian: mesa-vulkan-drivers renders on the CPU)"
            .to_owned(),
    }
    };
    // CubeCL registers a device once in a process and panics the second time.
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let device = WgpuDevice::DefaultDevice;
    let open = || {
        let setup = init_setup::<AutoGraphicsApi>(&device, RuntimeOptions::default());
        let info = setup.adapter.get_info();
        WgpuRuntime::client(&device);
        format!("{} ({:?}, {:?})", info.name, info.device_type, info.backend)
    };
    let name = NAME.get_or_init(|| quietly(open)).clone().ok_or_else(missing)?;
    Ok(Gpu::new(WgpuRuntime::client(&device), precision)?.named(name))
}

/// Calls a graphics library that may panic where it finds no driver. `None` then, with nothing printed.
#[cfg(feature = "wgpu")]
fn quietly<T>(ask: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).ok();
    std::panic::set_hook(hook);
    answer
}

/// The name of an NVIDIA device, asked of the driver before CubeCL opens it: CubeCL panics where there is none.
#[cfg(feature = "cuda")]
fn cuda_name(index: usize) -> Result<String, String> {
    use cudarc::driver::{result, sys};
    // SAFETY: looks for the library and loads it, nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "the NVIDIA driver's library (libcuda) is not on this machine; --device cpu runs".to_owned()
        );
    }
    let told = |error: cudarc::driver::DriverError| format!("the NVIDIA driver says: {error}");
    result::init().map_err(told)?;
    let count = result::device::get_count().map_err(told)?;
    let ordinal = i32::try_from(index).ok().filter(|&i| i < count);
    let ordinal = ordinal.ok_or_else(|| format!("the driver sees {count} devices, numbered from 0"))?;
    result::device::get(ordinal).and_then(result::device::get_name).map_err(told)
}
