//! Opening a device.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::Gpu;
use cubecl::client::ComputeClient;
use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;
use std::fmt;
#[cfg(feature = "wgpu")]
use std::sync::OnceLock;

/// What matrix products read; sums, statistics, losses and parameters are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision throughout.
    F32,
    /// bf16 on tensor cores with sums in f32, and bf16 activations.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Why a device was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no driver, or no device of that number.
    Missing {
        /// `cuda:0`, `wgpu`
        device: String,
        /// What was found instead, and what to do.
        reason: String,
    },
    /// The device lacks what the precision needs.
    Unsupported {
        /// The device's name.
        device: String,
        /// What it lacks, and what to do.
        reason: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { device, reason } => write!(f, "no device {device}: {reason}"),
            Self::Unsupported { device, reason } => write!(f, "device {device}: {reason}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// The side of the tiles that tensor cores multiply here.
const TILE: u32 = 16;

impl Precision {
    /// Whether the device has the types and the units that this precision needs.
    pub(crate) fn check<R: Runtime>(self, client: &ComputeClient<R>, name: &str) -> Result<(), OpenError> {
        let bf16 = ElemType::Float(FloatKind::BF16).into();
        let f32 = ElemType::Float(FloatKind::F32).into();
        let tile = MmaConfig { a_type: bf16, b_type: bf16, cd_type: f32, m: TILE, n: TILE, k: TILE };
        if self == Self::F32 || client.properties().features.matmul.cmma.contains(&tile) {
            return Ok(());
        }
        let reason = "no tensor cores for bf16 here; --precision f32 runs".to_owned();
        Err(OpenError::Unsupported { device: name.to_owned(), reason })
    }
}

/// NVIDIA GPU number `index`.
///
/// # Errors
///
/// No driver, no such device, or a precision that it does not have.
#[cfg(feature = "cuda")]
pub fn cuda(index: usize, precision: Precision) -> Result<Gpu<cubecl::cuda::CudaRuntime>, OpenError> {
    use cubecl::cuda::{CudaDevice, CudaRuntime};
    let device = format!("cuda:{index}");
    let name = cuda_name(index).map_err(|reason| OpenError::Missing { device: device.clone(), reason })?;
    let client = CudaRuntime::client(&CudaDevice::new(index));
    Ok(Gpu::new(client, precision)?.named(format!("{device} {name}")))
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

/// Asks a graphics library that may panic where it finds no driver; `None` then, with nothing printed.
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
